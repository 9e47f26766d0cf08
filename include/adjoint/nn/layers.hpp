#pragma once

#include <adjoint/nn/module.hpp>

namespace adjoint::nn {

/// x weight^T + bias: [.., in] -> [.., out].
class ADJOINT_API Linear : public Module<Linear> {
 public:
  /// The weight is initialised by kaiming_uniform(a = sqrt 5), which is uniform on +-1/sqrt(in), as the bias is.
  /// Throws ValueError unless in and out are at least 1, DtypeError unless the dtype is floating.
  Linear(std::int64_t in, std::int64_t out, bool bias = true, Dtype dtype = float32);

  Parameter weight;  ///< [out, in]
  Parameter bias;    ///< [out], or undefined

  void members(Members& m) { m("weight", weight)("bias", bias); }
  /// Throws ShapeError unless x has `in` as its last size.
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;
};

/// Joins the dims start_dim .. end_dim into one: by default all but the first.
class ADJOINT_API Flatten : public Module<Flatten> {
 public:
  explicit Flatten(std::int64_t start_dim = 1, std::int64_t end_dim = -1) : start_dim_(start_dim), end_dim_(end_dim) {}
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  std::int64_t start_dim_, end_dim_;
};

/// In training, zero with probability p, else x / (1 - p), by the calling thread's generator; x in evaluation.
class ADJOINT_API Dropout : public Module<Dropout> {
 public:
  /// Throws ValueError unless 0 <= p <= 1.
  explicit Dropout(double p = 0.5);
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  double p_;
};

/// max(x, 0).
class ADJOINT_API ReLU : public Module<ReLU> {
 public:
  Tensor forward(const Tensor& x) const;
};

/// 1 / (1 + exp(-x)).
class ADJOINT_API Sigmoid : public Module<Sigmoid> {
 public:
  Tensor forward(const Tensor& x) const;
};

class ADJOINT_API Tanh : public Module<Tanh> {
 public:
  Tensor forward(const Tensor& x) const;
};

/// x Phi(x), with the normal distribution function by erf (Hendrycks & Gimpel 2016).
class ADJOINT_API GELU : public Module<GELU> {
 public:
  Tensor forward(const Tensor& x) const;
};

}  // namespace adjoint::nn
