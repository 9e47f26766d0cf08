#include "core/thread_state.hpp"

#include <adjoint/engine.hpp>

namespace adjoint::engine {
namespace {

void set(const Options& options) noexcept {
  detail::ThreadState& state = detail::ThreadState::get();
  state.fuse = options.fusion;
  state.replay = options.replay;
  state.donate = options.donation;
  state.recompute = options.recomputation;
}

}  // namespace

Options options() {
  detail::Switches::checked_defaults();
  const detail::ThreadState& state = detail::ThreadState::get();
  return {state.fuse, state.replay, state.donate, state.recompute};
}

OptionsGuard::OptionsGuard(const Options& options) : before_(engine::options()) { set(options); }
OptionsGuard::~OptionsGuard() { set(before_); }

}  // namespace adjoint::engine
