// Elementwise work: tile by tile, so that strided and broadcast inputs cost a load into the first-level cache.
#include "core/thread_state.hpp"
#include "engine/execute.hpp"
#include "engine/threads.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>

namespace adjoint::detail {
namespace {

using kernels::kTile;

/// An input of tile kernels.
struct Source {
  enum class Kind { contiguous, single, strided } kind;
  const std::byte* data;
  std::size_t element;
  Strides strides;
};

/// `shape` and the result's strides are those in memory.
Source source_of(const Node& input, const Node& node, const MemoryOrder& order, const Shape& shape) {
  const Strides strides = order.apply(broadcast_strides(input.shape, input.value.strides, node.shape));
  Source source{Source::Kind::strided, static_cast<const std::byte*>(input.value.data), size_of(input.dtype), strides};
  bool single = true;
  for (int i = 0; i < shape.size(); ++i) single &= strides[i] == 0 || shape[i] == 1;
  if (is_row_major(shape, strides)) source.kind = Source::Kind::contiguous;
  else if (single) source.kind = Source::Kind::single;
  return source;
}

void allocate_or_take_over(Node& node, const MemoryOrder& order) {
  const Strides strides = order.strides(node.shape);
  for (int i = 0; i < node.input_count(); ++i)
    if (may_be_donated(node, i, strides)) return node.alias_value(node.input(i)->value, 0, strides);
  allocate_in_order(node, order);
}

void run_tiles(Node& node, kernels::TileKernel kernel) {
  const std::int64_t n = numel(node.shape);
  const int count = node.input_count();
  const MemoryOrder order = MemoryOrder::of_result(node, true);
  const Shape shape = order.apply(node.shape);
  Source sources[3];
  for (int i = 0; i < count; ++i) sources[i] = source_of(*node.input(i), node, order, shape);
  allocate_or_take_over(node, order);
  auto* output = static_cast<std::byte*>(node.value.data);
  const std::size_t output_element = size_of(node.dtype);

  const auto run = [&](std::int64_t chunk) {
    alignas(64) std::byte buffers[3][kTile * 8];
    const void* inputs[3];
    bool filled[3] = {};
    const std::int64_t end = std::min(n, (chunk + 1) * kGrain);
    for (std::int64_t first = chunk * kGrain; first < end; first += kTile) {
      const std::int64_t length = std::min(kTile, end - first);
      for (int i = 0; i < count; ++i) {
        const Source& source = sources[i];
        if (source.kind == Source::Kind::contiguous) {
          inputs[i] = source.data + first * static_cast<std::int64_t>(source.element);
          continue;
        }
        inputs[i] = buffers[i];
        if (source.kind == Source::Kind::single && filled[i]) continue;
        filled[i] = true;  // a single element fills its tile once; the first tile of a chunk is the longest
        const kernels::View view{const_cast<std::byte*>(source.data), source.strides};
        kernels::load(source.element, shape, view, first, length, buffers[i]);
      }
      kernel(length, inputs, output + first * static_cast<std::int64_t>(output_element));
    }
  };
  parallel_for((n + kGrain - 1) / kGrain, run);
}

}  // namespace

bool may_be_donated(const Node& node, int i, const Strides& strides) {
  const Node& input = *node.input(i);
  const Storage* storage = input.value.storage;
  return !node.keeps_input(i) && storage && input.uses() == 1 && !input.keeps_own_value() &&
         size_of(input.dtype) == size_of(node.dtype) && input.shape == node.shape &&
         same_places(input.shape, input.value.strides, strides) && !storage->is_shared() && storage->is_writable() &&
         storage->data() == input.value.data && ThreadState::get().donate;
}

void execute_elementwise(Node& node) {
  const auto tile = static_cast<kernels::Tile>(node.operation->kernel);
  const Dtype dtype = node.input(tile == kernels::Tile::where ? 1 : 0)->dtype;
  run_tiles(node, kernels::table().tile[node.operation->kernel][static_cast<int>(dtype)]);
}

void execute_cast(Node& node) {
  run_tiles(node, kernels::table().cast[static_cast<int>(node.input(0)->dtype)][static_cast<int>(node.dtype)]);
}

// -- shared -----------------------------------------------------------------------------------------------------------

Strides broadcast_strides(const Shape& shape, const Strides& strides, const Shape& target) noexcept {
  Strides result = Dims::filled(target.size(), 0);
  const int offset = target.size() - shape.size();
  for (int i = 0; i < shape.size(); ++i)
    if (shape[i] != 1) result[offset + i] = strides[i];
  return result;
}

void copy_row_major(std::size_t element, const Shape& shape, const void* source, const Strides& strides,
                    void* destination) {
  const std::int64_t n = numel(shape);
  const kernels::View view{const_cast<void*>(source), strides};
  parallel_for((n + kGrain - 1) / kGrain, [&](std::int64_t chunk) {
    const std::int64_t first = chunk * kGrain;
    kernels::load(element, shape, view, first, std::min(kGrain, n - first),
                  static_cast<std::byte*>(destination) + first * static_cast<std::int64_t>(element));
  });
}

const void* row_major_data(Node& node) {
  if (node.value.storage == nullptr || is_row_major(node.shape, node.value.strides)) {
    // An inline value of one element is row-major whatever its strides; an inline value seen by more is a broadcast.
    if (adjoint::numel(node.shape) <= 1 || node.value.storage) return node.value.data;
  }
  Rare& rare = node.rare();
  if (!rare.contiguous) {
    count_if_channels_last(node.shape, node.value.strides);
    Storage* copy = Storage::allocate(static_cast<std::size_t>(numel(node.shape)) * size_of(node.dtype));
    copy_row_major(size_of(node.dtype), node.shape, node.value.data, node.value.strides, copy->data());
    rare.contiguous = copy;
  }
  return rare.contiguous->data();
}

}  // namespace adjoint::detail
