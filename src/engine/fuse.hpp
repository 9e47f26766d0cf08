// Fusing: elementwise nodes, and the reductions between them, that are computed together, block by block, so that what
// they hand to one another stays in the first-level cache and is never a tensor. Values are the same, bit for bit, as
// when each node is computed by itself: a block's instructions are the same kernels.
#pragma once

#include "core/node.hpp"

#include <cstdint>
#include <vector>

namespace adjoint::detail {

/// The steps of an evaluation, in the order in which they are to be computed: single nodes, and groups.
///
/// A group has one shape. Its members are of that shape, or have one value for each of its rows (the last dims, those
/// over which its reductions go). It is built from its last member backwards: a node joins the group of the first step
/// that reads it, if it is of its kind; all who read it come with that step or later, so no order can be wrong.
class Steps {
 public:
  /// `plan`: nodes, each after its inputs. Linear in their number.
  void build(const std::vector<Node*>& plan);
  int size() const noexcept { return static_cast<int>(first_.size()) - 1; }
  /// The nodes of a step, each after its inputs.
  Node* const* begin(int step) const noexcept { return nodes_.data() + first_[static_cast<std::size_t>(step)]; }
  int count(int step) const noexcept {
    return first_[static_cast<std::size_t>(step) + 1] - first_[static_cast<std::size_t>(step)];
  }

 private:
  struct Group {
    const Shape* shape = nullptr;  // null: a single node
    int row_dims = 0;              // how many of the last dims make a row; 0: not known yet
    int members = 0;
  };
  bool join(Group& group, const Node& node) const noexcept;

  std::vector<Group> groups_;  // by number of the step, counted from the last
  std::vector<int> first_;
  std::vector<Node*> nodes_;
};

/// Computes the values of a group's members that anybody reads outside of it. False, and nothing has changed but
/// what movement operations among them share, when they have to be computed one by one.
bool execute_fused(Node* const* nodes, int count);

}  // namespace adjoint::detail
