#include <adjoint/ops.hpp>
#include <adjoint/optim/adam.hpp>

#include <cmath>
#include <utility>

namespace adjoint::optim {

Adam::Adam(std::vector<Tensor> parameters, const AdamOptions& options)
    : Optimizer("Adam", std::move(parameters), options.lr, {"exp_avg", "exp_avg_sq"}), options_(options) {
  const auto [beta1, beta2] = options.betas;
  require(beta1 >= 0 && beta1 < 1, "betas.first", beta1, "in [0, 1)");
  require(beta2 >= 0 && beta2 < 1, "betas.second", beta2, "in [0, 1)");
  require(options.eps >= 0 && std::isfinite(options.eps), "eps", options.eps, "finite and at least 0");
  require(options.weight_decay >= 0 && std::isfinite(options.weight_decay), "weight_decay", options.weight_decay,
          "finite and at least 0");
}

// The size of the step and the root of the second moment's correction.
std::vector<Tensor> Adam::shared(const Tensor& step, Dtype dtype) {
  const Tensor size = lr() / (1 - pow(options_.betas.first, step));
  const Tensor root = sqrt(1 - pow(options_.betas.second, step));
  return {size.to(dtype), root.to(dtype)};
}

Tensor Adam::update(const Tensor& p, const Tensor& gradient, std::vector<Tensor>& state,
                    const std::vector<Tensor>& shared) {
  const auto [beta1, beta2] = options_.betas;
  Tensor g = gradient;
  if (options_.weight_decay != 0) g = g + options_.weight_decay * p;
  const Tensor m = beta1 * state[0] + (1 - beta1) * g;
  const Tensor v = beta2 * state[1] + (1 - beta2) * square(g);
  state[0].set_(m);
  state[1].set_(v);
  return p - shared[0] * m / (sqrt(v) / shared[1] + options_.eps);
}

}  // namespace adjoint::optim
