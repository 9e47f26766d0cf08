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
/// gelu with the distribution function approximated by a tanh: x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 (ibid.).
ADJOINT_API Tensor gelu_tanh(const Tensor& x);
/// x for x > 0, else alpha (exp(x) - 1) (Clevert et al. 2015). Derivative at 0: alpha. Floating dtypes, else
/// DtypeError.
ADJOINT_API Tensor elu(const Tensor& x, double alpha = 1);
/// x for x > 0, else negative_slope x. Derivative at 0: negative_slope. Floating dtypes, else DtypeError.
ADJOINT_API Tensor leaky_relu(const Tensor& x, double negative_slope = 0.01);
/// Limits x to [min, max]; the derivative at the limits is 0, not 1 as that of clamp. Throws ValueError unless
/// min <= max, DtypeError for bool.
ADJOINT_API Tensor hardtanh(const Tensor& x, Scalar min = -1, Scalar max = 1);
/// x sigmoid(x).
ADJOINT_API Tensor silu(const Tensor& x);
/// In training, zero with probability p, else x / (1 - p); otherwise x. Throws ValueError unless 0 <= p <= 1.
ADJOINT_API Tensor dropout(const Tensor& x, double p, bool training = true,
                           Generator& generator = default_generator());

// -- matrices ---------------------------------------------------------------------------------------------------------

/// The lower triangle of each matrix in [.., m, n], with zeros elsewhere: columns j <= i + diagonal of row i. Throws
/// ShapeError for fewer than two dims.
ADJOINT_API Tensor tril(const Tensor& x, std::int64_t diagonal = 0);
/// The upper triangle: columns j >= i + diagonal of row i.
ADJOINT_API Tensor triu(const Tensor& x, std::int64_t diagonal = 0);

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
