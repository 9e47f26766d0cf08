#include "engine/execute.hpp"
#include "engine/program.hpp"

#include <cstring>

namespace adjoint::detail {
namespace {

constexpr std::int64_t kElement = sizeof(float);

std::int64_t lanes_bytes(std::int64_t length) {
  return (length / kernels::kLaneBlock + 1) * kernels::kLanes * kElement;
}

}  // namespace

std::int64_t Program::chain_bytes() const noexcept {
  if (chains_.empty()) return 0;
  return local_buffers_ * kLocalBytes + reductions_ * lanes_bytes(length_);
}

Program::Chains::Chains(const Program& program, const Binding& binding, std::byte* const* base, std::byte* scratch,
                        std::byte* partial) noexcept
    : program_(program),
      binding_(binding),
      base_(base),
      lanes_(scratch + program.local_buffers_ * kLocalBytes),
      partial_(partial),
      lanes_bytes_(lanes_bytes(program.length_)) {}

std::byte* Program::Chains::address(int index, std::int64_t row, std::int64_t row_of_block) const noexcept {
  const Value& value = program_.values_[static_cast<std::size_t>(index)];
  if (value.local) return base_[index];
  if (value.place == Place::memory) return base_[index] + row * value.row_bytes;
  return base_[index] + row_of_block * (value.per_row ? 1 : program_.length_) * value.element;
}

void Program::Chains::run(const Chain& chain, std::int64_t row, std::int64_t rows) {
  using Kind = Instruction::Kind;
  const kernels::Links& kernels = kernels::table().links();
  const std::int64_t calls = chain.by_row ? rows : 1, n = (chain.by_row ? 1 : rows) * program_.length_;
  const std::int64_t done = n / kernels.strip * kernels.strip;
  const auto count = static_cast<std::size_t>(chain.last_link - chain.first_link);
  const ChainLink* const links = &program_.links_[static_cast<std::size_t>(chain.first_link)];
  const auto instruction_of = [&](const ChainLink& link) -> const Instruction& {
    return program_.instructions_[static_cast<std::size_t>(link.instruction)];
  };
  const auto reduction_of = [&](const ChainLink& link) -> const kernels::Links::Reduction& {
    return kernels.reduce[binding_.nodes[instruction_of(link).member]->operation->kernel];
  };
  kernels::Link bound[2 * kMostValues];
  for (std::int64_t i = 0; i < calls; ++i) {
    std::byte* lanes = lanes_;
    for (std::size_t l = 0; l < count; ++l) {
      const ChainLink& link = links[l];
      kernels::Link& to = bound[l];
      to.function = link.function;
      for (int k = 0; k < 2; ++k) {
        if (link.value[k] == kNone) continue;
        to.at[k] = address(link.value[k], row + i, i);
        to.mask[k] = program_.values_[static_cast<std::size_t>(link.value[k])].local ? 0 : -1;
      }
      if (link.output == kNone) continue;
      const Instruction& instruction = instruction_of(link);
      if (instruction.kind == Kind::reduce) {
        reduction_of(link).start(n, lanes);
        to.to = lanes;
        lanes += lanes_bytes_;
      } else if (instruction.kind == Kind::column) {
        to.to = program_.columns_of(instruction, binding_, partial_, row + i);
        if ((row + i) % kColumnRows == 0) to.function = link.first_row;
      } else {
        to.to = address(link.output, row + i, i);
        to.mask_to = program_.values_[static_cast<std::size_t>(link.output)].local ? 0 : -1;
      }
    }
    kernels.run(done, bound);
    if (done < n) run_rest(chain, row + i, i, done, n);
    lanes = lanes_;
    for (std::size_t l = 0; l < count; ++l) {
      if (links[l].output == kNone || instruction_of(links[l]).kind != Kind::reduce) continue;
      reduction_of(links[l]).finish(n, lanes, address(links[l].output, row + i, i));
      lanes += lanes_bytes_;
    }
  }
}

/// Elements [done, n), fewer than a strip: instruction by instruction.
void Program::Chains::run_rest(const Chain& chain, std::int64_t row, std::int64_t row_of_block, std::int64_t done,
                               std::int64_t n) {
  using Kind = Instruction::Kind;
  const kernels::Links& kernels = kernels::table().links();
  std::byte* lanes = lanes_;
  const auto at = [&](int index) {
    const Value& value = program_.values_[static_cast<std::size_t>(index)];
    return address(index, row, row_of_block) + (value.local || program_.is_one_for_row(value) ? 0 : done * kElement);
  };
  for (int i = chain.first; i < chain.last; ++i) {
    const Instruction& instruction = program_.instructions_[static_cast<std::size_t>(i)];
    const void* inputs[3];
    for (int k = 0; k < instruction.inputs; ++k) inputs[k] = at(instruction.input[k]);
    if (instruction.kind == Kind::reduce) {
      const int kernel = binding_.nodes[instruction.member]->operation->kernel;
      kernels.reduce[kernel].add_rest(n, done, inputs[0], lanes);
      lanes += lanes_bytes_;
    } else if (instruction.kind == Kind::column) {
      std::byte* sums = program_.columns_of(instruction, binding_, partial_, row) + done * kElement;
      if (row % kColumnRows == 0) std::memcpy(sums, inputs[0], static_cast<std::size_t>((n - done) * kElement));
      else instruction.accumulate(n - done, inputs[0], sums);
    } else {
      instruction.kernel(n - done, inputs, at(instruction.output));
    }
  }
}

}  // namespace adjoint::detail
