#include "builders.hpp"

#include <cmath>
#include <limits>

namespace adjoint::table {

namespace {

using L = Layout;

double mean_of(const std::vector<double>& x) {
  long double sum = 0;
  for (double v : x) sum += v;
  return static_cast<double>(sum / static_cast<long double>(x.size()));
}
double mean_square_of(const std::vector<double>& x) {
  long double sum = 0;
  for (double v : x) sum += static_cast<long double>(v) * v;
  return static_cast<double>(sum / static_cast<long double>(x.size()));
}
double variance_of(const std::vector<double>& x) {
  const double mean = mean_of(x);
  long double sum = 0;
  for (double v : x) sum += static_cast<long double>(v - mean) * (v - mean);
  return static_cast<double>(sum / static_cast<long double>(x.size()));
}

std::string text_of(const Shape& shape, std::size_t operands) {
  return to_string(shape) + (operands > 1 ? ", weight" : "") + (operands > 2 ? ", bias)" : ")");
}

// -- over the last dims -----------------------------------------------------------------------------------------------

struct Sample {
  Input x;
  int count;  // of normalized dims
};
std::vector<Sample> samples() {
  return {{{{4, 7}}, 1},
          {{{4, 7}, L::transposed}, 2},
          {{{5}, L::sliced}, 1},
          {{{1}}, 1},
          {{{5, 1}}, 1},
          {{{2, 3, 4}, L::flipped}, 2},
          {{{3, 4, 5}, L::transposed}, 1},
          {{{5, 4}, L::expanded}, 1},
          {{{3, 513}}, 1},
          {{{65, 3}, L::transposed}, 1},
          {{{1025}}, 1},
          {{{700, 101}}, 1},
          {{{0, 3}}, 1},
          {{{2, 0}}, 1}};
}

Shape last(const Shape& shape, int count) { return {shape.end() - count, shape.end()}; }

/// The first of `operands` inputs is x, those after it have the normalized shape.
void add_cases(Row& row, std::size_t operands, Tensor (*call)(const Tensors&, const Shape&),
               double (*center)(const std::vector<double>&), double (*spread)(const std::vector<double>&),
               const std::function<double(double)>& inverse_root) {
  for (const Sample& s : samples()) {
    const Shape normalized = last(s.x.shape, s.count);
    std::vector<Input> inputs{s.x, {normalized, L::flipped, Domain{0.5, 2}}, {normalized, L::sliced}};
    inputs.erase(inputs.begin() + static_cast<std::ptrdiff_t>(operands), inputs.end());
    row.cases.push_back(one(
        row.name + "(x, " + text_of(normalized, operands), inputs,
        [call, normalized](const Tensors& x) { return call(x, normalized); },
        [=](const Arrays& x) {
          Dims dims;
          for (int i = x[0].shape.size() - s.count; i < x[0].shape.size(); ++i) dims.push_back(i);
          const Array m = reduce(x[0], dims, true, center), v = reduce(x[0], dims, true, spread);
          return generate(x[0].shape, [&](const Dims& index) {
            const double y = (x[0].at(index) - m.broadcast_at(index)) * inverse_root(v.broadcast_at(index));
            return y * (x.size() > 1 ? x[1].broadcast_at(index) : 1) + (x.size() > 2 ? x[2].broadcast_at(index) : 0);
          });
        }));
  }
}

double zero(const std::vector<double>&) { return 0; }

Tensor operand(const Tensors& x, std::size_t i) { return i < x.size() ? x[i] : Tensor(); }

void add_errors(Row& row, Tensor (*call)(const Tensors&, const Shape&)) {
  row.errors = {
      shape_error(
          [call](const Tensors&) {
            return call({zeros({2, 3})}, {2});
          },
          {"(2, 3)", "(2,)", "normalized_shape"}),
      shape_error(
          [call](const Tensors&) {
            return call({zeros({2, 3})}, {});
          },
          {"(2, 3)", "normalized_shape"}),
      shape_error(
          [call](const Tensors&) {
            return call({zeros({3})}, {2, 3});
          },
          {"(3,)", "(2, 3)"}),
      shape_error(
          [call](const Tensors&) {
            return call({zeros({2, 3}), ones({2})}, {3});
          },
          {"weight", "(2,)", "(2, 3)", "(3,)"}),
      dtype_error(
          [call](const Tensors&) {
            return call({zeros({2, 3}), ones({3}, float64)}, {3});
          },
          {"weight", "float64", "float32"}),
  };
}

Row layer_norm_row() {
  Row row{"layer_norm", Family::composite, kRefused, {}};
  const auto call = [](const Tensors& x, const Shape& shape) {
    return layer_norm(x[0], shape, operand(x, 1), operand(x, 2));
  };
  for (std::size_t operands : {1, 2, 3})
    add_cases(row, operands, call, mean_of, variance_of, [](double v) { return 1 / std::sqrt(v + 1e-5); });
  add_cases(
      row, 3, [](const Tensors& x, const Shape& shape) { return layer_norm(x[0], shape, x[1], x[2], 0.25); }, mean_of,
      variance_of, [](double v) { return 1 / std::sqrt(v + 0.25); });
  row.timed = {timed("layer_norm(x, (1024,), weight, bias)", {kTimed, {{1024}}, {{1024}}},
                     [](const Tensors& x) { return layer_norm(x[0], {1024}, x[1], x[2]); })};
  add_errors(row, call);
  row.errors.push_back(shape_error(
      [](const Tensors&) {
        return layer_norm(zeros({2, 3}), {3}, {}, zeros({4}));
      },
      {"bias", "(4,)"}));
  row.errors.push_back(value_error(
      [](const Tensors&) {
        return layer_norm(zeros({2, 3}), {3}, {}, {}, -1);
      },
      {"eps", "-1"}));
  return row;
}

Row rms_norm_row() {
  Row row{"rms_norm", Family::composite, kRefused, {}};
  const auto call = [](const Tensors& x, const Shape& shape) { return rms_norm(x[0], shape, operand(x, 1), 0.25); };
  for (std::size_t operands : {1, 2})
    add_cases(row, operands, call, zero, mean_square_of, [](double v) { return 1 / std::sqrt(v + 0.25); });
  // The default, the dtype's epsilon, is small beside the elements' squares.
  row.cases.push_back(one(
      "rms_norm(x, (5,))", {{{3, 5}, Domain{1, 2}}}, [](const Tensors& x) { return rms_norm(x[0], {5}); },
      [](const Arrays& x) {
        const Array v = reduce(x[0], {1}, true, mean_square_of);
        return generate(x[0].shape,
                        [&](const Dims& index) { return x[0].at(index) / std::sqrt(v.broadcast_at(index)); });
      }));
  row.timed = {timed("rms_norm(x, (1024,), weight)", {kTimed, {{1024}}},
                     [](const Tensors& x) { return rms_norm(x[0], {1024}, x[1]); })};
  add_errors(row, call);
  row.errors.push_back(value_error(
      [](const Tensors&) {
        return rms_norm(zeros({2, 3}), {3}, {}, NAN);
      },
      {"eps", "nan"}));
  return row;
}

// -- per channel ------------------------------------------------------------------------------------------------------

/// The inputs are x, the running statistics if they are used, weight and bias if they are.
Case batch_case(const Input& x, bool running, bool affine) {
  const Shape channels{x.shape[1]};
  std::vector<Input> inputs{x};
  if (running) {
    inputs.emplace_back(channels, L::sliced);
    inputs.emplace_back(channels, L::flipped, Domain{0.5, 2});
  }
  if (affine) {
    inputs.emplace_back(channels, L::flipped, Domain{0.5, 2});
    inputs.emplace_back(channels, L::sliced);
  }
  return one(
      std::string("batch_norm(x, ") + (running ? "running_mean, running_var" : "{}, {}") +
          (affine ? ", weight, bias" : ", {}, {}") + (running ? ")" : ", true)"),
      inputs,
      [=](const Tensors& v) {
        const std::size_t first = running ? 3 : 1;
        return batch_norm(v[0], running ? v[1] : Tensor(), running ? v[2] : Tensor(), affine ? v[first] : Tensor(),
                          affine ? v[first + 1] : Tensor(), !running);
      },
      [=](const Arrays& v) {
        Dims dims{0};
        for (int i = 2; i < v[0].shape.size(); ++i) dims.push_back(i);
        const Array mean = running ? v[1] : reduce(v[0], dims, false, mean_of);
        const Array variance = running ? v[2] : reduce(v[0], dims, false, variance_of);
        const std::size_t first = running ? 3 : 1;
        return generate(v[0].shape, [&](const Dims& index) {
          const Dims c{index[1]};
          const double y = (v[0].at(index) - mean.at(c)) / std::sqrt(variance.at(c) + 1e-5);
          return affine ? y * v[first].at(c) + v[first + 1].at(c) : y;
        });
      });
}

Row batch_norm_row() {
  Row row{"batch_norm", Family::composite, kRefused, {}};
  for (bool running : {false, true})
    for (bool affine : {false, true})
      for (const Input& x :
           {Input{{7, 3}}, Input{{3, 2}, L::flipped}, Input{{5, 1}, L::transposed}, Input{{1, 3, 4}, L::sliced},
            Input{{4, 3, 1}}, Input{{3, 2, 5}, L::transposed}, Input{{2, 3, 4, 5}}, Input{{3, 4, 5, 2}, L::transposed},
            Input{{3, 2, 3, 1}, L::expanded}, Input{{2, 3, 2, 1, 3}, L::sliced}, Input{{513, 3}}, Input{{2, 2, 33, 17}},
            Input{{70, 101, 10}}, Input{{0, 3}}, Input{{2, 0, 3}}})
        if (running || x.layout != L::expanded) row.cases.push_back(batch_case(x, running, affine));
  // One value per channel is enough for the running statistics.
  row.cases.push_back(batch_case(Input{{1, 3}}, true, true));
  // Channels last in memory.
  row.cases.push_back(one(
      "batch_norm(x, {}, {}, {}, {}, true), channels last", {{{2, 5, 7, 3}}},
      [](const Tensors& x) {
        return batch_norm(permute(x[0], {0, 3, 1, 2}), {}, {}, {}, {}, true);
      },
      [](const Arrays& x) {
        const Array mean = reduce(x[0], {0, 1, 2}, false, mean_of),
                    variance = reduce(x[0], {0, 1, 2}, false, variance_of);
        return generate({2, 3, 5, 7}, [&](const Dims& i) {
          return (x[0].at({i[0], i[2], i[3], i[1]}) - mean.at({i[1]})) / std::sqrt(variance.at({i[1]}) + 1e-5);
        });
      }));
  for (bool running : {false, true}) {
    row.timed.push_back(batch_case(timed_images(), running, true));
    row.timed.back().oracle = {};
  }
  const Tensor none;
  const auto of = [](const Shape& x, const Tensor& mean, const Tensor& var, const Tensor& weight, const Tensor& bias) {
    return [=](const Tensors&) { return batch_norm(zeros(x), mean, var, weight, bias); };
  };
  row.errors = {
      shape_error(of({3}, none, none, none, none), {"(3,)", "(N, C, ...)"}),
      shape_error(of({1, 2, 3, 4, 5, 6}, none, none, none, none), {"(1, 2, 3, 4, 5, 6)"}),
      shape_error(of({1, 3}, none, none, none, none), {"(1, 3)", "one value per channel"}),
      shape_error(of({1, 3, 1, 1}, none, none, none, none), {"(1, 3, 1, 1)"}),
      shape_error(of({2, 3}, zeros({4}), ones({4}), none, none), {"running_mean", "(4,)", "(2, 3)", "(3,)"}),
      shape_error(of({2, 3}, zeros({3}), ones({1, 3}), none, none), {"running_var", "(1, 3)", "(2, 3)"}),
      shape_error(of({2, 3}, none, none, ones({2}), none), {"weight", "(2,)", "(2, 3)"}),
      shape_error(of({2, 3}, none, none, ones({3}), ones({})), {"bias", "()", "(2, 3)"}),
      dtype_error(of({2, 3}, none, none, ones({3}, float64), none), {"weight", "float64", "float32"}),
      dtype_error(of({2, 3}, zeros({3}, int64), ones({3}), none, none), {"running_mean", "int64"}),
      value_error(of({2, 3}, zeros({3}), none, none, none), {"running_var", "undefined"}),
      value_error(of({2, 3}, none, ones({3}), none, none), {"running_mean", "undefined"}),
      value_error(
          [](const Tensors&) {
            return batch_norm(zeros({2, 3}), {}, {}, {}, {}, true, 0.1, -1);
          },
          {"eps", "-1"}),
  };
  return row;
}

}  // namespace

std::vector<Row> normalization_rows() { return {layer_norm_row(), rms_norm_row(), batch_norm_row()}; }

}  // namespace adjoint::table
