#include "engine/execute.hpp"
#include "engine/program.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace adjoint::detail {
namespace {

constexpr std::int64_t kAlignment = kernels::kLaneBytes;
// Rows in which it pays to go to where what is streamed is aligned.
constexpr std::int64_t kLongToAlign = 4096;

}  // namespace

std::int64_t Program::chain_bytes() const noexcept {
  if (chains_.empty()) return 0;
  return local_buffers_ * kLocalBytes + lanes_bytes_ + kAlignment;
}

Program::Chains::Chains(const Program& program, const Binding& binding, std::byte* const* base, std::byte* scratch,
                        std::byte* partial, std::int64_t first_row) noexcept
    : program_(program),
      binding_(binding),
      base_(base),
      lanes_(scratch + program.local_buffers_ * kLocalBytes +
             (-reinterpret_cast<std::uintptr_t>(scratch) & (kAlignment - 1))),
      partial_(partial) {
  for (const Chain& chain : program.chains_) bind(chain, first_row);
}

Program::Chains::~Chains() {
  if (drain_) drain_();
}

/// Whether a result has an operand's memory.
bool Program::Chains::is_in_place(int value) const noexcept {
  const auto data = [this](int index) { return binding_.data[static_cast<std::size_t>(index)]; };
  return std::any_of(program_.externals_.begin(), program_.externals_.end(),
                     [&](const External& external) { return data(external.value) == data(value); });
}

std::byte* Program::Chains::address(int index, std::int64_t row, std::int64_t row_of_block) const noexcept {
  const Value& value = program_.values_[static_cast<std::size_t>(index)];
  if (value.local) return base_[index];
  if (value.place == Place::memory) return base_[index] + row * value.row_bytes;
  return base_[index] + row_of_block * (value.per_row ? 1 : program_.length_) * value.element;
}

/// The links of a chain for the first row of a thread's. Those of the next one follow from them.
void Program::Chains::bind(const Chain& chain, std::int64_t row) noexcept {
  std::byte* lanes = lanes_;
  Move*& move = next_move_;
  moves_of_[&chain - program_.chains_.data()] = move;
  std::int16_t* varying = varying_ + chain.first_link;
  for (int l = chain.first_link; l < chain.last_link; ++l) {
    const ChainLink& link = program_.links_[static_cast<std::size_t>(l)];
    kernels::Link& to = links_[l];
    to = {link.function, {}, nullptr, {}, 0};
    const auto place = [&](int index, std::int64_t& mask, const std::byte** address_in_link) {
      const Value& value = program_.values_[static_cast<std::size_t>(index)];
      mask = value.local ? 0 : -1;
      const bool memory = value.place == Place::memory;
      std::byte* const at = address(index, row + link.ahead * program_.block_, 0);
      const std::int64_t step =
          memory ? value.row_bytes : (value.per_row ? 1 : program_.length_) * std::int64_t{value.element};
      if (step != 0 && (memory || (!value.local && program_.block_ > 1)))
        *move++ = {address_in_link, step, memory ? nullptr : base_ + index};
      return at;
    };
    for (int k = 0; k < (link.first_row ? 1 : 3); ++k)
      if (link.value[k] != kNone) to.at[k] = place(link.value[k], to.mask[k], &to.at[k]);
    if (link.reduction) {
      to.to = lanes;
      lanes += kernels::lanes_bytes(program_.length_);
      to.at[2] = place(link.output, to.mask[2], &to.at[2]);
    } else if (link.output != kNone && !link.first_row) {
      to.to = place(link.output, to.mask_to, const_cast<const std::byte**>(&to.to));
    }
    bool varies = link.reduction || link.first_row;
    if (link.function == chain.links->stream) {
      if (is_in_place(link.output)) {  // it is in the cache
        to.function = chain.links->store[0];
      } else {
        drain_ = chain.links->drain;
        varies = true;
      }
    }
    if (varies) *varying++ = static_cast<std::int16_t>(l);
  }
  move++->address = nullptr;
  *varying = kNone;
}

