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

// Numbers that all parameters read. The roots of the second moments are corrected all alike: the correction is taken out
// of m / (sqrt(v) correction + eps), and is in the size of the step and in eps.
TensorList Adam::shared(const Tensor& step, Dtype dtype) {
  const AdamOptions& options = options_[group()];
  const auto [beta1, beta2] = options.betas;
  const Tensor root = sqrt(1 - pow(beta2, step));
  const Tensor size = lr(group()) / (1 - pow(beta1, step)) * root;
  const auto number = [dtype](double value) { return full({}, value, dtype); };
  const double decay = decoupled_weight_decay_ ? 1 - lr(group()) * options.weight_decay : options.weight_decay;
  return {size.to(dtype), (options.eps * root).to(dtype), number(beta1), number(1 - beta1), number(beta2),
          number(1 - beta2), number(decay)};
}

Tensor Adam::update(const Tensor& p, const Tensor& gradient, std::vector<Tensor>& state, const TensorList& shared) {
  const AdamOptions& options = options_[group()];
  const Tensor &size = shared[0], &eps = shared[1], &beta1 = shared[2], &rest1 = shared[3], &beta2 = shared[4],
               &rest2 = shared[5], &decay = shared[6];
  Tensor g = gradient, before = p;
  if (options.weight_decay != 0) {
    if (decoupled_weight_decay_) before = p * decay;
    else g = g + decay * p;
  }
  const Tensor m = beta1 * state[0] + rest1 * g;
  const Tensor v = beta2 * state[1] + rest2 * square(g);
  state[0].set_(m);
  state[1].set_(v);
  return before - size * m / (sqrt(v) + eps);
}

}  // namespace adjoint::optim
