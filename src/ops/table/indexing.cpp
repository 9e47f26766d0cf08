#include "builders.hpp"

#include <cmath>
#include <functional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

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

/// What scatter_add and scatter refuse alike.
std::vector<ErrorInput> scatter_errors(
    const std::function<Tensor(const Tensor&, std::int64_t, const Tensor&, const Tensor&)>& scatter) {
  const auto call = [scatter](const Shape& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
    return [=](const Tensors&) { return scatter(zeros(x), dim, index, source); };
  };
  return {
      dtype_error(call({3}, 0, zeros({2}), zeros({2})), {"index", "float32", "int64"}),
      dtype_error(call({3}, 0, zeros({2}, int64), zeros({2}, float64)), {"float32", "float64"}),
      dtype_error(call({3}, 0, zeros({2}, int64), zeros({2}, int64)), {"float32", "int64"}),
      shape_error(call({3}, 0, zeros({2}, int64), zeros({4})), {"(2,)", "(4,)"}),
      shape_error(call({3, 4}, 0, zeros({2, 5}, int64), zeros({2, 5})), {"(3, 4)", "(2, 5)"}),
      shape_error(call({3}, 1, zeros({2}, int64), zeros({2})), {"1", "(3,)"}),
      value_error_when_computed(call({3}, 0, tensor({0, 3}), zeros({2})), {"index 3", "dim 0", "size 3", "[0, 3)"}),
      value_error_when_computed(call({3}, 0, tensor({0, -1}), zeros({2})), {"index -1", "dim 0", "size 3", "[0, 3)"}),
  };
}

Row scatter_add_row() {
  Row row{"scatter_add", Family::linear, kKept, {}};
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
  row.errors = scatter_errors(scatter_add);
  return row;
}

Row scatter_row() {
  Row row{"scatter", Family::composite, kKept, {}};
  const auto put = [](const Sample& s, const Arrays& x, const std::function<double(const Dims&)>& source) {
    const int dim = front(s.dim, x[0].shape.size());
    Array result = x[0];
    for_each_index(x[1].shape, [&](Dims index) {
      const double taken = source(index);
      if (!index.empty()) index[dim] = whole_at(x[1], Dims(index));
      result.at(index) = taken;
    });
    return result;
  };
  for (const Sample& s : indexed()) {
    row.cases.push_back(one(
        "scatter(x, " + std::to_string(s.dim) + ", index, source)", {s.x, s.index, {s.index.shape, L::flipped}},
        [s](const Tensors& x) { return scatter(x[0], s.dim, x[1], x[2]); },
        [s, put](const Arrays& x) { return put(s, x, [&](const Dims& at) { return x[2].at(at); }); }));
    row.cases.push_back(one(
        "scatter(x, " + std::to_string(s.dim) + ", index, 1)", {s.x, s.index},
        [s](const Tensors& x) { return scatter(x[0], s.dim, x[1], 1); },
        [s, put](const Arrays& x) { return put(s, x, [](const Dims&) { return 1.0; }); }));
  }
  row.errors = scatter_errors([](const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
    return scatter(x, dim, index, source);
  });
  row.errors.push_back(
      value_error([](const Tensors&) { return scatter(zeros({3}, uint8), 0, tensor({0}), 256); }, {"256", "uint8"}));
  return row;
}

/// Inputs with an index of one dim.
std::vector<Sample> listed() {
  return {{{{5}}, 0, index_input({7}, 5)},
          {{{5, 4}, L::transposed}, 0, index_input({3}, 5, L::sliced)},
          {{{5, 4}, L::sliced}, -1, index_input({6}, 4, L::flipped, int32)},
          {{{2, 3, 4}, L::flipped}, 1, index_input({2}, 3, L::expanded)},
          {{{5, 4}}, 0, index_input({0}, 5)},
          {{{513, 3}}, 0, index_input({1025}, 513)},
          {{{3, 513}, L::expanded}, 1, index_input({511}, 513)}};
}

Row index_select_row() {
  Row row{"index_select", Family::composite, kKept, {}};
  for (const Sample& s : listed())
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
            return index_select(zeros({2, 3}), 1, tensor({0, 3}));
          },
          {"index 3", "position 1", "dim 1 has size 3", "[0, 3)"}),
      value_error_when_computed(
          [](const Tensors&) {
            return index_select(zeros({2, 3}), 1, tensor({0, -1}));
          },
          {"index -1", "dim 1 has size 3", "[0, 3)"}),
  };
  return row;
}

