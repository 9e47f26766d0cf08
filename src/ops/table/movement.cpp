#include "builders.hpp"

#include <algorithm>
#include <utility>

namespace adjoint::table {

namespace {

constexpr Layout kLayouts[] = {Layout::contiguous, Layout::transposed, Layout::sliced, Layout::flipped,
                               Layout::expanded};

Row movement(const char* name) { return {name, Family::linear, kKept, {}}; }

/// The call on inputs of one shape, in every layout.
void add(Row& row, const std::string& label, const Shape& shape, const OneCall& call, const OneOracle& oracle) {
  for (Layout layout : kLayouts) row.cases.push_back(one(label, {{shape, layout}}, call, oracle));
}

/// The same elements in the same order.
OneOracle reshaped(const Shape& shape) {
  return [shape](const Arrays& x) { return Array{shape, x[0].values, x[0].dtype}; };
}

Row reshape_row(const char* name, Tensor (*operation)(const Tensor&, const Shape&)) {
  Row row = movement(name);
  struct Sample {
    Shape from, asked, to;
  };
  for (const Sample& s :
       {Sample{{6, 4}, {3, 8}, {3, 8}}, Sample{{6, 4}, {-1}, {24}}, Sample{{2, 3, 4}, {4, -1, 2}, {4, 3, 2}},
        Sample{{1}, {}, {}}, Sample{{}, {1, 1}, {1, 1}}, Sample{{5, 7}, {5, 7}, {5, 7}},
        Sample{{0, 3}, {3, 0, 2}, {3, 0, 2}}, Sample{{0}, {-1}, {0}}, Sample{{513}, {1, 513, 1}, {1, 513, 1}},
        Sample{{27, 19}, {19, 27}, {19, 27}}, Sample{{1025}, {41, 25}, {41, 25}}})
    add(
        row, std::string(name) + "(x, " + to_string(s.asked) + ")", s.from,
        [operation, s](const Tensors& x) { return operation(x[0], s.asked); }, reshaped(s.to));
  row.cases.push_back(one(
      std::string(name) + "(x, large)", {{{kLarge / 7, 7}, Layout::transposed}},
      [operation](const Tensors& x) { return operation(x[0], {-1}); }, reshaped({kLarge / 7 * 7})));
  row.errors = {
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), {4, 2});
          },
          {"(2, 3)", "(4, 2)", "6"}),
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), {-1, 4});
          },
          {"(2, 3)", "(-1, 4)"}),
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), {-1, -1});
          },
          {"(-1, -1)"}),
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), {-2, 3});
          },
          {"(-2, 3)"}),
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({0, 3}), {0, -1});
          },
          {"(0, -1)"}),
  };
  return row;
}

Row flatten_row() {
  Row row = movement("flatten");
  add(
      row, "flatten(x)", {2, 3, 4}, [](const Tensors& x) { return flatten(x[0]); }, reshaped({24}));
  add(
      row, "flatten(x, 1)", {2, 3, 4}, [](const Tensors& x) { return flatten(x[0], 1); }, reshaped({2, 12}));
  add(
      row, "flatten(x, 0, -2)", {2, 3, 4}, [](const Tensors& x) { return flatten(x[0], 0, -2); }, reshaped({6, 4}));
  add(
      row, "flatten(x, 1, 1)", {2, 3}, [](const Tensors& x) { return flatten(x[0], 1, 1); }, reshaped({2, 3}));
  add(
      row, "flatten(x)", {}, [](const Tensors& x) { return flatten(x[0]); }, reshaped({1}));
  add(
      row, "flatten(x)", {0, 2}, [](const Tensors& x) { return flatten(x[0]); }, reshaped({0}));
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return flatten(zeros({2, 3}), 2);
          },
          {"2", "(2, 3)"}),
      shape_error(
          [](const Tensors&) {
            return flatten(zeros({2, 3}), 1, 0);
          },
          {"1", "0", "(2, 3)"}),
  };
  return row;
}

