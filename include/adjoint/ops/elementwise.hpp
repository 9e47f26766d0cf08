// Elementwise operations. Two operands broadcast by NumPy's rule and meet in the promoted dtype; a Scalar takes the
// tensor's dtype unless it is of a higher kind (bool < integers < floating), and so does a tensor without dims beside
// one with dims. Functions that are not exact on integers compute those in float32.
// Sums and products of integers wrap around; elsewhere a whole number that the dtype cannot hold is a ValueError, but
// comparisons take it as it is.
// Where a derivative does not exist the subgradient is PyTorch's, given with the operation.
// Functions of float32 are within two units in the last place of the exact value, of float64 within three (the gamma
// family has bounds of its own); nothing is flushed to zero (docs/accuracy.md).
#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint {

// -- one operand ------------------------------------------------------------------------------------------------------

ADJOINT_API Tensor neg(const Tensor& x);          ///< Throws DtypeError for bool.
ADJOINT_API Tensor abs(const Tensor& x);          ///< Derivative at 0: 0.
ADJOINT_API Tensor sign(const Tensor& x);         ///< -1, 0 or 1; 0 for NaN. Derivative 0.
ADJOINT_API Tensor exp(const Tensor& x);
ADJOINT_API Tensor expm1(const Tensor& x);        ///< exp(x) - 1, accurate near 0.
ADJOINT_API Tensor log(const Tensor& x);
ADJOINT_API Tensor log2(const Tensor& x);         ///< To base 2; exact at powers of two.
ADJOINT_API Tensor log1p(const Tensor& x);        ///< log(1 + x), accurate near 0.
ADJOINT_API Tensor sqrt(const Tensor& x);
ADJOINT_API Tensor rsqrt(const Tensor& x);        ///< 1 / sqrt(x).
ADJOINT_API Tensor square(const Tensor& x);
ADJOINT_API Tensor reciprocal(const Tensor& x);
ADJOINT_API Tensor sin(const Tensor& x);
ADJOINT_API Tensor cos(const Tensor& x);
ADJOINT_API Tensor tan(const Tensor& x);
ADJOINT_API Tensor asin(const Tensor& x);         ///< In [-pi/2, pi/2]; NaN outside [-1, 1].
ADJOINT_API Tensor acos(const Tensor& x);         ///< In [0, pi]; NaN outside [-1, 1].
ADJOINT_API Tensor atan(const Tensor& x);         ///< In [-pi/2, pi/2].
ADJOINT_API Tensor sinh(const Tensor& x);
ADJOINT_API Tensor cosh(const Tensor& x);
ADJOINT_API Tensor tanh(const Tensor& x);
ADJOINT_API Tensor erf(const Tensor& x);          ///< 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.
ADJOINT_API Tensor lgamma(const Tensor& x);       ///< log |Gamma(x)|; infinite at 0 and negative integers.
/// The derivative of lgamma; NaN at negative integers, -inf at 0 and +inf at -0.
ADJOINT_API Tensor digamma(const Tensor& x);
/// The n-th derivative of digamma, 0 <= n <= 2^24 (else ValueError). For n >= 1 it is infinite at 0 and negative
/// integers, with the sign that it has for positive x.
ADJOINT_API Tensor polygamma(std::int64_t n, const Tensor& x);
ADJOINT_API Tensor sigmoid(const Tensor& x);      ///< 1 / (1 + exp(-x)), stable on both sides.
ADJOINT_API Tensor relu(const Tensor& x);         ///< max(x, 0). Derivative at 0: 0.
ADJOINT_API Tensor softplus(const Tensor& x);     ///< log(1 + exp(x)), stable on both sides.
ADJOINT_API Tensor floor(const Tensor& x);        ///< Derivative 0.
ADJOINT_API Tensor ceil(const Tensor& x);         ///< Derivative 0.
ADJOINT_API Tensor round(const Tensor& x);        ///< Half to even. Derivative 0.
/// Limits x to [min, max]; either may be left out, not both (ValueError). Derivative at the limits: 1.
ADJOINT_API Tensor clamp(const Tensor& x, std::optional<Scalar> min, std::optional<Scalar> max = {});
/// The same value in another dtype. Floating to integer truncates; to bool: x != 0.
ADJOINT_API Tensor cast(const Tensor& x, Dtype dtype);

