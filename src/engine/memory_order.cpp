#include "engine/memory_order.hpp"

#include <adjoint/memory.hpp>

#include <atomic>

namespace adjoint::detail {
namespace {

std::atomic<std::int64_t> conversions{0};

}  // namespace

bool is_row_major(const Shape& shape, const Strides& strides) noexcept {
  std::int64_t expected = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    if (shape[i] != 1 && strides[i] != expected) return false;
    expected *= shape[i];
  }
  return true;
}

bool same_places(const Shape& shape, const Strides& a, const Strides& b) noexcept {
  for (int i = 0; i < shape.size(); ++i)
    if (shape[i] != 1 && a[i] != b[i]) return false;
  return true;
}

bool is_channels_last(const Shape& shape, const Strides& strides) noexcept {
  return shape.size() >= 3 && same_places(shape, strides, channels_last_strides(shape));
}

Strides channels_last_strides(const Shape& shape) noexcept {
  Strides strides = Dims::filled(shape.size(), 1);
  std::int64_t run = shape[1];
  for (int i = shape.size() - 1; i >= 2; --i) {
    strides[i] = run;
    run *= shape[i];
  }
  strides[0] = run;
  return strides;
}

MemoryOrder::MemoryOrder(int rank) noexcept : rank_(rank) {
  for (int i = 0; i < rank; ++i) dims_[i] = static_cast<std::int8_t>(i);
}

MemoryOrder::MemoryOrder(const Shape& shape, const Strides& strides) noexcept : MemoryOrder(shape.size()) {
  if (detail::is_row_major(shape, strides) || numel(shape) == 0) return;
  if (is_channels_last(shape, strides)) {  // also where sizes of 1 would allow others
    for (int i = 1; i + 1 < rank_; ++i) dims_[i] = static_cast<std::int8_t>(i + 1);
    dims_[rank_ - 1] = 1;
    row_major_ = false;
    return;
  }
  // By falling strides; a dim of size 1 stays behind the one before it.
  int count = 0;
  std::int8_t sorted[kMaxRank];
  for (int i = 0; i < rank_; ++i) {
    if (shape[i] == 1) continue;
    int at = count++;
    for (; at > 0 && strides[sorted[at - 1]] < strides[i]; --at) sorted[at] = sorted[at - 1];
    sorted[at] = static_cast<std::int8_t>(i);
  }
  std::int64_t expected = 1;
  for (int i = count - 1; i >= 0; --i) {
    if (strides[sorted[i]] != expected) return;
    expected *= shape[sorted[i]];
  }
  int filled = 0;
  const auto put = [&](int dim) {
    dims_[filled++] = static_cast<std::int8_t>(dim);
    for (int next = dim + 1; next < rank_ && shape[next] == 1; ++next) dims_[filled++] = static_cast<std::int8_t>(next);
  };
  if (shape[0] == 1) put(0);
  for (int i = 0; i < count; ++i) put(sorted[i]);
  for (int i = 0; i < rank_; ++i) row_major_ &= dims_[i] == i;
}

MemoryOrder MemoryOrder::of_result(const Node& node, bool same_shape) noexcept {
  const int rank = node.shape.size();
  for (int i = 0; i < node.input_count(); ++i) {
    const Node& input = *node.input(i);
    if (same_shape ? input.shape != node.shape : input.shape.size() != rank) continue;
    const MemoryOrder order(input.shape, input.value.strides);
    if (!order.row_major_) return order;
  }
  return MemoryOrder(rank);
}

Dims MemoryOrder::apply(const Dims& dims) const noexcept {
  Dims result = dims;
  for (int i = 0; i < rank_; ++i) result[i] = dims[dims_[i]];
  return result;
}

Dims MemoryOrder::undo(const Dims& dims) const noexcept {
  Dims result = dims;
  for (int i = 0; i < rank_; ++i) result[dims_[i]] = dims[i];
  return result;
}

int MemoryOrder::position(int dim) const noexcept {
  int at = 0;
  while (dims_[at] != dim) ++at;
  return at;
}

Strides MemoryOrder::strides(const Shape& shape) const noexcept { return undo(row_major_strides(apply(shape))); }

void allocate_in_order(Node& node, const MemoryOrder& order) {
  node.allocate_value();
  if (!order.is_row_major()) node.value.strides = order.strides(node.shape);
}

void count_layout_conversion() noexcept { conversions.fetch_add(1, std::memory_order_relaxed); }
void count_if_channels_last(const Shape& shape, const Strides& strides) noexcept {
  if (shape.size() == 4 && is_channels_last(shape, strides) && !is_row_major(shape, strides)) count_layout_conversion();
}

}  // namespace adjoint::detail

namespace adjoint::memory {

std::int64_t layout_conversions() noexcept { return detail::conversions.load(std::memory_order_relaxed); }

}  // namespace adjoint::memory