Row index_add_row() {
  Row row{"index_add", Family::composite, kKept, {}};
  std::vector<Sample> samples = listed();
  samples.push_back({{{4, 3}}, 0, index_input({}, 4)});
  samples.push_back({{{300, 2}}, 0, index_input({kLarge / 2}, 300)});
  for (const Sample& s : samples)
    for (int alpha : {1, 2}) {
      Shape source = s.x.shape;
      source[front(s.dim, source.size())] = numel(s.index.shape);
      row.cases.push_back(one(
          "index_add(x, " + std::to_string(s.dim) + ", index, source, " + std::to_string(alpha) + ")",
          {s.x, s.index, {source, L::transposed}},
          [s, alpha](const Tensors& x) { return index_add(x[0], s.dim, x[1], x[2], alpha); },
          [s, alpha](const Arrays& x) {
            const int dim = front(s.dim, x[0].shape.size());
            Array result = x[0];
            for_each_index(x[2].shape, [&](Dims at) {
              // As bools hold it, any alpha is one.
              const double added = x[2].at(at) * (x[0].dtype == bool_ ? 1 : alpha);
              at[dim] = static_cast<std::int64_t>(x[1].values[static_cast<std::size_t>(at[dim])]);
              result.at(at) += added;
            });
            return result;
          }));
    }
  row.errors = {
      dtype_error([](const Tensors&) { return index_add(zeros({3}), 0, zeros({2}), zeros({2})); },
                  {"index", "float32", "int64"}),
      dtype_error([](const Tensors&) { return index_add(zeros({3}), 0, tensor({0}), zeros({1}, float64)); },
                  {"source", "float32", "float64"}),
      shape_error(
          [](const Tensors&) {
            return index_add(zeros({3}), 0, zeros({2, 1}, int64), zeros({2}));
          },
          {"index", "(2, 1)"}),
      shape_error(
          [](const Tensors&) {
            return index_add(zeros({3, 2}), 0, tensor({0, 1}), zeros({2, 3}));
          },
          {"source", "(3, 2)", "(2, 3)", "(2, 2)"}),
      shape_error([](const Tensors&) { return index_add(zeros({3}), 1, tensor({0}), zeros({1})); }, {"1", "(3,)"}),
      value_error([](const Tensors&) { return index_add(zeros({3}, uint8), 0, tensor({0}), zeros({1}, uint8), -1); },
                  {"-1", "uint8"}),
      value_error_when_computed([](const Tensors&) { return index_add(zeros({3}), 0, tensor({3}), zeros({1})); },
                                {"index 3", "dim 0 has size 3", "[0, 3)"}),
      value_error_when_computed([](const Tensors&) { return index_add(zeros({3}), 0, tensor({-1}), zeros({1})); },
                                {"index -1", "dim 0 has size 3", "[0, 3)"}),
  };
  return row;
}

