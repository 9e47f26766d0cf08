// Convolutions by matrix products: x is laid out in patches, a row for each pixel of y with what its kernel covers.
#include "kernels/convolution_onednn.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <cstring>

namespace adjoint::kernels {
namespace {

// Patches are made for so many elements at a time that they stay in the second-level cache.
constexpr std::int64_t kPatchElements = 1 << 16;

template <class T>
class Patches {
 public:
  explicit Patches(const Convolution& sizes)
      : s_(sizes),
        in_(s_.in_channels / s_.groups),
        out_(s_.out_channels / s_.groups),
        patch_(s_.kernel[0] * s_.kernel[1] * in_),
        pixels_(s_.batch * s_.out[0] * s_.out[1]),
        rows_(std::clamp<std::int64_t>(kPatchElements / patch_, std::min<std::int64_t>(pixels_, 16), pixels_)) {}

  std::size_t scratch() const {
    return sizeof(T) * static_cast<std::size_t>(rows_ * patch_ + 2 * s_.out_channels * patch_ + rows_ * out_);
  }

  void run(ConvolutionKind kind, const T* a, const T* b, T* result, T* scratch) {
    patches_ = scratch;
    weights_ = patches_ + rows_ * patch_;
    part_ = weights_ + s_.out_channels * patch_;
    pixels_of_group_ = part_ + s_.out_channels * patch_;
    switch (kind) {
      case ConvolutionKind::forward:
        return forward(a, b, result);
      case ConvolutionKind::data:
        return data(a, b, result);
      case ConvolutionKind::weight:
        return weight(a, b, result);
    }
  }

 private:
  static Matrix matrix(const T* data, std::int64_t row, std::int64_t column) { return {data, row, column}; }
  static void multiply(std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a, const Matrix& b, T* c) {
    matmul(dtype_of<T>(), m, n, k, a, b, c, nullptr);
  }

  /// w[o][c][i][j] as weights_[o][i][j][c], or back.
  void weights_channels_last(const T* w) {
    const std::int64_t taps = s_.kernel[0] * s_.kernel[1];
    for (std::int64_t o = 0; o < s_.out_channels; ++o)
      for (std::int64_t c = 0; c < in_; ++c)
        for (std::int64_t k = 0; k < taps; ++k) weights_[(o * taps + k) * in_ + c] = w[(o * in_ + c) * taps + k];
  }

  /// Calls visit(place in patches_, place in x or -1) for the patches of pixels [first, last) of a group.
  template <class Visit>
  void for_patches(std::int64_t group, std::int64_t first, std::int64_t last, Visit visit) const {
    std::int64_t place = 0;
    for (std::int64_t pixel = first; pixel < last; ++pixel) {
      const std::int64_t j = pixel % s_.out[1], i = pixel / s_.out[1] % s_.out[0], n = pixel / s_.out[1] / s_.out[0];
      for (std::int64_t k = 0; k < s_.kernel[0]; ++k) {
        const std::int64_t row = i * s_.stride[0] + k * s_.dilation[0] - s_.padding[0];
        for (std::int64_t l = 0; l < s_.kernel[1]; ++l, place += in_) {
          const std::int64_t column = j * s_.stride[1] + l * s_.dilation[1] - s_.padding[1];
          const bool inside = row >= 0 && row < s_.in[0] && column >= 0 && column < s_.in[1];
          visit(place,
                inside ? ((n * s_.in[0] + row) * s_.in[1] + column) * s_.in_channels + group * in_ : std::int64_t{-1});
        }
      }
    }
  }
  void lay_out(const T* x, std::int64_t group, std::int64_t first, std::int64_t last) {
    const auto bytes = static_cast<std::size_t>(in_) * sizeof(T);
    for_patches(group, first, last, [&](std::int64_t to, std::int64_t from) {
      if (from >= 0) std::memcpy(patches_ + to, x + from, bytes);
      else std::memset(patches_ + to, 0, bytes);
    });
  }

  /// Calls body(group, first pixel, how many).
  template <class Body>
  void for_blocks(Body body) {
    for (std::int64_t group = 0; group < s_.groups; ++group)
      for (std::int64_t first = 0; first < pixels_; first += rows_)
        body(group, first, std::min(rows_, pixels_ - first));
  }