Row unsqueeze_row() {
  Row row = movement("unsqueeze");
  add(
      row, "unsqueeze(x, 0)", {3, 4}, [](const Tensors& x) { return unsqueeze(x[0], 0); }, reshaped({1, 3, 4}));
  add(
      row, "unsqueeze(x, 1)", {3, 4}, [](const Tensors& x) { return unsqueeze(x[0], 1); }, reshaped({3, 1, 4}));
  add(
      row, "unsqueeze(x, -1)", {3, 4}, [](const Tensors& x) { return unsqueeze(x[0], -1); }, reshaped({3, 4, 1}));
  add(
      row, "unsqueeze(x, -3)", {3, 4}, [](const Tensors& x) { return unsqueeze(x[0], -3); }, reshaped({1, 3, 4}));
  add(
      row, "unsqueeze(x, 0)", {}, [](const Tensors& x) { return unsqueeze(x[0], 0); }, reshaped({1}));
  add(
      row, "unsqueeze(x, 1)", {0}, [](const Tensors& x) { return unsqueeze(x[0], 1); }, reshaped({0, 1}));
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return unsqueeze(zeros({2, 3}), 3);
          },
          {"3", "(2, 3)"}),
      shape_error(
          [](const Tensors&) {
            return unsqueeze(zeros({2, 3}), -4);
          },
          {"-4", "(2, 3)"}),
  };
  return row;
}

Row squeeze_row() {
  Row row = movement("squeeze");
  add(
      row, "squeeze(x)", {1, 3, 1, 4}, [](const Tensors& x) { return squeeze(x[0]); }, reshaped({3, 4}));
  add(
      row, "squeeze(x)", {1, 1}, [](const Tensors& x) { return squeeze(x[0]); }, reshaped({}));
  add(
      row, "squeeze(x, 2)", {1, 3, 1, 4}, [](const Tensors& x) { return squeeze(x[0], 2); }, reshaped({1, 3, 4}));
  add(
      row, "squeeze(x, -1)", {3, 4}, [](const Tensors& x) { return squeeze(x[0], -1); }, reshaped({3, 4}));
  add(
      row, "squeeze(x, 0)", {1, 0}, [](const Tensors& x) { return squeeze(x[0], 0); }, reshaped({0}));
  row.errors = {shape_error([](const Tensors&) { return squeeze(zeros({2, 3}), 2); }, {"2", "(2, 3)"})};
  return row;
}

/// The dims in another order.
OneOracle permuted(const Dims& order) {
  return [order](const Arrays& x) {
    Shape shape;
    for (std::int64_t dim : order) shape.push_back(x[0].shape[front(dim, order.size())]);
    return moved(x[0], shape, [&](const Dims& index) {
      Dims from = index;
      for (int i = 0; i < order.size(); ++i) from[front(order[i], order.size())] = index[i];
      return from;
    });
  };
}

Row permute_row() {
  Row row = movement("permute");
  struct Sample {
    Shape shape;
    Dims order;
  };
  for (const Sample& s : {Sample{{2, 3, 4}, {2, 0, 1}}, Sample{{2, 3, 4}, {0, 1, 2}}, Sample{{2, 3, 4}, {-1, 0, -2}},
                          Sample{{3, 2, 1, 4, 2}, {4, 1, 3, 0, 2}}, Sample{{19, 27}, {1, 0}}, Sample{{}, {}},
                          Sample{{2, 0, 3}, {1, 2, 0}}})
    add(
        row, "permute(x, " + to_string(s.order) + ")", s.shape,
        [s](const Tensors& x) { return permute(x[0], s.order); }, permuted(s.order));
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return permute(zeros({2, 3}), {0});
          },
          {"(0,)", "(2, 3)"}),
      shape_error(
          [](const Tensors&) {
            return permute(zeros({2, 3}), {0, 0});
          },
          {"(0, 0)", "(2, 3)"}),
      shape_error(
          [](const Tensors&) {
            return permute(zeros({2, 3}), {0, 2});
          },
          {"2", "(2, 3)"}),
  };
  return row;
}

Row transpose_row() {
  Row row = movement("transpose");
  add(
      row, "transpose(x, 0, 2)", {2, 3, 4}, [](const Tensors& x) { return transpose(x[0], 0, 2); },
      permuted({2, 1, 0}));
  add(
      row, "transpose(x, -1, -2)", {2, 3, 4}, [](const Tensors& x) { return transpose(x[0], -1, -2); },
      permuted({0, 2, 1}));
  add(
      row, "transpose(x, 1, 1)", {5, 7}, [](const Tensors& x) { return transpose(x[0], 1, 1); }, permuted({0, 1}));
  add(
      row, "transpose(x, 0, 1)", {0, 3}, [](const Tensors& x) { return transpose(x[0], 0, 1); }, permuted({1, 0}));
  row.errors = {shape_error([](const Tensors&) { return transpose(zeros({2, 3}), 0, 2); }, {"2", "(2, 3)"})};
  return row;
}

