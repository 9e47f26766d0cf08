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

/// Whether a node's attributes decide how it is computed together with others.
bool has_structure(const Node& node) noexcept {
  const auto execute = node.operation->execute;
  return execute == execute_reduction || execute == execute_gather || execute == execute_scatter_add;
}
/// What of them does.
std::uint64_t structure_of(const Node& node) noexcept {
  if (node.operation->execute == execute_reduction) return node.attributes<ReduceAttributes>().dims;
  return static_cast<std::uint64_t>(node.attributes<IndexAttributes>().dim);
}

constexpr std::uint32_t kOutside = kMostNodes;
constexpr int kMostInputs = 0xffff;

std::uint16_t type_of(const Node& node) noexcept {
  return static_cast<std::uint16_t>(static_cast<int>(node.dtype) | node.is_marked() << 7 | node.shape.size() << 8);
}

/// What else there is to compare of a node, in one word.
inline std::uint64_t kind_of(const Node& node, std::uint32_t planned_reads) noexcept {
  const bool is_held = static_cast<std::uint32_t>(node.uses()) != planned_reads;
  return static_cast<std::uint64_t>(node.input_count()) | static_cast<std::uint64_t>(node.shape.size()) << 32 |
         static_cast<std::uint64_t>(node.dtype) << 40 | static_cast<std::uint64_t>(node.reads_later()) << 48 |
         static_cast<std::uint64_t>(node.cell != nullptr) << 56 | static_cast<std::uint64_t>(is_held) << 57 |
         static_cast<std::uint64_t>(node.is_marked()) << 58;
}

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

/// Whether a group's program serves another group.
bool have_same_structure(const Steps& steps, int a, int b) {
  const int count = steps.count(a);
  const Repeated &of_a = steps.repeated(a), &of_b = steps.repeated(b);
  if (count != steps.count(b) || steps.is_late(a) != steps.is_late(b) || of_a.again != of_b.again ||
      of_a.left != of_b.left || of_a.last != of_b.last)
    return false;
  List<std::pair<const Node*, const Node*>> inputs;  // in the order of first appearance; members first
  for (int i = 0; i < count; ++i) {
    const Node &x = *steps.begin(a)[i], &y = *steps.begin(b)[i];
    inputs.emplace_back(&x, &y);
    if (x.operation != y.operation || x.dtype != y.dtype || x.shape != y.shape || x.input_count() != y.input_count() ||
        x.reads_later() != y.reads_later() || x.is_marked() != y.is_marked() || x.uses() != y.uses() ||
        (x.cell != nullptr) != (y.cell != nullptr) || (has_structure(x) && structure_of(x) != structure_of(y)))
      return false;
  }
  for (int i = 0; i < count; ++i)
    for (int k = 0; k < steps.begin(a)[i]->input_count(); ++k) {
      const std::pair<const Node*, const Node*> pair(steps.begin(a)[i]->input(k), steps.begin(b)[i]->input(k));
      const auto found = std::find_if(inputs.begin(), inputs.end(), [&](const auto& other) {
        return other.first == pair.first || other.second == pair.second;
      });
      if (found == inputs.end()) {
        if (type_of(*pair.first) != type_of(*pair.second) || pair.first->shape != pair.second->shape) return false;
        inputs.push_back(pair);
      } else if (*found != pair) {
        return false;
      }
    }
  return true;
}

}  // namespace

// -- a plan -----------------------------------------------------------------------------------------------------------

