#include "builders.hpp"
#include "gamma.hpp"

#include <algorithm>
#include <cmath>

namespace adjoint::table {

namespace {

double sign_of(double x) { return (x > 0) - (x < 0); }
double normalized(double x) { return 1 / (1 + std::exp(-x)); }

Domain away_from(std::vector<double> kinks, double gap = 0.05) { return {-2.5, 2.5, std::move(kinks), gap}; }
Domain distinct() {
  Domain domain;
  domain.distinct = true;
  return domain;
}

Row clamp_row() {
  using Limit = std::optional<Scalar>;
  Row row{"clamp", Family::elementwise, {Result::same, Result::int64}, {}};
  struct Limits {
    const char* label;
    Limit min, max;
    double low, high;
  };
  for (const Limits& limits : {Limits{"clamp(x, -1, 1)", -1, 1, -1, 1}, Limits{"clamp(x, -1)", -1, {}, -1, 1e300},
                               Limits{"clamp(x, {}, 1)", {}, 1, -1e300, 1}})
    for (const Input& input : one_operand(away_from({-1, 1})))
      row.cases.push_back(one(
          limits.label, {input}, [limits](const Tensors& x) { return clamp(x[0], limits.min, limits.max); },
          [limits](const Arrays& x) {
            return map(x, [&](const double* v) { return std::min(std::max(v[0], limits.low), limits.high); });
          }));
  row.timed = {timed("clamp(x, -1, 1)", {kTimed}, [](const Tensors& x) { return clamp(x[0], -1, 1); })};
  row.errors = {
      value_error([](const Tensors&) { return clamp(zeros({2}), {}, {}); }, {"min", "max"}),
      value_error([](const Tensors&) { return clamp(zeros({2}, uint8), 256); }, {"256", "uint8"}),
      value_error([](const Tensors&) { return clamp(zeros({2}, uint8), {}, -1); }, {"-1", "uint8"}),
  };
  return row;
}

Row cast_row() {
  Row row{"cast", Family::linear, kKept, {}};
  for (const Input& input : one_operand({})) {
    row.cases.push_back(one_floating(
        "cast(x, float64)", {input}, [](const Tensors& x) { return cast(x[0], float64); },
        [](const Arrays& x) {
          return Array{x[0].shape, x[0].values, float64};
        }));
    row.cases.push_back(one(
        "cast(x, bool)", {input}, [](const Tensors& x) { return cast(x[0], bool_); },
        [](const Arrays& x) {
          return map(
              x, [](const double* v) { return v[0] != 0; }, bool_);
        }));
  }
  for (Dtype to : {int64, int32})
    for (std::int64_t n : {7, 1025})
      row.cases.push_back(one(
          std::string("cast(x, ") + adjoint::name_of(to) + ")", {{{n}, Domain{-100, 100}}},
          [to](const Tensors& x) { return cast(x[0], to); },
          [to](const Arrays& x) {
            return map(
                x, [](const double* v) { return std::trunc(v[0]); }, to);
          }));
  row.cases.push_back(one_floating(
      "cast(x, uint8)", {{{513}, Domain{0, 255}}}, [](const Tensors& x) { return cast(x[0], uint8); },
      [](const Arrays& x) {
        return map(
            x, [](const double* v) { return std::trunc(v[0]); }, uint8);
      }));
  for (Dtype to : {float32, float64, int64})
    row.timed.push_back(timed(std::string("cast(x, ") + adjoint::name_of(to) + ")", {kTimed},
                              [to](const Tensors& x) { return cast(x[0], to); }));
  return row;
}

// Away from the poles of the gamma function, and from the zeros of its logarithm's derivatives between those, where
// little is left of large terms (around the positive zero of digamma, in long double).
Domain between_poles() { return away_from({-2.5, -2, -1.5, -1, -0.5, 0, 1.46}, 0.15); }
double polygamma_of(int n, double x) { return static_cast<double>(derivative_of_lgamma<long double>(n, x)); }

Row polygamma_row() {
  Row row{"polygamma", Family::elementwise, kToFloat, {}};
  for (int n : {0, 1, 2, 3})
    for (const Input& input : one_operand(between_poles()))
      row.cases.push_back(one(
          "polygamma(" + std::to_string(n) + ", x)", {input}, [n](const Tensors& x) { return polygamma(n, x[0]); },
          [n](const Arrays& x) { return map(x, [n](const double* v) { return polygamma_of(n, v[0]); }); }));
  row.timed = {timed("polygamma(1, x)", {kTimed}, [](const Tensors& x) { return polygamma(1, x[0]); })};
  row.errors = {value_error([](const Tensors&) { return polygamma(-1, zeros({2})); }, {"order n", "-1", "2^24"}),
                value_error([](const Tensors&) { return polygamma((1 << 24) + 1, zeros({2})); }, {"16777217"})};
  return row;
}

// Integer exponents, for which the base may be negative.
void add_powers(Row& row) {
  for (double exponent : {2.0, 3.0, 0.5, -1.0, 0.0, 1.0}) {
    const bool is_whole = exponent == std::floor(exponent);
    row.cases.push_back(one_floating(
        "pow(a, " + std::to_string(exponent) + ")", {{{4, 129}, is_whole ? away_from({0}, 0.4) : Domain{0.4, 2.5}}},
        [exponent](const Tensors& x) { return pow(x[0], exponent); },
        [exponent](const Arrays& x) { return map(x, [&](const double* v) { return std::pow(v[0], exponent); }); }));
  }
}

Row where_row() {
  Row row{"where", Family::elementwise, kKept, {}};
  const auto oracle = [](const Arrays& x) {
    return map({x[1], x[2], x[0]}, [](const double* v) { return v[2] != 0 ? v[0] : v[1]; });
  };
  for (std::vector<Input> inputs : two_operands({}, {})) {
    inputs.insert(inputs.begin(), mask_input(inputs[0].shape, inputs[0].layout));
    row.cases.push_back(one(
        "where(condition, a, b)", inputs, [](const Tensors& x) { return where(x[0], x[1], x[2]); }, oracle));
  }
  for (const std::vector<Input>& inputs :
       {std::vector<Input>{mask_input({}), Input({5}), Input({3, 1})},
        std::vector<Input>{mask_input({4, 1, 3}, Layout::sliced), Input({}), Input({2, 1}, Layout::flipped)},
        std::vector<Input>{mask_input({513}, Layout::flipped), Input({1}), Input({513}, Layout::sliced)}})
    row.cases.push_back(one(
        "where(condition, a, b)", inputs, [](const Tensors& x) { return where(x[0], x[1], x[2]); }, oracle));
  const Array number{{}, {2.5}, {}};
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{3, 5}, Shape{513}}) {
    const std::vector<Input> inputs{mask_input({shape.empty() ? 2 : shape[0], 1}), Input({shape, Layout::sliced})};
    row.cases.push_back(one_floating(
        "where(condition, a, 2.5)", inputs, [](const Tensors& x) { return where(x[0], x[1], 2.5); },
        [=](const Arrays& x) {
          return oracle({x[0], x[1], number});
        }));
    row.cases.push_back(one_floating(
        "where(condition, 2.5, b)", inputs, [](const Tensors& x) { return where(x[0], 2.5, x[1]); },
        [=](const Arrays& x) {
          return oracle({x[0], number, x[1]});
        }));
  }
  row.timed = {timed("where(condition, a, b)", {mask_input(kTimed), kTimed, kTimed},
                     [](const Tensors& x) { return where(x[0], x[1], x[2]); })};
  row.errors = {
      dtype_error([](const Tensors&) { return where(zeros({2}), zeros({2}), zeros({2})); },
                  {"condition", "float32", "bool"}),
      value_error([](const Tensors&) { return where(ones({2}, bool_), zeros({2}, uint8), 256); }, {"256", "uint8"}),
      shape_error([](const Tensors&) { return where(zeros({2}, bool_), zeros({3}), zeros({1})); }, {"(2,)", "(3,)"}),
  };
  return row;
}

