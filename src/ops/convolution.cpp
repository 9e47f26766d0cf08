// The closed trio of convolutions: the form <w * x, g> is linear in each of its three arguments, and each operation is
// its derivative by one of them, so that all derivatives are of the family again.
#include "kernels/kernels.hpp"
#include "ops/common.hpp"

#include <algorithm>
#include <limits>

namespace adjoint {
namespace detail {
namespace {

using kernels::ConvolutionKind;

constexpr Operation member(const char* name, ConvolutionKind kind,
                           Tensor (*pullback)(const Recorded&, int, const Tensor&)) {
  return {name,    Family::bilinear, execute_convolution, static_cast<std::uint8_t>(kind), false, 3, {kReadsB, kReadsA},
          nullptr, pullback};
}
extern const Operation kConvolution, kDataAdjoint, kWeightAdjoint;

Tensor again(const Operation& operation, const Recorded& at, const Shape& shape, const Tensor& a, const Tensor& b) {
  return record(operation, shape, at.dtype(), {a, b}, at.attributes<ConvolutionAttributes>());
}

// y = w * x
const Operation kConvolution =
    member("conv2d", ConvolutionKind::forward, [](const Recorded& at, int i, const Tensor& g) {
      return i == 0 ? again(kDataAdjoint, at, at.input_shape(0), g, at.input(1))
                    : again(kWeightAdjoint, at, at.input_shape(1), at.input(0), g);
    });
// From g, of y's shape, and w.
const Operation kDataAdjoint =
    member("conv_transpose2d", ConvolutionKind::data, [](const Recorded& at, int i, const Tensor& x) {
      return i == 0 ? again(kConvolution, at, at.input_shape(0), x, at.input(1))
                    : again(kWeightAdjoint, at, at.input_shape(1), x, at.input(0));
    });
// From x, and g of y's shape.
const Operation kWeightAdjoint =
    member("conv2d_weight", ConvolutionKind::weight, [](const Recorded& at, int i, const Tensor& w) {
      return i == 0 ? again(kDataAdjoint, at, at.input_shape(0), at.input(1), w)
                    : again(kConvolution, at, at.input_shape(1), at.input(0), w);
    });

std::string text(const IntPair& pair) {
  return "{" + std::to_string(pair.height) + ", " + std::to_string(pair.width) + "}";
}

[[noreturn]] void refuse(const char* operation, const Shape& x, const Shape& weight, const std::string& why) {
  throw ShapeError(std::string(operation) + ": the input has shape " + to_string(x) + " and the weight " +
                   to_string(weight) + "; " + why);
}

/// What both directions check, and the attributes. `x` has a batch.
ConvolutionAttributes checked(const char* operation, const Tensor& x, const Tensor& weight, const IntPair& stride,
                              const IntPair& padding, const IntPair& dilation, std::int64_t groups) {
  const Shape &sx = x.shape(), &sw = weight.shape();
  if (sw.size() != 4) refuse(operation, sx, sw, "the weight must have 4 dims");
  if (sw[2] < 1 || sw[3] < 1) refuse(operation, sx, sw, "the weight's kernel must not be empty");
  check_window(operation, "stride", stride, 1, sx);
  check_window(operation, "padding", padding, 0, sx);
  check_window(operation, "dilation", dilation, 1, sx);
  check_window(operation, "groups", groups, 1, sx);
  const auto narrow = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  return {{narrow(stride.height), narrow(stride.width)},
          {narrow(padding.height), narrow(padding.width)},
          {narrow(dilation.height), narrow(dilation.width)},
          narrow(groups)};
}

Dtype checked_dtype(const char* operation, const Tensor& x, const Tensor& weight) {
  const Dtype dtype = promote_types(x.dtype(), weight.dtype());
  if (!is_floating(dtype))
    throw DtypeError(std::string(operation) + ": the input has dtype " + name_of(x.dtype()) + " and the weight " +
                     name_of(weight.dtype()) + "; one must be float32 or float64");
  return dtype;
}

Tensor with_bias(const char* operation, const Tensor& y, const Tensor& bias) {
  if (!bias.defined()) return y;
  const std::int64_t channels = y.size(1);
  if (bias.shape() != Shape{channels})
    throw ShapeError(std::string(operation) + ": the bias has shape " + to_string(bias.shape()) +
                     "; with so many output channels it must be " + to_string(Shape{channels}));
  return y + reshape(bias, {channels, 1, 1});
}

}  // namespace

Tensor with_batch(const char* operation, const Tensor& x) {
  const Shape& shape = Access::node(x, operation)->shape;
  if (shape.size() == 4) return x;
  if (shape.size() != 3)
    throw ShapeError(std::string(operation) + ": the input has shape " + to_string(shape) +
                     "; it must be (N, C, H, W) or (C, H, W)");
  return unsqueeze(x, 0);
}

void check_window(const char* operation, const char* what, const IntPair& value, std::int64_t least,
                  const Shape& shape) {
  constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
  for (std::int64_t each : {value.height, value.width})
    if (each < least || each > most)
      throw ValueError(std::string(operation) + ": " + what + " is " +
                       (value.height == value.width ? std::to_string(value.height) : text(value)) +
                       " for the input of shape " + to_string(shape) + "; it must " +
                       (each < least ? "be at least " + std::to_string(least) : std::string("fit 32 bits")));
}

}  // namespace detail

using namespace detail;

Tensor conv2d(const Tensor& input, const Tensor& weight, const Tensor& bias, const Conv2dOptions& options) {
  const Tensor x = with_batch("conv2d", input);
  const Shape &sx = x.shape(), &sw = Access::node(weight, "conv2d")->shape;
  const ConvolutionAttributes attributes =
      checked("conv2d", x, weight, options.stride, options.padding, options.dilation, options.groups);
  const Dtype dtype = checked_dtype("conv2d", x, weight);
  const std::string groups = std::to_string(options.groups);
  if (sx[1] != sw[1] * options.groups)
    refuse("conv2d", sx, sw,
           "with " + groups + " group" + (options.groups > 1 ? "s" : "") + " the input must have " +
               std::to_string(sw[1] * options.groups) + " channels (the weight's size in dim 1, times groups)");
  if (sw[0] % options.groups != 0)
    refuse("conv2d", sx, sw,
           "the weight's " + std::to_string(sw[0]) + " output channels are not divisible by " + groups + " groups");
  Shape shape{sx[0], sw[0]};
  for (int d = 0; d < 2; ++d) {
    const std::int64_t extent = attributes.dilation[d] * (sw[2 + d] - 1) + 1;
    const std::int64_t padded = sx[2 + d] + 2 * std::int64_t{attributes.padding[d]};
    if (extent > padded)
      refuse("conv2d", sx, sw,
             std::string("the kernel covers ") + std::to_string(extent) + (d == 0 ? " rows" : " columns") +
                 " (dilation " + std::to_string(attributes.dilation[d]) + "), more than the padded input's " +
                 std::to_string(padded));
    shape.push_back((padded - extent) / attributes.stride[d] + 1);
  }
  const Tensor y = with_bias(
      "conv2d", record(kConvolution, shape, dtype, {cast_to(x, dtype), cast_to(weight, dtype)}, attributes), bias);
  return input.dim() == 3 ? squeeze(y, 0) : y;
}

Tensor conv_transpose2d(const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const ConvTranspose2dOptions& options) {
  constexpr const char* name = "conv_transpose2d";
  const Tensor x = with_batch(name, input);
  const Shape &sx = x.shape(), &sw = Access::node(weight, name)->shape;
  const ConvolutionAttributes attributes =
      checked(name, x, weight, options.stride, options.padding, options.dilation, options.groups);
  check_window(name, "output_padding", options.output_padding, 0, sx);
  const Dtype dtype = checked_dtype(name, x, weight);
  if (sx[1] != sw[0])
    refuse(name, sx, sw, "the input must have " + std::to_string(sw[0]) + " channels (the weight's size in dim 0)");
  if (sw[0] % options.groups != 0)
    refuse(name, sx, sw,
           "the " + std::to_string(sw[0]) + " input channels are not divisible by " + std::to_string(options.groups) +
               " groups");
  const std::int64_t output_padding[2] = {options.output_padding.height, options.output_padding.width};
  Shape shape{sx[0], sw[1] * options.groups};
  Tensor padded;
  std::int64_t beyond[2];  // rows and columns that no kernel reaches, and no convolution of this stride has
  for (int d = 0; d < 2; ++d) {
    const std::int64_t stride = attributes.stride[d], padding = attributes.padding[d],
                       dilation = attributes.dilation[d], extra = output_padding[d];
    if (extra >= std::max(stride, dilation))
      throw ValueError(std::string(name) + ": output_padding is " + text(options.output_padding) + " with stride " +
                       text(options.stride) + " and dilation " + text(options.dilation) +
                       "; it must be below one of the two");
    beyond[d] = extra >= stride ? std::max<std::int64_t>(0, extra - padding) : 0;
    const std::int64_t size =
        (sx[2 + d] - 1) * stride - 2 * padding + dilation * (sw[2 + d] - 1) + extra - beyond[d] + 1;
    if (size < 1)
      refuse(name, sx, sw,
             "with padding " + text(options.padding) + " nothing is left of the output's " +
                 (d == 0 ? "height" : "width"));
    shape.push_back(size);
  }
  Tensor y = record(kDataAdjoint, shape, dtype, {cast_to(x, dtype), cast_to(weight, dtype)}, attributes);
  for (int d = 0; d < 2; ++d)
    if (beyond[d] > 0) {
      Shape zeros_shape = y.shape();
      zeros_shape[2 + d] = beyond[d];
      y = cat({y, zeros(zeros_shape, dtype)}, 2 + d);
    }
  y = with_bias(name, y, bias);
  return input.dim() == 3 ? squeeze(y, 0) : y;
}

}  // namespace adjoint
