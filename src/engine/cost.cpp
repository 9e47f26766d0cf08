#include "engine/cost.hpp"

#include "engine/execute.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>

namespace adjoint::detail {
namespace {

std::int64_t bytes_of(const Node& node) noexcept { return static_cast<std::int64_t>(node.bytes()); }

/// Of the elements that lie in memory.
std::int64_t distinct_bytes(const Node& node) noexcept {
  if (node.value.strides.size() != node.shape.size()) return bytes_of(node);  // it failed
  std::int64_t elements = 1;
  for (int i = 0; i < node.shape.size(); ++i)
    if (node.value.strides[i] != 0 || node.shape[i] == 0) elements *= node.shape[i];
  return elements * static_cast<std::int64_t>(size_of(node.dtype));
}

/// What is read, each once: the same memory seen in two ways counts once.
class Reads {
 public:
  void add(const Node& node) {
    const void* const at = node.value.storage ? static_cast<const void*>(node.value.storage) : &node;
    const void* const data = node.value.storage ? node.value.data : nullptr;
    const std::int64_t bytes = distinct_bytes(node);
    for (Entry& entry : entries_) {
      if (entry.at != at || entry.data != data) continue;
      entry.bytes = std::max(entry.bytes, bytes);
      return;
    }
    entries_.push_back({at, data, bytes});
  }
  std::int64_t bytes() const noexcept {
    std::int64_t sum = 0;
    for (const Entry& entry : entries_) sum += entry.bytes;
    return sum;
  }

 private:
  struct Entry {
    const void *at, *data;
    std::int64_t bytes;
  };
  List<Entry> entries_;
};

std::int64_t flops_of(const Node& node) {
  const auto execute = node.operation->execute;
  const std::int64_t n = numel(node.shape);
  if (execute == execute_elementwise || execute == execute_cast || execute == execute_cumsum) return n;
  if (execute == execute_reduction) return numel(node.input(0)->shape);
  if (execute == execute_scatter_add) return numel(node.input(2)->shape);
  if (execute == execute_matmul) return 2 * n * node.input(0)->shape.back();
  if (execute == execute_convolution) {
    const kernels::Convolution sizes = convolution_sizes(node);
    return 2 * sizes.batch * sizes.out_channels * sizes.out[0] * sizes.out[1] *
           (sizes.in_channels / std::max<std::int64_t>(1, sizes.groups)) * sizes.kernel[0] * sizes.kernel[1];
  }
  if (execute == execute_pooling) {
    const auto& attributes = node.attributes<PoolingAttributes>();
    const bool spread = static_cast<Pooling>(node.operation->kernel) == Pooling::spread;
    const Node& input = *node.input(0);
    if (attributes.adaptive) return numel(spread ? node.shape : input.shape);
    return numel(spread ? input.shape : node.shape) * attributes.kernel[0] * attributes.kernel[1];
  }
  return 0;
}

Cost cost_of_one(const Node& node) {
  const auto execute = node.operation->execute;
  if (shows_input(node)) return {};
  Cost cost{0, bytes_of(node), flops_of(node)};
  if (is_copied(node)) {
    cost.bytes_read = cost.bytes_written;
    return cost;
  }
  if (execute == execute_checked_index) cost.bytes_written = 0;  // it shows its input
  Reads reads;
  for (int i = 0; i < node.input_count(); ++i) reads.add(*node.input(i));
  cost.bytes_read = reads.bytes();
  // What it takes, not all that there is.
  if (execute == execute_gather)
    cost.bytes_read = distinct_bytes(*node.input(1)) + std::min(distinct_bytes(*node.input(0)), bytes_of(node));
  return cost;
}

}  // namespace

Cost cost_of(Node* const* nodes, int count, const Repeated& repeated) {
  if (count == 1) return cost_of_one(*nodes[0]);
  if (count > kMostMembers) return {};  // new leaves of cells
  for (int i = 0; i < count; ++i) nodes[i]->mark = i;
  const auto is_inside = [&](const Node& node) { return is_member(nodes, count, node); };
  Cost cost;
  Reads reads;
  bool is_moved[kMostMembers] = {}, is_result[kMostMembers] = {};
  find_moved(nodes, count, is_moved);
  find_read_outside(nodes, count, repeated, is_result);
  for (int i = 0; i < count; ++i) {
    const Node& node = *nodes[i];
    if (is_moved[i]) cost += cost_of_one(node);
    for (int k = 0; k < node.input_count() && !is_moved[i]; ++k) {
      const Node* source = node.input(k);
      while (is_inside(*source) && is_moved[source->mark] && !is_copied(*source)) source = source->input(0);
      if (!is_inside(*source) || is_moved[source->mark]) reads.add(*source);
    }
    cost.flops += flops_of(node);
  }
  for (int i = count - 1; i >= 0; --i) {
    const Node& node = *nodes[i];
    if (!is_result[i] || is_moved[i]) continue;
    if (is_movement(fusible_kind(node))) is_result[node.input(0)->mark] = true;
    else cost.bytes_written += bytes_of(node);
  }
  cost.bytes_read += reads.bytes();
  return cost;
}

}  // namespace adjoint::detail
