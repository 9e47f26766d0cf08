// Memory for large blocks: where blocks lie, and what becomes of freed ones.
#include "core/arena.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

using adjoint::detail::Arena;

namespace {

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB;

std::byte* take(Arena& arena, std::size_t bytes) { return static_cast<std::byte*>(arena.allocate(bytes)); }

}  // namespace

TEST_CASE("blocks are aligned, lie in the arena, and none lies in another") {
  struct Held {
    std::byte* data;
    std::size_t bytes;
    int mark;
  };
  Arena arena;
  std::mt19937 random(1);
  std::vector<Held> held;
  const auto give_back = [&](std::size_t i) {
    const auto [data, bytes, mark] = held[i];
    for (const std::size_t at : {std::size_t{0}, bytes / 2, bytes - 1}) REQUIRE(static_cast<int>(data[at]) == mark);
    arena.free(data);
    held.erase(held.begin() + static_cast<std::ptrdiff_t>(i));
  };
  for (int turn = 0; turn < 4000; ++turn) {
    if (held.size() < 40 && random() % 2) {
      const std::size_t bytes = 1 + (random() % (random() % 8 ? 100 * kKiB : 2 * kMiB));
      std::byte* data = take(arena, bytes);
      REQUIRE(data);
      REQUIRE(arena.owns(data));
      REQUIRE(arena.owns(data + bytes - 1));
      REQUIRE(reinterpret_cast<std::uintptr_t>(data) % 64 == 0);
      std::memset(data, turn % 251, bytes);
      held.push_back({data, bytes, turn % 251});
    } else if (!held.empty()) {
      give_back(random() % held.size());
    }
    if (turn % 500 == 0) arena.trim();
  }
  while (!held.empty()) give_back(held.size() - 1);
  int other;
  CHECK_FALSE(arena.owns(&other));
  CHECK_FALSE(arena.owns(nullptr));
}

TEST_CASE("freed neighbours become one block, and the first place that is large enough is taken") {
  Arena arena;
  std::byte* blocks[8];
  for (auto& block : blocks) block = take(arena, kMiB);
  CHECK(std::is_sorted(std::begin(blocks), std::end(blocks)));
  for (const int i : {2, 6, 4, 3}) arena.free(blocks[i]);
  CHECK(take(arena, 2 * kMiB + kMiB / 2) == blocks[2]);  // over three of them
  CHECK(take(arena, kMiB) == blocks[6]);                 // for which the rest of the third is too small
  CHECK(take(arena, kMiB / 4) > blocks[4]);
  CHECK(take(arena, 5 * kMiB) > blocks[7]);  // none is so large
}

TEST_CASE("what is free at the end grows with what is asked for") {
  Arena arena;
  std::byte* const first = take(arena, kMiB);
  arena.free(first);
  CHECK(take(arena, 64 * kMiB) == first);
}

TEST_CASE("cached bytes are free ones that the system has not been given back") {
  Arena arena;
  CHECK(arena.cached() == 0);
  std::byte *const a = take(arena, kMiB), *const b = take(arena, kMiB);
  std::memset(a, 1, kMiB);
  CHECK(arena.cached() == 0);
  arena.free(a);
  CHECK(arena.cached() >= kMiB);
  CHECK(arena.cached() < kMiB + 4 * kKiB);
  arena.trim();
  CHECK(arena.cached() == 0);
  std::byte* const again = take(arena, kMiB);
  CHECK(again == a);
#if defined(__linux__)
  CHECK(again[kMiB / 2] == std::byte{0});  // new memory
#endif
  arena.free(again);
  CHECK(arena.cached() >= kMiB);
  arena.free(b);
  CHECK(arena.cached() >= 2 * kMiB);
}

TEST_CASE("what is larger than the machine's memory is refused, and nothing else is lost") {
  Arena arena;
  CHECK(arena.allocate(std::size_t{1} << 60) == nullptr);
  CHECK(arena.allocate(SIZE_MAX / 2) == nullptr);
  CHECK(arena.allocate(kMiB) != nullptr);
}
