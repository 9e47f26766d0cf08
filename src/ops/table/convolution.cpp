#include "builders.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace adjoint::table {

namespace {

using L = Layout;

std::int64_t of(const IntPair& pair, int d) { return d == 0 ? pair.height : pair.width; }

/// An image as a batch of one.
Array with_batch(Array x) {
  if (x.shape.size() == 3) x.shape.insert(0, 1);
  return x;
}
Array like(const Array& x, Array y) {
  if (x.shape.size() == 3) y.shape.erase(0);
  return y;
}

/// The convolution by its definition.
Array convolved(const Array& input, const Array& w, const Array* bias, const Conv2dOptions& o) {
  const Array x = with_batch(input);
  Shape shape{x.shape[0], w.shape[0]};
  for (int d = 0; d < 2; ++d)
    shape.push_back(
        (x.shape[2 + d] + 2 * of(o.padding, d) - of(o.dilation, d) * (w.shape[2 + d] - 1) - 1) / of(o.stride, d) + 1);
  const std::int64_t per_group = w.shape[0] / o.groups;
  return like(input, generate(shape, [&](const Dims& at) {
                double sum = bias ? bias->values[static_cast<std::size_t>(at[1])] : 0;
                for_each_index({w.shape[1], w.shape[2], w.shape[3]}, [&](const Dims& k) {
                  const std::int64_t row = at[2] * o.stride.height + k[1] * o.dilation.height - o.padding.height,
                                     column = at[3] * o.stride.width + k[2] * o.dilation.width - o.padding.width;
                  if (row < 0 || row >= x.shape[2] || column < 0 || column >= x.shape[3]) return;
                  const std::int64_t channel = at[1] / per_group * w.shape[1] + k[0];
                  sum += w.at({at[1], k[0], k[1], k[2]}) * x.at({at[0], channel, row, column});
                });
                return sum;
              }));
}

/// Each element of x spread over what its kernel covers.
Array transposed(const Array& input, const Array& w, const Array* bias, const ConvTranspose2dOptions& o) {
  const Array x = with_batch(input);
  Shape shape{x.shape[0], w.shape[1] * o.groups};
  for (int d = 0; d < 2; ++d)
    shape.push_back((x.shape[2 + d] - 1) * of(o.stride, d) - 2 * of(o.padding, d) +
                    of(o.dilation, d) * (w.shape[2 + d] - 1) + of(o.output_padding, d) + 1);
  Array y = generate(shape, [&](const Dims& at) { return bias ? bias->values[static_cast<std::size_t>(at[1])] : 0.0; });
  const std::int64_t per_group = w.shape[0] / o.groups;
  for_each_index(x.shape, [&](const Dims& at) {
    for_each_index({w.shape[1], w.shape[2], w.shape[3]}, [&](const Dims& k) {
      const std::int64_t row = at[2] * o.stride.height + k[1] * o.dilation.height - o.padding.height,
                         column = at[3] * o.stride.width + k[2] * o.dilation.width - o.padding.width;
      if (row < 0 || row >= shape[2] || column < 0 || column >= shape[3]) return;
      y.at({at[0], at[1] / per_group * w.shape[1] + k[0], row, column}) += x.at(at) * w.at({at[1], k[0], k[1], k[2]});
    });
  });
  return like(input, y);
}

Row conv2d_row() {
  Row row{"conv2d", Family::bilinear, kRefused, {}};
  const auto add = [&](const Input& x, const Input& w, const Conv2dOptions& o, const std::string& options) {
    row.cases.push_back(one(
        "conv2d(x, weight, {}, {" + options + "})", {x, w}, [o](const Tensors& t) { return conv2d(t[0], t[1], {}, o); },
        [o](const Arrays& a) { return convolved(a[0], a[1], nullptr, o); }));
  };
  const auto options = [](const IntPair& stride, const IntPair& padding, const IntPair& dilation = 1,
                          std::int64_t groups = 1) {
    return Conv2dOptions{stride, padding, dilation, groups};
  };
  add({{2, 3, 7, 6}}, {{4, 3, 3, 3}}, options(1, 0), "");
  add({{2, 3, 7, 6}, L::channels_last}, {{4, 3, 3, 3}}, options(1, 1), "padding 1");
  add({{2, 3, 7, 6}, L::transposed}, {{4, 3, 3, 2}, L::transposed}, options(2, {1, 2}), "stride 2, padding {1, 2}");
  add({{2, 3, 8, 9}, L::sliced}, {{5, 3, 2, 3}, L::channels_last}, options({2, 3}, 0), "stride {2, 3}");
  add({{1, 2, 9, 10}, L::flipped}, {{3, 2, 3, 3}, L::flipped}, options(1, 2, {2, 3}), "padding 2, dilation {2, 3}");
  add({{2, 4, 6, 5}, L::expanded}, {{6, 2, 3, 3}, L::expanded}, options(1, 1, 1, 2), "padding 1, groups 2");
  add({{2, 4, 6, 5}, L::channels_last}, {{8, 1, 3, 3}}, options(2, 1, 1, 4), "stride 2, padding 1, groups 4");
  add({{3, 6, 5, 4}}, {{9, 2, 2, 2}}, options(2, 1, 2, 3), "stride 2, padding 1, dilation 2, groups 3");
  add({{2, 5, 4, 3}, L::channels_last}, {{7, 5, 1, 1}}, options(1, 0), "");
  add({{2, 5, 4, 3}}, {{7, 5, 1, 1}}, options(2, 0), "stride 2");
  add({{1, 1, 1, 1}}, {{1, 1, 1, 1}}, options(1, 0), "");
  add({{1, 1, 1, 1}}, {{2, 1, 3, 3}}, options(1, 1), "padding 1");
  add({{4, 1, 12, 11}}, {{16, 1, 5, 5}}, options(1, 2), "padding 2");
  add({{3, 7, 6}}, {{4, 3, 3, 3}}, options(1, 1), "padding 1");
  add({{2, 33, 9, 9}}, {{17, 33, 3, 3}}, options(1, 1), "padding 1");
  add({{2, 16, 17, 16}, L::channels_last}, {{16, 16, 3, 3}}, options(2, 1), "stride 2, padding 1");
  add({{0, 3, 7, 6}}, {{4, 3, 3, 3}}, options(1, 0), "");
  add({{2, 0, 5, 5}}, {{4, 0, 3, 3}}, options(1, 0), "");
  const Conv2dOptions padded = options(1, 1);
  for (const L layout : {L::contiguous, L::channels_last})
    row.cases.push_back(one(
        "conv2d(x, weight, bias, {padding 1})", {{{2, 3, 5, 6}, layout}, {{4, 3, 3, 3}}, {{4}, L::flipped}},
        [padded](const Tensors& t) { return conv2d(t[0], t[1], t[2], padded); },
        [padded](const Arrays& a) { return convolved(a[0], a[1], &a[2], padded); }));

  row.timed = {timed("conv2d(x, weight, bias, {padding 1})", {timed_images(), {{64, 64, 3, 3}}, {{64}}},
                     [padded](const Tensors& t) { return conv2d(t[0], t[1], t[2], padded); })};
  const auto call = [](const Shape& x, const Shape& w, const Conv2dOptions& o = {}, const Tensor& bias = {}) {
    return [=](const Tensors&) { return conv2d(zeros(x), zeros(w), bias, o); };
  };
  row.errors = {
      shape_error(call({2, 4, 6, 6}, {6, 3, 3, 3}), {"(2, 4, 6, 6)", "(6, 3, 3, 3)", "channels"}),
      shape_error(call({2, 4, 6, 6}, {5, 2, 3, 3}, options(1, 0, 1, 2)), {"(5, 2, 3, 3)", "5", "2 groups"}),
      shape_error(call({2, 5, 6, 6}, {4, 2, 3, 3}, options(1, 0, 1, 2)), {"(2, 5, 6, 6)", "4", "groups"}),
      shape_error(call({2, 3, 4, 9}, {4, 3, 7, 3}, options(1, 1)), {"(2, 3, 4, 9)", "(4, 3, 7, 3)", "7", "6"}),
      shape_error(call({2, 3, 9, 4}, {4, 3, 3, 3}, options(1, 0, {1, 2})), {"(2, 3, 9, 4)", "5", "4"}),
      shape_error(call({2, 3}, {4, 3, 3, 3}), {"(2, 3)", "(N, C, H, W)"}),
      shape_error(call({1, 2, 3, 9, 9}, {4, 3, 3, 3}), {"(1, 2, 3, 9, 9)"}),
      shape_error(call({2, 3, 9, 9}, {4, 3, 3}), {"(4, 3, 3)", "4 dims"}),
      shape_error(call({2, 3, 9, 9}, {4, 3, 0, 3}), {"(4, 3, 0, 3)", "empty"}),
      shape_error(call({2, 3, 9, 9}, {4, 3, 3, 3}, {}, zeros({3})), {"bias", "(3,)", "(4,)"}),
      value_error(call({2, 3, 9, 9}, {4, 3, 3, 3}, options(0, 0)), {"stride", "0", "(2, 3, 9, 9)"}),
      value_error(call({2, 3, 9, 9}, {4, 3, 3, 3}, options(1, {0, -1})), {"padding", "{0, -1}", "(2, 3, 9, 9)"}),
      value_error(call({2, 3, 9, 9}, {4, 3, 3, 3}, options(1, 0, 0)), {"dilation", "0"}),
      value_error(call({2, 3, 9, 9}, {4, 3, 3, 3}, options(1, 0, 1, 0)), {"groups", "0"}),
      value_error(call({2, 3, 9, 9}, {4, 3, 3, 3}, options(std::int64_t{1} << 40, 0)), {"stride", "32 bits"}),
  };
  return row;
}

Row conv_transpose2d_row() {
  Row row{"conv_transpose2d", Family::bilinear, kRefused, {}};
  using Options = ConvTranspose2dOptions;
  const auto add = [&](const Input& x, const Input& w, const Options& o, const std::string& options) {
    row.cases.push_back(one(
        "conv_transpose2d(x, weight, {}, {" + options + "})", {x, w},
        [o](const Tensors& t) { return conv_transpose2d(t[0], t[1], {}, o); },
        [o](const Arrays& a) { return transposed(a[0], a[1], nullptr, o); }));
  };
  const auto options = [](const IntPair& stride, const IntPair& padding, const IntPair& output_padding = 0,
                          std::int64_t groups = 1, const IntPair& dilation = 1) {
    return Options{stride, padding, output_padding, groups, dilation};
  };
  add({{2, 3, 5, 4}}, {{3, 4, 3, 3}}, options(1, 0), "");
  add({{2, 3, 5, 4}, L::channels_last}, {{3, 4, 3, 2}, L::transposed}, options(2, 1), "stride 2, padding 1");
  add({{2, 3, 5, 4}, L::flipped}, {{3, 4, 3, 3}, L::sliced}, options(2, 1, 1), "stride 2, padding 1, output_padding 1");
  add({{2, 4, 5, 4}}, {{4, 3, 2, 3}}, options({3, 2}, 0, {2, 0}, 2), "stride {3, 2}, output_padding {2, 0}, groups 2");
  add({{1, 2, 4, 3}}, {{2, 3, 3, 3}}, options(1, 1, 0, 1, 2), "padding 1, dilation 2");
  add({{1, 2, 4, 3}}, {{2, 3, 3, 2}}, options(1, {0, 2}, {2, 1}, 1, 3),
      "padding {0, 2}, output_padding {2, 1}, dilation 3");
  add({{1, 4, 4, 3}, L::channels_last}, {{4, 1, 3, 3}}, options(2, 0, 0, 4), "stride 2, groups 4");
  add({{3, 4, 3}}, {{3, 2, 2, 2}}, options(2, 0), "stride 2");
  add({{0, 3, 4, 3}}, {{3, 2, 2, 2}}, options(2, 0), "stride 2");
  row.cases.push_back(one(
      "conv_transpose2d(x, weight, bias)", {{{2, 3, 5, 4}}, {{3, 4, 3, 3}}, {{4}, L::sliced}},
      [](const Tensors& t) { return conv_transpose2d(t[0], t[1], t[2]); },
      [](const Arrays& a) { return transposed(a[0], a[1], &a[2], {}); }));

  row.timed = {timed("conv_transpose2d(x, weight, bias)", {timed_images(), {{64, 64, 3, 3}}, {{64}}},
                     [](const Tensors& t) { return conv_transpose2d(t[0], t[1], t[2]); })};
  const auto call = [](const Shape& x, const Shape& w, const Options& o = {}, const Tensor& bias = {}) {
    return [=](const Tensors&) { return conv_transpose2d(zeros(x), zeros(w), bias, o); };
  };
  row.errors = {
      shape_error(call({2, 4, 6, 6}, {3, 6, 3, 3}), {"(2, 4, 6, 6)", "(3, 6, 3, 3)", "channels"}),
      shape_error(call({2, 3, 6, 6}, {3, 6, 3, 3}, options(1, 0, 0, 2)), {"(3, 6, 3, 3)", "3", "2"}),
      shape_error(call({2, 3, 1, 6}, {3, 6, 3, 3}, options(1, 2)), {"(2, 3, 1, 6)", "padding", "height"}),
      shape_error(call({2, 3}, {3, 6, 3, 3}), {"(2, 3)", "(N, C, H, W)"}),
      shape_error(call({2, 3, 6, 6}, {3, 6, 3}), {"(3, 6, 3)", "4 dims"}),
      shape_error(call({2, 3, 6, 6}, {3, 6, 3, 3}, {}, zeros({3})), {"bias", "(3,)", "(6,)"}),
      value_error(call({2, 3, 6, 6}, {3, 6, 3, 3}, options(0, 0)), {"stride", "0"}),
      value_error(call({2, 3, 6, 6}, {3, 6, 3, 3}, options(1, -1)), {"padding", "-1"}),
      value_error(call({2, 3, 6, 6}, {3, 6, 3, 3}, options(2, 0, 2)), {"output_padding", "{2, 2}"}),
      value_error(call({2, 3, 6, 6}, {3, 6, 3, 3}, options(2, 0, -1)), {"output_padding", "-1"}),
      value_error(call({2, 3, 6, 6}, {3, 6, 3, 3}, options(1, 0, 0, 0)), {"groups", "0"}),
  };
  return row;
}

// -- pooling ----------------------------------------------------------------------------------------------------------

struct Pool {
  IntPair kernel, stride, padding, dilation;
  bool ceil;
};
std::int64_t pooled(std::int64_t size, const Pool& p, int d) {
  const std::int64_t extent = of(p.dilation, d) * (of(p.kernel, d) - 1) + 1, s = of(p.stride, d),
                     pad = of(p.padding, d);
  std::int64_t count = (size + 2 * pad - extent + (p.ceil ? s - 1 : 0)) / s + 1;
  if ((count - 1) * s >= size + pad) --count;
  return count;
}
/// f(the elements of a window that lie in the image, their positions, the window's place), for each.
template <class F>
Array pool(const Array& input, const Pool& p, F f, std::optional<Dtype> dtype = {}) {
  const Array x = with_batch(input);
  const Shape shape{x.shape[0], x.shape[1], pooled(x.shape[2], p, 0), pooled(x.shape[3], p, 1)};
  return like(input,
              generate(
                  shape,
                  [&](const Dims& at) {
                    std::vector<double> values;
                    std::vector<std::int64_t> positions;
                    for_each_index({p.kernel.height, p.kernel.width}, [&](const Dims& k) {
                      const std::int64_t row = at[2] * p.stride.height + k[0] * p.dilation.height - p.padding.height,
                                         column = at[3] * p.stride.width + k[1] * p.dilation.width - p.padding.width;
                      if (row < 0 || row >= x.shape[2] || column < 0 || column >= x.shape[3]) return;
                      values.push_back(x.at({at[0], at[1], row, column}));
                      positions.push_back(row * x.shape[3] + column);
                    });
                    return f(values, positions, at);
                  },
                  dtype));
}

Domain distinct() {
  Domain domain;
  domain.distinct = true;
  return domain;
}

struct PoolSample {
  Shape shape;
  L layout;
  Pool pool;
  const char* label;
};
std::vector<PoolSample> pool_samples() {
  return {
      {{2, 3, 6, 8}, L::contiguous, {2, 2, 0, 1, false}, "2"},
      {{2, 3, 6, 8}, L::channels_last, {2, 2, 0, 1, false}, "2"},
      {{2, 3, 7, 6}, L::transposed, {{3, 2}, {2, 1}, {1, 0}, 1, false}, "{3, 2}, stride {2, 1}, padding {1, 0}"},
      {{2, 3, 7, 6}, L::sliced, {3, 2, 1, 1, true}, "3, stride 2, padding 1, ceil_mode"},
      {{1, 2, 5, 5}, L::flipped, {2, 2, 1, 1, true}, "2, padding 1, ceil_mode"},
      {{1, 2, 5, 6}, L::contiguous, {2, 3, 0, 1, true}, "2, stride 3, ceil_mode"},
      {{3, 5, 4}, L::contiguous, {2, 1, 0, 1, false}, "2, stride 1"},
      {{1, 1, 1, 1}, L::contiguous, {1, 1, 0, 1, false}, "1"},
      {{2, 70, 4, 4}, L::channels_last, {2, 2, 0, 1, false}, "2"},
      {{0, 3, 4, 4}, L::contiguous, {2, 2, 0, 1, false}, "2"},
      {{3, 17, 30, 46}, L::channels_last, {3, 2, 1, 1, false}, "3, stride 2, padding 1"},
  };
}

/// Both rows of max pooling.
Row max_pool_row(const char* name, bool with_indices) {
  Row row{name, Family::composite, kRefused, {}};
  const auto add = [&](const Input& x, const Pool& p, const std::string& label) {
    const MaxPool2dOptions o{p.stride, p.padding, p.dilation, p.ceil};
    row.cases.push_back({std::string(name) + "(x, " + label + ")",
                         {x},
                         [=](const Tensors& t) {
                           if (!with_indices) return Tensors{max_pool2d(t[0], p.kernel, o)};
                           const ValuesIndices result = max_pool2d_with_indices(t[0], p.kernel, o);
                           return Tensors{result.values, result.indices};
                         },
                         [=](const Arrays& a) {
                           Arrays results = {pool(a[0], p, [](const auto& values, const auto&, const Dims&) {
                             return *std::max_element(values.begin(), values.end());
                           })};
                           if (with_indices)
                             results.push_back(pool(
                                 a[0], p,
                                 [](const auto& values, const auto& positions, const Dims&) {
                                   const auto best = std::max_element(values.begin(), values.end()) - values.begin();
                                   return static_cast<double>(positions[static_cast<std::size_t>(best)]);
                                 },
                                 int64));
                           return results;
                         }});
  };
  for (const PoolSample& s : pool_samples()) add({s.shape, s.layout, distinct()}, s.pool, s.label);
  add({{1, 2, 9, 8}, distinct()}, {3, 1, 2, 2, false}, "3, stride 1, padding 2, dilation 2");
  add({{1, 2, 9, 8}, L::channels_last, distinct()}, {{2, 3}, 2, 0, {3, 1}, true},
      "{2, 3}, stride 2, dilation {3, 1}, ceil_mode");

  row.timed = {timed(row.name + "(x, 2)", {timed_images()}, [with_indices](const Tensors& t) {
    return with_indices ? max_pool2d_with_indices(t[0], 2).values : max_pool2d(t[0], 2);
  })};
  const auto call = [with_indices](const Shape& x, IntPair kernel, const MaxPool2dOptions& o = {}) {
    return [=](const Tensors&) {
      return with_indices ? max_pool2d_with_indices(zeros(x), kernel, o).values : max_pool2d(zeros(x), kernel, o);
    };
  };
  row.errors = {
      shape_error(call({2, 3, 4, 4}, 5), {"(2, 3, 4, 4)", "5", "height"}),
      shape_error(call({2, 3, 4, 4}, 2, {{}, 0, {1, 4}, false}), {"(2, 3, 4, 4)", "5", "width"}),
      shape_error(call({2, 3}, 2), {"(2, 3)", "(N, C, H, W)"}),
      shape_error(call({2, 3, 0, 4}, {2, 2}, {{}, 1, 1, false}), {"(2, 3, 0, 4)", "empty"}),
      value_error(call({2, 3, 4, 4}, 0), {"kernel_size", "0", "(2, 3, 4, 4)"}),
      value_error(call({2, 3, 4, 4}, 2, {0, 0, 1, false}), {"stride", "0", "(2, 3, 4, 4)"}),
      value_error(call({2, 3, 4, 4}, 2, {{}, -1, 1, false}), {"padding", "-1", "(2, 3, 4, 4)"}),
      value_error(call({2, 3, 4, 4}, 2, {{}, 2, 1, false}), {"padding", "2", "half"}),
      value_error(call({2, 3, 4, 4}, 2, {{}, 0, 0, false}), {"dilation", "0"}),
      // Its elements lie before and behind the image.
      shape_error(call({2, 3, 9, 4}, 2, {{}, 1, 5, false}), {"(2, 3, 9, 4)", "width", "dilation 5", "padding 1"}),
  };
  return row;
}

Row avg_pool2d_row() {
  Row row{"avg_pool2d", Family::composite, kRefused, {}};
  for (const PoolSample& s : pool_samples())
    for (const bool count_pad : {true, false})
      for (const std::int64_t divisor : {0, 3}) {
        if (divisor && count_pad) continue;
        const Pool p = s.pool;
        AvgPool2dOptions o{p.stride, p.padding, p.ceil, count_pad, {}};
        if (divisor) o.divisor_override = divisor;
        row.cases.push_back(one(
            std::string("avg_pool2d(x, ") + s.label +
                (count_pad ? ")"
                 : divisor ? ", divisor_override 3)"
                           : ", no pad)"),
            {{s.shape, s.layout}}, [=](const Tensors& t) { return avg_pool2d(t[0], p.kernel, o); },
            [=](const Arrays& a) {
              const int rank = a[0].shape.size();
              return pool(a[0], p, [&](const auto& values, const auto&, const Dims& at) {
                double sum = 0, count = 1;
                for (double value : values) sum += value;
                for (int d = 0; d < 2; ++d) {
                  const std::int64_t begin = at[2 + d] * of(p.stride, d) - of(p.padding, d);
                  count *= static_cast<double>(
                      std::min(begin + of(p.kernel, d), a[0].shape[rank - 2 + d] + of(p.padding, d)) - begin);
                }
                if (!count_pad) count = static_cast<double>(values.size());
                return sum / (divisor ? static_cast<double>(divisor) : count);
              });
            }));
      }
  row.timed = {timed("avg_pool2d(x, 2)", {timed_images()}, [](const Tensors& t) { return avg_pool2d(t[0], 2); })};
  const auto call = [](const Shape& x, IntPair kernel, const AvgPool2dOptions& o = {}) {
    return [=](const Tensors&) { return avg_pool2d(zeros(x), kernel, o); };
  };
  row.errors = {
      shape_error(call({2, 3, 4, 4}, {2, 5}), {"(2, 3, 4, 4)", "5", "width"}),
      shape_error(call({3}, 2), {"(3,)", "(N, C, H, W)"}),
      value_error(call({2, 3, 4, 4}, -1), {"kernel_size", "-1"}),
      value_error(call({2, 3, 4, 4}, 2, {{0, 1}, 0, false, true, {}}), {"stride", "{0, 1}"}),
      value_error(call({2, 3, 4, 4}, 2, {{}, -1, false, true, {}}), {"padding", "-1"}),
      value_error(call({2, 3, 4, 4}, 3, {{}, 2, false, true, {}}), {"padding", "2", "half"}),
      value_error(call({2, 3, 4, 4}, 2, {{}, 0, false, true, 0}), {"divisor_override", "(2, 3, 4, 4)"}),
  };
  return row;
}

Row adaptive_avg_pool2d_row() {
  Row row{"adaptive_avg_pool2d", Family::composite, kRefused, {}};
  struct Sample {
    Shape shape;
    L layout;
    IntPair size;
  };
  for (const Sample& s : {Sample{{2, 3, 6, 8}, L::contiguous, {2, 4}}, Sample{{2, 3, 6, 8}, L::channels_last, 1},
                          Sample{{2, 3, 7, 5}, L::channels_last, {3, 2}}, Sample{{2, 3, 7, 5}, L::sliced, {1, 4}},
                          Sample{{3, 4, 4}, L::flipped, 3}, Sample{{1, 2, 3, 3}, L::transposed, 5},
                          Sample{{1, 2, 3, 4}, L::contiguous, {-1, 2}}, Sample{{2, 65, 4, 4}, L::contiguous, 1}})
    row.cases.push_back(one(
        "adaptive_avg_pool2d(x, " + std::to_string(s.size.height) + " x " + std::to_string(s.size.width) + ")",
        {{s.shape, s.layout}}, [s](const Tensors& t) { return adaptive_avg_pool2d(t[0], s.size); },
        [s](const Arrays& a) {
          const Array x = with_batch(a[0]);
          const std::int64_t rows = s.size.height < 0 ? x.shape[2] : s.size.height, columns = s.size.width;
          return like(a[0], generate({x.shape[0], x.shape[1], rows, columns}, [&](const Dims& at) {
                        const auto begin = [&](int d, std::int64_t n) { return at[d] * x.shape[d] / n; };
                        const auto end = [&](int d, std::int64_t n) {
                          return static_cast<std::int64_t>(
                              std::ceil(static_cast<double>((at[d] + 1) * x.shape[d]) / static_cast<double>(n)));
                        };
                        double sum = 0, count = 0;
                        for (std::int64_t i = begin(2, rows); i < end(2, rows); ++i)
                          for (std::int64_t j = begin(3, columns); j < end(3, columns); ++j, ++count)
                            sum += x.at({at[0], at[1], i, j});
                        return sum / count;
                      }));
        }));
  row.timed = {timed("adaptive_avg_pool2d(x, 1)", {timed_images()},
                     [](const Tensors& t) { return adaptive_avg_pool2d(t[0], 1); })};
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return adaptive_avg_pool2d(zeros({2, 3}), 1);
          },
          {"(2, 3)", "(N, C, H, W)"}),
      shape_error(
          [](const Tensors&) {
            return adaptive_avg_pool2d(zeros({2, 3, 0, 4}), 1);
          },
          {"(2, 3, 0, 4)", "empty"}),
      value_error(
          [](const Tensors&) {
            return adaptive_avg_pool2d(zeros({2, 3, 4, 4}), {0, 2});
          },
          {"output_size", "{0, 2}", "(2, 3, 4, 4)"}),
  };
  return row;
}

}  // namespace

std::vector<Row> convolution_rows() {
  return {conv2d_row(),
          conv_transpose2d_row(),
          max_pool_row("max_pool2d", false),
          max_pool_row("max_pool2d_with_indices", true),
          avg_pool2d_row(),
          adaptive_avg_pool2d_row()};
}

}  // namespace adjoint::table
