// Normalisation: composites, without a derivative of their own. Floating dtypes, else DtypeError; the weights, biases
// and running statistics have x's dtype (DtypeError) and the shape that is told (ShapeError). The variance is that of
// the population, computed from the deviations from the mean; in batch_norm of much from those from the mean of a part,
// which loses at most 6 bits, and hardly any where that part is like the rest.
#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint {

/// (x - mean) / sqrt(variance + eps) over the last dims, which are `normalized_shape`, times weight and plus bias, both
/// of that shape, or undefined (Ba et al. 2016). Throws ShapeError unless x ends in normalized_shape, of at least one
/// dim.
ADJOINT_API Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {},
                              const Tensor& bias = {}, double eps = 1e-5);
/// x / sqrt(mean of x^2 + eps) over the last dims, which are `normalized_shape`, times weight, of that shape, or
/// undefined (Zhang & Sennrich 2019). eps, if left out, is the dtype's epsilon.
ADJOINT_API Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight = {},
                            std::optional<double> eps = {});
/// (x - mean) / sqrt(variance + eps) for each channel, dim 1 of x [N, C], [N, C, L], ... (rank 2 .. 5), times weight
/// and plus bias, both [C], or undefined (Ioffe & Szegedy 2015). In training, and without running statistics, mean and
/// variance are the batch's; otherwise they are running_mean and running_var, both [C]. In training running statistics
/// that are cells are assigned (1 - momentum) running + momentum batch, with the unbiased variance. Throws ShapeError
/// when the batch's statistics are wanted of one value per channel, ValueError when one of the running statistics is
/// undefined and the other not.
ADJOINT_API Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var,
                              const Tensor& weight = {}, const Tensor& bias = {}, bool training = false,
                              double momentum = 0.1, double eps = 1e-5);

}  // namespace adjoint
