#include "engine/fuse.hpp"

#include <algorithm>
#include <new>

namespace adjoint::detail {

Groups::Groups() = default;
Groups::~Groups() = default;

void Groups::reserve(std::size_t bytes) {
  if (bytes <= workspace_.size()) return;
  bytes = std::max(bytes, 2 * workspace_.size());
  workspace_ = {};
  workspace_ = List<std::byte>(bytes);
}

const Program* Groups::bind(Node* const* nodes, int count, bool late, const Repeated& repeated, Kept* kept,
                            Program& own, Binding& binding) noexcept {
  try {
    for (const Kept* k = kept; k; k = k == kept ? k->like : nullptr) {
      if (!k->program) continue;
      if (k->program->bind(nodes, binding)) return k->program.get();
      Program::forget(nodes, count);
    }
    if (planner_.plan(nodes, count, late, repeated, own) && own.bind(nodes, binding)) {
      if (!kept) return &own;
      kept->program = std::make_unique<Program>(own);  // a copy has the size that it needs
      return kept->program.get();
    }
  } catch (const std::bad_alloc&) {  // one by one they need less
  }
  Program::forget(nodes, count);
  return nullptr;
}

const Program* Groups::compute(Node* const* nodes, int count, const Repeated& repeated, Kept* kept) {
  const Program* program = bind(nodes, count, false, repeated, kept, program_, binding_);
  if (!program) return nullptr;
  try {
    reserve(program->buffer_bytes());
  } catch (const std::bad_alloc&) {
    Program::forget(nodes, count);
    return nullptr;
  }
  program->compute(binding_, workspace_.data());
  return program;
}

bool Groups::prepare(Node* const* nodes, int count, Kept* kept) {
  constexpr std::size_t kMost = 1024;  // so that their memory stays bounded
  if (count_ == kMost) return false;
  try {
    if (count_ == prepared_.size()) prepared_.push_back(std::make_unique<Prepared>());
  } catch (const std::bad_alloc&) {
    return false;
  }
  Prepared& prepared = *prepared_[count_];
  prepared.program = bind(nodes, count, true, {}, kept, prepared.own, prepared.binding);
  if (!prepared.program) return false;
  ++count_;
  return true;
}

void Groups::give_up() noexcept {
  for (; count_ > 0; --count_) {
    const Prepared& prepared = *prepared_[count_ - 1];
    Program::forget(prepared.binding.nodes, prepared.program->count());
  }
}

bool Groups::allocate_buffers() noexcept try {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < count_; ++i) bytes = std::max(bytes, prepared_[i]->program->buffer_bytes());
  reserve(bytes);
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

}  // namespace adjoint::detail
