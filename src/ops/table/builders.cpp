#include "builders.hpp"

#include <utility>

namespace adjoint::table {

namespace {

Call several(OneCall call) {
  return [call = std::move(call)](const Tensors& x) { return Tensors{call(x)}; };
}

std::function<Tensors()> without_inputs(OneCall call) {
  return [call = std::move(call)] { return Tensors{call({})}; };
}

}  // namespace

Case one(std::string label, std::vector<Input> inputs, OneCall call, OneOracle oracle) {
  return {std::move(label), std::move(inputs), several(std::move(call)),
          [oracle = std::move(oracle)](const Arrays& x) { return Arrays{oracle(x)}; }};
}

Case one_floating(std::string label, std::vector<Input> inputs, OneCall call, OneOracle oracle) {
  Case result = one(std::move(label), std::move(inputs), std::move(call), std::move(oracle));
  result.floating_only = true;
  return result;
}

Case timed(std::string label, std::vector<Input> inputs, OneCall call) {
  return {std::move(label), std::move(inputs), several(std::move(call)), {}};
}

Input timed_images() { return {{32, 64, 32, 32}, Layout::channels_last}; }

ErrorInput shape_error(OneCall call, std::vector<std::string> mentions) {
  return {ErrorKind::shape, without_inputs(std::move(call)), std::move(mentions)};
}
ErrorInput dtype_error(OneCall call, std::vector<std::string> mentions) {
  return {ErrorKind::dtype, without_inputs(std::move(call)), std::move(mentions)};
}
ErrorInput value_error(OneCall call, std::vector<std::string> mentions) {
  return {ErrorKind::value, without_inputs(std::move(call)), std::move(mentions)};
}
ErrorInput value_error_when_computed(OneCall call, std::vector<std::string> mentions) {
  return {ErrorKind::value, without_inputs(std::move(call)), std::move(mentions), true};
}

std::vector<Input> one_operand(const Domain& domain) {
  using Shapes = std::vector<std::pair<Shape, Layout>>;
  std::vector<Input> inputs;
  for (const auto& [shape, layout] : Shapes{{{}, Layout::contiguous},
                                            {{1}, Layout::contiguous},
                                            {{7}, Layout::contiguous},
                                            {{511}, Layout::contiguous},
                                            {{513}, Layout::contiguous},
                                            {{1025}, Layout::contiguous},
                                            {{kLarge}, Layout::contiguous},
                                            {{0}, Layout::contiguous},
                                            {{2, 0, 3}, Layout::transposed},
                                            {{5, 7}, Layout::transposed},
                                            {{33, 35}, Layout::transposed},
                                            {{3, 1, 4, 2}, Layout::transposed},
                                            {{2, 3, 5, 19}, Layout::channels_last},
                                            {{515}, Layout::sliced},
                                            {{4, 3, 5}, Layout::sliced},
                                            {{1025}, Layout::flipped},
                                            {{2, 3, 4}, Layout::flipped},
                                            {{6, 1}, Layout::expanded},
                                            {{9, 171}, Layout::expanded}})
    if (!domain.distinct || layout != Layout::expanded) inputs.emplace_back(shape, layout, domain);
  return inputs;
}

std::vector<std::vector<Input>> two_operands(const Domain& a, const Domain& b) {
  std::vector<std::vector<Input>> samples;
  for (std::int64_t n :
       {std::int64_t{1}, std::int64_t{7}, std::int64_t{511}, std::int64_t{513}, std::int64_t{1025}, kLarge})
    samples.push_back({{{n}, a}, {{n}, b}});
  const auto add = [&](const Shape& shape_a, Layout layout_a, const Shape& shape_b, Layout layout_b) {
    if ((a.distinct || b.distinct) && (layout_a == Layout::expanded || layout_b == Layout::expanded)) return;
    samples.push_back({{shape_a, layout_a, a}, {shape_b, layout_b, b}});
  };
  add({}, Layout::contiguous, {}, Layout::contiguous);
  add({0}, Layout::contiguous, {1}, Layout::contiguous);
  add({2, 0}, Layout::contiguous, {2, 1}, Layout::transposed);
  add({5, 1}, Layout::contiguous, {1, 7}, Layout::contiguous);
  add({7}, Layout::contiguous, {}, Layout::contiguous);
  add({}, Layout::contiguous, {3, 4}, Layout::transposed);
  add({3, 1, 5}, Layout::sliced, {4, 1}, Layout::flipped);
  add({2, 513}, Layout::contiguous, {513}, Layout::sliced);
  add({513, 1}, Layout::contiguous, {1, 3}, Layout::contiguous);
  add({33, 35}, Layout::transposed, {33, 35}, Layout::contiguous);
  add({2, 3, 5, 19}, Layout::channels_last, {3, 1, 1}, Layout::contiguous);
  add({2, 3, 5, 19}, Layout::contiguous, {2, 3, 5, 19}, Layout::channels_last);
  add({33, 35}, Layout::flipped, {33, 35}, Layout::transposed);
  add({1025}, Layout::sliced, {1025}, Layout::flipped);
  add({6, 5}, Layout::expanded, {6, 5}, Layout::contiguous);
  add({4, 3, 2}, Layout::transposed, {4, 3, 2}, Layout::expanded);
  return samples;
}

Row unary(const char* name, Family family, Unary f, const Domain& domain, OnIntegers on_integers,
          std::optional<Dtype> result) {
  Row row{name, family, on_integers, {}};
  for (const Input& input : one_operand(domain))
    row.cases.push_back(one(
        std::string(name) + "(x)", {input}, [f](const Tensors& x) { return f.operation(x[0]); },
        [f, result](const Arrays& x) {
          return map(
              x, [f](const double* v) { return f.oracle(v[0]); }, result);
        }));
  row.timed = {
      timed(std::string(name) + "(x)", {{kTimed, domain}}, [f](const Tensors& x) { return f.operation(x[0]); })};
  return row;
}

Row binary(const char* name, Family family, Binary f, const Domain& a, const Domain& b, double scalar,
           OnIntegers on_integers, std::optional<Dtype> result) {
  Row row{name, family, on_integers, {}};
  const auto oracle = [f, result](const Arrays& x) {
    return map(
        x, [f](const double* v) { return f.oracle(v[0], v[1]); }, result);
  };
  const std::string text = name;
  for (const std::vector<Input>& inputs : two_operands(a, b))
    row.cases.push_back(one(
        text + "(a, b)", inputs, [f](const Tensors& x) { return f.tensors(x[0], x[1]); }, oracle));
  const Array number{{}, {scalar}, {}};
  for (const Shape& shape : {Shape{}, Shape{0}, Shape{3, 5}, Shape{513}}) {
    const auto away_from = [scalar](Domain domain) {
      if (domain.choices.empty()) domain.kinks.push_back(scalar);
      domain.distinct = false;
      return domain;
    };
    row.cases.push_back(one_floating(
        text + "(a, number)", {{shape, Layout::transposed, away_from(a)}},
        [f, scalar](const Tensors& x) { return f.scalar_right(x[0], scalar); },
        [oracle, number](const Arrays& x) {
          return oracle({x[0], number});
        }));
    row.cases.push_back(one_floating(
        text + "(number, b)", {{shape, Layout::sliced, away_from(b)}},
        [f, scalar](const Tensors& x) { return f.scalar_left(scalar, x[0]); },
        [oracle, number](const Arrays& x) {
          return oracle({number, x[0]});
        }));
  }
  row.timed = {
      timed(text + "(a, b)", {{kTimed, a}, {kTimed, b}}, [f](const Tensors& x) { return f.tensors(x[0], x[1]); })};
  row.errors.push_back(shape_error(
      [f](const Tensors&) {
        return f.tensors(zeros({2, 3}), zeros({2, 4}));
      },
      {"(2, 3)", "(2, 4)"}));
  row.errors.push_back(shape_error(
      [f](const Tensors&) {
        return f.tensors(zeros({3, 2, 1}), zeros({4, 1, 5}));
      },
      {"(3, 2, 1)", "(4, 1, 5)"}));
  return row;
}

}  // namespace adjoint::table
