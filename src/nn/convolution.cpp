#include <adjoint/nn/convolution.hpp>
#include <adjoint/nn/init.hpp>
#include <adjoint/ops/creation.hpp>

#include <cmath>
#include <string>

namespace adjoint::nn {

namespace {

std::string text(const IntPair& pair) {
  if (pair.height == pair.width) return std::to_string(pair.height);
  return "{" + std::to_string(pair.height) + ", " + std::to_string(pair.width) + "}";
}
bool operator!=(const IntPair& a, const IntPair& b) { return a.height != b.height || a.width != b.width; }

/// ", name=value" unless that is what is meant when nothing is said.
std::string unless_default(const char* name, const IntPair& value, const IntPair& usual) {
  return value != usual ? std::string(", ") + name + "=" + text(value) : "";
}
std::string unless_default(const char* name, bool value, bool usual) {
  return value != usual ? std::string(", ") + name + "=" + (value ? "true" : "false") : "";
}

void require_at_least(const char* layer, const char* what, const IntPair& value, std::int64_t least) {
  if (value.height < least || value.width < least)
    throw ValueError(std::string(layer) + ": " + what + " must be at least " + std::to_string(least) + ", not " +
                     text(value));
}

/// Checks what both layers are made with; the channels by their names there.
template <class Options>
void check(const char* layer, std::int64_t in, std::int64_t out, const IntPair& kernel_size, const Options& options) {
  require_at_least(layer, "in", in, 1);
  require_at_least(layer, "out", out, 1);
  require_at_least(layer, "kernel_size", kernel_size, 1);
  require_at_least(layer, "stride", options.stride, 1);
  require_at_least(layer, "padding", options.padding, 0);
  require_at_least(layer, "dilation", options.dilation, 1);
  require_at_least(layer, "groups", options.groups, 1);
  if (in % options.groups != 0 || out % options.groups != 0)
    throw ValueError(std::string(layer) + ": in (" + std::to_string(in) + ") and out (" + std::to_string(out) +
                     ") must be divisible by groups (" + std::to_string(options.groups) + ")");
  if (!is_floating(options.dtype))
    throw DtypeError(std::string(layer) + ": the dtype must be float32 or float64, not " + name_of(options.dtype));
}

void initialise(Parameter& weight, Parameter& bias, bool with_bias, std::int64_t out) {
  init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (!with_bias) return;
  bias = zeros({out}, weight.dtype());
  const double bound = 1 / std::sqrt(static_cast<double>(weight.numel() / weight.size(0)));
  init::uniform_(bias, -bound, bound);
}

template <class Options>
std::string describe(std::int64_t in, std::int64_t out, const Tensor& weight, const Options& options) {
  return "in=" + std::to_string(in) + ", out=" + std::to_string(out) +
         ", kernel_size=" + text({weight.size(2), weight.size(3)}) + unless_default("stride", options.stride, 1) +
         unless_default("padding", options.padding, 0) + unless_default("dilation", options.dilation, 1) +
         unless_default("groups", IntPair(options.groups), 1) + unless_default("bias", options.bias, true);
}

}  // namespace

Conv2d::Conv2d(std::int64_t in, std::int64_t out, IntPair kernel_size, const Conv2dOptions& options)
    : options_(options) {
  check("Conv2d", in, out, kernel_size, options);
  weight = zeros({out, in / options.groups, kernel_size.height, kernel_size.width}, options.dtype);
  initialise(weight, bias, options.bias, out);
}

Tensor Conv2d::forward(const Tensor& x) const {
  return conv2d(x, weight, bias, {options_.stride, options_.padding, options_.dilation, options_.groups});
}

std::string Conv2d::extra_repr() const {
  return describe(weight.size(1) * options_.groups, weight.size(0), weight, options_);
}

ConvTranspose2d::ConvTranspose2d(std::int64_t in, std::int64_t out, IntPair kernel_size,
                                 const ConvTranspose2dOptions& options)
    : options_(options) {
  check("ConvTranspose2d", in, out, kernel_size, options);
  require_at_least("ConvTranspose2d", "output_padding", options.output_padding, 0);
  weight = zeros({in, out / options.groups, kernel_size.height, kernel_size.width}, options.dtype);
  initialise(weight, bias, options.bias, out);
}

Tensor ConvTranspose2d::forward(const Tensor& x) const {
  return conv_transpose2d(
      x, weight, bias,
      {options_.stride, options_.padding, options_.output_padding, options_.groups, options_.dilation});
}

std::string ConvTranspose2d::extra_repr() const {
  return describe(weight.size(0), weight.size(1) * options_.groups, weight, options_) +
         unless_default("output_padding", options_.output_padding, 0);
}

Tensor MaxPool2d::forward(const Tensor& x) const { return max_pool2d(x, kernel_size_, options_); }

std::string MaxPool2d::extra_repr() const {
  return "kernel_size=" + text(kernel_size_) +
         unless_default("stride", options_.stride.given.value_or(kernel_size_), kernel_size_) +
         unless_default("padding", options_.padding, 0) + unless_default("dilation", options_.dilation, 1) +
         unless_default("ceil_mode", options_.ceil_mode, false);
}

Tensor AvgPool2d::forward(const Tensor& x) const { return avg_pool2d(x, kernel_size_, options_); }

std::string AvgPool2d::extra_repr() const {
  return "kernel_size=" + text(kernel_size_) +
         unless_default("stride", options_.stride.given.value_or(kernel_size_), kernel_size_) +
         unless_default("padding", options_.padding, 0) + unless_default("ceil_mode", options_.ceil_mode, false) +
         unless_default("count_include_pad", options_.count_include_pad, true);
}

Tensor AdaptiveAvgPool2d::forward(const Tensor& x) const { return adaptive_avg_pool2d(x, output_size_); }

std::string AdaptiveAvgPool2d::extra_repr() const { return "output_size=" + text(output_size_); }

}  // namespace adjoint::nn
