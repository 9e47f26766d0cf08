// Operations with an index tensor of int64 (or int32). Only values reveal an index out of range: ValueError is
// thrown when computed, and names the operation, the index and the dim's size.
#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint {

/// out[i][j][k] = x[i][index[i][j][k]][k] (for dim 1). The index has x's rank and, in the other dims, at most its
/// sizes; the result has the index's shape.
ADJOINT_API Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index);
/// x, with source[i][j][k] added at [i][index[i][j][k]][k] (for dim 1). Index and source have one shape, at most x's
/// in the other dims. Equal positions add up, in an order that depends on shapes and strides alone. Throws DtypeError
/// unless x and source have one dtype, other than bool.
ADJOINT_API Tensor scatter_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source);
/// The positions of one dim that a one-dimensional index lists.
ADJOINT_API Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index);
/// A new last dim of `num_classes` with a 1 at the class, int64. Throws ValueError, when computed, for a class outside
/// [0, num_classes).
ADJOINT_API Tensor one_hot(const Tensor& classes, std::int64_t num_classes);
/// The index itself; throws ValueError "<what> ... outside [low, high)" when computed unless every element lies in
/// [low, high). `what` is a string that outlives the program's tensors, such as "cross_entropy: target".
ADJOINT_API Tensor checked_index(const Tensor& index, std::int64_t low, std::int64_t high, const char* what);

}  // namespace adjoint
