#include "engine/execute.hpp"
#include "engine/fuse.hpp"
#include "engine/fusible.hpp"

#include <algorithm>

namespace adjoint::detail {

Fusible fusible_kind(const Node& node) noexcept {
  const auto execute = node.operation->execute;
  if (execute == execute_elementwise || execute == execute_cast) return Fusible::tile;
  if (execute == execute_reduction) return Fusible::reduction;
  if (execute == execute_alias) return node.cell ? Fusible::none : Fusible::same;
  if (execute == execute_reshape) return Fusible::reshape;
  if (execute == execute_broadcast) return Fusible::broadcast;
  if (execute == execute_random) return Fusible::random;
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
    case Fusible::reshape:
      return group.row_dims != 0 && row_dims_of(node.shape, shape) == group.row_dims &&
             has_value_per_row(node.input(0)->shape, shape, group.row_dims);
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
  const auto can_join = [this](int step, const Node& node) {
    return step >= 0 && groups_[static_cast<std::size_t>(step)].shape &&
           join(groups_[static_cast<std::size_t>(step)], node);
  };
  // The first step, if any before the given one, that reads what the node reads.
  const auto other_reader = [](const Node& node, int before) {
    int other = before;
    for (int i = 0; i < node.input_count(); ++i)
      if (const Node* input = node.input(i); input->schedule != Schedule::none) other = std::max(other, input->mark);
    return other > before ? other : -1;
  };
  for (auto at = plan.rbegin(); at != plan.rend(); ++at) {
    Node& node = **at;
    const int reader = node.mark;
    if (reader < 0 && node.cell) {
      node.mark = kLeaves;
    } else if (can_join(reader, node)) {
    } else if (const int other = other_reader(node, reader); can_join(other, node)) {
      node.mark = other;
    } else {
      node.mark = static_cast<std::int32_t>(groups_.size());
      const Fusible kind = fusible_kind(node);
      Group group;
      if (kind == Fusible::tile && numel(node.shape) > 0) {
        group.shape = &node.shape;
      } else if (kind == Fusible::reduction && numel(node.input(0)->shape) > 0) {
        group.row_dims = reduced_row_dims(node);
        if (group.row_dims != 0) group.shape = &node.input(0)->shape;
      }
      if (group.shape) group.late = reader >= 0;  // until it is known who reads it
      groups_.push_back(group);
    }
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

}  // namespace adjoint::detail