Row t_row() {
  Row row = movement("t");
  add(
      row, "t(x)", {19, 27}, [](const Tensors& x) { return t(x[0]); }, permuted({1, 0}));
  add(
      row, "t(x)", {5}, [](const Tensors& x) { return t(x[0]); }, permuted({0}));
  add(
      row, "t(x)", {}, [](const Tensors& x) { return t(x[0]); }, permuted({}));
  row.errors = {shape_error([](const Tensors&) { return t(zeros({2, 3, 4})); }, {"(2, 3, 4)"})};
  return row;
}

Row broadcast_row(const char* name, Tensor (*operation)(const Tensor&, const Shape&), bool keeps_by_minus_one) {
  Row row = movement(name);
  struct Sample {
    Shape from, asked, to;
  };
  std::vector<Sample> samples{{{3, 1}, {3, 4}, {3, 4}},       {{4}, {2, 3, 4}, {2, 3, 4}},
                              {{}, {2, 3}, {2, 3}},           {{1, 3, 1}, {5, 3, 7}, {5, 3, 7}},
                              {{3, 4}, {3, 4}, {3, 4}},       {{1, 2}, {0, 2}, {0, 2}},
                              {{0}, {2, 0}, {2, 0}},          {{1}, {513}, {513}},
                              {{513, 1}, {513, 3}, {513, 3}}, {{7}, {kLarge / 7, 7}, {kLarge / 7, 7}}};
  if (keeps_by_minus_one) {
    samples.push_back({{3, 1}, {-1, 4}, {3, 4}});
    samples.push_back({{3, 1}, {2, -1, -1}, {2, 3, 1}});
  }
  for (const Sample& s : samples)
    add(
        row, std::string(name) + "(x, " + to_string(s.asked) + ")", s.from,
        [operation, s](const Tensors& x) { return operation(x[0], s.asked); },
        [s](const Arrays& x) {
          return generate(
              s.to, [&](const Dims& index) { return x[0].broadcast_at(index); }, x[0].dtype);
        });
  row.errors = {
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), {2, 4});
          },
          {"(2, 3)", "(2, 4)"}),
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), {3});
          },
          {"(2, 3)", "(3,)"}),
      shape_error([operation](const Tensors&) { return operation(zeros({1}), {-3}); }, {"(-3,)"}),
  };
  return row;
}

/// Positions start, start + step, ... of a dim, `length` of them.
OneOracle sliced(int dim, std::int64_t start, std::int64_t length, std::int64_t step) {
  return [=](const Arrays& x) {
    Shape shape = x[0].shape;
    shape[dim] = length;
    return moved(x[0], shape, [=](Dims index) {
      index[dim] = start + index[dim] * step;
      return index;
    });
  };
}

Row slice_row() {
  Row row = movement("slice");
  using Bound = std::optional<std::int64_t>;
  struct Sample {
    Shape shape;
    int dim;
    Bound start, stop;
    std::int64_t step, first, length;
  };
  for (const Sample& s :
       {Sample{{5, 7}, 0, 1, 4, 1, 1, 3}, Sample{{5, 7}, 1, {}, {}, 2, 0, 4}, Sample{{5, 7}, -1, 1, -1, 3, 1, 2},
        Sample{{5, 7}, 0, -3, {}, 1, 2, 3}, Sample{{5, 7}, 0, {}, {}, 1, 0, 5}, Sample{{5, 7}, 1, 3, 2, 1, 3, 0},
        Sample{{5, 7}, 0, -100, 100, 2, 0, 3}, Sample{{5, 7}, 0, 9, {}, 1, 5, 0}, Sample{{2, 3, 4}, 1, 2, 3, 1, 2, 1},
        Sample{{0, 3}, 0, {}, {}, 2, 0, 0}, Sample{{1025}, 0, 1, {}, 2, 1, 512}, Sample{{3, 513}, 0, {}, 2, 1, 0, 2}})
    add(
        row, "slice", s.shape, [s](const Tensors& x) { return slice(x[0], s.dim, s.start, s.stop, s.step); },
        sliced(front(s.dim, s.shape.size()), s.first, s.length, s.step));
  row.timed = {timed("slice(x, 0, 256, 768)", {kTimed}, [](const Tensors& x) { return slice(x[0], 0, 256, 768); })};
  row.errors = {
      value_error(
          [](const Tensors&) {
            return slice(zeros({2, 3}), 0, 0, 1, 0);
          },
          {"step", "0", "(2, 3)"}),
      value_error(
          [](const Tensors&) {
            return slice(zeros({2, 3}), 0, 0, 1, -1);
          },
          {"step", "-1", "(2, 3)"}),
      shape_error(
          [](const Tensors&) {
            return slice(zeros({2, 3}), 2);
          },
          {"2", "(2, 3)"}),
  };
  return row;
}

