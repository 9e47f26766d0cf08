#include "builders.hpp"

#include <algorithm>
#include <cmath>

namespace adjoint::table {

namespace {

constexpr Dtype kDtypes[] = {float32, float64, int64, int32, uint8, bool_};

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> list{{}, {1}, {7}, {0}, {2, 0, 3}, {4, 5}, {2, 3, 1, 4}, {513}, {kLarge}};
  return list;
}

Array filled(const Shape& shape, double value, Dtype dtype) {
  return generate(
      shape, [&](const Dims&) { return stored(value, dtype); }, dtype);
}

Case without_inputs(std::string label, std::function<Tensor()> call, Array expected) {
  return one(
      std::move(label), {}, [call = std::move(call)](const Tensors&) { return call(); },
      [expected = std::move(expected)](const Arrays&) { return expected; });
}

Row constant(const char* name, Tensor (*operation)(const Shape&, Dtype), double value) {
  Row row{name, Family::creation, kKept, {}};
  for (const Shape& shape : shapes()) {
    row.cases.push_back(without_inputs(
        std::string(name) + "(" + to_string(shape) + ", dtype)", [=] { return operation(shape, float32); },
        filled(shape, value, float32)));
    for (Dtype dtype : kDtypes)
      row.cases.push_back(without_inputs(
          std::string(name) + "(" + to_string(shape) + ", " + adjoint::name_of(dtype) + ")",
          [=] { return operation(shape, dtype); }, filled(shape, value, dtype)));
  }
  row.errors = {shape_error([operation](const Tensors&) { return operation({2, -1}, float32); }, {"(2, -1)"})};
  return row;
}

Row constant_like(const char* name, Tensor (*operation)(const Tensor&, std::optional<Dtype>), double value) {
  Row row{name, Family::creation, kKept, {}};
  for (Layout layout : {Layout::contiguous, Layout::transposed, Layout::expanded}) {
    row.cases.push_back(one(
        std::string(name) + "(x)", {{{4, 5}, layout}}, [operation](const Tensors& x) { return operation(x[0], {}); },
        [value](const Arrays& x) { return map(x, [=](const double*) { return value; }); }));
    row.cases.push_back(one(
        std::string(name) + "(x, int32)", {{{0, 5}, layout}},
        [operation](const Tensors& x) { return operation(x[0], int32); },
        [value](const Arrays& x) { return filled(x[0].shape, value, int32); }));
  }
  return row;
}

Row full_row() {
  Row row{"full", Family::creation, kKept, {}};
  for (const Shape& shape : shapes()) {
    row.cases.push_back(without_inputs(
        "full(shape, 2.5)", [=] { return full(shape, 2.5); }, filled(shape, 2.5, float32)));
    row.cases.push_back(without_inputs(
        "full(shape, 7)", [=] { return full(shape, 7); }, filled(shape, 7, int64)));
    row.cases.push_back(without_inputs(
        "full(shape, true)", [=] { return full(shape, true); }, filled(shape, 1, bool_)));
    for (Dtype dtype : kDtypes)
      row.cases.push_back(without_inputs(
          std::string("full(shape, 3, ") + adjoint::name_of(dtype) + ")", [=] { return full(shape, 3, dtype); },
          filled(shape, 3, dtype)));
  }
  row.errors = {
      shape_error([](const Tensors&) { return full({-2}, 1); }, {"(-2,)"}),
      value_error([](const Tensors&) { return full({2}, 256, uint8); }, {"256", "uint8"}),
      value_error([](const Tensors&) { return full({2}, std::int64_t{1} << 40, int32); }, {"int32"}),
  };
  return row;
}

Row full_like_row() {
  Row row{"full_like", Family::creation, kKept, {}};
  row.cases = {
      one(
          "full_like(x, 3)", {{{4, 5}, Layout::transposed}}, [](const Tensors& x) { return full_like(x[0], 3); },
          [](const Arrays& x) { return map(x, [](const double*) { return 3.0; }); }),
      one(
          "full_like(x, 2.5, float32)", {{{513}}}, [](const Tensors& x) { return full_like(x[0], 2.5, float32); },
          [](const Arrays& x) { return filled(x[0].shape, 2.5, float32); }),
  };
  return row;
}

Row tensor_row() {
  Row row{"tensor", Family::creation, kKept, {}};
  const Array matrix{{2, 3}, {1, 2, 3, 4, 5, 6}, int64};
  row.cases = {
      without_inputs(
          "tensor({{1, 2, 3}, {4, 5, 6}})",
          [] {
            return tensor({{1, 2, 3}, {4, 5, 6}});
          },
          matrix),
      without_inputs("tensor({{1, 2, 3}, {4, 5, 6}}, uint8)",
                     [] {
                       return tensor({{1, 2, 3}, {4, 5, 6}}, uint8);
                     },
                     {{2, 3}, matrix.values, uint8}),
      without_inputs("tensor({0.5, 1.0})",
                     [] {
                       return tensor({0.5, 1.0});
                     },
                     {{2}, {0.5, 1}, float32}),
      without_inputs("tensor({1, 0.5})",
                     [] {
                       return tensor({1, 0.5});
                     },
                     {{2}, {1, 0.5}, float32}),
      without_inputs("tensor({0.1, 1e300}, float64)",
                     [] {
                       return tensor({0.1, 1e300}, float64);
                     },
                     {{2}, {0.1, 1e300}, float64}),
      without_inputs("tensor({true, false})",
                     [] {
                       return tensor({true, false});
                     },
                     {{2}, {1, 0}, bool_}),
      without_inputs("tensor(3)", [] { return tensor(3); }, {{}, {3}, int64}),
      without_inputs("tensor(2.5f)", [] { return tensor(2.5f); }, {{}, {2.5}, float32}),
      without_inputs("tensor({{{1.5}}, {{2.5}}})",
                     [] {
                       return tensor({{{1.5}}, {{2.5}}});
                     },
                     {{2, 1, 1}, {1.5, 2.5}, float32}),
      without_inputs("tensor(vector<double>)",
                     [] {
                       return tensor(std::vector<double>{0.1, 0.2});
                     },
                     {{2}, {0.1, 0.2}, float64}),
      without_inputs("tensor(vector<bool>)",
                     [] {
                       return tensor(std::vector<bool>{true, false});
                     },
                     {{2}, {1, 0}, bool_}),
      without_inputs("tensor(vector<int32>)", [] { return tensor(std::vector<std::int32_t>{}); }, {{0}, {}, int32}),
  };
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return tensor({{1, 2}, {3}});
          },
          {"ragged"}),
      shape_error(
          [](const Tensors&) {
            return tensor({{1, 2}, 3});
          },
          {"ragged"}),
      shape_error(
          [](const Tensors&) {
            return tensor({1, {2, 3}});
          },
          {"ragged"}),
  };
  return row;
}

