#pragma once

#include <adjoint/optim/optimizer.hpp>

#include <initializer_list>
#include <optional>
#include <utility>

namespace adjoint::optim {

struct SGDOptions {
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
  /// Added to the gradient, times the parameter.
  double weight_decay = 0;
};

/// What a group has of its own; the rest is as in the optimizer's options.
struct SGDGroupOptions {
  std::optional<double> lr = {};
  std::optional<double> momentum = {};
  std::optional<double> dampening = {};
  std::optional<bool> nesterov = {};
  std::optional<double> weight_decay = {};
};
struct SGDGroup {
  std::vector<Tensor> parameters;
  SGDGroupOptions options = {};
};

/// Stochastic gradient descent, as PyTorch writes it (Sutskever et al. 2013, with the learning rate outside of the
/// velocity):
///   g += weight_decay p
///   v = momentum v + (1 - dampening) g    (v = g at the first update)
///   p -= lr v                             (lr (g + momentum v) with nesterov; lr g without momentum)
class ADJOINT_API SGD : public Optimizer {
 public:
  /// Throws ValueError for negative or NaN options, for nesterov without momentum or with dampening, and for
  /// parameters that cannot be optimized, or that are named twice.
  explicit SGD(std::vector<Tensor> parameters, const SGDOptions& options = {})
      : SGD(std::vector<SGDGroup>{{std::move(parameters)}}, options) {}
  /// Groups of parameters: `SGD({{net.body.parameters(), {.lr = 1e-4}}, {net.head.parameters()}}, {.momentum = 0.9})`.
  explicit SGD(std::vector<SGDGroup> groups, const SGDOptions& options = {});
  explicit SGD(std::initializer_list<SGDGroup> groups, const SGDOptions& options = {})
      : SGD(std::vector<SGDGroup>(groups), options) {}

 private:
  Tensor update(const Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& state,
                const TensorList& shared) final;
  bool is_elementwise() const noexcept final { return true; }
  TensorList shared(const Tensor& step, Dtype dtype) override;

  std::vector<SGDOptions> options_;  // for each group; their lr is the first one
};

}  // namespace adjoint::optim
