#pragma once

#include <adjoint/tensor.hpp>

#include <vector>

namespace adjoint::optim {

/// Scales the gradients by min(1, max_norm / (norm + 1e-6)), where the norm is that of all gradients together as one
/// vector: (sum |g|^norm_type)^(1 / norm_type), or max |g| when norm_type is infinite. Returns the norm from before, a
/// scalar (zero when no parameter has a gradient). Records, and computes nothing. Throws ValueError unless
/// max_norm >= 0 and norm_type > 0.
ADJOINT_API Tensor clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type = 2);

}  // namespace adjoint::optim
