// The elementwise family. A rule gives the tangent t of the result that input i's tangent makes: a map that is linear
// in t and elementwise, and so serves both modes. Plain ones first.
#include "kernels/kernels.hpp"
#include "ops/common.hpp"
#include "ops/movement.hpp"

namespace adjoint {
namespace detail {
namespace {

using kernels::Tile;
using Rule = Tensor (*)(const Recorded& at, int i, const Tensor& t);
constexpr std::uint8_t kY = kReadsOutput;

constexpr Operation unary(const char* name, Tile tile, std::uint8_t reads, Rule rule) {
  return {
      name,   Family::elementwise, execute_elementwise, static_cast<std::uint8_t>(tile), false, 1, {reads, 0, 0}, rule,
      nullptr};
}
constexpr Operation binary(const char* name, Tile tile, std::uint8_t reads_a, std::uint8_t reads_b, Rule rule) {
  return {name,
          Family::elementwise,
          execute_elementwise,
          static_cast<std::uint8_t>(tile),
          false,
          3,
          {reads_a, reads_b, 0},
          rule,
          nullptr};
}
constexpr Operation without_derivative(const char* name, Tile tile) {
  return {name, Family::non_differentiable, execute_elementwise, static_cast<std::uint8_t>(tile)};
}

Tensor zero(const Recorded&, int, const Tensor& t) { return zeros_like(t); }

// -- the derivatives --------------------------------------------------------------------------------------------------

// clang-format off
const Operation kNeg = unary("neg", Tile::neg, 0, [](const Recorded&, int, const Tensor& t) { return -t; });
const Operation kExp = unary("exp", Tile::exp, kY, [](const Recorded& at, int, const Tensor& t) { return t * at.output(); });
const Operation kExpm1 = unary("expm1", Tile::expm1, kY, [](const Recorded& at, int, const Tensor& t) { return t * (at.output() + 1); });
const Operation kLog = unary("log", Tile::log, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t / at.input(0); });
const Operation kLog2 = unary("log2", Tile::log2, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t / (at.input(0) * 0.69314718055994531); });  // ln 2
const Operation kLog1p = unary("log1p", Tile::log1p, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t / (at.input(0) + 1); });
const Operation kSqrt = unary("sqrt", Tile::sqrt, kY, [](const Recorded& at, int, const Tensor& t) { return t / (at.output() * 2); });
const Operation kRsqrt = unary("rsqrt", Tile::rsqrt, kY, [](const Recorded& at, int, const Tensor& t) { const Tensor y = at.output(); return t * (y * y * y * -0.5); });
const Operation kSin = unary("sin", Tile::sin, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * cos(at.input(0)); });
const Operation kCos = unary("cos", Tile::cos, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * -sin(at.input(0)); });
const Operation kTan = unary("tan", Tile::tan, kY, [](const Recorded& at, int, const Tensor& t) { return t * (square(at.output()) + 1); });
const Operation kAsin = unary("asin", Tile::asin, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * rsqrt(1 - square(at.input(0))); });
const Operation kAcos = unary("acos", Tile::acos, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * -rsqrt(1 - square(at.input(0))); });
const Operation kAtan = unary("atan", Tile::atan, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t / (square(at.input(0)) + 1); });
const Operation kSinh = unary("sinh", Tile::sinh, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * cosh(at.input(0)); });
const Operation kCosh = unary("cosh", Tile::cosh, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * sinh(at.input(0)); });
const Operation kTanh = unary("tanh", Tile::tanh, kY, [](const Recorded& at, int, const Tensor& t) { return t * (1 - square(at.output())); });
const Operation kErf = unary("erf", Tile::erf, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * (exp(-square(at.input(0))) * 1.1283791670955126); });  // 2 / sqrt(pi)
const Operation kDigamma = unary("digamma", Tile::digamma, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * polygamma(1, at.input(0)); });
const Operation kLgamma = unary("lgamma", Tile::lgamma, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * digamma(at.input(0)); });
const Operation kSigmoid = unary("sigmoid", Tile::sigmoid, kY, [](const Recorded& at, int, const Tensor& t) { const Tensor y = at.output(); return t * (y * (1 - y)); });
const Operation kSoftplus = unary("softplus", Tile::softplus, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * sigmoid(at.input(0)); });