Row from_blob_row() {
  static const double values[] = {1, 2, 3, 4, 5, 6};
  Row row{"from_blob", Family::creation, kKept, {}};
  row.cases = {
      without_inputs("from_blob(data, {2, 3})",
                     [] {
                       return from_blob(values, {2, 3});
                     },
                     {{2, 3}, {1, 2, 3, 4, 5, 6}, float64}),
      without_inputs("from_blob(data, {0})", [] { return from_blob(values, {0}); }, {{0}, {}, float64}),
      without_inputs("from_blob(data, {6}, deleter)",
                     [] {
                       return from_blob(new std::int32_t[3]{7, 8, 9}, {3}, [](std::int32_t* p) { delete[] p; });
                     },
                     {{3}, {7, 8, 9}, int32}),
  };
  row.errors = {
      shape_error(
          [](const Tensors&) {
            return from_blob(values, {-2, 3});
          },
          {"(-2, 3)"}),
      value_error([](const Tensors&) { return from_blob(static_cast<const float*>(nullptr), {2}); }, {"(2,)"}),
  };
  return row;
}

Row eye_row() {
  Row row{"eye", Family::creation, kKept, {}};
  for (const Shape& shape : {Shape{3, 3}, Shape{2, 4}, Shape{4, 2}, Shape{0, 3}, Shape{1, 1}, Shape{27, 41}})
    for (Dtype dtype : kDtypes)
      row.cases.push_back(without_inputs(
          "eye(n, m, dtype)", [=] { return eye(shape[0], shape[1], dtype); },
          generate(
              shape, [](const Dims& i) { return i[0] == i[1]; }, dtype)));
  row.cases.push_back(without_inputs(
      "eye(5)", [] { return eye(5); },
      generate(
          {5, 5}, [](const Dims& i) { return i[0] == i[1]; }, float32)));
  row.errors = {shape_error([](const Tensors&) { return eye(-1); }, {"-1"})};
  return row;
}

Array progression(double start, double step, std::int64_t count, Dtype dtype) {
  return generate(
      {count}, [&](const Dims& i) { return start + step * static_cast<double>(i[0]); }, dtype);
}

