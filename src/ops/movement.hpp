#pragma once

#include "core/operation.hpp"
#include "core/pool.hpp"

#include <optional>

namespace adjoint::detail {

/// Known to the matrix product, whose gradients take the memory order of their operands.
extern const Operation kPermute;
/// A slice that is put in its place, along a dim, among the zeros of a shape, as the cotangent of a slice is.
struct PutSlice {
  Tensor slice;
  Shape shape;
  int dim;
  std::int64_t start;
};
/// The cotangent of a node's input, when that of the node is g, if it is such a slice, with nothing left out between
/// its positions.
std::optional<PutSlice> put_slice(Node& node, const Tensor& g);
/// The sum of such slices, of one shape. Those of one dim that do not overlap are joined instead of added up: T slices
/// of a sequence cost T, not T^2.
Tensor sum_of_put_slices(const List<PutSlice>& parts);

/// x times a number. Where x is to repeat what it was broadcast from, and nobody else has it, that is multiplied instead.
Tensor multiplied(const Tensor& x, double number);

}  // namespace adjoint::detail
