#include "builders.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace adjoint::table {

namespace {

using Elements = std::vector<double>;
using Fold = std::function<double(const Elements&)>;

/// What is reduced over which dims.
struct Over {
  Shape shape;
  Layout layout;
  Dims dims;
  bool keepdim;
};

/// Sizes that straddle tiles and chunks along the reduced dim, and across it.
const std::vector<Over>& over_elements() {
  using L = Layout;
  static const std::vector<Over> samples{
      {{}, L::contiguous, {}, false},
      {{}, L::contiguous, {-1}, true},
      {{1}, L::contiguous, {0}, false},
      {{7}, L::contiguous, {}, false},
      {{511}, L::contiguous, {}, true},
      {{513}, L::contiguous, {0}, false},
      {{1025}, L::contiguous, {}, false},
      {{kLarge}, L::contiguous, {}, false},
      {{3, 1025}, L::contiguous, {-1}, false},
      {{1025, 3}, L::contiguous, {0}, false},
      {{7, 10003}, L::contiguous, {1}, true},
      {{10003, 7}, L::contiguous, {0}, true},
      {{137, 513}, L::contiguous, {0}, false},
      {{137, 513}, L::transposed, {0}, false},
      {{2, 513, 3}, L::contiguous, {0, 2}, true},
      {{2, 513, 3}, L::contiguous, {1}, false},
      {{4, 5, 6}, L::transposed, {1}, false},
      {{4, 5, 6}, L::flipped, {-2}, true},
      {{4, 5}, L::contiguous, {-1, 0}, false},
      {{6, 514}, L::sliced, {-1}, false},
      {{514, 6}, L::sliced, {0}, false},
      {{3, 4, 5, 2}, L::transposed, {0, 3}, false},
      {{1, 513}, L::contiguous, {0}, false},
      {{513, 1}, L::contiguous, {1}, false},
      {{5, 8}, L::expanded, {}, false},
      {{5, 8}, L::expanded, {0}, false},
      {{5, 8}, L::expanded, {1}, true},
      {{2, 0, 3}, L::contiguous, {0}, false},
      {{0, 3}, L::transposed, {1}, true},
  };
  return samples;
}
/// Nothing is reduced to something.
const std::vector<Over>& over_nothing() {
  static const std::vector<Over> samples{
      {{0}, Layout::contiguous, {}, false},
      {{2, 0, 3}, Layout::contiguous, {1}, true},
      {{0, 3}, Layout::sliced, {0}, false},
      {{0, 0}, Layout::contiguous, {}, false},
  };
  return samples;
}

/// For the benchmarks: to a number, of rows, and of columns.
const std::vector<Over>& over_timed() {
  static const std::vector<Over> samples{{kTimed, Layout::contiguous, {}, false},
                                         {kTimed, Layout::contiguous, {-1}, false},
                                         {kTimed, Layout::contiguous, {0}, false}};
  return samples;
}

std::string arguments(const Over& over) {
  return (over.dims.empty() ? ", {}" : ", " + to_string(over.dims)) + (over.keepdim ? ", keepdim)" : ")");
}

std::int64_t reduced_count(const Over& over) {
  std::int64_t count = 1;
  for (int i = 0; i < over.shape.size(); ++i) {
    bool reduced = over.dims.empty();
    for (std::int64_t dim : over.dims) reduced |= front(dim, over.shape.size()) == i;
    if (reduced) count *= over.shape[i];
  }
  return count;
}

template <class Operation>
Row reduction(const char* name, Family family, Operation operation, const Fold& fold, const Domain& domain,
              OnIntegers on_integers, const std::vector<std::vector<Over>>& samples, std::optional<Dtype> dtype = {}) {
  Row row{name, family, on_integers, {}};
  for (const std::vector<Over>& list : samples)
    for (const Over& over : list) {
      if (domain.distinct && over.layout == Layout::expanded) continue;
      row.cases.push_back(one(
          std::string(name) + "(x" + arguments(over), {{over.shape, over.layout, domain}},
          [operation, over](const Tensors& x) { return operation(x[0], over.dims, over.keepdim); },
          [fold, over, dtype](const Arrays& x) { return reduce(x[0], over.dims, over.keepdim, fold, dtype); }));
    }
  for (const Over& over : over_timed())
    row.timed.push_back(timed(std::string(name) + "(x" + arguments(over), {{over.shape, domain}},
                              [operation, over](const Tensors& x) { return operation(x[0], over.dims, false); }));
  row.errors = {
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), {2}, false);
          },
          {"2", "(2, 3)"}),
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), {-3}, true);
          },
          {"-3", "(2, 3)"}),
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), {1, -1}, false);
          },
          {"(2, 3)"}),
  };
  return row;
}