Row take_along_dim_row() {
  Row row{"take_along_dim", Family::composite, kKept, {}};
  std::vector<Sample> samples{
      {{{5}}, 0, {{7}, whole(-5, 4), int64}},
      {{{5, 4}}, 1, {{5, 2}, L::transposed, whole(-4, 3), int64}},
      {{{1, 4}, L::sliced}, 1, {{3, 6}, whole(0, 3), int32}},
      {{{3, 4}, L::flipped}, -1, {{1, 2}, whole(0, 3), int64}},
      {{{2, 1, 4}}, 0, {{3, 5, 1}, L::sliced, whole(-2, 1), int64}},
      {{{2, 3, 4}, L::transposed}, 1, {{2, 0, 4}, whole(0, 0), int64}},
      {{{1, 513}}, 1, {{137, 511}, whole(-513, 512), int64}},
  };
  for (const Sample& s : samples)
    row.cases.push_back(one(
        "take_along_dim(x, index, " + std::to_string(s.dim) + ")", {s.x, s.index},
        [s](const Tensors& x) { return take_along_dim(x[0], x[1], s.dim); },
        [s](const Arrays& x) {
          const int dim = front(s.dim, x[0].shape.size());
          Shape shape = x[1].shape;
          for (int i = 0; i < shape.size(); ++i)
            if (i != dim) shape[i] = shape[i] == 1 ? x[0].shape[i] : shape[i];
          return moved(x[0], shape, [&](Dims at) {
            const auto position = static_cast<std::int64_t>(x[1].broadcast_at(at));
            at[dim] = position < 0 ? position + x[0].shape[dim] : position;
            for (int i = 0; i < at.size(); ++i)
              if (x[0].shape[i] == 1) at[i] = 0;
            return at;
          });
        }));
  for (const Shape& shape : {Shape{3, 4}, Shape{12}, Shape{}})
    row.cases.push_back(one(
        "take_along_dim(x, index)",
        {{shape, L::transposed}, {{2, 3}, whole(0, static_cast<int>(numel(shape)) - 1), int64}},
        [](const Tensors& x) { return take_along_dim(x[0], x[1]); },
        [](const Arrays& x) {
          return generate(
              {6},
              [&](const Dims& at) {
                const double position = x[1].values[static_cast<std::size_t>(at[0])];
                return x[0].values[static_cast<std::size_t>(position)];
              },
              x[0].dtype);
        }));
  row.errors = {
      dtype_error([](const Tensors&) { return take_along_dim(zeros({3}), zeros({2}), 0); }, {"index", "float32"}),
      shape_error(
          [](const Tensors&) {
            return take_along_dim(zeros({2, 3}), tensor({0}), 0);
          },
          {"(2, 3)", "(1,)"}),
      shape_error(
          [](const Tensors&) {
            return take_along_dim(zeros({2, 3}), zeros({1, 2}, int64), 0);
          },
          {"(2, 3)", "(1, 2)"}),
      shape_error(
          [](const Tensors&) {
            return take_along_dim(zeros({2, 3}), zeros({1, 3}, int64), 2);
          },
          {"2", "(2, 3)"}),
      value_error_when_computed(
          [](const Tensors&) {
            return take_along_dim(zeros({2, 3}), tensor({{0, -4}}), 1);
          },
          {"-4", "dim 1", "size 3"}),
      value_error_when_computed(
          [](const Tensors&) {
            return take_along_dim(zeros({2, 3}), tensor({6}));
          },
          {"6", "size 6"}),
  };
  return row;
}

/// A call of index_put on x, values and indices, the shape that the index selects, and where from.
struct Put {
  std::string label;
  std::vector<Input> inputs;
  std::function<Tensor(const Tensors&, bool)> call;
  std::function<Shape(const Arrays&)> selected;
  std::function<Dims(const Arrays&, const Dims&)> from;
};

