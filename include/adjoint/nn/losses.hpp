// Losses, with PyTorch's definitions and defaults. The input is floating (float32 or float64), else DtypeError. Shapes
// and dtypes are checked when recorded.
#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint::nn {

/// What becomes of the losses of the single elements: their mean, their sum, or all of them.
enum class Reduction : std::uint8_t { mean, sum, none };

/// (input - target)^2. Unlike PyTorch's, no broadcasting: throws ShapeError unless the shapes are the same.
ADJOINT_API Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean);
/// |input - target|; derivative 0 where they are equal. Throws ShapeError unless the shapes are the same.
ADJOINT_API Tensor l1_loss(const Tensor& input, const Tensor& target, Reduction reduction = Reduction::mean);

struct NllLossOptions {
  /// A weight for each class, [C]; undefined: 1.
  Tensor weight = {};
  /// Elements with this target count for nothing, neither in the sum nor in the mean's divisor.
  std::int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
};
/// -weight[target] input[target], of log-probabilities. input [N, C], [N, C, d1, ...] or [C]; target, of integers, the
/// same without C. The mean is divided by the sum of the targets' weights (NaN when all are ignored). Throws
/// ValueError, when computed, for a target outside [0, C) that is not ignore_index.
ADJOINT_API Tensor nll_loss(const Tensor& input, const Tensor& target, const NllLossOptions& options = {});

struct CrossEntropyOptions {
  /// A weight for each class, [C]; undefined: 1.
  Tensor weight = {};
  /// Elements with this target class count for nothing. (Not for targets that are probabilities.)
  std::int64_t ignore_index = -100;
  Reduction reduction = Reduction::mean;
  /// The share of the target that is spread evenly over all classes, in [0, 1], else ValueError.
  double label_smoothing = 0;
};
/// nll_loss(log_softmax(input), target): input [N, C], [N, C, d1, ...] or [C] are logits; target are classes, integers
/// of that shape without C, or probabilities, floating and of the input's shape. The mean over classes is divided by
/// the sum of their weights, the mean over probabilities by N d1 ... Stable for large logits. Throws ValueError, when
/// computed, for a class outside [0, C) that is not ignore_index.
ADJOINT_API Tensor cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions& options = {});

struct BceOptions {
  /// A factor for each element's loss, which broadcasts to the input; undefined: 1.
  Tensor weight = {};
  /// A factor for the positive part of each, which broadcasts to the input; undefined: 1.
  Tensor pos_weight = {};
  Reduction reduction = Reduction::mean;
};
/// -(pos_weight target log(sigmoid(input)) + (1 - target) log(1 - sigmoid(input))), of logits and probabilities. Stable
/// for large logits. Throws ShapeError unless input and target have one shape.
ADJOINT_API Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target,
                                                    const BceOptions& options = {});

/// -weight (target log(input) + (1 - target) log(1 - input)), of probabilities; weight broadcasts to the input;
/// undefined: 1. As in PyTorch no logarithm is below -100; the derivative of one that would be is 0 (PyTorch's gradient
/// is then (input - target) / max(input (1 - input), 1e-12)). An input outside of [0, 1] gives NaN. With a sigmoid
/// before it, binary_cross_entropy_with_logits is more exact. Throws ShapeError unless input and target have one shape.
ADJOINT_API Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight = {},
                                        Reduction reduction = Reduction::mean);

/// d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), of d = input - target (Huber 1964). Throws ShapeError
/// unless the shapes are the same, ValueError unless delta > 0 and finite.
ADJOINT_API Tensor huber_loss(const Tensor& input, const Tensor& target, double delta = 1,
                              Reduction reduction = Reduction::mean);
/// huber_loss / beta: d^2 / (2 beta) where |d| <= beta, else |d| - beta / 2 (Girshick 2015, with beta); l1_loss for
/// beta = 0. Throws ShapeError unless the shapes are the same, ValueError unless beta >= 0 and finite.
ADJOINT_API Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, double beta = 1,
                                  Reduction reduction = Reduction::mean);

}  // namespace adjoint::nn