Row narrow_row() {
  Row row = movement("narrow");
  add(
      row, "narrow(x, 0, 1, 3)", {5, 7}, [](const Tensors& x) { return narrow(x[0], 0, 1, 3); }, sliced(0, 1, 3, 1));
  add(
      row, "narrow(x, -1, 0, 7)", {5, 7}, [](const Tensors& x) { return narrow(x[0], -1, 0, 7); }, sliced(1, 0, 7, 1));
  add(
      row, "narrow(x, 1, -2, 2)", {5, 7}, [](const Tensors& x) { return narrow(x[0], 1, -2, 2); }, sliced(1, 5, 2, 1));
  add(
      row, "narrow(x, 0, 5, 0)", {5, 7}, [](const Tensors& x) { return narrow(x[0], 0, 5, 0); }, sliced(0, 5, 0, 1));
  add(
      row, "narrow(x, 1, 1, 513)", {2, 1025}, [](const Tensors& x) { return narrow(x[0], 1, 1, 513); },
      sliced(1, 1, 513, 1));
  row.errors = {
      value_error(
          [](const Tensors&) {
            return narrow(zeros({2, 3}), 1, 2, 2);
          },
          {"2", "(2, 3)"}),
      value_error(
          [](const Tensors&) {
            return narrow(zeros({2, 3}), 1, 0, -1);
          },
          {"-1", "(2, 3)"}),
      shape_error(
          [](const Tensors&) {
            return narrow(zeros({2, 3}), 2, 0, 1);
          },
          {"2", "(2, 3)"}),
  };
  return row;
}

Row select_row() {
  Row row = movement("select");
  const auto selected = [](int dim, std::int64_t position) -> OneOracle {
    return [=](const Arrays& x) {
      Shape shape = x[0].shape;
      shape.erase(dim);
      return moved(x[0], shape, [=](Dims index) {
        index.insert(dim, position);
        return index;
      });
    };
  };
  add(
      row, "select(x, 0, 2)", {5, 7}, [](const Tensors& x) { return select(x[0], 0, 2); }, selected(0, 2));
  add(
      row, "select(x, -1, -1)", {5, 7}, [](const Tensors& x) { return select(x[0], -1, -1); }, selected(1, 6));
  add(
      row, "select(x, 1, 0)", {2, 3, 4}, [](const Tensors& x) { return select(x[0], 1, 0); }, selected(1, 0));
  add(
      row, "select(x, 0, 1)", {3}, [](const Tensors& x) { return select(x[0], 0, 1); }, selected(0, 1));
  add(
      row, "select(x, 0, 1)", {2, 0}, [](const Tensors& x) { return select(x[0], 0, 1); }, selected(0, 1));
  add(
      row, "select(x, 1, 1)", {513, 2}, [](const Tensors& x) { return select(x[0], 1, 1); }, selected(1, 1));
  row.errors = {
      value_error(
          [](const Tensors&) {
            return select(zeros({2, 3}), 1, 3);
          },
          {"3", "(2, 3)"}),
      value_error(
          [](const Tensors&) {
            return select(zeros({2, 3}), 1, -4);
          },
          {"-4", "(2, 3)"}),
      shape_error(
          [](const Tensors&) {
            return select(zeros({2, 3}), 2, 0);
          },
          {"2", "(2, 3)"}),
  };
  return row;
}

Row flip_row() {
  Row row = movement("flip");
  struct Sample {
    Shape shape;
    Dims dims;
  };
  for (const Sample& s : {Sample{{5}, {0}}, Sample{{5, 7}, {1}}, Sample{{5, 7}, {0, -1}}, Sample{{2, 3, 4}, {-2}},
                          Sample{{0, 3}, {0, 1}}, Sample{{1025}, {0}}, Sample{{3, 513}, {-1}}, Sample{{1, 1}, {0}}})
    add(
        row, "flip(x, " + to_string(s.dims) + ")", s.shape, [s](const Tensors& x) { return flip(x[0], s.dims); },
        [s](const Arrays& x) {
          return moved(x[0], s.shape, [&](Dims index) {
            for (std::int64_t dim : s.dims) {
              const int d = front(dim, s.shape.size());
              index[d] = s.shape[d] - 1 - index[d];
            }
            return index;
          });
        });
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return flip(zeros({2, 3}), 2);
          },
          {"2", "(2, 3)"}),
      shape_error(
          [](const Tensors&) {
            return flip(zeros({2, 3}), {0, -2});
          },
          {"(2, 3)"}),
  };
  return row;
}

