#include "engine/fuse.hpp"

#include "engine/execute.hpp"
#include "engine/threads.hpp"
#include "kernels/elements.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <iterator>
#include <memory>
#include <new>
#include <utility>

namespace adjoint::detail {
namespace {

using kernels::kTile;

constexpr int kMostMembers = 48;
// Rows longer than this are reduced in blocks (execute_reduction.cpp), by another step.
constexpr std::int64_t kLongestRow = 1 << 16;
// What a block's buffers should take of the first-level cache.
constexpr std::int64_t kBlockBytes = 24 << 10;
constexpr std::int64_t kShortestBlock = 128, kLongestBlock = 2 * kTile;  // elements, or one row

enum class Kind : std::uint8_t { none, tile, reduction, random, same, reshape, broadcast };

Kind kind_of(const Node& node) noexcept {
  const auto execute = node.operation->execute;
  if (execute == execute_elementwise || execute == execute_cast) return Kind::tile;
  if (execute == execute_reduction) return Kind::reduction;
  if (execute == execute_alias) return node.cell ? Kind::none : Kind::same;
  if (execute == execute_reshape) return Kind::reshape;
  if (execute == execute_broadcast) return Kind::broadcast;
  if (execute == execute_random) return Kind::random;
  return Kind::none;
}

bool is_movement(Kind kind) noexcept { return kind == Kind::same || kind == Kind::reshape || kind == Kind::broadcast; }

std::int64_t row_length(const Shape& shape, int row_dims) noexcept {
  std::int64_t length = 1;
  for (int i = shape.size() - row_dims; i < shape.size(); ++i) length *= shape[i];
  return length;
}

/// How many last dims of `shape` the array `rows` has one value for, by dims of size 1 in their place; 0: it is not so.
int row_dims_of(const Shape& rows, const Shape& shape) noexcept {
  if (rows.size() != shape.size()) return 0;
  int first = 0;
  while (first < shape.size() && rows[first] == shape[first]) ++first;
  for (int i = first; i < shape.size(); ++i)
    if (rows[i] != 1) return 0;
  const int dims = shape.size() - first;
  return dims > 0 && row_length(shape, dims) > 1 ? dims : 0;
}
/// The same for an array without those dims.
bool has_value_per_row(const Shape& rows, const Shape& shape, int row_dims) noexcept {
  if (rows.size() != shape.size() - row_dims) return false;
  for (int i = 0; i < rows.size(); ++i)
    if (rows[i] != shape[i]) return false;
  return true;
}
/// How many last dims a reduction goes over; 0: others, too many elements, or a single one.
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

}  // namespace

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
  switch (kind_of(node)) {
    case Kind::tile:
    case Kind::same:
      return node.shape == shape || is_per_row() || with_rows(row_dims_of(node.shape, shape));
    case Kind::random:
      return node.shape == shape;
    case Kind::reduction:
      return node.input(0)->shape == shape && with_rows(reduced_row_dims(node));
    case Kind::reshape:
      return group.row_dims != 0 && row_dims_of(node.shape, shape) == group.row_dims &&
             has_value_per_row(node.input(0)->shape, shape, group.row_dims);
    case Kind::broadcast:
      return node.shape == shape && with_rows(row_dims_of(node.input(0)->shape, shape));
    case Kind::none:
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
      const Kind kind = kind_of(node);
      Group group;
      if (kind == Kind::tile && numel(node.shape) > 0) {
        group.shape = &node.shape;
      } else if (kind == Kind::reduction && numel(node.input(0)->shape) > 0) {
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

// -- execution --------------------------------------------------------------------------------------------------------

/// A group as a program: instructions over a block of rows, on buffers, and on inputs' and results' memory.
class Program {
 public:
  /// Translates a group, and allocates memory for its results. False where it has to be computed node by node; then,
  /// and when it throws std::bad_alloc, forget().
  bool plan(Node* const* nodes, int count, bool late);
  /// The bytes that compute() wants, or 0.
  std::size_t buffer_bytes() const noexcept;
  void compute(std::byte* buffers);
  /// Lets go of the results' memory, to which nothing has been written.
  void forget() noexcept;

 private:
  static constexpr int kMostExternals = 64, kMostValues = 2 * kMostMembers + kMostExternals;
  static constexpr std::int16_t kNone = -1;

  /// Where the elements of a value are, for a block.
  enum class Place : std::uint8_t {
    buffer,    // in a buffer of the block's; results of instructions
    memory,    // contiguous in memory
    loaded,    // strided in memory: loaded into a buffer
    constant,  // the same for each block: loaded into a buffer once
  };
  struct Value {
    Place place;
    bool per_row;  // one element for each row, else for each element of the shape
    bool single;   // all elements of a row are the same
    std::uint8_t element;
    std::int16_t buffer, last_use, external;
    const std::byte* data;
  };
  /// How a node's shape relates to the group's: the same, one value per row with sizes of 1 in place of its dims, or
  /// without these.
  enum class Form : std::uint8_t { full, kept, removed };
  using Reduction = void (*)(std::int64_t rows, std::int64_t n, const void* input, std::int64_t row_stride,
                             void* output);
  struct Instruction {
    enum class Kind : std::uint8_t { tile, reduce, random, expand } kind;
    std::uint8_t inputs;
    std::int16_t input[3], output;
    kernels::TileKernel kernel;
    Reduction reduce;
    const Node* node;
  };

  bool is_member(const Node* node) const noexcept {
    return node->mark >= 0 && node->mark < count_ && nodes_[node->mark] == node;
  }
  /// Whether a node's value is made by an instruction.
  bool is_inside(const Node* node) const noexcept { return is_member(node) && !node->value.data; }
  Form form_of(const Node& node) const noexcept {
    return node.shape == *shape_ ? Form::full : node.shape.size() == shape_->size() ? Form::kept : Form::removed;
  }
  bool prepare();
  bool find_order();
  bool translate(int index);
  int new_value(bool per_row, std::size_t element) noexcept;
  int value_of(const Node& input, Form form);
  int expanded(int value);
  void find_materialized();
  void place_results();
  void assign_buffers();
  template <bool is_long>  // is_long_
  void execute(std::int64_t first_row, std::int64_t last_row, std::byte* buffers) const;
  void execute(std::int64_t first_row, std::int64_t last_row, std::byte* buffers) const {
    is_long_ ? execute<true>(first_row, last_row, buffers) : execute<false>(first_row, last_row, buffers);
  }
  /// Whether an instruction of a long row goes tile by tile.
  bool is_cut(const Instruction& instruction) const noexcept {
    return instruction.kind == Instruction::Kind::tile && !values_[instruction.output].per_row;
  }
  std::byte* address(const Value& value, std::int64_t row, std::byte* buffers) const noexcept {
    if (value.place != Place::memory) return buffers + value.buffer * buffer_bytes_;
    return const_cast<std::byte*>(value.data) + row * (value.per_row ? 1 : length_) * value.element;
  }

  Node* const* nodes_;
  int count_;
  const Shape* shape_;  // of the group
  int row_dims_;
  MemoryOrder order_{0};
  Shape memory_shape_;                  // in the order in memory
  bool has_rows_;                       // else elements are rows of one
  Shape rows_shape_;                    // the dims before a row
  std::int64_t rows_, length_, block_;  // rows, elements of a row, rows of a block
  bool is_long_;                        // a block is one row, and longer than a tile
  std::int64_t per_chunk_, chunks_;     // rows
  std::int64_t buffer_bytes_;
  bool late_;
  int buffers_;
  std::size_t widest_;

  int value_count_, instruction_count_, external_count_;
  Value values_[kMostValues];
  Instruction instructions_[2 * kMostMembers];
  struct External {
    const Node* node;
    Form form;
    std::int16_t value;
    Strides strides;
  };
  External externals_[kMostExternals];
  std::int16_t member_value_[kMostMembers], expanded_[kMostValues];
  bool materialized_[kMostMembers];
};

namespace {

/// Whether the derivative of a computed reader will still read its i-th input.
bool keeps_input(const Node& reader, int i) noexcept {
  return reader.requires_grad && !reader.released_by && (reader.reads >> i & 1);
}

}  // namespace

/// The dims of the group, found as Steps found them.
bool Program::prepare() {
  shape_ = nullptr;
  row_dims_ = value_count_ = instruction_count_ = external_count_ = buffers_ = 0;
  widest_ = 1;
  for (int i = 0; i < count_; ++i) {
    Node& node = *nodes_[i];
    node.mark = i;
    for (int k = 0; k < node.input_count(); ++k)
      if (node.input(k)->state() == State::failed) return false;
    if (kind_of(node) == Kind::reduction) {
      shape_ = &node.input(0)->shape;
      row_dims_ = reduced_row_dims(node);
    } else if (kind_of(node) == Kind::broadcast) {
      shape_ = &node.shape;
      row_dims_ = row_dims_of(node.input(0)->shape, node.shape);
    }
  }
  if (!shape_) {
    // The largest; another shape has one value for each of its rows.
    for (int i = 0; i < count_; ++i)
      if (!shape_ || numel(nodes_[i]->shape) > numel(*shape_)) shape_ = &nodes_[i]->shape;
    for (int i = 0; i < count_; ++i)
      if (nodes_[i]->shape != *shape_) row_dims_ = row_dims_of(nodes_[i]->shape, *shape_);
  }
  has_rows_ = row_dims_ != 0;

  // Movement of what is computed already costs nothing, and makes it an input like others.
  for (int i = 0; i < count_; ++i) {
    Node& node = *nodes_[i];
    if (!is_movement(kind_of(node))) continue;
    if (!is_inside(node.input(0))) node.operation->execute(node);
  }

  if (!find_order()) return false;
  memory_shape_ = order_.apply(*shape_);

  length_ = row_length(*shape_, row_dims_);
  rows_shape_ = Shape(shape_->begin(), shape_->end() - row_dims_);
  rows_ = numel(rows_shape_);
  is_long_ = has_rows_ && length_ > kLongestBlock;
  return true;
}

/// All members of the group's shape have to lie in the same order, which follows from their inputs as it does when they
/// are computed one by one; those with a value for each row have to lie row-major.
bool Program::find_order() {
  order_ = MemoryOrder(shape_->size());
  const auto is_of_shape = [&](const Node& node) { return !node.value.data && node.shape == *shape_; };
  bool any_other = false;  // than row-major
  for (int i = 0; i < count_; ++i) {
    const Node& node = *nodes_[i];
    if (node.value.data) continue;  // moved already: an input
    for (int k = 0; k < node.input_count(); ++k) {
      const Node& input = *node.input(k);
      if (is_inside(&input) || input.shape != node.shape || is_row_major(input.shape, input.value.strides)) continue;
      if (is_of_shape(node)) any_other = true;
      else if (!MemoryOrder(input.shape, input.value.strides).is_row_major()) return false;
    }
  }
  if (!any_other) return true;
  bool known = false;
  MemoryOrder order_of_member[kMostMembers];
  for (int i = 0; i < count_; ++i) {
    const Node& node = *nodes_[i];
    if (!is_of_shape(node)) continue;
    MemoryOrder order(node.shape.size());
    for (int k = 0; k < node.input_count() && order.is_row_major(); ++k) {
      const Node& input = *node.input(k);
      if (input.shape != node.shape) continue;
      order = is_inside(&input) ? order_of_member[input.mark] : MemoryOrder(input.shape, input.value.strides);
    }
    order_of_member[i] = order;
    if (!known) order_ = order;
    else if (order != order_) return false;
    known = true;
  }
  return !has_rows_ || order_.is_row_major();
}

int Program::new_value(bool per_row, std::size_t element) noexcept {
  values_[value_count_] = {Place::buffer, per_row, false, static_cast<std::uint8_t>(element),
                           kNone,         kNone,   kNone, nullptr};
  expanded_[value_count_] = kNone;
  return value_count_++;
}

/// The value of an input, as a member of this form reads it; kNone when it is not known how.
int Program::value_of(const Node& input, Form form) {
  const bool per_row = form != Form::full;
  if (is_inside(&input)) {
    const int value = member_value_[input.mark];
    if (values_[value].per_row == per_row) return value;
    // Without a row's dims it would broadcast along others.
    return per_row || form_of(input) == Form::removed ? kNone : expanded(value);
  }
  for (int i = 0; i < external_count_; ++i)
    if (externals_[i].node == &input && externals_[i].form == form) return externals_[i].value;
  if (external_count_ == kMostExternals) return kNone;
  const int index = new_value(per_row, size_of(input.dtype));
  Value& value = values_[index];
  value.data = static_cast<const std::byte*>(input.value.data);
  value.external = static_cast<std::int16_t>(external_count_);
  External& external = externals_[external_count_++];
  external.node = &input;
  external.form = form;
  external.value = static_cast<std::int16_t>(index);
  Strides& strides = external.strides;
  switch (form) {
    case Form::full:
      strides = order_.apply(broadcast_strides(input.shape, input.value.strides, *shape_));
      break;
    case Form::removed:
      strides = broadcast_strides(input.shape, input.value.strides, rows_shape_);
      break;
    case Form::kept: {
      Shape with_ones = rows_shape_;
      while (with_ones.size() < shape_->size()) with_ones.push_back(1);
      strides = broadcast_strides(input.shape, input.value.strides, with_ones);
      while (strides.size() > rows_shape_.size()) strides.erase(strides.size() - 1);
      break;
    }
  }
  const Shape& shape = per_row ? rows_shape_ : memory_shape_;
  const int leading = per_row || !has_rows_ ? shape.size() : rows_shape_.size();
  bool repeats = true, same = true;
  for (int i = 0; i < leading; ++i) repeats &= shape[i] == 1 || strides[i] == 0;
  for (int i = leading; i < shape.size(); ++i) same &= shape[i] == 1 || strides[i] == 0;
  value.single = repeats && same && !per_row;
  if (is_row_major(shape, strides)) value.place = Place::memory;
  else value.place = repeats ? Place::constant : Place::loaded;
  return index;
}

/// A value per row as one for each element.
int Program::expanded(int value) {
  if (expanded_[value] != kNone) return expanded_[value];
  const int result = new_value(false, values_[value].element);
  values_[result].single = true;
  instructions_[instruction_count_++] = {Instruction::Kind::expand,
                                         1,
                                         {static_cast<std::int16_t>(value), kNone, kNone},
                                         static_cast<std::int16_t>(result),
                                         nullptr,
                                         nullptr,
                                         nullptr};
  return expanded_[value] = static_cast<std::int16_t>(result);
}

bool Program::translate(int index) {
  const Node& node = *nodes_[index];
  if (node.value.data) return true;  // an input by now
  if (value_count_ + 8 > kMostValues || instruction_count_ + 5 > static_cast<int>(std::size(instructions_)))
    return false;
  const Kind kind = kind_of(node);
  if (is_movement(kind)) {  // who reads it in another form than it has expands it
    member_value_[index] = member_value_[node.input(0)->mark];
    return true;
  }
  const Form form = form_of(node);
  const kernels::Table& table = kernels::table();
  Instruction::Kind what = Instruction::Kind::tile;
  kernels::TileKernel kernel = nullptr;
  Reduction reduce = nullptr;
  int inputs = 0;
  std::int16_t input_values[3] = {kNone, kNone, kNone};
  if (kind == Kind::random) {
    what = Instruction::Kind::random;
  } else if (kind == Kind::reduction) {
    const Node& input = *node.input(0);
    // Inputs that lie in another way, or repeat, are reduced in another way (execute_reduction.cpp).
    if (is_inside(&input) ? values_[member_value_[input.mark]].per_row
                          : !is_row_major(input.shape, input.value.strides))
      return false;
    what = Instruction::Kind::reduce;
    reduce = table.reduce_rows[node.operation->kernel][static_cast<int>(input.dtype)];
    inputs = 1;
    input_values[0] = static_cast<std::int16_t>(value_of(input, Form::full));
    if (input_values[0] == kNone) return false;
  } else {
    const auto tile = static_cast<kernels::Tile>(node.operation->kernel);
    if (node.operation->execute == execute_cast) {
      kernel = table.cast[static_cast<int>(node.input(0)->dtype)][static_cast<int>(node.dtype)];
    } else {
      const Dtype dtype = node.input(tile == kernels::Tile::where ? 1 : 0)->dtype;
      kernel = table.tile[node.operation->kernel][static_cast<int>(dtype)];
    }
    inputs = node.input_count();
    for (int k = 0; k < node.input_count(); ++k) {
      const int value = value_of(*node.input(k), form);
      if (value == kNone) return false;
      input_values[k] = static_cast<std::int16_t>(value);
    }
  }
  // Written here, behind the instructions that spread its inputs.
  Instruction& instruction = instructions_[instruction_count_++];
  instruction.kind = what;
  instruction.inputs = static_cast<std::uint8_t>(inputs);
  for (int k = 0; k < inputs; ++k) instruction.input[k] = input_values[k];
  instruction.output = member_value_[index] =
      static_cast<std::int16_t>(new_value(form != Form::full, size_of(node.dtype)));
  instruction.kernel = kernel;
  instruction.reduce = reduce;
  instruction.node = &node;
  return true;
}

/// Whose values are read by anybody but the members' computation.
void Program::find_materialized() {
  int readers[kMostMembers] = {};
  for (int i = 0; i < count_; ++i) materialized_[i] = nodes_[i]->keeps_own_value() || nodes_[i]->cell != nullptr;
  for (int i = 0; i < count_; ++i) {
    const Node& node = *nodes_[i];
    for (int k = 0; k < node.input_count(); ++k) {
      const Node& input = *node.input(k);
      if (!is_member(&input)) continue;
      ++readers[input.mark];
      materialized_[input.mark] |= keeps_input(node, k);
    }
  }
  for (int i = count_ - 1; i >= 0; --i) {
    Node& node = *nodes_[i];
    materialized_[i] |= node.uses() != readers[i];
    // Movement shows its input's memory.
    if (materialized_[i] && !node.value.data && is_movement(kind_of(node))) materialized_[node.input(0)->mark] = true;
  }
}

/// Whether a member's value is to be the cell's.
bool is_new_value_of(const Node& node, const Cell* cell) noexcept {
  const Node& leaf = *cell->current();
  return leaf.has_inputs() && leaf.input_count() == 1 && leaf.input(0) == &node;
}

/// Memory for what is materialized: an input's that nobody reads any more, or new one.
void Program::place_results() {
  bool taken[kMostExternals] = {};
  for (int at = 0; at < instruction_count_; ++at) {
    const Instruction& instruction = instructions_[at];
    if (!instruction.node || !materialized_[instruction.node->mark]) continue;
    Node& node = *nodes_[instruction.node->mark];
    Value& value = values_[instruction.output];
    bool donated = false;
    for (int e = 0; e < external_count_ && !value.per_row && !donated; ++e) {
      const Node& input = *externals_[e].node;
      const Value& from = values_[externals_[e].value];
      const Storage* storage = input.value.storage;
      if (taken[e] || from.per_row || from.place != Place::memory || from.last_use > at || is_member(&input) ||
          input.shape != node.shape || from.element != value.element || !storage || storage->is_shared() ||
          !storage->is_writable() || storage->data() != input.value.data || input.keeps_own_value())
        continue;
      int readers = 0;
      bool kept = false;
      for (int i = 0; i < count_; ++i)
        for (int k = 0; k < nodes_[i]->input_count(); ++k)
          if (nodes_[i]->input(k) == &input) {
            ++readers;
            kept |= keeps_input(*nodes_[i], k);
          }
      // What a cell would go back to is kept by the cell, too.
      const bool replaced =
          late_ && input.cell && input.cell->goes_back_to(&input) && is_new_value_of(node, input.cell);
      if (kept || input.uses() != readers + replaced) continue;
      node.alias_value(input.value, 0, order_.strides(node.shape));
      taken[e] = donated = true;
    }
    if (!donated) {
      node.allocate_value();
      if (!value.per_row && !order_.is_row_major()) node.value.strides = order_.strides(node.shape);
    }
    value.place = Place::memory;
    value.data = static_cast<const std::byte*>(node.value.data);
  }
}

void Program::assign_buffers() {
  // Where rows are cut into tiles, the next tile must find what it reads: a buffer is for elements of one size, since
  // those of another one would lie elsewhere, or for values that all tiles read.
  constexpr int kKinds = 4;
  std::int16_t free[kKinds][kMostValues] = {};
  int free_count[kKinds] = {};
  const auto kind_of_buffer = [&](const Value& value) {
    return !is_long_ ? 0 : value.single ? 3 : kernels::size_index(value.element);
  };
  const auto take = [&](Value& value) {
    const int kind = kind_of_buffer(value);
    value.buffer = free_count[kind] > 0 ? free[kind][--free_count[kind]] : static_cast<std::int16_t>(buffers_++);
    widest_ = std::max<std::size_t>(widest_, value.element);
  };
  const auto give_back = [&](const Value& value) {
    const int kind = kind_of_buffer(value);
    free[kind][free_count[kind]++] = value.buffer;
  };
  for (int e = 0; e < external_count_; ++e)
    if (Value& value = values_[externals_[e].value]; value.place == Place::constant) take(value);
  for (int at = 0; at < instruction_count_; ++at) {
    const Instruction& instruction = instructions_[at];
    for (int k = 0; k < instruction.inputs; ++k) {
      Value& value = values_[instruction.input[k]];
      if (value.place == Place::loaded && value.buffer == kNone) take(value);
    }
    if (Value& value = values_[instruction.output]; value.place == Place::buffer) take(value);
    for (int k = 0; k < instruction.inputs; ++k) {
      Value& value = values_[instruction.input[k]];
      bool again = false;
      for (int other = 0; other < k; ++other) again |= instruction.input[other] == instruction.input[k];
      if (!again && value.buffer != kNone && value.place != Place::constant && value.last_use == at) give_back(value);
    }
    // What nobody reads needs its buffer for this instruction alone.
    if (Value& value = values_[instruction.output]; value.place == Place::buffer && value.last_use < at)
      give_back(value);
  }
}

template <bool is_long>
void Program::execute(std::int64_t first_row, std::int64_t last_row, std::byte* buffers) const {
  // Loads n elements from the given one of a row (or, with one for each row, of the rows) on.
  const auto load = [&](const Value& value, std::int64_t row, std::int64_t from, std::int64_t n) {
    const kernels::View view{const_cast<std::byte*>(value.data), externals_[value.external].strides};
    kernels::load(value.element, value.per_row ? rows_shape_ : memory_shape_, view,
                  row * (value.per_row ? 1 : length_) + from, n,
                  buffers + value.buffer * buffer_bytes_ + from * value.element);
  };
  const auto length_of = [&](const Value& value, std::int64_t rows) { return value.per_row ? rows : rows * length_; };
  for (int e = 0; e < external_count_; ++e)
    if (const Value& value = values_[externals_[e].value]; value.place == Place::constant)
      load(value, first_row, 0,
           is_long && value.single ? kTile : length_of(value, std::min(block_, last_row - first_row)));
  struct Loaded {
    std::uint64_t bits[(kMostValues + 63) / 64] = {};
  };
  for (std::int64_t row = first_row; row < last_row; row += block_) {
    const std::int64_t rows = std::min(block_, last_row - row);
    Loaded loaded, before;
    for (int begin = 0, end = 0; begin < instruction_count_; begin = end) {
      // An instruction on the whole block; of a row of many tiles, all that goes elementwise up to the next reduction,
      // tile by tile.
      end = begin + 1;
      const std::int64_t length = length_of(values_[instructions_[begin].output], rows);
      std::int64_t step = length;
      if (is_long && is_cut(instructions_[begin])) {
        step = kTile;
        before = loaded;
        while (end < instruction_count_ && is_cut(instructions_[end])) ++end;
      }
      for (std::int64_t from = 0; from < length; from += step) {
        const std::int64_t n = is_long ? std::min(step, length - from) : length, offset = is_long ? from : 0;
        if (offset > 0) loaded = before;
        for (int at = begin; at < end; ++at) {
          const Instruction& instruction = instructions_[at];
          const void* inputs[3];
          for (int k = 0; k < instruction.inputs; ++k) {
            const int index = instruction.input[k];
            const Value& value = values_[index];
            if (value.place == Place::loaded && !(loaded.bits[index / 64] >> (index % 64) & 1)) {
              load(value, row, offset, n);
              loaded.bits[index / 64] |= std::uint64_t{1} << (index % 64);
            }
            inputs[k] = address(value, row, buffers) + (is_long && value.single ? 0 : offset * value.element);
          }
          const Value& output = values_[instruction.output];
          std::byte* to = address(output, row, buffers) + offset * output.element;
          switch (instruction.kind) {
            case Instruction::Kind::tile:
              instruction.kernel(n, inputs, to);
              break;
            case Instruction::Kind::reduce:
              instruction.reduce(n, length_, inputs[0], length_, to);
              break;
            case Instruction::Kind::random: {
              const auto& a = instruction.node->attributes<RandomAttributes>();
              kernels::random(static_cast<kernels::Random>(instruction.node->operation->kernel),
                              instruction.node->dtype, a.seed, a.offset, a.low, a.high, row * length_, n, to);
              break;
            }
            case Instruction::Kind::expand: {
              const auto fill = kernels::table().fill[kernels::size_index(output.element)];
              if (is_long) {
                fill(kTile, inputs[0], to);
                break;
              }
              for (std::int64_t i = 0; i < rows; ++i)
                fill(length_, static_cast<const std::byte*>(inputs[0]) + i * output.element,
                     to + i * length_ * output.element);
              break;
            }
          }
        }
      }
    }
  }
}

bool Program::plan(Node* const* nodes, int count, bool late) {
  nodes_ = nodes;
  count_ = count;
  late_ = late;
  if (!prepare()) return false;
  for (int i = 0; i < count_; ++i)
    if (!translate(i)) return false;
  for (int at = 0; at < instruction_count_; ++at)
    for (int k = 0; k < instructions_[at].inputs; ++k)
      values_[instructions_[at].input[k]].last_use = static_cast<std::int16_t>(at);
  find_materialized();
  place_results();
  assign_buffers();

  const auto widest = static_cast<std::int64_t>(widest_);
  const std::int64_t most =
      std::clamp<std::int64_t>(kBlockBytes / (widest * std::max(1, buffers_)) / 64 * 64, kShortestBlock, kLongestBlock);
  block_ = has_rows_ ? std::min(rows_, std::max<std::int64_t>(1, most / length_)) : std::min(rows_, most);
  buffer_bytes_ = (block_ * length_ * widest + 63) / 64 * 64;
  // Chunks are whole blocks.
  per_chunk_ = std::max<std::int64_t>(1, kGrain / (block_ * length_)) * block_;
  chunks_ = (rows_ + per_chunk_ - 1) / per_chunk_;
  return true;
}

std::size_t Program::buffer_bytes() const noexcept {
  const auto bytes = static_cast<std::size_t>(buffer_bytes_ * buffers_);
  return chunks_ == 1 && bytes <= kBlockBytes ? 0 : bytes * static_cast<std::size_t>(team_size(chunks_));
}

void Program::compute(std::byte* buffers) {
  if (chunks_ == 1 && !buffers) {
    alignas(64) std::byte few[kBlockBytes];
    execute(0, rows_, few);
  } else {
    parallel_for_team(chunks_, [&](std::int64_t chunk, int thread) {
      execute(chunk * per_chunk_, std::min(rows_, (chunk + 1) * per_chunk_),
              buffers + thread * buffer_bytes_ * buffers_);
    });
  }
  // Movement of what was computed here.
  for (int i = 0; i < count_; ++i) {
    Node& node = *nodes_[i];
    if (materialized_[i] && !node.value.data && is_movement(kind_of(node))) node.operation->execute(node);
  }
}

void Program::forget() noexcept {
  for (int i = 0; i < count_; ++i) nodes_[i]->forget_value();
}

// -- Groups -----------------------------------------------------------------------------------------------------------

Groups::Groups() = default;
Groups::~Groups() = default;

bool Groups::compute(Node* const* nodes, int count) {
  try {
    if (!program_) program_ = std::make_unique<Program>();
  } catch (const std::bad_alloc&) {
    return false;
  }
  try {
    if (program_->plan(nodes, count, false)) {
      const std::size_t bytes = program_->buffer_bytes();
      Storage* buffers = bytes ? Storage::allocate(bytes) : nullptr;
      program_->compute(buffers ? static_cast<std::byte*>(buffers->data()) : nullptr);
      if (buffers) buffers->drop_ref();
      return true;
    }
  } catch (const std::bad_alloc&) {  // one by one they need less
  }
  program_->forget();
  return false;
}

bool Groups::prepare(Node* const* nodes, int count) {
  constexpr std::size_t kMost = 128;  // programs are large
  if (count_ == kMost) return false;
  try {
    if (count_ == prepared_.size()) prepared_.push_back(std::make_unique<Program>());
  } catch (const std::bad_alloc&) {
    return false;
  }
  Program& program = *prepared_[count_];
  try {
    if (program.plan(nodes, count, true)) return ++count_, true;
  } catch (const std::bad_alloc&) {
  }
  program.forget();
  return false;
}

void Groups::give_up() noexcept {
  while (count_ > 0) prepared_[--count_]->forget();
}

bool Groups::allocate_buffers() noexcept try {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < count_; ++i) bytes = std::max(bytes, prepared_[i]->buffer_bytes());
  if (bytes) buffers_ = Storage::allocate(bytes);
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

void Groups::compute_prepared() noexcept {
  for (std::size_t i = 0; i < count_; ++i)
    prepared_[i]->compute(prepared_[i]->buffer_bytes() ? static_cast<std::byte*>(buffers_->data()) : nullptr);
  if (buffers_) std::exchange(buffers_, nullptr)->drop_ref();
  count_ = 0;
}

}  // namespace adjoint::detail
