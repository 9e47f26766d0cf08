// The generic test of an operation: everything that a row of the operation table promises. Each function returns what
// is wrong, one line each; nothing when all is well.
#pragma once

#include "ops/table/table.hpp"

#include <string>
#include <vector>

namespace adjoint::check {

using Failures = std::vector<std::string>;

/// Deviations that are accepted, one for each dtype and all operations.
struct Tolerance {
  double value;       // of values from the oracle's
  double derivative;  // of derivatives from those in float64
  double identity;    // between modes, which compute the same in another order
  double difference;  // of derivatives from central differences
};
Tolerance tolerance(Dtype dtype) noexcept;
/// An operation that may deviate more, and why.
struct Exception {
  const char* name;
  Dtype dtype;
  double value;
  const char* reason;
};
const std::vector<Exception>& exceptions();

/// Values, shapes and dtypes against the oracle; the same bits when recorded eagerly and at any thread count; inputs
/// untouched.
Failures values(const table::Row& row, Dtype dtype);
/// The same bits of results and gradients at 1, 2, 3 and 4 threads, and whether or not the results are looked at before
/// the gradients are recorded, or each operation is computed as it is recorded.
Failures bits(const table::Row& row, Dtype dtype);
/// What integers and bools give.
Failures integers(const table::Row& row);
/// In float64: forward mode, reverse mode, and second derivatives in all four ways to nest the two, against each other
/// and against central differences; float32 against float64.
Failures derivatives(const table::Row& row);
/// For operations without a derivative: their results require no grad.
Failures refuses_derivatives(const table::Row& row);
/// Under a NoGradGuard: assigning a result leaves the inputs alone, and the other way round.
Failures assignments(const table::Row& row);
/// The row's error inputs, and undefined tensors.
Failures errors(const table::Row& row);

/// The operations that the public headers below a directory declare: ops/, random.hpp and nn/losses.hpp.
std::vector<std::string> declared_operations(const std::string& include_directory);
/// Declared operations without a row, and rows without a declaration.
Failures coverage(const std::vector<std::string>& declared, const std::vector<table::Row>& rows);

}  // namespace adjoint::check