// -- two operands -----------------------------------------------------------------------------------------------------

#define ADJOINT_BINARY(name)                                   \
  ADJOINT_API Tensor name(const Tensor& a, const Tensor& b); \
  ADJOINT_API Tensor name(const Tensor& a, Scalar b);        \
  ADJOINT_API Tensor name(Scalar a, const Tensor& b);

ADJOINT_BINARY(add)
ADJOINT_BINARY(sub)
ADJOINT_BINARY(mul)
/// True division: integers are divided in float32.
ADJOINT_BINARY(div)
/// The angle of the point (x = b, y = a), in [-pi, pi], with the special values of the C library. Derivative at
/// the origin: 0.
ADJOINT_BINARY(atan2)
/// Integer powers of integers wrap around. Derivative with respect to the exponent at a = 0, b >= 0: 0.
ADJOINT_BINARY(pow)
/// Hands on NaN. Where a = b each gets half of the derivative.
ADJOINT_BINARY(maximum)
/// Hands on NaN. Where a = b each gets half of the derivative.
ADJOINT_BINARY(minimum)

// Comparisons give bool.
ADJOINT_BINARY(eq)
ADJOINT_BINARY(ne)
ADJOINT_BINARY(lt)
ADJOINT_BINARY(le)
ADJOINT_BINARY(gt)
ADJOINT_BINARY(ge)

// Logical operations take any dtype (x != 0) and give bool.
ADJOINT_BINARY(logical_and)
ADJOINT_BINARY(logical_or)
ADJOINT_BINARY(logical_xor)
#undef ADJOINT_BINARY
ADJOINT_API Tensor logical_not(const Tensor& x);

ADJOINT_API Tensor isnan(const Tensor& x);
ADJOINT_API Tensor isinf(const Tensor& x);
ADJOINT_API Tensor isfinite(const Tensor& x);

// -- three operands ---------------------------------------------------------------------------------------------------

/// a where the condition (bool, else DtypeError) holds, b elsewhere; all three broadcast.
ADJOINT_API Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
ADJOINT_API Tensor where(const Tensor& condition, const Tensor& a, Scalar b);
ADJOINT_API Tensor where(const Tensor& condition, Scalar a, const Tensor& b);
/// x, with `value` where the mask (bool) holds.
ADJOINT_API Tensor masked_fill(const Tensor& x, const Tensor& mask, Scalar value);

// -- operators --------------------------------------------------------------------------------------------------------

inline Tensor operator-(const Tensor& x) { return neg(x); }
inline Tensor operator!(const Tensor& x) { return logical_not(x); }
#define ADJOINT_OPERATOR(symbol, name)                                                      \
  inline Tensor operator symbol(const Tensor& a, const Tensor& b) { return name(a, b); } \
  inline Tensor operator symbol(const Tensor& a, Scalar b) { return name(a, b); }        \
  inline Tensor operator symbol(Scalar a, const Tensor& b) { return name(a, b); }
ADJOINT_OPERATOR(+, add)
ADJOINT_OPERATOR(-, sub)
ADJOINT_OPERATOR(*, mul)
ADJOINT_OPERATOR(/, div)
ADJOINT_OPERATOR(==, eq)
ADJOINT_OPERATOR(!=, ne)
ADJOINT_OPERATOR(<, lt)
ADJOINT_OPERATOR(<=, le)
ADJOINT_OPERATOR(>, gt)
ADJOINT_OPERATOR(>=, ge)
ADJOINT_OPERATOR(&&, logical_and)
ADJOINT_OPERATOR(||, logical_or)
#undef ADJOINT_OPERATOR

}  // namespace adjoint