double total(const Elements& x) {
  long double sum = 0;  // more exact than what is tested
  for (double v : x) sum += v;
  return static_cast<double>(sum);
}
double average(const Elements& x) { return total(x) / static_cast<double>(x.size()); }
double variance(const Elements& x, int correction) {
  const double center = average(x);
  long double sum = 0;
  for (double v : x) sum += (v - center) * (v - center);
  return static_cast<double>(sum) / std::max(0.0, static_cast<double>(x.size()) - correction);
}
double largest(const Elements& x) { return *std::max_element(x.begin(), x.end()); }
double smallest(const Elements& x) { return *std::min_element(x.begin(), x.end()); }
double where_largest(const Elements& x) {
  return static_cast<double>(std::max_element(x.begin(), x.end()) - x.begin());
}
double where_smallest(const Elements& x) {
  return static_cast<double>(std::min_element(x.begin(), x.end()) - x.begin());
}
double log_of_sum(const Elements& x) {
  double sum = 0;
  for (double v : x) sum += std::exp(v);
  return std::log(sum);
}

/// var and std, with both corrections; std away from the kink of its root.
Row spread(const char* name, Tensor (*operation)(const Tensor&, const DimArg&, std::int64_t, bool), bool root) {
  Row row{name, Family::composite, kRefused, {}};
  for (int correction : {0, 1}) {
    std::vector<Over> samples;
    for (const Over& over : over_elements())
      if (reduced_count(over) > 1 && over.layout != Layout::expanded) samples.push_back(over);
    const Row part = reduction(
        name, Family::composite,
        [operation, correction](const Tensor& x, const Dims& dims, bool keepdim) {
          return operation(x, dims, correction, keepdim);
        },
        [correction, root](const Elements& x) {
          return root ? std::sqrt(variance(x, correction)) : variance(x, correction);
        },
        {}, kRefused, {samples});
    row.cases.insert(row.cases.end(), part.cases.begin(), part.cases.end());
    row.errors = part.errors;
    row.timed = part.timed;
  }
  return row;
}

/// max and min: of everything, and along a dim with positions.
Row extreme(const char* name, Tensor (*of_all)(const Tensor&),
            ValuesIndices (*along)(const Tensor&, std::int64_t, bool), const Fold& fold, const Fold& position) {
  Domain distinct;
  distinct.distinct = true;
  Row row{name, Family::composite, kKept, {}};
  for (const Over& over : over_elements()) {
    if (over.layout == Layout::expanded || over.dims.size() > 1 || (over.dims.empty() && over.keepdim)) continue;
    const std::vector<Input> inputs{{over.shape, over.layout, distinct}};
    if (over.dims.empty()) {
      row.cases.push_back(one(
          std::string(name) + "(x)", inputs, [of_all](const Tensors& x) { return of_all(x[0]); },
          [fold](const Arrays& x) { return reduce(x[0], {}, false, fold); }));
      continue;
    }
    row.cases.push_back({std::string(name) + "(x" + arguments(over), inputs,
                         [along, over](const Tensors& x) {
                           const ValuesIndices result = along(x[0], over.dims[0], over.keepdim);
                           return Tensors{result.values, result.indices};
                         },
                         [fold, position, over](const Arrays& x) {
                           return Arrays{reduce(x[0], over.dims, over.keepdim, fold),
                                         reduce(x[0], over.dims, over.keepdim, position, int64)};
                         }});
  }
  row.timed = {
      timed(std::string(name) + "(x)", {{kTimed, distinct}}, [of_all](const Tensors& x) { return of_all(x[0]); }),
      timed(std::string(name) + "(x, -1)", {{kTimed, distinct}},
            [along](const Tensors& x) { return along(x[0], -1, false).values; })};
  row.errors = {
      shape_error(
          [of_all](const Tensors&) {
            return of_all(zeros({0, 2}));
          },
          {"(0, 2)"}),
      shape_error(
          [along](const Tensors&) {
            return along(zeros({2, 0}), 1, false).values;
          },
          {"(2, 0)"}),
      shape_error(
          [along](const Tensors&) {
            return along(zeros({2, 3}), 2, false).values;
          },
          {"2", "(2, 3)"}),
  };
  return row;
}

