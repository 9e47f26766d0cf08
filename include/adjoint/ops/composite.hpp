// Composites: a few lines over the operations before, without a derivative of their own.
#pragma once

#include <adjoint/random.hpp>
#include <adjoint/tensor.hpp>

namespace adjoint {

/// exp(x) / sum(exp(x)) along a dim, stable for large elements. Floating dtypes, else DtypeError.
ADJOINT_API Tensor softmax(const Tensor& x, std::int64_t dim);
/// log(softmax(x)), stable for large elements.
ADJOINT_API Tensor log_softmax(const Tensor& x, std::int64_t dim);
/// x Phi(x), with the normal distribution function by erf (Hendrycks & Gimpel 2016).
ADJOINT_API Tensor gelu(const Tensor& x);
/// x sigmoid(x).
ADJOINT_API Tensor silu(const Tensor& x);
/// In training, zero with probability p, else x / (1 - p); otherwise x. Throws ValueError unless 0 <= p <= 1.
ADJOINT_API Tensor dropout(const Tensor& x, double p, bool training = true,
                           Generator& generator = default_generator());

// -- comparison -------------------------------------------------------------------------------------------------------

/// Whether |a - b| <= atol + rtol |b|, elementwise; equal infinities are close, NaN only if `equal_nan`.
ADJOINT_API Tensor isclose(const Tensor& a, const Tensor& b, double rtol = 1e-5, double atol = 1e-8,
                           bool equal_nan = false);
/// Whether all elements are close. Computes.
ADJOINT_API bool allclose(const Tensor& a, const Tensor& b, double rtol = 1e-5, double atol = 1e-8,
                          bool equal_nan = false);
/// Whether shapes are the same and all elements equal. Computes.
ADJOINT_API bool equal(const Tensor& a, const Tensor& b);

}  // namespace adjoint
