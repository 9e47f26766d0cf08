// Convolutions and pooling of images [N, C, H, W] or [C, H, W] as layers; see ops/convolution.hpp.
#pragma once

#include <adjoint/nn/module.hpp>
#include <adjoint/ops/convolution.hpp>

namespace adjoint::nn {

struct Conv2dOptions {
  IntPair stride = 1, padding = 0, dilation = 1;
  std::int64_t groups = 1;
  bool bias = true;
  Dtype dtype = float32;
};
/// conv2d with a weight and a bias: [N, in, H, W] -> [N, out, ..].
class ADJOINT_API Conv2d : public Module<Conv2d> {
 public:
  /// The weight is initialised by kaiming_uniform(a = sqrt 5), which is uniform on +-1/sqrt(in / groups kh kw), as the
  /// bias is. Throws ValueError for sizes below 1, channels that do not divide by the groups, and negative padding;
  /// DtypeError unless the dtype is floating.
  Conv2d(std::int64_t in, std::int64_t out, IntPair kernel_size, const Conv2dOptions& options = {});

  Parameter weight;  ///< [out, in / groups, kh, kw]
  Parameter bias;    ///< [out], or undefined

  void members(Members& m) { m("weight", weight)("bias", bias); }
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  Conv2dOptions options_;
};

struct ConvTranspose2dOptions {
  IntPair stride = 1, padding = 0, output_padding = 0;
  std::int64_t groups = 1;
  bool bias = true;
  IntPair dilation = 1;
  Dtype dtype = float32;
};
/// conv_transpose2d with a weight and a bias: [N, in, H, W] -> [N, out, ..].
class ADJOINT_API ConvTranspose2d : public Module<ConvTranspose2d> {
 public:
  /// Initialised, and throws, as Conv2d, with +-1/sqrt(out / groups kh kw).
  ConvTranspose2d(std::int64_t in, std::int64_t out, IntPair kernel_size, const ConvTranspose2dOptions& options = {});

  Parameter weight;  ///< [in, out / groups, kh, kw]
  Parameter bias;    ///< [out], or undefined

  void members(Members& m) { m("weight", weight)("bias", bias); }
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  ConvTranspose2dOptions options_;
};

/// The largest of each window.
class ADJOINT_API MaxPool2d : public Module<MaxPool2d> {
 public:
  explicit MaxPool2d(IntPair kernel_size, const MaxPool2dOptions& options = {})
      : kernel_size_(kernel_size), options_(options) {}
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  IntPair kernel_size_;
  MaxPool2dOptions options_;
};

/// The mean of each window.
class ADJOINT_API AvgPool2d : public Module<AvgPool2d> {
 public:
  explicit AvgPool2d(IntPair kernel_size, const AvgPool2dOptions& options = {})
      : kernel_size_(kernel_size), options_(options) {}
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  IntPair kernel_size_;
  AvgPool2dOptions options_;
};

/// The means of output_size windows, of whatever size the images are.
class ADJOINT_API AdaptiveAvgPool2d : public Module<AdaptiveAvgPool2d> {
 public:
  explicit AdaptiveAvgPool2d(IntPair output_size) : output_size_(output_size) {}
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  IntPair output_size_;
};

}  // namespace adjoint::nn