void Program::Chains::run(const Chain& chain, std::int64_t row, std::int64_t rows) {
  const Move* const moves = moves_of_[&chain - program_.chains_.data()];
  const auto advance = [moves](std::int64_t rows_done) {
    for (const Move* move = moves; move->address; ++move) *move->address += move->step * rows_done;
  };
  if (chain.numbers) {
    chain.links->run_numbers(links_ + chain.first_link);
    return advance(1);
  }
  const std::int64_t calls = chain.by_row ? rows : 1, at_once = rows / calls, n = at_once * program_.length_;
  if (program_.block_ > 1)
    for (const Move* move = moves; move->address; ++move)
      if (move->first) *move->address = *move->first;
  const ChainLink* const links = program_.links_.data();
  const std::int16_t* const varying = varying_ + chain.first_link;
  for (std::int64_t i = 0; i < calls; ++i) {
    std::int64_t head = kNone;  // elements before what is streamed is aligned
    for (const std::int16_t* l = varying; *l != kNone; ++l) {
      const ChainLink& link = links[*l];
      if (link.reduction) {
        link.reduction->start(n, links_[*l].to);
      } else if (link.function == chain.links->stream) {
        // A row whose own lanes are reduced begins with a strip.
        const auto behind = reinterpret_cast<std::uintptr_t>(links_[*l].to) % kernels::kStreamed;
        const auto element = static_cast<std::int64_t>(size_of(chain.dtype));
        if (head == kNone)
          head =
              chain.reduces || n < kLongToAlign ? 0 : static_cast<std::int64_t>(-behind % kernels::kStreamed) / element;
        const bool aligned = (behind + static_cast<std::uintptr_t>(head * element)) % kernels::kStreamed == 0;
        links_[*l].function = aligned ? link.function : chain.links->store[0];
      } else if (const std::int64_t before = (row + i) % kColumnRows; before <= 1) {
        const Instruction& column = program_.instructions_[static_cast<std::size_t>(link.value[1])];
        links_[*l].to = program_.columns_of(column, binding_, partial_, row + i);
        links_[*l].function = before == 0 ? link.first_row : link.function;
      }
    }
    head = std::max<std::int64_t>(head, 0);
    const std::int64_t done = head + ((n - head) & -std::int64_t{chain.step});
    if (head > 0) run_some(chain, row + i, i, 0, head);
    chain.links->run(head, done, links_ + chain.first_link);
    if (done < n) run_some(chain, row + i, i, done, n);
    for (const std::int16_t* l = varying; *l != kNone; ++l)
      if (links[*l].reduction) links[*l].reduction->finish(n, links_[*l].to, const_cast<std::byte*>(links_[*l].at[2]));
    advance(at_once);
  }
}

/// Elements [begin, end), fewer than a step: instruction by instruction.
void Program::Chains::run_some(const Chain& chain, std::int64_t row, std::int64_t row_of_block, std::int64_t begin,
                               std::int64_t end) {
  using Kind = Instruction::Kind;
  std::byte* lanes = lanes_;
  const auto at = [&](int index) {
    const Value& value = program_.values_[static_cast<std::size_t>(index)];
    return address(index, row, row_of_block) +
           (value.local || program_.is_one_for_row(value) ? 0 : begin * value.element);
  };
  for (int i = chain.first; i < chain.last; ++i) {
    const Instruction& instruction = program_.instructions_[static_cast<std::size_t>(i)];
    const void* inputs[3];
    for (int k = 0; k < instruction.inputs; ++k) inputs[k] = at(instruction.input[k]);
    if (instruction.kind == Kind::reduce) {
      const int kernel = binding_.nodes[instruction.member]->operation->kernel;
      chain.links->reduce[kernel].add_rest(end, begin, inputs[0], lanes);
      lanes += kernels::lanes_bytes(program_.length_);
    } else if (instruction.kind == Kind::column) {
      const auto element = static_cast<std::int64_t>(size_of(chain.dtype));
      std::byte* sums = program_.columns_of(instruction, binding_, partial_, row) + begin * element;
      if (row % kColumnRows == 0) std::memcpy(sums, inputs[0], static_cast<std::size_t>((end - begin) * element));
      else instruction.accumulate(end - begin, inputs[0], sums);
    } else if (instruction.kind == Kind::scatter) {
      const auto element = static_cast<std::int64_t>(size_of(chain.dtype));
      std::byte* const output = at(instruction.output);
      if (output != inputs[0]) std::memcpy(output, inputs[0], static_cast<std::size_t>((end - begin) * element));
      const std::int64_t place = *static_cast<const std::int64_t*>(inputs[1]) - begin;
      if (place < 0 || place >= end - begin) continue;
      instruction.add(static_cast<const std::byte*>(inputs[2]), output + place * element);
    } else {
      instruction.kernel(end - begin, inputs, at(instruction.output));
    }
  }
}

}  // namespace adjoint::detail