Row position_row(const char* name, Tensor (*operation)(const Tensor&, std::optional<std::int64_t>, bool),
                 const Fold& position) {
  Row row{name, Family::non_differentiable, kKept, {}};
  for (const Domain& domain : {Domain{}, whole(0, 3)})  // the second with equals, of which the first wins
    for (const Over& over : over_elements()) {
      if (over.dims.size() > 1) continue;
      std::optional<std::int64_t> dim;
      if (!over.dims.empty()) dim = over.dims[0];
      row.cases.push_back(one(
          std::string(name) + "(x" + arguments(over), {{over.shape, over.layout, domain}},
          [operation, over, dim](const Tensors& x) { return operation(x[0], dim, over.keepdim); },
          [position, over](const Arrays& x) { return reduce(x[0], over.dims, over.keepdim, position, int64); }));
    }
  // Of nothing there is no position, unless nothing is asked for.
  row.cases.erase(std::remove_if(row.cases.begin(), row.cases.end(),
                                 [](const Case& one_case) { return numel(one_case.inputs[0].shape) == 0; }),
                  row.cases.end());
  row.timed = {timed(std::string(name) + "(x, -1)", {kTimed},
                     [operation](const Tensors& x) { return operation(x[0], -1, false); })};
  row.errors = {
      shape_error([operation](const Tensors&) { return operation(zeros({0}), {}, false); }, {"(0,)"}),
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 0}), 1, false);
          },
          {"(2, 0)"}),
      shape_error(
          [operation](const Tensors&) {
            return operation(zeros({2, 3}), 2, false);
          },
          {"2", "(2, 3)"}),
  };
  return row;
}

/// prod: of few numbers, and of many powers of two, whose product is exact; with zeros among them.
Row prod_row() {
  const auto product = [](const Elements& x) {
    return std::accumulate(x.begin(), x.end(), 1.0, [](double a, double b) { return a * b; });
  };
  const auto operation = [](const Tensor& x, const Dims& dims, bool keepdim) { return prod(x, dims, keepdim); };
  std::vector<Over> few{{{kLarge, 3}, Layout::contiguous, {1}, false}}, fewest = few, many;
  for (const Over& over : over_elements()) {
    if (reduced_count(over) <= 3) fewest.push_back(over);
    if (reduced_count(over) <= 8) few.push_back(over);
    else if (reduced_count(over) <= 1100) many.push_back(over);
  }
  Domain powers, zeros_too;
  powers.choices = {-2, -1, -0.5, 0.5, 1, 2};
  zeros_too.choices = {-2, 0, 1, 0.5};
  Row row{"prod", Family::composite, {Result::int64, Result::int64}, {}};
  const auto add = [&](const Domain& domain, const std::vector<Over>& samples, bool floating_only) {
    const Row part =
        reduction("prod", Family::composite, operation, product, domain, row.on_integers, {samples, over_nothing()});
    for (Case sample : part.cases) {
      sample.floating_only = floating_only;
      row.cases.push_back(sample);
    }
    row.errors = part.errors;
  };
  add({-1.5, 2}, few, false);
  add(zeros_too, fewest, false);
  add(powers, many, true);  // integers wrap around
  return row;
}

Row norm_row() {
  Row row{"norm", Family::composite, kRefused, {}};
  const double inf = std::numeric_limits<double>::infinity();
  Domain distinct{1, 5}, not_zero{-2, 2, {0}, 0.3};
  distinct.distinct = true;
  for (double p : {2.0, 1.0, 0.0, 3.0, 0.5, -1.0, inf, -inf}) {
    std::vector<std::vector<Over>> samples{over_elements()};
    if (p >= 0 && p < inf) samples.push_back(over_nothing());
    const Row part = reduction(
        "norm", Family::composite,
        [p](const Tensor& x, const Dims& dims, bool keepdim) { return norm(x, p, dims, keepdim); },
        [p, inf](const Elements& x) {
          if (p == inf) return largest(x);
          if (p == -inf) return smallest(x);
          long double sum = 0;
          for (double v : x) sum += std::pow(std::fabs(static_cast<long double>(v)), static_cast<long double>(p));
          return static_cast<double>(p == 0 ? sum : std::pow(sum, 1 / static_cast<long double>(p)));
        },
        std::isinf(p) ? distinct : not_zero, kRefused, samples);
    for (Case sample : part.cases) {
      sample.label += " for p = " + std::to_string(p);
      row.cases.push_back(sample);
    }
    row.errors = part.errors;
  }
  row.errors.push_back(dtype_error([](const Tensors&) { return norm(zeros({2}, int64)); }, {"(2,)", "int64"}));
  row.errors.push_back(value_error([](const Tensors&) { return norm(zeros({2}), NAN); }, {"p", "nan"}));
  for (double p : {inf, -inf, -1.0})
    row.errors.push_back(shape_error([p](const Tensors&) { return norm(zeros({2, 0}), p, 1); }, {"(2, 0)", "empty"}));
  return row;
}

