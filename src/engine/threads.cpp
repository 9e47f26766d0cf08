#include "engine/threads.hpp"

#include "core/thread_state.hpp"

#include <adjoint/error.hpp>
#include <adjoint/threads.hpp>

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <string>

namespace adjoint {
namespace detail {
namespace {

std::atomic<bool> team_is_leased{false};

/// Chunks that are left of a thread's.
struct alignas(64) Share {
  std::atomic<std::int64_t> next;
  std::int64_t end;
};
constexpr int kMostShares = 64;

}  // namespace

TeamLease::TeamLease() noexcept : before_(omp_get_max_threads()) {
  const int wanted = std::min(get_num_threads(), omp_get_thread_limit());
  leased_ = wanted > 1 && !omp_in_parallel() && !team_is_leased.exchange(true, std::memory_order_acquire);
  const int threads = leased_ ? wanted : 1;
  if (threads != before_) omp_set_num_threads(threads);
  // A math library waits for as many threads as it asked for: a team that OpenMP makes smaller would wait for ever.
  was_dynamic_ = leased_ && omp_get_dynamic();
  if (was_dynamic_) omp_set_dynamic(0);
}

TeamLease::~TeamLease() {
  if (was_dynamic_) omp_set_dynamic(1);
  if (omp_get_max_threads() != before_) omp_set_num_threads(before_);
  if (leased_) team_is_leased.store(false, std::memory_order_release);
}

int team_size(std::int64_t count) noexcept {
  return omp_in_parallel() ? 1 : static_cast<int>(std::clamp<std::int64_t>(count, 1, omp_get_max_threads()));
}

void parallel_for_team_erased(std::int64_t count, void (*body)(const void*, std::int64_t, int), const void* context) {
  const int threads = team_size(count);
  if (threads <= 1) {
    for (std::int64_t chunk = 0; chunk < count; ++chunk) body(context, chunk, 0);
    return;
  }
  // Each thread has a share of its own, the same for the next step on as many chunks: its cache has them. One that is
  // done helps the others, which may have slower cores, or not have them for themselves.
  Share shares[kMostShares];
  const int share_count = std::min(threads, kMostShares);
  for (int i = 0; i < share_count; ++i) {
    shares[i].next.store(count * i / share_count, std::memory_order_relaxed);
    shares[i].end = count * (i + 1) / share_count;
  }
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num();
    for (int i = 0; i < share_count; ++i) {
      Share& share = shares[(thread + i) % share_count];
      for (;;) {
        const std::int64_t chunk = share.next.fetch_add(1, std::memory_order_relaxed);
        if (chunk >= share.end) break;
        body(context, chunk, thread);
      }
    }
  }
}

}  // namespace detail

void set_num_threads(int count) {
  if (count < 1) throw ValueError("set_num_threads: count is " + std::to_string(count) + "; it must be at least 1");
  detail::ThreadState::get().threads = count;
}

int get_num_threads() noexcept {
  detail::ThreadState& state = detail::ThreadState::get();
  if (state.threads == 0) state.threads = omp_get_max_threads();
  return state.threads;
}

}  // namespace adjoint
