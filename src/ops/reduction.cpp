// Reductions: three families' members (sum is linear, amax and amin have weights, the others no derivative), and the
// composites over them; the running sum.
#include "kernels/kernels.hpp"
#include "ops/common.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace adjoint {
namespace detail {
namespace {

using kernels::Reduce;

constexpr std::uint8_t code(Reduce reduce) { return static_cast<std::uint8_t>(reduce); }

const Operation kSum{"sum",
                     Family::linear,
                     execute_reduction,
                     code(Reduce::sum),
                     false,
                     1,
                     {},
                     nullptr,
                     [](const Recorded& at, int, const Tensor& g) {
                       return expand_reduced(g, at.attributes<ReduceAttributes>().dims, at.input_shape(0));
                     }};

const Operation kCumsum{
    "cumsum", Family::linear, execute_cumsum, 0, false, 1, {}, nullptr, [](const Recorded& at, int, const Tensor& g) {
      const std::int64_t dim = at.attributes<CumsumAttributes>().dim;
      return flip(cumsum(flip(g, dim), dim), dim);
    }};

// The largest elements share the derivative evenly; if there are NaN, these are.
Tensor extreme_weights(const Recorded& at, int, const Tensor& t) {
  const std::uint32_t dims = at.attributes<ReduceAttributes>().dims;
  const Tensor x = at.input(0), is_extreme = x == expand_reduced(at.output(), dims, at.input_shape(0)) || isnan(x);
  Dims reduced;
  for (int i = 0; i < at.input_shape(0).size(); ++i)
    if (dims >> i & 1) reduced.push_back(i);
  if (reduced.empty()) return t;
  return where(is_extreme, t / sum(cast(is_extreme, at.dtype()), reduced, true), 0);
}
const Operation kAmax{"amax",
                      Family::reduction,
                      execute_reduction,
                      code(Reduce::max),
                      false,
                      1,
                      {kReadsA | kReadsOutput},
                      extreme_weights,
                      nullptr};
const Operation kAmin{"amin",
                      Family::reduction,
                      execute_reduction,
                      code(Reduce::min),
                      false,
                      1,
                      {kReadsA | kReadsOutput},
                      extreme_weights,
                      nullptr};
const Operation kArgmax{"argmax", Family::non_differentiable, execute_reduction, code(Reduce::argmax)};
const Operation kArgmin{"argmin", Family::non_differentiable, execute_reduction, code(Reduce::argmin)};
const Operation kAny{"any", Family::non_differentiable, execute_reduction, code(Reduce::any)};
const Operation kAll{"all", Family::non_differentiable, execute_reduction, code(Reduce::all)};

Tensor reduce(const Operation& operation, const Tensor& x, std::uint32_t dims, bool keepdim, Dtype dtype) {
  return record(operation, reduced_shape(x.shape(), dims, keepdim), dtype, {x}, ReduceAttributes{dims, keepdim});
}

/// A reduction of nothing has no largest element.
Tensor extreme(const Operation& operation, const char* name, const Tensor& x, const DimArg& dims, bool keepdim) {
  const Shape& shape = Access::node(x, name)->shape;
  const std::uint32_t bits = checked_dims(name, dims, shape);
  if (reduced_count(shape, bits) == 0)
    throw ShapeError(std::string(name) + ": the reduced dims of shape " + to_string(shape) +
                     " are empty; there must be an element to choose");
  return reduce(operation, x, bits, keepdim, x.dtype());
}

/// Integers and bools are added and multiplied as int64.
Tensor summand(const Tensor& x) { return cast_to(x, is_floating(x.dtype()) ? x.dtype() : int64); }

/// The product along a dim, which stays. Half of the elements times the other half, and so on: what is differentiated
/// are products of two, and zeros need no care.
Tensor product_along(Tensor x, int dim) {
  if (x.shape()[dim] == 0) return sum(x, dim, true) + 1;
  Tensor odd;  // the product of those that had no partner
  for (std::int64_t n = x.shape()[dim]; n > 1; n /= 2) {
    if (n % 2 == 1) {
      const Tensor last = narrow(x, dim, n - 1, 1);
      odd = odd.defined() ? odd * last : last;
    }
    x = narrow(x, dim, 0, n / 2) * narrow(x, dim, n / 2, n / 2);
  }
  return odd.defined() ? x * odd : x;
}

/// total^(1/p), whose derivative is 0 where total is.
Tensor root(const Tensor& total, double p) {
  const Tensor constant = total == 0, inside = where(constant, 1, total);
  return where(constant, p > 0 ? 0 : std::numeric_limits<double>::infinity(),
               p == 2 ? sqrt(inside) : pow(inside, 1 / p));
}

Tensor position(const Operation& operation, const Tensor& x, std::optional<std::int64_t> dim, bool keepdim) {
  const Shape& shape = Access::node(x, operation.name)->shape;
  if (!dim) {
    const Tensor result = position(operation, reshape(x, {-1}), 0, false);
    return keepdim ? reshape(result, Dims::filled(shape.size(), 1)) : result;
  }
  const std::uint32_t bits = checked_dims(operation.name, *dim, shape);
  if (reduced_count(shape, bits) == 0)
    throw ShapeError(std::string(operation.name) + ": dim " + std::to_string(*dim) + " of shape " + to_string(shape) +
                     " is empty; there must be an element to choose");
  return reduce(operation, x, bits, keepdim, int64);
}

ValuesIndices extreme_along(const Operation& position_operation, const char* name, const Tensor& x, std::int64_t dim,
                            bool keepdim) {
  const Shape& shape = Access::node(x, name)->shape;
  if (shape.empty()) {
    checked_dims(name, dim, shape);
    return {unchanged(x), zeros({}, int64)};
  }
  const int d = checked_dim(name, dim, shape);
  const Tensor indices = position(position_operation, x, d, true);
  const Tensor values = gather(x, d, indices);
  if (keepdim) return {values, indices};
  return {squeeze(values, d), squeeze(indices, d)};
}

}  // namespace
}  // namespace detail

