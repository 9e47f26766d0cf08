#pragma once

#include <adjoint/optim/optimizer.hpp>

#include <initializer_list>
#include <optional>
#include <utility>

namespace adjoint::optim {

struct AdamOptions {
  double lr = 1e-3;
  std::pair<double, double> betas = {0.9, 0.999};
  double eps = 1e-8;
  /// Added to the gradient, times the parameter (not decoupled).
  double weight_decay = 0;
};

/// What a group has of its own; the rest is as in the optimizer's options.
struct AdamGroupOptions {
  std::optional<double> lr = {};
  std::optional<std::pair<double, double>> betas = {};
  std::optional<double> eps = {};
  std::optional<double> weight_decay = {};
};
struct AdamGroup {
  std::vector<Tensor> parameters;
  AdamGroupOptions options = {};
};

/// Adam (Kingma & Ba 2015, algorithm 1), as PyTorch writes it; at update t:
///   g += weight_decay p
///   m = beta1 m + (1 - beta1) g
///   v = beta2 v + (1 - beta2) g^2
///   p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps)
class ADJOINT_API Adam : public Optimizer {
 public:
  /// Throws ValueError for negative or NaN options, betas outside [0, 1), and parameters that cannot be optimized, or
  /// that are named twice.
  explicit Adam(std::vector<Tensor> parameters, const AdamOptions& options = {});
  /// Groups of parameters: `Adam({{net.body.parameters(), {.lr = 1e-4}}, {net.head.parameters()}}, {.eps = 1e-6})`.
  explicit Adam(std::vector<AdamGroup> groups, const AdamOptions& options = {});
  explicit Adam(std::initializer_list<AdamGroup> groups, const AdamOptions& options = {})
      : Adam(std::vector<AdamGroup>(groups), options) {}

 protected:
  Adam(const char* name, std::vector<AdamGroup> groups, const AdamOptions& options, bool decoupled_weight_decay);

 private:
  Tensor update(const Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& state,
                const TensorList& shared) final;
  bool is_elementwise() const noexcept final { return true; }
  TensorList shared(const Tensor& step, Dtype dtype) override;

  std::vector<AdamOptions> options_;  // for each group; their lr is the first one
  bool decoupled_weight_decay_;
};

struct AdamWOptions {
  double lr = 1e-3;
  std::pair<double, double> betas = {0.9, 0.999};
  double eps = 1e-8;
  /// The share, times lr, by which a parameter shrinks at each update (decoupled from the gradient).
  double weight_decay = 1e-2;
};

/// Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2), as PyTorch writes it: instead of adding to
/// the gradient, first
///   p -= lr weight_decay p
class ADJOINT_API AdamW : public Adam {
 public:
  /// As Adam.
  explicit AdamW(std::vector<Tensor> parameters, const AdamWOptions& options = {})
      : AdamW(std::vector<AdamGroup>{{std::move(parameters)}}, options) {}
  explicit AdamW(std::vector<AdamGroup> groups, const AdamWOptions& options = {});
  explicit AdamW(std::initializer_list<AdamGroup> groups, const AdamWOptions& options = {})
      : AdamW(std::vector<AdamGroup>(groups), options) {}
};

}  // namespace adjoint::optim
