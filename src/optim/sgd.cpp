#include <adjoint/ops.hpp>
#include <adjoint/optim/sgd.hpp>

#include <cmath>
#include <utility>

namespace adjoint::optim {

SGD::SGD(std::vector<Tensor> parameters, const SGDOptions& options)
    : Optimizer("SGD", std::move(parameters), options.lr,
                options.momentum != 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{}),
      options_(options) {
  require(options.momentum >= 0 && std::isfinite(options.momentum), "momentum", options.momentum,
          "finite and at least 0");
  require(options.weight_decay >= 0 && std::isfinite(options.weight_decay), "weight_decay", options.weight_decay,
          "finite and at least 0");
  require(std::isfinite(options.dampening), "dampening", options.dampening, "finite");
  require(!options.nesterov || options.momentum > 0, "momentum", options.momentum, "above 0 with nesterov");
  require(!options.nesterov || options.dampening == 0, "dampening", options.dampening, "0 with nesterov");
}

std::vector<Tensor> SGD::shared(const Tensor& step, Dtype) {
  if (options_.momentum == 0 || options_.dampening == 0) return {};
  return {step == 1};
}

Tensor SGD::update(const Tensor& p, const Tensor& gradient, std::vector<Tensor>& state,
                   const std::vector<Tensor>& shared) {
  Tensor g = gradient;
  if (options_.weight_decay != 0) g = g + options_.weight_decay * p;
  if (options_.momentum != 0) {
    // The velocity starts at 0, so without dampening the first update needs no case of its own.
    Tensor v = options_.momentum * state[0];
    if (shared.empty()) v = v + g;
    else v = where(shared[0], g, v + (1 - options_.dampening) * g);
    state[0].set_(v);
    g = options_.nesterov ? g + options_.momentum * v : v;
  }
  return p - lr() * g;
}

}  // namespace adjoint::optim