Row masked_fill_row() {
  Row row{"masked_fill", Family::elementwise, kKept, {}};
  for (const Input& input : one_operand({}))
    for (const Input& mask : {mask_input(input.shape, Layout::flipped), mask_input({})})
      row.cases.push_back(one(
          "masked_fill(x, mask, 1)", {input, mask}, [](const Tensors& x) { return masked_fill(x[0], x[1], 1); },
          [](const Arrays& x) { return map(x, [](const double* v) { return v[1] != 0 ? 1 : v[0]; }); }));
  row.cases.push_back(one(
      "masked_fill(x, mask, 1)", {Input({2, 3}), mask_input({4, 1, 1})},
      [](const Tensors& x) { return masked_fill(x[0], x[1], 1); },
      [](const Arrays& x) { return map(x, [](const double* v) { return v[1] != 0 ? 1 : v[0]; }); }));
  row.timed = {timed("masked_fill(x, mask, 1)", {kTimed, mask_input(kTimed)},
                     [](const Tensors& x) { return masked_fill(x[0], x[1], 1); })};
  row.errors = {
      dtype_error([](const Tensors&) { return masked_fill(zeros({2}), zeros({2}), 1); }, {"mask", "float32", "bool"}),
      value_error([](const Tensors&) { return masked_fill(zeros({2}, uint8), ones({2}, bool_), -1); }, {"-1", "uint8"}),
      shape_error([](const Tensors&) { return masked_fill(zeros({2}), zeros({3}, bool_), 1); }, {"(2,)", "(3,)"}),
  };
  return row;
}

}  // namespace

