#include <adjoint/nn/init.hpp>
#include <adjoint/nn/layers.hpp>
#include <adjoint/ops.hpp>

#include <cmath>
#include <sstream>

namespace adjoint::nn {

namespace {

Shape weight_shape(std::int64_t in, std::int64_t out, Dtype dtype) {
  if (in < 1 || out < 1)
    throw ValueError("Linear: in and out must be at least 1, not " + std::to_string(in) + " and " +
                     std::to_string(out));
  if (!is_floating(dtype))
    throw DtypeError(std::string("Linear: the dtype must be float32 or float64, not ") + name_of(dtype));
  return {out, in};
}

/// An option as extra_repr() shows it.
std::string option(const char* name, double value) {
  std::ostringstream text;
  text << name << '=' << value;
  return text.str();
}

}  // namespace

Linear::Linear(std::int64_t in, std::int64_t out, bool with_bias, Dtype dtype)
    : weight(zeros(weight_shape(in, out, dtype), dtype)) {
  init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (!with_bias) return;
  bias = zeros({out}, dtype);
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  init::uniform_(bias, -bound, bound);
}

Tensor Linear::forward(const Tensor& x) const { return linear(x, weight, bias); }

std::string Linear::extra_repr() const {
  return "in=" + std::to_string(weight.size(1)) + ", out=" + std::to_string(weight.size(0)) +
         (bias.defined() ? "" : ", bias=false");
}

Tensor Flatten::forward(const Tensor& x) const { return flatten(x, start_dim_, end_dim_); }

std::string Flatten::extra_repr() const {
  if (start_dim_ == 1 && end_dim_ == -1) return {};
  return "start_dim=" + std::to_string(start_dim_) + ", end_dim=" + std::to_string(end_dim_);
}

Dropout::Dropout(double p) : p_(p) {
  if (!(p >= 0 && p <= 1)) throw ValueError("Dropout: p must lie in [0, 1], not " + std::to_string(p));
}

Tensor Dropout::forward(const Tensor& x) const { return dropout(x, p_, is_training()); }

std::string Dropout::extra_repr() const { return option("p", p_); }

Tensor ReLU::forward(const Tensor& x) const { return relu(x); }

Tensor Sigmoid::forward(const Tensor& x) const { return sigmoid(x); }

Tensor Tanh::forward(const Tensor& x) const { return tanh(x); }

Tensor GELU::forward(const Tensor& x) const { return approximate_ == Approximate::tanh ? gelu_tanh(x) : gelu(x); }

std::string GELU::extra_repr() const { return approximate_ == Approximate::tanh ? "approximate=tanh" : ""; }

Tensor SiLU::forward(const Tensor& x) const { return silu(x); }

Softplus::Softplus(double beta) : beta_(beta) {
  if (!(beta > 0)) throw ValueError("Softplus: beta must be above 0, not " + std::to_string(beta));
}

Tensor Softplus::forward(const Tensor& x) const { return beta_ == 1 ? softplus(x) : softplus(x * beta_) / beta_; }

std::string Softplus::extra_repr() const { return option("beta", beta_); }

Tensor ELU::forward(const Tensor& x) const { return elu(x, alpha_); }

std::string ELU::extra_repr() const { return option("alpha", alpha_); }

Tensor LeakyReLU::forward(const Tensor& x) const { return leaky_relu(x, negative_slope_); }

std::string LeakyReLU::extra_repr() const { return option("negative_slope", negative_slope_); }

Hardtanh::Hardtanh(double min, double max) : min_(min), max_(max) {
  if (!(min < max))
    throw ValueError("Hardtanh: min must be below max, not " + std::to_string(min) + " and " + std::to_string(max));
}

Tensor Hardtanh::forward(const Tensor& x) const { return hardtanh(x, min_, max_); }

std::string Hardtanh::extra_repr() const { return option("min", min_) + ", " + option("max", max_); }

}  // namespace adjoint::nn
