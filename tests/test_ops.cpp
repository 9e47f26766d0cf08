// Every operation of the public headers, by the operation table: src/ops/table.
#include "kernels/kernels.hpp"
#include "op_check.hpp"
#include "ops/common.hpp"
#include "ops/table/builders.hpp"

#include <doctest/doctest.h>
#include <adjoint/adjoint.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>

using namespace adjoint;
using check::Failures;
using table::Row;

namespace {

void expect_none(const Failures& failures) {
  std::string all;
  for (const std::string& failure : failures) all += "\n  " + failure;
  CHECK_MESSAGE(failures.empty(), all);
}

template <class Check>
void for_all_rows(const Check& check) {
  for (const Row& row : table::rows()) {
    CAPTURE(row.name);
    expect_none(check(row));
  }
}

}  // namespace

// The kernels choose by the processor, or by ADJOINT_ISA: ctest runs this program once for each instruction set.
TEST_CASE("the instruction set is the one asked for") {
  const char* wanted = std::getenv("ADJOINT_ISA");
  if (!wanted) return;
  if (!kernels::table(wanted)) {
    MESSAGE("this processor lacks ", std::string(wanted));
    return;
  }
  CHECK(std::string(kernels::table().name) == wanted);
}

TEST_CASE("values in float64 are the oracle's") {
  for_all_rows([](const Row& row) { return check::values(row, float64); });
}
TEST_CASE("values in float32 are the oracle's") {
  for_all_rows([](const Row& row) { return check::values(row, float32); });
}
TEST_CASE("values of integers and bools are the oracle's, or refused by name") { for_all_rows(check::integers); }
TEST_CASE("derivatives agree in all modes, with differences, and between dtypes") {
  for_all_rows([](const Row& row) { return is_differentiable(row.family) ? check::derivatives(row) : Failures{}; });
}
TEST_CASE("results and gradients have the same bits at any number of threads, looked at or not") {
  for_all_rows([](const Row& row) { return check::bits(row, float64); });
  for_all_rows([](const Row& row) { return check::bits(row, float32); });
}
TEST_CASE("what has no derivative says so") {
  for_all_rows(
      [](const Row& row) { return is_differentiable(row.family) ? Failures{} : check::refuses_derivatives(row); });
}
TEST_CASE("results are values of their own: no assignment reaches from them to an input, or back") {
  for_all_rows(check::assignments);
}
TEST_CASE("errors name the operation, the argument and the shapes") { for_all_rows(check::errors); }

TEST_CASE("every operation of the public headers has a row") {
  expect_none(check::coverage(check::declared_operations(ADJOINT_SOURCE_DIR "/include"), table::rows()));
}

// -- negative controls: each check must notice what it is there for
// -----------------------------------------------------

namespace {

using table::Arrays;
using table::Domain;
using table::Family;
using table::Tensors;

/// A row that pretends that an operation is x -> f(x).
Row pretended(const char* name, Tensor (*operation)(const Tensor&), double (*f)(double),
              Family family = Family::elementwise) {
  return table::unary(name, family, {operation, f}, Domain{}, table::kNoBools);
}
double squared(double x) { return x * x; }
double negated(double x) { return -x; }

/// Every case of the row (but those without elements) must fail for a reason that holds `text`.
void expect_failures(const Failures& failures, const std::string& text) {
  CAPTURE(text);
  CHECK(failures.size() >= 10);
  for (const std::string& failure : failures) CHECK_MESSAGE(failure.find(text) != std::string::npos, failure);
}

// Operations whose rules are wrong, as only the inside of the library can make them.
const detail::Operation kWrongPartial{"neg",
                                      detail::Family::elementwise,
                                      detail::execute_elementwise,
                                      static_cast<std::uint8_t>(kernels::Tile::neg),
                                      false,
                                      1,
                                      {},
                                      [](const detail::Recorded&, int, const Tensor& t) { return t * -1.001; },
                                      nullptr};
const detail::Operation kWrongTranspose{"flip",
                                        detail::Family::linear,
                                        detail::execute_flip,
                                        0,
                                        false,
                                        1,
                                        {},
                                        nullptr,
                                        [](const detail::Recorded&, int, const Tensor& g) { return g; }};

}  // namespace

