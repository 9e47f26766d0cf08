#include "engine/execute.hpp"
#include "engine/fuse.hpp"
#include "engine/fusible.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <utility>

namespace adjoint::detail {

namespace {

bool has_index_per_row(const Node& node, const Shape& shape) noexcept {
  return node.attributes<IndexAttributes>().dim + 1 == shape.size() && row_dims_of(node.input(1)->shape, shape) == 1;
}

}  // namespace

Fusible fusible_kind(const Node& node) noexcept {
  const auto execute = node.operation->execute;
  if (execute == execute_elementwise || execute == execute_cast) return Fusible::tile;
  if (execute == execute_reduction) return kept_row_dims(node) != 0 ? Fusible::columns : Fusible::reduction;
  if (execute == execute_alias) return node.cell ? Fusible::none : Fusible::same;
  if (execute == execute_reshape) return Fusible::reshape;
  if (execute == execute_broadcast) return Fusible::broadcast;
  if (execute == execute_random) return Fusible::random;
  if (execute == execute_gather && has_index_per_row(node, node.input(0)->shape)) return Fusible::gather;
  if (execute == execute_scatter_add && has_index_per_row(node, node.shape)) return Fusible::scatter;
  return Fusible::none;
}

std::int64_t row_length(const Shape& shape, int row_dims) noexcept {
  std::int64_t length = 1;
  for (int i = shape.size() - row_dims; i < shape.size(); ++i) length *= shape[i];
  return length;
}

int row_dims_of(const Shape& rows, const Shape& shape) noexcept {
  if (rows.size() != shape.size()) return 0;
  int first = 0;
  while (first < shape.size() && rows[first] == shape[first]) ++first;
  for (int i = first; i < shape.size(); ++i)
    if (rows[i] != 1) return 0;
  const int dims = shape.size() - first;
  return dims > 0 && row_length(shape, dims) > 1 ? dims : 0;
}
bool has_value_per_row(const Shape& rows, const Shape& shape, int row_dims) noexcept {
  if (rows.size() != shape.size() - row_dims) return false;
  for (int i = 0; i < rows.size(); ++i)
    if (rows[i] != shape[i]) return false;
  return true;
}
int reduced_row_dims(const Node& node) noexcept {
  const Shape& shape = node.input(0)->shape;
  const std::uint32_t dims = node.attributes<ReduceAttributes>().dims;
  int first = shape.size();
  while (first > 0 && (shape[first - 1] == 1 || dims >> (first - 1) & 1)) --first;
  for (int i = 0; i < first; ++i)
    if (shape[i] != 1 && (dims >> i & 1)) return 0;
  while (first < shape.size() && shape[first] == 1) ++first;
  const int row_dims = shape.size() - first;
  const std::int64_t length = row_length(shape, row_dims);
  return length > 1 && length <= kLongestRow ? row_dims : 0;
}

int kept_row_dims(const Node& node) noexcept {
  const Shape& shape = node.input(0)->shape;
  const auto& [dims, keepdim] = node.attributes<ReduceAttributes>();
  const auto reduce = static_cast<kernels::Reduce>(node.operation->kernel);
  if (reduce == kernels::Reduce::argmax || reduce == kernels::Reduce::argmin) return 0;
  int first = 0;  // of those that stay
  std::int64_t rows = 1;
  for (; first < shape.size() && (shape[first] == 1 || dims >> first & 1); ++first) rows *= shape[first];
  for (int i = first; i < shape.size(); ++i)
    if (shape[i] != 1 && (dims >> i & 1)) return 0;
  const int row_dims = shape.size() - first;
  const std::int64_t length = row_length(shape, row_dims);
  return rows > 1 && length >= kFewestColumns && length <= kLongestRow ? row_dims : 0;
}

// -- Steps ------------------------------------------------------------------------------------------------------------

bool Steps::join(Group& group, const Node& node) const noexcept {
  if (group.members >= kMostMembers) return false;
  const Shape& shape = *group.shape;
  const auto with_rows = [&](int row_dims) {
    if (row_dims == 0 || (group.row_dims != 0 && group.row_dims != row_dims)) return false;
    if (row_length(shape, row_dims) > kLongestRow) return false;
    group.row_dims = row_dims;
    return true;
  };
  const auto is_per_row = [&] { return group.row_dims != 0 && has_value_per_row(node.shape, shape, group.row_dims); };
  switch (fusible_kind(node)) {
    case Fusible::tile:
    case Fusible::same:
      return node.shape == shape || is_per_row() || with_rows(row_dims_of(node.shape, shape));
    case Fusible::random:
      return node.shape == shape;
    case Fusible::reduction:
      return node.input(0)->shape == shape && with_rows(reduced_row_dims(node));
    case Fusible::columns:
      return node.input(0)->shape == shape && with_rows(kept_row_dims(node));
    case Fusible::gather:
      return node.input(0)->shape == shape && with_rows(1);
    case Fusible::scatter:
      return node.shape == shape && with_rows(1);
    case Fusible::reshape: {
      const auto is_form = [&](const Shape& kept, const Shape& removed) {
        return row_dims_of(kept, shape) == group.row_dims && has_value_per_row(removed, shape, group.row_dims);
      };
      const Shape& input = node.input(0)->shape;
      return group.row_dims != 0 && (is_form(node.shape, input) || is_form(input, node.shape));
    }
    case Fusible::broadcast:
      return node.shape == shape && with_rows(row_dims_of(node.input(0)->shape, shape));
    case Fusible::none:
      break;
  }
  return false;
}

void Steps::build(const std::vector<Node*>& plan) {
  groups_.clear();
  for (Node* node : plan) node->mark = -1;
  // Cells' new leaves that nothing here reads come last, together, and so keep nobody from being computed late.
  groups_.emplace_back();
  groups_[kLeaves].leaves = groups_[kLeaves].late = true;
  bool any_columns = false;
  const auto can_join = [this](int step, const Node& node) {
    return step >= 0 && groups_[static_cast<std::size_t>(step)].shape &&
           join(groups_[static_cast<std::size_t>(step)], node);
  };
  // The first step, if any before the given one, that reads what the node is made of.
  const auto other_reader = [](const Node& start, int before) {
    constexpr int kMost = 16;  // nodes to look at
    const Node* nodes[kMost] = {&start};
    int other = before, count = 1;
    for (int at = 0; at < count; ++at)
      for (int i = 0; i < nodes[at]->input_count(); ++i) {
        const Node* input = nodes[at]->input(i);
        if (input->schedule == Schedule::none) continue;
        if (input->mark >= 0) other = std::max(other, input->mark);
        else if (count < kMost && fusible_kind(*input) != Fusible::none) nodes[count++] = input;
      }
    return other > before ? other : -1;
  };
  for (auto at = plan.rbegin(); at != plan.rend(); ++at) {
    Node& node = **at;
    const int reader = node.mark;
    const Fusible kind = fusible_kind(node);
    if (reader < 0 && node.cell) {
      node.mark = kLeaves;
    } else if (kind != Fusible::columns && can_join(reader, node)) {  // columns are complete after the step
    } else if (const int other = other_reader(node, reader); can_join(other, node)) {
      node.mark = other;
    } else {
      node.mark = static_cast<std::int32_t>(groups_.size());
      Group group;
      const bool reads_shape = kind == Fusible::reduction || kind == Fusible::columns || kind == Fusible::gather;
      const Shape& shape = reads_shape ? node.input(0)->shape : node.shape;
      if (numel(shape) > 0 && (kind == Fusible::tile || kind == Fusible::scatter || reads_shape)) {
        group.row_dims = kind == Fusible::reduction                            ? reduced_row_dims(node)
                         : kind == Fusible::columns                            ? kept_row_dims(node)
                         : kind == Fusible::gather || kind == Fusible::scatter ? 1
                                                                               : 0;
        if (kind == Fusible::tile || group.row_dims != 0) group.shape = &shape;
      }
      if (group.shape) group.late = reader >= 0;  // until it is known who reads it
      groups_.push_back(group);
    }
    if (kind == Fusible::gather || kind == Fusible::scatter) {
      // Indices are checked before the step begins: they come from a step before it.
      if (Node* index = node.input(1); index->schedule != Schedule::none) {
        index->mark = std::max(index->mark, static_cast<std::int32_t>(groups_.size()));
        groups_.emplace_back();
      }
    }
    any_columns |= kind == Fusible::columns;
    ++groups_[static_cast<std::size_t>(node.mark)].members;
    for (int i = 0; i < node.input_count(); ++i)
      if (Node* input = node.input(i); input->schedule != Schedule::none)
        input->mark = std::max(input->mark, node.mark);
  }
  for (const Node* node : plan) {
    const Group& reader = groups_[static_cast<std::size_t>(node->mark)];
    if (reader.leaves) continue;
    for (int i = 0; i < node->input_count(); ++i)
      if (const Node* input = node->input(i); input->schedule != Schedule::none && input->mark != node->mark)
        groups_[static_cast<std::size_t>(input->mark)].late = false;
  }
  if (any_columns) merge_columns(plan);
  // By steps, the last created first; within a step in the order of the plan.
  const std::size_t steps = groups_.size();
  first_.assign(steps + 1, 0);
  for (std::size_t i = 0; i < steps; ++i) first_[i + 1] = first_[i] + groups_[steps - 1 - i].members;
  nodes_.resize(plan.size());
  order_.resize(plan.size());
  for (std::size_t i = 0; i < steps; ++i) groups_[steps - 1 - i].members = first_[i];  // where the next one goes
  for (std::size_t i = 0; i < plan.size(); ++i)
    order_[static_cast<std::size_t>(groups_[static_cast<std::size_t>(plan[i]->mark)].members++)] = static_cast<int>(i);
  arrange(plan);
}

/// Reductions of columns, and what reads the same as they do, in one step: a step is computed together with an earlier
/// one where nothing that it needs comes in between.
void Steps::merge_columns(const std::vector<Node*>& plan) {
  const auto steps = static_cast<int>(groups_.size());
  // The members of each step as a list.
  struct List {
    int first = -1, last = -1;
    bool columns = false;
  };
  std::vector<List> lists(groups_.size());
  std::vector<int> next(plan.size(), -1);
  for (std::size_t i = 0; i < plan.size(); ++i) {
    List& list = lists[static_cast<std::size_t>(plan[i]->mark)];
    (list.first < 0 ? list.first : next[static_cast<std::size_t>(list.last)]) = static_cast<int>(i);
    list.last = static_cast<int>(i);
    list.columns |= fusible_kind(*plan[i]) == Fusible::columns;
  }
  const auto for_members = [&](int step, const auto& visit) {
    for (int i = lists[static_cast<std::size_t>(step)].first; i >= 0; i = next[static_cast<std::size_t>(i)])
      visit(*plan[static_cast<std::size_t>(i)]);
  };
  const auto fits = [](const Group& a, const Group& b) {
    return b.shape && !b.late && *a.shape == *b.shape && a.members + b.members <= kMostMembers &&
           (a.row_dims == 0 || b.row_dims == 0 || a.row_dims == b.row_dims);
  };
  for (int later = 0; later < steps; ++later) {
    Group& group = groups_[static_cast<std::size_t>(later)];
    List& list = lists[static_cast<std::size_t>(later)];
    if (!group.shape || group.late || group.members == 0) continue;
    int producer = steps;  // the step, after all others, that makes something that this one reads
    bool reads_columns = false;
    constexpr int kMostReads = 8;
    const Node* reads[kMostReads];  // some of what it reads
    int count = 0;
    for_members(later, [&](const Node& node) {
      for (int i = 0; i < node.input_count(); ++i) {
        const Node* input = node.input(i);
        const bool planned = input->schedule != Schedule::none;
        if (planned && input->mark == later) continue;
        if (count < kMostReads && !input->shape.empty()) reads[count++] = input;
        if (!planned || input->mark > producer) continue;
        reads_columns = fusible_kind(*input) == Fusible::columns || (reads_columns && input->mark == producer);
        producer = input->mark;
      }
    });
    int into = -1;
    if (producer < steps && !reads_columns && fits(group, groups_[static_cast<std::size_t>(producer)]) &&
        (list.columns || lists[static_cast<std::size_t>(producer)].columns))
      into = producer;
    // Else one that reads the same.
    constexpr int kMostTried = 8, kFarthest = 256;
    const int end = std::min({producer, steps, later + kFarthest});
    for (int other = later + 1, tried = 0; list.columns && into < 0 && other < end && tried < kMostTried; ++other) {
      if (!fits(group, groups_[static_cast<std::size_t>(other)])) continue;
      ++tried;
      for_members(other, [&](const Node& node) {
        for (int i = 0; i < node.input_count(); ++i)
          if (std::find(reads, reads + count, node.input(i)) != reads + count) into = other;
      });
    }
    if (into < 0) continue;
    for_members(later, [&](Node& node) { node.mark = into; });
    Group& target = groups_[static_cast<std::size_t>(into)];
    List& joined = lists[static_cast<std::size_t>(into)];
    if (target.row_dims == 0) target.row_dims = group.row_dims;
    target.members += std::exchange(group.members, 0);
    group.shape = nullptr;
    next[static_cast<std::size_t>(joined.last)] = list.first;
    joined.last = list.last;
    joined.columns |= list.columns;
    list = List{};
  }
}

}  // namespace adjoint::detail
