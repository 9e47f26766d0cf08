// The order in which the elements of a value lie in memory. A result lies in the order of its inputs where they agree
// on one that is not row-major: activations of a convolution stay channels-last, a transposed matrix stays transposed.
// It depends on shapes, operations and the inputs' strides alone, never on what is looked at.
#pragma once

#include "core/node.hpp"

#include <cstdint>

namespace adjoint::detail {

bool is_row_major(const Shape& shape, const Strides& strides) noexcept;
/// Whether two strides show an array of this shape in the same places.
bool same_places(const Shape& shape, const Strides& a, const Strides& b) noexcept;
/// Whether [N, C, ...] lies as row-major [N, ..., C].
bool is_channels_last(const Shape& shape, const Strides& strides) noexcept;
Strides channels_last_strides(const Shape& shape) noexcept;

/// The dims from the outermost to the innermost in memory.
class MemoryOrder {
 public:
  /// Row-major.
  explicit MemoryOrder(int rank = 0) noexcept;
  /// The order of an array without gaps or repetitions; row-major for any other.
  MemoryOrder(const Shape& shape, const Strides& strides) noexcept;
  /// The order of a node's result: of the first of its inputs, of the result's rank (or shape), that does not lie
  /// row-major.
  static MemoryOrder of_result(const Node& node, bool same_shape = false) noexcept;

  bool is_row_major() const noexcept { return row_major_; }
  friend bool operator==(const MemoryOrder& a, const MemoryOrder& b) noexcept {
    if (a.rank_ != b.rank_) return false;
    for (int i = 0; i < a.rank_; ++i)
      if (a.dims_[i] != b.dims_[i]) return false;
    return true;
  }
  friend bool operator!=(const MemoryOrder& a, const MemoryOrder& b) noexcept { return !(a == b); }
  /// Sizes, strides or positions in the order in memory.
  Dims apply(const Dims& dims) const noexcept;
  /// And back.
  Dims undo(const Dims& dims) const noexcept;
  /// Where a dim is in this order.
  int position(int dim) const noexcept;
  /// Of an array without gaps.
  Strides strides(const Shape& shape) const noexcept;

 private:
  int rank_;
  bool row_major_ = true;
  std::int8_t dims_[kMaxRank];
};

/// Memory for a result that lies in a given order.
void allocate_in_order(Node& node, const MemoryOrder& order);

/// What memory::layout_conversions() tells.
void count_layout_conversion() noexcept;
/// Counts the copy of a value to row-major memory, if it is of activations that lie channels-last.
void count_if_channels_last(const Shape& shape, const Strides& strides) noexcept;

}  // namespace adjoint::detail
