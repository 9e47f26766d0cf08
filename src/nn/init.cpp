#include <adjoint/autograd.hpp>
#include <adjoint/nn/init.hpp>
#include <adjoint/ops.hpp>

#include <cmath>
#include <string>

namespace adjoint::nn::init {

namespace {

void require_floating(const char* name, const Tensor& x) {
  if (!is_floating(x.dtype()))
    throw DtypeError(std::string(name) + ": x is " + name_of(x.dtype()) + "; it must be float32 or float64");
}

struct Fans {
  double in, out;
};

Fans fans_of(const char* name, const Tensor& x) {
  require_floating(name, x);
  if (x.dim() < 2)
    throw ShapeError(std::string(name) + ": x of shape " + to_string(x.shape()) +
                     " must have at least two dims, [out, in, ...]");
  double further = 1;
  for (int i = 2; i < x.dim(); ++i) further *= static_cast<double>(x.shape()[i]);
  return {static_cast<double>(x.shape()[1]) * further, static_cast<double>(x.shape()[0]) * further};
}

double kaiming_deviation(const char* name, const Tensor& x, double a, FanMode mode, Nonlinearity nonlinearity) {
  const Fans fans = fans_of(name, x);
  return calculate_gain(nonlinearity, a) / std::sqrt(mode == FanMode::fan_in ? fans.in : fans.out);
}

double xavier_deviation(const char* name, const Tensor& x, double gain) {
  const Fans fans = fans_of(name, x);
  return gain * std::sqrt(2 / (fans.in + fans.out));
}

Tensor& set(Tensor& x, const Tensor& value) {
  const NoGradGuard no_grad;
  return x.set_(value);
}

Tensor& set_uniform(Tensor& x, double low, double high, Generator& generator) {
  if (x.numel() == 0) return x;
  return set(x, rand(x.shape(), x.dtype(), generator) * (high - low) + low);
}

Tensor& set_normal(Tensor& x, double mean, double deviation, Generator& generator) {
  if (x.numel() == 0) return x;
  return set(x, randn(x.shape(), x.dtype(), generator) * deviation + mean);
}

}  // namespace

double calculate_gain(Nonlinearity nonlinearity, double slope) {
  switch (nonlinearity) {
    case Nonlinearity::tanh:
      return 5.0 / 3;
    case Nonlinearity::relu:
      return std::sqrt(2.0);
    case Nonlinearity::leaky_relu:
      return std::sqrt(2 / (1 + slope * slope));
    case Nonlinearity::selu:
      return 0.75;
    case Nonlinearity::linear:
    case Nonlinearity::sigmoid:
      break;
  }
  return 1;
}

Tensor& constant_(Tensor& x, Scalar value) {
  const NoGradGuard no_grad;
  return x.fill_(value);
}

Tensor& zeros_(Tensor& x) { return constant_(x, 0); }

Tensor& ones_(Tensor& x) { return constant_(x, 1); }

Tensor& uniform_(Tensor& x, double low, double high, Generator& generator) {
  require_floating("uniform_", x);
  if (!(low <= high) || !std::isfinite(low) || !std::isfinite(high))
    throw ValueError("uniform_: low = " + std::to_string(low) + " and high = " + std::to_string(high) +
                     " must be finite, and low <= high");
  return set_uniform(x, low, high, generator);
}

Tensor& normal_(Tensor& x, double mean, double deviation, Generator& generator) {
  require_floating("normal_", x);
  if (!(deviation >= 0) || !std::isfinite(deviation) || !std::isfinite(mean))
    throw ValueError("normal_: mean = " + std::to_string(mean) + " and deviation = " + std::to_string(deviation) +
                     " must be finite, and deviation >= 0");
  return set_normal(x, mean, deviation, generator);
}

Tensor& kaiming_uniform_(Tensor& x, double a, FanMode mode, Nonlinearity nonlinearity, Generator& generator) {
  const double bound = std::sqrt(3.0) * kaiming_deviation("kaiming_uniform_", x, a, mode, nonlinearity);
  return set_uniform(x, -bound, bound, generator);
}

Tensor& kaiming_normal_(Tensor& x, double a, FanMode mode, Nonlinearity nonlinearity, Generator& generator) {
  return set_normal(x, 0, kaiming_deviation("kaiming_normal_", x, a, mode, nonlinearity), generator);
}

Tensor& xavier_uniform_(Tensor& x, double gain, Generator& generator) {
  const double bound = std::sqrt(3.0) * xavier_deviation("xavier_uniform_", x, gain);
  return set_uniform(x, -bound, bound, generator);
}

Tensor& xavier_normal_(Tensor& x, double gain, Generator& generator) {
  return set_normal(x, 0, xavier_deviation("xavier_normal_", x, gain), generator);
}

}  // namespace adjoint::nn::init
