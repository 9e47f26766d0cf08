#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint {

/// The matrix product: [.., m, k] x [.., k, n] -> [.., m, n]; leading dims broadcast. A vector is a row on the left
/// and a column on the right, and its dim is dropped from the result. Dtypes are promoted, and must be floating
/// (DtypeError). Throws ShapeError when the inner sizes differ.
ADJOINT_API Tensor matmul(const Tensor& a, const Tensor& b);
/// The sum of the products of two vectors' elements: [n] x [n] -> []. Floating dtypes, else DtypeError. Throws
/// ShapeError for other shapes.
ADJOINT_API Tensor dot(const Tensor& a, const Tensor& b);
/// All products of two vectors' elements: [m] x [n] -> [m, n], of any dtype. Throws ShapeError for other shapes.
ADJOINT_API Tensor outer(const Tensor& a, const Tensor& b);
/// A batch of matrix products, without broadcasting: [b, m, k] x [b, k, n] -> [b, m, n]. Throws as matmul does, and
/// ShapeError for other shapes.
ADJOINT_API Tensor bmm(const Tensor& a, const Tensor& b);
/// x weight^T + bias: x [.., in], weight [out, in], bias [out] or undefined -> [.., out].
ADJOINT_API Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace adjoint
