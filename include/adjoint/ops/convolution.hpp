// Convolutions and pooling of images [N, C, H, W], or of one image [C, H, W]. They compute channels-last: results lie
// so in memory, and inputs that do not are copied first (memory::layout_conversions counts that), so a network's
// activations stay channels-last from its first convolution to where they are flattened or looked at. All need float32
// or float64, else DtypeError; ShapeError for a wrong rank, and for windows that do not fit into the padded image;
// ValueError for a stride, dilation or window below 1, and for negative padding.
#pragma once

#include <adjoint/ops/reduction.hpp>
#include <adjoint/tensor.hpp>

namespace adjoint {

/// One number for both spatial dims, or {height, width}.
struct IntPair {
  IntPair(std::int64_t both) : height(both), width(both) {}
  IntPair(std::int64_t height_, std::int64_t width_) : height(height_), width(width_) {}
  std::int64_t height, width;
};

// -- convolutions -----------------------------------------------------------------------------------------------------

struct Conv2dOptions {
  IntPair stride = 1, padding = 0, dilation = 1;
  /// Channels are cut into so many groups, each convolved by itself; both channel counts must be divisible by it.
  std::int64_t groups = 1;
};
/// The cross-correlation of x [N, in, H, W] with weight [out, in / groups, kh, kw], plus bias [out] (or undefined):
///   out[n, o, i, j] = bias[o] + sum over c, k, l of
///                     weight[o, c, k, l] x[n, c, i stride + k dilation - padding, j stride + l dilation - padding],
/// where x is 0 outside of the image; [N, out, (H + 2 padding - dilation (kh - 1) - 1) / stride + 1, ..].
/// Throws ShapeError when channels and groups do not fit.
ADJOINT_API Tensor conv2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                          const Conv2dOptions& options = {});

struct ConvTranspose2dOptions {
  IntPair stride = 1, padding = 0;
  /// Further rows and columns at the end, below stride or dilation: several sizes have the same convolution.
  IntPair output_padding = 0;
  std::int64_t groups = 1;
  IntPair dilation = 1;
};
/// The transpose of conv2d (its derivative with respect to x) with weight [in, out / groups, kh, kw], as a map of
/// x [N, in, H, W], plus bias [out]; [N, out, (H - 1) stride - 2 padding + dilation (kh - 1) + output_padding + 1, ..].
ADJOINT_API Tensor conv_transpose2d(const Tensor& x, const Tensor& weight, const Tensor& bias = {},
                                    const ConvTranspose2dOptions& options = {});

// -- pooling ----------------------------------------------------------------------------------------------------------

/// The steps between windows, as an IntPair; when left out, their size, so that they lie side by side.
struct PoolStride {
  PoolStride() = default;
  PoolStride(std::int64_t both) : given(both) {}
  PoolStride(std::int64_t height, std::int64_t width) : given(IntPair(height, width)) {}
  PoolStride(const IntPair& pair) : given(pair) {}
  std::optional<IntPair> given;
};

struct MaxPool2dOptions {
  PoolStride stride = {};
  IntPair padding = 0;     ///< At most half of the window; never the largest.
  IntPair dilation = 1;    ///< Each window needs an element inside the image (ShapeError).
  bool ceil_mode = false;  ///< Windows that begin inside the image but end outside count.
};
/// The largest of each window of a channel; NaN wins, and of equals the first gets the derivative.
ADJOINT_API Tensor max_pool2d(const Tensor& x, IntPair kernel_size, const MaxPool2dOptions& options = {});
/// The same with the positions, row * W + column, as int64.
ADJOINT_API ValuesIndices max_pool2d_with_indices(const Tensor& x, IntPair kernel_size,
                                                  const MaxPool2dOptions& options = {});

struct AvgPool2dOptions {
  PoolStride stride = {};
  IntPair padding = 0;                                ///< At most half of the window.
  bool ceil_mode = false;                             ///< Windows that begin inside the image but end outside count.
  bool count_include_pad = true;                      ///< Whether padding, which is 0, counts.
  std::optional<std::int64_t> divisor_override = {};  ///< Divide by this instead of the number of elements.
};
/// The mean of each window of a channel.
ADJOINT_API Tensor avg_pool2d(const Tensor& x, IntPair kernel_size, const AvgPool2dOptions& options = {});

/// The mean of each of height x width windows that share the image as evenly as they can: rows i H / height up to
/// (i + 1) H / height, rounded outwards. A size of -1 keeps the image's.
ADJOINT_API Tensor adaptive_avg_pool2d(const Tensor& x, IntPair output_size);

}  // namespace adjoint
