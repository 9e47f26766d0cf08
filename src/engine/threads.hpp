// The thread team.
#pragma once

#include <cstdint>

namespace adjoint::detail {

/// Elementwise work is cut into chunks of this many elements; smaller work stays on the caller's thread.
inline constexpr std::int64_t kGrain = 1 << 15;

/// How many threads parallel_for_team would take for so many chunks.
int team_size(std::int64_t count) noexcept;
void parallel_for_team_erased(std::int64_t count, void (*body)(const void*, std::int64_t, int), const void* context);
/// parallel_for with the number of the thread, 0 .. team_size(count) - 1, as body's second argument.
template <class Body>
void parallel_for_team(std::int64_t count, const Body& body) {
  if (count == 1) return body(0, 0);
  parallel_for_team_erased(
      count,
      [](const void* context, std::int64_t chunk, int thread) { (*static_cast<const Body*>(context))(chunk, thread); },
      &body);
}

/// Calls body(chunk) for chunks 0 .. count-1, on the team that this evaluation has leased, or serially. The body
/// does not throw. How work is cut into chunks must depend on sizes alone, never on the number of threads.
template <class Body>
void parallel_for(std::int64_t count, const Body& body) {
  parallel_for_team(count, [&body](std::int64_t chunk, int) { body(chunk); });
}

/// While it lives, OpenMP, and with it the math libraries, use as many threads as this host thread may: those of
/// set_num_threads when the process's one team is free, else one. Restores the host's settings.
class TeamLease {
 public:
  TeamLease() noexcept;
  ~TeamLease();
  TeamLease(const TeamLease&) = delete;
  TeamLease& operator=(const TeamLease&) = delete;

 private:
  int before_;
  bool leased_ = false, was_dynamic_ = false;
};

}  // namespace adjoint::detail
