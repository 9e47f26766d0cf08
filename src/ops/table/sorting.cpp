#include "builders.hpp"

#include <algorithm>
#include <numeric>

namespace adjoint::table {

namespace {

using L = Layout;

struct Sample {
  Shape shape;
  Layout layout;
  std::int64_t dim;
};
std::vector<Sample> samples() {
  return {
      {{7}, L::contiguous, -1},      {{1}, L::contiguous, 0},      {{}, L::contiguous, -1},
      {{5, 4}, L::contiguous, 1},    {{5, 4}, L::transposed, -1},  {{5, 4}, L::sliced, 0},
      {{2, 3, 4}, L::flipped, 1},    {{4, 3, 2}, L::sliced, -3},   {{513}, L::contiguous, 0},
      {{0, 3}, L::contiguous, 1},    {{3, 0}, L::contiguous, 1},   {{3, 1025}, L::sliced, 1},
      {{1025, 3}, L::contiguous, 0}, {{kLarge}, L::contiguous, 0},
  };
}

Domain distinct() {
  Domain domain;
  domain.distinct = true;
  return domain;
}
Domain tied() { return whole(0, 3); }

/// The first k elements of a dim in order, and their positions; from the definition of a stable sort.
Arrays ordered(const Array& x, std::int64_t dim, std::optional<std::int64_t> k, bool descending) {
  if (x.shape.empty()) return {x, {{}, {0}, int64}};
  const int d = front(dim, x.shape.size());
  const std::int64_t n = x.shape[d];
  Shape shape = x.shape, rows = x.shape;
  shape[d] = k.value_or(n);
  rows[d] = 1;
  Arrays result{generate(
                    shape, [](const Dims&) { return 0; }, x.dtype),
                generate(
                    shape, [](const Dims&) { return 0; }, int64)};
  for_each_index(rows, [&](Dims at) {
    std::vector<double> row;
    for (at[d] = 0; at[d] < n; ++at[d]) row.push_back(x.at(at));
    std::vector<std::size_t> order(row.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return descending ? row[a] > row[b] : row[a] < row[b]; });
    for (at[d] = 0; at[d] < shape[d]; ++at[d]) {
      const std::size_t from = order[static_cast<std::size_t>(at[d])];
      result[0].at(at) = row[from];
      result[1].at(at) = static_cast<double>(from);
    }
  });
  return result;
}

Tensors both(const ValuesIndices& result) { return {result.values, result.indices}; }

Row sort_row() {
  Row row{"sort", Family::composite, kKept, {}};
  for (const Sample& s : samples())
    for (bool descending : {false, true})
      row.cases.push_back({"sort(x, " + std::to_string(s.dim) + (descending ? ", descending)" : ")"),
                           {{s.shape, s.layout, distinct()}},
                           [=](const Tensors& x) { return both(sort(x[0], s.dim, descending)); },
                           [=](const Arrays& x) { return ordered(x[0], s.dim, {}, descending); }});
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return sort(zeros({2, 3}), 2).values;
          },
          {"2", "(2, 3)"}),
      shape_error([](const Tensors&) { return sort(zeros({}), 1).values; }, {"1", "()"}),
  };
  return row;
}

Row argsort_row() {
  Row row{"argsort", Family::non_differentiable, kKept, {}};
  for (const Sample& s : samples())
    for (bool descending : {false, true})
      row.cases.push_back(one(
          "argsort(x, " + std::to_string(s.dim) + (descending ? ", descending)" : ")"), {{s.shape, s.layout, tied()}},
          [=](const Tensors& x) { return argsort(x[0], s.dim, descending); },
          [=](const Arrays& x) { return ordered(x[0], s.dim, {}, descending)[1]; }));
  row.errors = {shape_error([](const Tensors&) { return argsort(zeros({2, 3}), 2); }, {"2", "(2, 3)"})};
  return row;
}

Row topk_row() {
  Row row{"topk", Family::composite, kKept, {}};
  struct Top {
    Sample sample;
    std::int64_t k;
  };
  for (const auto& [sample, k] : std::vector<Top>{{{{7}, L::contiguous, -1}, 3},
                                                  {{{7}, L::contiguous, 0}, 7},
                                                  {{{7}, L::contiguous, 0}, 0},
                                                  {{{}, L::contiguous, 0}, 1},
                                                  {{{5, 4}, L::transposed, 0}, 2},
                                                  {{{5, 4}, L::sliced, 1}, 1},
                                                  {{{2, 3, 4}, L::flipped, 1}, 2},
                                                  {{{0, 3}, L::contiguous, 1}, 2},
                                                  {{{3, 1025}, L::sliced, 1}, 16},
                                                  {{{1025, 3}, L::contiguous, 0}, 513},
                                                  {{{137, 513}, L::contiguous, -1}, 5},
                                                  {{{kLarge}, L::contiguous, 0}, 5}})
    for (bool largest : {true, false})
      row.cases.push_back({"topk(x, " + std::to_string(k) + (largest ? ")" : ", smallest)"),
                           {{sample.shape, sample.layout, distinct()}},
                           [=, s = sample, n = k](const Tensors& x) { return both(topk(x[0], n, s.dim, largest)); },
                           [=, s = sample, n = k](const Arrays& x) { return ordered(x[0], s.dim, n, largest); }});
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return topk(zeros({2, 3}), 1, 2).values;
          },
          {"2", "(2, 3)"}),
      value_error(
          [](const Tensors&) {
            return topk(zeros({2, 3}), 4).values;
          },
          {"k is 4", "dim -1", "(2, 3)", "3"}),
      value_error(
          [](const Tensors&) {
            return topk(zeros({2, 3}), -1, 0).values;
          },
          {"k is -1", "dim 0", "(2, 3)"}),
  };
  return row;
}

}  // namespace

std::vector<Row> sorting_rows() { return {sort_row(), argsort_row(), topk_row()}; }

}  // namespace adjoint::table