using namespace detail;

Tensor sum(const Tensor& x, const DimArg& dims, bool keepdim) {
  const std::uint32_t bits = checked_dims("sum", dims, Access::node(x, "sum")->shape);
  const Tensor operand = summand(x);
  return reduce(kSum, operand, bits, keepdim, operand.dtype());
}

Tensor prod(const Tensor& x, const DimArg& dims, bool keepdim) {
  const std::uint32_t bits = checked_dims("prod", dims, Access::node(x, "prod")->shape);
  Tensor result = unchanged(summand(x));
  for (int i = 0; i < x.dim(); ++i)
    if (bits >> i & 1) result = product_along(result, i);
  return reshape(result, reduced_shape(x.shape(), bits, keepdim));
}

Tensor cumsum(const Tensor& x, std::int64_t dim) {
  const Shape& shape = Access::node(x, "cumsum")->shape;
  const Tensor operand = summand(x);
  if (shape.empty()) {
    checked_dims("cumsum", dim, shape);
    return unchanged(operand);
  }
  return record(kCumsum, shape, operand.dtype(), {operand}, CumsumAttributes{checked_dim("cumsum", dim, shape)});
}

Tensor mean(const Tensor& x, const DimArg& dims, bool keepdim) {
  const std::uint32_t bits = checked_dims("mean", dims, Access::node(x, "mean")->shape);
  check_floating("mean", x);
  return sum(x, dims, keepdim) / static_cast<double>(reduced_count(x.shape(), bits));
}

Tensor var(const Tensor& x, const DimArg& dims, std::int64_t correction, bool keepdim) {
  const std::uint32_t bits = checked_dims("var", dims, Access::node(x, "var")->shape);
  check_floating("var", x);
  const Tensor deviation = x - mean(x, dims, true);
  const std::int64_t freedom = reduced_count(x.shape(), bits) - correction;
  return sum(square(deviation), dims, keepdim) / static_cast<double>(std::max<std::int64_t>(0, freedom));
}

