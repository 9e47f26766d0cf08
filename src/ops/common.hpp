// What the operations' checks and rules share.
#pragma once

#include "core/operation.hpp"
#include "engine/engine.hpp"
#include "engine/execute.hpp"

#include <adjoint/ops.hpp>

#include <optional>
#include <string>

namespace adjoint::detail {

inline constexpr std::uint8_t kReadsA = 1, kReadsB = 2, kReadsC = 4;

/// A dim counted from the front. Throws ShapeError naming the operation, the dim and the shape.
int checked_dim(const char* operation, std::int64_t dim, const Shape& shape);
/// The same for a position between dims, 0 .. rank.
int checked_new_dim(const char* operation, std::int64_t dim, const Shape& shape);
/// A set of dims as bits; no dims mean all. Throws ShapeError also for a dim named twice.
std::uint32_t checked_dims(const char* operation, const DimArg& dims, const Shape& shape);
/// Throws ShapeError for negative sizes and for more elements than can be addressed.
void check_shape(const char* operation, const Shape& shape);
/// Throws DtypeError unless the dtype is floating, ValueError for an undefined tensor.
void check_floating(const char* operation, const Tensor& x);

/// reshape and broadcast_to under another operation's name.
Tensor reshape_as(const char* operation, const Tensor& x, const Shape& shape);
Tensor broadcast_as(const char* operation, const Tensor& x, const Shape& shape, const char* argument = "input");
/// Positions of one dim, as Python's slice selects them.
Tensor python_slice(const char* operation, const Tensor& x, int dim, const Slice& slice);

/// The shape without the dims, or with them as 1.
Shape reduced_shape(const Shape& shape, std::uint32_t dims, bool keepdim);
std::int64_t reduced_count(const Shape& shape, std::uint32_t dims);

/// x as the result of an operation that has nothing to do: the value that x has now, not the cell that it may be.
Tensor unchanged(const Tensor& x);
/// A computed tensor whose elements the caller still has to write.
Tensor unwritten(const Shape& shape, Dtype dtype, std::byte** data);
/// x in another dtype, or itself.
Tensor cast_to(const Tensor& x, Dtype dtype);
/// The dtype in which a tensor and a number meet.
Dtype promote(Dtype dtype, Scalar scalar) noexcept;
/// Whether an integer dtype can hold a whole number (others can, or round).
bool can_hold(Dtype dtype, Scalar value) noexcept;
/// A number as a node. Throws ValueError when it is a whole number that the dtype cannot hold.
Tensor number_of(const char* operation, Scalar value, Dtype dtype);
/// The dtype in which two tensors meet. As in PyTorch, one without dims is taken for a number: beside one with dims it
/// counts only when it is of a higher kind (bool < integers < floating).
Dtype promote(const Tensor& a, const Tensor& b);

/// Undoes broadcasting: the sum over what was repeated. The one place where that is done.
Tensor sum_to(const Tensor& x, const Shape& shape);
/// A reduction's result seen with the reduced dims again, repeated to the input's shape.
Tensor expand_reduced(const Tensor& result, std::uint32_t dims, const Shape& shape);

/// gather and scatter_add of what fits together, with an index of int64 or int32.
Tensor gathered(const Tensor& x, std::int64_t dim, const Tensor& index);
Tensor scatter_added(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source);

/// Elements that are put in their places, along a dim, among the zeros of a shape, as the cotangent of a gather is.
struct PutElements {
  Tensor index, elements;
  Shape shape;
  std::int64_t dim;
};
/// The cotangent of a node's input, when that of the node is g, if it is such elements.
std::optional<PutElements> put_elements(Node& node, const Tensor& g, MarkedValues& values);
/// Adds them to x, or, where that is undefined, to zeros.
Tensor with_elements(const Tensor& x, const PutElements& put);

/// An image as a batch of one; throws ShapeError for what is neither.
Tensor with_batch(const char* operation, const Tensor& x);
/// Throws ValueError unless both numbers are at least `least`, and fit 32 bits. `shape` is the input's.
void check_window(const char* operation, const char* what, const IntPair& value, std::int64_t least,
                  const Shape& shape);

}  // namespace adjoint::detail
