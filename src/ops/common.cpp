#include "ops/common.hpp"

#include <adjoint/autograd.hpp>

namespace adjoint::detail {

int checked_dim(const char* operation, std::int64_t dim, const Shape& shape) {
  const int rank = shape.size();
  if (dim < -rank || dim >= rank)
    throw ShapeError(std::string(operation) + ": dim " + std::to_string(dim) + " is out of range for shape " +
                     to_string(shape) +
                     (rank ? "; it must lie in [" + std::to_string(-rank) + ", " + std::to_string(rank - 1) + "]"
                           : ", which has no dims"));
  return static_cast<int>(dim < 0 ? dim + rank : dim);
}

int checked_new_dim(const char* operation, std::int64_t dim, const Shape& shape) {
  const int rank = shape.size();
  if (dim < -rank - 1 || dim > rank)
    throw ShapeError(std::string(operation) + ": dim " + std::to_string(dim) +
                     " is out of range for a new dim of shape " + to_string(shape) + "; it must lie in [" +
                     std::to_string(-rank - 1) + ", " + std::to_string(rank) + "]");
  return static_cast<int>(dim < 0 ? dim + rank + 1 : dim);
}

std::uint32_t checked_dims(const char* operation, const DimArg& dims, const Shape& shape) {
  if (dims.dims().empty()) return (1u << shape.size()) - 1;
  std::uint32_t bits = 0;
  for (std::int64_t dim : dims.dims()) {
    if (shape.empty() && (dim == 0 || dim == -1)) continue;  // a scalar is also a vector of one, as in PyTorch
    const std::uint32_t bit = 1u << checked_dim(operation, dim, shape);
    if (bits & bit)
      throw ShapeError(std::string(operation) + ": dim " + std::to_string(dim) + " appears twice in dims " +
                       to_string(dims.dims()) + " for shape " + to_string(shape));
    bits |= bit;
  }
  return bits;
}

void check_shape(const char* operation, const Shape& shape) {
  for (std::int64_t size : shape)
    if (size < 0) throw ShapeError(std::string(operation) + ": shape " + to_string(shape) + " has a negative size");
  if (!is_addressable(shape))
    throw ShapeError(std::string(operation) + ": shape " + to_string(shape) +
                     " has more elements than can be addressed");
}

void check_floating(const char* operation, const Tensor& x) {
  if (!is_floating(Access::node(x, operation)->dtype))
    throw DtypeError(std::string(operation) + ": the input of shape " + to_string(x.shape()) + " has dtype " +
                     name_of(x.dtype()) + "; it must be float32 or float64");
}

Shape reduced_shape(const Shape& shape, std::uint32_t dims, bool keepdim) {
  Shape result;
  for (int i = 0; i < shape.size(); ++i)
    if (!(dims >> i & 1)) result.push_back(shape[i]);
    else if (keepdim) result.push_back(1);
  return result;
}

std::int64_t reduced_count(const Shape& shape, std::uint32_t dims) {
  std::int64_t count = 1;
  for (int i = 0; i < shape.size(); ++i)
    if (dims >> i & 1) count *= shape[i];
  return count;
}

Tensor unchanged(const Tensor& x) { return is_grad_enabled() || !x.requires_grad() ? snapshot(x) : detached(x); }

Tensor cast_to(const Tensor& x, Dtype dtype) { return x.dtype() == dtype ? x : cast(x, dtype); }

Dtype promote(Dtype dtype, Scalar scalar) noexcept {
  if (scalar.is_floating()) return is_floating(dtype) ? dtype : float32;
  if (scalar.is_integer()) return dtype == bool_ ? int64 : dtype;
  return dtype;
}

bool can_hold(Dtype dtype, Scalar value) noexcept {
  if (!value.is_integer()) return true;
  const std::int64_t whole = value.to_int64();
  if (dtype == uint8) return whole >= 0 && whole <= 255;
  return dtype != int32 || whole == static_cast<std::int32_t>(whole);
}

Tensor number_of(const char* operation, Scalar value, Dtype dtype) {
  if (!can_hold(dtype, value))
    throw ValueError(std::string(operation) + ": the number " + std::to_string(value.to_int64()) +
                     " is beyond what dtype " + name_of(dtype) + " can hold");
  return scalar_node(value, dtype);
}

Dtype promote(const Tensor& a, const Tensor& b) {
  const auto kind = [](Dtype dtype) { return is_floating(dtype) ? 2 : dtype == bool_ ? 0 : 1; };
  const bool a_is_number = a.shape().empty(), b_is_number = b.shape().empty();
  if (a_is_number && !b_is_number && kind(a.dtype()) <= kind(b.dtype())) return b.dtype();
  if (b_is_number && !a_is_number && kind(b.dtype()) <= kind(a.dtype())) return a.dtype();
  return promote_types(a.dtype(), b.dtype());
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const int offset = x.dim() - shape.size();
  Dims dims;
  for (int i = 0; i < x.dim(); ++i)
    if (i < offset || (shape[i - offset] == 1 && x.shape()[i] != 1)) dims.push_back(i);
  const Tensor summed = dims.empty() ? x : sum(x, dims, true);
  return summed.shape() == shape ? summed : reshape(summed, shape);
}

Tensor expand_reduced(const Tensor& result, std::uint32_t dims, const Shape& shape) {
  const Shape kept = reduced_shape(shape, dims, true);
  return broadcast_to(result.shape() == kept ? result : reshape(result, kept), shape);
}

}  // namespace adjoint::detail