Tensor std(const Tensor& x, const DimArg& dims, std::int64_t correction, bool keepdim) {
  checked_dims("std", dims, Access::node(x, "std")->shape);
  check_floating("std", x);
  return root(var(x, dims, correction, keepdim), 2);
}

Tensor norm(const Tensor& x, double p, const DimArg& dims, bool keepdim) {
  const Shape& shape = Access::node(x, "norm")->shape;
  const std::uint32_t bits = checked_dims("norm", dims, shape);
  check_floating("norm", x);
  if (std::isnan(p)) throw ValueError("norm: p is nan; it must be a number, or infinite");
  if ((p < 0 || std::isinf(p)) && reduced_count(shape, bits) == 0)
    throw ShapeError("norm: the reduced dims of shape " + to_string(shape) +
                     " are empty; for p = " + std::to_string(p) + " there must be an element");
  if (std::isinf(p)) return reduce(p > 0 ? kAmax : kAmin, abs(x), bits, keepdim, x.dtype());
  if (p == 0) return sum(abs(sign(where(isnan(x), 1, x))), dims, keepdim);
  if (p == 1) return sum(abs(x), dims, keepdim);
  if (p == 2) return root(sum(square(x), dims, keepdim), 2);
  const Tensor zero = x == 0, power = pow(abs(where(zero, 1, x)), p);
  return root(sum(where(zero, p > 0 ? 0 : std::numeric_limits<double>::infinity(), power), dims, keepdim), p);
}

Tensor amax(const Tensor& x, const DimArg& dims, bool keepdim) { return extreme(kAmax, "amax", x, dims, keepdim); }
Tensor amin(const Tensor& x, const DimArg& dims, bool keepdim) { return extreme(kAmin, "amin", x, dims, keepdim); }
Tensor max(const Tensor& x) { return extreme(kAmax, "max", x, {}, false); }
Tensor min(const Tensor& x) { return extreme(kAmin, "min", x, {}, false); }
ValuesIndices max(const Tensor& x, std::int64_t dim, bool keepdim) {
  return extreme_along(kArgmax, "max", x, dim, keepdim);
}
ValuesIndices min(const Tensor& x, std::int64_t dim, bool keepdim) {
  return extreme_along(kArgmin, "min", x, dim, keepdim);
}
Tensor argmax(const Tensor& x, std::optional<std::int64_t> dim, bool keepdim) {
  return position(kArgmax, x, dim, keepdim);
}
Tensor argmin(const Tensor& x, std::optional<std::int64_t> dim, bool keepdim) {
  return position(kArgmin, x, dim, keepdim);
}

Tensor any(const Tensor& x, const DimArg& dims, bool keepdim) {
  const std::uint32_t bits = checked_dims("any", dims, Access::node(x, "any")->shape);
  return reduce(kAny, cast_to(x, bool_), bits, keepdim, bool_);
}
Tensor all(const Tensor& x, const DimArg& dims, bool keepdim) {
  const std::uint32_t bits = checked_dims("all", dims, Access::node(x, "all")->shape);
  return reduce(kAll, cast_to(x, bool_), bits, keepdim, bool_);
}

Tensor logsumexp(const Tensor& x, const DimArg& dims, bool keepdim) {
  const std::uint32_t bits = checked_dims("logsumexp", dims, Access::node(x, "logsumexp")->shape);
  check_floating("logsumexp", x);
  if (reduced_count(x.shape(), bits) == 0) return log(sum(exp(x), dims, keepdim));
  // Shifted by the largest element, which is a constant here: the derivative by the shift is zero.
  Tensor shift = amax(x.detach(), dims, true);
  shift = where(isfinite(shift), shift, 0);
  const Tensor result = log(sum(exp(x - shift), dims, true)) + shift;
  return keepdim ? result : reshape(result, reduced_shape(x.shape(), bits, false));
}

}  // namespace adjoint