Row arange_row() {
  Row row{"arange", Family::creation, kKept, {}};
  row.cases = {
      without_inputs(
          "arange(5)", [] { return arange(5); }, progression(0, 1, 5, int64)),
      without_inputs(
          "arange(2.5)", [] { return arange(2.5); }, progression(0, 1, 3, float32)),
      without_inputs(
          "arange(0)", [] { return arange(0); }, progression(0, 1, 0, int64)),
      without_inputs(
          "arange(2, 9)", [] { return arange(2, 9); }, progression(2, 1, 7, int64)),
      without_inputs(
          "arange(2, 9, 3)", [] { return arange(2, 9, 3); }, progression(2, 3, 3, int64)),
      without_inputs(
          "arange(2, 8, 3)", [] { return arange(2, 8, 3); }, progression(2, 3, 2, int64)),
      without_inputs(
          "arange(9, 2, -3)", [] { return arange(9, 2, -3); }, progression(9, -3, 3, int64)),
      without_inputs(
          "arange(0, 1, 0.25)", [] { return arange(0, 1, 0.25); }, progression(0, 0.25, 4, float32)),
      without_inputs(
          "arange(0, 5, 1, float64)", [] { return arange(0, 5, 1, float64); }, progression(0, 1, 5, float64)),
      without_inputs(
          "arange(0, 5, 1, int32)", [] { return arange(0, 5, 1, int32); }, progression(0, 1, 5, int32)),
      without_inputs(
          "arange(0, 5, 1, uint8)", [] { return arange(0, 5, 1, uint8); }, progression(0, 1, 5, uint8)),
      without_inputs(
          "arange(large)", [] { return arange(kLarge); }, progression(0, 1, kLarge, int64)),
  };
  row.errors = {
      value_error([](const Tensors&) { return arange(0, 5, 0); }, {"step"}),
      value_error([](const Tensors&) { return arange(0, 5, -1); }, {"step"}),
      value_error([](const Tensors&) { return arange(5.0, 0.0, 0.5); }, {"step"}),
      value_error([](const Tensors&) { return arange(0, INFINITY, 0.5); }, {"inf"}),
      value_error([](const Tensors&) { return arange(0, NAN); }, {"nan"}),
  };
  return row;
}

Row linspace_row() {
  Row row{"linspace", Family::creation, kKept, {}};
  for (std::int64_t steps : {2, 5, 513, 1025})
    for (Dtype dtype : {float32, float64})
      row.cases.push_back(without_inputs(
          "linspace(-1, 3, steps, dtype)", [=] { return linspace(-1, 3, steps, dtype); },
          progression(-1, 4 / static_cast<double>(steps - 1), steps, dtype)));
  row.cases.push_back(without_inputs("linspace(2, 5, 1)", [] { return linspace(2, 5, 1); }, {{1}, {2}, float32}));
  row.cases.push_back(without_inputs("linspace(2, 5, 0)", [] { return linspace(2, 5, 0); }, {{0}, {}, float32}));
  row.errors = {value_error([](const Tensors&) { return linspace(0, 1, -1); }, {"-1"})};
  return row;
}

// -- random -----------------------------------------------------------------------------------------------------------

/// Lies in [low, high], and mean and variance are within five standard deviations of what they should be.
Property distribution(double low, double high, double mean, double variance, double fourth_moment) {
  return [=](const Arrays&, const Arrays& outputs) -> std::string {
    const std::vector<double>& x = outputs[0].values;
    const auto n = static_cast<double>(x.size());
    double sum = 0, squares = 0;
    for (double v : x) {
      if (!(v >= low && v <= high)) return std::to_string(v) + " does not lie within its bounds";
      sum += v;
      squares += (v - mean) * (v - mean);
    }
    if (n < 100) return {};
    if (std::abs(sum / n - mean) > 5 * std::sqrt(variance / n)) return "the mean is " + std::to_string(sum / n);
    if (std::abs(squares / n - variance) > 5 * std::sqrt((fourth_moment - variance * variance) / n) + 1e-12)
      return "the variance is " + std::to_string(squares / n);
    return {};
  };
}

Case random_case(std::string label, std::vector<Input> inputs,
                 const std::function<Tensor(const Tensors&, Generator&)>& call, const Property& property,
                 const Shape& shape, Dtype dtype) {
  Case result{std::move(label),
              std::move(inputs),
              [call](const Tensors& x) {
                Generator generator(42);
                return Tensors{call(x, generator)};
              },
              {}};
  result.property = [=](const Arrays& x, const Arrays& outputs) -> std::string {
    if (outputs[0].shape != shape) return "the shape is " + to_string(outputs[0].shape);
    if (outputs[0].dtype != dtype) return std::string("the dtype is ") + adjoint::name_of(*outputs[0].dtype);
    return property(x, outputs);
  };
  return result;
}

