#include <adjoint/nn/losses.hpp>
#include <adjoint/ops.hpp>

#include <algorithm>
#include <cmath>
#include <string>

namespace adjoint::nn {

namespace {

void require_defined(const char* name, const char* argument, const Tensor& x) {
  if (!x.defined()) throw ValueError(std::string(name) + ": " + argument + " is an undefined Tensor");
}

void require_floating(const char* name, const char* argument, const Tensor& x) {
  require_defined(name, argument, x);
  if (!is_floating(x.dtype()))
    throw DtypeError(std::string(name) + ": " + argument + " of shape " + to_string(x.shape()) + " is " +
                     name_of(x.dtype()) + "; it must be float32 or float64");
}

void require_same_shape(const char* name, const Tensor& input, const Tensor& target) {
  require_defined(name, "target", target);
  if (input.shape() != target.shape())
    throw ShapeError(std::string(name) + ": input of shape " + to_string(input.shape()) + " and target of shape " +
                     to_string(target.shape()) + " must have the same shape");
}

Tensor reduce(const Tensor& losses, Reduction reduction) {
  switch (reduction) {
    case Reduction::mean:
      return mean(losses);
    case Reduction::sum:
      return sum(losses);
    case Reduction::none:
      break;
  }
  return losses;
}

// The shape of the input without the dim of the classes.
Shape shape_without_classes(const char* name, const Tensor& input) {
  if (input.dim() == 0)
    throw ShapeError(std::string(name) + ": input is a scalar; it should have shape (N, C), (N, C, ...) or (C)");
  Shape shape = input.shape();
  shape.erase(input.dim() == 1 ? 0 : 1);
  return shape;
}

// [N, C, d1, ...] as [N d1 ..., C].
Tensor classes_last(const Tensor& x) {
  if (x.dim() == 2) return x;
  if (x.dim() == 1) return unsqueeze(x, 0);
  Dims order = {0};
  for (int i = 2; i < x.dim(); ++i) order.push_back(i);
  order.push_back(1);
  return reshape(permute(x, order), {x.numel() / std::max<std::int64_t>(x.size(1), 1), x.size(1)});
}

Tensor weight_like(const char* name, const Tensor& weight, const Tensor& input, std::int64_t classes) {
  require_floating(name, "weight", weight);
  if (weight.shape() != Shape{classes})
    throw ShapeError(std::string(name) + ": weight of shape " + to_string(weight.shape()) +
                     " should have one value for each of the " + std::to_string(classes) + " classes, shape " +
                     to_string(Shape{classes}));
  return weight.to(input.dtype());
}

struct ClassOptions {
  const char* name;
  const char* target_name;  // for errors that only values reveal
  const Tensor& weight;
  std::int64_t ignore_index;
  Reduction reduction;
  double label_smoothing;
};

// The loss of log-probabilities for targets that are classes: of `input` less `normalizer`, if there is one (and no
// smoothing), which is taken from the labels' elements alone.
Tensor loss_of_classes(const Tensor& input, const Tensor& normalizer, const Tensor& target,
                       const ClassOptions& options) {
  const Shape shape = shape_without_classes(options.name, input);
  if (!is_integral(target.dtype()))
    throw DtypeError(std::string(options.name) + ": target of shape " + to_string(target.shape()) + " is " +
                     name_of(target.dtype()) + "; class indices are integers");
  if (target.shape() != shape)
    throw ShapeError(std::string(options.name) + ": target of shape " + to_string(target.shape()) +
                     " does not fit input of shape " + to_string(input.shape()) + "; class indices should have shape " +
                     to_string(shape));
  const Tensor rows = classes_last(input);
  const std::int64_t classes = rows.size(1);
  const Tensor labels = reshape(target.to(int64), {rows.size(0)});
  const Tensor ignored = labels == options.ignore_index;
  const Tensor index = checked_index(masked_fill(labels, ignored, 0), 0, classes, options.target_name);

  Tensor of_labels = gather(rows, 1, unsqueeze(index, 1));
  if (normalizer.defined()) of_labels = of_labels - classes_last(normalizer);
  Tensor losses = -squeeze(of_labels, 1);
  Tensor weights = logical_not(ignored).to(rows.dtype());
  Tensor spread;  // the part of the loss that does not depend on the label
  if (options.label_smoothing > 0) spread = -rows;
  if (options.weight.defined()) {
    const Tensor weight = weight_like(options.name, options.weight, rows, classes);
    const Tensor of_label = index_select(weight, 0, index);
    losses = losses * of_label;
    weights = weights * of_label;
    if (spread.defined()) spread = spread * weight;
  }
  if (spread.defined())
    losses = (1 - options.label_smoothing) * losses +
             (options.label_smoothing / static_cast<double>(classes)) * sum(spread, 1);
  losses = masked_fill(losses, ignored, 0);
  switch (options.reduction) {
    case Reduction::mean:
      return sum(losses) / sum(weights);
    case Reduction::sum:
      return sum(losses);
    case Reduction::none:
      break;
  }
  return reshape(losses, shape);
}

// The loss of log-probabilities for targets that are probabilities.
Tensor loss_of_probabilities(const Tensor& log_probabilities, const Tensor& target, const Shape& shape,
                             const CrossEntropyOptions& options) {
  const Tensor rows = classes_last(log_probabilities);
  const std::int64_t classes = rows.size(1);
  Tensor probabilities = classes_last(target).to(rows.dtype());
  if (options.label_smoothing > 0)
    probabilities =
        (1 - options.label_smoothing) * probabilities + options.label_smoothing / static_cast<double>(classes);
  Tensor products = probabilities * rows;
  if (options.weight.defined()) products = products * weight_like("cross_entropy", options.weight, rows, classes);
  return reduce(reshape(-sum(products, 1), shape), options.reduction);
}

// d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2): with c = d limited to [-delta, delta] both are c (d - c /
// 2).
Tensor huber(const Tensor& d, double delta) {
  const Tensor c = clamp(d, -delta, delta);
  return c * (d - 0.5 * c);
}

}  // namespace

Tensor mse_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  require_floating("mse_loss", "input", input);
  require_same_shape("mse_loss", input, target);
  return reduce(square(input - target), reduction);
}

