// Movement: strides instead of copies.
#include "engine/execute.hpp"
#include "engine/threads.hpp"
#include "kernels/elements.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <cstring>

namespace adjoint::detail {
namespace {

/// Strides that show a strided array in another shape, if there are any: dims that are joined must lie one after the
/// other without gaps.
bool reshaped_strides(const Shape& from, const Strides& strides, const Shape& to, Strides* result) {
  *result = Dims::filled(to.size(), 0);
  int i = from.size() - 1, j = to.size() - 1;
  while (i >= 0 || j >= 0) {
    if (i >= 0 && from[i] == 1) {
      --i;
      continue;
    }
    if (j >= 0 && to[j] == 1) {
      (*result)[j--] = 1;
      continue;
    }
    if (i < 0 || j < 0) return false;
    // A run of `from` dims that lie without gaps, and the `to` dims that share its elements.
    std::int64_t run = from[i], made = 1;
    const std::int64_t inner = strides[i];
    while (made < run || run < made) {
      if (made < run) {
        if (j < 0) return false;
        (*result)[j] = made * inner;
        made *= to[j--];
      } else {
        int outer = i - 1;
        while (outer >= 0 && from[outer] == 1) --outer;
        if (outer < 0 || strides[outer] != strides[i] * from[i]) return false;
        i = outer;
        run *= from[i];
      }
      if (made == run) break;
    }
    --i;
  }
  return true;
}

/// A row-major array around one of its dims: how many there are, its size, and the elements of each position.
struct Around {
  std::int64_t outer, size, inner;
};
Around around(const Shape& shape, int dim) {
  Around result{1, shape[dim], 1};
  for (int i = 0; i < dim; ++i) result.outer *= shape[i];
  for (int i = dim + 1; i < shape.size(); ++i) result.inner *= shape[i];
  return result;
}

/// Blocks of a few elements: by way of a tile, since each load costs as much as many elements.
template <class Bits>
void put_few(const Shape& shape, const kernels::View& source, std::int64_t first, std::int64_t last, std::int64_t block,
             void* output, std::int64_t step) {
  using T = typename Bits::type;
  alignas(64) std::byte memory[kernels::kTile * sizeof(T)];
  auto* tile = reinterpret_cast<T*>(memory);
  T* to = static_cast<T*>(output) + first / block * step;
  for (std::int64_t at = first % block; first < last; first += kernels::kTile) {
    const std::int64_t n = std::min(kernels::kTile, last - first);
    kernels::load(sizeof(T), shape, source, first, n, tile);
    for (std::int64_t i = 0; i < n; ++i) {
      to[at] = tile[i];
      if (++at < block) continue;
      at = 0;
      to += step;
    }
  }
}

/// Puts the elements of an input, in the result's order, into blocks of the result that are `step` elements apart.
void put_blocks(const Node& input, const MemoryOrder& order, std::int64_t blocks, std::int64_t block, std::byte* output,
                std::int64_t step) {
  const std::int64_t total = blocks * block, element = static_cast<std::int64_t>(size_of(input.dtype));
  if (total == 0) return;
  const Shape shape = order.apply(input.shape);
  const kernels::View view{input.value.data, order.apply(input.value.strides)};
  const bool contiguous = is_row_major(shape, view.strides);
  constexpr std::int64_t kFew = 64;
  const std::int64_t per_chunk = std::max<std::int64_t>(1, kGrain / block);  // blocks
  parallel_for((blocks + per_chunk - 1) / per_chunk, [&](std::int64_t chunk) {
    const std::int64_t first = chunk * per_chunk, last = std::min(blocks, first + per_chunk);
    if (contiguous && block >= kFew) {
      for (std::int64_t i = first; i < last; ++i)
        std::memcpy(output + i * step * element, static_cast<const std::byte*>(view.data) + i * block * element,
                    static_cast<std::size_t>(block * element));
    } else if (block >= kFew || blocks == 1) {
      for (std::int64_t i = first; i < last; ++i)
        kernels::load(size_of(input.dtype), shape, view, i * block, block, output + i * step * element);
    } else if (element == 1) {
      put_few<kernels::Bits8>(shape, view, first * block, last * block, block, output, step);
    } else if (element == 4) {
      put_few<kernels::Bits32>(shape, view, first * block, last * block, block, output, step);
    } else {
      put_few<kernels::Bits64>(shape, view, first * block, last * block, block, output, step);
    }
  });
}

// A slice is copied rather than keep alive a storage this many times its size.
constexpr std::size_t kSliceKeeps = 8;

bool is_small_part(const Node& node, const Storage* of) { return of && node.bytes() * kSliceKeeps <= of->bytes(); }

void copy_if_small(Node& node) {
  const Value view = node.value;
  if (!is_small_part(node, view.storage)) return;
  const MemoryOrder order(node.shape, view.strides);
  allocate_in_order(node, order);
  copy_row_major(size_of(node.dtype), order.apply(node.shape), view.data, order.apply(view.strides), node.value.data);
  view.storage->drop_ref();
}

}  // namespace

bool is_copied(const Node& node) {
  const auto execute = node.operation->execute;
  if (execute != execute_reshape && execute != execute_slice) return false;
  const Node& input = *node.input(0);
  if (!input.value.data) return false;  // it failed
  Strides strides;
  if (execute == execute_slice) return is_small_part(node, input.value.storage);
  return adjoint::numel(node.shape) != 0 && !reshaped_strides(input.shape, input.value.strides, node.shape, &strides);
}

bool shows_input(const Node& node) {
  const auto execute = node.operation->execute;
  if (execute == execute_reshape || execute == execute_slice) return !is_copied(node);
  return execute == execute_alias || execute == execute_after || execute == execute_broadcast ||
         execute == execute_permute || execute == execute_flip;
}

void execute_alias(Node& node) {
  const Value& source = node.input(0)->value;
  node.alias_value(source, 0, source.strides);
}

void execute_after(Node& node) { execute_alias(node); }

void execute_reshape(Node& node) {
  const Node& input = *node.input(0);
  Strides strides;
  if (adjoint::numel(node.shape) == 0) {
    node.alias_value(input.value, 0, row_major_strides(node.shape));
  } else if (reshaped_strides(input.shape, input.value.strides, node.shape, &strides)) {
    node.alias_value(input.value, 0, strides);
  } else {
    count_if_channels_last(input.shape, input.value.strides);
    node.allocate_value();
    copy_row_major(size_of(node.dtype), input.shape, input.value.data, input.value.strides, node.value.data);
  }
}

void execute_broadcast(Node& node) {
  const Node& input = *node.input(0);
  node.alias_value(input.value, 0, broadcast_strides(input.shape, input.value.strides, node.shape));
}

void execute_permute(Node& node) {
  const Node& input = *node.input(0);
  const auto& dims = node.attributes<PermuteAttributes>().dims;
  Strides strides = input.value.strides;
  for (int i = 0; i < strides.size(); ++i) strides[i] = input.value.strides[dims[i]];
  node.alias_value(input.value, 0, strides);
}

Strides strides_of_slice(const Node& node) {
  const auto& slice = node.attributes<SliceAttributes>();
  Strides strides = node.input(0)->value.strides;
  strides[static_cast<int>(slice.dim)] *= slice.step;
  return strides;
}

void execute_slice(Node& node) {
  const Node& input = *node.input(0);
  const auto [dim, start, step] = node.attributes<SliceAttributes>();
  const std::int64_t offset = adjoint::numel(node.shape) ? start * input.value.strides[static_cast<int>(dim)] : 0;
  node.alias_value(input.value, offset, strides_of_slice(node));
  copy_if_small(node);
}

void execute_unslice(Node& node) {
  const Node& input = *node.input(0);
  const auto [dim, start, step] = node.attributes<SliceAttributes>();
  const auto element = static_cast<std::int64_t>(size_of(node.dtype));
  const MemoryOrder order = MemoryOrder::of_result(node);
  allocate_in_order(node, order);
  auto* output = static_cast<std::byte*>(node.value.data);
  std::memset(output, 0, static_cast<std::size_t>(adjoint::numel(node.shape) * element));
  const auto [outer, size, inner] = around(order.apply(node.shape), order.position(static_cast<int>(dim)));
  const std::int64_t length = input.shape[static_cast<int>(dim)];
  output += start * inner * element;
  if (step == 1) {
    put_blocks(input, order, outer, length * inner, output, size * inner);
  } else if (outer == 1) {
    put_blocks(input, order, length, inner, output, step * inner);
  } else {
    const Shape shape = order.apply(input.shape);
    const kernels::View view{input.value.data, order.apply(input.value.strides)};
    for (std::int64_t i = 0; i < outer; ++i)
      for (std::int64_t k = 0; k < length; ++k)
        kernels::load(size_of(node.dtype), shape, view, (i * length + k) * inner, inner,
                      output + (i * size + k * step) * inner * element);
  }
}

void execute_flip(Node& node) {
  const Node& input = *node.input(0);
  const std::uint32_t dims = node.attributes<FlipAttributes>().dims;
  Strides strides = input.value.strides;
  std::int64_t offset = 0;
  for (int i = 0; i < strides.size(); ++i)
    if (dims >> i & 1 && input.shape[i] > 0) {
      offset += strides[i] * (input.shape[i] - 1);
      strides[i] = -strides[i];
    }
  node.alias_value(input.value, adjoint::numel(node.shape) ? offset : 0, strides);
}

void execute_cat(Node& node) {
  const int dim = static_cast<int>(node.attributes<CatAttributes>().dim);
  const auto element = static_cast<std::int64_t>(size_of(node.dtype));
  const MemoryOrder order = MemoryOrder::of_result(node);
  allocate_in_order(node, order);
  auto* output = static_cast<std::byte*>(node.value.data);
  const auto [outer, size, inner] = around(order.apply(node.shape), order.position(dim));
  for (int k = 0; k < node.input_count(); ++k) {
    const Node& input = *node.input(k);
    const std::int64_t block = input.shape[dim] * inner;
    put_blocks(input, order, outer, block, output, size * inner);
    output += block * element;
  }
}

}  // namespace adjoint::detail
