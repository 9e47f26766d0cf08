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

/// How GELU computes the normal distribution function: by erf, or by an approximation with tanh.
enum class Approximate { none, tanh };

/// x Phi(x), with the normal distribution function Phi (Hendrycks & Gimpel 2016).
class ADJOINT_API GELU : public Module<GELU> {
 public:
  explicit GELU(Approximate approximate = Approximate::none) : approximate_(approximate) {}
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  Approximate approximate_;
};

/// x sigmoid(x).
class ADJOINT_API SiLU : public Module<SiLU> {
 public:
  Tensor forward(const Tensor& x) const;
};

/// log(1 + exp(beta x)) / beta, stable on both sides (and so without PyTorch's threshold).
class ADJOINT_API Softplus : public Module<Softplus> {
 public:
  /// Throws ValueError unless beta > 0.
  explicit Softplus(double beta = 1);
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  double beta_;
};

/// x for x > 0, else alpha (exp(x) - 1).
class ADJOINT_API ELU : public Module<ELU> {
 public:
  explicit ELU(double alpha = 1) : alpha_(alpha) {}
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  double alpha_;
};

/// x for x > 0, else negative_slope x.
class ADJOINT_API LeakyReLU : public Module<LeakyReLU> {
 public:
  explicit LeakyReLU(double negative_slope = 0.01) : negative_slope_(negative_slope) {}
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  double negative_slope_;
};

/// Limits x to [min, max]; the derivative at the limits is 0.
class ADJOINT_API Hardtanh : public Module<Hardtanh> {
 public:
  /// Throws ValueError unless min < max.
  explicit Hardtanh(double min = -1, double max = 1);
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  double min_, max_;
};

}  // namespace adjoint::nn
