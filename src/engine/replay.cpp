#include "engine/replay.hpp"

#include "core/pool.hpp"
#include "engine/execute.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

namespace adjoint::detail {
namespace {

// What a thread keeps at most, of plans of at most so many nodes.
constexpr std::size_t kMostBytes = std::size_t{32} << 20, kMostPlans = 256, kMostNodes = std::size_t{1} << 15;

/// What of a node's attributes decides how it is computed together with others.
std::uint64_t structure_of(const Node& node) noexcept {
  const auto execute = node.operation->execute;
  if (execute == execute_reduction) return node.attributes<ReduceAttributes>().dims;
  if (execute == execute_gather || execute == execute_scatter_add)
    return static_cast<std::uint64_t>(node.attributes<IndexAttributes>().dim);
  return 0;
}

// A node in a word: 3 bits of dtype, 4 of rank, whether it is a cell's and whether it is held, 8 of what its derivative
// will read, 16 each of the number of its inputs and of how often the plan reads it.
constexpr std::uint64_t kMostInPlan = 0xffff;

std::uint64_t type_of(const Node& node) noexcept {
  return static_cast<std::uint64_t>(node.dtype) | static_cast<std::uint64_t>(node.shape.size()) << 3;
}
std::uint64_t word_of(const Node& node, std::uint64_t planned_reads) noexcept {
  const bool is_held = static_cast<std::uint64_t>(node.uses()) != planned_reads;
  return type_of(node) | static_cast<std::uint64_t>(node.cell != nullptr) << 7 |
         static_cast<std::uint64_t>(is_held) << 8 | static_cast<std::uint64_t>(node.reads_later()) << 9 |
         static_cast<std::uint64_t>(node.input_count()) << 17 | planned_reads << 33;
}
std::uint64_t planned_reads_of(std::uint64_t word) noexcept { return word >> 33; }

/// What is computed outside of the plan, by the order of its first appearance; beyond the nodes of the plan.
constexpr std::uint64_t kOutside = std::uint64_t{1} << 32;

std::uint64_t mixed(std::uint64_t hash, std::uint64_t word) noexcept {
  hash = (hash ^ word) * 0x9E3779B97F4A7C15u;
  return hash ^ hash >> 29;
}

/// Different for most plans that differ.
std::uint64_t hash_of(const std::vector<Node*>& plan) noexcept {
  std::uint64_t hash = plan.size();
  for (const Node* node : plan) {
    // From one of ours on, so that runs do not differ by where the program is loaded.
    hash = mixed(hash, reinterpret_cast<std::uintptr_t>(node->operation) - reinterpret_cast<std::uintptr_t>(&kLeaf));
    if (!node->shape.empty()) hash += static_cast<std::uint64_t>(node->shape[0]);
  }
  return mixed(hash, 1);
}

}  // namespace

// -- a plan -----------------------------------------------------------------------------------------------------------

bool KeptPlan::make(const std::vector<Node*>& plan, std::int64_t fewest_to_recompute) {
  fewest_to_recompute_ = fewest_to_recompute;
  std::vector<std::uint64_t> planned_reads(plan.size());
  for (std::size_t i = 0; i < plan.size(); ++i) plan[i]->mark = static_cast<std::int32_t>(i);
  for (const Node* node : plan)
    for (int k = 0; k < node->input_count(); ++k)
      if (const Node* input = node->input(k); input->state() == State::pending)
        ++planned_reads[static_cast<std::size_t>(input->mark)];
  std::unordered_map<const Node*, std::uint64_t> outside;
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const Node& node = *plan[i];
    if (planned_reads[i] > kMostInPlan || static_cast<std::uint64_t>(node.input_count()) > kMostInPlan) return false;
    key_.push_back(reinterpret_cast<std::uintptr_t>(node.operation));
    key_.push_back(word_of(node, planned_reads[i]));
    key_.insert(key_.end(), node.shape.begin(), node.shape.end());
    key_.push_back(structure_of(node));
    for (int k = 0; k < node.input_count(); ++k) {
      const Node& input = *node.input(k);
      if (input.state() == State::pending) {
        key_.push_back(static_cast<std::uint64_t>(input.mark));
        continue;
      }
      const auto [found, is_new] = outside.try_emplace(&input, kOutside + outside.size());
      key_.push_back(found->second);
      if (!is_new) continue;
      key_.push_back(type_of(input));
      key_.insert(key_.end(), input.shape.begin(), input.shape.end());
    }
  }
  key_.shrink_to_fit();
  steps_.build(plan, fewest_to_recompute);
  programs_.resize(static_cast<std::size_t>(steps_.size()));
  return true;
}

bool KeptPlan::matches(const std::vector<Node*>& plan, std::int64_t fewest_to_recompute) {
  if (fewest_to_recompute != fewest_to_recompute_) return false;
  const std::uint64_t* key = key_.data();
  List<const Node*> outside;
  const auto has_shape = [&key](const Node& node) {
    for (const std::int64_t size : node.shape)
      if (*key++ != static_cast<std::uint64_t>(size)) return false;
    return true;
  };
  for (const Node* node : plan) {
    if (*key++ != reinterpret_cast<std::uintptr_t>(node->operation)) return false;
    const std::uint64_t word = *key++;
    if (word != word_of(*node, planned_reads_of(word)) || !has_shape(*node)) return false;
    if (*key++ != structure_of(*node)) return false;
    for (int k = 0; k < node->input_count(); ++k) {
      const Node* input = node->input(k);
      const std::uint64_t place = *key++;
      if (place < kOutside) {
        if (plan[place] != input) return false;
      } else if (place - kOutside < outside.size()) {
        if (outside[place - kOutside] != input) return false;
      } else {
        if (input->state() == State::pending || *key++ != type_of(*input) || !has_shape(*input)) return false;
        outside.push_back(input);
      }
    }
  }
  steps_.arrange(plan);
  return true;
}

std::size_t KeptPlan::bytes() const noexcept {
  std::size_t bytes = sizeof *this + key_.size() * sizeof(key_[0]) + steps_.bytes();
  for (const Groups::Kept& program : programs_) bytes += sizeof program + (program ? program->bytes() : 0);
  return bytes;
}

// -- the plans of a thread --------------------------------------------------------------------------------------------

KeptPlan* Plans::find(const std::vector<Node*>& plan, std::int64_t fewest_to_recompute, std::uint64_t& hits) {
  if (plan.size() > kMostNodes) return nullptr;
  const std::uint64_t hash = hash_of(plan);
  for (Entry& entry : entries_) {
    if (entry.hash != hash || !entry.plan->matches(plan, fewest_to_recompute)) continue;
    entry.last_use = ++uses_;
    ++hits;
    return entry.plan.get();
  }
  if (std::exchange(seen_[hash % kSeen], hash) != hash) return nullptr;
  auto kept = std::make_unique<KeptPlan>();
  if (!kept->make(plan, fewest_to_recompute)) return nullptr;
  make_room();
  entries_.push_back({hash, ++uses_, std::move(kept)});
  return entries_.back().plan.get();
}

void Plans::make_room() {
  std::size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.plan->bytes();
  while (entries_.size() >= kMostPlans || bytes > kMostBytes) {
    const auto oldest = std::min_element(entries_.begin(), entries_.end(),
                                         [](const Entry& a, const Entry& b) { return a.last_use < b.last_use; });
    bytes -= oldest->plan->bytes();
    entries_.erase(oldest);
  }
}

}  // namespace adjoint::detail
