#include "table.hpp"

#include <iterator>

namespace adjoint::table {

const char* name_of(Layout layout) noexcept {
  constexpr const char* names[] = {"contiguous", "transposed", "sliced", "flipped", "expanded", "channels-last"};
  return names[static_cast<int>(layout)];
}

const char* name_of(ErrorKind kind) noexcept {
  constexpr const char* names[] = {"ShapeError", "DtypeError", "ValueError"};
  return names[static_cast<int>(kind)];
}

const char* name_of(Family family) noexcept {
  constexpr const char* names[] = {"elementwise",        "linear",   "bilinear", "reduction", "composite",
                                   "non-differentiable", "creation", "random",   "helper"};
  return names[static_cast<int>(family)];
}

bool is_differentiable(Family family) noexcept { return family <= Family::composite; }

const std::vector<Row>& rows() {
  static const std::vector<Row> all = [] {
    std::vector<Row> result;
    for (auto* part : {elementwise_rows, comparison_rows, reduction_rows, movement_rows, indexing_rows, sorting_rows,
                       contraction_rows, convolution_rows, composite_rows, normalization_rows, loss_rows, creation_rows,
                       random_rows}) {
      std::vector<Row> more = part();
      std::move(more.begin(), more.end(), std::back_inserter(result));
    }
    return result;
  }();
  return all;
}

}  // namespace adjoint::table