Row cumsum_row() {
  Row row{"cumsum", Family::linear, {Result::int64, Result::int64}, {}};
  struct Sample {
    Input x;
    int dim;
  };
  using L = Layout;
  const Domain lopsided{-1, 2};
  for (const Sample& s : {Sample{{{7}, lopsided}, 0},
                          Sample{{{}, lopsided}, 0},
                          Sample{{{1}, lopsided}, -1},
                          Sample{{{513}, L::sliced, lopsided}, 0},
                          Sample{{{1025}, L::flipped, lopsided}, -1},
                          Sample{{{kLarge}, lopsided}, 0},
                          Sample{{{4, 7}, L::transposed, lopsided}, 0},
                          Sample{{{4, 7}, L::transposed, lopsided}, 1},
                          Sample{{{5, 1}, lopsided}, 1},
                          Sample{{{5, 4}, L::expanded, lopsided}, 0},
                          Sample{{{2, 3, 4}, L::flipped, lopsided}, 1},
                          Sample{{{3, 4, 5}, L::sliced, lopsided}, 0},
                          Sample{{{3, 4, 5}, L::sliced, lopsided}, -1},
                          Sample{{{3, 2, 3, 4}, L::transposed, lopsided}, 2},
                          Sample{{{1025, 71}, lopsided}, 0},
                          Sample{{{71, 1025}, lopsided}, 1},
                          Sample{{{17, 65, 65}, lopsided}, 1},
                          Sample{{{0}, lopsided}, 0},
                          Sample{{{2, 0, 3}, lopsided}, 0},
                          Sample{{{2, 0, 3}, lopsided}, 1}})
    row.cases.push_back(one(
        "cumsum(x, " + std::to_string(s.dim) + ")", {s.x}, [s](const Tensors& x) { return cumsum(x[0], s.dim); },
        [s](const Arrays& x) {
          Array result = x[0];
          result.dtype.reset();
          std::vector<long double> sums(x[0].values.begin(), x[0].values.end());
          for_each_index(result.shape, [&](Dims index) {
            const int d = front(s.dim, index.size());
            const std::size_t here = result.position(index);
            if (!index.empty() && index[d]-- > 0) sums[here] += sums[result.position(index)];
            result.values[here] = static_cast<double>(sums[here]);
          });
          return result;
        }));
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return cumsum(zeros({2, 3}), 2);
          },
          {"2", "(2, 3)"}),
      shape_error([](const Tensors&) { return cumsum(zeros({}), 1); }, {"1", "()"}),
  };
  return row;
}

void refuse_nothing(Row& row, Tensor (*operation)(const Tensor&, const DimArg&, bool)) {
  row.errors.push_back(shape_error([operation](const Tensors&) { return operation(zeros({0}), {}, false); }, {"(0,)"}));
  row.errors.push_back(shape_error(
      [operation](const Tensors&) {
        return operation(zeros({2, 0}), 1, false);
      },
      {"(2, 0)"}));
}

}  // namespace

std::vector<Row> reduction_rows() {
  using Operation = Tensor (*)(const Tensor&, const DimArg&, bool);
  // Not around 0, so that sums of many are large beside their rounding.
  const Domain lopsided{-1, 2}, truth = whole(0, 1);
  Domain distinct;
  distinct.distinct = true;
  const Operation sum_all = sum, mean_all = mean, amax_all = amax, amin_all = amin, any_all = any, all_all = all,
                  logsumexp_all = logsumexp;
  const auto& elements = over_elements();
  const auto& nothing = over_nothing();
  const OnIntegers summed{Result::int64, Result::int64};
  std::vector<Row> rows{
      reduction("sum", Family::linear, sum_all, total, lopsided, summed, {elements, nothing}),
      prod_row(),
      cumsum_row(),
      norm_row(),
      reduction("mean", Family::composite, mean_all, average, lopsided, kRefused, {elements, nothing}),
      spread("var", var, false),
      spread("std", std, true),
      reduction("amax", Family::reduction, amax_all, largest, distinct, kKept, {elements}),
      reduction("amin", Family::reduction, amin_all, smallest, distinct, kKept, {elements}),
      extreme("max", max, max, largest, where_largest),
      extreme("min", min, min, smallest, where_smallest),
      reduction("logsumexp", Family::composite, logsumexp_all, log_of_sum, {}, kRefused, {elements, nothing}),
      position_row("argmax", argmax, where_largest),
      position_row("argmin", argmin, where_smallest),
      reduction(
          "any", Family::non_differentiable, any_all,
          [](const Elements& x) { return std::any_of(x.begin(), x.end(), [](double v) { return v != 0; }); }, truth,
          kKept, {elements, nothing}, bool_),
      reduction(
          "all", Family::non_differentiable, all_all,
          [](const Elements& x) { return std::all_of(x.begin(), x.end(), [](double v) { return v != 0; }); }, truth,
          kKept, {elements, nothing}, bool_),
  };
  for (Row& row : rows)
    if (row.name == "amax") refuse_nothing(row, amax);
    else if (row.name == "amin") refuse_nothing(row, amin);
  return rows;
}

}  // namespace adjoint::table