std::vector<Put> puts() {
  const auto always = [](const Shape& shape) { return [shape](const Arrays&) { return shape; }; };
  const auto to_front = [](std::int64_t position, std::int64_t size) {
    return position < 0 ? position + size : position;
  };
  // Where a mask of x's first dims holds.
  const auto where_true = [](const Array& mask) {
    std::vector<Dims> result;
    for_each_index(mask.shape, [&](const Dims& at) {
      if (mask.at(at) != 0) result.push_back(at);
    });
    return result;
  };
  std::vector<Put> result;
  // Elements, rows, and rows that one value fills; with positions that are selected several times.
  for (const auto& [x, values, n] :
       std::vector<std::tuple<Input, Input, std::int64_t>>{{{{5}}, {{7}}, 7},
                                                           {{{5, 4}, L::transposed}, {{9, 4}, L::sliced}, 9},
                                                           {{{5, 4}, L::sliced}, {{3, 1}, L::flipped}, 3},
                                                           {{{5, 2, 3}, L::flipped}, {{4, 2, 3}, L::transposed}, 4},
                                                           {{{4, 2}, L::expanded}, {{}}, 2},
                                                           {{{4, 2}}, {{0, 2}}, 0},
                                                           {{{3, 0}}, {{2, 0}}, 2},
                                                           {{{513, 3}}, {{1025, 3}}, 1025},
                                                           {{{kLarge}}, {{kLarge / 2}}, kLarge / 2}}) {
    const Shape shape = x.shape;
    Shape selected = shape;
    selected[0] = n;
    const int size = static_cast<int>(shape[0]);
    result.push_back({"{i}",
                      {x, values, {{n}, whole(-size, size - 1), int64}},
                      [](const Tensors& t, bool add) { return index_put(t[0], {t[2]}, t[1], add); },
                      always(selected),
                      [to_front, size](const Arrays& a, Dims at) {
                        at[0] = to_front(whole_at(a[2], {at[0]}), size);
                        return at;
                      }});
  }
  result.push_back({"{Slice, i, j}",
                    {{{3, 4, 5}, L::flipped}, {{3, 2, 3}}, {{2, 1}, whole(-4, 3), int32}, {{3}, whole(0, 4), int64}},
                    [](const Tensors& t, bool add) {
                      return index_put(t[0], {Slice(), t[2], t[3]}, t[1], add);
                    },
                    always({3, 2, 3}),
                    [to_front](const Arrays& a, const Dims& at) {
                      return Dims{at[0], to_front(whole_at(a[2], {at[1], 0}), 4), whole_at(a[3], {at[2]})};
                    }});
  result.push_back({"{i, Slice, j}",
                    {{{3, 4, 5}}, {{2, 1}, L::sliced}, {{2}, whole(0, 2), int64}, {{2}, whole(0, 4), int64}},
                    [](const Tensors& t, bool add) {
                      return index_put(t[0], {t[2], Slice({}, {}, -2), t[3]}, t[1], add);
                    },
                    always({2, 2}),
                    [](const Arrays& a, const Dims& at) {
                      return Dims{whole_at(a[2], {at[0]}), 3 - 2 * at[1], whole_at(a[3], {at[0]})};
                    }});
  result.push_back({"{1, None, Slice}",
                    {{{3, 4, 2}, L::transposed}, {{1, 2, 2}}},
                    [](const Tensors& t, bool add) {
                      return index_put(t[0], {1, None, Slice(1, 3)}, t[1], add);
                    },
                    always({1, 2, 2}),
                    [](const Arrays&, const Dims& at) {
                      return Dims{1, at[1] + 1, at[2]};
                    }});
  result.push_back({"{Ellipsis, i}",
                    {{{3, 4}}, {{5}}, {{5}, whole(-4, 3), int64}},
                    [](const Tensors& t, bool add) {
                      return index_put(t[0], {Ellipsis, t[2]}, t[1], add);
                    },
                    always({3, 5}),
                    [to_front](const Arrays& a, const Dims& at) {
                      return Dims{at[0], to_front(whole_at(a[2], {at[1]}), 4)};
                    }});
  result.push_back({"{}",
                    {{{3, 2}, L::transposed}, {{2}}},
                    [](const Tensors& t, bool add) { return index_put(t[0], {}, t[1], add); },
                    always({3, 2}),
                    [](const Arrays&, const Dims& at) { return at; }});
  for (const Input& mask : {mask_input({3, 4}), mask_input({3, 4}, L::transposed)})
    result.push_back({"{mask}",
                      {{{3, 4, 2}, L::sliced}, {{2}}, mask},
                      [](const Tensors& t, bool add) { return index_put(t[0], {t[2]}, t[1], add); },
                      [where_true](const Arrays& a) {
                        return Shape{static_cast<std::int64_t>(where_true(a[2]).size()), 2};
                      },
                      [where_true](const Arrays& a, const Dims& at) {
                        Dims from = where_true(a[2])[static_cast<std::size_t>(at[0])];
                        from.push_back(at[1]);
                        return from;
                      }});
  return result;
}

Row index_put_row() {
  Row row{"index_put", Family::composite, kKept, {}};
  for (const Put& put : puts())
    for (bool accumulate : {false, true})
      row.cases.push_back(one(
          "index_put(x, " + put.label + (accumulate ? ", values, accumulate)" : ", values)"), put.inputs,
          [put, accumulate](const Tensors& x) { return put.call(x, accumulate); },
          [put, accumulate](const Arrays& x) {
            Array result = x[0];
            for_each_index(put.selected(x), [&](const Dims& at) {
              double& to = result.at(put.from(x, at));
              to = x[1].broadcast_at(at) + (accumulate ? to : 0);
            });
            return result;
          }));
  const auto call = [](const Index& entry, const Shape& values) {
    return index_put(zeros({3, 4}), {entry}, zeros(values));
  };
  row.errors = {
      dtype_error([](const Tensors&) { return index_put(zeros({3}), {0}, zeros({}, float64)); },
                  {"values", "float32", "float64"}),
      dtype_error([call](const Tensors&) { return call(zeros({2}), {}); }, {"index", "(2,)", "float32", "bool"}),
      dtype_error([call](const Tensors&) { return call(zeros({3}, uint8), {}); }, {"index", "uint8", "bool"}),
      shape_error(
          [call](const Tensors&) {
            return call(tensor({0, 1}), {3});
          },
          {"values", "(3,)", "(2, 4)"}),
      shape_error(
          [call](const Tensors&) {
            return call(tensor({0, 1}), {1, 2, 4});
          },
          {"(1, 2, 4)", "(2, 4)"}),
      shape_error([call](const Tensors&) { return call(ones({4}, bool_), {}); }, {"mask", "(4,)", "(3,)", "(3, 4)"}),
      shape_error(
          [](const Tensors&) {
            return index_put(zeros({3, 4}), {0, 0, 0}, zeros({}));
          },
          {"3", "(3, 4)"}),
      shape_error(
          [](const Tensors&) {
            return index_put(zeros({3, 4}), {tensor({0, 1}), tensor({0, 1, 2})}, zeros({}));
          },
          {"(2,)", "(3,)"}),
      value_error([call](const Tensors&) { return call(3, {}); }, {"3", "dim 0", "(3, 4)"}),
      value_error([call](const Tensors&) { return call(Slice(0, 1, 0), {}); }, {"step", "0"}),
      value_error([call](const Tensors&) { return call(Tensor(), {}); }, {"undefined"}),
      value_error_when_computed(
          [call](const Tensors&) {
            return call(tensor({0, 3}), {});
          },
          {"3", "dim 0", "size 3"}),
      value_error_when_computed(
          [](const Tensors&) {
            return index_put(zeros({3, 4}), {0, tensor({{-5}})}, zeros({}));
          },
          {"-5", "dim 1", "size 4"}),
  };
  return row;
}

