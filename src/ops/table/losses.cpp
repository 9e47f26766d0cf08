#include "builders.hpp"

#include <adjoint/nn/losses.hpp>

#include <algorithm>
#include <cmath>
#include <utility>

namespace adjoint::table {

namespace {

using L = Layout;
using nn::Reduction;

constexpr std::pair<Reduction, const char*> kReductions[] = {
    {Reduction::mean, "mean"}, {Reduction::sum, "sum"}, {Reduction::none, "none"}};

/// The losses of the elements as the reduction gives them; the mean is the sum divided by `count`.
Array reduced(const Array& losses, Reduction reduction, double count) {
  if (reduction == Reduction::none) return losses;
  long double exact = 0;
  for (double loss : losses.values) exact += loss;
  const auto sum = static_cast<double>(exact);
  return {{}, {reduction == Reduction::mean ? sum / count : sum}, {}};
}
Array reduced(const Array& losses, Reduction reduction) {
  return reduced(losses, reduction, static_cast<double>(losses.values.size()));
}

// -- of two tensors of one shape --------------------------------------------------------------------------------------

Row difference_row(const char* name, Tensor (*loss)(const Tensor&, const Tensor&, Reduction), double (*f)(double)) {
  Row row{name, Family::composite, kRefused, {}};
  Domain distinct;  // l1_loss has a kink where input and target are equal
  distinct.distinct = true;
  for (const auto& [reduction, text] : kReductions)
    for (const auto& [shape, input, target] : {std::tuple{Shape{}, L::contiguous, L::contiguous},
                                               {Shape{7}, L::contiguous, L::flipped},
                                               {Shape{4, 5}, L::transposed, L::sliced},
                                               {Shape{1025}, L::sliced, L::contiguous},
                                               {Shape{0, 3}, L::contiguous, L::contiguous},
                                               {Shape{kLarge}, L::contiguous, L::contiguous}})
      row.cases.push_back(one(
          std::string(name) + "(input, target, " + text + ")", {{shape, input, distinct}, {shape, target, distinct}},
          [loss, reduction = reduction](const Tensors& x) { return loss(x[0], x[1], reduction); },
          [f, reduction = reduction](const Arrays& x) {
            return reduced(map(x, [f](const double* v) { return f(v[0] - v[1]); }), reduction);
          }));
  row.timed = {timed(std::string(name) + "(input, target, mean)", {{kTimed, distinct}, {kTimed, distinct}},
                     [loss](const Tensors& x) { return loss(x[0], x[1], Reduction::mean); })};
  row.errors = {
      shape_error(
          [loss](const Tensors&) {
            return loss(zeros({2, 3}), zeros({3}), Reduction::mean);
          },
          {"(2, 3)", "(3,)", "input", "target"}),
      dtype_error([loss](const Tensors&) { return loss(zeros({2}, int64), zeros({2}), Reduction::mean); },
                  {"int64", "input"}),
  };
  return row;
}

// -- of classes -------------------------------------------------------------------------------------------------------

/// Where the classes are.
int class_dim(const Shape& input) { return input.size() == 1 ? 0 : 1; }

Dims with_class(Dims index, const Shape& input, std::int64_t c) {
  index.insert(class_dim(input), c);
  return index;
}

Array log_softmax_of(const Array& x) {
  const int dim = class_dim(x.shape);
  return generate(x.shape, [&](Dims index) {
    const double own = x.at(index);
    double sum = 0;
    for (index[dim] = 0; index[dim] < x.shape[dim]; ++index[dim]) sum += std::exp(x.at(index) - own);
    return -std::log(sum);
  });
}

/// -weight[t] ((1 - s) p[t] + s / C sum_c p[c] weight[c] / weight[t]) for classes t, of log-probabilities p.
Array loss_of_classes(const Array& p, const Array& target, const Array* weight, double smoothing, Reduction reduction) {
  const std::int64_t classes = p.shape[class_dim(p.shape)];
  const auto weight_of = [&](std::int64_t c) { return weight ? weight->values[static_cast<std::size_t>(c)] : 1; };
  double count = 0;
  const Array losses = generate(target.shape, [&](const Dims& index) {
    const auto t = static_cast<std::int64_t>(target.at(index));
    if (t == -100) return 0.0;
    count += weight_of(t);
    double spread = 0;
    for (std::int64_t c = 0; c < classes; ++c) spread -= weight_of(c) * p.at(with_class(index, p.shape, c));
    return -(1 - smoothing) * weight_of(t) * p.at(with_class(index, p.shape, t)) +
           smoothing / static_cast<double>(classes) * spread;
  });
  return reduced(losses, reduction, count);
}

struct Sample {
  Input input;
  Shape target;
};
std::vector<Sample> samples() {
  return {{{{1, 1}}, {1}},
          {{{6, 4}}, {6}},
          {{{6, 4}, L::transposed}, {6}},
          {{{5}, L::sliced}, {}},
          {{{3, 4, 2}, L::flipped}, {3, 2}},
          {{{2, 3, 4, 2}, L::transposed}, {2, 4, 2}},
          {{{171, 3}, L::sliced}, {171}},
          {{{3, 513}}, {3}}};
}
Input target_of(const Sample& sample, Layout layout, bool ignores, Dtype dtype) {
  Input target = index_input(sample.target, sample.input.shape[class_dim(sample.input.shape)], layout, dtype);
  if (ignores && !sample.target.empty() && sample.target[0] > 3) target.domain.choices.push_back(-100);
  return target;
}
Input weight_of(const Sample& sample) {
  return {{sample.input.shape[class_dim(sample.input.shape)]}, L::flipped, Domain{0.5, 2}};
}

template <class Options>
void add_class_cases(Row& row, Tensor (*loss)(const Tensor&, const Tensor&, const Options&), bool of_logits,
                     double smoothing, const std::function<void(Options&)>& set) {
  for (const auto& [reduction, text] : kReductions)
    for (const Sample& s : samples())
      for (bool weighted : {false, true}) {
        std::vector<Input> inputs{s.input,
                                  target_of(s, weighted ? L::flipped : L::contiguous, true, weighted ? int32 : int64)};
        if (weighted) inputs.push_back(weight_of(s));
        row.cases.push_back(one(
            row.name + "(input, classes, " + text + (weighted ? ", weight" : "") +
                (smoothing > 0 ? ", label_smoothing)" : ")"),
            inputs,
            [=, reduction = reduction](const Tensors& x) {
              Options options;
              options.reduction = reduction;
              set(options);
              if (weighted) options.weight = x[2];
              return loss(x[0], x[1], options);
            },
            [=, reduction = reduction](const Arrays& x) {
              return loss_of_classes(of_logits ? log_softmax_of(x[0]) : x[0], x[1], weighted ? &x[2] : nullptr,
                                     smoothing, reduction);
            }));
      }
  const auto call = [loss](const Shape& input, const Tensor& target) { return loss(zeros(input), target, {}); };
  row.errors = {
      shape_error(
          [call](const Tensors&) {
            return call({2, 3}, zeros({3}, int64));
          },
          {"(2, 3)", "(3,)", "target"}),
      shape_error([call](const Tensors&) { return call({}, zeros({}, int64)); }, {"input"}),
      dtype_error(
          [loss](const Tensors&) {
            return loss(zeros({2, 3}, int64), zeros({2}, int64), {});
          },
          {"int64", "input"}),
      value_error_when_computed(
          [call](const Tensors&) {
            return call({2, 3}, tensor({0, 3}));
          },
          {"target", "3", "[0, 3)"}),
      value_error_when_computed(
          [call](const Tensors&) {
            return call({2, 3}, tensor({-1, 0}));
          },
          {"target", "-1"}),
      shape_error(
          [loss](const Tensors&) {
            Options options;
            options.weight = ones({2});
            return loss(zeros({2, 3}), zeros({2}, int64), options);
          },
          {"weight", "(2,)", "(3,)"}),
  };
}

Row nll_loss_row() {
  Row row{"nll_loss", Family::composite, kRefused, {}};
  add_class_cases<nn::NllLossOptions>(row, nn::nll_loss, false, 0, [](nn::NllLossOptions&) {});
  row.timed = {timed("nll_loss(input, classes, mean)", {kTimed, index_input({kTimed[0]}, kTimed[1])},
                     [](const Tensors& x) { return nn::nll_loss(x[0], x[1]); })};
  row.errors.push_back(dtype_error(
      [](const Tensors&) {
        return nn::nll_loss(zeros({2, 3}), zeros({2}));
      },
      {"float32", "target"}));
  return row;
}

Row cross_entropy_row() {
  Row row{"cross_entropy", Family::composite, kRefused, {}};
  add_class_cases<nn::CrossEntropyOptions>(row, nn::cross_entropy, true, 0, [](nn::CrossEntropyOptions&) {});
  add_class_cases<nn::CrossEntropyOptions>(row, nn::cross_entropy, true, 0.25,
                                           [](nn::CrossEntropyOptions& options) { options.label_smoothing = 0.25; });
  // Targets that are probabilities, and differentiated.
  for (const auto& [reduction, text] : kReductions)
    for (const Sample& s : samples())
      row.cases.push_back(one(
          std::string("cross_entropy(input, probabilities, ") + text + ")",
          {s.input, {s.input.shape, L::flipped, Domain{0, 1}}},
          [reduction = reduction](const Tensors& x) {
            nn::CrossEntropyOptions options;
            options.reduction = reduction;
            return nn::cross_entropy(x[0], x[1], options);
          },
          [reduction = reduction](const Arrays& x) {
            const Array p = log_softmax_of(x[0]);
            Shape shape = p.shape;
            shape.erase(class_dim(p.shape));
            return reduced(generate(shape,
                                    [&](const Dims& index) {
                                      double loss = 0;
                                      for (std::int64_t c = 0; c < p.shape[class_dim(p.shape)]; ++c) {
                                        const Dims at = with_class(index, p.shape, c);
                                        loss -= x[1].at(at) * p.at(at);
                                      }
                                      return loss;
                                    }),
                           reduction);
          }));
  row.timed = {timed("cross_entropy(input, classes, mean)", {kTimed, index_input({kTimed[0]}, kTimed[1])},
                     [](const Tensors& x) { return nn::cross_entropy(x[0], x[1]); })};
  row.errors.push_back(value_error(
      [](const Tensors&) {
        nn::CrossEntropyOptions options;
        options.label_smoothing = 1.5;
        return nn::cross_entropy(zeros({2, 3}), zeros({2}, int64), options);
      },
      {"label_smoothing", "1.5"}));
  row.errors.push_back(shape_error(
      [](const Tensors&) {
        return nn::cross_entropy(zeros({2, 3}), zeros({2, 4}));
      },
      {"(2, 3)", "(2, 4)", "target"}));
  return row;
}

Row binary_cross_entropy_with_logits_row() {
  Row row{"binary_cross_entropy_with_logits", Family::composite, kRefused, {}};
  const Domain probability{0, 1}, factor{0.5, 2};
  for (const auto& [reduction, text] : kReductions)
    for (const auto& [shape, last] : {std::pair<Shape, Shape>{{}, {}}, {{7}, {7}}, {{4, 5}, {5}}, {{513}, {1}}})
      for (bool weighted : {false, true}) {
        std::vector<Input> inputs{{shape, L::transposed, Domain{-3, 3}}, {shape, L::sliced, probability}};
        if (weighted) {
          inputs.emplace_back(last, L::contiguous, factor);
          inputs.emplace_back(last, L::flipped, factor);
        }
        row.cases.push_back(one(
            row.name + "(input, target, " + text + (weighted ? ", weight, pos_weight)" : ")"), inputs,
            [weighted, reduction = reduction](const Tensors& x) {
              nn::BceOptions options;
              options.reduction = reduction;
              if (weighted) {
                options.weight = x[2];
                options.pos_weight = x[3];
              }
              return nn::binary_cross_entropy_with_logits(x[0], x[1], options);
            },
            [weighted, reduction = reduction](const Arrays& x) {
              return reduced(map(x,
                                 [weighted](const double* v) {
                                   const double w = weighted ? v[2] : 1, positive = weighted ? v[3] : 1;
                                   return w * (positive * v[1] * std::log1p(std::exp(-v[0])) +
                                               (1 - v[1]) * std::log1p(std::exp(v[0])));
                                 }),
                             reduction);
            }));
      }
  row.timed = {timed(row.name + "(input, target, mean)", {kTimed, {kTimed, probability}},
                     [](const Tensors& x) { return nn::binary_cross_entropy_with_logits(x[0], x[1]); })};
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return nn::binary_cross_entropy_with_logits(zeros({2, 3}), zeros({3}));
          },
          {"(2, 3)", "(3,)", "input", "target"}),
      dtype_error([](const Tensors&) { return nn::binary_cross_entropy_with_logits(zeros({2}, int64), zeros({2})); },
                  {"int64", "input"}),
  };
  return row;
}