bool KeptPlan::make(const std::vector<Node*>& plan, const Asked& asked) {
  fewest_to_recompute_ = asked.fewest_to_recompute;
  std::vector<std::uint32_t> planned_reads(plan.size());
  for (std::size_t i = 0; i < plan.size(); ++i) plan[i]->mark = static_cast<std::int32_t>(i);
  for (const Node* node : plan)
    for (int k = 0; k < node->input_count(); ++k)
      if (const Node* input = node->input(k); input->state() == State::pending)
        ++planned_reads[static_cast<std::size_t>(input->mark)];
  std::unordered_map<const Node*, std::uint32_t> outside;
  nodes_.reserve(plan.size());
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const Node& node = *plan[i];
    if (node.input_count() > kMostInputs) return false;
    const bool structured = has_structure(node);
    nodes_.push_back({node.operation, kind_of(node, planned_reads[i]), structured ? structure_of(node) : 0,
                      planned_reads[i], structured, node.schedule == Schedule::used});
    cells_ += node.cell != nullptr;
    sizes_.insert(sizes_.end(), node.shape.begin(), node.shape.end());
    for (int k = 0; k < node.input_count(); ++k) {
      const Node& input = *node.input(k);
      if (input.state() == State::pending) {
        places_.push_back(static_cast<std::uint32_t>(input.mark));
        continue;
      }
      const auto [found, is_new] = outside.try_emplace(&input, kOutside + static_cast<std::uint32_t>(outside.size()));
      places_.push_back(found->second);
      if (!is_new) continue;
      outside_.push_back(type_of(input));
      sizes_.insert(sizes_.end(), input.shape.begin(), input.shape.end());
    }
  }
  found_.resize(outside_.size());
  places_.shrink_to_fit();
  outside_.shrink_to_fit();
  sizes_.shrink_to_fit();
  note_recording(plan, asked);
  steps_.build(plan, asked.fewest_to_recompute);
  programs_.resize(static_cast<std::size_t>(steps_.size()));
  find_alike();
  return true;
}

/// Layers, and parameters' updates, repeat each other.
void KeptPlan::find_alike() {
  constexpr int kMost = 8;  // to compare with: the last ones
  int leaders[kMost], count = 0;
  for (int step = 0; step < steps_.size(); ++step) {
    if (steps_.count(step) < 2) continue;
    const auto found = std::find_if(leaders, leaders + std::min(count, kMost),
                                    [&](int leader) { return have_same_structure(steps_, leader, step); });
    if (found != leaders + std::min(count, kMost)) program(step).like = &program(*found);
    else leaders[count++ % kMost] = step;
  }
}

/// While the nodes' marks are their places.
void KeptPlan::note_recording(const std::vector<Node*>& plan, const Asked& asked) {
  const auto is_planned = [&plan](const Node* node) {
    return node && node->mark >= 0 && static_cast<std::size_t>(node->mark) < plan.size() &&
           plan[static_cast<std::size_t>(node->mark)] == node;
  };
  const auto place = [&](const Node* node) { return is_planned(node) ? node->mark : -1; };
  for (const ThreadState::Pending& entry : asked.pending)
    if (entry.node && entry.node->state() == State::pending) recorded_.push_back(place(entry.node));
  const bool all =
      recorded_.size() == plan.size() && std::find(recorded_.begin(), recorded_.end(), -1) == recorded_.end();
  if (!all) recorded_ = {};
  for (const Node* root : asked.roots) roots_.push_back(place(root));
  entries_ = asked.pending.size();
}

bool KeptPlan::recall(std::vector<Node*>& plan, const Asked& asked) {
  if (recorded_.empty() || asked.pending.size() != entries_ || asked.roots.size() != roots_.size()) return false;
  plan.resize(recorded_.size());
  const auto find_all = [&] {
    auto place = recorded_.begin();
    for (const ThreadState::Pending& entry : asked.pending) {
      if (!entry.node || entry.node->state() != State::pending) continue;
      if (place == recorded_.end()) return false;
      plan[static_cast<std::size_t>(*place++)] = entry.node;
    }
    return place == recorded_.end();
  };
  const auto is_asked_for = [&] {
    for (std::size_t i = 0; i < roots_.size(); ++i) {
      const Node* root = asked.roots[i];
      if (roots_[i] < 0 ? root->state() == State::pending : root != plan[static_cast<std::size_t>(roots_[i])])
        return false;
    }
    return true;
  };
  std::size_t scheduled = 0;
  const auto schedule_all = [&] {
    for (; scheduled < plan.size(); ++scheduled) {
      const bool used = nodes_[scheduled].is_used;
      if (used && !plan[scheduled]->try_add_use()) return false;
      plan[scheduled]->schedule = used ? Schedule::used : Schedule::planned;
    }
    return true;
  };
  if (find_all() && is_asked_for() && matches(plan, asked.fewest_to_recompute) && schedule_all()) return true;
  for (std::size_t i = 0; i < scheduled; ++i)
    if (std::exchange(plan[i]->schedule, Schedule::none) == Schedule::used) plan[i]->drop_use();
  plan.clear();
  return false;
}

