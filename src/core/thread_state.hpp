// What each thread of the host program has of its own.
#pragma once

#include "core/pool.hpp"

#include <adjoint/random.hpp>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace adjoint::detail {

class Node;
class ModuleScope;

/// What of the engine can be switched off (engine::Options).
struct Switches {
  bool fuse = true;       // else nodes are computed one by one
  bool replay = true;     // else each plan is made anew
  bool donate = true;     // else results take no input's memory
  bool recompute = true;  // else each value is computed once

  /// Switches off what a list such as "no-fusion,no-replay" names. Null, or the list from the first unknown word on.
  const char* switch_off(const char* list) noexcept;
  /// What ADJOINT_ENGINE says, read once. Throws ValueError for a word that is not known; the noexcept one ignores it.
  static const Switches& checked_defaults();
  static const Switches& defaults() noexcept;
};

struct ThreadState : Switches {
  bool grad_enabled = true;
  std::uint8_t checkpoints = 0;  // that are being recorded, one inside of the other
  bool records_again = false;    // what was within them
  bool eager = false;
  int threads = 0;  // 0: not chosen yet
  /// Elements of values that may be computed again: fewer are in the cache when they are read once more.
  std::int64_t fewest_to_recompute = std::int64_t{1} << 15;
  const ModuleScope* scope = nullptr;
  Generator generator;

  /// Held while nodes that this thread recorded are computed, by whichever thread.
  std::recursive_mutex mutex;
  struct Pending {
    Pending() = default;
    Pending(Node* n, std::uint64_t i) noexcept : node(n), number(i) {}
    Node* node = nullptr;      // linked; null when it was computed since
    std::uint64_t number = 0;  // ascending
  };
  /// The nodes that this thread recorded and that are pending, in order.
  std::vector<Pending> pending;
  std::uint64_t next_number = 1;
  /// Another thread has computed some of them.
  std::atomic<bool> pending_is_stale{false};
  /// At this size the list is gone through.
  std::size_t pending_limit = 1024;
  /// What the last evaluation worked with, for the next one (engine/evaluate.cpp).
  void* workspace = nullptr;
  /// Evaluations for which a plan had been kept.
  std::uint64_t replays = 0;
  /// Bytes that were live after the last evaluation.
  std::int64_t live_bytes = 0;

  /// The calling thread's. Never freed: a thread that ends leaves it to one that starts.
  static ThreadState& get() noexcept {
    ThreadState* state = of_thread;
    return state ? *state : start();
  }
  /// "encoder.0", or empty outside of modules.
  PoolString module_path() const;

 private:
  struct Returner;
  static ThreadState& start() noexcept;

  static inline thread_local ThreadState* of_thread = nullptr;
};

}  // namespace adjoint::detail
