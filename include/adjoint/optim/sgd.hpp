#pragma once

#include <adjoint/optim/optimizer.hpp>

namespace adjoint::optim {

struct SGDOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
  /// Added to the gradient, times the parameter.
  double weight_decay = 0;
};

/// Stochastic gradient descent, as PyTorch writes it (Sutskever et al. 2013, with the learning rate outside of the
/// velocity):
///   g += weight_decay p
///   v = momentum v + (1 - dampening) g    (v = g at the first update)
///   p -= lr v                             (lr (g + momentum v) with nesterov; lr g without momentum)
class ADJOINT_API SGD : public Optimizer {
 public:
  /// Throws ValueError for negative or NaN options, for nesterov without momentum or with dampening, and for
  /// parameters that cannot be optimized.
  explicit SGD(std::vector<Tensor> parameters, const SGDOptions& options = {});

 private:
  Tensor update(const Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& state,
                const std::vector<Tensor>& shared) override;
  std::vector<Tensor> shared(const Tensor& step, Dtype dtype) override;

  SGDOptions options_;
};

}  // namespace adjoint::optim
