#include "builders.hpp"

#include <algorithm>
#include <cmath>

namespace adjoint::table {

namespace {

using L = Layout;

/// f of an element and all those along the dim through it.
OneOracle along(int dim, const std::function<double(double, const std::vector<double>&)>& f) {
  return [dim, f](const Arrays& x) {
    const int d = front(dim, x[0].shape.size());
    return generate(x[0].shape, [&](Dims index) {
      const double own = x[0].at(index);
      std::vector<double> run;
      for (std::int64_t i = 0; i < (index.empty() ? 1 : x[0].shape[d]); ++i) {
        if (!index.empty()) index[d] = i;
        run.push_back(x[0].at(index));
      }
      return f(own, run);
    });
  };
}

constexpr double kPi = 3.14159265358979323846;

double sum_of_exponentials(const std::vector<double>& x) {
  double sum = 0;
  for (double v : x) sum += std::exp(v);
  return sum;
}

/// A function with parameters: the default ones, and others.
struct Variant {
  const char* label;
  Tensor (*operation)(const Tensor&);
  double (*oracle)(double);
};
Row activation(const char* name, const std::vector<Variant>& variants, const Domain& domain) {
  Row row{name, Family::composite, kRefused, {}};
  for (const Variant& v : variants)
    for (const Input& input : one_operand(domain))
      row.cases.push_back(one(
          v.label, {input}, [v](const Tensors& x) { return v.operation(x[0]); },
          [v](const Arrays& x) { return map(x, [v](const double* e) { return v.oracle(e[0]); }); }));
  return row;
}

double limited(double x, double low, double high) { return std::min(std::max(x, low), high); }

Row hardtanh_row() {
  Row row = activation(
      "hardtanh",
      {{"hardtanh(x)", [](const Tensor& x) { return hardtanh(x); }, [](double x) { return limited(x, -1, 1); }},
       {"hardtanh(x, -0.5, 2)", [](const Tensor& x) { return hardtanh(x, -0.5, 2); },
        [](double x) { return limited(x, -0.5, 2); }},
       {"hardtanh(x, 0, 1)", [](const Tensor& x) { return hardtanh(x, 0, 1); },
        [](double x) { return limited(x, 0, 1); }}},
      {-3, 3, {-1, -0.5, 0, 1, 2}});
  row.on_integers = kNoBools;
  for (Case& sample : row.cases) sample.floating_only = sample.label != "hardtanh(x, 0, 1)";  // as bytes can
  row.errors = {
      value_error([](const Tensors&) { return hardtanh(zeros({2}), 1, 0.5); }, {"min", "1", "0.5"}),
      value_error([](const Tensors&) { return hardtanh(zeros({2}), NAN, 1); }, {"min", "nan"}),
      value_error([](const Tensors&) { return hardtanh(zeros({2}, uint8)); }, {"-1", "uint8"}),
      dtype_error([](const Tensors&) { return hardtanh(zeros({2}, bool_)); }, {"(2,)", "bool"}),
  };
  return row;
}

Row triangle_row(const char* name, Tensor (*operation)(const Tensor&, std::int64_t), bool lower) {
  Row row{name, Family::composite, kKept, {}};
  for (const Input& input : {Input({4, 4}), Input({3, 5}, L::transposed), Input({5, 3}, L::sliced),
                             Input({2, 3, 4}, L::flipped), Input({3, 4}, L::expanded), Input({1, 1}), Input({33, 35}),
                             Input({300, 257}), Input({0, 3}), Input({3, 0}), Input({2, 0, 3})})
    for (std::int64_t diagonal : {0, 1, -2, 100, -100})
      row.cases.push_back(one(
          std::string(name) + "(x, " + std::to_string(diagonal) + ")", {input},
          [=](const Tensors& x) { return operation(x[0], diagonal); },
          [=](const Arrays& x) {
            return generate(
                x[0].shape,
                [&](const Dims& index) {
                  const std::int64_t above = index.back() - index[index.size() - 2] - diagonal;
                  return (lower ? above <= 0 : above >= 0) ? x[0].at(index) : 0;
                },
                x[0].dtype);
          }));
  row.errors = {
      shape_error([=](const Tensors&) { return operation(zeros({3}), 0); }, {"(3,)", "2 dims"}),
      shape_error([=](const Tensors&) { return operation(zeros({}), 0); }, {"()", "2 dims"}),
  };
  return row;
}

Row normalization(const char* name, Tensor (*operation)(const Tensor&, std::int64_t),
                  const std::function<double(double, const std::vector<double>&)>& f) {
  Row row{name, Family::composite, kRefused, {}};
  struct Sample {
    Input x;
    int dim;
  };
  for (const Sample& s :
       {Sample{{{5}}, 0}, Sample{{{1}}, 0}, Sample{{Shape{}}, -1}, Sample{{{4, 7}}, -1},
        Sample{{{4, 7}, L::transposed}, 0}, Sample{{{4, 7}, L::sliced}, 1}, Sample{{{2, 3, 4}, L::flipped}, 1},
        Sample{{{5, 4}, L::expanded}, 0}, Sample{{{3, 513}}, 1}, Sample{{{65, 3}, L::transposed}, 0},
        Sample{{{1025}}, 0}, Sample{{{700, 101}}, 1}, Sample{{{2, 0}}, 1}, Sample{{{0, 3}}, -1}})
    row.cases.push_back(one(
        std::string(name) + "(x, " + std::to_string(s.dim) + ")", {s.x},
        [operation, s](const Tensors& x) { return operation(x[0], s.dim); }, along(s.dim, f)));
  for (int dim : {-1, 0})
    row.timed.push_back(timed(std::string(name) + "(x, " + std::to_string(dim) + ")", {kTimed},
                              [operation, dim](const Tensors& x) { return operation(x[0], dim); }));
  row.errors = {
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), 2);
          },
          {"2", "(2, 3)"}),
      dtype_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}, int64), 0);
          },
          {"int64", "(2, 3)"}),
  };
  return row;
}