std::vector<Row> elementwise_rows() {
  const Family family = Family::elementwise;
  const Domain any{}, moderate{-3, 3}, positive{0.4, 3};
  const OnIntegers square_of{Result::same, Result::int64};
  std::vector<Row> rows{
      // piecewise linear
      unary("neg", family, {neg, [](double x) { return -x; }}, any, kNoBools),
      unary("abs", family, {abs, std::fabs}, away_from({0}), kNoBools),
      unary("relu", family, {relu, [](double x) { return std::max(x, 0.0); }}, away_from({0}), kNoBools),
      clamp_row(),
      // piecewise constant
      unary("sign", family, {sign, sign_of}, away_from({0}), kKept),
      unary("floor", family, {floor, std::floor}, away_from({-2, -1, 0, 1, 2}), kNoBools),
      unary("ceil", family, {ceil, std::ceil}, away_from({-2, -1, 0, 1, 2}), kNoBools),
      unary("round", family, {round, std::nearbyint}, away_from({-1.5, -0.5, 0.5, 1.5}), kNoBools),
      // powers
      unary("square", family, {square, [](double x) { return x * x; }}, any, square_of),
      unary("reciprocal", family, {reciprocal, [](double x) { return 1 / x; }}, away_from({0}, 0.4), kToFloat),
      unary("sqrt", family, {sqrt, std::sqrt}, positive, kToFloat),
      unary("rsqrt", family, {rsqrt, [](double x) { return 1 / std::sqrt(x); }}, positive, kToFloat),
      // exponentials
      unary("exp", family, {exp, std::exp}, moderate, kToFloat),
      unary("expm1", family, {expm1, std::expm1}, moderate, kToFloat),
      unary("log", family, {log, std::log}, positive, kToFloat),
      unary("log2", family, {log2, std::log2}, positive, kToFloat),
      unary("log1p", family, {log1p, std::log1p}, {-0.6, 3}, kToFloat),
      unary("sigmoid", family, {sigmoid, normalized}, moderate, kToFloat),
      unary("softplus", family, {softplus, [](double x) { return std::log1p(std::exp(x)); }}, moderate, kToFloat),
      unary("sinh", family, {sinh, std::sinh}, moderate, kToFloat),
      unary("cosh", family, {cosh, std::cosh}, moderate, kToFloat),
      unary("tanh", family, {tanh, std::tanh}, moderate, kToFloat),
      unary("erf", family, {erf, std::erf}, moderate, kToFloat),
      // the gamma function
      unary("lgamma", family, {lgamma, std::lgamma}, between_poles(), kToFloat),
      unary("digamma", family, {digamma, [](double x) { return polygamma_of(0, x); }}, between_poles(), kToFloat),
      polygamma_row(),
      // of the circle
      unary("sin", family, {sin, std::sin}, moderate, kToFloat),
      unary("cos", family, {cos, std::cos}, moderate, kToFloat),
      unary("tan", family, {tan, std::tan}, {-1.2, 1.2}, kToFloat),
      unary("asin", family, {asin, std::asin}, {-0.9, 0.9}, kToFloat),
      unary("acos", family, {acos, std::acos}, {-0.9, 0.9}, kToFloat),
      unary("atan", family, {atan, std::atan}, moderate, kToFloat),
      // two operands
      binary("add", family, {add, add, add, [](double a, double b) { return a + b; }}, any, any, 2.5, kKept),
      binary("sub", family, {sub, sub, sub, [](double a, double b) { return a - b; }}, any, any, 2.5, kNoBools),
      binary("mul", family, {mul, mul, mul, [](double a, double b) { return a * b; }}, any, any, 2.5, kKept),
      binary("div", family, {div, div, div, [](double a, double b) { return a / b; }}, any, away_from({0}, 0.4), 2.5,
             kToFloat),
      binary("maximum", family, {maximum, maximum, maximum, [](double a, double b) { return std::max(a, b); }},
             distinct(), distinct(), 0.5, kKept),
      binary("minimum", family, {minimum, minimum, minimum, [](double a, double b) { return std::min(a, b); }},
             distinct(), distinct(), 0.5, kKept),
      binary("atan2", family, {atan2, atan2, atan2, [](double a, double b) { return std::atan2(a, b); }},
             away_from({0}, 0.4), away_from({0}, 0.4), 1.5, kToFloat),
      binary("pow", family, {pow, pow, pow, [](double a, double b) { return std::pow(a, b); }}, {0.4, 2.5}, {0, 3}, 1.5,
             kNoBools),
  };
  add_powers(rows.back());
  rows.push_back(where_row());
  rows.push_back(masked_fill_row());
  rows.push_back(cast_row());
  return rows;
}