Row binary_cross_entropy_row() {
  Row row{"binary_cross_entropy", Family::composite, kRefused, {}};
  const auto f = [](double p, double t) {
    const double positive = std::max(std::log(p), -100.0), negative = std::max(std::log1p(-p), -100.0);
    return -(t * positive + (1 - t) * negative);
  };
  const Domain inside{0.05, 0.95};
  for (const auto& [reduction, text] : kReductions)
    for (const auto& [shape, last] : {std::pair<Shape, Shape>{{}, {}}, {{7}, {7}}, {{4, 5}, {5}}, {{513}, {1}}})
      for (bool weighted : {false, true}) {
        std::vector<Input> inputs{{shape, L::transposed, inside}, {shape, L::sliced, Domain{0, 1}}};
        if (weighted) inputs.emplace_back(last, L::flipped, Domain{0.5, 2});
        row.cases.push_back(one(
            row.name + "(input, target, " + (weighted ? "weight, " : "{}, ") + text + ")", inputs,
            [weighted, reduction = reduction](const Tensors& x) {
              return nn::binary_cross_entropy(x[0], x[1], weighted ? x[2] : Tensor(), reduction);
            },
            [=, reduction = reduction](const Arrays& x) {
              return reduced(map(x, [&](const double* v) { return f(v[0], v[1]) * (weighted ? v[2] : 1); }), reduction);
            }));
      }
  // Where a logarithm is clamped, and outside of [0, 1]. (No derivatives: there are none, or they are the clamp's.)
  Domain edges;
  edges.choices = {0, 1, 0.5, -0.5, 1.5, NAN};
  row.cases.push_back(one(
      "binary_cross_entropy(edges, target)", {{{64}, edges, float64}, {{64}, whole(0, 1), float64}},
      [](const Tensors& x) { return nn::binary_cross_entropy(x[0], x[1], {}, Reduction::none); },
      [f](const Arrays& x) {
        return map(
            x, [&](const double* v) { return v[0] >= 0 && v[0] <= 1 ? f(v[0], v[1]) : NAN; }, float64);
      }));
  row.timed = {timed("binary_cross_entropy(input, target, {}, mean)", {{kTimed, inside}, {kTimed, Domain{0, 1}}},
                     [](const Tensors& x) { return nn::binary_cross_entropy(x[0], x[1]); })};
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return nn::binary_cross_entropy(zeros({2, 3}), zeros({3}));
          },
          {"(2, 3)", "(3,)", "input", "target"}),
      shape_error(
          [](const Tensors&) {
            return nn::binary_cross_entropy(zeros({3}), zeros({3}), zeros({2, 3}));
          },
          {"(2, 3)", "(3,)", "weight"}),
      dtype_error([](const Tensors&) { return nn::binary_cross_entropy(zeros({2}, int64), zeros({2})); },
                  {"int64", "input"}),
      dtype_error([](const Tensors&) { return nn::binary_cross_entropy(zeros({2}), zeros({2}, bool_)); },
                  {"bool", "target"}),
  };
  return row;
}

