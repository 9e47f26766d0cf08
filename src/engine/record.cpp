// Recording: a node for each operation.
#include "core/thread_state.hpp"
#include "engine/engine.hpp"

#include <algorithm>
#include <limits>

namespace adjoint::detail {
namespace {

void execute_leaf(Node& node) {
  const Value& source = node.input(0)->value;
  node.alias_value(source, 0, source.strides);
}

template <class T>
void put(Node& node, T value) {
  *static_cast<T*>(node.value.data) = value;
}

}  // namespace

const Operation kLeaf{"leaf", Family::leaf, execute_leaf};
const Operation kScalar{"scalar", Family::leaf, nullptr};

bool is_addressable(const Shape& shape) noexcept {
  std::int64_t elements = 1;
  for (std::int64_t size : shape) {
    if (size < 0 || elements > std::numeric_limits<std::int64_t>::max() / 8 / std::max<std::int64_t>(1, size))
      return false;
    if (size > 0) elements *= size;
  }
  return true;
}

Tensor record(const Operation& operation, const Shape& shape, Dtype dtype, const Tensor* inputs, int count,
              const void* attributes, std::size_t attribute_bytes) {
  if (!is_addressable(shape))
    throw ShapeError(std::string(operation.name) + ": the result of shape " + to_string(shape) +
                     " has more elements than can be addressed");
  bound_pending();
  const ThreadState& state = ThreadState::get();
  constexpr int kFew = 8;
  Node* few[kFew];
  std::vector<Node*> many;
  Node** nodes = few;
  if (count > kFew) {
    many.resize(static_cast<std::size_t>(count));
    nodes = many.data();
  }
  bool requires_grad = false;
  std::uint8_t reads = 0;
  for (int i = 0; i < count; ++i) {
    nodes[i] = Access::node(inputs[i], operation.name);
    if (state.grad_enabled && nodes[i]->requires_grad && (operation.differentiable >> std::min(i, 7) & 1)) {
      requires_grad = true;
      reads |= operation.reads[std::min(i, 2)];
    }
  }
  Node* node = Node::make(operation, shape, dtype);
  Tensor result = Access::take(node);
  if (attribute_bytes) node->set_attribute_bytes(attributes, attribute_bytes);
  node->requires_grad = requires_grad && is_floating(dtype);
  node->reads = reads;
  if (count) node->set_inputs(nodes, count);
  if (operation.can_fail && state.scope) node->rare().module_path = state.module_path();
  register_pending(*node);
  if (state.eager) evaluate(&node, 1);
  return result;
}

Tensor record_again(const Node& node, const std::vector<Tensor>& inputs) {
  return record(*node.operation, node.shape, node.dtype, inputs.data(), static_cast<int>(inputs.size()),
                node.attribute_bytes(), Node::kAttributeBytes);
}

Tensor scalar_node(Scalar value, Dtype dtype) {
  Node* node = Node::make(kScalar, Shape{}, dtype);
  node->allocate_value();
  switch (dtype) {
    case Dtype::float32:
      put(*node, static_cast<float>(value.to_double()));
      break;
    case Dtype::float64:
      put(*node, value.to_double());
      break;
    case Dtype::int64:
      put(*node, value.to_int64());
      break;
    case Dtype::int32:
      put(*node, static_cast<std::int32_t>(value.to_int64()));
      break;
    case Dtype::uint8:
      put(*node, static_cast<std::uint8_t>(value.to_int64()));
      break;
    case Dtype::bool_:
      put(*node, value.is_floating() ? value.to_double() != 0 : value.to_int64() != 0);
      break;
  }
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
  bound_pending();
  Node* source = Access::node(tensor, "detach");
  Node* node = Node::make(kLeaf, source->shape, source->dtype);
  Tensor result = Access::take(node);
  if (source->is_computed()) {
    node->alias_value(source->value, 0, source->value.strides);
    node->set_computed();
  } else {
    node->set_inputs(&source, 1);
    register_pending(*node);
    if (ThreadState::get().eager) evaluate(&node, 1);
  }
  return result;
}

}  // namespace adjoint::detail
