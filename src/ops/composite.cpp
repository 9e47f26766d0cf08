#include "ops/common.hpp"

#include <algorithm>

namespace adjoint {

using namespace detail;

namespace {

/// x less its largest element along a dim, which is a constant here: it drops out of what these functions compute.
Tensor shifted(const char* operation, const Tensor& x, std::int64_t dim) {
  const Shape& shape = Access::node(x, operation)->shape;
  check_floating(operation, x);
  if (!shape.empty()) checked_dim(operation, dim, shape);
  if (numel(shape) == 0) return x;
  return x - amax(x.detach(), dim, true);
}

/// The triangle of each matrix on one side of a diagonal.
Tensor triangle(const char* operation, const Tensor& x, std::int64_t diagonal, bool lower) {
  const Shape& shape = Access::node(x, operation)->shape;
  if (shape.size() < 2)
    throw ShapeError(std::string(operation) + ": the input of shape " + to_string(shape) +
                     " is no matrix; it must have at least 2 dims");
  const std::int64_t rows = shape[shape.size() - 2], columns = shape.back();
  const std::int64_t offset = std::clamp(diagonal, -rows, columns);  // where nothing changes any more
  const Tensor i = unsqueeze(arange(rows), 1) + offset, j = arange(columns);
  return where(lower ? j <= i : j >= i, x, zeros({}, x.dtype()));
}

}  // namespace

Tensor softmax(const Tensor& x, std::int64_t dim) {
  const Tensor e = exp(shifted("softmax", x, dim));
  return e * reciprocal(sum(e, dim, true));  // one division for a row
}

Tensor log_softmax(const Tensor& x, std::int64_t dim) {
  const Tensor d = shifted("log_softmax", x, dim);
  return d - log(sum(exp(d), dim, true));
}

Tensor gelu(const Tensor& x) {
  check_floating("gelu", x);
  return x * ((erf(x * 0.70710678118654752) + 1) * 0.5);
}

Tensor gelu_tanh(const Tensor& x) {
  check_floating("gelu_tanh", x);
  return x * ((tanh(x * (square(x) * 0.044715 + 1) * 0.79788456080286536) + 1) * 0.5);  // sqrt(2 / pi)
}

Tensor elu(const Tensor& x, double alpha) {
  check_floating("elu", x);
  const Tensor negative = x <= 0;
  return where(negative, expm1(where(negative, x, 0)) * alpha, x);  // nothing overflows where it is not chosen
}

Tensor leaky_relu(const Tensor& x, double negative_slope) {
  check_floating("leaky_relu", x);
  return where(x > 0, x, x * negative_slope);
}

Tensor hardtanh(const Tensor& x, Scalar min, Scalar max) {
  if (!(min.to_double() <= max.to_double()))
    throw ValueError("hardtanh: min is " + std::to_string(min.to_double()) + " and max " +
                     std::to_string(max.to_double()) + "; min must not be above max");
  if (Access::node(x, "hardtanh")->dtype == bool_)
    throw DtypeError("hardtanh: the input of shape " + to_string(x.shape()) + " has dtype bool; it must be a number");
  const Dtype dtype = promote(promote(x.dtype(), min), max);
  const Tensor low = number_of("hardtanh", min, dtype), high = number_of("hardtanh", max, dtype);
  return where(x <= low, low, where(x >= high, high, x));
}

Tensor silu(const Tensor& x) {
  check_floating("silu", x);
  return x * sigmoid(x);
}

Tensor tril(const Tensor& x, std::int64_t diagonal) { return triangle("tril", x, diagonal, true); }
Tensor triu(const Tensor& x, std::int64_t diagonal) { return triangle("triu", x, diagonal, false); }

Tensor dropout(const Tensor& x, double p, bool training, Generator& generator) {
  if (!(p >= 0 && p <= 1)) throw ValueError("dropout: p is " + std::to_string(p) + "; it must lie in [0, 1]");
  check_floating("dropout", x);
  if (!training || p == 0) return unchanged(x);
  const Tensor kept = rand(x.shape(), float32, generator) >= p;
  return where(kept, p == 1 ? x : x * (1 / (1 - p)), 0);
}

Tensor isclose(const Tensor& a, const Tensor& b, double rtol, double atol, bool equal_nan) {
  if (!(rtol >= 0 && atol >= 0))
    throw ValueError("isclose: rtol is " + std::to_string(rtol) + " and atol " + std::to_string(atol) +
                     "; they must not be negative");
  const Dtype dtype = promote_types(Access::node(a, "isclose")->dtype, Access::node(b, "isclose")->dtype);
  broadcast_shapes(a.shape(), b.shape(), "isclose");
  const Tensor x = cast(a, is_floating(dtype) ? dtype : float64), y = cast(b, x.dtype());
  Tensor close = x == y || (isfinite(x) && isfinite(y) && abs(x - y) <= atol + rtol * abs(y));
  if (equal_nan) close = close || (isnan(x) && isnan(y));
  return close;
}

bool allclose(const Tensor& a, const Tensor& b, double rtol, double atol, bool equal_nan) {
  broadcast_shapes(Access::node(a, "allclose")->shape, Access::node(b, "allclose")->shape, "allclose");
  return all(isclose(a, b, rtol, atol, equal_nan)).item<bool>();
}

bool equal(const Tensor& a, const Tensor& b) {
  if (Access::node(a, "equal")->shape != Access::node(b, "equal")->shape) return false;
  return all(a == b).item<bool>();
}

Tensor Tensor::to(Dtype dtype) const { return cast(*this, dtype); }
Tensor Tensor::sum() const { return adjoint::sum(*this); }
Tensor Tensor::sum(const DimArg& dims, bool keepdim) const { return adjoint::sum(*this, dims, keepdim); }
Tensor Tensor::mean() const { return adjoint::mean(*this); }
Tensor Tensor::mean(const DimArg& dims, bool keepdim) const { return adjoint::mean(*this, dims, keepdim); }
Tensor Tensor::argmax(std::optional<std::int64_t> dim, bool keepdim) const {
  return adjoint::argmax(*this, dim, keepdim);
}

}  // namespace adjoint
