// Reductions over one dim, several, or all of them, and the running sum. With `keepdim` the reduced dims stay with size
// 1. Negative dims count from the end; a dim out of range or named twice throws ShapeError.
#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint {

/// What max, min, sort and topk along one dim return: the values and their positions along it (int64).
struct ValuesIndices {
  Tensor values, indices;
};

/// Integers and bools are summed as int64.
ADJOINT_API Tensor sum(const Tensor& x, const DimArg& dims = {}, bool keepdim = false);
/// Integers and bools are multiplied as int64. 1 over nothing.
ADJOINT_API Tensor prod(const Tensor& x, const DimArg& dims = {}, bool keepdim = false);
/// Floating dtypes, else DtypeError. NaN over nothing.
ADJOINT_API Tensor mean(const Tensor& x, const DimArg& dims = {}, bool keepdim = false);
/// sum((x - mean)^2) / max(0, n - correction); correction 1 is the unbiased estimate, 0 the population's variance.
ADJOINT_API Tensor var(const Tensor& x, const DimArg& dims = {}, std::int64_t correction = 1, bool keepdim = false);
/// sqrt(var). Its derivative at 0 is 0.
ADJOINT_API Tensor std(const Tensor& x, const DimArg& dims = {}, std::int64_t correction = 1, bool keepdim = false);

/// The vector norm: (sum |x|^p)^(1/p); max |x| or min |x| for p = inf or -inf; how many are not 0 for p = 0. Its
/// derivative is 0 where the norm is, and by elements that are 0. Floating dtypes, else DtypeError. Throws ValueError
/// when p is NaN, ShapeError over nothing unless p is finite and not negative.
ADJOINT_API Tensor norm(const Tensor& x, double p = 2, const DimArg& dims = {}, bool keepdim = false);

/// The largest element of all; equals (or all NaN) share the derivative. NaN wins. Throws ShapeError when x is empty.
ADJOINT_API Tensor max(const Tensor& x);
ADJOINT_API Tensor min(const Tensor& x);
/// The largest along a dim and where (the first of equals); the derivative goes to that one. Throws ShapeError when the dim is empty.
ADJOINT_API ValuesIndices max(const Tensor& x, std::int64_t dim, bool keepdim = false);
ADJOINT_API ValuesIndices min(const Tensor& x, std::int64_t dim, bool keepdim = false);
/// The largest over dims; equals share the derivative.
ADJOINT_API Tensor amax(const Tensor& x, const DimArg& dims = {}, bool keepdim = false);
ADJOINT_API Tensor amin(const Tensor& x, const DimArg& dims = {}, bool keepdim = false);
/// The position of the largest (the first of equals; NaN wins), int64; without dim, of the flattened tensor.
ADJOINT_API Tensor argmax(const Tensor& x, std::optional<std::int64_t> dim = {}, bool keepdim = false);
ADJOINT_API Tensor argmin(const Tensor& x, std::optional<std::int64_t> dim = {}, bool keepdim = false);

/// Of any dtype (x != 0), to bool; over nothing: false and true.
ADJOINT_API Tensor any(const Tensor& x, const DimArg& dims = {}, bool keepdim = false);
ADJOINT_API Tensor all(const Tensor& x, const DimArg& dims = {}, bool keepdim = false);

/// log(sum(exp(x))), stable for large elements; -inf where all are -inf. Floating dtypes, else DtypeError.
ADJOINT_API Tensor logsumexp(const Tensor& x, const DimArg& dims, bool keepdim = false);

/// Sums of the elements up to each position of a dim, this one included. Integers and bools are summed as int64;
/// rounding errors do not add up.
ADJOINT_API Tensor cumsum(const Tensor& x, std::int64_t dim);

}  // namespace adjoint
