// Pooling: the largest of a window is a gather at its position; a mean is a sum, which is linear, over a number.
#include "ops/common.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace adjoint {
namespace detail {
namespace {

constexpr auto kernel_of(Pooling kind) { return static_cast<std::uint8_t>(kind); }

const Operation kLargestPositions{"max_pool2d", Family::non_differentiable, execute_pooling,
                                  kernel_of(Pooling::largest_positions)};

extern const Operation kSpreadWindows;
Tensor again(const Operation& operation, const Recorded& at, const Tensor& g) {
  return record(operation, at.input_shape(0), at.dtype(), {g}, at.attributes<PoolingAttributes>());
}
const Operation kSumWindows{"sum_pool2d",
                            Family::linear,
                            execute_pooling,
                            kernel_of(Pooling::sum),
                            false,
                            1,
                            {},
                            nullptr,
                            [](const Recorded& at, int, const Tensor& g) { return again(kSpreadWindows, at, g); }};
const Operation kSpreadWindows{"sum_pool2d_transpose",
                               Family::linear,
                               execute_pooling,
                               kernel_of(Pooling::spread),
                               false,
                               1,
                               {},
                               nullptr,
                               [](const Recorded& at, int, const Tensor& g) { return again(kSumWindows, at, g); }};

/// Windows on an image: attributes, and the result's shape.
struct Windows {
  PoolingAttributes attributes;
  Shape shape;
};

Windows checked(const char* operation, const Tensor& x, const IntPair& kernel, const IntPair& stride,
                const IntPair& padding, const IntPair& dilation, bool ceil_mode) {
  const Shape& shape = x.shape();
  check_window(operation, "kernel_size", kernel, 1, shape);
  check_window(operation, "stride", stride, 1, shape);
  check_window(operation, "padding", padding, 0, shape);
  check_window(operation, "dilation", dilation, 1, shape);
  const auto narrow = [](std::int64_t value) { return static_cast<std::int32_t>(value); };
  Windows result{{{narrow(kernel.height), narrow(kernel.width)},
                  {narrow(stride.height), narrow(stride.width)},
                  {narrow(padding.height), narrow(padding.width)},
                  {narrow(dilation.height), narrow(dilation.width)},
                  false},
                 {shape[0], shape[1]}};
  const PoolingAttributes& a = result.attributes;
  for (int d = 0; d < 2; ++d) {
    const std::string which = d == 0 ? "height" : "width";
    const std::int64_t size = shape[2 + d], extent = std::int64_t{a.dilation[d]} * (a.kernel[d] - 1) + 1;
    const std::int64_t padded = size + 2 * std::int64_t{a.padding[d]};
    if (2 * std::int64_t{a.padding[d]} > extent)
      throw ValueError(std::string(operation) + ": padding is " + std::to_string(a.padding[d]) + " for a window of " +
                       which + " " + std::to_string(extent) + " on the input of shape " + to_string(shape) +
                       "; it must be at most half of the window");
    if (size < 1 || extent > padded)
      throw ShapeError(std::string(operation) + ": the window has " + which + " " + std::to_string(extent) +
                       " and the input of shape " + to_string(shape) + ", padded, " + std::to_string(padded) +
                       "; the window must fit into it, and the input not be empty");
    std::int64_t count = (padded - extent + (ceil_mode ? a.stride[d] - 1 : 0)) / a.stride[d] + 1;
    if ((count - 1) * a.stride[d] >= size + a.padding[d]) --count;  // it would begin outside
    // A window that begins before the image has its first element in it less than a step of the dilation behind that.
    for (std::int64_t i = 0; i < count && i * a.stride[d] < a.padding[d]; ++i) {
      const std::int64_t before = a.padding[d] - i * a.stride[d],
                         inside = a.dilation[d] - 1 - (before - 1) % a.dilation[d];
      if (inside >= size)
        throw ShapeError(std::string(operation) + ": with dilation " + std::to_string(a.dilation[d]) + " and padding " +
                         std::to_string(a.padding[d]) + " a window has no element in the " + which +
                         " of the input of shape " + to_string(shape) + "; at least one must lie in it");
    }
    result.shape.push_back(count);
  }
  return result;
}

/// Sums of windows over their numbers of elements, which are products of those of rows and columns.
Tensor mean_of_windows(const Tensor& x, const Windows& windows, const std::vector<double>& rows,
                       const std::vector<double>& columns) {
  const Tensor sums = record(kSumWindows, windows.shape, x.dtype(), {x}, windows.attributes);
  const auto all_equal = [](const std::vector<double>& v) {
    return std::all_of(v.begin(), v.end(), [&](double each) { return each == v.front(); });
  };
  if (all_equal(rows) && all_equal(columns)) return sums / (rows.front() * columns.front());
  return sums / cast_to(unsqueeze(tensor(rows), 1) * tensor(columns), x.dtype());
}

/// Indices in int32.
ValuesIndices largest_of_windows(const char* operation, const Tensor& input, IntPair kernel_size,
                                 const MaxPool2dOptions& options) {
  const Tensor x = with_batch(operation, input);
  check_floating(operation, x);
  const auto& [attributes, shape] = checked(operation, x, kernel_size, options.stride.given.value_or(kernel_size),
                                            options.padding, options.dilation, options.ceil_mode);
  if (x.shape()[2] * x.shape()[3] > std::numeric_limits<std::int32_t>::max())
    throw ShapeError(std::string(operation) + ": the images of shape " + to_string(x.shape()) +
                     " have more than 2^31 - 1 pixels each; positions in them are kept in 32 bits");
  // What a derivative keeps takes half of the bytes that an index has elsewhere.
  const Tensor positions = record(kLargestPositions, shape, int32, {x}, attributes);
  const Tensor values = reshape(gathered(flatten(x, 2), 2, flatten(positions, 2)), shape);
  if (input.dim() == 4) return {values, positions};
  return {squeeze(values, 0), squeeze(positions, 0)};
}

}  // namespace
}  // namespace detail

