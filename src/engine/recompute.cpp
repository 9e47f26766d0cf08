// Which values are cheaper to compute again than to keep.
//
// A value that several groups read, or a derivative later, is written to memory by the first group and read by the
// others. If it takes a few additions from one other array that is in memory anyway, each group that reads it can have
// it from there: it is written by none, and they read the other array, if they do not already, in its place.
#include "core/pool.hpp"
#include "engine/execute.hpp"
#include "engine/fuse.hpp"
#include "engine/fusible.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace adjoint::detail {
namespace {

// Instructions that a value may take, with those of its inputs that are computed again as well.
constexpr int kMostInstructions = 4;
// An input of at most this part of a value's elements, such as a mean for each row, costs nothing to read.
constexpr std::int64_t kSmallPart = 8;

bool is_cheap(const Node& node) noexcept {
  if (node.operation->execute == execute_cast) return true;
  if (node.operation->execute != execute_elementwise) return false;
  using kernels::Tile;
  switch (static_cast<Tile>(node.operation->kernel)) {
    case Tile::neg:
    case Tile::abs:
    case Tile::relu:
    case Tile::add:
    case Tile::sub:
    case Tile::mul:
    case Tile::maximum:
    case Tile::minimum:
    case Tile::eq:
    case Tile::ne:
    case Tile::lt:
    case Tile::le:
    case Tile::gt:
    case Tile::ge:
    case Tile::logical_and:
    case Tile::logical_or:
    case Tile::logical_xor:
    case Tile::logical_not:
    case Tile::where:
      return true;
    default:
      return false;
  }
}

/// What is known of a node of the plan.
struct Entry {
  std::int32_t group;      // or single node's step
  std::int32_t reads = 0;  // by the plan
  std::int32_t first_read = 0;
  std::int32_t instructions = 0;  // 0: it is not computed again
  const Node* source = nullptr;   // the array in memory that it is computed from
  std::int32_t result = -1;       // its place among those that are
};
struct Read {
  std::int32_t reader, input;
};

}  // namespace

