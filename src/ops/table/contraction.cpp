#include "builders.hpp"

#include <algorithm>

namespace adjoint::table {

namespace {

using L = Layout;

/// The product of matrices by three loops, with NumPy's rules for vectors and batches.
Array product(Array a, Array b) {
  const bool row = a.shape.size() == 1, column = b.shape.size() == 1;
  if (row) a.shape.insert(0, 1);
  if (column) b.shape.insert(1, 1);
  const int ra = a.shape.size(), rb = b.shape.size(), rank = std::max(ra, rb);
  Shape shape = Dims::filled(rank, 1);
  for (int i = 0; i + 2 < ra; ++i) shape[rank - ra + i] = a.shape[i];
  for (int i = 0; i + 2 < rb; ++i)
    if (b.shape[i] != 1) shape[rank - rb + i] = b.shape[i];
  shape[rank - 2] = a.shape[ra - 2];
  shape[rank - 1] = b.shape[rb - 1];
  const std::int64_t inner = a.shape[ra - 1];
  Array result = generate(shape, [&](const Dims& index) {
    const auto of_batch = [&](const Array& x, std::int64_t i, std::int64_t j) {
      const int r = x.shape.size();
      Dims at;
      for (int k = 0; k + 2 < r; ++k) at.push_back(x.shape[k] == 1 ? 0 : index[rank - r + k]);
      at.push_back(i);
      at.push_back(j);
      return x.at(at);
    };
    double sum = 0;
    for (std::int64_t k = 0; k < inner; ++k) sum += of_batch(a, index[rank - 2], k) * of_batch(b, k, index[rank - 1]);
    return sum;
  });
  if (column) result.shape.erase(rank - 1);
  if (row) result.shape.erase(rank - 2);
  return result;
}

Row matmul_row() {
  Row row{"matmul", Family::bilinear, kRefused, {}};
  const auto add = [&](const Input& a, const Input& b) {
    row.cases.push_back(one(
        "matmul(a, b)", {a, b}, [](const Tensors& x) { return matmul(x[0], x[1]); },
        [](const Arrays& x) { return product(x[0], x[1]); }));
  };
  // matrices
  add({{1, 1}}, {{1, 1}});
  add({{7, 5}}, {{5, 3}});
  add({{7, 5}, L::transposed}, {{5, 3}});
  add({{7, 5}}, {{5, 3}, L::transposed});
  add({{7, 5}, L::transposed}, {{5, 3}, L::transposed});
  add({{7, 5}, L::sliced}, {{5, 3}, L::sliced});
  add({{7, 5}, L::flipped}, {{5, 3}, L::flipped});
  add({{7, 5}, L::expanded}, {{5, 3}, L::expanded});
  add({{33, 65}, L::expanded}, {{65, 31}, L::transposed});
  add({{1, 513}}, {{513, 1}});
  add({{513, 1}}, {{1, 7}});
  add({{65, 511}}, {{511, 33}});
  add({{3, 1025}, L::transposed}, {{1025, 65}});
  add({{257, 129}}, {{129, 131}, L::sliced});
  // vectors
  add({{5}}, {{5}});
  add({{513}, L::sliced}, {{513}, L::flipped});
  add({{5}, L::flipped}, {{5, 3}, L::transposed});
  add({{7, 5}, L::transposed}, {{5}, L::sliced});
  add({{2, 7, 5}}, {{5}});
  add({{5}}, {{2, 5, 3}, L::sliced});
  // batches
  add({{2, 3, 4}}, {{2, 4, 5}});
  add({{2, 3, 4}, L::transposed}, {{2, 4, 5}, L::transposed});
  add({{2, 3, 4}, L::flipped}, {{2, 4, 5}, L::sliced});
  add({{2, 1, 3, 4}}, {{5, 4, 2}});
  add({{3, 4}}, {{2, 4, 5}, L::expanded});
  add({{2, 3, 4}, L::expanded}, {{4, 5}, L::transposed});
  add({{2, 3, 3, 4}, L::transposed}, {{4, 5}});
  add({{1, 3, 4}}, {{3, 4, 1}});
  // nothing
  add({{2, 0}}, {{0, 3}});
  add({{0, 3}}, {{3, 2}});
  add({{2, 3}}, {{3, 0}});
  add({{0}}, {{0}});
  add({{0, 2, 3}}, {{3, 4}});
  add({{2, 0, 3}}, {{2, 3, 4}});
  row.timed = {timed("matmul(a, b)", {kTimed, kTimed}, [](const Tensors& x) { return matmul(x[0], x[1]); }),
               timed("matmul(a, b)", {Shape{64, 64, 64}, Shape{64, 64, 64}},
                     [](const Tensors& x) { return matmul(x[0], x[1]); })};
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return matmul(zeros({2, 3}), zeros({4, 5}));
          },
          {"(2, 3)", "(4, 5)", "3", "4"}),
      shape_error([](const Tensors&) { return matmul(zeros({3}), zeros({4})); }, {"(3,)", "(4,)"}),
      shape_error([](const Tensors&) { return matmul(zeros({}), zeros({4})); }, {"()", "(4,)"}),
      shape_error(
          [](const Tensors&) {
            return matmul(zeros({2, 3, 4}), zeros({3, 4, 5}));
          },
          {"(2, 3, 4)", "(3, 4, 5)"}),
  };
  return row;
}

