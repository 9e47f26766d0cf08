// Host arrays of doubles: what the oracles of the operation table compute with. Nothing here calls an operation.
#pragma once

#include <adjoint/dtype.hpp>
#include <adjoint/shape.hpp>

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

namespace adjoint::table {

struct Array {
  Shape shape;
  std::vector<double> values;  // row-major
  std::optional<Dtype> dtype;  // none: the floating dtype under test

  std::size_t position(const Dims& index) const;
  double at(const Dims& index) const { return values[position(index)]; }
  double& at(const Dims& index) { return values[position(index)]; }
  /// The element that broadcasting puts at an index of at least this rank.
  double broadcast_at(const Dims& index) const;
};
using Arrays = std::vector<Array>;

/// Calls visit(index) for the indices of a shape, in row-major order.
void for_each_index(const Shape& shape, const std::function<void(const Dims&)>& visit);
/// An array whose element at each index is element(index).
Array generate(const Shape& shape, const std::function<double(const Dims&)>& element, std::optional<Dtype> dtype = {});
/// f of the inputs' elements that broadcasting brings together.
Array map(const Arrays& inputs, const std::function<double(const double*)>& f, std::optional<Dtype> dtype = {});
/// f of the elements, in row-major order, that a reduction over `dims` (none: all) brings together.
Array reduce(const Array& x, const Dims& dims, bool keepdim, const std::function<double(const std::vector<double>&)>& f,
             std::optional<Dtype> dtype = {});
/// x of another shape, with element (index) taken from x at from(index).
Array moved(const Array& x, const Shape& shape, const std::function<Dims(const Dims&)>& from);
/// A dim counted from the front.
inline int front(std::int64_t dim, int rank) { return static_cast<int>(dim < 0 ? dim + rank : dim); }
/// The value as an element of the dtype holds it: rounded for float32, wrapped around for integers.
double stored(double value, Dtype dtype);

}  // namespace adjoint::table