struct Padding {
  std::vector<std::int64_t> entries;
  PadMode mode;
  double value;
};
/// What pad() does, from its definition.
OneOracle padded(const Padding& p) {
  return [p](const Arrays& x) {
    const Shape& from = x[0].shape;
    Shape shape = from, before = Dims::filled(from.size(), 0);
    for (std::size_t i = 0; i < p.entries.size(); i += 2) {
      const int d = from.size() - 1 - static_cast<int>(i / 2);
      before[d] = p.entries[i];
      shape[d] += p.entries[i] + p.entries[i + 1];
    }
    return generate(
        shape,
        [&](Dims at) {
          for (int d = 0; d < from.size(); ++d) {
            const std::int64_t n = from[d], i = at[d] - before[d];
            at[d] = i;
            if (i >= 0 && i < n) continue;
            if (p.mode == PadMode::constant) return p.value;
            if (p.mode == PadMode::reflect) at[d] = i < 0 ? -i : 2 * (n - 1) - i;
            if (p.mode == PadMode::replicate) at[d] = i < 0 ? 0 : n - 1;
            if (p.mode == PadMode::circular) at[d] = (i + n) % n;
          }
          return x[0].at(at);
        },
        x[0].dtype);
  };
}

Row pad_row() {
  Row row{"pad", Family::composite, kKept, {}};
  const auto add_padding = [&row](const Shape& shape, const Padding& p) {
    add(
        row, "pad in mode " + std::to_string(static_cast<int>(p.mode)), shape,
        [p](const Tensors& x) { return pad(x[0], p.entries, p.mode, p.value); }, padded(p));
  };
  using M = PadMode;
  for (double value : {0.0, 1.0}) {
    add_padding({5}, {{2, 1}, M::constant, value});
    add_padding({3, 4}, {{0, 3}, M::constant, value});
    add_padding({3, 4}, {{1, 0, 0, 2}, M::constant, value});
    add_padding({2, 3, 4}, {{1, 2, 3, 4, 5, 6}, M::constant, value});
    add_padding({2, 3, 4}, {{}, M::constant, value});
    add_padding({2, 0}, {{1, 2}, M::constant, value});
    add_padding({}, {{}, M::constant, value});
    add_padding({513}, {{1, 513}, M::constant, value});
  }
  for (M mode : {M::reflect, M::replicate, M::circular}) {
    add_padding({5}, {{2, 1}, mode, 0});
    add_padding({5}, {{4, 4}, mode, 0});
    add_padding({3, 4}, {{0, 3}, mode, 0});
    add_padding({2, 3, 4}, {{2, 1, 1, 2}, mode, 0});
    add_padding({2, 2, 3}, {{0, 0, 1, 1, 1, 0}, mode, 0});
    add_padding({0, 3}, {{1, 1}, mode, 0});
    add_padding({513}, {{1, 511}, mode, 0});
  }
  add_padding({2, 3}, {{7, 8}, M::replicate, 0});
  add_padding({2, 3}, {{3, 3}, M::circular, 0});
  row.cases.push_back(one(
      "pad(x, {1, 2, 3, 4})", {{{kLarge / 7, 7}}},
      [](const Tensors& x) {
        return pad(x[0], {1, 2, 3, 4});
      },
      padded({{1, 2, 3, 4}, M::constant, 0})));
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return pad(zeros({2, 3}), {1, 2, 3});
          },
          {"{1, 2, 3}", "(2, 3)", "3"}),
      shape_error(
          [](const Tensors&) {
            return pad(zeros({3}), {1, 2, 3, 4});
          },
          {"{1, 2, 3, 4}", "(3,)", "2"}),
      shape_error(
          [](const Tensors&) {
            return pad(zeros({2, 3}), {std::int64_t{1} << 60, 0});
          },
          {}),
      value_error(
          [](const Tensors&) {
            return pad(zeros({2, 3}), {0, -1});
          },
          {"{0, -1}", "(2, 3)", "narrow", "slice"}),
      value_error(
          [](const Tensors&) {
            return pad(zeros({2, 3}), {0, 3}, M::reflect);
          },
          {"{0, 3}", "(2, 3)", "2"}),
      value_error(
          [](const Tensors&) {
            return pad(zeros({2, 0}), {1, 0}, M::reflect);
          },
          {"{1, 0}", "(2, 0)", "0"}),
      value_error(
          [](const Tensors&) {
            return pad(zeros({2, 3}), {4, 0}, M::circular);
          },
          {"{4, 0}", "(2, 3)", "3"}),
      value_error(
          [](const Tensors&) {
            return pad(zeros({2, 0}), {1, 0}, M::replicate);
          },
          {"{1, 0}", "(2, 0)"}),
      value_error(
          [](const Tensors&) {
            return pad(zeros({2, 3}), {1, 0}, M::replicate, 1);
          },
          {"value", "constant"}),
      value_error(
          [](const Tensors&) {
            return pad(zeros({3}, uint8), {1, 0}, M::constant, -1);
          },
          {"-1", "uint8"}),
  };
  return row;
}

