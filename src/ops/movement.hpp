#pragma once

#include "core/operation.hpp"

#include <vector>

namespace adjoint::detail {

/// Known to the matrix product, whose gradients take the memory order of their operands.
extern const Operation kPermute;
/// Whether x is a slice that was put in its place among zeros, as the cotangent of a slice is, and not computed yet.
bool is_put_slice(const Tensor& x);
/// The sum of such slices, of one shape. Those of one dim that do not overlap are joined instead of added up: T slices
/// of a sequence cost T, not T^2.
Tensor sum_of_put_slices(const std::vector<Tensor>& slices);

}  // namespace adjoint::detail
