// Replay: a plan that has been seen before is not made again. Training steps repeat their structure; what a plan was
// made from is kept as its key, and compared whole, so that a hit is never a guess.
#pragma once

#include "core/thread_state.hpp"
#include "engine/fuse.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace adjoint::detail {

/// What an evaluation was asked for: nodes, and what was pending then, of its thread.
struct Asked {
  const std::vector<Node*>& roots;
  const std::vector<ThreadState::Pending>& pending;
  std::int64_t fewest_to_recompute;
};

/// The steps for plans of one structure: the operations, what they are computed from and of which dtypes and shapes,
/// who is held, and whose values a derivative will read. Not: addresses, numbers of the host program, where slices
/// begin, random numbers' positions. What depends on how inputs lie in memory is asked again by each step's program.
class KeptPlan {
 public:
  /// From a plan that was just scheduled. False, and of no use, for one that cannot be kept.
  bool make(const std::vector<Node*>& plan, const Asked& asked);
  /// Where a plan was all that was pending, the next one is known without scheduling: whether this time the same is
  /// pending and asked for. Then `plan` is the plan, and its nodes are marked as scheduled.
  bool recall(std::vector<Node*>& plan, const Asked& asked);
  /// Whether `plan` is of this structure; then `steps()` are its steps.
  bool matches(const std::vector<Node*>& plan, std::int64_t fewest_to_recompute);
  Steps& steps() noexcept { return steps_; }
  Groups::Kept& program(int step) noexcept { return programs_[static_cast<std::size_t>(step)]; }
  /// How many of the nodes are cells'.
  std::size_t cells() const noexcept { return cells_; }
  std::size_t bytes() const noexcept;

 private:
  void find_alike();
  void note_recording(const std::vector<Node*>& plan, const Asked& asked);

  /// What a node of the plan has to be.
  struct Key {
    const Operation* operation;
    std::uint64_t kind;  // kind_of()
    std::uint64_t structure;
    std::uint32_t planned_reads;  // how often the plan reads it
    bool has_structure, is_used;  // used: by the evaluation
  };
  std::vector<Key> nodes_;
  std::vector<std::uint32_t> places_;   // of all inputs: in the plan, or, from kOutside on, among what is outside
  std::vector<std::uint16_t> outside_;  // dtype, whether marked, and rank, in the order of first appearance
  std::vector<std::int64_t> sizes_;     // of nodes, and of what is outside, where it appears first
  std::vector<const Node*> found_;      // what is outside of the plan at hand
  std::vector<std::int32_t> recorded_;  // the plan's places in the order of recording; empty: more was pending
  std::vector<std::int32_t> roots_;     // their places; -1: they were not pending
  std::size_t entries_ = 0;             // of the list of pending nodes
  std::size_t cells_ = 0;
  std::int64_t fewest_to_recompute_ = 0;
  Steps steps_;
  std::vector<Groups::Kept> programs_;  // by step
};

/// What a thread has kept. A plan is kept when it is seen for the second time, so that graphs that never repeat pay
/// for no more than a look; those used longest ago make room for others.
class Plans {
 public:
  /// The kept plan of this structure, or null. It stays valid until the next call. `hits` counts those that were there.
  KeptPlan* find(const std::vector<Node*>& plan, const Asked& asked, std::uint64_t& hits);
  /// The kept plan that was used after the last one before, and so may be used now; or null.
  KeptPlan* expected() const noexcept {
    return last_ < entries_.size() ? entries_[entries_[last_].next].plan.get() : nullptr;
  }
  void use_expected() noexcept { use(entries_[last_].next); }

 private:
  struct Entry {
    std::uint64_t hash, last_use;
    std::unique_ptr<KeptPlan> plan;
    std::size_t next;  // the one that was used after it
  };
  KeptPlan* use(std::size_t entry) noexcept;
  void make_room();

  static constexpr int kSeen = 1024;
  std::uint64_t seen_[kSeen] = {};  // hashes, by their lower bits
  std::uint64_t uses_ = 0;
  std::vector<Entry> entries_;
  std::size_t last_ = 0;  // the entry that was used last
};

}  // namespace adjoint::detail