Row linear_row() {
  Row row{"linear", Family::composite, kRefused, {}};
  struct Sample {
    Input x, weight;
  };
  for (const Sample& s :
       {Sample{{{7, 5}}, {{3, 5}}}, Sample{{{7, 5}, L::transposed}, {{3, 5}, L::transposed}},
        Sample{{{2, 4, 5}, L::sliced}, {{3, 5}, L::flipped}}, Sample{{{5}}, {{3, 5}}}, Sample{{{0, 5}}, {{3, 5}}},
        Sample{{{4, 513}}, {{65, 513}}}, Sample{{{129, 7}}, {{11, 7}, L::sliced}}, Sample{{{4, 1}}, {{1, 1}}}}) {
    const Input bias({s.weight.shape[0]}, L::flipped);
    const auto transposed = [](const Array& weight) {
      return moved(weight, {weight.shape[1], weight.shape[0]}, [](const Dims& i) { return Dims{i[1], i[0]}; });
    };
    row.cases.push_back(one(
        "linear(x, weight, bias)", {s.x, s.weight, bias}, [](const Tensors& x) { return linear(x[0], x[1], x[2]); },
        [=](const Arrays& x) {
          return map({product(x[0], transposed(x[1])), x[2]}, [](const double* v) { return v[0] + v[1]; });
        }));
    row.cases.push_back(one(
        "linear(x, weight)", {s.x, s.weight}, [](const Tensors& x) { return linear(x[0], x[1]); },
        [=](const Arrays& x) { return product(x[0], transposed(x[1])); }));
  }
  row.timed = {timed("linear(x, weight, bias)", {Shape{256, 1024}, kTimed, Shape{1024}},
                     [](const Tensors& x) { return linear(x[0], x[1], x[2]); })};
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return linear(zeros({2, 3}), zeros({5, 4}));
          },
          {"(2, 3)", "(5, 4)", "weight"}),
      shape_error(
          [](const Tensors&) {
            return linear(zeros({2, 3}), zeros({3}));
          },
          {"(2, 3)", "(3,)", "weight"}),
      shape_error(
          [](const Tensors&) {
            return linear(zeros({2, 3}), zeros({5, 3}), zeros({4}));
          },
          {"(4,)", "bias", "(5,)"}),
      shape_error(
          [](const Tensors&) {
            return linear(zeros({}), zeros({5, 3}));
          },
          {"()", "(5, 3)"}),
  };
  return row;
}

/// Another product of two operands.
Row product_row(const char* name, Tensor (*operation)(const Tensor&, const Tensor&), Family family,
                OnIntegers on_integers, const std::vector<std::vector<Input>>& samples, const OneOracle& oracle,
                const std::vector<std::pair<Shape, Shape>>& misfits) {
  Row row{name, family, on_integers, {}};
  for (const std::vector<Input>& inputs : samples)
    row.cases.push_back(one(
        std::string(name) + "(a, b)", inputs, [operation](const Tensors& x) { return operation(x[0], x[1]); }, oracle));
  for (const auto& [a, b] : misfits)
    row.errors.push_back(
        shape_error([operation, a = a, b = b](const Tensors&) { return operation(zeros(a), zeros(b)); },
                    {to_string(a), to_string(b)}));
  return row;
}

Row dot_row() {
  return product_row("dot", dot, Family::bilinear, kRefused,
                     {{{{5}}, {{5}}},
                      {{{1}}, {{1}}},
                      {{{513}, L::sliced}, {{513}, L::flipped}},
                      {{{1025}}, {{1025}}},
                      {{{4}, L::expanded}, {{4}}},
                      {{{0}}, {{0}}}},
                     [](const Arrays& x) { return product(x[0], x[1]); },
                     {{{3}, {4}}, {{3}, {1}}, {{3, 3}, {3}}, {{}, {3}}});
}

Row outer_row() {
  return product_row("outer", outer, Family::composite, kKept,
                     {{{{3}}, {{5}}},
                      {{{1}}, {{1}}},
                      {{{7}, L::sliced}, {{513}, L::flipped}},
                      {{{273}}, {{257}}},
                      {{{4}, L::expanded}, {{3}}},
                      {{{0}}, {{3}}},
                      {{{3}}, {{0}}}},
                     [](const Arrays& x) {
                       return generate(
                           {x[0].shape[0], x[1].shape[0]},
                           [&](const Dims& i) { return x[0].at({i[0]}) * x[1].at({i[1]}); }, x[0].dtype);
                     },
                     {{{3, 1}, {4}}, {{3}, {}}, {{}, {3}}});
}

Row bmm_row() {
  return product_row("bmm", bmm, Family::bilinear, kRefused,
                     {{{{2, 3, 4}}, {{2, 4, 5}}},
                      {{{1, 1, 1}}, {{1, 1, 1}}},
                      {{{2, 3, 4}, L::transposed}, {{2, 4, 5}, L::transposed}},
                      {{{3, 4, 2}, L::flipped}, {{3, 2, 5}, L::sliced}},
                      {{{3, 4, 2}, L::expanded}, {{3, 2, 1}}},
                      {{{3, 33, 65}}, {{3, 65, 31}}},
                      {{{0, 3, 4}}, {{0, 4, 5}}},
                      {{{2, 3, 0}}, {{2, 0, 5}}}},
                     [](const Arrays& x) { return product(x[0], x[1]); },
                     {{{2, 3, 4}, {2, 3, 4}}, {{2, 3, 4}, {1, 4, 5}}, {{3, 4}, {4, 5}}, {{2, 3, 4}, {4, 5}}});
}

}  // namespace

std::vector<Row> contraction_rows() { return {matmul_row(), linear_row(), dot_row(), outer_row(), bmm_row()}; }

}  // namespace adjoint::table
