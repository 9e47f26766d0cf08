#include "core/thread_state.hpp"

#include "core/node.hpp"

#include <adjoint/autograd.hpp>
#include <adjoint/error.hpp>

#include <cstdlib>
#include <cstring>
#include <string>

namespace adjoint::detail {
namespace {

std::mutex& idle_mutex() {
  static std::mutex& mutex = *new std::mutex;
  return mutex;
}
std::vector<ThreadState*>& idle_states() {
  static auto& states = *new std::vector<ThreadState*>;
  return states;
}

ThreadState* acquire() {
  std::lock_guard lock(idle_mutex());
  if (idle_states().empty()) return new ThreadState;
  ThreadState* state = idle_states().back();
  idle_states().pop_back();
  return state;
}

struct Environment {
  Switches switches;
  const char* unknown = nullptr;

  Environment() noexcept {
    if (const char* list = std::getenv("ADJOINT_ENGINE")) unknown = switches.switch_off(list);
  }
  static const Environment& get() noexcept {
    static const Environment environment;
    return environment;
  }
};

}  // namespace

const char* Switches::switch_off(const char* list) noexcept {
  const struct {
    const char* name;
    bool& value;
  } words[] = {{"no-fusion", fuse}, {"no-replay", replay}, {"no-donation", donate}, {"no-recomputation", recompute}};
  while (*list) {
    const std::size_t length = std::strcspn(list, ",");
    bool known = length == 0;
    for (const auto& word : words) {
      if (std::strlen(word.name) != length || std::strncmp(word.name, list, length) != 0) continue;
      word.value = false;
      known = true;
    }
    if (!known) return list;
    list += length;
    if (*list) ++list;
  }
  return nullptr;
}

const Switches& Switches::defaults() noexcept { return Environment::get().switches; }

const Switches& Switches::checked_defaults() {
  const Environment& environment = Environment::get();
  if (environment.unknown)
    throw ValueError("ADJOINT_ENGINE: '" + std::string(environment.unknown, std::strcspn(environment.unknown, ",")) +
                     "' is not known; it must be a list, separated by commas, of no-fusion, no-replay, no-donation "
                     "and no-recomputation");
  return environment.switches;
}

struct ThreadState::Returner {
  ~Returner() {
    ThreadState* state = of_thread;
    {
      std::lock_guard lock(state->mutex);
      for (const ThreadState::Pending& entry : state->pending)
        if (entry.node) entry.node->drop_link();
      state->pending.clear();
      state->grad_enabled = true;
      state->eager = false;
      state->threads = 0;
      state->scope = nullptr;
      state->generator = Generator();
    }
    of_thread = nullptr;
    std::lock_guard lock(idle_mutex());
    idle_states().push_back(state);
  }
};

ThreadState& ThreadState::start() noexcept {
  of_thread = acquire();
  static_cast<Switches&>(*of_thread) = Switches::defaults();
  thread_local Returner returner;
  static_cast<void>(returner);
  return *of_thread;
}

PoolString ThreadState::module_path() const {
  PoolString path;
  for (const ModuleScope* frame = scope; frame; frame = frame->outer_) {
    if (!frame->name_ || !*frame->name_) continue;
    if (!path.empty()) path.insert(0, 1, '.');
    path.insert(0, frame->name_);
  }
  return path;
}

ModuleScope::ModuleScope(const char* name) noexcept : name_(name), outer_(ThreadState::get().scope) {
  ThreadState::get().scope = this;
}
ModuleScope::~ModuleScope() { ThreadState::get().scope = outer_; }

}  // namespace adjoint::detail