using namespace detail;

Tensor max_pool2d(const Tensor& x, IntPair kernel_size, const MaxPool2dOptions& options) {
  return largest_of_windows("max_pool2d", x, kernel_size, options).values;
}
ValuesIndices max_pool2d_with_indices(const Tensor& x, IntPair kernel_size, const MaxPool2dOptions& options) {
  const auto& [values, positions] = largest_of_windows("max_pool2d_with_indices", x, kernel_size, options);
  return {values, cast(positions, int64)};
}

Tensor avg_pool2d(const Tensor& input, IntPair kernel_size, const AvgPool2dOptions& options) {
  const Tensor x = with_batch("avg_pool2d", input);
  check_floating("avg_pool2d", x);
  if (options.divisor_override && *options.divisor_override == 0)
    throw ValueError("avg_pool2d: divisor_override is 0 for the input of shape " + to_string(x.shape()));
  const Windows windows = checked("avg_pool2d", x, kernel_size, options.stride.given.value_or(kernel_size),
                                  options.padding, 1, options.ceil_mode);
  const PoolingAttributes& a = windows.attributes;
  std::vector<double> counts[2];
  for (int d = 0; d < 2; ++d)
    for (std::int64_t i = 0; i < windows.shape[2 + d]; ++i) {
      const std::int64_t begin = i * a.stride[d] - a.padding[d], outside = options.count_include_pad ? a.padding[d] : 0;
      const std::int64_t end = std::min<std::int64_t>(begin + a.kernel[d], x.shape()[2 + d] + outside);
      counts[d].push_back(static_cast<double>(end - std::max(begin, -outside)));
    }
  if (options.divisor_override) counts[0] = {static_cast<double>(*options.divisor_override)}, counts[1] = {1};
  const Tensor y = mean_of_windows(x, windows, counts[0], counts[1]);
  return input.dim() == 3 ? squeeze(y, 0) : y;
}

Tensor adaptive_avg_pool2d(const Tensor& input, IntPair output_size) {
  const Tensor x = with_batch("adaptive_avg_pool2d", input);
  check_floating("adaptive_avg_pool2d", x);
  const Shape& shape = x.shape();
  if (output_size.height == -1) output_size.height = shape[2];
  if (output_size.width == -1) output_size.width = shape[3];
  check_window("adaptive_avg_pool2d", "output_size", output_size, 1, shape);
  if (shape[2] < 1 || shape[3] < 1)
    throw ShapeError("adaptive_avg_pool2d: the input has shape " + to_string(shape) + "; it must not be empty");
  Tensor y;
  if (output_size.height == 1 && output_size.width == 1) {
    y = mean(x, {2, 3}, true);
  } else {
    Windows windows{{{}, {}, {}, {}, true}, {shape[0], shape[1], output_size.height, output_size.width}};
    std::vector<double> counts[2];
    for (int d = 0; d < 2; ++d) {
      const std::int64_t size = shape[2 + d], count = windows.shape[2 + d];
      for (std::int64_t i = 0; i < count; ++i)
        counts[d].push_back(static_cast<double>(((i + 1) * size + count - 1) / count - i * size / count));
    }
    y = mean_of_windows(x, windows, counts[0], counts[1]);
  }
  return input.dim() == 3 ? squeeze(y, 0) : y;
}

}  // namespace adjoint
