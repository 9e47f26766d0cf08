#include "ops/common.hpp"

#include <adjoint/autograd.hpp>

#include <algorithm>
#include <limits>

namespace adjoint {

using namespace detail;

namespace {

/// Throws unless an operand, which may be undefined, has this shape and x's dtype.
void check_operand(const char* operation, const char* argument, const Tensor& operand, const Shape& shape,
                   const Tensor& x) {
  if (!operand.defined()) return;
  if (operand.shape() != shape)
    throw ShapeError(std::string(operation) + ": the " + argument + " of shape " + to_string(operand.shape()) +
                     " does not fit the input of shape " + to_string(x.shape()) + "; it must have shape " +
                     to_string(shape));
  if (operand.dtype() != x.dtype())
    throw DtypeError(std::string(operation) + ": the " + argument + " of shape " + to_string(operand.shape()) +
                     " has dtype " + name_of(operand.dtype()) + "; it must be " + name_of(x.dtype()) + ", the input's");
}

void check_eps(const char* operation, double eps) {
  if (!(eps >= 0))
    throw ValueError(std::string(operation) + ": eps is " + std::to_string(eps) + "; it must be at least 0");
}

/// The last dims of x, which are to be `normalized`.
Dims last_dims(const char* operation, const Tensor& x, const Shape& normalized) {
  check_floating(operation, x);
  const Shape& shape = x.shape();
  const int first = shape.size() - normalized.size();
  if (normalized.empty() || first < 0 || !std::equal(normalized.begin(), normalized.end(), shape.begin() + first))
    throw ShapeError(std::string(operation) + ": the input of shape " + to_string(shape) + " must end in the " +
                     "normalized_shape " + to_string(normalized) + ", of at least one dim");
  Dims dims;
  for (int i = first; i < shape.size(); ++i) dims.push_back(i);
  return dims;
}

Tensor scaled(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor product = weight.defined() ? x * weight : x;
  return bias.defined() ? product + bias : product;
}

/// [C] as [1, C, 1, ...], or undefined.
Tensor per_channel(const Tensor& x, int rank) {
  if (!x.defined()) return x;
  Shape shape = Dims::filled(rank, 1);
  shape[1] = x.numel();
  return reshape(x, shape);
}

/// Of fewer elements, which stay in the cache, two passes over them cost less than to look for an origin.
constexpr std::int64_t kFewestInOnePass = 1 << 15;

/// The mean per channel of at least one in kPart of the elements. Whichever these are, it is less than sqrt(kPart)
/// deviations away from the mean of all: the mean of squares about it is at most kPart times the variance, which so
/// keeps all but log2(kPart) of its bits.
Tensor mean_of_part(const Tensor& x, const Dims& dims) {
  constexpr std::int64_t kPart = 64;
  const NoGradGuard no_grad;
  const auto part_of = [](std::int64_t n) { return (n + kPart - 1) / kPart; };
  const std::int64_t n = x.shape()[0];
  Tensor part = narrow(x, 0, 0, part_of(n));
  if (n < kPart && x.dim() > 2) part = narrow(part, 2, 0, part_of(n * x.shape()[2]));
  return mean(part, dims, true);
}

/// The mean and the population's variance of each channel, which has n elements.
struct Statistics {
  Tensor mean, variance;
};
Statistics statistics_of(const Tensor& x, const Dims& dims, double n) {
  if (numel(x.shape()) < kFewestInOnePass) {
    const Tensor center = sum(x, dims, true) / n;
    return {center, sum(square(x - center), dims, true) / n};
  }
  // Both sums from one look at x, about a constant near the mean. Mean and variance do not depend on it, and neither do
  // their derivatives.
  const Tensor origin = mean_of_part(x, dims), shifted = x - origin;
  const Tensor shift = sum(shifted, dims, true) / n;
  const Tensor difference = sum(square(shifted), dims, true) / n - square(shift);
  return {origin + shift, where(difference < 0, 0, difference)};  // below 0 by rounding, where all are the same
}

/// Moves a running statistic towards the batch's.
void update_running(Tensor running, const Tensor& batch, double momentum) {
  if (!running.is_cell()) return;
  const NoGradGuard no_grad;
  running.set_(running * (1 - momentum) + reshape(batch, running.shape()) * momentum);
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, const Tensor& bias,
                  double eps) {
  const Dims dims = last_dims("layer_norm", x, normalized_shape);
  check_operand("layer_norm", "weight", weight, normalized_shape, x);
  check_operand("layer_norm", "bias", bias, normalized_shape, x);
  check_eps("layer_norm", eps);
  const Tensor deviation = x - mean(x, dims, true);
  return scaled(deviation * rsqrt(mean(square(deviation), dims, true) + eps), weight, bias);
}

Tensor rms_norm(const Tensor& x, const Shape& normalized_shape, const Tensor& weight, std::optional<double> eps) {
  const Dims dims = last_dims("rms_norm", x, normalized_shape);
  check_operand("rms_norm", "weight", weight, normalized_shape, x);
  const double epsilon =
      x.dtype() == float32 ? std::numeric_limits<float>::epsilon() : std::numeric_limits<double>::epsilon();
  check_eps("rms_norm", eps.value_or(epsilon));
  return scaled(x * rsqrt(mean(square(x), dims, true) + eps.value_or(epsilon)), weight, {});
}

Tensor batch_norm(const Tensor& x, const Tensor& running_mean, const Tensor& running_var, const Tensor& weight,
                  const Tensor& bias, bool training, double momentum, double eps) {
  check_floating("batch_norm", x);
  const Shape& shape = x.shape();
  const int rank = shape.size();
  if (rank < 2 || rank > 5)
    throw ShapeError("batch_norm: the input has shape " + to_string(shape) +
                     "; it must have 2 to 5 dims, (N, C, ...), with the channels in dim 1");
  const Shape channels{shape[1]};
  check_operand("batch_norm", "running_mean", running_mean, channels, x);
  check_operand("batch_norm", "running_var", running_var, channels, x);
  check_operand("batch_norm", "weight", weight, channels, x);
  check_operand("batch_norm", "bias", bias, channels, x);
  check_eps("batch_norm", eps);
  if (running_mean.defined() != running_var.defined())
    throw ValueError(std::string("batch_norm: ") + (running_mean.defined() ? "running_var" : "running_mean") +
                     " is an undefined Tensor, and the other running statistic is not; both or none must be given");

  const auto normalized = [&](const Tensor& deviation, const Tensor& variance) {
    // Per channel first, so that the elements are multiplied once.
    Tensor factor = rsqrt(variance + eps);
    if (weight.defined()) factor = factor * per_channel(weight, rank);
    return scaled(deviation, factor, per_channel(bias, rank));
  };
  if (!training && running_mean.defined())
    return normalized(x - per_channel(running_mean, rank), per_channel(running_var, rank));

  Dims dims{0};
  std::int64_t count = shape[0];  // of values per channel
  for (int i = 2; i < rank; ++i) {
    dims.push_back(i);
    count *= shape[i];
  }
  if (count == 1)
    throw ShapeError("batch_norm: the input of shape " + to_string(shape) +
                     " has one value per channel; the batch's statistics need more than one");
  const auto n = static_cast<double>(std::max<std::int64_t>(1, count));
  const auto [center, variance] = statistics_of(x, dims, n);
  if (training && running_mean.defined() && count > 0) {
    update_running(running_mean, center, momentum);
    update_running(running_var, variance * (n / (n - 1)), momentum);
  }
  return normalized(x - center, variance);
}

}  // namespace adjoint
