// Indexing, scans, random numbers, ranges, matrix products.
#include "core/thread_state.hpp"
#include "engine/execute.hpp"
#include "engine/threads.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <new>
#include <string>
#include <vector>

namespace adjoint::detail {
namespace {

kernels::View view_of(const Node& node) { return {node.value.data, node.value.strides}; }
kernels::View view_of(const Node& node, const MemoryOrder& order) {
  return {node.value.data, order.apply(node.value.strides)};
}

/// `position` counts in the order in which the index was read.
[[noreturn]] void throw_bad_index(const Node& node, const Node& index, const MemoryOrder& order,
                                  std::int64_t position) {
  const int dim = static_cast<int>(node.attributes<IndexAttributes>().dim);
  const Shape shape = order.apply(index.shape);
  std::int64_t value = 0;
  std::int32_t narrow = 0;
  const bool is_narrow = index.dtype == int32;
  kernels::load(size_of(index.dtype), shape, view_of(index, order), position, 1,
                is_narrow ? static_cast<void*>(&narrow) : &value);
  if (is_narrow) value = narrow;
  Dims at = shape;
  for (int i = shape.size() - 1; i >= 0; --i) {
    at[i] = position % shape[i];
    position /= shape[i];
  }
  at = order.undo(at);
  const Shape& input = node.input(0)->shape;
  const std::int64_t size = input.empty() ? 1 : input[dim];
  throw ValueError(std::string(node.operation->name) + ": index " + std::to_string(value) + " at position " +
                   to_string(at) + " of the index of shape " + to_string(index.shape) + " is out of range: dim " +
                   std::to_string(dim) + " of shape " + to_string(input) + " has size " + std::to_string(size) +
                   ", so it must lie in [0, " + std::to_string(size) + ")");
}

}  // namespace

void execute_gather(Node& node) {
  const Node &input = *node.input(0), &index = *node.input(1);
  const int dim = static_cast<int>(node.attributes<IndexAttributes>().dim);
  const MemoryOrder order = MemoryOrder::of_result(node);
  allocate_in_order(node, order);
  std::int64_t bad = 0;
  if (!kernels::gather(size_of(node.dtype), order.position(dim), order.apply(input.shape), view_of(input, order),
                       index.dtype, order.apply(index.shape), view_of(index, order), node.value.data, &bad))
    throw_bad_index(node, index, order, bad);
}

void execute_scatter_add(Node& node) {
  const Node &input = *node.input(0), &index = *node.input(1), &source = *node.input(2);
  const int dim = static_cast<int>(node.attributes<IndexAttributes>().dim);
  const MemoryOrder order = MemoryOrder::of_result(node);
  if (const Strides strides = order.strides(node.shape); may_be_donated(node, 0, strides)) {
    node.alias_value(input.value, 0, strides);
  } else {
    allocate_in_order(node, order);
    copy_row_major(size_of(node.dtype), order.apply(node.shape), input.value.data, order.apply(input.value.strides),
                   node.value.data);
  }
  std::int64_t bad = 0;
  if (!kernels::scatter_add(node.dtype, order.position(dim), order.apply(node.shape), node.value.data, index.dtype,
                            order.apply(index.shape), view_of(index, order), view_of(source, order), &bad))
    throw_bad_index(node, index, order, bad);
}

void execute_checked_index(Node& node) {
  const Node& index = *node.input(0);
  const auto& [low, high, what] = node.attributes<CheckAttributes>();
  const std::int64_t n = adjoint::numel(index.shape);
  std::int64_t values[kernels::kTile];
  for (std::int64_t first = 0; first < n; first += kernels::kTile) {
    const std::int64_t length = std::min(kernels::kTile, n - first);
    kernels::load(sizeof(std::int64_t), index.shape, view_of(index), first, length, values);
    for (std::int64_t i = 0; i < length; ++i)
      if (values[i] < low || values[i] >= high)
        throw ValueError(std::string(what) + " " + std::to_string(values[i]) + " at position " +
                         std::to_string(first + i) + " of shape " + to_string(index.shape) + " is outside [" +
                         std::to_string(low) + ", " + std::to_string(high) + ")");
  }
  node.alias_value(index.value, 0, index.value.strides);
}

void execute_cumsum(Node& node) {
  const Node& input = *node.input(0);
  const Shape& shape = node.shape;
  const int dim = static_cast<int>(node.attributes<CumsumAttributes>().dim), last = shape.size() - 1;
  node.allocate_value();
  if (adjoint::numel(shape) == 0) return;
  const Strides &strides = input.value.strides, to = row_major_strides(shape);
  // Lines that lie side by side in the result are summed together; the last dim is cut into strips of them.
  constexpr std::int64_t most = 32;
  const std::int64_t n = shape[dim], width = dim == last ? 1 : shape[last], strips = (width + most - 1) / most;
  const std::int64_t jobs = adjoint::numel(shape) / (n * width) * strips;
  const auto element = static_cast<std::int64_t>(size_of(node.dtype));
  const auto run = [&](std::int64_t job) {
    const std::int64_t left = job % strips * most;
    std::int64_t from = dim == last ? 0 : left * strides[last], at = left, rest = job / strips;
    for (int d = last; d >= 0; --d) {
      if (d == dim || d == last) continue;
      from += rest % shape[d] * strides[d];
      at += rest % shape[d] * to[d];
      rest /= shape[d];
    }
    kernels::cumsum(node.dtype, n, std::min(most, width - left),
                    static_cast<const std::byte*>(input.value.data) + from * element, strides[dim], strides[last],
                    static_cast<std::byte*>(node.value.data) + at * element, to[dim]);
  };
  const std::int64_t per_chunk = std::max<std::int64_t>(1, kGrain / (n * std::min(most, width)));
  parallel_for((jobs + per_chunk - 1) / per_chunk, [&](std::int64_t chunk) {
    for (std::int64_t job = chunk * per_chunk; job < std::min(jobs, (chunk + 1) * per_chunk); ++job) run(job);
  });
}

void execute_random(Node& node) {
  const auto& [seed, offset, low, high] = node.attributes<RandomAttributes>();
  const auto kind = static_cast<kernels::Random>(node.operation->kernel);
  node.allocate_value();
  const std::int64_t n = adjoint::numel(node.shape), element = static_cast<std::int64_t>(size_of(node.dtype));
  parallel_for((n + kGrain - 1) / kGrain, [&, seed = seed, offset = offset, low = low, high = high](std::int64_t c) {
    const std::int64_t first = c * kGrain;
    kernels::random(kind, node.dtype, seed, offset, low, high, first, std::min(kGrain, n - first),
                    static_cast<std::byte*>(node.value.data) + first * element);
  });
}

void execute_permutation(Node& node) {
  const auto& attributes = node.attributes<RandomAttributes>();
  node.allocate_value();
  kernels::permutation(attributes.seed, attributes.offset, adjoint::numel(node.shape),
                       static_cast<std::int64_t*>(node.value.data));
}

void execute_iota(Node& node) {
  const auto& attributes = node.attributes<IotaAttributes>();
  node.allocate_value();
  kernels::iota(node.dtype, attributes.start, attributes.step, attributes.integer_start, attributes.integer_step, 0,
                adjoint::numel(node.shape), node.value.data);
}

kernels::Matrix last_two_dims(const Node& node) noexcept {
  const int rank = node.shape.size();
  return {node.value.data, node.value.strides[rank - 2], node.value.strides[rank - 1]};
}

namespace {

/// Writes a node's product to `result`, or adds it to what is there.
void multiply(const Node& node, void* result, bool add) {
  const Node &a = *node.input(0), &b = *node.input(1);
  const int rank = node.shape.size();
  const std::int64_t m = node.shape[rank - 2], n = node.shape[rank - 1], k = a.shape[rank - 1];
  const auto element = static_cast<std::int64_t>(size_of(node.dtype));
  const kernels::Matrix left = last_two_dims(a), right = last_two_dims(b);
  std::int64_t batch = 1;
  for (int i = 0; i < rank - 2; ++i) batch *= node.shape[i];
  if (batch == 0 || m == 0 || n == 0) return;
  // Many products are spread over the threads; one, or a few large ones, are so within.
  constexpr std::int64_t worth_a_chunk = std::int64_t{1} << 18;
  const bool is_many = batch > 1 && m * n < 8 * worth_a_chunk / std::max<std::int64_t>(k, 1);
  const std::int64_t per_chunk = !is_many ? batch : worth_a_chunk / std::max<std::int64_t>(m * n * k, 1) + 1;
  const std::int64_t chunks = (batch + per_chunk - 1) / per_chunk;
  const std::size_t bytes = (kernels::matmul_scratch(node.dtype, m, n, k, left, right, add) + 63) / 64 * 64;
  Storage* const scratch = bytes > 0 ? Storage::allocate(bytes * static_cast<std::size_t>(team_size(chunks))) : nullptr;
  parallel_for_team(chunks, [&](std::int64_t chunk, int thread) {
    for (std::int64_t i = chunk * per_chunk; i < std::min(batch, (chunk + 1) * per_chunk); ++i) {
      std::int64_t at_a = 0, at_b = 0;
      for (std::int64_t d = rank - 3, rest = i; d >= 0; --d) {
        const std::int64_t position = rest % node.shape[static_cast<int>(d)];
        rest /= node.shape[static_cast<int>(d)];
        at_a += position * a.value.strides[static_cast<int>(d)];
        at_b += position * b.value.strides[static_cast<int>(d)];
      }
      const auto moved = [&](kernels::Matrix x, std::int64_t at) {
        x.data = static_cast<const std::byte*>(x.data) + at * element;
        return x;
      };
      kernels::matmul(
          node.dtype, m, n, k, moved(left, at_a), moved(right, at_b),
          static_cast<std::byte*>(result) + i * m * n * element,
          scratch ? static_cast<std::byte*>(scratch->data()) + static_cast<std::size_t>(thread) * bytes : nullptr, add);
    }
  });
  if (scratch) scratch->drop_ref();
}

}  // namespace

void execute_matmul(Node& node) {
  node.allocate_value();
  multiply(node, node.value.data, false);
}

bool execute_added_product(Node* const* nodes, int count) {
  Node &product = *nodes[0], &sum = *nodes[count - 1];
  const Node& other = *sum.input(0);
  const Storage* const storage = other.value.storage;
  const auto has_failed = [](const Node* node) { return node->state() == State::failed; };
  if (has_failed(&other) || has_failed(product.input(0)) || has_failed(product.input(1)) || !storage ||
      !storage->is_writable() || storage->data() != other.value.data || other.uses() != 1 || storage->is_shared() ||
      other.keeps_own_value() || sum.keeps_input(0) || !ThreadState::get().donate)
    return false;
  bool done = false;
  try {
    // Where the product would lie, as the sum sees it.
    product.alias_value(other.value, 0, row_major_strides(product.shape));
    for (int i = 1; i < count - 1 && nodes[i - 1]->value.data; ++i)
      if (nodes[i]->operation->execute != execute_reshape || !is_copied(*nodes[i]))
        nodes[i]->operation->execute(*nodes[i]);
    const Value& seen = nodes[count - 2]->value;
    if (seen.storage == storage && same_places(sum.shape, seen.strides, other.value.strides)) {
      sum.alias_value(other.value, 0, other.value.strides);
      multiply(product, other.value.data, true);
      done = true;
    }
  } catch (const std::bad_alloc&) {  // apart they need less
  }
  for (int i = 0; i < count - done; ++i) nodes[i]->forget_value();
  return done;
}

}  // namespace adjoint::detail
