#include <adjoint/ops.hpp>
#include <adjoint/optim/adam.hpp>

#include <cmath>
#include <utility>

namespace adjoint::optim {

namespace {

AdamOptions resolved(const AdamGroupOptions& own, const AdamOptions& common) {
  return {own.lr.value_or(common.lr), own.betas.value_or(common.betas), own.eps.value_or(common.eps),
          own.weight_decay.value_or(common.weight_decay)};
}

}  // namespace

Adam::Adam(std::vector<Tensor> parameters, const AdamOptions& options)
    : Adam(std::vector<AdamGroup>{{std::move(parameters)}}, options) {}

Adam::Adam(std::vector<AdamGroup> groups, const AdamOptions& options)
    : Adam("Adam", std::move(groups), options, false) {}

AdamW::AdamW(std::vector<AdamGroup> groups, const AdamWOptions& options)
    : Adam("AdamW", std::move(groups), {options.lr, options.betas, options.eps, options.weight_decay}, true) {}

Adam::Adam(const char* name, std::vector<AdamGroup> groups, const AdamOptions& options, bool decoupled_weight_decay)
    : Optimizer(name, with_lr(groups, options.lr), {"exp_avg", "exp_avg_sq"}),
      decoupled_weight_decay_(decoupled_weight_decay) {
  for (const AdamGroup& group : groups) {
    const AdamOptions& o = options_.emplace_back(resolved(group.options, options));
    const auto [beta1, beta2] = o.betas;
    require(beta1 >= 0 && beta1 < 1, "betas.first", beta1, "in [0, 1)");
    require(beta2 >= 0 && beta2 < 1, "betas.second", beta2, "in [0, 1)");
    require(o.eps >= 0 && std::isfinite(o.eps), "eps", o.eps, "finite and at least 0");
    require(o.weight_decay >= 0 && std::isfinite(o.weight_decay), "weight_decay", o.weight_decay,
            "finite and at least 0");
  }
}

// The size of the step, what corrects the root of the second moment, and numbers that all parameters read.
TensorList Adam::shared(const Tensor& step, Dtype dtype) {
  const AdamOptions& options = options_[group()];
  const auto [beta1, beta2] = options.betas;
  const Tensor size = lr(group()) / (1 - pow(beta1, step));
  const Tensor correction = rsqrt(1 - pow(beta2, step));
  const auto number = [dtype](double value) { return full({}, value, dtype); };
  return {size.to(dtype), correction.to(dtype), number(beta1),      number(1 - beta1),
          number(beta2),  number(1 - beta2),    number(options.eps)};
}

Tensor Adam::update(const Tensor& p, const Tensor& gradient, std::vector<Tensor>& state, const TensorList& shared) {
  const AdamOptions& options = options_[group()];
  const Tensor &size = shared[0], &correction = shared[1], &beta1 = shared[2], &rest1 = shared[3], &beta2 = shared[4],
               &rest2 = shared[5], &eps = shared[6];
  Tensor g = gradient, before = p;
  if (options.weight_decay != 0) {
    if (decoupled_weight_decay_) before = p * (1 - lr(group()) * options.weight_decay);
    else g = g + options.weight_decay * p;
  }
  const Tensor m = beta1 * state[0] + rest1 * g;
  const Tensor v = beta2 * state[1] + rest2 * square(g);
  state[0].set_(m);
  state[1].set_(v);
  return before - size * m / (sqrt(v) * correction + eps);
}

}  // namespace adjoint::optim
