// Values that a checkpoint did not keep: a derivative that reads one has it computed again, from what was kept.
#pragma once

#include "core/node.hpp"
#include "core/pool.hpp"

#include <unordered_map>
#include <utility>
#include <vector>

namespace adjoint::detail {

/// For one pass over a graph. A marked node (Node::is_marked) whose value a rule reads is recorded again, on its
/// inputs, those that are marked recorded again before; each once. That is an ordinary graph, so what the rules make of
/// it can be differentiated in turn. User code does not run again.
class RecomputedValues final : public MarkedValues {
 public:
  enum class Pass : bool { reverse, forward };
  explicit RecomputedValues(Pass pass) noexcept : pass_(pass) {}
  RecomputedValues(const RecomputedValues&) = delete;
  RecomputedValues& operator=(const RecomputedValues&) = delete;

  /// What is asked for next is computed only after `g`, the cotangent that it will be multiplied with, so that the
  /// segments of a chain are not all computed again at once.
  void begin_after(const Tensor& g) noexcept {
    after_ = &g;
    ordered_.clear();
  }
  /// A handle on the value, which a rule is about to read.
  Tensor of(Node& node) override;
  /// No rule to come reads what the node stands for.
  void forget(const Node& node) {
    if (!again_.empty()) erase(&node);
  }

 private:
  using Table = std::unordered_map<const Node*, Tensor, std::hash<const Node*>, std::equal_to<const Node*>,
                                   PoolAllocator<std::pair<const Node* const, Tensor>>>;

  Tensor shared(Node& node) const noexcept;
  const Tensor* find(const Node* node) const;
  const Tensor& recorded_again(Node& node);
  void record_again(const Node& node, std::vector<Tensor>& inputs);
  Tensor ordered(const Tensor& x);
  void erase(const Node* node);

  const Pass pass_;
  const Tensor* after_ = nullptr;
  Table again_;    // by what was recorded first; an undefined one for what was recorded again, and not once more
  Table ordered_;  // by what is put in order
};

}  // namespace adjoint::detail