TEST_CASE("control: a wrong value is noticed") {
  Row row = pretended("abs", square, [](double x) { return x < 0 ? -x : x; });
  row.on_integers = table::kKept;
  expect_failures(check::values(row, float64), "instead of");
  expect_failures(check::values(row, float32), "instead of");
  expect_failures(check::integers(row), "instead of");
}
TEST_CASE("control: a result that is not exact enough is noticed") {
  const Row row = pretended(
      "square", [](const Tensor& x) { return square(x) * (1 + 1e-12); }, squared);
  expect_failures(check::values(row, float64), "off by");
  const Row single = pretended(
      "square", [](const Tensor& x) { return square(x) * (1 + 1e-5); }, squared);
  expect_failures(check::values(single, float32), "off by");
}
TEST_CASE("control: a result that depends on the number of threads, or on when it is computed, is noticed") {
  const auto by_threads = [](const Tensor& x) { return get_num_threads() == 1 ? -x : x * -1.00000001; };
  const Failures failures = check::values(pretended("neg", by_threads, negated), float64);
  REQUIRE(failures.size() == 1);  // the large case
  CHECK(failures[0].find("threads") != std::string::npos);
  const auto by_time = [](const Tensor& x) { return (-x).is_computed() ? x * -1.00000001 : -x; };
  expect_failures(check::values(pretended("neg", by_time, negated), float64), "EagerGuard");
  const Failures of_gradients = check::bits(pretended("neg", by_threads, negated), float64);
  REQUIRE(of_gradients.size() == 1);
  CHECK(of_gradients[0].find("threads") != std::string::npos);
  expect_failures(check::bits(pretended("neg", by_time, negated), float64), "EagerGuard");
}
TEST_CASE("control: a derivative that is wrong although the value is right is noticed") {
  const Row half = pretended(
      "square", [](const Tensor& x) { return x * stop_gradient(x); }, squared);
  expect_none(check::values(half, float64));
  expect_failures(check::derivatives(half), "forward mode against differences");
}
TEST_CASE("control: a wrong partial derivative, the same in both modes, is noticed") {
  const Row row = pretended(
      "neg", [](const Tensor& x) { return detail::record(kWrongPartial, x.shape(), x.dtype(), {x}); }, negated);
  expect_none(check::values(row, float64));
  expect_failures(check::derivatives(row), "forward mode against differences");
}
TEST_CASE("control: a reverse mode that is not the transpose of forward mode is noticed") {
  Row row{"flip", Family::linear, table::kKept, {}};
  for (std::int64_t n : {2, 3, 5, 7, 64, 511, 512, 513, 1000, 1025})
    row.cases.push_back(table::one(
        "flip(x, 0)", {{{n}}},
        [](const Tensors& x) {
          return detail::record(kWrongTranspose, x[0].shape(), x[0].dtype(), {x[0]}, detail::FlipAttributes{1});
        },
        [n](const Arrays& x) {
          return table::moved(x[0], {n}, [n](const Dims& index) { return Dims{n - 1 - index[0]}; });
        }));
  expect_none(check::values(row, float64));
  expect_failures(check::derivatives(row), "<J t, g> against <t, J' g>");
}
TEST_CASE("control: a derivative that is right to first order alone is noticed") {
  const auto tangent_line = [](const Tensor& x) {
    const Tensor at = stop_gradient(x);
    return square(at) + 2.0 * at * (x - at);
  };
  const Row row = pretended("square", tangent_line, squared);
  expect_none(check::values(row, float64));
  expect_failures(check::derivatives(row), "reverse over reverse against differences");
}
TEST_CASE("control: a derivative that is wrong in float32 alone is noticed") {
  const auto rough = [](const Tensor& x) {
    return x.dtype() == float64 ? square(x)
                                : stop_gradient(square(x)) + 2.0002 * stop_gradient(x) * (x - stop_gradient(x));
  };
  expect_failures(check::derivatives(pretended("square", rough, squared)), "float32");
}
TEST_CASE("control: missing and unexpected gradients are noticed") {
  expect_failures(check::derivatives(pretended(
                      "neg", [](const Tensor& x) { return stop_gradient(-x); }, negated)),
                  "");
  expect_failures(check::refuses_derivatives(pretended("neg", neg, negated, Family::non_differentiable)),
                  "the result requires grad");
}
TEST_CASE("control: a result that shares its input's cell is noticed") {
  expect_failures(check::assignments(pretended(
                      "neg", [](const Tensor& x) { return x; }, [](double x) { return x; })),
                  "the result requires grad");
  const auto shared = [](const Tensor& x) {
    Tensor same = x;
    return same.requires_grad_(false);
  };
  Row row = pretended("neg", shared, [](double x) { return x; });
  row.cases.erase(row.cases.begin() + 7, row.cases.begin() + 9);  // without elements nothing can change
  REQUIRE(numel(row.cases[7].inputs[0].shape) > 0);
  expect_failures(check::assignments(row), "changes input 0");
}
TEST_CASE("control: integers that should be refused, or have another dtype, are noticed") {
  Row row = pretended("square", square, squared);
  row.on_integers = table::kRefused;
  expect_failures(check::integers(row), "was not refused");
  row.on_integers = table::kToFloat;
  expect_failures(check::integers(row), "instead of float32");
}
TEST_CASE("control: errors of the wrong type, without names, or too late are noticed") {
  Row row{"add", Family::elementwise, table::kKept, {}};
  const auto add_misfits = [](const Tensors&) { return zeros({2}) + zeros({3}); };
  row.errors = {
      table::shape_error(add_misfits, {"(2,)", "(3,)"}),
      table::value_error(add_misfits, {}),
      table::shape_error(add_misfits, {"(4,)"}),
      table::shape_error([](const Tensors&) { return zeros({2}) + zeros({2}); }, {}),
      table::value_error_when_computed(add_misfits, {}),
      table::value_error([](const Tensors&) { return gather(zeros({2}), 0, tensor({5})); }, {}),
      table::shape_error([](const Tensors&) { return zeros({2}) - zeros({3}); }, {}),
  };
  const Failures failures = check::errors(row);
  REQUIRE(failures.size() == 6);
  const char* reasons[] = {"not a ValueError", "'(4,)' is not in",   "nothing was thrown",
                           "when recorded",    "nothing was thrown", "'add' is not in"};
  for (std::size_t i = 0; i < failures.size(); ++i) CHECK(failures[i].find(reasons[i]) != std::string::npos);
}
TEST_CASE("control: a row left out, invented or doubled is noticed") {
  const std::vector<std::string> declared = check::declared_operations(ADJOINT_SOURCE_DIR "/include");
  CHECK(declared.size() > 100);
  for (const Row& left_out : table::rows()) {
    std::vector<Row> others;
    for (const Row& row : table::rows())
      if (row.name != left_out.name) others.push_back({row.name, row.family, row.on_integers, {row.cases.front()}});
    CHECK(check::coverage(declared, others) == Failures{left_out.name + " has no row in the operation table"});
  }
  std::vector<Row> more = table::rows();
  more.push_back(more.front());
  more.push_back(more.front());
  more.back().name = "invented";
  CHECK(check::coverage(declared, more).size() == 2);
}