std::vector<Row> comparison_rows() {
  const Family family = Family::non_differentiable;
  const Domain few = whole(-2, 2);
  Domain special;
  special.choices = {-1, 0, 1, std::nan(""), INFINITY, -INFINITY};
  const auto truth = [](const char* name, Binary f, const Domain& domain) {
    return binary(name, Family::non_differentiable, f, domain, domain, 1, kKept, bool_);
  };
  return {
      truth("eq", {eq, eq, eq, [](double a, double b) { return double(a == b); }}, few),
      truth("ne", {ne, ne, ne, [](double a, double b) { return double(a != b); }}, few),
      truth("lt", {lt, lt, lt, [](double a, double b) { return double(a < b); }}, few),
      truth("le", {le, le, le, [](double a, double b) { return double(a <= b); }}, few),
      truth("gt", {gt, gt, gt, [](double a, double b) { return double(a > b); }}, few),
      truth("ge", {ge, ge, ge, [](double a, double b) { return double(a >= b); }}, few),
      truth("logical_and", {logical_and, logical_and, logical_and, [](double a, double b) { return double(a && b); }},
            whole(-1, 1)),
      truth("logical_or", {logical_or, logical_or, logical_or, [](double a, double b) { return double(a || b); }},
            whole(-1, 1)),
      truth("logical_xor", {logical_xor, logical_xor, logical_xor, [](double a, double b) { return double(!a != !b); }},
            whole(-1, 1)),
      unary("logical_not", family, {logical_not, [](double x) { return double(!x); }}, whole(-1, 1), kKept, bool_),
      unary("isnan", family, {isnan, [](double x) { return double(std::isnan(x)); }}, special, kKept, bool_),
      unary("isinf", family, {isinf, [](double x) { return double(std::isinf(x)); }}, special, kKept, bool_),
      unary("isfinite", family, {isfinite, [](double x) { return double(std::isfinite(x)); }}, special, kKept, bool_),
  };
}

}  // namespace adjoint::table