/// x with the source at positions start, start + step, ... of a dim.
OneOracle replaced(int dim, std::int64_t start, std::int64_t step) {
  return [=](const Arrays& x) {
    Array result = x[0];
    for_each_index(x[1].shape, [&](Dims at) {
      const double source = x[1].at(at);
      at[dim] = start + at[dim] * step;
      result.at(at) = source;
    });
    return result;
  };
}

Row slice_scatter_row() {
  Row row{"slice_scatter", Family::composite, kKept, {}};
  using Bound = std::optional<std::int64_t>;
  struct Sample {
    Shape shape, source;
    int dim;
    Bound start, stop;
    std::int64_t step, first;
  };
  for (const Sample& s : {Sample{{5, 7}, {3, 7}, 0, 1, 4, 1, 1}, Sample{{5, 7}, {5, 4}, 1, {}, {}, 2, 0},
                          Sample{{5, 7}, {5, 2}, -1, 1, -1, 3, 1}, Sample{{5}, {5}, 0, {}, {}, 1, 0},
                          Sample{{5, 7}, {5, 0}, 1, 3, 2, 1, 3}, Sample{{2, 3, 4}, {2, 1, 4}, 1, 2, 3, 1, 2},
                          Sample{{1025}, {512}, 0, 1, {}, 2, 1}, Sample{{0, 3}, {0, 3}, 0, {}, {}, 1, 0}})
    for (Layout layout : kLayouts)
      row.cases.push_back(one(
          "slice_scatter", {{s.shape, layout}, {s.source, Layout::flipped}},
          [s](const Tensors& x) { return slice_scatter(x[0], x[1], s.dim, s.start, s.stop, s.step); },
          replaced(front(s.dim, s.shape.size()), s.first, s.step)));
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return slice_scatter(zeros({5, 7}), zeros({1, 7}), 0, 0, 2);
          },
          {"source", "(1, 7)", "(2, 7)", "(5, 7)"}),
      shape_error(
          [](const Tensors&) {
            return slice_scatter(zeros({5, 7}), zeros({5, 7}), 2);
          },
          {"2", "(5, 7)"}),
      value_error([](const Tensors&) { return slice_scatter(zeros({5}), zeros({5}), 0, 0, 5, 0); },
                  {"step", "0", "(5,)"}),
  };
  return row;
}

Row select_scatter_row() {
  Row row{"select_scatter", Family::composite, kKept, {}};
  struct Sample {
    Shape shape;
    int dim;
    std::int64_t index, position;
  };
  for (const Sample& s : {Sample{{5, 7}, 0, 2, 2}, Sample{{5, 7}, -1, -1, 6}, Sample{{2, 3, 4}, 1, 0, 0},
                          Sample{{3}, 0, 1, 1}, Sample{{2, 0}, 0, 1, 1}, Sample{{513, 2}, 1, 1, 1}})
    for (Layout layout : kLayouts) {
      const int dim = front(s.dim, s.shape.size());
      Shape source = s.shape;
      source.erase(dim);
      row.cases.push_back(one(
          "select_scatter", {{s.shape, layout}, {source, Layout::sliced}},
          [s](const Tensors& x) { return select_scatter(x[0], x[1], s.dim, s.index); },
          [s, dim](Arrays x) {
            x[1].shape.insert(dim, 1);
            return replaced(dim, s.position, 1)(x);
          }));
    }
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return select_scatter(zeros({5, 7}), zeros({1}), 0, 0);
          },
          {"source", "(1,)", "(7,)", "(5, 7)"}),
      shape_error(
          [](const Tensors&) {
            return select_scatter(zeros({5, 7}), zeros({7}), 2, 0);
          },
          {"2", "(5, 7)"}),
      value_error(
          [](const Tensors&) {
            return select_scatter(zeros({5, 7}), zeros({7}), 0, 5);
          },
          {"5", "(5, 7)"}),
      value_error(
          [](const Tensors&) {
            return select_scatter(zeros({5, 7}), zeros({5}), 1, -8);
          },
          {"-8", "(5, 7)"}),
  };
  return row;
}