Row dropout_row() {
  Row row{"dropout", Family::composite, kRefused, {}};
  for (const Input& input : one_operand({0.5, 2})) {
    row.cases.push_back(one(
        "dropout(x, 0.25, false)", {input}, [](const Tensors& x) { return dropout(x[0], 0.25, false); },
        [](const Arrays& x) { return x[0]; }));
    Case random{"dropout(x, 0.25)",
                {input},
                [](const Tensors& x) {
                  Generator generator(7);
                  return Tensors{dropout(x[0], 0.25, true, generator)};
                },
                {}};
    random.property = [](const Arrays& inputs, const Arrays& outputs) -> std::string {
      const Array& x = inputs[0];
      double dropped = 0;
      for (std::size_t i = 0; i < x.values.size(); ++i) {
        const double y = outputs[0].values[i];
        if (y == 0) ++dropped;
        else if (std::abs(y - x.values[i] / 0.75) > 1e-6 * y)
          return "element " + std::to_string(i) + " is neither 0 nor x / (1 - p)";
      }
      // Five standard deviations of the binomial distribution.
      const auto n = static_cast<double>(x.values.size());
      if (std::abs(dropped - 0.25 * n) > 5 * std::sqrt(n * 0.25 * 0.75))
        return std::to_string(dropped) + " of " + std::to_string(n) + " elements were dropped";
      return {};
    };
    row.cases.push_back(random);
  }
  row.cases.push_back(one(
      "dropout(x, 0)", {{{513}}}, [](const Tensors& x) { return dropout(x[0], 0); },
      [](const Arrays& x) { return x[0]; }));
  row.cases.push_back(one(
      "dropout(x, 1)", {{{513}}}, [](const Tensors& x) { return dropout(x[0], 1); },
      [](const Arrays& x) { return map(x, [](const double*) { return 0.0; }); }));
  row.timed = {timed("dropout(x, 0.25)", {kTimed}, [](const Tensors& x) { return dropout(x[0], 0.25); })};
  row.errors = {
      value_error([](const Tensors&) { return dropout(zeros({2}), 1.5); }, {"1.5", "p"}),
      value_error([](const Tensors&) { return dropout(zeros({2}), -0.5); }, {"-0.5", "p"}),
      value_error([](const Tensors&) { return dropout(zeros({2}), NAN); }, {"nan", "p"}),
  };
  return row;
}

bool is_close(double a, double b, double rtol, double atol, bool equal_nan) {
  if (std::isnan(a) || std::isnan(b)) return equal_nan && std::isnan(a) && std::isnan(b);
  if (std::isinf(a) || std::isinf(b)) return a == b;
  return std::abs(a - b) <= atol + rtol * std::abs(b);
}

Domain nearly_equal() {
  Domain domain;
  domain.choices = {1, 1.0078125, 1.25, -1, NAN, INFINITY, -INFINITY};
  return domain;
}

