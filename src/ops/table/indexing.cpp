#include "builders.hpp"

#include <cmath>

namespace adjoint::table {

namespace {

using L = Layout;

std::int64_t whole_at(const Array& index, const Dims& at) { return static_cast<std::int64_t>(index.at(at)); }

struct Sample {
  Input x;
  int dim;
  Input index;
};

/// Inputs with an index of x's rank, no larger in the other dims.
std::vector<Sample> indexed() {
  return {
      {{{5}}, 0, index_input({7}, 5)},
      {{{5, 4}}, 0, index_input({3, 4}, 5)},
      {{{5, 4}, L::transposed}, 1, index_input({5, 6}, 4, L::transposed)},
      {{{5, 4}, L::sliced}, 0, index_input({9, 2}, 5, L::sliced)},
      {{{5, 4}, L::flipped}, -1, index_input({3, 1}, 4, L::flipped)},
      {{{5, 4}, L::expanded}, 1, index_input({5, 3}, 4, L::expanded)},
      {{{2, 3, 4}}, 1, index_input({2, 5, 4}, 3, L::contiguous, int32)},
      {{{2, 3, 4}, L::transposed}, 2, index_input({1, 3, 2}, 4)},
      {{{}}, 0, index_input({}, 1)},
      {{{1}}, 0, index_input({513}, 1)},
      {{{513}}, 0, index_input({1025}, 513)},
      {{{3, 1025}}, 1, index_input({3, 511}, 1025)},
      {{{1025, 3}}, 0, index_input({2, 3}, 1025)},
      {{{300}}, 0, index_input({kLarge}, 300)},
      {{{3, 4}}, 0, index_input({0, 4}, 3)},
  };
}

Row gather_row() {
  Row row{"gather", Family::linear, kKept, {}};
  for (const Sample& s : indexed())
    row.cases.push_back(one(
        "gather(x, " + std::to_string(s.dim) + ", index)", {s.x, s.index},
        [s](const Tensors& x) { return gather(x[0], s.dim, x[1]); },
        [s](const Arrays& x) {
          const int dim = front(s.dim, x[0].shape.size());
          return moved(x[0], x[1].shape, [&](Dims index) {
            if (!index.empty()) index[dim] = whole_at(x[1], Dims(index));
            return index;
          });
        }));
  for (int dim : {0, 1})
    row.timed.push_back(timed("gather(x, " + std::to_string(dim) + ", index)",
                              {kTimed, index_input(kTimed, kTimed[dim])},
                              [dim](const Tensors& x) { return gather(x[0], dim, x[1]); }));
  row.errors = {
      dtype_error([](const Tensors&) { return gather(zeros({3}), 0, zeros({2})); }, {"index", "float32", "int64"}),
      shape_error(
          [](const Tensors&) {
            return gather(zeros({3, 4}), 0, zeros({2}, int64));
          },
          {"(3, 4)", "(2,)"}),
      shape_error(
          [](const Tensors&) {
            return gather(zeros({3, 4}), 0, zeros({2, 5}, int64));
          },
          {"(3, 4)", "(2, 5)"}),
      shape_error(
          [](const Tensors&) {
            return gather(zeros({3, 4}), 2, zeros({2, 4}, int64));
          },
          {"2", "(3, 4)"}),
      value_error_when_computed(
          [](const Tensors&) {
            return gather(zeros({3}), 0, tensor({0, 3}));
          },
          {"3"}),
      value_error_when_computed(
          [](const Tensors&) {
            return gather(zeros({3}), 0, tensor({-1, 0}));
          },
          {"-1", "3"}),
  };
  return row;
}

Row scatter_add_row() {
  Row row{"scatter_add", Family::linear, kNoBools, {}};
  for (const Sample& s : indexed())
    for (Layout layout : {L::contiguous, L::flipped}) {
      row.cases.push_back(one(
          "scatter_add(x, " + std::to_string(s.dim) + ", index, source)", {s.x, s.index, {s.index.shape, layout}},
          [s](const Tensors& x) { return scatter_add(x[0], s.dim, x[1], x[2]); },
          [s](const Arrays& x) {
            const int dim = front(s.dim, x[0].shape.size());
            Array result = x[0];
            for_each_index(x[1].shape, [&](Dims index) {
              const double added = x[2].at(index);
              if (!index.empty()) index[dim] = whole_at(x[1], Dims(index));
              result.at(index) += added;
            });
            return result;
          }));
    }
  for (int dim : {0, 1})
    row.timed.push_back(timed("scatter_add(x, " + std::to_string(dim) + ", index, source)",
                              {kTimed, index_input(kTimed, kTimed[dim]), kTimed},
                              [dim](const Tensors& x) { return scatter_add(x[0], dim, x[1], x[2]); }));
  const auto call = [](const Shape& x, std::int64_t dim, const Tensor& index, const Shape& source) {
    return scatter_add(zeros(x), dim, index, zeros(source));
  };
  row.errors = {
      dtype_error([call](const Tensors&) { return call({3}, 0, zeros({2}), {2}); }, {"index", "float32", "int64"}),
      dtype_error([](const Tensors&) { return scatter_add(zeros({3}), 0, zeros({2}, int64), zeros({2}, float64)); },
                  {"float32", "float64"}),
      shape_error([call](const Tensors&) { return call({3}, 0, zeros({2}, int64), {4}); }, {"(2,)", "(4,)"}),
      shape_error(
          [call](const Tensors&) {
            return call({3, 4}, 0, zeros({2, 5}, int64), {2, 5});
          },
          {"(3, 4)", "(2, 5)"}),
      shape_error([call](const Tensors&) { return call({3}, 1, zeros({2}, int64), {2}); }, {"1", "(3,)"}),
      value_error_when_computed(
          [call](const Tensors&) {
            return call({3}, 0, tensor({0, 3}), {2});
          },
          {"3"}),
      value_error_when_computed(
          [call](const Tensors&) {
            return call({3}, 0, tensor({0, -1}), {2});
          },
          {"-1", "3"}),
  };
  return row;
}

Row index_select_row() {
  Row row{"index_select", Family::composite, kKept, {}};
  for (const Sample& s :
       {Sample{{{5}}, 0, index_input({7}, 5)}, Sample{{{5, 4}, L::transposed}, 0, index_input({3}, 5, L::sliced)},
        Sample{{{5, 4}, L::sliced}, -1, index_input({6}, 4, L::flipped, int32)},
        Sample{{{2, 3, 4}, L::flipped}, 1, index_input({2}, 3, L::expanded)}, Sample{{{5, 4}}, 0, index_input({0}, 5)},
        Sample{{{513, 3}}, 0, index_input({1025}, 513)}, Sample{{{3, 513}, L::expanded}, 1, index_input({511}, 513)}})
    row.cases.push_back(one(
        "index_select(x, " + std::to_string(s.dim) + ", index)", {s.x, s.index},
        [s](const Tensors& x) { return index_select(x[0], s.dim, x[1]); },
        [s](const Arrays& x) {
          const int dim = front(s.dim, x[0].shape.size());
          Shape shape = x[0].shape;
          shape[dim] = x[1].shape[0];
          return moved(x[0], shape, [&](Dims index) {
            index[dim] = whole_at(x[1], {index[dim]});
            return index;
          });
        }));
  row.timed = {timed("index_select(x, 0, index)", {kTimed, index_input({kTimed[0]}, kTimed[0])},
                     [](const Tensors& x) { return index_select(x[0], 0, x[1]); })};
  row.errors = {
      dtype_error([](const Tensors&) { return index_select(zeros({3}), 0, zeros({2})); }, {"index", "float32"}),
      shape_error(
          [](const Tensors&) {
            return index_select(zeros({3}), 0, zeros({2, 2}, int64));
          },
          {"(2, 2)"}),
      shape_error([](const Tensors&) { return index_select(zeros({3}), 1, zeros({2}, int64)); }, {"1", "(3,)"}),
      value_error_when_computed(
          [](const Tensors&) {
            return index_select(zeros({3, 2}), 0, tensor({0, 3}));
          },
          {"3"}),
  };
  return row;
}

Row one_hot_row() {
  Row row{"one_hot", Family::non_differentiable, kRefused, {}};
  for (const Input& classes :
       {index_input({}, 3), index_input({7}, 3), index_input({4, 5}, 3, L::transposed, int32), index_input({2, 0}, 3),
        index_input({171}, 3, L::sliced), index_input({342}, 3, L::flipped)})
    row.cases.push_back(one(
        "one_hot(classes, 3)", {classes}, [](const Tensors& x) { return one_hot(x[0], 3); },
        [](const Arrays& x) {
          Shape shape = x[0].shape;
          shape.push_back(3);
          return generate(
              shape,
              [&](Dims index) {
                const std::int64_t last = index.back();
                index.erase(index.size() - 1);
                return whole_at(x[0], index) == last;
              },
              int64);
        }));
  row.timed = {timed("one_hot(classes, 1024)", {index_input({1024}, 1024)},
                     [](const Tensors& x) { return one_hot(x[0], 1024); })};
  row.errors = {
      dtype_error([](const Tensors&) { return one_hot(zeros({2}), 3); }, {"float32", "int64"}),
      value_error_when_computed(
          [](const Tensors&) {
            return one_hot(tensor({0, 3}), 3);
          },
          {"3"}),
      value_error_when_computed([](const Tensors&) { return one_hot(tensor({-1}), 3); }, {"-1", "3"}),
      value_error([](const Tensors&) { return one_hot(tensor({0}), -1); }, {"-1"}),
  };
  return row;
}

Row checked_index_row() {
  Row row{"checked_index", Family::non_differentiable, kRefused, {}};
  for (const Input& index : {index_input({}, 3), index_input({7}, 3), index_input({33, 35}, 3, L::transposed),
                             index_input({0}, 3), index_input({kLarge}, 3), index_input({513}, 3, L::sliced)})
    row.cases.push_back(one(
        "checked_index(index, 0, 3, ...)", {index},
        [](const Tensors& x) { return checked_index(x[0], 0, 3, "checked_index: classes"); },
        [](const Arrays& x) { return x[0]; }));
  row.errors = {
      value_error_when_computed(
          [](const Tensors&) {
            return checked_index(tensor({0, 3}), 0, 3, "checked_index: classes");
          },
          {"checked_index: classes", "3", "[0, 3)"}),
      value_error_when_computed(
          [](const Tensors&) { return checked_index(tensor({-5}), -4, 3, "checked_index: classes"); },
          {"checked_index: classes", "-5", "[-4, 3)"}),
  };
  return row;
}

}  // namespace

std::vector<Row> indexing_rows() {
  return {gather_row(), scatter_add_row(), index_select_row(), one_hot_row(), checked_index_row()};
}

}  // namespace adjoint::table
