// Fusing: elementwise nodes, and the reductions between them, that are computed together, block by block, so that what
// they hand to one another stays in the first-level cache and is never a tensor. Values are the same, bit for bit, as
// when each node is computed by itself: a block's instructions are the same kernels.
#pragma once

#include "engine/program.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace adjoint::detail {

/// The steps of an evaluation, in the order in which they are to be computed: single nodes, groups, and matrix products
/// with the sums that they are added to, so that the products of a long sum do not wait for each other.
///
/// A group has one shape. Its members are of that shape, or have one value for each of its rows (the last dims, those
/// over which its reductions go), or are columns: reductions over all other dims, which nobody in the group reads.
/// It is built from its last member backwards: a node joins the group of the first step
/// that reads it, if it is of its kind; all who read it come with that step or later, so no order can be wrong. Else it
/// may join the group that reads what it reads, if that comes before all who read it: a result that is held beside the
/// gradients that are computed from the same values.
///
/// What is cheaper to compute again than to keep in memory (recompute.cpp) is in all groups that read it. It belongs to
/// the last of them; if a derivative may read it after that, to none, and stays pending.
class Steps {
 public:
  /// No value is computed again.
  static constexpr std::int64_t kNone = INT64_MAX;
  /// `plan`: nodes, each after its inputs. Linear in their number. Values of fewer than `fewest_to_recompute` elements
  /// are computed once.
  void build(const std::vector<Node*>& plan, std::int64_t fewest_to_recompute);
  /// For another plan of the same structure.
  void arrange(const std::vector<Node*>& plan) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) nodes_[i] = plan[static_cast<std::size_t>(order_[i])];
  }
  std::size_t bytes() const noexcept {
    return groups_.capacity() * sizeof(Group) + nodes_.capacity() * (sizeof(Node*) + 2 * sizeof(int));
  }
  int size() const noexcept { return static_cast<int>(first_.size()) - 1; }
  /// Whether a step may come after all others: cells' new leaves that nothing in the plan reads (the last step), or a
  /// group that only such leaves read.
  bool is_late(int step) const noexcept { return group_of(step).late; }
  /// The nodes of a step, each after its inputs.
  Node* const* begin(int step) const noexcept { return nodes_.data() + first_[static_cast<std::size_t>(step)]; }
  int count(int step) const noexcept {
    return first_[static_cast<std::size_t>(step) + 1] - first_[static_cast<std::size_t>(step)];
  }
  const Repeated& repeated(int step) const noexcept { return group_of(step).repeated; }
  /// Whether a step is a product, how it is seen, and the sum that it is added to.
  bool adds_product(int step) const noexcept { return group_of(step).sum; }

 private:
  struct Group {
    const Shape* shape = nullptr;  // null: a single node
    int row_dims = 0;              // how many dims make a row; 0: not known yet
    int behind = 0;                // how many dims come after them in the shape (though not in memory)
    int members = 0;
    int feeder = -1;  // of a single node: the last group found that it reads
    bool late = false, leaves = false;
    const Node* sum = nullptr;  // of one that adds a product; valid while steps are built
    Repeated repeated;
  };
  /// A node that is computed in several groups.
  struct Recomputed {
    static constexpr int kMost = 6;
    std::int32_t groups[kMost];  // ascending: the last one first
    int count = 0;
    bool stays = false;
  };
  static constexpr int kLeaves = 0;
  const Group& group_of(int step) const noexcept {
    return groups_[groups_.size() - 1 - static_cast<std::size_t>(step)];
  }
  bool join(Group& group, const Node& node, Fusible kind) const noexcept;
  bool starts_product_sum(const Node& node, int reader) const noexcept;
  void merge_groups(const std::vector<Node*>& plan);
  void find_recomputed(const std::vector<Node*>& plan, std::int64_t fewest);

  std::vector<Group> groups_;  // by number of the step, counted from the last
  std::vector<Recomputed> recomputed_;
  std::vector<int> recomputed_at_;  // by place in the plan, or -1; empty: there are none
  std::vector<int> first_;
  std::vector<int> order_;  // places in the plan
  std::vector<Node*> nodes_;
};

/// What groups are computed with; kept from one evaluation to the next.
class Groups {
 public:
  Groups();
  ~Groups();
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;

  /// A group's program that is kept for groups of the same structure; null as long as there is none.
  struct Kept {
    std::unique_ptr<Program> program;
    const Kept* like = nullptr;  // that of an earlier group of the same structure: it serves this one, too, most often
  };

  /// Computes the values of a group's members that anybody reads outside of it; of the `repeated`, for the others
  /// alone. By the program in `kept`, unless that is null; what has to be made is kept there. Returns the program;
  /// null, and nothing has changed, when they have to be computed one by one.
  const Program* compute(Node* const* nodes, int count, const Repeated& repeated, Kept* kept = nullptr);

  // The groups that are computed last, when nothing can fail any more: a new value of a cell may then take the memory
  // of the old one, to which the cell would go back after a failure.

  /// Prepares a group and allocates what it needs, but computes nothing. False: it has to be computed otherwise.
  bool prepare(Node* const* nodes, int count, Kept* kept = nullptr);
  /// Takes that back.
  void give_up() noexcept;
  /// Allocates what they share; false when there is no memory for it.
  bool allocate_buffers() noexcept;
  /// Computes the i-th that was prepared.
  void compute_prepared(std::size_t i) noexcept {
    prepared_[i]->program->compute(prepared_[i]->binding, workspace_.data());
  }
  const Program& prepared_program(std::size_t i) const noexcept { return *prepared_[i]->program; }
  /// When all are computed.
  void forget_prepared() noexcept { count_ = 0; }

 private:
  struct Prepared {
    Program own;
    const Program* program;
    Binding binding;
  };
  /// A program for a group that is bound to it: the kept one, or `own`; or null.
  const Program* bind(Node* const* nodes, int count, bool late, const Repeated& repeated, Kept* kept, Program& own,
                      Binding& binding) noexcept;
  /// Makes the workspace at least so large.
  void reserve(std::size_t bytes);

  Planner planner_;
  Program program_;  // of compute()
  Binding binding_;
  std::vector<std::unique_ptr<Prepared>> prepared_;  // the first count_ are in use
  std::size_t count_ = 0;
  List<std::byte> workspace_;  // blocks' buffers
};

}  // namespace adjoint::detail
