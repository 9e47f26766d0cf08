// Convolutions and pooling, of activations that lie channels-last: others are copied first.
#include "engine/execute.hpp"
#include "engine/threads.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace adjoint::detail {
namespace {

/// A block of memory for the while of a computation.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) : storage_(bytes ? Storage::allocate(bytes) : nullptr) {}
  ~Scratch() {
    if (storage_) storage_->drop_ref();
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  void* data() const noexcept { return storage_ ? storage_->data() : nullptr; }

 private:
  Storage* storage_;
};

/// The elements of a node without gaps, in the order of the strides that are wanted: its own memory or a copy.
class InOrder {
 public:
  InOrder(const Node& node, const Strides& wanted)
      : copy_(same_places(node.shape, node.value.strides, wanted) ? 0 : node.bytes()), data_(node.value.data) {
    if (!is_copy()) return;
    const MemoryOrder order(node.shape, wanted);
    copy_row_major(size_of(node.dtype), order.apply(node.shape), node.value.data, order.apply(node.value.strides),
                   copy_.data());
    data_ = copy_.data();
  }
  bool is_copy() const noexcept { return copy_.data() != nullptr; }
  const void* data() const noexcept { return data_; }

 private:
  Scratch copy_;
  const void* data_;
};

/// Activations [N, C, H, W].
class ChannelsLast : public InOrder {
 public:
  explicit ChannelsLast(const Node& node) : InOrder(node, channels_last_strides(node.shape)) {
    if (is_copy()) count_layout_conversion();
  }
};

void allocate_channels_last(Node& node) {
  node.allocate_value();
  node.value.strides = channels_last_strides(node.shape);
}

/// Calls body(first, last) for images, some at a time.
template <class Body>
void for_images(std::int64_t images, std::int64_t elements_of_image, const Body& body) {
  const std::int64_t per_chunk = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, elements_of_image));
  parallel_for((images + per_chunk - 1) / per_chunk,
               [&](std::int64_t chunk) { body(chunk * per_chunk, std::min(images, (chunk + 1) * per_chunk)); });
}

/// The windows of one spatial dim.
struct WindowList {
  List<std::int64_t> begin, end;
  kernels::Windows windows;

  WindowList(const PoolingAttributes& a, int d, std::int64_t size, std::int64_t count) {
    begin.reserve(static_cast<std::size_t>(count));
    end.reserve(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i) {
      if (a.adaptive) {
        begin.push_back(i * size / count);
        end.push_back(((i + 1) * size + count - 1) / count);
        continue;
      }
      std::int64_t first = i * a.stride[d] - a.padding[d];
      end.push_back(std::min(size, first + (a.kernel[d] - 1) * a.dilation[d] + 1));
      if (first < 0) first += (-first + a.dilation[d] - 1) / a.dilation[d] * a.dilation[d];
      begin.push_back(first);
    }
    windows = {size, count, a.adaptive ? 1 : a.dilation[d], begin.data(), end.data()};
  }
};

}  // namespace

kernels::Convolution convolution_sizes(const Node& node) {
  const Node &a = *node.input(0), &b = *node.input(1);
  const auto kind = static_cast<kernels::ConvolutionKind>(node.operation->kernel);
  const auto& attributes = node.attributes<ConvolutionAttributes>();
  const bool of_weight = kind == kernels::ConvolutionKind::weight;
  const Node& x = kind == kernels::ConvolutionKind::data ? node : a;
  const Node& y = kind == kernels::ConvolutionKind::forward ? node : of_weight ? b : a;
  const Node& w = of_weight ? node : b;
  kernels::Convolution sizes{x.shape[0], attributes.groups, x.shape[1], y.shape[1], {}, {}, {}, {}, {}, {}};
  for (int d = 0; d < 2; ++d) {
    sizes.in[d] = x.shape[2 + d];
    sizes.out[d] = y.shape[2 + d];
    sizes.kernel[d] = w.shape[2 + d];
    sizes.stride[d] = attributes.stride[d];
    sizes.padding[d] = attributes.padding[d];
    sizes.dilation[d] = attributes.dilation[d];
  }
  return sizes;
}

void execute_convolution(Node& node) {
  const Node &a = *node.input(0), &b = *node.input(1);
  const auto kind = static_cast<kernels::ConvolutionKind>(node.operation->kernel);
  const bool of_weight = kind == kernels::ConvolutionKind::weight;
  const kernels::Convolution sizes = convolution_sizes(node);
  if (of_weight) node.allocate_value();
  else allocate_channels_last(node);
  if (node.bytes() == 0) return;
  if (a.bytes() == 0 || b.bytes() == 0) {
    std::memset(node.value.data, 0, node.bytes());
    return;
  }
  const ChannelsLast left(a);
  const auto run = [&](const void* right) {
    const Scratch scratch(kernels::convolution_scratch(kind, node.dtype, sizes));
    kernels::convolution(kind, node.dtype, sizes, left.data(), right, node.value.data, scratch.data());
  };
  if (of_weight) run(ChannelsLast(b).data());
  else run(InOrder(b, row_major_strides(b.shape)).data());
}

void execute_pooling(Node& node) {
  const auto kind = static_cast<Pooling>(node.operation->kernel);
  const auto& attributes = node.attributes<PoolingAttributes>();
  const Node& input = *node.input(0);
  allocate_channels_last(node);
  if (node.bytes() == 0) return;
  const Shape &from = kind == Pooling::spread ? node.shape : input.shape,
              &to = kind == Pooling::spread ? input.shape : node.shape;
  const WindowList rows(attributes, 0, from[2], to[2]), columns(attributes, 1, from[3], to[3]);
  const ChannelsLast source(input);
  for_images(from[0], from[1] * from[2] * from[3], [&](std::int64_t first, std::int64_t last) {
    switch (kind) {
      case Pooling::largest_positions:
        return kernels::largest_positions(input.dtype, first, last, from[1], rows.windows, columns.windows,
                                          source.data(), static_cast<std::int32_t*>(node.value.data));
      case Pooling::sum:
        return kernels::sum_windows(node.dtype, first, last, from[1], rows.windows, columns.windows, source.data(),
                                    node.value.data);
      case Pooling::spread:
        return kernels::spread_windows(node.dtype, first, last, from[1], rows.windows, columns.windows, source.data(),
                                       node.value.data);
    }
  });
}

}  // namespace adjoint::detail
