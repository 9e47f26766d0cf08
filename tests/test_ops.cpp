// Every operation of the public headers, by the operation table: src/ops/table.
#include "op_check.hpp"

#include <adjoint/adjoint.hpp>
#include <doctest/doctest.h>

#include <algorithm>

using namespace adjoint;
using check::Failures;
using table::Row;

namespace {

void expect_none(const Failures& failures) {
  for (const std::string& failure : failures) FAIL_CHECK(failure);
}

template <class Check>
void for_all_rows(const Check& check) {
  for (const Row& row : table::rows()) {
    CAPTURE(row.name);
    expect_none(check(row));
  }
}

}  // namespace

TEST_CASE("values in float64 are the oracle's") {
  for_all_rows([](const Row& row) { return check::values(row, float64); });
}
TEST_CASE("values in float32 are the oracle's") {
  for_all_rows([](const Row& row) { return check::values(row, float32); });
}
TEST_CASE("values of integers and bools are the oracle's, or refused by name") {
  for_all_rows(check::integers);
}
TEST_CASE("derivatives agree in all modes, with differences, and between dtypes") {
  for_all_rows([](const Row& row) { return is_differentiable(row.family) ? check::derivatives(row) : Failures{}; });
}
TEST_CASE("what has no derivative says so") {
  for_all_rows(
      [](const Row& row) { return is_differentiable(row.family) ? Failures{} : check::refuses_derivatives(row); });
}
TEST_CASE("errors name the operation, the argument and the shapes") { for_all_rows(check::errors); }

TEST_CASE("every operation of the public headers has a row") {
  expect_none(check::coverage(check::declared_operations(ADJOINT_SOURCE_DIR "/include"), table::rows()));
}
