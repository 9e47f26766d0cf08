#include "core/parts.hpp"
#include "core/thread_state.hpp"
#include "engine/execute.hpp"
#include "engine/program.hpp"
#include "engine/threads.hpp"
#include "kernels/elements.hpp"

#include <algorithm>
#include <cstring>

namespace adjoint::detail {

using kernels::kTile;

bool Program::bind(Node* const* nodes, Binding& binding) const {
  binding.nodes = nodes;
  binding.data.resize(values_.size());
  binding.donated.assign(externals_.size(), false);
  for (const std::int16_t member : moved_) {
    Node& node = *nodes[member];
    if (node.value.data) continue;  // when it was planned
    if (node.input(0)->state() == State::failed) return false;
    node.operation->execute(node);
  }
  for (const External& external : externals_) {
    const Node& node = *nodes[external.member]->input(external.input);
    const Strides& strides = node.value.strides;
    if (node.state() == State::failed ||
        (external.layout == kNone
             ? !is_row_major(node.shape, strides)
             : !same_places(node.shape, strides, layouts_[static_cast<std::size_t>(external.layout)])))
      return false;
    binding.data[static_cast<std::size_t>(external.value)] = static_cast<std::byte*>(node.value.data);
  }
  for (const std::int16_t member : joins_)
    for (int k = 0; k < nodes[member]->input_count(); ++k)
      if (nodes[member]->input(k)->state() == State::failed) return false;
  for (const Again& again : again_) {
    const External& external = externals_[static_cast<std::size_t>(again.external)];
    if (nodes[again.member]->input(again.input) != nodes[external.member]->input(external.input)) return false;
  }
  if (!indices_fit(binding)) return false;
  const bool donate = ThreadState::get().donate;
  for (const Result& result : results_) {
    Node& node = *nodes[result.member];
    for (int c = result.first; c < result.last && donate && !node.value.data; ++c) {
      const auto e = static_cast<std::size_t>(candidates_[static_cast<std::size_t>(c)]);
      if (binding.donated[e] || !is_free(externals_[e], node, nodes)) continue;
      const Node& input = *nodes[externals_[e].member]->input(externals_[e].input);
      node.alias_value(input.value, 0, strides_of_results_);
      binding.donated[e] = true;
    }
    if (!node.value.data) {
      node.allocate_value();
      if (!row_major_ && values_[static_cast<std::size_t>(result.value)].row_bytes != 0)  // else it is of columns
        node.value.strides = strides_of_results_;
    }
    binding.data[static_cast<std::size_t>(result.value)] = static_cast<std::byte*>(node.value.data);
  }
  return true;
}

bool Program::indices_fit(const Binding& binding) const noexcept {
  bool fit = true;
  for (const std::int16_t value : indices_) {
    const auto* index = reinterpret_cast<const std::int64_t*>(binding.data[static_cast<std::size_t>(value)]);
    for (std::int64_t row = 0; row < rows_; ++row)
      fit &= static_cast<std::uint64_t>(index[row]) < static_cast<std::uint64_t>(length_);
  }
  return fit;
}

bool Program::is_free(const External& external, const Node& node, Node* const* nodes) const noexcept {
  const Node& input = *nodes[external.member]->input(external.input);
  const Storage* storage = input.value.storage;
  if (!storage || !storage->is_writable() || storage->data() != input.value.data || input.keeps_own_value())
    return false;
  const bool replaced = late_ && is_old_value(input) && is_new_value(node, input);
  if (input.uses() != external.readers + replaced) return false;  // before the storage: see Parts::are_alone_in
  return !storage->is_shared() || (replaced && input.cell->parts && input.cell->parts->are_alone_in(input));
}

std::byte* Program::columns_of(const Instruction& instruction, const Binding& binding, std::byte* partial,
                               std::int64_t row) const noexcept {
  const std::int64_t block = row / kColumnRows;
  return block == 0 ? binding.data[static_cast<std::size_t>(instruction.output)]
                    : partial + (block - 1) * columns_bytes_ + instruction.column;
}

/// The sums of blocks of rows, pairwise, and the reductions of the results of rows (as in execute_reduction.cpp).
void Program::finish_columns(const Binding& binding, std::byte* partial) const {
  const std::int64_t blocks = (rows_ + kColumnRows - 1) / kColumnRows;
  for (const std::int16_t at : columns_) {
    const Instruction& instruction = instructions_[static_cast<std::size_t>(at)];
    const auto sums = [&](std::int64_t block) {
      return columns_of(instruction, binding, partial, block * kColumnRows);
    };
    add_pairwise(blocks,
                 [&](std::int64_t from, std::int64_t to) { instruction.accumulate(length_, sums(from), sums(to)); });
  }
  for (const RowsOfMany& many : rows_of_many_) {
    const Node& node = *binding.nodes[many.member];
    reduce_results_of_rows(node, rows_, numel(node.shape), partial + partial_columns_bytes() + many.place);
  }
}

const std::byte* Program::read_joined(const Node& node, int ends, std::int64_t first, std::int64_t n, bool in_place,
                                      std::byte* to) const {
  const std::int64_t* const begin = joined_ends_.data() + ends;
  const std::int64_t* const end = std::upper_bound(begin, begin + node.input_count(), first);
  const auto at = static_cast<int>(end - begin);
  if (at > 0) first -= end[-1];
  const Node& input = *node.input(at);
  if (in_place && first + n <= numel(input.shape) && is_row_major(input.shape, input.value.strides))
    return static_cast<const std::byte*>(input.value.data) + first * static_cast<std::int64_t>(size_of(node.dtype));
  load_joined(node, at, first, n, to);
  return to;
}

template <bool is_long>
void Program::execute(const Binding& binding, std::int64_t first_row, std::int64_t last_row, std::byte* buffers,
                      std::byte* partial) const {
  using Kind = Instruction::Kind;
  const Value* const values = values_.data();
  const Instruction* const instructions = instructions_.data();
  const auto instruction_count = static_cast<int>(instructions_.size());
  std::byte* base[kMostValues];
  std::byte* const scratch = buffers + buffers_ * buffer_bytes_;  // of chains
  for (std::size_t i = 0; i < values_.size(); ++i)
    base[i] = values[i].place == Place::memory ? binding.data[i]
              : values[i].local                ? scratch + values[i].buffer * kLocalBytes
                                               : buffers + values[i].buffer * buffer_bytes_;
  for (const RowsOfMany& many : rows_of_many_) base[many.value] = partial + partial_columns_bytes() + many.place;
  // Loads n elements from the given one of a row (or, with one for each row, of the rows) on.
  const auto load = [&](int index, std::int64_t row, std::int64_t from, std::int64_t n) {
    const Value& value = values[index];
    const kernels::View view{binding.data[static_cast<std::size_t>(index)],
                             strides_[static_cast<std::size_t>(value.strides)]};
    kernels::load(value.element, value.per_row ? rows_shape_ : memory_shape_, view,
                  row * (value.per_row ? 1 : length_) + from, n, base[index] + from * value.element);
  };
  const auto address = [&](int index, std::int64_t row, std::int64_t offset) {
    const Value& value = values[index];
    std::byte* at = base[index];
    if (value.place == Place::memory) at += row * value.row_bytes;
    if (is_long && !value.single && !value.per_row) at += offset * value.element;
    return at;
  };
  for (const std::int16_t index : constants_) {
    const std::int64_t rows = std::min(block_, last_row - first_row);
    const Value& value = values[index];
    load(index, first_row, 0, is_long && value.single ? kTile : value.per_row ? rows : rows * length_);
  }
  Chains chains(*this, binding, base, scratch, partial, first_row);
  for (std::int64_t row = first_row; row < last_row; row += block_) {
    const std::int64_t rows = std::min(block_, last_row - row), full = rows * length_;
    for (const std::int16_t index : loaded_first_) load(index, row, 0, rows);
    std::size_t chain = 0;
    for (int begin = 0, end = 0; begin < instruction_count; begin = end) {
      const int next_chain = chain < chains_.size() ? chains_[chain].first : instruction_count;
      if (begin == next_chain) {
        chains.run(chains_[chain], row, rows);
        end = chains_[chain++].last;
        continue;
      }
      // All on the whole block; of a row of many tiles, all that goes elementwise up to the next reduction tile by
      // tile.
      std::int64_t step = full;
      end = next_chain;
      if (is_long) {
        end = begin + 1;
        if (is_cut(instructions[begin])) {
          step = kTile;
          while (end < next_chain && is_cut(instructions[end])) ++end;
        }
      }
      for (std::int64_t offset = 0; offset < full; offset += step) {
        const std::int64_t n_full = is_long ? std::min(step, full - offset) : full;
        for (int at = begin; at < end; ++at) {
          const Instruction& instruction = instructions[at];
          const Value& output = values[instruction.output];
          const std::int64_t n = output.per_row ? rows : n_full;
          const void* inputs[3];
          for (int k = 0; k < instruction.inputs; ++k) inputs[k] = address(instruction.input[k], row, offset);
          std::byte* const to = address(instruction.output, row, offset);
          switch (instruction.kind) {
            case Kind::tile:
              instruction.kernel(n, inputs, to);
              break;
            case Kind::rows:
              if (one_row_) {
                instruction.kernel(n, inputs, to);
                break;
              }
              for (std::int64_t i = 0; i < rows; ++i) {
                instruction.kernel(length_, inputs, to + i * length_ * output.element);
                for (int k = 0; k < instruction.inputs; ++k) {
                  const Value& input = values[instruction.input[k]];
                  inputs[k] = static_cast<const std::byte*>(inputs[k]) + (input.per_row ? 1 : length_) * input.element;
                }
              }
              break;
            case Kind::load:
              load(instruction.output, row, is_long && !output.per_row ? offset : 0, n);
              break;
            case Kind::column:
              for (std::int64_t i = 0, next = 0; i < rows; i = next) {
                const std::int64_t shift = is_long ? offset : 0, length = is_long ? n : length_;
                const std::int64_t bytes = length * output.element, before = (row + i) % kColumnRows;
                next = std::min(rows, i + kColumnRows - before);
                std::byte* sums = columns_of(instruction, binding, partial, row + i) + shift * output.element;
                const auto* from = static_cast<const std::byte*>(inputs[0]) + i * bytes;
                const std::int64_t copied = before == 0;
                if (copied) std::memcpy(sums, from, static_cast<std::size_t>(bytes));
                instruction.accumulate_rows(next - i - copied, length, from + copied * bytes, sums);
              }
              break;
            case Kind::gather: {
              const auto* index = static_cast<const std::int64_t*>(inputs[1]);
              for (std::int64_t i = 0; i < rows; ++i)
                std::memcpy(to + i * output.element,
                            static_cast<const std::byte*>(inputs[0]) + (i * length_ + index[i]) * output.element,
                            output.element);
              break;
            }
            case Kind::scatter: {
              const auto* index = static_cast<const std::int64_t*>(inputs[1]);
              const auto* from = static_cast<const std::byte*>(inputs[0]);
              // Calls visit(row, place in bytes) for rows whose element is here.
              const auto for_places = [&](std::int64_t first, std::int64_t last, const auto& visit) {
                for (std::int64_t i = first; i < last; ++i) {
                  const std::int64_t place = index[i] - (is_long ? offset : 0);
                  if (!is_long || (place >= 0 && place < n)) visit(i, place * output.element);
                }
              };
              const std::int64_t row_bytes = length_ * output.element;
              if (output.place == Place::constant && row != first_row) {  // the block before left its sums
                for_places(-block_, 0, [&](std::int64_t i, std::int64_t place) {
                  const std::int64_t own = (block_ + i) * row_bytes + place;
                  std::memcpy(to + own, from + own, output.element);
                });
              } else if (to != from) {
                std::memcpy(to, from, static_cast<std::size_t>(n * output.element));
              }
              for_places(0, rows, [&](std::int64_t i, std::int64_t place) {
                instruction.add(static_cast<const std::byte*>(inputs[2]) + i * output.element,
                                to + i * row_bytes + place);
              });
              break;
            }
            case Kind::reduce:
              instruction.reduce(n, length_, inputs[0], length_, to);
              break;
            case Kind::random: {
              const Node& node = *binding.nodes[instruction.member];
              const auto& a = node.attributes<RandomAttributes>();
              kernels::random(static_cast<kernels::Random>(node.operation->kernel), node.dtype, a.seed, a.offset, a.low,
                              a.high, row * length_, n, to);
              break;
            }
            case Kind::join: {
              const Node& node = *binding.nodes[instruction.member];
              const bool kept = output.place == Place::memory;
              const std::byte* there = read_joined(node, instruction.column, row * length_, n, !kept && block_ > 1,
                                                   kept ? to : buffers + output.buffer * buffer_bytes_);
              if (!kept) base[instruction.output] = const_cast<std::byte*>(there);  // it is read only
              break;
            }
            case Kind::expand: {
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

std::int64_t Program::partial_columns_bytes() const noexcept {
  return columns_.empty() ? 0 : (rows_ - 1) / kColumnRows * columns_bytes_;
}

std::size_t Program::buffer_bytes() const noexcept {
  return static_cast<std::size_t>(block_bytes() * team_size(chunks_) + partial_columns_bytes() + rows_of_many_bytes_);
}

void Program::compute(const Binding& binding, std::byte* buffers) const {
  const std::int64_t bytes = block_bytes();  // of a thread
  const int threads = team_size(chunks_);
  std::byte* const partial = buffers + bytes * threads;
  const auto run = [&](std::int64_t first, std::int64_t last, int thread) {
    std::byte* own = buffers + thread * bytes;
    is_long_ ? execute<true>(binding, first, last, own, partial) : execute<false>(binding, first, last, own, partial);
  };
  if (threads == 1) {
    if (rows_ > 0) run(0, rows_, 0);  // at once: what a chunk begins with is done but once
  } else {
    parallel_for_team(chunks_, [&](std::int64_t chunk, int thread) {
      run(chunk * per_chunk_, std::min(rows_, (chunk + 1) * per_chunk_), thread);
    });
  }
  finish_columns(binding, partial);
  for (const std::int16_t member : aliases_) binding.nodes[member]->operation->execute(*binding.nodes[member]);
}

void Program::forget(Node* const* nodes, int count) noexcept {
  for (int i = 0; i < count; ++i)
    if (!nodes[i]->is_computed()) nodes[i]->forget_value();
}

std::size_t Program::bytes() const noexcept {
  std::size_t bytes = sizeof *this;
  for_lists(*this, [&](const auto& list) { bytes += list.capacity() * sizeof(list[0]); });
  return bytes;
}

}  // namespace adjoint::detail
