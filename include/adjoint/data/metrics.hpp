#pragma once

#include <adjoint/tensor.hpp>

#include <iosfwd>
#include <string>
#include <vector>

namespace adjoint::data {

/// The share of rows of `logits` [n, classes] whose largest element stands at the label [n] (integers). Computes.
/// Throws ShapeError for other shapes, DtypeError for labels that are not integers, ValueError for no rows.
ADJOINT_API double accuracy(const Tensor& logits, const Tensor& labels);

/// Counts [classes, classes], int64: row = label, column = prediction. Predictions and labels are integers of one shape
/// [n]. Computes. Throws ShapeError or DtypeError for others, ValueError for a class outside [0, classes).
ADJOINT_API Tensor confusion_matrix(const Tensor& predictions, const Tensor& labels, std::int64_t classes);

/// Prints a confusion matrix as a table, a line for each label, with the share of it that was predicted right. Classes
/// are called by their names, or by their numbers when there are none. Throws ShapeError unless the matrix is square,
/// DtypeError unless int64, ValueError for another number of names.
ADJOINT_API void print_confusion_matrix(std::ostream& out, const Tensor& matrix,
                                        const std::vector<std::string>& names = {});

}  // namespace adjoint::data
