#include "engine/execute.hpp"
#include "engine/program.hpp"
#include "engine/threads.hpp"
#include "kernels/elements.hpp"

#include <algorithm>
#include <numeric>

namespace adjoint::detail {
namespace {

using kernels::kTile;
using kernels::Tile;

// What a block's buffers should take of the first-level cache.
constexpr std::int64_t kBlockBytes = 24 << 10;
constexpr std::int64_t kShortestBlock = 128, kLongestBlock = 2 * kTile;  // elements, or one row
constexpr std::int64_t kLongestPeriod = kLongestBlock / 2;
// Where there would be fewer chunks they are smaller, down to so many additions, which are worth another thread.
constexpr std::int64_t kFewChunks = 16, kWorkOfChunk = 1 << 16;
// Rows that are at least so long are worth a kernel's call for each.
constexpr std::int64_t kShortestRow = 32;

}  // namespace

bool Planner::plan(Node* const* nodes, int count, bool late, const Repeated& repeated, Program& program) {
  nodes_ = nodes;
  count_ = count;
  repeated_ = repeated;
  program_ = &program;
  program.count_ = count;
  program.late_ = late;
  Program::for_lists(program, [](auto& list) { list.clear(); });
  program.columns_bytes_ = program.rows_of_many_bytes_ = 0;
  program.buffers_ = program.local_buffers_ = 0;
  program.lanes_bytes_ = 0;
  widest_ = 1;
  period_ = 1;
  if (!prepare()) return false;
  find_gathered();
  for (int i = 0; i < count_; ++i) {
    counted_[i] = false;
    if (!translate(i)) return false;
    counted_[i] = !gathered_[i];
  }
  join_chains();
  order_chains();
  for (std::size_t at = 0; at < program.instructions_.size(); ++at)
    for (int k = 0; k < program.instructions_[at].inputs; ++k)
      last_use_[program.instructions_[at].input[k]] = static_cast<std::int16_t>(at);
  find_materialized();
  place_results();
  find_chains();
  assign_buffers();
  cut_blocks();
  link_numbers();
  find_interior();
  return true;
}

/// The dims of the group, found as Steps found them.
bool Planner::prepare() {
  shape_ = nullptr;
  row_dims_ = 0;
  column_rows_ = {nullptr, 0};
  for (int i = 0; i < count_; ++i) {
    Node& node = *nodes_[i];
    node.mark = i;
    for (int k = 0; k < node.input_count(); ++k)
      if (node.input(k)->state() == State::failed) return false;
    const Fusible kind = fusible_kind(node);
    const Rows rows = rows_of(node, kind);
    if (rows.dims == 0) continue;
    shape_ = rows.shape;
    if (kind == Fusible::columns) column_rows_ = rows;
    else row_dims_ = rows.dims;
  }
  if (!shape_) {
    // The largest; another shape has one value for each of its rows.
    for (int i = 0; i < count_; ++i)
      if (!shape_ || numel(nodes_[i]->shape) > numel(*shape_)) shape_ = &nodes_[i]->shape;
  }
  for (int i = 0; i < count_ && row_dims_ == 0; ++i)
    if (nodes_[i]->shape != *shape_ && fusible_kind(*nodes_[i]) != Fusible::columns)
      row_dims_ = row_dims_of(nodes_[i]->shape, *shape_);
  rows_for_columns_ = row_dims_ == 0 && column_rows_.dims != 0;
  if (row_dims_ == 0) row_dims_ = column_rows_.dims;

  // Movement of what is computed already costs nothing, and makes it an input like others.
  for (int i = 0; i < count_; ++i) {
    Node& node = *nodes_[i];
    if (!is_movement(fusible_kind(node)) || is_inside(node.input(0)) || node.value.data) continue;
    node.operation->execute(node);
    program_->moved_.push_back(static_cast<std::int16_t>(i));
  }

  if (!find_order()) return false;
  program_->row_major_ = order_.is_row_major();
  program_->memory_shape_ = order_.apply(*shape_);
  program_->strides_of_results_ = order_.strides(*shape_);
  program_->has_rows_ = row_dims_ != 0;
  program_->length_ = row_length(program_->memory_shape_, row_dims_);
  program_->rows_shape_ = Shape(program_->memory_shape_.begin(), program_->memory_shape_.end() - row_dims_);
  program_->rows_ = numel(program_->rows_shape_);
  program_->one_row_ = program_->has_rows_ && program_->length_ > kLongestBlock / 2;
  program_->is_long_ = program_->has_rows_ && program_->length_ > kLongestBlock;
  return true;
}

/// All members of the group's shape have to lie in the same order, which follows from their inputs as it does when they
/// are computed one by one; those with a value for each row have to lie row-major. Where there are rows for columns
/// alone, these have to be the last dims in memory; or, in row-major memory, what comes after the columns is the rows.
bool Planner::find_order() {
  order_ = MemoryOrder(shape_->size());
  const auto is_of_shape = [&](const Node& node) { return !node.value.data && node.shape == *shape_; };
  bool any_other = false;  // than row-major
  bool any_of_shape = false;
  const Node* columns = nullptr;  // what the first of them is read from, when that is in memory
  for (int i = 0; i < count_; ++i) {
    const Node& node = *nodes_[i];
    if (node.value.data) continue;  // moved already: an input
    any_of_shape |= is_of_shape(node);
    if (!columns && fusible_kind(node) == Fusible::columns && !is_inside(node.input(0))) columns = node.input(0);
    for (int k = 0; k < node.input_count(); ++k) {
      const Node& input = *node.input(k);
      if (is_inside(&input) || input.shape != node.shape || is_row_major(input.shape, input.value.strides)) continue;
      if (is_of_shape(node)) any_other = true;
      else if (!MemoryOrder(input.shape, input.value.strides).is_row_major()) return false;
    }
  }
  if (!any_of_shape && columns) order_ = MemoryOrder(columns->shape, columns->value.strides);
  bool known = false;
  MemoryOrder order_of_member[kMostMembers];
  for (int i = 0; i < count_ && any_other; ++i) {
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
  if (rows_for_columns_ && !column_rows_.are_last(order_)) {
    rows_for_columns_ = false;
    row_dims_ =
        order_.is_row_major() && is_row_of_many(row_length(*shape_, column_rows_.behind)) ? column_rows_.behind : 0;
  }
  return row_dims_ == 0 || rows_for_columns_ || order_.is_row_major();
}

int Planner::new_value(bool per_row, std::size_t element) {
  const auto index = static_cast<int>(program_->values_.size());
  const std::int64_t row_bytes = static_cast<std::int64_t>(element) * (per_row ? 1 : program_->length_);
  program_->values_.push_back(
      {row_bytes, Place::buffer, per_row, false, false, false, static_cast<std::uint8_t>(element), kNone, kNone});
  expanded_[index] = last_use_[index] = kNone;
  loaded_[index] = false;
  return index;
}

/// The value of a member's input, as one of this form reads it; kNone when it is not known how.
int Planner::value_of(int member, int input_index, Form form) {
  const Node& input = *nodes_[member]->input(input_index);
  const bool per_row = form == Form::kept || form == Form::removed;
  if (is_inside(&input)) {
    const int index = member_value_[input.mark];
    if (value(index).per_row == per_row) return index;
    // Without a row's dims it would broadcast along others.
    return per_row || form_of(input) == Form::removed ? kNone : expanded(index);
  }
  auto& externals = program_->externals_;
  std::size_t at = 0;
  while (at < externals.size() && (externals_[at].node != &input || externals_[at].form != form)) ++at;
  const bool kept = nodes_[member]->keeps_input(input_index) || has_bit(repeated_.again, member);
  if (at < externals.size()) {
    if (!counted_[member]) {
      program_->again_.push_back(
          {static_cast<std::int16_t>(member), static_cast<std::int16_t>(input_index), static_cast<std::int16_t>(at)});
      ++externals[at].readers;
    }
    externals_[at].kept |= kept;
    return externals[at].value;
  }
  if (at == kMostExternals) return kNone;
  const int index = new_value(per_row, size_of(input.dtype));
  externals_[at] = {&input, form, kept};
  const bool row_major = is_row_major(input.shape, input.value.strides);
  externals.push_back({static_cast<std::int16_t>(member), static_cast<std::int16_t>(input_index),
                       static_cast<std::int16_t>(index), static_cast<std::int16_t>(!counted_[member]), kNone});
  if (!row_major) {
    externals.back().layout = static_cast<std::int16_t>(program_->layouts_.size());
    program_->layouts_.push_back(input.value.strides);
  } else if (form == Form::full && order_.is_row_major() && input.shape == *shape_) {
    value(index).place = Place::memory;
    return index;
  }
  if (form == Form::single) {
    value(index).place = Place::memory;
    value(index).row_bytes = 0;
    value(index).single = true;
    return index;
  }
  const Shape& rows_shape = program_->rows_shape_;
  Strides strides;
  switch (form) {
    case Form::removed:
      strides = broadcast_strides(input.shape, input.value.strides, rows_shape);
      break;
    case Form::kept: {
      Shape with_ones = rows_shape;
      while (with_ones.size() < shape_->size()) with_ones.push_back(1);
      strides = broadcast_strides(input.shape, input.value.strides, with_ones);
      while (strides.size() > rows_shape.size()) strides.erase(strides.size() - 1);
      break;
    }
    default:
      strides = order_.apply(broadcast_strides(input.shape, input.value.strides, *shape_));
      break;
  }
  const Shape& shape = per_row ? rows_shape : program_->memory_shape_;
  const int leading = per_row || row_dims_ == 0 ? shape.size() : rows_shape.size();
  bool repeats = true, same = true, contiguous = true;
  for (int i = 0; i < leading; ++i) repeats &= shape[i] == 1 || strides[i] == 0;
  std::int64_t expected = 1;
  for (int i = shape.size() - 1; i >= leading; --i) {
    same &= shape[i] == 1 || strides[i] == 0;
    contiguous &= shape[i] == 1 || strides[i] == expected;
    expected *= shape[i];
  }
  Value& result = value(index);
  result.single = repeats && same && !per_row;
  if (is_row_major(shape, strides)) {
    result.place = Place::memory;
  } else if (repeats && contiguous && program_->one_row_) {
    result.place = Place::memory;
    result.row_bytes = 0;
  } else {
    repeats = repeats || (row_dims_ == 0 && repeats_in_block(shape, strides));
    result.place = repeats || per_row ? Place::constant : Place::loaded;
    if (per_row && !repeats) program_->loaded_first_.push_back(static_cast<std::int16_t>(index));
    result.strides = static_cast<std::int16_t>(program_->strides_.size());
    program_->strides_.push_back(strides);
    if (repeats) program_->constants_.push_back(static_cast<std::int16_t>(index));
  }
  return index;
}

/// Whether elements, without rows, are the same again and again, so often that a block can be cut to begin with the
/// first of them.
bool Planner::repeats_in_block(const Shape& shape, const Strides& strides) {
  int first = 0;
  while (first < shape.size() && (shape[first] == 1 || strides[first] == 0)) ++first;
  const std::int64_t period = row_length(shape, shape.size() - first);
  const std::int64_t of_all = std::lcm(period_, period);
  if (of_all > kLongestPeriod) return false;
  period_ = of_all;
  return true;
}

/// The value of an input that is a single element for all that a member of this form reads with it, or for each row of
/// that: kNone when it is not.
int Planner::single_of(int member, int input_index, Form form) {
  const Node& input = *nodes_[member]->input(input_index);
  const bool per_row = row_dims_ != 0 && form == Form::full && program_->length_ >= kShortestRow;
  if (is_inside(&input)) {
    const int index = member_value_[input.mark];
    return per_row && value(index).per_row && form_of(input) != Form::removed ? index : kNone;
  }
  if (numel(input.shape) == 1)
    return program_->rows_ * program_->length_ > 1 ? value_of(member, input_index, Form::single) : kNone;
  if (!per_row || !order_.is_row_major() || input.shape.size() != shape_->size()) return kNone;
  return numel(input.shape) == numel(Shape(input.shape.begin(), input.shape.end() - row_dims_))
             ? value_of(member, input_index, Form::kept)
             : kNone;
}

/// Makes what is strided in memory lie in its buffer, from here on.
int Planner::load(int index) {
  if (index == kNone || value(index).place != Place::loaded || loaded_[index]) return index;
  loaded_[index] = true;
  Instruction& instruction = program_->instructions_.emplace_back();
  instruction.kind = Instruction::Kind::load;
  instruction.inputs = 0;
  instruction.output = static_cast<std::int16_t>(index);
  instruction.member = kNone;
  return index;
}

/// A value per row as one for each element.
int Planner::expanded(int of) {
  if (expanded_[of] != kNone) return expanded_[of];
  const int result = new_value(false, value(of).element);
  value(result).single = true;
  Instruction& instruction = program_->instructions_.emplace_back();
  instruction.kind = Instruction::Kind::expand;
  instruction.inputs = 1;
  instruction.input[0] = static_cast<std::int16_t>(of);
  instruction.output = static_cast<std::int16_t>(result);
  instruction.member = kNone;
  return expanded_[of] = static_cast<std::int16_t>(result);
}

bool Planner::translate(int index) {
  const Node& node = *nodes_[index];
  afterwards_[index] = false;
  if (node.value.data) return true;  // an input by now
  if (gathered_[index]) {
    member_value_[index] = kNone;
    return true;
  }
  if (program_->values_.size() + 24 > kMostValues || program_->instructions_.size() + 16 > kMostInstructions)
    return false;
  const Fusible kind = fusible_kind(node);
  if (is_movement(kind)) {  // who reads it in another form than it has expands it
    member_value_[index] = member_value_[node.input(0)->mark];
    return true;
  }
  if (kind == Fusible::columns) return reduce_columns(index);
  const Form form = form_of(node);
  const kernels::Table& table = kernels::table();
  Instruction instruction;
  instruction.inputs = 0;
  instruction.member = static_cast<std::int16_t>(index);
  instruction.kernel = nullptr;
  if (kind == Fusible::random) {
    instruction.kind = Instruction::Kind::random;
  } else if (kind == Fusible::join) {
    instruction.kind = Instruction::Kind::join;
    instruction.column = static_cast<std::int32_t>(program_->joined_ends_.size());
    std::int64_t end = 0;
    for (int k = 0; k < node.input_count(); ++k) {
      if (is_inside(node.input(k))) return false;  // there is no memory to read
      program_->joined_ends_.push_back(end += numel(node.input(k)->shape));
    }
    program_->joins_.push_back(static_cast<std::int16_t>(index));
  } else if (kind == Fusible::gather || kind == Fusible::scatter) {
    if (!index_rows(index, instruction)) return false;
  } else if (kind == Fusible::reduction) {
    const Node& input = *node.input(0);
    // Inputs that lie in another way, or repeat, are reduced in another way (execute_reduction.cpp).
    if (is_inside(&input) ? value(member_value_[input.mark]).per_row : !is_row_major(input.shape, input.value.strides))
      return false;
    instruction.kind = Instruction::Kind::reduce;
    instruction.reduce = table.reduce_rows[node.operation->kernel][static_cast<int>(input.dtype)];
    instruction.inputs = 1;
    instruction.input[0] = static_cast<std::int16_t>(load(value_of(index, 0, Form::full)));
    if (instruction.input[0] == kNone) return false;
  } else {
    if (!translate_tile(index, form, instruction)) return false;
  }
  instruction.output = member_value_[index] =
      static_cast<std::int16_t>(new_value(form != Form::full, size_of(node.dtype)));
  program_->instructions_.push_back(instruction);  // behind those that load or spread its inputs
  return true;
}

/// `gather`: for the elements that it gathers, one for each row.
bool Planner::translate_tile(int index, Form form, Instruction& instruction, int gather) {
  const Node& node = *nodes_[index];
  const kernels::Table& table = kernels::table();
  instruction.kind = Instruction::Kind::tile;
  const auto tile = static_cast<kernels::Tile>(node.operation->kernel);
  int single = kNone;  // the operand that is a single element
  if (node.operation->execute == execute_cast) {
    instruction.kernel = table.cast[static_cast<int>(node.input(0)->dtype)][static_cast<int>(node.dtype)];
  } else {
    const auto dtype = static_cast<int>(node.input(tile == kernels::Tile::where ? 1 : 0)->dtype);
    instruction.kernel = table.tile[node.operation->kernel][dtype];
    for (int side = 0; side < 2 && single == kNone && node.input_count() > 1; ++side) {
      const kernels::TileKernel kernel = table.tile_with_single[side][node.operation->kernel][dtype];
      const int k = node.input_count() - 2 + side;
      const int operand = kernel ? single_of(index, k, form) : kNone;
      if (operand == kNone) continue;
      single = k;
      instruction.kernel = kernel;
      instruction.input[k] = static_cast<std::int16_t>(load(operand));
      if (value(operand).per_row) instruction.kind = Instruction::Kind::rows;
    }
  }
  instruction.inputs = static_cast<std::uint8_t>(node.input_count());
  for (int k = 0; k < node.input_count(); ++k) {
    if (k == single) continue;
    const int input = gather == kNone ? load(value_of(index, k, form)) : gathered(gather, index, k);
    if (input == kNone) return false;
    instruction.input[k] = static_cast<std::int16_t>(input);
  }
  return true;
}

/// Finds the members that only gathers read, or others like them, and that are computed element by element from what is
/// there for each row, or in memory, or is like them: not all of their elements have to be computed. And those that
/// others read as well, where a few instructions compute what is gathered again: they need not be kept for it.
void Planner::find_gathered() {
  constexpr int kMost = 6, kMostAgain = 3;  // instructions
  std::fill(gathered_, gathered_ + count_, false);
  std::fill(gathered_again_, gathered_again_ + count_, false);
  if (std::none_of(nodes_, nodes_ + count_, [](Node* node) { return fusible_kind(*node) == Fusible::gather; })) return;
  int cost[kMostMembers] = {};  // instructions; 0: unknown how
  for (int i = 0; i < count_; ++i) {
    const Node& node = *nodes_[i];
    if (node.value.data || fusible_kind(node) != Fusible::tile || node.shape != *shape_) continue;
    int sum = 1;
    for (int k = 0; k < node.input_count() && sum != 0; ++k) {
      const Node& input = *node.input(k);
      const bool is_full = input.shape == *shape_;
      int own = 0;
      if (is_inside(&input)) {
        const Fusible kind = fusible_kind(input);
        if (is_full) own = cost[input.mark];
        else if (kind == Fusible::tile || kind == Fusible::reduction) own = form_of(input) == Form::kept;
      } else if (is_full) {
        own = is_row_major(input.shape, input.value.strides);
      } else {
        own = numel(input.shape) == 1 || row_dims_of(input.shape, *shape_) == row_dims_;
      }
      sum = own == 0 ? 0 : sum + own;
    }
    cost[i] = sum <= kMost ? sum : 0;
    gathered_again_[i] = sum != 0 && sum <= kMostAgain;
  }
  find_read_outside(nodes_, count_, repeated_, materialized_);
  bool read[kMostMembers] = {};
  for (int i = count_ - 1; i >= 0; --i) {
    const Node& node = *nodes_[i];
    gathered_[i] = cost[i] != 0 && read[i] && !materialized_[i];
    gathered_again_[i] &= !materialized_[i];
    const bool gathers = fusible_kind(node) == Fusible::gather;
    for (int k = 0; k < node.input_count(); ++k) {
      if (!is_inside(node.input(k))) continue;
      const int mark = node.input(k)->mark;
      read[mark] = true;
      if (!gathered_[i] && !(gathers && k == 0)) cost[mark] = 0;
    }
  }
}

/// A member's input for the elements that are gathered: a value for each row, or a single element.
int Planner::gathered(int gather, int member, int input_index) {
  const Node& input = *nodes_[member]->input(input_index);
  if (input.shape != *shape_) return load(value_of(member, input_index, Form::kept));
  Instruction instruction;
  instruction.member = static_cast<std::int16_t>(gather);
  if (is_inside(&input)) {
    instruction.member = static_cast<std::int16_t>(input.mark);
    if (!translate_tile(input.mark, Form::kept, instruction, gather)) return kNone;
    counted_[input.mark] = true;
  } else {
    const int elements = value_of(member, input_index, Form::full);
    if (elements == kNone) return kNone;
    instruction.kind = Instruction::Kind::gather;
    instruction.inputs = 2;
    instruction.input[0] = static_cast<std::int16_t>(elements);
    instruction.input[1] = indices_of_[gather];
  }
  instruction.output = static_cast<std::int16_t>(new_value(true, size_of(input.dtype)));
  program_->instructions_.push_back(instruction);
  return instruction.output;
}

/// A reduction of columns: of what lies row by row, or of rows that are reduced first, as it is when computed by
/// itself; else afterwards.
bool Planner::reduce_columns(int index) {
  const Node& node = *nodes_[index];
  const Node& input = *node.input(0);
  const auto accumulate = kernels::table().accumulate[node.operation->kernel][static_cast<int>(input.dtype)];
  const bool inside = is_inside(&input);
  const auto lies_by_rows = [&] {
    return input.shape == *shape_ && same_places(input.shape, input.value.strides, program_->strides_of_results_);
  };
  const Rows rows = kept_rows(node);
  const bool of_rows = rows.behind != 0 && order_.is_row_major();
  const bool fits = of_rows ? row_length(*shape_, rows.behind) == program_->length_ && is_row_of_many(program_->length_)
                            : rows.are_last(order_) && row_length(*shape_, rows.behind + rows.dims) ==
                                                           program_->length_ * row_length(*shape_, rows.behind);
  if (row_dims_ == 0 || !accumulate || !fits || (of_rows && program_->late_) ||
      (inside ? value(member_value_[input.mark]).per_row || value(member_value_[input.mark]).single
              : !lies_by_rows())) {
    afterwards_[index] = true;
    return !program_->late_ &&
           !(inside && has_bit(repeated_.unwritten(), input.mark));  // it may fail, and reads memory
  }
  const int columns = value_of(index, 0, Form::full);
  if (columns == kNone) return false;
  const int output = new_value(of_rows, size_of(node.dtype));
  Instruction& instruction = program_->instructions_.emplace_back();
  instruction.kind = of_rows ? Instruction::Kind::reduce : Instruction::Kind::column;
  instruction.inputs = 1;
  instruction.input[0] = static_cast<std::int16_t>(columns);
  instruction.output = member_value_[index] = static_cast<std::int16_t>(output);
  instruction.member = static_cast<std::int16_t>(index);
  if (of_rows) {
    instruction.reduce = kernels::table().reduce_rows[node.operation->kernel][static_cast<int>(input.dtype)];
    value(output).place = Place::memory;
    program_->rows_of_many_.push_back({instruction.output, instruction.member, program_->rows_of_many_bytes_});
    program_->rows_of_many_bytes_ += (program_->rows_ * static_cast<std::int64_t>(size_of(node.dtype)) + 63) / 64 * 64;
    return true;
  }
  value(output).row_bytes = 0;
  instruction.column = static_cast<std::int32_t>(program_->columns_bytes_);
  instruction.accumulate = accumulate;
  instruction.accumulate_rows = kernels::table().accumulate_rows[node.operation->kernel][static_cast<int>(input.dtype)];
  program_->columns_.push_back(static_cast<std::int16_t>(program_->instructions_.size() - 1));
  program_->columns_bytes_ += (program_->length_ * static_cast<std::int64_t>(size_of(node.dtype)) + 63) / 64 * 64;
  return true;
}

/// A gather, or scatter_add, with one index for each row.
bool Planner::index_rows(int index, Instruction& instruction) {
  const Node& node = *nodes_[index];
  const bool scatter = node.operation->execute == execute_scatter_add;
  if (is_inside(node.input(1))) return false;
  const auto lie_row_by_row = [&](int indices) {
    return indices != kNone && value(indices).place == Place::memory && value(indices).row_bytes != 0;
  };
  const Node& from = *node.input(0);
  if (!scatter && is_inside(&from) && (gathered_[from.mark] || gathered_again_[from.mark])) {
    const int indices = value_of(index, 1, Form::kept);
    if (!lie_row_by_row(indices)) return false;
    program_->indices_.push_back(static_cast<std::int16_t>(indices));
    indices_of_[index] = static_cast<std::int16_t>(indices);
    if (!translate_tile(from.mark, Form::kept, instruction, index)) return false;
    return counted_[from.mark] = true;
  }
  const int elements = load(value_of(index, 0, Form::full));
  if (elements == kNone || (!scatter && value(elements).single)) return false;
  const int indices = value_of(index, 1, Form::kept);
  if (!lie_row_by_row(indices)) return false;
  program_->indices_.push_back(static_cast<std::int16_t>(indices));
  instruction.kind = scatter ? Instruction::Kind::scatter : Instruction::Kind::gather;
  instruction.inputs = 2;
  instruction.input[0] = static_cast<std::int16_t>(elements);
  instruction.input[1] = static_cast<std::int16_t>(indices);
  if (!scatter) return true;
  const int source = load(value_of(index, 2, Form::kept));
  instruction.kernel = kernels::table().tile[static_cast<int>(kernels::Tile::add)][static_cast<int>(node.dtype)];
  instruction.inputs = 3;
  instruction.input[2] = static_cast<std::int16_t>(source);
  return source != kNone;
}

/// Whose values are read by anybody but the members' computation.
void Planner::find_materialized() {
  find_read_outside(nodes_, count_, repeated_, materialized_);
  for (int i = count_ - 1; i >= 0; --i) {
    Node& node = *nodes_[i];
    if (afterwards_[i]) {
      if (is_inside(node.input(0))) materialized_[node.input(0)->mark] = true;
      program_->aliases_.push_back(static_cast<std::int16_t>(i));
      continue;
    }
    if (!materialized_[i] || node.value.data || !is_movement(fusible_kind(node))) continue;
    // Movement shows its input's memory.
    materialized_[node.input(0)->mark] = true;
    program_->aliases_.push_back(static_cast<std::int16_t>(i));
  }
  std::reverse(program_->aliases_.begin(), program_->aliases_.end());
}

/// Memory for what is materialized.
void Planner::place_results() {
  const auto& instructions = program_->instructions_;
  donors_ = 0;
  for (std::size_t e = 0; e < program_->externals_.size(); ++e) {
    const External& external = externals_[e];
    const Value& from = value(program_->externals_[e].value);
    if (!from.per_row && from.place == Place::memory && (from.row_bytes != 0 || program_->rows_ == 1) &&
        external.node->value.storage && !external.kept && !is_member(external.node) && external.node->shape == *shape_)
      donor_[donors_++] = static_cast<std::int16_t>(e);
  }
  for (std::size_t at = 0; at < instructions.size(); ++at) {
    const std::int16_t member = instructions[at].member;
    if (member == kNone || !materialized_[member] || instructions[at].output != member_value_[member]) continue;
    Value& result = value(instructions[at].output);
    const auto first = static_cast<std::int16_t>(program_->candidates_.size());
    if (!result.per_row && instructions[at].kind != Instruction::Kind::column)
      find_candidates(static_cast<int>(at), *nodes_[member]);
    program_->results_.push_back(
        {member, instructions[at].output, first, static_cast<std::int16_t>(program_->candidates_.size()), 0});
    result.place = Place::memory;
  }
}

/// What only the group reads, if all that its members read is either one of them or an external.
void Planner::find_interior() {
  Program& p = *program_;
  int reads = 0, readers[kMostMembers] = {};
  p.interior_ = 0;
  for (int i = 0; i < count_; ++i) {
    reads += nodes_[i]->input_count();
    for (int k = 0; k < nodes_[i]->input_count(); ++k)
      if (const Node* input = nodes_[i]->input(k); is_member(input)) ++readers[input->mark], --reads;
    if (!materialized_[i]) p.interior_ |= MemberBits{1} << i;
  }
  for (const Program::External& external : p.externals_) reads -= external.readers;
  for (const std::int16_t member : p.joins_) reads -= nodes_[member]->input_count();
  for (Program::Result& result : p.results_) result.readers = static_cast<std::int16_t>(readers[result.member]);
  const auto results = static_cast<int>(p.results_.size());
  p.closed_ = reads == 0 && p.moved_.empty() && p.aliases_.empty() && repeated_.unwritten() == 0 &&
              results + __builtin_popcountll(p.interior_) == count_;
}

/// The inputs that are not read any more when an instruction makes a node's value.
void Planner::find_candidates(int at, const Node& node) {
  constexpr int kMostCandidates = 8;
  int count = 0;
  for (int i = 0; i < donors_ && count < kMostCandidates; ++i) {
    const Program::External& external = program_->externals_[static_cast<std::size_t>(donor_[i])];
    if (last_use_[external.value] > at || value(external.value).element != size_of(node.dtype)) continue;
    // What a cell would go back to is kept by the cell, too, but for its new value.
    const Node& input = *externals_[donor_[i]].node;
    if (program_->late_ && is_old_value(input) && !is_new_value(node, input)) continue;
    program_->candidates_.push_back(donor_[i]);
    ++count;
  }
}

/// Whether a scatter's result can stay from block to block, in a buffer of its own: then only the elements that it
/// added to are copied anew.
bool Planner::keeps_copy(const Instruction& scatter) {
  const auto is_constant = [&](int index) {
    const auto& constants = program_->constants_;
    return std::find(constants.begin(), constants.end(), index) != constants.end();
  };
  return value(scatter.output).place == Place::buffer && is_constant(scatter.input[0]);
}

void Planner::assign_buffers() {
  // Where rows are cut into tiles, the next tile must find what it reads: a buffer is for elements of one size, since
  // those of another one would lie elsewhere, or for values that all tiles read.
  constexpr int kLocal = kKindsOfBuffers - 1;
  int free_count[kKindsOfBuffers] = {};
  const auto kind_of_buffer = [&](const Value& v) {
    return v.local ? kLocal : !program_->is_long_ ? 0 : v.single || v.per_row ? 3 : kernels::size_index(v.element);
  };
  const auto take = [&](Value& v) {
    const int kind = kind_of_buffer(v);
    int& buffers = kind == kLocal ? program_->local_buffers_ : program_->buffers_;
    v.buffer = free_count[kind] > 0 ? free_buffers_[kind][--free_count[kind]] : static_cast<std::int16_t>(buffers++);
    if (!v.local) widest_ = std::max<std::size_t>(widest_, v.element);
  };
  // What all strips of a chain read, or what has its value behind the last of them, keeps its buffer until then; and
  // what has smaller elements than others, whose strips lie elsewhere.
  const Program::Chain* chain = program_->chains_.data();
  const Program::Chain* const last_chain = chain + program_->chains_.size();
  std::int16_t kept[kMostValues];
  int kept_count = 0;
  const auto give_back = [&](std::int16_t index, int at) {
    const Value& v = value(index);
    if (chain != last_chain && at >= chain->first &&
        (v.per_row || v.single || (!v.local && v.element != sizeof(float)))) {
      kept[kept_count++] = index;
      return;
    }
    const int kind = kind_of_buffer(v);
    free_buffers_[kind][free_count[kind]++] = v.buffer;
  };
  for (const std::int16_t constant : program_->constants_) take(value(constant));
  for (const std::int16_t first : program_->loaded_first_) take(value(first));
  for (std::size_t i = 0; i < program_->instructions_.size(); ++i) {
    const Instruction& instruction = program_->instructions_[i];
    const auto at = static_cast<int>(i);
    if (chain != last_chain && at == chain->last) {
      ++chain;
      while (kept_count > 0) give_back(kept[--kept_count], -1);
    }
    Value& output = value(instruction.output);
    const bool in_chain = chain != last_chain && at >= chain->first;
    if (instruction.kind == Instruction::Kind::scatter && !in_chain && keeps_copy(instruction)) {
      output.place = Place::constant;
      output.buffer = static_cast<std::int16_t>(program_->buffers_++);
      widest_ = std::max<std::size_t>(widest_, output.element);
    } else if (output.place != Place::memory) {
      take(output);
    }
    for (int k = 0; k < instruction.inputs; ++k) {
      const Value& v = value(instruction.input[k]);
      bool again = false;
      for (int other = 0; other < k; ++other) again |= instruction.input[other] == instruction.input[k];
      if (!again && v.buffer != kNone && v.place != Place::constant && last_use_[instruction.input[k]] == at)
        give_back(instruction.input[k], at);
    }
    // What nobody reads needs its buffer for this instruction alone.
    if (output.place != Place::memory && output.place != Place::constant && last_use_[instruction.output] < at)
      give_back(instruction.output, at);
  }
}

/// What an instruction takes for an element, in additions.
int Planner::work_of(const Instruction& instruction) {
  constexpr int function = 8;
  if (instruction.kind == Instruction::Kind::reduce) return 1;
  if (program_->is_one_for_row(value(instruction.output))) return 0;
  if (instruction.kind != Instruction::Kind::tile) return 1;
  const auto tile = static_cast<Tile>(nodes_[instruction.member]->operation->kernel);
  return tile >= Tile::exp && tile < Tile::floor ? function : 1;
}

void Planner::cut_blocks() {
  Program& p = *program_;
  const auto widest = static_cast<std::int64_t>(widest_);
  const std::int64_t most = std::clamp<std::int64_t>(kBlockBytes / (widest * std::max(1, p.buffers_)) / 64 * 64,
                                                     kShortestBlock, kLongestBlock);
  p.block_ = p.has_rows_ ? std::min(p.rows_, std::max<std::int64_t>(1, most / p.length_))
                         : std::min(p.rows_, std::max<std::int64_t>(1, most / period_) * period_);
  int work = 1;
  for (const Instruction& instruction : p.instructions_) work += work_of(instruction);
  std::int64_t grain = std::clamp(p.rows_ * p.length_ / kFewChunks, std::min(kGrain, kWorkOfChunk / work), kGrain);
  grain = (grain + kernels::kLongestStrip - 1) / kernels::kLongestStrip * kernels::kLongestStrip;
  if (p.buffers_ == 0 && !p.chains_.empty() && !p.one_row_)  // nothing has to stay in the cache for another chain
    p.block_ = std::min(p.rows_, std::max<std::int64_t>(1, grain / p.length_));
  p.buffer_bytes_ = (p.block_ * p.length_ * widest + 63) / 64 * 64;
  // Chunks are whole blocks, or, for columns, as many rows as are added up at a time.
  p.per_chunk_ = std::max<std::int64_t>(1, grain / (p.block_ * p.length_)) * p.block_;
  if (!p.columns_.empty()) p.per_chunk_ = (p.per_chunk_ + kColumnRows - 1) / kColumnRows * kColumnRows;
  p.chunks_ = (p.rows_ + p.per_chunk_ - 1) / p.per_chunk_;
}

}  // namespace adjoint::detail
