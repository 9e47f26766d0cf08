#pragma once

#include <adjoint/optim/optimizer.hpp>

#include <utility>

namespace adjoint::optim {

struct AdamOptions {
  double lr = 1e-3;
  std::pair<double, double> betas = {0.9, 0.999};
  double eps = 1e-8;
  /// Added to the gradient, times the parameter (not decoupled).
  double weight_decay = 0;
};

/// Adam (Kingma & Ba 2015, algorithm 1), as PyTorch writes it; at update t:
///   g += weight_decay p
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
class ADJOINT_API Adam : public Optimizer {
 public:
  /// Throws ValueError for negative or NaN options, betas outside [0, 1), and parameters that cannot be optimized.
  explicit Adam(std::vector<Tensor> parameters, const AdamOptions& options = {});

 private:
  Tensor update(const Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& state,
                const std::vector<Tensor>& shared) override;
  std::vector<Tensor> shared(const Tensor& step, Dtype dtype) override;

  AdamOptions options_;
};

}  // namespace adjoint::optim