const Operation kAbs = unary("abs", Tile::abs, kReadsA, [](const Recorded& at, int, const Tensor& t) { return t * sign(at.input(0)); });
const Operation kRelu = unary("relu", Tile::relu, kY, [](const Recorded& at, int, const Tensor& t) { return where(at.output() <= 0, 0, t); });
const Operation kSign = unary("sign", Tile::sign, 0, zero);
const Operation kFloor = unary("floor", Tile::floor, 0, zero);
const Operation kCeil = unary("ceil", Tile::ceil, 0, zero);
const Operation kRound = unary("round", Tile::round, 0, zero);

const Operation kAdd = binary("add", Tile::add, 0, 0, [](const Recorded&, int, const Tensor& t) { return t; });
const Operation kSub = binary("sub", Tile::sub, 0, 0, [](const Recorded&, int i, const Tensor& t) { return i == 0 ? t : -t; });
const Operation kMul = binary("mul", Tile::mul, kReadsB, kReadsA, [](const Recorded& at, int i, const Tensor& t) { return t * at.input(1 - i); });
// A product of x with itself, which has one derivative instead of two equal ones.
const Operation kSquare{"mul", Family::elementwise, execute_elementwise, static_cast<std::uint8_t>(Tile::mul), false, 1,
  {kReadsA}, [](const Recorded& at, int, const Tensor& t) { return multiplied(t, 2) * at.input(0); }, nullptr};
const Operation kDiv = binary("div", Tile::div, kReadsB, kReadsB | kY, [](const Recorded& at, int i, const Tensor& t) {
  return i == 0 ? t / at.input(1) : -t * (at.output() / at.input(1));
});
const Operation kAtan2 = binary("atan2", Tile::atan2, kReadsA | kReadsB, kReadsA | kReadsB, [](const Recorded& at, int i, const Tensor& t) {
  const Tensor a = at.input(0), b = at.input(1), square_of_radius = square(a) + square(b), origin = square_of_radius == 0;
  return where(origin, 0, t * (i == 0 ? b : -a) * reciprocal(where(origin, 1, square_of_radius)));
});
const Operation kPow = binary("pow", Tile::pow, kReadsA | kReadsB, kReadsA | kReadsB | kY, [](const Recorded& at, int i, const Tensor& t) {
  if (const std::optional<Scalar> b = at.number(1); b && i == 0 && b->to_double() != 0)
    return t * (pow(at.input(0), b->to_double() - 1) * *b);
  const Tensor a = at.input(0), b = at.input(1);
  if (i == 0) return t * (b * pow(a, where(b == 0 && !(abs(a) > 0), 1, b) - 1));  // b a^(b-1), and 0 for 0^0 and NaN^0
  const Tensor constant = a == 0 && b >= 0;
  return where(constant, 0, t * (at.output() * log(where(constant, 1, a))));
});
// Of a number and a tensor.
const Operation kPolygamma{"polygamma", Family::elementwise, execute_elementwise, static_cast<std::uint8_t>(Tile::polygamma), false, 2,
  {0, kReadsA | kReadsB}, [](const Recorded& at, int, const Tensor& t) {
  return t * polygamma(static_cast<std::int64_t>(at.number(0)->to_double()) + 1, at.input(1));
}, nullptr};
// Where a = b each gets half of the derivative; where they cannot be compared, each gets all of it.
const Operation kMaximum = binary("maximum", Tile::maximum, kReadsA | kReadsB, kReadsA | kReadsB, [](const Recorded& at, int i, const Tensor& t) {
  const Tensor self = at.input(i), other = at.input(1 - i);
  return where(self < other, 0, where(self == other, t * 0.5, t));
});
const Operation kMinimum = binary("minimum", Tile::minimum, kReadsA | kReadsB, kReadsA | kReadsB, [](const Recorded& at, int i, const Tensor& t) {
  const Tensor self = at.input(i), other = at.input(1 - i);
  return where(self > other, 0, where(self == other, t * 0.5, t));
});

const Operation kWhere{"where", Family::elementwise, execute_elementwise, static_cast<std::uint8_t>(Tile::where), false, 6,
  {0, kReadsA, kReadsA}, [](const Recorded& at, int i, const Tensor& t) {
  return i == 1 ? where(at.input(0), t, 0) : where(at.input(0), 0, t);
}, nullptr};

const Operation kCast{"cast", Family::linear, execute_cast, 0, false, 1, {}, nullptr, [](const Recorded& at, int, const Tensor& g) {
  return cast(g, at.input_dtype(0));
}};