/// huber_loss and smooth_l1_loss, with the option that tells where they become linear.
Row piecewise_row(const char* name, const char* option, std::vector<double> values,
                  Tensor (*loss)(const Tensor&, const Tensor&, double, Reduction),
                  double (*f)(double d, double value)) {
  Row row{name, Family::composite, kRefused, {}};
  for (const double value : values)
    for (const auto& [reduction, text] : kReductions)
      for (const auto& [shape, input, target] : {std::tuple{Shape{}, L::contiguous, L::contiguous},
                                                 {Shape{7}, L::contiguous, L::flipped},
                                                 {Shape{4, 5}, L::transposed, L::sliced},
                                                 {Shape{1025}, L::sliced, L::contiguous},
                                                 {Shape{0, 3}, L::contiguous, L::contiguous}}) {
        // Differences of multiples of 1/8, and of those plus 1/16, keep away from the kinks at multiples of 1/8.
        Domain even, odd;
        for (int i = -16; i <= 16; ++i) {
          even.choices.push_back(i / 8.0);
          odd.choices.push_back(i / 8.0 + 1 / 16.0);
        }
        row.cases.push_back(one(
            std::string(name) + "(input, target, " + std::to_string(value) + ", " + text + ")",
            {{shape, input, even}, {shape, target, odd}},
            [=, reduction = reduction](const Tensors& x) { return loss(x[0], x[1], value, reduction); },
            [=, reduction = reduction](const Arrays& x) {
              return reduced(map(x, [&](const double* v) { return f(v[0] - v[1], value); }), reduction);
            }));
      }
  row.timed = {timed(std::string(name) + "(input, target, 1, mean)", {kTimed, kTimed},
                     [loss](const Tensors& x) { return loss(x[0], x[1], 1, Reduction::mean); })};
  row.errors = {
      shape_error(
          [loss](const Tensors&) {
            return loss(zeros({2, 3}), zeros({3}), 1, Reduction::mean);
          },
          {"(2, 3)", "(3,)", "input", "target"}),
      dtype_error([loss](const Tensors&) { return loss(zeros({2}, int64), zeros({2}), 1, Reduction::mean); },
                  {"int64", "input"}),
  };
  for (const double bad : {-1.0, double(NAN), double(INFINITY)})
    row.errors.push_back(
        value_error([=](const Tensors&) { return loss(zeros({2}), zeros({2}), bad, Reduction::mean); }, {option}));
  return row;
}