Tensor l1_loss(const Tensor& input, const Tensor& target, Reduction reduction) {
  require_floating("l1_loss", "input", input);
  require_same_shape("l1_loss", input, target);
  return reduce(abs(input - target), reduction);
}

Tensor nll_loss(const Tensor& input, const Tensor& target, const NllLossOptions& options) {
  require_floating("nll_loss", "input", input);
  require_defined("nll_loss", "target", target);
  return loss_of_classes(input, {}, target,
                         {"nll_loss", "nll_loss: target", options.weight, options.ignore_index, options.reduction, 0});
}

Tensor cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyOptions& options) {
  require_floating("cross_entropy", "input", input);
  require_defined("cross_entropy", "target", target);
  if (!(options.label_smoothing >= 0 && options.label_smoothing <= 1))
    throw ValueError("cross_entropy: label_smoothing must lie in [0, 1], not " +
                     std::to_string(options.label_smoothing));
  const Shape shape = shape_without_classes("cross_entropy", input);
  const bool by_class = !is_floating(target.dtype());
  if (!by_class && target.shape() != input.shape())
    throw ShapeError("cross_entropy: target of shape " + to_string(target.shape()) + " does not fit input of shape " +
                     to_string(input.shape()) + "; class probabilities should have the input's shape, class indices " +
                     "be integers of shape " + to_string(shape));
  const int classes = input.dim() == 1 ? 0 : 1;
  if (!by_class) return loss_of_probabilities(log_softmax(input, classes), target, shape, options);
  const ClassOptions of_classes{"cross_entropy",      "cross_entropy: target", options.weight,
                                options.ignore_index, options.reduction,       options.label_smoothing};
  if (options.label_smoothing > 0 || input.numel() == 0)
    return loss_of_classes(log_softmax(input, classes), {}, target, of_classes);
  // log_softmax in its two parts. The largest element is a constant: it drops out of what they compute.
  const Tensor shifted = input - amax(input.detach(), classes, true);
  return loss_of_classes(shifted, log(sum(exp(shifted), classes, true)), target, of_classes);
}

Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target, const BceOptions& options) {
  constexpr const char* name = "binary_cross_entropy_with_logits";
  require_floating(name, "input", input);
  require_floating(name, "target", target);
  require_same_shape(name, input, target);
  // log(sigmoid(x)) = -softplus(-x), log(1 - sigmoid(x)) = -softplus(x): neither loses digits for large |x|.
  Tensor positive = target * softplus(-input);
  if (options.pos_weight.defined()) positive = positive * options.pos_weight;
  Tensor losses = positive + (1 - target) * softplus(input);
  if (options.weight.defined()) losses = losses * options.weight;
  if (losses.shape() != input.shape())
    throw ShapeError(std::string(name) + ": weight and pos_weight must broadcast to the input's shape " +
                     to_string(input.shape()) + ", not enlarge it to " + to_string(losses.shape()));
  return reduce(losses, options.reduction);
}

Tensor binary_cross_entropy(const Tensor& input, const Tensor& target, const Tensor& weight, Reduction reduction) {
  constexpr const char* name = "binary_cross_entropy";
  require_floating(name, "input", input);
  require_floating(name, "target", target);
  require_same_shape(name, input, target);
  // The logarithm of 0 is never taken: its derivative, times the clamp's 0, would be NaN.
  const auto clamped = [](const Tensor& logarithm, const Tensor& of_zero) {
    return masked_fill(clamp(logarithm, -100), of_zero, -100);
  };
  const Tensor never = input == 0, always = input == 1;
  const Tensor log_p = clamped(log(masked_fill(input, never, 1)), never);
  const Tensor log_q = clamped(log1p(-masked_fill(input, always, 0)), always);
  Tensor losses = -(target * log_p + (1 - target) * log_q);
  if (weight.defined()) losses = losses * weight;
  if (losses.shape() != input.shape())
    throw ShapeError(std::string(name) + ": weight of shape " + to_string(weight.shape()) +
                     " must broadcast to the input's shape " + to_string(input.shape()) + ", not enlarge it to " +
                     to_string(losses.shape()));
  return reduce(losses, reduction);
}

Tensor huber_loss(const Tensor& input, const Tensor& target, double delta, Reduction reduction) {
  require_floating("huber_loss", "input", input);
  require_same_shape("huber_loss", input, target);
  if (!(delta > 0) || std::isinf(delta))
    throw ValueError("huber_loss: delta must be above 0 and finite, not " + std::to_string(delta));
  return reduce(huber(input - target, delta), reduction);
}

Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, double beta, Reduction reduction) {
  require_floating("smooth_l1_loss", "input", input);
  require_same_shape("smooth_l1_loss", input, target);
  if (!(beta >= 0) || std::isinf(beta))
    throw ValueError("smooth_l1_loss: beta must be at least 0 and finite, not " + std::to_string(beta));
  const Tensor difference = input - target;
  return reduce(beta == 0 ? abs(difference) : huber(difference, beta) / beta, reduction);
}

}  // namespace adjoint::nn