const Operation kEq = without_derivative("eq", Tile::eq), kNe = without_derivative("ne", Tile::ne),
                kLt = without_derivative("lt", Tile::lt), kLe = without_derivative("le", Tile::le),
                kGt = without_derivative("gt", Tile::gt), kGe = without_derivative("ge", Tile::ge),
                kLogicalAnd = without_derivative("logical_and", Tile::logical_and),
                kLogicalOr = without_derivative("logical_or", Tile::logical_or),
                kLogicalXor = without_derivative("logical_xor", Tile::logical_xor),
                kLogicalNot = without_derivative("logical_not", Tile::logical_not),
                kIsnan = without_derivative("isnan", Tile::isnan), kIsinf = without_derivative("isinf", Tile::isinf),
                kIsfinite = without_derivative("isfinite", Tile::isfinite);
// clang-format on

// -- recording --------------------------------------------------------------------------------------------------------

Dtype dtype_of_operand(const Operation& operation, const Tensor& x) { return Access::node(x, operation.name)->dtype; }

/// A function of real numbers: integers are taken as float32.
Tensor real_function(const Operation& operation, const Tensor& x) {
  Node* node = Access::node(x, operation.name);
  if (!is_floating(node->dtype)) return real_function(operation, cast(x, float32));
  return record(operation, node->shape, node->dtype, &node, 1);
}

/// A function that keeps the dtype; bool is refused.
Tensor number_function(const Operation& operation, const Tensor& x) {
  Node* node = Access::node(x, operation.name);
  if (node->dtype == bool_)
    throw DtypeError(std::string(operation.name) + ": the input of shape " + to_string(x.shape()) +
                     " has dtype bool; it must be a number (cast it, or use logical operations)");
  return record(operation, node->shape, node->dtype, &node, 1);
}

enum class Operands { promoted, real, numbers, booleans };

Dtype meeting_dtype(const Operation& operation, Dtype dtype, Operands operands) {
  switch (operands) {
    case Operands::real:
      return is_floating(dtype) ? dtype : float32;
    case Operands::booleans:
      return bool_;
    case Operands::numbers:
      if (dtype == bool_)
        throw DtypeError(std::string(operation.name) + ": both operands have dtype bool; one must be a number");
      return dtype;
    case Operands::promoted:
      break;
  }
  return dtype;
}

Tensor binary_function(const Operation& operation, const Tensor& a, const Tensor& b, Operands operands,
                       bool gives_bool) {
  Node* inputs[] = {Access::node(a, operation.name), Access::node(b, operation.name)};
  const Dtype da = inputs[0]->dtype, db = inputs[1]->dtype;
  const Dtype dtype = meeting_dtype(operation, da == db ? da : promote(a, b), operands);
  const Shape &sa = inputs[0]->shape, &sb = inputs[1]->shape;
  const Dtype result = gives_bool ? bool_ : dtype;
  if (&operation == &kMul && inputs[0] == inputs[1]) return record(kSquare, sa, result, inputs, 2);
  if (da == dtype && db == dtype) {
    if (sb.empty() || sa == sb) return record(operation, sa, result, inputs, 2);
    if (sa.empty()) return record(operation, sb, result, inputs, 2);
    return record(operation, broadcast_shapes(sa, sb, operation.name), result, inputs, 2);
  }
  const Shape shape = broadcast_shapes(sa, sb, operation.name);
  return record(operation, shape, result, {cast_to(a, dtype), cast_to(b, dtype)});
}

/// A tensor and a number, in that order or the other. Where sums and products wrap around, so does a number; a
/// comparison is true to it; elsewhere the dtype must hold it.
Tensor binary_function(const Operation& operation, const Tensor& x, Scalar scalar, bool scalar_first, Operands operands,
                       bool gives_bool) {
  Dtype dtype = meeting_dtype(operation, promote(dtype_of_operand(operation, x), scalar), operands);
  if (gives_bool && !can_hold(dtype, scalar)) dtype = int64;
  const bool wraps = &operation == &kAdd || &operation == &kSub || &operation == &kMul;
  const Tensor number = wraps ? scalar_node(scalar, dtype) : number_of(operation.name, scalar, dtype);
  const Tensor converted = x.dtype() == dtype ? Tensor() : cast(x, dtype);
  Node *operand = Access::node(converted.defined() ? converted : x), *other = Access::node(number);
  Node* inputs[] = {scalar_first ? other : operand, scalar_first ? operand : other};
  return record(operation, operand->shape, gives_bool ? bool_ : dtype, inputs, 2);
}