Row isclose_row() {
  Row row{"isclose", Family::non_differentiable, kKept, {}};
  struct Settings {
    double rtol, atol;
    bool equal_nan;
  };
  for (const Settings& s : {Settings{1e-5, 1e-8, false}, Settings{0.01, 0, true}, Settings{0, 0.25, false}})
    for (const std::vector<Input>& inputs : two_operands(nearly_equal(), nearly_equal()))
      row.cases.push_back(one(
          "isclose(a, b, " + std::to_string(s.rtol) + ", " + std::to_string(s.atol) + ")", inputs,
          [s](const Tensors& x) { return isclose(x[0], x[1], s.rtol, s.atol, s.equal_nan); },
          [s](const Arrays& x) {
            return map(
                x, [&](const double* v) { return is_close(v[0], v[1], s.rtol, s.atol, s.equal_nan); }, bool_);
          }));
  row.timed = {timed("isclose(a, b)", {kTimed, kTimed}, [](const Tensors& x) { return isclose(x[0], x[1]); })};
  row.errors = {
      shape_error([](const Tensors&) { return isclose(zeros({2}), zeros({3})); }, {"(2,)", "(3,)"}),
      value_error([](const Tensors&) { return isclose(zeros({2}), zeros({2}), -1); }, {"rtol", "-1"}),
      value_error([](const Tensors&) { return isclose(zeros({2}), zeros({2}), 0, -1); }, {"atol", "-1"}),
  };
  return row;
}

/// A helper that answers with a bool, seen as a tensor.
Row answer(const char* name, bool (*operation)(const Tensor&, const Tensor&), bool broadcasts) {
  Row row{name, Family::helper, kKept, {}};
  const auto call = [operation](const Tensors& x) { return full({}, operation(x[0], x[1])); };
  for (const auto& [a, b] : {std::pair<Shape, Shape>{{3}, {3}},
                             {{2, 2}, {2, 2}},
                             {{}, {}},
                             {{0}, {0}},
                             {{513}, {513}},
                             {{3}, {1}},
                             {{3, 1}, {3}},
                             {{0}, {1}}})
    for (const Domain& domain : {whole(1, 1), whole(0, 1)})
      row.cases.push_back(one(std::string(name) + "(a, b)", {{a, domain}, {b, L::transposed, domain}}, call,
                              [broadcasts](const Arrays& x) {
                                bool same = broadcasts || x[0].shape == x[1].shape;
                                if (same) {
                                  const Array differs = map(x, [](const double* v) { return v[0] != v[1]; });
                                  for (double d : differs.values) same = same && d == 0;
                                }
                                return Array{{}, {double(same)}, bool_};
                              }));
  return row;
}

}  // namespace

std::vector<Row> composite_rows() {
  const Family family = Family::composite;
  const Domain moderate{-3, 3};
  return {
      unary("silu", family, {silu, [](double x) { return x / (1 + std::exp(-x)); }}, moderate, kRefused),
      unary("gelu", family, {gelu, [](double x) { return x * 0.5 * std::erfc(-x / std::sqrt(2.0)); }}, moderate,
            kRefused),
      unary("gelu_tanh", family,
            {gelu_tanh,
             [](double x) { return x / (1 + std::exp(-2 * std::sqrt(2 / kPi) * (x + 0.044715 * x * x * x))); }},
            moderate, kRefused),
      activation(
          "elu",
          {{"elu(x)", [](const Tensor& x) { return elu(x); }, [](double x) { return x > 0 ? x : std::expm1(x); }},
           {"elu(x, 0.5)", [](const Tensor& x) { return elu(x, 0.5); },
            [](double x) { return x > 0 ? x : 0.5 * std::expm1(x); }}},
          {-3, 3, {0}}),
      activation("leaky_relu",
                 {{"leaky_relu(x)", [](const Tensor& x) { return leaky_relu(x); },
                   [](double x) { return x > 0 ? x : 0.01 * x; }},
                  {"leaky_relu(x, 0.25)", [](const Tensor& x) { return leaky_relu(x, 0.25); },
                   [](double x) { return x > 0 ? x : 0.25 * x; }}},
                 {-3, 3, {0}}),
      hardtanh_row(),
      triangle_row("tril", tril, true),
      triangle_row("triu", triu, false),
      normalization(
          "softmax", softmax,
          [](double own, const std::vector<double>& run) { return std::exp(own) / sum_of_exponentials(run); }),
      normalization("log_softmax", log_softmax,
                    [](double own, const std::vector<double>& run) {
                      double sum = 0;
                      for (double v : run) sum += std::exp(v - own);
                      return -std::log(sum);
                    }),
      dropout_row(),
      isclose_row(),
      answer(
          "allclose", [](const Tensor& a, const Tensor& b) { return allclose(a, b); }, true),
      answer(
          "equal", [](const Tensor& a, const Tensor& b) { return equal(a, b); }, false),
  };
}

}  // namespace adjoint::table
