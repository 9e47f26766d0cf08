#pragma once

#include "core/operation.hpp"

namespace adjoint::detail {

/// Known to the matrix product, whose gradients take the memory order of their operands.
extern const Operation kPermute;

}  // namespace adjoint::detail
