// Recording: a node for each operation.
#include "core/thread_state.hpp"
#include "engine/engine.hpp"
#include "engine/execute.hpp"
#include "engine/profiler.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace adjoint::detail {
const Operation kLeaf{"leaf", Family::leaf, execute_alias};
const Operation kScalar{"scalar", Family::leaf, nullptr};

bool is_addressable(const Shape& shape) noexcept {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 8;
  std::int64_t elements = 1;
  for (std::int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(elements, std::max<std::int64_t>(1, size), &elements) || elements > kMost)
      return false;
  return true;
}

namespace {

// Out of the way of all that do not need them.
[[noreturn, gnu::noinline]] void throw_too_large(const Operation& operation, const Shape& shape) {
  throw ShapeError(std::string(operation.name) + ": the result of shape " + to_string(shape) +
                   " has more elements than can be addressed");
}
[[gnu::noinline]] void note_module(Node& node, const ThreadState& state) {
  node.rare().module_path = state.module_path();
}

}  // namespace

Tensor record(const Operation& operation, const Shape& shape, Dtype dtype, Node* const* inputs, int count,
              const void* attributes, std::size_t attribute_bytes) {
  const bool is_an_inputs = (count > 0 && &shape == &inputs[0]->shape) || (count > 1 && &shape == &inputs[1]->shape);
  if (!is_an_inputs && !is_addressable(shape)) throw_too_large(operation, shape);
  ThreadState& state = ThreadState::get();
  bool requires_grad = false;
  std::uint8_t reads = 0;
  if (state.grad_enabled && is_floating(dtype)) {
    for (int i = 0; i < count; ++i) {
      if (!inputs[i]->requires_grad || !(operation.differentiable >> std::min(i, 7) & 1)) continue;
      requires_grad = true;
      reads |= operation.reads[std::min(i, 2)];
    }
  }
  Node* node = Node::make(operation, shape, dtype);
  Tensor result = Access::take(node);
  if (attribute_bytes) node->set_attribute_bytes(attributes, attribute_bytes);
  node->requires_grad = requires_grad;
  node->reads = reads;
  if (state.checkpoints && (state.grad_enabled || state.records_again)) node->set_checkpoints(state.checkpoints);
  if (state.scope && (operation.can_fail || ThreadProfile::is_running())) note_module(*node, state);
  register_pending(*node, inputs, count, state);
  if (state.eager) evaluate(&node, 1);
  else bound_pending(state);
  return result;
}

Tensor record(const Operation& operation, const Shape& shape, Dtype dtype, const Tensor* inputs, int count,
              const void* attributes, std::size_t attribute_bytes) {
  constexpr int kFew = 8;
  Node* few[kFew];
  List<Node*> many;
  Node** nodes = few;
  if (count > kFew) {
    many.resize(static_cast<std::size_t>(count));
    nodes = many.data();
  }
  for (int i = 0; i < count; ++i) nodes[i] = Access::node(inputs[i], operation.name);
  return record(operation, shape, dtype, nodes, count, attributes, attribute_bytes);
}

Tensor record_again(const Node& node, const std::vector<Tensor>& inputs) {
  return record(*node.operation, node.shape, node.dtype, inputs.data(), static_cast<int>(inputs.size()),
                node.attribute_bytes(), Node::kAttributeBytes);
}

Tensor scalar_node(Scalar value, Dtype dtype) {
  Node* node = Node::make(kScalar, Shape{}, dtype);
  node->allocate_value();
  store_number(value, dtype, node->value.data);
  node->set_computed();
  return Access::take(node);
}

Tensor storage_node(Storage* storage, const Shape& shape, Dtype dtype) {
  Node* node = Node::make(kLeaf, shape, dtype);
  node->value = Value{storage->data(), storage, row_major_strides(shape)};
  node->set_computed();
  return Access::take(node);
}

Tensor snapshot(const Tensor& tensor) { return Access::share(Access::node(tensor)); }

Tensor detached(const Tensor& tensor) {
  ThreadState& state = ThreadState::get();
  bound_pending(state);
  Node* source = Access::node(tensor, "detach");
  Node* node = Node::make(kLeaf, source->shape, source->dtype);
  Tensor result = Access::take(node);
  if (source->is_computed() && is_small_part(*source)) {  // as slices are: it may be kept for long
    node->allocate_value();
    copy_row_major(size_of(node->dtype), node->shape, source->value.data, source->value.strides, node->value.data);
    node->set_computed();
    return result;
  }
  node->take_value_of(source);
  if (state.eager && !node->is_computed()) evaluate(&node, 1);
  return result;
}

}  // namespace adjoint::detail