void Steps::find_recomputed(const std::vector<Node*>& plan, std::int64_t fewest) {
  const auto at = [](auto index) { return static_cast<std::size_t>(index); };
  List<Entry> entries(plan.size());
  for (std::size_t i = 0; i < plan.size(); ++i)
    entries[i].group = std::exchange(plan[i]->mark, static_cast<std::int32_t>(i));
  const auto entry_of = [&](const Node& node) -> Entry& { return entries[at(node.mark)]; };
  const auto is_planned = [](const Node& node) { return node.schedule != Schedule::none; };
  const auto for_inputs = [&](const Node& node, const auto& visit) {
    for (int k = 0; k < node.input_count(); ++k)
      if (const Node& input = *node.input(k); is_planned(input)) visit(entry_of(input), k);
  };
  std::int32_t count = 0;
  for (const Node* node : plan) for_inputs(*node, [&](Entry& input, int) { ++input.reads, ++count; });
  List<Read> reads(at(count));
  count = 0;
  for (Entry& entry : entries) {
    entry.first_read = count;
    count += std::exchange(entry.reads, 0);
  }
  for (std::size_t i = 0; i < plan.size(); ++i)
    for_inputs(*plan[i], [&](Entry& input, int k) {
      reads[at(input.first_read + input.reads++)] = {static_cast<std::int32_t>(i), k};
    });
  // Calls visit(reader, its entry, which of its inputs).
  const auto for_readers = [&](const Entry& entry, const auto& visit) {
    for (std::int32_t r = entry.first_read; r < entry.first_read + entry.reads; ++r)
      visit(*plan[at(reads[at(r)].reader)], entries[at(reads[at(r)].reader)], reads[at(r)].input);
  };
  const auto is_held = [](const Node& node) { return node.uses() != node.readers() || node.cell; };
  // Whether a derivative, or what is not computed now, will read it.
  const auto is_read_later = [&](const Node& node, const Entry& entry) {
    bool later = node.readers() != entry.reads || node.keeps_own_value();
    for_readers(entry, [&](const Node& reader, const Entry&, int k) { later |= reader.keeps_input(k); });
    return later;
  };
  // Whether a node that is computed once will be written to memory.
  const auto is_in_memory = [&](const Node& node) {
    if (!is_planned(node)) return true;
    const Entry& entry = entry_of(node);
    bool in_memory = !groups_[at(entry.group)].shape || is_held(node) || is_read_later(node, entry);
    for_readers(entry, [&](const Node&, const Entry& reader, int) { in_memory |= reader.group != entry.group; });
    return in_memory;
  };

  // From what, and by how many instructions, each could be computed again.
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const Node& node = *plan[i];
    Entry& entry = entries[i];
    const std::int64_t elements = numel(node.shape);
    if (elements < fewest || !is_cheap(node) || is_held(node)) continue;
    if (node.readers() != entry.reads) continue;  // others would keep it pending, but only while they are there
    int instructions = 1;
    const Node* source = nullptr;
    bool one_source = true;
    const auto add_source = [&](const Node* other) {
      one_source &= !source || source == other;
      source = other;
    };
    for (int k = 0; k < node.input_count(); ++k) {
      const Node& input = *node.input(k);
      if (numel(input.shape) * kSmallPart <= elements) continue;
      if (is_planned(input) && entry_of(input).instructions > 0) {
        instructions += entry_of(input).instructions;
        add_source(entry_of(input).source);
      } else {
        one_source &= is_in_memory(input);
        add_source(&input);
      }
    }
    if (!one_source || !source || instructions > kMostInstructions) continue;
    if (source->bytes() > node.bytes()) continue;
    entry.instructions = instructions;
    entry.source = source;
  }

  // Where: in all groups where somebody reads it. Readers come first.
  for (std::size_t i = plan.size(); i-- > 0;) {
    Entry& entry = entries[i];
    if (entry.instructions == 0) continue;
    const Node& node = *plan[i];
    Recomputed result;
    bool possible = true;
    const auto add_group = [&](std::int32_t group) {
      std::int32_t* const end = result.groups + result.count;
      if (std::find(result.groups, end, group) != end) return;
      const Group& reader = groups_[at(group)];
      possible &= result.count < Recomputed::kMost && reader.shape && *reader.shape == node.shape && !reader.late;
      if (!possible) return;
      int place = result.count++;
      for (; place > 0 && result.groups[place - 1] > group; --place) result.groups[place] = result.groups[place - 1];
      result.groups[place] = group;
    };
    result.stays = is_read_later(node, entry);
    for_readers(entry, [&](const Node& reader, const Entry& of_reader, int) {
      if (of_reader.result >= 0) {
        const Recomputed& other = recomputed_[at(of_reader.result)];
        for (int k = 0; k < other.count; ++k) add_group(other.groups[k]);
        result.stays |= other.stays;
      } else {
        possible &= !is_movement(fusible_kind(reader));
        add_group(of_reader.group);
      }
    });
    possible &= result.count > 0 && (result.count > 1 || result.stays || result.groups[0] != entry.group);
    for (int k = 0; k < result.count; ++k)
      possible &= result.groups[k] == entry.group || groups_[at(result.groups[k])].members < kMostMembers;
    if (!possible) {
      entry.instructions = 0;
      continue;
    }
    --groups_[at(entry.group)].members;
    for (int k = 0; k < result.count; ++k) ++groups_[at(result.groups[k])].members;
    entry.result = static_cast<std::int32_t>(recomputed_.size());
    recomputed_.push_back(result);
  }
  if (!recomputed_.empty()) {
    recomputed_at_.resize(plan.size());
    for (std::size_t i = 0; i < plan.size(); ++i) recomputed_at_[i] = entries[i].result;
  }
  for (std::size_t i = 0; i < plan.size(); ++i) plan[i]->mark = entries[i].group;
}

}  // namespace adjoint::detail
