#include <adjoint/data/metrics.hpp>
#include <adjoint/ops/elementwise.hpp>
#include <adjoint/ops/reduction.hpp>
#include <adjoint/xtensor.hpp>

#include <algorithm>
#include <cstdio>
#include <ostream>

#include <xtensor/xmath.hpp>
#include <xtensor/xtensor.hpp>

namespace adjoint::data {

namespace {

void check_classes(const char* operation, const char* argument, const Tensor& classes) {
  if (!is_integral(classes.dtype()))
    throw DtypeError(std::string(operation) + ": " + argument + " are " + name_of(classes.dtype()) +
                     "; they have to be integers");
  if (classes.dim() != 1)
    throw ShapeError(std::string(operation) + ": " + argument + " have shape " + to_string(classes.shape()) +
                     "; they have to have one dim");
}

}  // namespace

double accuracy(const Tensor& logits, const Tensor& labels) {
  check_classes("accuracy", "labels", labels);
  if (logits.dim() != 2 || logits.size(0) != labels.size(0))
    throw ShapeError("accuracy: logits have shape " + to_string(logits.shape()) + ", labels " +
                     to_string(labels.shape()) + "; they have to be [n, classes] and [n]");
  if (logits.size(0) == 0) throw ValueError("accuracy: there are no rows");
  const Tensor right = sum(argmax(logits, 1) == labels.to(int64));
  return static_cast<double>(right.item<std::int64_t>()) / static_cast<double>(labels.size(0));
}

Tensor confusion_matrix(const Tensor& predictions, const Tensor& labels, std::int64_t classes) {
  check_classes("confusion_matrix", "predictions", predictions);
  check_classes("confusion_matrix", "labels", labels);
  if (predictions.shape() != labels.shape())
    throw ShapeError("confusion_matrix: predictions have shape " + to_string(predictions.shape()) + ", labels " +
                     to_string(labels.shape()) + "; they have to be the same");
  constexpr std::int64_t kMostClasses = 1 << 20;  // a matrix of 8 TB; beyond, its size would overflow
  if (classes < 1 || classes > kMostClasses)
    throw ValueError("confusion_matrix: classes is " + std::to_string(classes) + "; it has to be in [1, " +
                     std::to_string(kMostClasses) + "]");
  const std::vector<std::int64_t> predicted = predictions.to(int64).to_vector<std::int64_t>();
  const std::vector<std::int64_t> expected = labels.to(int64).to_vector<std::int64_t>();
  const auto size = static_cast<std::size_t>(classes);
  xt::xtensor<std::int64_t, 2> counts = xt::zeros<std::int64_t>({size, size});
  for (std::size_t i = 0; i < expected.size(); ++i) {
    for (std::int64_t value : {predicted[i], expected[i]})
      if (value < 0 || value >= classes)
        throw ValueError("confusion_matrix: class " + std::to_string(value) + " at position " + std::to_string(i) +
                         " is outside [0, " + std::to_string(classes) + ")");
    ++counts(static_cast<std::size_t>(expected[i]), static_cast<std::size_t>(predicted[i]));
  }
  return from_xtensor(std::move(counts));
}

void print_confusion_matrix(std::ostream& out, const Tensor& matrix, const std::vector<std::string>& names) {
  if (matrix.dim() != 2 || matrix.size(0) != matrix.size(1))
    throw ShapeError("print_confusion_matrix: the matrix has shape " + to_string(matrix.shape()) +
                     "; it has to be [classes, classes]");
  if (!names.empty() && static_cast<std::int64_t>(names.size()) != matrix.size(0))
    throw ValueError("print_confusion_matrix: there are " + std::to_string(names.size()) + " names for " +
                     std::to_string(matrix.size(0)) + " classes");
  const auto counts = as_xtensor<std::int64_t>(matrix);
  const xt::xtensor<std::int64_t, 1> totals = xt::sum(counts, {1});
  const std::size_t classes = counts.shape(0);

  std::vector<std::string> rows = names;
  for (std::size_t i = rows.size(); i < classes; ++i) rows.push_back(std::to_string(i));
  std::size_t name_width = std::string("label").size(), cell_width = 4;
  for (const std::string& name : rows) name_width = std::max(name_width, name.size());
  for (std::int64_t count : counts) cell_width = std::max(cell_width, std::to_string(count).size());

  const auto right_aligned = [](const std::string& text, std::size_t width) {
    return std::string(width - std::min(width, text.size()), ' ') + text;
  };
  out << right_aligned("label", name_width) << " |";
  for (const std::string& name : rows) out << ' ' << right_aligned(name.substr(0, cell_width), cell_width);
  out << " | right\n";
  for (std::size_t i = 0; i < classes; ++i) {
    out << right_aligned(rows[i], name_width) << " |";
    for (std::size_t j = 0; j < classes; ++j) out << ' ' << right_aligned(std::to_string(counts(i, j)), cell_width);
    char share[32] = "    -";
    if (totals(i) > 0)
      std::snprintf(share, sizeof share, "%5.3f", static_cast<double>(counts(i, i)) / static_cast<double>(totals(i)));
    out << " | " << share << '\n';
  }
}

}  // namespace adjoint::data
