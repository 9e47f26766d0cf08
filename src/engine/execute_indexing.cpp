// Positions: of indices, and of elements in order.
#include "engine/execute.hpp"
#include "engine/threads.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <string>

namespace adjoint::detail {

void execute_positions(Node& node) {
  const Node& index = *node.input(0);
  const auto& [operation, dim, size, from_end] = node.attributes<PositionAttributes>();
  const std::int64_t n = adjoint::numel(node.shape), least = from_end ? -size : 0;
  node.allocate_value();
  auto* positions = static_cast<std::int64_t*>(node.value.data);
  kernels::load(sizeof(std::int64_t), index.shape, {index.value.data, index.value.strides}, 0, n, positions);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t position = positions[i];
    if (position < least || position >= size)
      throw ValueError(std::string(operation) + ": index " + std::to_string(position) + " at position " +
                       std::to_string(i) + " of the index of shape " + to_string(index.shape) +
                       " is out of range: dim " + std::to_string(dim) + " has size " + std::to_string(size) +
                       ", so it must lie in [" + std::to_string(least) + ", " + std::to_string(size) + ")");
    positions[i] = position < 0 ? position + size : position;
  }
}

void execute_last_at(Node& node) {
  const Node& numbers = *node.input(0);
  node.allocate_value();
  auto* last = static_cast<std::int64_t*>(node.value.data);
  std::fill_n(last, adjoint::numel(node.shape), -1);
  const std::int64_t n = adjoint::numel(numbers.shape);
  std::int64_t tile[kernels::kTile];
  for (std::int64_t first = 0; first < n; first += kernels::kTile) {
    const std::int64_t length = std::min(kernels::kTile, n - first);
    kernels::load(sizeof(std::int64_t), numbers.shape, {numbers.value.data, numbers.value.strides}, first, length,
                  tile);
    for (std::int64_t i = 0; i < length; ++i) last[tile[i]] = first + i;
  }
}

void execute_order(Node& node) {
  const Node& input = *node.input(0);
  const auto& attributes = node.attributes<OrderAttributes>();
  const int d = static_cast<int>(attributes.dim);
  const bool descending = attributes.descending;
  node.allocate_value();
  const std::int64_t n = input.shape[d], k = node.shape[d];
  if (adjoint::numel(node.shape) == 0) return;
  const Strides& from = input.value.strides;
  const Strides to = row_major_strides(node.shape);
  const std::int64_t rows = adjoint::numel(input.shape) / n, element = static_cast<std::int64_t>(size_of(input.dtype));

  // At most so many chunks, since each has a row of its own to work on.
  constexpr std::int64_t most = 64, grain = kGrain / 8;
  const std::int64_t per_chunk = std::max(std::max<std::int64_t>(1, grain / n), (rows + most - 1) / most);
  const std::int64_t chunks = (rows + per_chunk - 1) / per_chunk;
  const std::size_t bytes = kernels::order_scratch(input.dtype, n);
  Storage* scratch = Storage::allocate(static_cast<std::size_t>(chunks) * bytes);
  parallel_for(chunks, [&](std::int64_t chunk) {
    for (std::int64_t row = chunk * per_chunk; row < std::min(rows, (chunk + 1) * per_chunk); ++row) {
      std::int64_t rest = row, source = 0, target = 0;
      for (int i = node.shape.size() - 1; i >= 0; --i) {
        if (i == d) continue;
        source += rest % node.shape[i] * from[i];
        target += rest % node.shape[i] * to[i];
        rest /= node.shape[i];
      }
      kernels::order(input.dtype, n, k, descending, static_cast<const std::byte*>(input.value.data) + source * element,
                     from[d], static_cast<std::int64_t*>(node.value.data) + target, to[d],
                     static_cast<std::byte*>(scratch->data()) + static_cast<std::size_t>(chunk) * bytes);
    }
  });
  scratch->drop_ref();
}

}  // namespace adjoint::detail
