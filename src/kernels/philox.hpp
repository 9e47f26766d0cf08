// Philox 4x32-10, a counter-based random number generator (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy
// as 1, 2, 3; SC 2011), and how its bits are dealt to the elements of tensors.
#pragma once

#include <cstdint>

namespace adjoint::kernels {
// Of internal linkage, since translation units of several instruction sets include this.
namespace {

struct Words {
  std::uint32_t w[4];
};

constexpr std::uint32_t kPhiloxMultipliers[] = {0xD2511F53u, 0xCD9E8D57u}, kPhiloxWeyl[] = {0x9E3779B9u, 0xBB67AE85u};
constexpr int kPhiloxRounds = 10;

inline Words philox(Words counter, std::uint32_t key0, std::uint32_t key1) noexcept {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const std::uint64_t a = std::uint64_t{kPhiloxMultipliers[0]} * counter.w[0],
                        b = std::uint64_t{kPhiloxMultipliers[1]} * counter.w[2];
    counter = {{static_cast<std::uint32_t>(b >> 32) ^ counter.w[1] ^ key0, static_cast<std::uint32_t>(b),
                static_cast<std::uint32_t>(a >> 32) ^ counter.w[3] ^ key1, static_cast<std::uint32_t>(a)}};
    key0 += kPhiloxWeyl[0];
    key1 += kPhiloxWeyl[1];
  }
  return counter;
}

// A counter makes 128 bits: four numbers of 32 bits or two of 64. Each kind of number has counters of its own (the
// third word), so that ranges of positions that do not overlap never share bits.
enum class Stream : std::uint32_t { bits32, bits64, normal32, normal64 };

// The seed is the key, position / (numbers per counter) the first two words of the counter.
inline Words philox(Stream stream, std::uint64_t seed, std::uint64_t counter) noexcept {
  return philox({{static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                  static_cast<std::uint32_t>(stream), 0}},
                static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

// A number in [low, high) from 64 random bits, by the upper half of the product with the range.
inline std::int64_t integer_between(std::uint64_t bits, std::int64_t low, std::int64_t high) noexcept {
  __extension__ using Wide = unsigned __int128;
  const std::uint64_t range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  const auto product = static_cast<std::uint64_t>(static_cast<Wide>(bits) * range >> 64);
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + product);
}

}  // namespace
}  // namespace adjoint::kernels