Row huber_loss_row() {
  Row row = piecewise_row("huber_loss", "delta", {1, 0.25}, nn::huber_loss, [](double d, double delta) {
    return std::fabs(d) < delta ? 0.5 * d * d : delta * (std::fabs(d) - 0.5 * delta);
  });
  row.errors.push_back(
      value_error([](const Tensors&) { return nn::huber_loss(zeros({2}), zeros({2}), 0); }, {"delta"}));
  return row;
}

Row smooth_l1_loss_row() {
  return piecewise_row("smooth_l1_loss", "beta", {1, 0.25, 0}, nn::smooth_l1_loss, [](double d, double beta) {
    return std::fabs(d) < beta ? 0.5 * d * d / beta : std::fabs(d) - 0.5 * beta;
  });
}

}  // namespace

std::vector<Row> loss_rows() {
  return {
      difference_row("mse_loss", nn::mse_loss, [](double d) { return d * d; }),
      difference_row("l1_loss", nn::l1_loss, [](double d) { return std::fabs(d); }),
      nll_loss_row(),
      cross_entropy_row(),
      binary_cross_entropy_with_logits_row(),
      binary_cross_entropy_row(),
      huber_loss_row(),
      smooth_l1_loss_row(),
  };
}

}  // namespace adjoint::table
