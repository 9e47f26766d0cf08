#include "engine/execute.hpp"
#include "engine/fuse.hpp"
#include "engine/fusible.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <utility>

namespace adjoint::detail {

namespace {

bool has_index_per_row(const Node& node, const Shape& shape) noexcept {
  const Node& index = *node.input(1);
  return index.dtype == int64 && node.attributes<IndexAttributes>().dim + 1 == shape.size() &&
         row_dims_of(index.shape, shape) == 1;
}

}  // namespace

Fusible fusible_kind(const Node& node) noexcept {
  const auto execute = node.operation->execute;
  if (execute == execute_elementwise || execute == execute_cast) return Fusible::tile;
  if (execute == execute_reduction) return kept_rows(node).dims != 0 ? Fusible::columns : Fusible::reduction;
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

bool Rows::are_last(const MemoryOrder& order) const noexcept {
  const int rank = shape->size(), first = rank - behind - dims;
  for (int i = 0; i < dims; ++i)
    if (order.position(first + i) != rank - dims + i) return false;
  return true;
}
Rows kept_rows(const Node& node) noexcept {
  const Shape& shape = node.input(0)->shape;
  const Rows none{&shape, 0};
  const std::uint32_t dims = node.attributes<ReduceAttributes>().dims;
  const auto reduce = static_cast<kernels::Reduce>(node.operation->kernel);
  if (reduce == kernels::Reduce::argmax || reduce == kernels::Reduce::argmin) return none;
  const auto is_reduced = [&](int i) { return shape[i] != 1 && (dims >> i & 1); };
  int first = 0, end = shape.size();  // of those that stay
  std::int64_t rows = 1, length = 1;
  for (; first < end && (shape[first] == 1 || is_reduced(first)); ++first) rows *= shape[first];
  for (int i = first; i < end; ++i)
    if (is_reduced(i)) end = i;
    else length *= shape[i];
  for (int i = end; i < shape.size(); ++i)
    if (shape[i] != 1 && !is_reduced(i)) return none;
  if (rows == 1 || length < kFewestColumns || length > kLongestRow) return none;
  while (end < shape.size() && shape[end - 1] == 1) --end;
  return {&shape, end - first, shape.size() - end};
}

Rows rows_of(const Node& node, Fusible kind) noexcept {
  switch (kind) {
    case Fusible::reduction:
      return {&node.input(0)->shape, reduced_row_dims(node)};
    case Fusible::columns:
      return kept_rows(node);
    case Fusible::gather:
    case Fusible::scatter:
      return {&node.input(0)->shape, 1};
    case Fusible::broadcast:
      return {&node.shape, row_dims_of(node.input(0)->shape, node.shape)};
    default:
      return {&node.shape, 0};
  }
}

void find_moved(Node* const* nodes, int count, bool* is_moved) noexcept {
  for (int i = 0; i < count; ++i) {
    const Node* input = is_movement(fusible_kind(*nodes[i])) ? nodes[i]->input(0) : nullptr;
    is_moved[i] = input && (!is_member(nodes, count, *input) || is_moved[input->mark]);
  }
}

void find_read_outside(Node* const* nodes, int count, const Repeated& repeated, bool* is_read) noexcept {
  int readers[kMostMembers] = {};
  for (int i = 0; i < count; ++i) is_read[i] = nodes[i]->keeps_own_value() || nodes[i]->cell != nullptr;
  for (int i = 0; i < count; ++i) {
    const Node& node = *nodes[i];
    if (has_bit(repeated.again, i)) continue;  // it will read its inputs once more
    for (int k = 0; k < node.input_count(); ++k) {
      const Node& input = *node.input(k);
      if (!is_member(nodes, count, input)) continue;
      ++readers[input.mark];
      is_read[input.mark] |= node.keeps_input(k);
    }
  }
  for (int i = 0; i < count; ++i)
    is_read[i] = !has_bit(repeated.unwritten(), i) && (is_read[i] || nodes[i]->uses() != readers[i]);
}

namespace {

constexpr std::int64_t kFewestToMerge = 4096;  // elements: less costs little to be read again

/// What is worth looking for others that read the same: by the order in which groups are found these may come apart.
bool is_worth_merging(const Node& node, Fusible kind) noexcept {
  if (kind != Fusible::columns && !indexes_rows(kind)) return false;
  return numel(node.input(0)->shape) >= kFewestToMerge;
}

/// The product that an addition adds to its first operand, through reshapes and permutations, if nobody else reads it;
/// or null.
const Node* added_product(const Node& node) noexcept {
  if (node.operation->execute != execute_elementwise || !is_floating(node.dtype) || node.cell ||
      static_cast<kernels::Tile>(node.operation->kernel) != kernels::Tile::add)
    return nullptr;
  const Node* product = node.input(1);
  if (node.input(0)->shape != node.shape || product->shape != node.shape || node.keeps_input(1)) return nullptr;
  for (int views = 0; views <= 3; ++views, product = product->input(0)) {
    if (product->schedule == Schedule::none || product->uses() != 1 || product->keeps_own_value()) return nullptr;
    const auto execute = product->operation->execute;
    if (execute == execute_matmul) return product->input(0)->shape.back() > 0 ? product : nullptr;
    if ((execute != execute_permute && execute != execute_reshape) || product->keeps_input(0)) return nullptr;
  }
  return nullptr;
}

/// Whether a node is the product that is added to a sum, or how that is seen.
bool is_added(const Node& node, const Node& sum) noexcept {
  const Node* at = sum.input(1);
  while (at != &node && at->operation->execute != execute_matmul) at = at->input(0);
  return at == &node;
}

/// The order in which a node's value will lie in memory, as far as a look at what it is made of tells.
MemoryOrder likely_order(const Node& start) noexcept {
  constexpr int kMost = 16;  // nodes to look at
  const Node* nodes[kMost] = {&start};
  for (int at = 0, count = 1; at < count; ++at) {
    const Node& node = *nodes[at];
    const auto execute = node.operation->execute;
    if (node.value.data) {
      if (const MemoryOrder order(node.shape, node.value.strides); !order.is_row_major()) return order;
    } else if ((execute == execute_convolution || execute == execute_pooling) && node.shape.size() >= 3) {
      return {node.shape, channels_last_strides(node.shape)};
    } else if (execute != execute_permute && execute != execute_reshape && execute != execute_reduction) {
      for (int i = 0; i < node.input_count(); ++i)
        if (node.input(i)->shape.size() == start.shape.size() && count < kMost) nodes[count++] = node.input(i);
    }
  }
  return MemoryOrder(start.shape.size());
}

/// What a member asks of its group, but for columns that will not lie in rows: of row-major memory those behind them
/// are the rows.
Rows likely_rows(const Node& node, Fusible kind) noexcept {
  const Rows rows = rows_of(node, kind);
  if (rows.behind == 0) return rows;
  const MemoryOrder order = likely_order(*node.input(0));
  if (rows.are_last(order)) return rows;
  return {rows.shape, order.is_row_major() && is_row_of_many(row_length(*rows.shape, rows.behind)) ? rows.behind : 0};
}

}  // namespace

// -- Steps ------------------------------------------------------------------------------------------------------------

bool Steps::join(Group& group, const Node& node, Fusible kind) const noexcept {
  if (group.members >= kMostMembers) return false;
  const Shape& shape = *group.shape;
  const auto with_rows = [&](int row_dims, int behind = 0) {
    if (row_dims == 0 || (group.row_dims != 0 && (group.row_dims != row_dims || group.behind != behind))) return false;
    if (behind == 0 && row_length(shape, row_dims) > kLongestRow) return false;
    group.row_dims = row_dims;
    group.behind = behind;
    return true;
  };
  const bool has_rows = group.row_dims != 0 && group.behind == 0;
  const auto is_per_row = [&] { return has_rows && has_value_per_row(node.shape, shape, group.row_dims); };
  switch (kind) {
    case Fusible::tile:
    case Fusible::same:
      return node.shape == shape || is_per_row() || with_rows(row_dims_of(node.shape, shape));
    case Fusible::random:
      return node.shape == shape;
    case Fusible::reduction:
    case Fusible::columns:
    case Fusible::gather:
    case Fusible::scatter:
    case Fusible::broadcast: {
      const Rows rows = likely_rows(node, kind);
      return *rows.shape == shape && with_rows(rows.dims, rows.behind);
    }
    case Fusible::reshape: {
      const auto is_form = [&](const Shape& kept, const Shape& removed) {
        return row_dims_of(kept, shape) == group.row_dims && has_value_per_row(removed, shape, group.row_dims);
      };
      const Shape& input = node.input(0)->shape;
      return has_rows && (is_form(node.shape, input) || is_form(input, node.shape));
    }
    case Fusible::none:
      break;
  }
  return false;
}

/// Whether an addition of a product is a step by itself: the next in a sum of such, or the last in a long one.
bool Steps::starts_product_sum(const Node& node, int reader) const noexcept {
  if (!added_product(node)) return false;
  const Node* const sum = reader >= 0 ? groups_[static_cast<std::size_t>(reader)].sum : nullptr;
  if (sum && sum->input(0) == &node && node.uses() == 1) return true;
  const Node* at = node.input(0);
  for (int more = 2; more > 0; --more, at = at->input(0))
    if (at->schedule == Schedule::none || at->uses() != 1 || !added_product(*at)) return false;
  return true;
}

void Steps::build(const std::vector<Node*>& plan, std::int64_t fewest_to_recompute) {
  groups_.clear();
  recomputed_.clear();
  recomputed_at_.clear();
  std::int64_t largest = 0;
  for (Node* node : plan) {
    node->mark = -1;
    largest = std::max(largest, numel(node->shape));
  }
  // Cells' new leaves that nothing here reads come last, together, and so keep nobody from being computed late.
  groups_.emplace_back();
  groups_[kLeaves].leaves = groups_[kLeaves].late = true;
  bool any_special = false;  // reductions of columns, or indices
  const auto can_join = [this](int step, const Node& node, Fusible kind) {
    return step >= 0 && groups_[static_cast<std::size_t>(step)].shape &&
           join(groups_[static_cast<std::size_t>(step)], node, kind);
  };
  // The first step, if any before the given one, that reads what the node is made of. A single element is read again
  // for nothing.
  const auto other_reader = [largest](const Node& start, int before) {
    constexpr int kMost = 16;  // nodes to look at
    const int most = largest < kFewestToMerge ? 1 : kMost;
    const Node* nodes[kMost] = {&start};
    int other = before, count = 1;
    for (int at = 0; at < count; ++at)
      for (int i = 0; i < nodes[at]->input_count(); ++i) {
        const Node* input = nodes[at]->input(i);
        if (input->schedule == Schedule::none || (most > 1 && numel(input->shape) == 1)) continue;
        if (input->mark >= 0) other = std::max(other, input->mark);
        else if (count < most && fusible_kind(*input) != Fusible::none) nodes[count++] = input;
      }
    return other > before ? other : -1;
  };
  const auto is_part_of_sum = [this](int step, const Node& node) {
    const Node* const sum = groups_[static_cast<std::size_t>(step)].sum;
    return sum && is_added(node, *sum);
  };
  // What is small beside other things is not worth it that these wait for each other, but where both are read by a step
  // that waits for them.
  const auto is_small = [largest](const Node& node) {
    const std::int64_t read = node.input_count() > 0 ? numel(node.input(0)->shape) : 0;
    return 16 * std::max(numel(node.shape), read) < largest;
  };
  const auto group_to_join = [&](const Node& node, int reader) {
    if (!is_small(node)) return other_reader(node, reader);
    const int feeder = reader >= 0 ? groups_[static_cast<std::size_t>(reader)].feeder : -1;
    return feeder >= 0 && other_reader(node, reader) == feeder ? feeder : -1;
  };
  for (auto at = plan.rbegin(); at != plan.rend(); ++at) {
    Node& node = **at;
    const int reader = node.mark;
    const Fusible kind = fusible_kind(node);
    if (reader < 0 && node.operation == &kLeaf && node.cell) {
      node.mark = kLeaves;
    } else if (reader >= 0 && is_part_of_sum(reader, node)) {  // of that step
    } else if (kind == Fusible::tile && starts_product_sum(node, reader)) {
      node.mark = static_cast<std::int32_t>(groups_.size());
      groups_.emplace_back();
      groups_.back().sum = &node;
    } else if (kind != Fusible::columns && can_join(reader, node, kind)) {  // columns are complete after the step
    } else if (const int other = group_to_join(node, reader); can_join(other, node, kind)) {
      node.mark = other;
    } else {
      node.mark = static_cast<std::int32_t>(groups_.size());
      Group group;
      const bool has_rows = kind == Fusible::reduction || kind == Fusible::columns || indexes_rows(kind);
      const Rows rows = likely_rows(node, kind);
      if (numel(*rows.shape) > 0 && (kind == Fusible::tile || (has_rows && rows.dims != 0))) {
        group.shape = rows.shape;
        group.row_dims = rows.dims;
        group.behind = rows.behind;
        if (reader >= 0 && !groups_[static_cast<std::size_t>(reader)].shape)
          groups_[static_cast<std::size_t>(reader)].feeder = node.mark;
        group.late = reader >= 0 || node.cell;  // until it is known who reads it
      }
      groups_.push_back(group);
    }
    if (indexes_rows(kind)) {
      // Indices are checked before the step begins: they come from a step before it.
      if (Node* index = node.input(1); index->schedule != Schedule::none) {
        index->mark = std::max(index->mark, static_cast<std::int32_t>(groups_.size()));
        groups_.emplace_back();
      }
    }
    any_special |= is_worth_merging(node, kind);
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
  if (any_special) merge_groups(plan);
  if (largest >= fewest_to_recompute) find_recomputed(plan, fewest_to_recompute);
  // By steps, the last created first; within a step in the order of the plan.
  const std::size_t steps = groups_.size();
  first_.assign(steps + 1, 0);
  for (std::size_t i = 0; i < steps; ++i) first_[i + 1] = first_[i] + groups_[steps - 1 - i].members;
  nodes_.resize(static_cast<std::size_t>(first_[steps]));
  order_.resize(nodes_.size());
  for (Group& group : groups_) group.members = 0;  // those that have their places
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const auto place = [&](int number) {
      Group& group = groups_[static_cast<std::size_t>(number)];
      const int at = group.members++;
      order_[static_cast<std::size_t>(first_[steps - 1 - static_cast<std::size_t>(number)] + at)] = static_cast<int>(i);
      return at < kMostMembers ? MemberBits{1} << at : 0;
    };
    if (recomputed_at_.empty() || recomputed_at_[i] < 0) {
      place(plan[i]->mark);
      continue;
    }
    const Recomputed& node = recomputed_[static_cast<std::size_t>(recomputed_at_[i])];
    for (int k = 0; k < node.count; ++k) {
      Group& group = groups_[static_cast<std::size_t>(node.groups[k])];
      const MemberBits bit = place(node.groups[k]);
      if (k > 0 || node.stays) group.repeated.again |= bit;
      else group.repeated.last |= bit;
      if (k == 0 && node.stays) group.repeated.left |= bit;
    }
  }
  arrange(plan);
}

namespace {

/// Groups that are computed together with others after all: which may be, without a circle.
class Merger {
 public:
  Merger(const std::vector<Node*>& plan, int steps) : plan_(plan), of_(static_cast<std::size_t>(steps)) {
    steps_.resize(of_.size());
    next_node_.assign(plan.size(), -1);
    for (std::size_t i = 0; i < of_.size(); ++i) of_[i] = steps_[i].last_step = static_cast<int>(i);
    std::size_t edges = 0;
    for (std::size_t i = 0; i < plan.size(); ++i) {
      Step& step = steps_[static_cast<std::size_t>(plan[i]->mark)];
      (step.first < 0 ? step.first : next_node_[static_cast<std::size_t>(step.last)]) = static_cast<int>(i);
      step.last = static_cast<int>(i);
      const Fusible kind = fusible_kind(*plan[i]);
      step.is_special |= is_worth_merging(*plan[i], kind);
      for_producers(*plan[i], [&](int producer, bool) { ++steps_[static_cast<std::size_t>(producer)].edges, ++edges; });
    }
    edges_.resize(edges);
    int at = 0;
    for (Step& step : steps_) {
      step.first_edge = at;
      at += std::exchange(step.edges, 0);
    }
    for (const Node* node : plan)
      for_producers(*node, [&](int producer, bool apart) {
        Step& step = steps_[static_cast<std::size_t>(producer)];
        edges_[static_cast<std::size_t>(step.first_edge + step.edges++)] = {node->mark, apart};
      });
  }

  bool is_special(int step) const { return steps_[static_cast<std::size_t>(step)].is_special; }
  int now(int step) const { return of_[static_cast<std::size_t>(step)]; }
  template <class Visit>
  void for_members(int step, const Visit& visit) const {
    for (int i = steps_[static_cast<std::size_t>(step)].first; i >= 0; i = next_node_[static_cast<std::size_t>(i)])
      visit(*plan_[static_cast<std::size_t>(i)]);
  }

  /// Whether two steps may be one: neither waits for what is made of the other's results elsewhere, or has to come
  /// before the other.
  bool may_merge(int a, int b) { return !leads(a, b) && !leads(b, a); }
  void merge(int step, int into) {
    Step &from = steps_[static_cast<std::size_t>(step)], &to = steps_[static_cast<std::size_t>(into)];
    for_members(step, [&](Node& node) { node.mark = into; });
    next_node_[static_cast<std::size_t>(to.last)] = from.first;
    to.last = from.last;
    for (int s = step; s >= 0; s = steps_[static_cast<std::size_t>(s)].next_step)
      of_[static_cast<std::size_t>(s)] = into;
    steps_[static_cast<std::size_t>(to.last_step)].next_step = step;
    to.last_step = from.last_step;
    to.is_special |= from.is_special;
    from.first = -1;
  }

  /// The steps, each after those that read it, else as they were.
  std::vector<int> order() {
    std::vector<int> result;
    std::vector<std::pair<int, bool>> stack;
    ++stamp_;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (of_[i] == static_cast<int>(i)) stack.emplace_back(static_cast<int>(i), false);
      while (!stack.empty()) {
        const auto [step, done] = stack.back();
        stack.pop_back();
        Step& entry = steps_[static_cast<std::size_t>(step)];
        if (done) {
          result.push_back(step);
        } else if (entry.seen != stamp_) {
          entry.seen = stamp_;
          stack.emplace_back(step, true);
          for_readers(step, [&](int reader, bool) {
            if (steps_[static_cast<std::size_t>(reader)].seen != stamp_) stack.emplace_back(reader, false);
          });
        }
      }
    }
    return result;
  }

 private:
  struct Step {
    int first = -1, last = -1;           // members
    int next_step = -1, last_step = -1;  // those that were merged into it
    int first_edge = 0, edges = 0, seen = 0;
    bool is_special = false;
  };
  struct Edge {
    int reader;
    bool apart;  // the reader cannot be computed together with what it reads
  };

  template <class Visit>
  static void for_producers(const Node& node, const Visit& visit) {
    const bool reads_indices = indexes_rows(fusible_kind(node));
    for (int i = 0; i < node.input_count(); ++i)
      if (const Node* input = node.input(i); input->schedule != Schedule::none && input->mark != node.mark)
        visit(input->mark, fusible_kind(*input) == Fusible::columns || (reads_indices && i == 1));
  }
  template <class Visit>
  void for_readers(int step, const Visit& visit) const {
    for (int s = step; s >= 0; s = steps_[static_cast<std::size_t>(s)].next_step) {
      const Step& part = steps_[static_cast<std::size_t>(s)];
      for (int e = part.first_edge; e < part.first_edge + part.edges; ++e) {
        const Edge& edge = edges_[static_cast<std::size_t>(e)];
        if (const int reader = now(edge.reader); reader != step) visit(reader, edge.apart);
      }
    }
  }
  bool leads(int from, int to) {
    constexpr int kMost = 512;  // steps to look at; with more it is said to be so
    ++stamp_;
    int looked_at = 0;
    bool found = false;
    stack_.assign(1, from);
    while (!stack_.empty() && !found) {
      const int step = stack_.back();
      stack_.pop_back();
      if (++looked_at > kMost) return true;
      for_readers(step, [&](int reader, bool apart) {
        if (reader == to) {
          found |= step != from || apart;
        } else if (Step& entry = steps_[static_cast<std::size_t>(reader)]; entry.seen != stamp_) {
          entry.seen = stamp_;
          stack_.push_back(reader);
        }
      });
    }
    return found;
  }

  const std::vector<Node*>& plan_;
  std::vector<int> of_;  // what steps were merged into
  std::vector<Step> steps_;
  std::vector<Edge> edges_;
  std::vector<int> next_node_, stack_;
  int stamp_ = 0;
};

}  // namespace

/// Groups with reductions of columns, or of indices, together with others that read the same, or each other: by the way
/// in which groups are found they may come at different times.
void Steps::merge_groups(const std::vector<Node*>& plan) {
  const auto steps = static_cast<int>(groups_.size());
  Merger merger(plan, steps);
  const auto fits = [](const Group& a, const Group& b) {
    return b.shape && !b.late && b.members > 0 && *a.shape == *b.shape && a.members + b.members <= kMostMembers &&
           (a.row_dims == 0 || b.row_dims == 0 || (a.row_dims == b.row_dims && a.behind == b.behind));
  };
  bool any = false;
  const auto merge_one = [&](int step) {
    Group& group = groups_[static_cast<std::size_t>(step)];
    constexpr int kMostReads = 12;
    const Node* reads[kMostReads];  // some of what it reads
    int count = 0;
    const auto is_read = [&](const Node* node) { return std::find(reads, reads + count, node) != reads + count; };
    merger.for_members(step, [&](const Node& node) {
      for (int i = 0; i < node.input_count() && count < kMostReads; ++i) {
        const Node* input = node.input(i);
        const bool inside = input->schedule != Schedule::none && input->mark == step;
        if (!inside && !input->shape.empty() && !is_read(input)) reads[count++] = input;
      }
    });
    const auto is_related = [&](int other) {
      bool related = false;
      merger.for_members(other, [&](const Node& node) {
        related |= is_read(&node);
        for (int i = 0; i < node.input_count(); ++i) {
          const Node* input = node.input(i);
          related |= is_read(input) || (input->schedule != Schedule::none && input->mark == step);
        }
      });
      return related;
    };
    constexpr int kMostTried = 16, kFarthest = 256;
    const int begin = std::max(0, step - kFarthest), end = std::min(steps, step + kFarthest);
    for (int other = begin, tried = 0; other < end && tried < kMostTried; ++other) {
      Group& from = groups_[static_cast<std::size_t>(other)];
      if (other == step || !fits(group, from)) continue;
      ++tried;
      if (!is_related(other) || !merger.may_merge(step, other)) continue;
      merger.merge(other, step);
      if (group.row_dims == 0) group.row_dims = from.row_dims, group.behind = from.behind;
      group.members += from.members;
      from = Group{};
      return true;
    }
    return false;
  };
  for (int step = 0; step < steps; ++step) {
    const Group& group = groups_[static_cast<std::size_t>(step)];
    while (group.shape && !group.late && group.members > 0 && merger.is_special(step) && merge_one(step)) any = true;
  }
  if (!any) return;
  const std::vector<int> order = merger.order();
  std::vector<Group> groups;
  for (std::size_t i = 0; i < order.size(); ++i) {
    groups.push_back(groups_[static_cast<std::size_t>(order[i])]);
    merger.for_members(order[i], [&](Node& node) { node.mark = static_cast<std::int32_t>(i); });
  }
  groups_ = std::move(groups);
}

}  // namespace adjoint::detail
