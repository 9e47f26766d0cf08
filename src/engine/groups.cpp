#include "engine/fuse.hpp"

#include <algorithm>
#include <new>

namespace adjoint::detail {

namespace {

constexpr std::align_val_t kAlignment{64};

}  // namespace

void Groups::Free::operator()(std::byte* memory) const noexcept { ::operator delete(memory, kAlignment); }

Groups::Groups() = default;
Groups::~Groups() = default;

void Groups::reserve(std::size_t bytes) {
  if (bytes <= workspace_bytes_) return;
  bytes = std::max(bytes, 2 * workspace_bytes_);
  workspace_bytes_ = 0;
  workspace_.reset();
  workspace_.reset(static_cast<std::byte*>(::operator new(bytes, kAlignment)));
  workspace_bytes_ = bytes;
}

bool Groups::bind(const Program& program, Node* const* nodes, Binding& binding) noexcept {
  try {
    if (program.bind(nodes, binding)) return true;
  } catch (const std::bad_alloc&) {  // one by one they need less
  }
  Program::forget(nodes, program.count());
  return false;
}

bool Groups::compute(Node* const* nodes, int count) {
  try {
    if (planner_.plan(nodes, count, false, program_)) {
      last_ = &program_;
      return compute(program_, nodes);
    }
  } catch (const std::bad_alloc&) {
  }
  Program::forget(nodes, count);
  return false;
}

bool Groups::compute(const Program& program, Node* const* nodes) {
  if (!bind(program, nodes, binding_)) return false;
  try {
    reserve(program.buffer_bytes());
  } catch (const std::bad_alloc&) {
    Program::forget(nodes, program.count());
    return false;
  }
  program.compute(binding_, workspace_.get());
  return true;
}

Groups::Prepared* Groups::next_prepared() noexcept try {
  constexpr std::size_t kMost = 128;  // so that their memory stays bounded
  if (count_ == kMost) return nullptr;
  if (count_ == prepared_.size()) prepared_.push_back(std::make_unique<Prepared>());
  return prepared_[count_].get();
} catch (const std::bad_alloc&) {
  return nullptr;
}

bool Groups::prepare(Node* const* nodes, int count) {
  Prepared* prepared = next_prepared();
  if (!prepared) return false;
  try {
    if (planner_.plan(nodes, count, true, prepared->own)) {
      last_ = &prepared->own;
      return prepare(prepared->own, nodes);
    }
  } catch (const std::bad_alloc&) {
  }
  Program::forget(nodes, count);
  return false;
}

bool Groups::prepare(const Program& program, Node* const* nodes) {
  Prepared* prepared = next_prepared();
  if (!prepared || !bind(program, nodes, prepared->binding)) return false;
  prepared->program = &program;
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

void Groups::compute_prepared() noexcept {
  for (std::size_t i = 0; i < count_; ++i) prepared_[i]->program->compute(prepared_[i]->binding, workspace_.get());
  count_ = 0;
}

}  // namespace adjoint::detail