Tensor where_function(const Tensor& condition, const Tensor& a, const Tensor& b) {
  if (dtype_of_operand(kWhere, condition) != bool_)
    throw DtypeError(std::string("where: the condition of shape ") + to_string(condition.shape()) + " has dtype " +
                     name_of(condition.dtype()) + "; it must be bool");
  Node* inputs[] = {Access::node(condition), Access::node(a), Access::node(b)};
  const Shape& sc = inputs[0]->shape;
  const Shape shape = broadcast_shapes(broadcast_shapes(sc, inputs[1]->shape, "where"), inputs[2]->shape, "where");
  return record(kWhere, shape, inputs[1]->dtype, inputs, 3);
}

}  // namespace
}  // namespace detail

using namespace detail;

Tensor neg(const Tensor& x) { return number_function(kNeg, x); }
Tensor abs(const Tensor& x) { return number_function(kAbs, x); }
Tensor sign(const Tensor& x) { return dtype_of_operand(kSign, x) == bool_ ? unchanged(x) : number_function(kSign, x); }
Tensor exp(const Tensor& x) { return real_function(kExp, x); }
Tensor expm1(const Tensor& x) { return real_function(kExpm1, x); }
Tensor log(const Tensor& x) { return real_function(kLog, x); }
Tensor log2(const Tensor& x) { return real_function(kLog2, x); }
Tensor log1p(const Tensor& x) { return real_function(kLog1p, x); }
Tensor sqrt(const Tensor& x) { return real_function(kSqrt, x); }
Tensor rsqrt(const Tensor& x) { return real_function(kRsqrt, x); }
Tensor square(const Tensor& x) {
  if (Access::node(x, "square")->dtype == bool_) return square(cast(x, int64));
  return mul(x, x);
}
Tensor reciprocal(const Tensor& x) {
  Access::node(x, "reciprocal");
  return div(1, x);
}
Tensor sin(const Tensor& x) { return real_function(kSin, x); }
Tensor cos(const Tensor& x) { return real_function(kCos, x); }
Tensor tan(const Tensor& x) { return real_function(kTan, x); }
Tensor asin(const Tensor& x) { return real_function(kAsin, x); }
Tensor acos(const Tensor& x) { return real_function(kAcos, x); }
Tensor atan(const Tensor& x) { return real_function(kAtan, x); }
Tensor sinh(const Tensor& x) { return real_function(kSinh, x); }
Tensor cosh(const Tensor& x) { return real_function(kCosh, x); }
Tensor tanh(const Tensor& x) { return real_function(kTanh, x); }
Tensor erf(const Tensor& x) { return real_function(kErf, x); }
Tensor lgamma(const Tensor& x) { return real_function(kLgamma, x); }
Tensor digamma(const Tensor& x) { return real_function(kDigamma, x); }
Tensor polygamma(std::int64_t n, const Tensor& x) {
  Node* node = Access::node(x, "polygamma");
  if (n < 0 || n > 1 << 24)  // as far as float32 has all whole numbers
    throw ValueError("polygamma: the order n is " + std::to_string(n) + "; it must be from 0 to 2^24");
  if (n == 0) return digamma(x);
  if (!is_floating(node->dtype)) return polygamma(n, cast(x, float32));
  const Tensor number = scalar_node(n, node->dtype);
  Node* inputs[] = {Access::node(number), node};
  return record(kPolygamma, node->shape, node->dtype, inputs, 2);
}
Tensor sigmoid(const Tensor& x) { return real_function(kSigmoid, x); }
Tensor relu(const Tensor& x) {
  if (is_integral(dtype_of_operand(kRelu, x))) return maximum(x, 0);
  return number_function(kRelu, x);
}
Tensor softplus(const Tensor& x) { return real_function(kSoftplus, x); }
Tensor floor(const Tensor& x) { return number_function(kFloor, x); }
Tensor ceil(const Tensor& x) { return number_function(kCeil, x); }
Tensor round(const Tensor& x) { return number_function(kRound, x); }

Tensor clamp(const Tensor& x, std::optional<Scalar> min, std::optional<Scalar> max) {
  if (!min && !max) throw ValueError("clamp: neither min nor max is given; at least one must be");
  Access::node(x, "clamp");
  Tensor result = x;
  // A limit beyond what the dtype can hold limits nothing, or cannot be met.
  const auto limits = [&](Scalar limit, bool is_met) {
    if (can_hold(result.dtype(), limit)) return true;
    if (!is_met) number_of("clamp", limit, result.dtype());
    return false;
  };
  if (min && limits(*min, min->to_int64() < 0)) result = where(result < *min, *min, result);
  if (max && limits(*max, max->to_int64() > 0)) result = where(result > *max, *max, result);
  return result;
}