bool KeptPlan::matches(const std::vector<Node*>& plan, std::int64_t fewest_to_recompute) {
  if (plan.size() != nodes_.size() || fewest_to_recompute != fewest_to_recompute_) return false;
  const std::int64_t* size = sizes_.data();
  const std::uint32_t* place = places_.data();
  std::uint32_t outside = kOutside;  // the next one that is new
  const auto has_shape = [&size](const Node& node) {
    for (const std::int64_t own : node.shape)
      if (*size++ != own) return false;
    return true;
  };
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const Node& node = *plan[i];
    const Key& key = nodes_[i];
    if (node.operation != key.operation || kind_of(node, key.planned_reads) != key.kind ||
        (key.has_structure && structure_of(node) != key.structure) || !has_shape(node))
      return false;
    for (int k = 0, count = node.input_count(); k < count; ++k, ++place) {
      const Node* input = node.input(k);
      if (*place < kOutside) {
        if (plan[*place] != input) return false;
      } else if (*place < outside) {
        if (found_[*place - kOutside] != input) return false;
      } else {
        if (input->state() == State::pending || type_of(*input) != outside_[*place - kOutside] || !has_shape(*input))
          return false;
        found_[*place - kOutside] = input;
        ++outside;
      }
    }
  }
  steps_.arrange(plan);
  return true;
}

std::size_t KeptPlan::bytes() const noexcept {
  std::size_t bytes = sizeof *this + steps_.bytes();
  const auto add = [&bytes](const auto& list) { bytes += list.capacity() * sizeof(list[0]); };
  add(nodes_);
  add(places_);
  add(outside_);
  add(sizes_);
  add(found_);
  add(recorded_);
  add(roots_);
  for (const Groups::Kept& kept : programs_) bytes += sizeof kept + (kept.program ? kept.program->bytes() : 0);
  return bytes;
}

// -- the plans of a thread --------------------------------------------------------------------------------------------

KeptPlan* Plans::use(std::size_t entry) noexcept {
  entries_[last_].next = entry;
  last_ = entry;
  entries_[entry].last_use = ++uses_;
  return entries_[entry].plan.get();
}

KeptPlan* Plans::find(const std::vector<Node*>& plan, const Asked& asked, std::uint64_t& hits) {
  if (plan.size() > kMostNodes) return nullptr;
  // What came after the last one before comes again, most often.
  if (KeptPlan* next = expected(); next && next->matches(plan, asked.fewest_to_recompute)) {
    ++hits;
    use_expected();
    return next;
  }
  const std::uint64_t hash = hash_of(plan);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].hash != hash || !entries_[i].plan->matches(plan, asked.fewest_to_recompute)) continue;
    ++hits;
    return use(i);
  }
  if (std::exchange(seen_[hash % kSeen], hash) != hash) return nullptr;
  auto kept = std::make_unique<KeptPlan>();
  if (!kept->make(plan, asked)) return nullptr;
  make_room();
  entries_.push_back({hash, 0, std::move(kept), entries_.size()});
  return use(entries_.size() - 1);
}

void Plans::make_room() {
  std::size_t bytes = 0;
  for (const Entry& entry : entries_) bytes += entry.plan->bytes();
  while (entries_.size() >= kMostPlans || bytes > kMostBytes) {
    const auto oldest = std::min_element(entries_.begin(), entries_.end(),
                                         [](const Entry& a, const Entry& b) { return a.last_use < b.last_use; });
    bytes -= oldest->plan->bytes();
    entries_.erase(oldest);
    for (std::size_t i = 0; i < entries_.size(); ++i) entries_[i].next = i;  // it was by place
    last_ = 0;
  }
}

}  // namespace adjoint::detail
