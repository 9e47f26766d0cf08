#include <adjoint/nn/init.hpp>
#include <adjoint/nn/layers.hpp>
#include <adjoint/ops.hpp>

#include <cmath>
#include <sstream>

namespace adjoint::nn {

namespace {

void require_floating(const char* name, Dtype dtype) {
  if (!is_floating(dtype))
    throw DtypeError(std::string(name) + ": the dtype must be float32 or float64, not " + name_of(dtype));
}

void require_eps(const char* name, double eps) {
  if (!(eps >= 0)) throw ValueError(std::string(name) + ": eps must be at least 0, not " + std::to_string(eps));
}

std::string eps_text(double eps) {
  if (eps == 1e-5) return {};
  std::ostringstream text;
  text << ", eps=" << eps;
  return text.str();
}

Shape weight_shape(std::int64_t in, std::int64_t out, Dtype dtype) {
  if (in < 1 || out < 1)
    throw ValueError("Linear: in and out must be at least 1, not " + std::to_string(in) + " and " +
                     std::to_string(out));
  require_floating("Linear", dtype);
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

// -- normalisation ----------------------------------------------------------------------------------------------------

LayerNorm::LayerNorm(const Shape& normalized_shape, const LayerNormOptions& options)
    : normalized_shape_(normalized_shape), eps_(options.eps) {
  for (std::int64_t size : normalized_shape)
    if (size < 1)
      throw ValueError("LayerNorm: the sizes of normalized_shape must be at least 1, not " +
                       to_string(normalized_shape));
  if (normalized_shape.empty()) throw ValueError("LayerNorm: normalized_shape must have at least one dim");
  require_eps("LayerNorm", eps_);
  require_floating("LayerNorm", options.dtype);
  if (!options.elementwise_affine) return;
  weight = ones(normalized_shape, options.dtype);
  if (options.bias) bias = zeros(normalized_shape, options.dtype);
}

Tensor LayerNorm::forward(const Tensor& x) const { return layer_norm(x, normalized_shape_, weight, bias, eps_); }

std::string LayerNorm::extra_repr() const {
  return to_string(normalized_shape_) + eps_text(eps_) +
         (!weight.defined() ? ", elementwise_affine=false"
          : bias.defined()  ? ""
                            : ", bias=false");
}

BatchNorm::BatchNorm(const char* name, std::int64_t features, const BatchNormOptions& options)
    : features_(features), eps_(options.eps), momentum_(options.momentum) {
  if (features < 1)
    throw ValueError(std::string(name) + ": features must be at least 1, not " + std::to_string(features));
  require_eps(name, eps_);
  if (momentum_ && !(*momentum_ >= 0 && *momentum_ <= 1))
    throw ValueError(std::string(name) + ": momentum must lie in [0, 1], not " + std::to_string(*momentum_));
  require_floating(name, options.dtype);
  if (options.affine) {
    weight = ones({features}, options.dtype);
    bias = zeros({features}, options.dtype);
  }
  if (options.track_running_stats) {
    running_mean = zeros({features}, options.dtype);
    running_var = ones({features}, options.dtype);
    num_batches_tracked = zeros({}, int64);
  }
}

void BatchNorm::members(Members& m) {
  m("weight", weight)("bias", bias)("running_mean", running_mean)("running_var", running_var);
  m("num_batches_tracked", num_batches_tracked);
}

Tensor BatchNorm::normalized(const char* name, const Tensor& x, int least_rank, int most_rank) const {
  if (const Shape& shape = x.shape(); shape.size() < least_rank || shape.size() > most_rank || shape[1] != features_) {
    const std::string channels = "(N, " + std::to_string(features_);
    throw ShapeError(std::string(name) + ": x of shape " + to_string(shape) + " must have shape " +
                     (most_rank == 4 ? channels + ", H, W)" : channels + ") or " + channels + ", L)"));
  }
  if (!is_training() || !running_mean.defined())
    return batch_norm(x, running_mean, running_var, weight, bias, is_training(), 0, eps_);
  if (momentum_) {
    const Tensor y = batch_norm(x, running_mean, running_var, weight, bias, true, *momentum_, eps_);
    num_batches_tracked.update(num_batches_tracked + 1);
    return y;
  }
  // Cells that move all the way to the batch's statistics; how far the running ones follow, only their count tells.
  Tensor mean = running_mean.detach().requires_grad_(false), var = running_var.detach().requires_grad_(false);
  const Tensor y = batch_norm(x, mean, var, weight, bias, true, 1, eps_);
  num_batches_tracked.update(num_batches_tracked + 1);
  const Tensor share = 1 / num_batches_tracked.to(mean.dtype());
  running_mean.update(running_mean * (1 - share) + mean * share);
  running_var.update(running_var * (1 - share) + var * share);
  return y;
}

std::string BatchNorm::extra_repr() const {
  std::ostringstream text;
  text << features_ << eps_text(eps_);
  if (!momentum_) text << ", momentum=none";
  else if (*momentum_ != 0.1) text << ", momentum=" << *momentum_;
  if (!weight.defined()) text << ", affine=false";
  if (!running_mean.defined()) text << ", track_running_stats=false";
  return text.str();
}

// -- embedding --------------------------------------------------------------------------------------------------------

Embedding::Embedding(std::int64_t num, std::int64_t dim, const EmbeddingOptions& options)
    : padding_idx_(options.padding_idx) {
  if (num < 1 || dim < 1)
    throw ValueError("Embedding: num and dim must be at least 1, not " + std::to_string(num) + " and " +
                     std::to_string(dim));
  require_floating("Embedding", options.dtype);
  if (padding_idx_ && (*padding_idx_ < -num || *padding_idx_ >= num))
    throw ValueError("Embedding: padding_idx must lie in [" + std::to_string(-num) + ", " + std::to_string(num) +
                     "), not be " + std::to_string(*padding_idx_));
  if (padding_idx_ && *padding_idx_ < 0) *padding_idx_ += num;
  weight = randn({num, dim}, options.dtype);
  if (padding_idx_) weight = masked_fill(weight, unsqueeze(arange(num) == *padding_idx_, 1), 0);
}

Tensor Embedding::forward(const Tensor& index) const {
  if (!is_integral(index.dtype()))
    throw DtypeError("Embedding: index of shape " + to_string(index.shape()) + " is " + name_of(index.dtype()) +
                     "; it must be integers");
  const std::int64_t num = weight.size(0), dim = weight.size(1);
  const Tensor rows = reshape(checked_index(index.to(int64), 0, num, "Embedding: index"), {index.numel(), 1});
  Tensor y = gather(weight, 0, broadcast_to(rows, {rows.size(0), dim}));
  if (padding_idx_) y = where(rows == *padding_idx_, y.detach(), y);
  Shape shape = index.shape();
  shape.push_back(dim);
  return reshape(y, shape);
}

std::string Embedding::extra_repr() const {
  return "num=" + std::to_string(weight.size(0)) + ", dim=" + std::to_string(weight.size(1)) +
         (padding_idx_ ? ", padding_idx=" + std::to_string(*padding_idx_) : "");
}

}  // namespace adjoint::nn