Tensor cast(const Tensor& x, Dtype dtype) {
  if (Access::node(x, "cast")->dtype == dtype) return unchanged(x);
  return record(kCast, x.shape(), dtype, {x});
}

#define ADJOINT_BINARY(name, operation, operands, gives_bool)                                                      \
  Tensor name(const Tensor& a, const Tensor& b) { return binary_function(operation, a, b, operands, gives_bool); } \
  Tensor name(const Tensor& a, Scalar b) { return binary_function(operation, a, b, false, operands, gives_bool); } \
  Tensor name(Scalar a, const Tensor& b) { return binary_function(operation, b, a, true, operands, gives_bool); }

ADJOINT_BINARY(add, kAdd, Operands::promoted, false)
ADJOINT_BINARY(sub, kSub, Operands::numbers, false)
ADJOINT_BINARY(mul, kMul, Operands::promoted, false)
ADJOINT_BINARY(div, kDiv, Operands::real, false)
ADJOINT_BINARY(atan2, kAtan2, Operands::real, false)
ADJOINT_BINARY(pow, kPow, Operands::numbers, false)
ADJOINT_BINARY(maximum, kMaximum, Operands::promoted, false)
ADJOINT_BINARY(minimum, kMinimum, Operands::promoted, false)
ADJOINT_BINARY(eq, kEq, Operands::promoted, true)
ADJOINT_BINARY(ne, kNe, Operands::promoted, true)
ADJOINT_BINARY(lt, kLt, Operands::promoted, true)
ADJOINT_BINARY(le, kLe, Operands::promoted, true)
ADJOINT_BINARY(gt, kGt, Operands::promoted, true)
ADJOINT_BINARY(ge, kGe, Operands::promoted, true)
ADJOINT_BINARY(logical_and, kLogicalAnd, Operands::booleans, true)
ADJOINT_BINARY(logical_or, kLogicalOr, Operands::booleans, true)
ADJOINT_BINARY(logical_xor, kLogicalXor, Operands::booleans, true)
#undef ADJOINT_BINARY

Tensor logical_not(const Tensor& x) {
  const Dtype dtype = dtype_of_operand(kLogicalNot, x);
  return record(kLogicalNot, x.shape(), bool_, {dtype == bool_ ? x : cast(x, bool_)});
}

Tensor isnan(const Tensor& x) {
  return is_floating(dtype_of_operand(kIsnan, x)) ? record(kIsnan, x.shape(), bool_, {x}) : zeros_like(x, bool_);
}
Tensor isinf(const Tensor& x) {
  return is_floating(dtype_of_operand(kIsinf, x)) ? record(kIsinf, x.shape(), bool_, {x}) : zeros_like(x, bool_);
}
Tensor isfinite(const Tensor& x) {
  return is_floating(dtype_of_operand(kIsfinite, x)) ? record(kIsfinite, x.shape(), bool_, {x}) : ones_like(x, bool_);
}

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  const bool same = dtype_of_operand(kWhere, a) == dtype_of_operand(kWhere, b);
  const Dtype dtype = same ? a.dtype() : promote(a, b);
  return where_function(condition, cast_to(a, dtype), cast_to(b, dtype));
}
Tensor where(const Tensor& condition, const Tensor& a, Scalar b) {
  const Dtype dtype = promote(dtype_of_operand(kWhere, a), b);
  return where_function(condition, cast_to(a, dtype), number_of("where", b, dtype));
}
Tensor where(const Tensor& condition, Scalar a, const Tensor& b) {
  const Dtype dtype = promote(dtype_of_operand(kWhere, b), a);
  return where_function(condition, number_of("where", a, dtype), cast_to(b, dtype));
}
Tensor masked_fill(const Tensor& x, const Tensor& mask, Scalar value) {
  if (Access::node(mask, "masked_fill")->dtype != bool_)
    throw DtypeError(std::string("masked_fill: the mask of shape ") + to_string(mask.shape()) + " has dtype " +
                     name_of(mask.dtype()) + "; it must be bool");
  broadcast_shapes(Access::node(x, "masked_fill")->shape, mask.shape(), "masked_fill");
  return where(mask, number_of("masked_fill", value, x.dtype()), x);
}

}  // namespace adjoint
