// Order along a dim. Of equal elements the one that comes first in the dim comes first; NaN counts as the largest.
#pragma once

#include <adjoint/ops/reduction.hpp>

namespace adjoint {

/// The elements of a dim in ascending order, or descending, and their positions along it (int64).
ADJOINT_API ValuesIndices sort(const Tensor& x, std::int64_t dim = -1, bool descending = false);
/// The positions alone.
ADJOINT_API Tensor argsort(const Tensor& x, std::int64_t dim = -1, bool descending = false);
/// The k largest elements of a dim, in descending order, or the k smallest in ascending order, and their positions.
/// `sorted` = false leaves the order open (today it is the same). Throws ValueError unless 0 <= k <= the dim's size.
ADJOINT_API ValuesIndices topk(const Tensor& x, std::int64_t k, std::int64_t dim = -1, bool largest = true,
                               bool sorted = true);

}  // namespace adjoint