Row real_random(const char* name, Tensor (*operation)(const Shape&, Dtype, Generator&), const Property& property) {
  Row row{name, Family::random, kKept, {}};
  for (Dtype dtype : {float32, float64})
    for (const Shape& shape : shapes())
      row.cases.push_back(random_case(
          std::string(name) + "(shape, " + adjoint::name_of(dtype) + ")", {},
          [=](const Tensors&, Generator& generator) { return operation(shape, dtype, generator); }, property, shape,
          dtype));
  row.errors = {
      shape_error(
          [operation](const Tensors&) {
            return operation({2, -1}, float32, default_generator());
          },
          {"(2, -1)"}),
      dtype_error([operation](const Tensors&) { return operation({2}, int64, default_generator()); }, {"int64"}),
  };
  return row;
}

Row randint_row() {
  Row row{"randint", Family::random, kKept, {}};
  // Of the numbers -2 .. 4: mean 1, variance 4, fourth moment 2 (81 + 16 + 1) / 7.
  const Property property = distribution(-2, 4, 1, 4, 28);
  for (Dtype dtype : {int64, int32, float32, float64})
    for (const Shape& shape : shapes())
      row.cases.push_back(random_case(
          std::string("randint(-2, 5, shape, ") + adjoint::name_of(dtype) + ")", {},
          [=](const Tensors&, Generator& generator) { return randint(-2, 5, shape, dtype, generator); },
          [property](const Arrays& x, const Arrays& y) -> std::string {
            for (double v : y[0].values)
              if (v != std::floor(v)) return std::to_string(v) + " is not whole";
            return property(x, y);
          },
          shape, dtype));
  row.errors = {
      value_error([](const Tensors&) { return randint(3, 3, {2}); }, {"3", "low", "high"}),
      shape_error([](const Tensors&) { return randint(0, 3, {-2}); }, {"(-2,)"}),
  };
  return row;
}

Row bernoulli_row() {
  Row row{"bernoulli", Family::random, kRefused, {}};
  Domain quarter;
  quarter.choices = {0.25};
  for (const Shape& shape : shapes()) {
    Case one_case = random_case(
        "bernoulli(0.25)", {{shape, Layout::transposed, quarter, float32}},
        [](const Tensors& x, Generator& generator) { return bernoulli(x[0], generator); },
        [](const Arrays& x, const Arrays& y) -> std::string {
          for (double v : y[0].values)
            if (v != 0 && v != 1) return std::to_string(v) + " is neither 0 nor 1";
          // The fourth moment of a coin with p = 1/4 about its mean.
          return distribution(0, 1, 0.25, 0.1875, 0.25 * 0.31640625 + 0.75 * 0.00390625)(x, y);
        },
        shape, float32);
    row.cases.push_back(one_case);
  }
  Domain certain;
  certain.choices = {0, 1};
  row.cases.push_back(one(
      "bernoulli of certainties", {{{1025}, certain}}, [](const Tensors& x) { return bernoulli(x[0]); },
      [](const Arrays& x) { return x[0]; }));
  return row;
}

Row randperm_row() {
  Row row{"randperm", Family::random, kKept, {}};
  for (std::int64_t n : {std::int64_t{0}, std::int64_t{1}, std::int64_t{7}, std::int64_t{1025}, kLarge})
    row.cases.push_back(random_case(
        "randperm(" + std::to_string(n) + ")", {},
        [=](const Tensors&, Generator& generator) { return randperm(n, generator); },
        [](const Arrays&, const Arrays& y) -> std::string {
          std::vector<double> sorted = y[0].values;
          std::sort(sorted.begin(), sorted.end());
          for (std::size_t i = 0; i < sorted.size(); ++i)
            if (sorted[i] != static_cast<double>(i)) return std::to_string(i) + " is missing";
          return sorted.size() > 100 && sorted == y[0].values ? "nothing was moved" : "";
        },
        {n}, int64));
  row.errors = {value_error([](const Tensors&) { return randperm(-1); }, {"-1"})};
  return row;
}

}  // namespace

std::vector<Row> creation_rows() {
  return {
      tensor_row(),
      from_blob_row(),
      constant("zeros", zeros, 0),
      constant("ones", ones, 1),
      constant("empty", empty, 0),
      full_row(),
      constant_like("zeros_like", zeros_like, 0),
      constant_like("ones_like", ones_like, 1),
      constant_like("empty_like", empty_like, 0),
      full_like_row(),
      eye_row(),
      arange_row(),
      linspace_row(),
  };
}

std::vector<Row> random_rows() {
  return {
      real_random("rand", rand, distribution(0, 1 - 1e-9, 0.5, 1.0 / 12, 1.0 / 80)),
      real_random("randn", randn, distribution(-9, 9, 0, 1, 3)),
      randint_row(),
      bernoulli_row(),
      randperm_row(),
  };
}

}  // namespace adjoint::table