/// The inputs joined along a dim, in which their sizes may differ.
Array joined(const Arrays& x, int dim) {
  Shape shape = x[0].shape;
  for (std::size_t i = 1; i < x.size(); ++i) shape[dim] += x[i].shape[dim];
  return generate(shape, [&](Dims index) {
    std::size_t part = 0;
    while (index[dim] >= x[part].shape[dim]) index[dim] -= x[part++].shape[dim];
    return x[part].at(index);
  });
}

Row cat_row() {
  Row row = movement("cat");
  using L = Layout;
  struct Sample {
    std::vector<Input> inputs;
    std::int64_t dim;
  };
  std::vector<Input> many;
  for (int i = 0; i < 12; ++i) many.push_back({{2, 1 + i % 3}, kLayouts[i % 5]});
  for (const Sample& s :
       {Sample{{{{3}}, {{4}}}, 0}, Sample{{{{2, 3}, L::transposed}, {{2, 1}}, {{2, 4}, L::sliced}}, 1},
        Sample{{{{2, 3}, L::flipped}, {{1, 3}}, {{4, 3}, L::expanded}}, -2}, Sample{{{{5, 2}}}, 0},
        Sample{{{{0, 3}}, {{2, 3}}, {{0, 3}}}, 0}, Sample{{{{0}}, {{0}}}, 0},
        Sample{{{{2, 2, 3}}, {{2, 1, 3}, L::sliced}}, 1}, Sample{{{{511}}, {{513}}, {{1}}, {{1025}}}, 0},
        Sample{many, 1}, Sample{{{{3, 511}}, {{3, 2}, L::transposed}}, 1}})
    row.cases.push_back(one(
        "cat({...}, " + std::to_string(s.dim) + ")", s.inputs, [s](const Tensors& x) { return cat(x, s.dim); },
        [s](const Arrays& x) { return joined(x, front(s.dim, x[0].shape.size())); }));
  for (int dim : {0, 1})
    row.timed.push_back(timed("cat({...}, " + std::to_string(dim) + ")", {kTimed, kTimed},
                              [dim](const Tensors& x) { return cat(x, dim); }));
  row.errors = {
      value_error([](const Tensors&) { return cat({}); }, {}),
      shape_error(
          [](const Tensors&) {
            return cat({zeros({2, 3}), zeros({2, 4})});
          },
          {"(2, 3)", "(2, 4)"}),
      shape_error(
          [](const Tensors&) {
            return cat({zeros({2, 3}), zeros({2})});
          },
          {"(2, 3)", "(2,)"}),
      shape_error(
          [](const Tensors&) {
            return cat({zeros({2, 3}), zeros({2, 3})}, 2);
          },
          {"2", "(2, 3)"}),
      shape_error(
          [](const Tensors&) {
            return cat({zeros({}), zeros({})});
          },
          {}),
  };
  return row;
}

Row stack_row() {
  Row row = movement("stack");
  for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 3}, Shape{2, 0}, Shape{513}})
    for (std::int64_t dim = -shape.size() - 1; dim <= shape.size(); ++dim) {
      const int d = static_cast<int>(dim < 0 ? dim + shape.size() + 1 : dim);
      row.cases.push_back(one(
          "stack({...}, " + std::to_string(dim) + ")", {{shape}, {shape, Layout::transposed}, {shape, Layout::sliced}},
          [dim](const Tensors& x) { return stack(x, dim); },
          [d](Arrays x) {
            for (Array& array : x) array.shape.insert(d, 1);
            return joined(x, d);
          }));
    }
  row.timed = {timed("stack({...}, -1)", {kTimed, kTimed}, [](const Tensors& x) { return stack(x, -1); })};
  row.errors = {
      value_error([](const Tensors&) { return stack({}); }, {}),
      shape_error(
          [](const Tensors&) {
            return stack({zeros({2, 3}), zeros({3, 2})});
          },
          {"(2, 3)", "(3, 2)"}),
      shape_error(
          [](const Tensors&) {
            return stack({zeros({2, 3}), zeros({2, 3})}, 3);
          },
          {"3", "(2, 3)"}),
  };
  return row;
}

