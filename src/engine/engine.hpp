// The engine: records nodes, and computes them.
#pragma once

#include "core/node.hpp"

#include <adjoint/explain.hpp>
#include <adjoint/tensor.hpp>

#include <initializer_list>
#include <vector>

namespace adjoint::detail {

/// Whether the elements of a shape can be counted in bytes; empty or not, so that strides can be, too.
bool is_addressable(const Shape& shape) noexcept;

/// Records an operation: a node whose inputs are the nodes of `inputs`. It requires grad when grad mode is on and an
/// input that the operation differentiates does. Throws ShapeError for a shape that cannot be addressed.
Tensor record(const Operation& operation, const Shape& shape, Dtype dtype, Node* const* inputs, int count,
              const void* attributes = nullptr, std::size_t attribute_bytes = 0);
Tensor record(const Operation& operation, const Shape& shape, Dtype dtype, const Tensor* inputs, int count,
              const void* attributes = nullptr, std::size_t attribute_bytes = 0);
inline Tensor record(const Operation& operation, const Shape& shape, Dtype dtype,
                     std::initializer_list<Tensor> inputs) {
  return record(operation, shape, dtype, inputs.begin(), static_cast<int>(inputs.size()));
}
template <class Attributes>
Tensor record(const Operation& operation, const Shape& shape, Dtype dtype, std::initializer_list<Tensor> inputs,
              const Attributes& attributes) {
  static_assert(std::is_trivially_copyable_v<Attributes> && sizeof(Attributes) <= Node::kAttributeBytes);
  return record(operation, shape, dtype, inputs.begin(), static_cast<int>(inputs.size()), &attributes,
                sizeof(Attributes));
}
/// Records the operation of a node again, with the same attributes, result's shape and dtype, on other inputs.
Tensor record_again(const Node& node, const std::vector<Tensor>& inputs);

/// A number as a node; it is computed.
Tensor scalar_node(Scalar value, Dtype dtype);
/// A computed node on a storage (whose reference it takes over).
Tensor storage_node(Storage* storage, const Shape& shape, Dtype dtype);
/// The value that a tensor has now: of a cell, not the one that it will have.
Tensor snapshot(const Tensor& tensor);
/// The same value in a node of its own, with no derivative.
Tensor detached(const Tensor& tensor);

/// Computes the nodes, and the held values and cells that the same work feeds. Throws the first error of a root (unless
/// `quietly`: it is thrown when the root is looked at), and any for which cells kept their old values.
void evaluate(Node* const* roots, int count, bool quietly = false);
/// The plan by which evaluate() would compute the nodes.
Explanation explain(Node* const* roots, int count);
/// Computes one node and returns it; throws again what its computation threw.
Node* evaluated(const Tensor& tensor, const char* operation);
/// Throws what a node's computation threw.
[[noreturn]] void rethrow(const std::exception_ptr& stored);
/// Computes everything held and pending of this thread.
void evaluate_pending(bool quietly = false);
void bound_pending(ThreadState& state, bool many_bytes);
/// Does so when too much is pending, of the calling thread: nodes, or the bytes that came to life meanwhile.
inline void bound_pending(ThreadState& state) {
  constexpr std::int64_t kMostBytes = std::int64_t{512} << 20;
  const bool many_bytes = Storage::live_bytes() - state.live_bytes > kMostBytes;
  if (state.pending.size() >= state.pending_limit || many_bytes) bound_pending(state, many_bytes);
}

}  // namespace adjoint::detail
