#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint::data {

/// Brings data to mean 0 and deviation 1: (x - mean) / deviation. Fit it on the training part alone, and use the same
/// numbers for everything that the network ever sees.
class ADJOINT_API Standardizer {
 public:
  /// The mean and the population's deviation of x, of any dtype, over `dims`: none, `{}`, for one pair of numbers (as
  /// for the pixels of images), 0 for a pair for each column. A deviation of 0 (a constant column) counts as 1.
  /// Computes, in double precision. Throws ValueError when x is empty, ShapeError for a dim out of range.
  static Standardizer fit(const Tensor& x, const DimArg& dims = {});

  /// (x - mean) / deviation, recorded as float32 (float64 if x is). Throws ShapeError when x does not broadcast with
  /// the mean.
  Tensor transform(const Tensor& x) const;

  /// float32, with size 1 in the dims that were fitted over.
  const Tensor& mean() const noexcept { return mean_; }
  const Tensor& deviation() const noexcept { return deviation_; }

 private:
  Standardizer(Tensor mean, Tensor deviation) noexcept;

  Tensor mean_, deviation_;
};

}  // namespace adjoint::data