  void forward(const T* x, const T* w, T* y) {
    weights_channels_last(w);
    for_blocks([&](std::int64_t group, std::int64_t first, std::int64_t count) {
      lay_out(x, group, first, first + count);
      T* to = s_.groups == 1 ? y + first * out_ : pixels_of_group_;
      multiply(count, out_, patch_, matrix(patches_, patch_, 1), matrix(weights_ + group * out_ * patch_, 1, patch_),
               to);
      if (s_.groups == 1) return;
      for (std::int64_t p = 0; p < count; ++p)
        std::memcpy(y + (first + p) * s_.out_channels + group * out_, to + p * out_,
                    static_cast<std::size_t>(out_) * sizeof(T));
    });
  }

  void data(const T* g, const T* w, T* x) {
    weights_channels_last(w);
    std::memset(x, 0, static_cast<std::size_t>(s_.batch * s_.in[0] * s_.in[1] * s_.in_channels) * sizeof(T));
    for_blocks([&](std::int64_t group, std::int64_t first, std::int64_t count) {
      multiply(count, patch_, out_, matrix(g + first * s_.out_channels + group * out_, s_.out_channels, 1),
               matrix(weights_ + group * out_ * patch_, patch_, 1), patches_);
      for_patches(group, first, first + count, [&](std::int64_t from, std::int64_t to) {
        if (to < 0) return;
        for (std::int64_t c = 0; c < in_; ++c) x[to + c] += patches_[from + c];
      });
    });
  }

  void weight(const T* x, const T* g, T* w) {
    std::memset(weights_, 0, static_cast<std::size_t>(s_.out_channels * patch_) * sizeof(T));
    for_blocks([&](std::int64_t group, std::int64_t first, std::int64_t count) {
      lay_out(x, group, first, first + count);
      multiply(out_, patch_, count, matrix(g + first * s_.out_channels + group * out_, 1, s_.out_channels),
               matrix(patches_, patch_, 1), part_);
      T* sum = weights_ + group * out_ * patch_;
      for (std::int64_t i = 0; i < out_ * patch_; ++i) sum[i] += part_[i];
    });
    const std::int64_t taps = s_.kernel[0] * s_.kernel[1];
    for (std::int64_t o = 0; o < s_.out_channels; ++o)
      for (std::int64_t c = 0; c < in_; ++c)
        for (std::int64_t k = 0; k < taps; ++k) w[(o * in_ + c) * taps + k] = weights_[(o * taps + k) * in_ + c];
  }

  const Convolution& s_;
  // Channels of a group; elements of a patch; pixels of y; patches at a time.
  const std::int64_t in_, out_, patch_, pixels_, rows_;
  T *patches_ = nullptr, *weights_ = nullptr, *part_ = nullptr, *pixels_of_group_ = nullptr;
};

}  // namespace

std::size_t convolution_scratch(ConvolutionKind kind, Dtype dtype, const Convolution& sizes) {
  if (dtype == float64) return Patches<double>(sizes).scratch();
  const std::size_t own = Patches<float>(sizes).scratch();
  const std::ptrdiff_t library = onednn::scratch(kind, sizes);
  return library < 0 ? own : std::max(own, static_cast<std::size_t>(library));
}

const char* convolution_library(ConvolutionKind kind, Dtype dtype, const Convolution& sizes) {
  return dtype == float32 && onednn::scratch(kind, sizes) >= 0 ? "oneDNN" : "matrix products on patches";
}

void convolution(ConvolutionKind kind, Dtype dtype, const Convolution& sizes, const void* a, const void* b,
                 void* result, void* scratch) {
  const auto patches = [&](auto zero) {
    using T = decltype(zero);
    Patches<T>(sizes).run(kind, static_cast<const T*>(a), static_cast<const T*>(b), static_cast<T*>(result),
                          static_cast<T*>(scratch));
  };
  if (dtype == float64) return patches(0.0);
  if (onednn::convolution(kind, sizes, static_cast<const float*>(a), static_cast<const float*>(b),
                          static_cast<float*>(result), scratch))
    return;
  patches(0.0f);
}

}  // namespace adjoint::kernels
