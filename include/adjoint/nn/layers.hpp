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

struct LayerNormOptions {
  double eps = 1e-5;
  /// With a weight, which starts as ones.
  bool elementwise_affine = true;
  /// With a bias, which starts as zeros, if there is a weight.
  bool bias = true;
  Dtype dtype = float32;
};

/// layer_norm over the last dims.
class ADJOINT_API LayerNorm : public Module<LayerNorm> {
 public:
  /// Over the last dim, of `size`, or the last dims, of sizes `normalized_shape`. Throws ValueError unless there is a
  /// dim, and each size is at least 1, DtypeError unless the dtype is floating.
  explicit LayerNorm(std::int64_t size, const LayerNormOptions& options = {}) : LayerNorm(Shape{size}, options) {}
  explicit LayerNorm(const Shape& normalized_shape, const LayerNormOptions& options = {});

  Parameter weight;  ///< of the normalized shape, or undefined
  Parameter bias;    ///< of the normalized shape, or undefined

  void members(Members& m) { m("weight", weight)("bias", bias); }
  /// Throws ShapeError unless x ends in the normalized shape.
  Tensor forward(const Tensor& x) const;
  std::string extra_repr() const override;

 private:
  Shape normalized_shape_;
  double eps_;
};

struct BatchNormOptions {
  double eps = 1e-5;
  /// The weight of the batch in the running statistics; without one they are the mean over all batches.
  std::optional<double> momentum = 0.1;
  /// With a weight, which starts as ones, and a bias, which starts as zeros.
  bool affine = true;
  /// With running statistics; without them evaluation, too, normalises by the batch's.
  bool track_running_stats = true;
  Dtype dtype = float32;
};

/// What BatchNorm1d and BatchNorm2d share. In training x is normalised by the mean and variance of the batch, and the
/// running statistics move towards them; in evaluation by the running statistics. That goes by is_training() alone:
/// freezing the parameters does not stop the running statistics, `norm.eval()` does, until the next train() of a module
/// above.
class ADJOINT_API BatchNorm : public ModuleBase {
 public:
  Parameter weight;            ///< [features], or undefined
  Parameter bias;              ///< [features], or undefined
  Buffer running_mean;         ///< [features], starts as zeros, or undefined
  Buffer running_var;          ///< [features], starts as ones, or undefined
  Buffer num_batches_tracked;  ///< int64, [], or undefined

  void members(Members& m);
  std::string extra_repr() const override;

 protected:
  BatchNorm(const char* name, std::int64_t features, const BatchNormOptions& options);
  /// Throws ShapeError naming the layer unless x has a rank in [least_rank, most_rank], and the channels.
  Tensor normalized(const char* name, const Tensor& x, int least_rank, int most_rank) const;

 private:
  std::int64_t features_;
  double eps_;
  std::optional<double> momentum_;
};

/// Batch normalisation of [N, C] or [N, C, L].
class ADJOINT_API BatchNorm1d : public Module<BatchNorm1d, BatchNorm> {
 public:
  /// Throws ValueError unless features >= 1, eps >= 0 and momentum lies in [0, 1], DtypeError unless the dtype is
  /// floating.
  explicit BatchNorm1d(std::int64_t features, const BatchNormOptions& options = {})
      : Module("BatchNorm1d", features, options) {}
  /// Throws ShapeError for another rank or number of channels, and in training for one value per channel.
  Tensor forward(const Tensor& x) const { return normalized("BatchNorm1d", x, 2, 3); }
};

/// Batch normalisation of [N, C, H, W].
class ADJOINT_API BatchNorm2d : public Module<BatchNorm2d, BatchNorm> {
 public:
  /// As BatchNorm1d.
  explicit BatchNorm2d(std::int64_t features, const BatchNormOptions& options = {})
      : Module("BatchNorm2d", features, options) {}
  Tensor forward(const Tensor& x) const { return normalized("BatchNorm2d", x, 4, 4); }
};

struct EmbeddingOptions {
  /// An index whose row starts as zeros, and gets no gradient; a negative one counts from the end.
  std::optional<std::int64_t> padding_idx = {};
  Dtype dtype = float32;
};

/// Rows of a table: [..] of integers -> [.., dim].
class ADJOINT_API Embedding : public Module<Embedding> {
 public:
  /// The weight is initialised by the standard normal distribution. Throws ValueError unless num and dim are at least 1
  /// and padding_idx lies in [-num, num), DtypeError unless the dtype is floating.
  Embedding(std::int64_t num, std::int64_t dim, const EmbeddingOptions& options = {});

  Parameter weight;  ///< [num, dim]

  void members(Members& m) { m("weight", weight); }
  /// Throws DtypeError unless the index holds integers; ValueError, when computed, for one outside of [0, num).
  Tensor forward(const Tensor& index) const;
  std::string extra_repr() const override;

 private:
  std::optional<std::int64_t> padding_idx_;
};

}  // namespace adjoint::nn
