#include <adjoint/ops.hpp>
#include <adjoint/optim/sgd.hpp>

#include <cmath>
#include <utility>

namespace adjoint::optim {

namespace {

SGDOptions resolved(const SGDGroupOptions& own, const SGDOptions& common) {
  return {own.lr.value_or(common.lr), own.momentum.value_or(common.momentum), own.dampening.value_or(common.dampening),
          own.nesterov.value_or(common.nesterov), own.weight_decay.value_or(common.weight_decay)};
}

std::vector<std::string> state_names(const std::vector<SGDGroup>& groups, const SGDOptions& options) {
  for (const SGDGroup& group : groups)
    if (group.options.momentum.value_or(options.momentum) != 0) return {"momentum"};
  return {};
}

}  // namespace

SGD::SGD(std::vector<SGDGroup> groups, const SGDOptions& options)
    : Optimizer("SGD", with_lr(groups, options.lr), state_names(groups, options)) {
  for (const SGDGroup& group : groups) {
    const SGDOptions& o = options_.emplace_back(resolved(group.options, options));
    require(o.momentum >= 0 && std::isfinite(o.momentum), "momentum", o.momentum, "finite and at least 0");
    require(o.weight_decay >= 0 && std::isfinite(o.weight_decay), "weight_decay", o.weight_decay,
            "finite and at least 0");
    require(std::isfinite(o.dampening), "dampening", o.dampening, "finite");
    require(!o.nesterov || o.momentum > 0, "momentum", o.momentum, "above 0 with nesterov");
    require(!o.nesterov || o.dampening == 0, "dampening", o.dampening, "0 with nesterov");
  }
}

// The learning rate, and whether this is the first update, if that is a case of its own.
TensorList SGD::shared(const Tensor& step, Dtype dtype) {
  const Tensor rate = full({}, lr(group()), dtype);
  if (options_[group()].momentum == 0 || options_[group()].dampening == 0) return {rate};
  return {rate, step == 1};
}

Tensor SGD::update(const Tensor& p, const Tensor& gradient, std::vector<Tensor>& state, const TensorList& shared) {
  const SGDOptions& options = options_[group()];
  Tensor g = gradient;
  if (options.weight_decay != 0) g = g + options.weight_decay * p;
  if (options.momentum != 0) {
    // The velocity starts at 0, so without dampening the first update needs no case of its own.
    Tensor v = options.momentum * state[0];
    if (shared.size() == 1) v = v + g;
    else v = where(shared[1], g, v + (1 - options.dampening) * g);
    state[0].set_(v);
    g = options.nesterov ? g + options.momentum * v : v;
  }
  return p - shared[0] * g;
}

}  // namespace adjoint::optim
