// Operations with an index tensor of int64 (or int32). Only values reveal an index out of range: ValueError is
// thrown when computed, and names the operation, the index and the dim's size.
#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint {

/// out[i][j][k] = x[i][index[i][j][k]][k] (for dim 1). The index has x's rank and, in the other dims, at most its
/// sizes; the result has the index's shape.
ADJOINT_API Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index);
/// x, with source[i][j][k] added at [i][index[i][j][k]][k] (for dim 1). Index and source have one shape, at most x's
/// in the other dims. Equal positions add up, in an order that depends on shapes and strides alone; bools add up to or.
/// Throws DtypeError unless x and source have one dtype.
ADJOINT_API Tensor scatter_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source);
/// scatter_add, but each element takes the place of x's; of those at equal positions the last in row-major order does,
/// and it alone has a derivative. A number stands for a source of the index's shape, as x's dtype holds it.
ADJOINT_API Tensor scatter(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source);
ADJOINT_API Tensor scatter(const Tensor& x, std::int64_t dim, const Tensor& index, Scalar value);
/// The positions of one dim that a one-dimensional index lists.
ADJOINT_API Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index);
/// x, with `alpha` (as x's dtype holds it) times position i of the source's dim added at position index[i] of x's. The
/// index has one dim, or none. Throws ShapeError unless the source has, but for that dim, x's shape, DtypeError unless
/// it has x's dtype.
ADJOINT_API Tensor index_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source,
                             Scalar alpha = 1);
/// gather in which x and the index, of equal rank, broadcast in the other dims, and negative positions count from the
/// end; without dim, of both flattened. What argsort finds, it takes.
ADJOINT_API Tensor take_along_dim(const Tensor& x, const Tensor& index, std::optional<std::int64_t> dim = {});
/// x with `values` in the place of x.index(entries), to whose shape they broadcast (ShapeError). Positions that are
/// selected more than once take the last value in row-major order, which alone has a derivative; or, to accumulate, the
/// values are added to x in that order. Throws DtypeError unless values and x have one dtype, and what index() throws.
ADJOINT_API Tensor index_put(const Tensor& x, std::initializer_list<Index> entries, const Tensor& values,
                             bool accumulate = false);
/// The positions of what is not zero (NaN is not), in row-major order: [n, x.dim()], int64. Computes x, since the shape
/// depends on it.
ADJOINT_API Tensor nonzero(const Tensor& x);
/// The elements where a mask (bool, else DtypeError) holds, in row-major order, in one dim; x and mask broadcast.
/// Computes the mask, since the shape depends on it.
ADJOINT_API Tensor masked_select(const Tensor& x, const Tensor& mask);
/// A new last dim of `num_classes` with a 1 at the class, int64. Throws ValueError, when computed, for a class outside
/// [0, num_classes).
ADJOINT_API Tensor one_hot(const Tensor& classes, std::int64_t num_classes);
/// The index itself; throws ValueError "<what> ... outside [low, high)" when computed unless every element lies in
/// [low, high). `what` is a string that outlives the program's tensors, such as "cross_entropy: target".
ADJOINT_API Tensor checked_index(const Tensor& index, std::int64_t low, std::int64_t high, const char* what);

}  // namespace adjoint