Arrays parts(const Array& x, int dim, const std::vector<std::int64_t>& sizes) {
  Arrays result;
  std::int64_t start = 0;
  for (std::int64_t size : sizes) {
    result.push_back(sliced(dim, start, size, 1)({x}));
    start += size;
  }
  return result;
}

void add_parts(Row& row, const std::string& label, const Shape& shape, int dim, const std::vector<std::int64_t>& sizes,
               const Call& call) {
  for (Layout layout : kLayouts)
    row.cases.push_back({label, {{shape, layout}}, call, [=](const Arrays& x) { return parts(x[0], dim, sizes); }});
}

Row split_row() {
  Row row = movement("split");
  using Sizes = std::vector<std::int64_t>;
  add_parts(row, "split(x, 2)", {5, 3}, 0, {2, 2, 1}, [](const Tensors& x) { return split(x[0], 2); });
  add_parts(row, "split(x, 2, -1)", {3, 4}, 1, {2, 2}, [](const Tensors& x) { return split(x[0], 2, -1); });
  add_parts(row, "split(x, 9)", {5}, 0, {5}, [](const Tensors& x) { return split(x[0], 9); });
  add_parts(row, "split(x, {1, 0, 4})", {5, 2}, 0, {1, 0, 4}, [](const Tensors& x) {
    return split(x[0], Sizes{1, 0, 4});
  });
  add_parts(row, "split(x, {2, 1}, 1)", {2, 3}, 1, {2, 1}, [](const Tensors& x) {
    return split(x[0], Sizes{2, 1}, 1);
  });
  add_parts(row, "split(x, 512)", {1025}, 0, {512, 512, 1}, [](const Tensors& x) { return split(x[0], 512); });
  row.timed = {{"split(x, 256)", {kTimed}, [](const Tensors& x) { return split(x[0], 256); }, {}}};
  row.errors = {
      value_error(
          [](const Tensors&) {
            return split(zeros({5, 3}), 0)[0];
          },
          {"0", "(5, 3)"}),
      value_error(
          [](const Tensors&) {
            return split(zeros({5, 3}), Sizes{2, 2})[0];
          },
          {"4", "5", "(5, 3)"}),
      value_error(
          [](const Tensors&) {
            return split(zeros({5, 3}), Sizes{6, -1})[0];
          },
          {"(5, 3)"}),
      shape_error(
          [](const Tensors&) {
            return split(zeros({5, 3}), 1, 2)[0];
          },
          {"2", "(5, 3)"}),
  };
  return row;
}

Row chunk_row() {
  Row row = movement("chunk");
  add_parts(row, "chunk(x, 3)", {7, 2}, 0, {3, 3, 1}, [](const Tensors& x) { return chunk(x[0], 3); });
  add_parts(row, "chunk(x, 2, 1)", {2, 4}, 1, {2, 2}, [](const Tensors& x) { return chunk(x[0], 2, 1); });
  add_parts(row, "chunk(x, 4)", {6}, 0, {2, 2, 2}, [](const Tensors& x) { return chunk(x[0], 4); });
  add_parts(row, "chunk(x, 9, -1)", {3, 2}, 1, {1, 1}, [](const Tensors& x) { return chunk(x[0], 9, -1); });
  row.errors = {
      value_error(
          [](const Tensors&) {
            return chunk(zeros({5, 3}), 0)[0];
          },
          {"0", "(5, 3)"}),
      shape_error(
          [](const Tensors&) {
            return chunk(zeros({5, 3}), 1, 2)[0];
          },
          {"2", "(5, 3)"}),
  };
  return row;
}

}  // namespace

std::vector<Row> movement_rows() {
  return {
      // the same elements in the same order
      reshape_row("reshape", reshape),
      reshape_row("view", view),
      flatten_row(),
      unsqueeze_row(),
      squeeze_row(),
      // in another order
      t_row(),
      transpose_row(),
      permute_row(),
      flip_row(),
      // repeated
      broadcast_row("broadcast_to", broadcast_to, false),
      broadcast_row("expand", expand, true),
      // some of them
      slice_row(),
      narrow_row(),
      select_row(),
      split_row(),
      chunk_row(),
      // joined
      cat_row(),
      stack_row(),
      pad_row(),
      // some of them replaced
      slice_scatter_row(),
      select_scatter_row(),
  };
}

}  // namespace adjoint::table