Row nonzero_row() {
  Row row{"nonzero", Family::non_differentiable, kKept, {}};
  for (const auto& [shape, layout] : std::vector<std::pair<Shape, Layout>>{{{7}, L::contiguous},
                                                                           {{}, L::contiguous},
                                                                           {{0}, L::contiguous},
                                                                           {{2, 0}, L::contiguous},
                                                                           {{5, 4}, L::transposed},
                                                                           {{5, 4}, L::sliced},
                                                                           {{2, 3, 4}, L::flipped},
                                                                           {{6, 5}, L::expanded},
                                                                           {{1025}, L::contiguous},
                                                                           {{kLarge}, L::contiguous}})
    for (const Domain& domain : {whole(-1, 1), whole(0, 0), whole(1, 1)})
      row.cases.push_back(one(
          "nonzero(x)", {{shape, layout, domain}}, [](const Tensors& x) { return nonzero(x[0]); },
          [](const Arrays& x) {
            Array result{{0, x[0].shape.size()}, {}, int64};
            for_each_index(x[0].shape, [&](const Dims& at) {
              if (x[0].at(at) == 0) return;
              ++result.shape[0];
              result.values.insert(result.values.end(), at.begin(), at.end());
            });
            return result;
          }));
  return row;
}

Row masked_select_row() {
  Row row{"masked_select", Family::composite, kKept, {}};
  for (const auto& [x, mask] :
       std::vector<std::pair<Input, Input>>{{{{7}}, mask_input({7})},
                                            {{{5, 4}, L::transposed}, mask_input({5, 4}, L::sliced)},
                                            {{{5, 4}, L::flipped}, mask_input({5, 1})},
                                            {{{4}}, mask_input({3, 1}, L::transposed)},
                                            {{{}}, mask_input({3, 2})},
                                            {{{}}, mask_input({})},
                                            {{{0, 3}}, mask_input({3})},
                                            {{{6, 2}, L::expanded}, mask_input({6, 2}, L::expanded)},
                                            {{{3, 513}, L::sliced}, mask_input({513})},
                                            {{{kLarge}}, mask_input({kLarge})}})
    row.cases.push_back(one(
        "masked_select(x, mask)", {x, mask}, [](const Tensors& t) { return masked_select(t[0], t[1]); },
        [](const Arrays& a) {
          const Array chosen = map(a, [](const double*v) { return v[1]; }),
                      all = map(a, [](const double*v) { return v[0]; });
          Array result{{0}, {}, a[0].dtype};
          for (std::size_t i = 0; i < all.values.size(); ++i)
            if (chosen.values[i] != 0) result.values.push_back(all.values[i]);
          result.shape[0] = static_cast<std::int64_t>(result.values.size());
          return result;
        }));
  row.errors = {
      dtype_error([](const Tensors&) { return masked_select(zeros({3}), zeros({3}, uint8)); },
                  {"mask", "(3,)", "uint8", "bool"}),
      shape_error([](const Tensors&) { return masked_select(zeros({3}), zeros({2}, bool_)); }, {"(3,)", "(2,)"}),
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
  return {gather_row(),        scatter_add_row(),    scatter_row(),      index_select_row(),
          index_add_row(),     take_along_dim_row(), index_put_row(),    nonzero_row(),
          masked_select_row(), one_hot_row(),        checked_index_row()};
}

}  // namespace adjoint::table
