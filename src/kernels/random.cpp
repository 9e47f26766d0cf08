#include "kernels/philox.hpp"

#include "kernels/kernels.hpp"

#include <cmath>

namespace adjoint::kernels {
namespace {

// Philox makes 128 bits per counter. The numbers of each width take their bits from counters of their own (the third
// word), so that ranges of element positions that do not overlap never share bits.
enum class Stream : std::uint32_t { bits32, bits64, normal32, normal64 };

Words block(Stream stream, std::uint64_t seed, std::uint64_t counter) {
  return philox({{static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                  static_cast<std::uint32_t>(stream), 0}},
                static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

std::uint64_t pair(const Words& words, int i) { return words.w[2 * i] | std::uint64_t{words.w[2 * i + 1]} << 32; }

// Calls element(i, block, which) for the n elements from `start` on, with blocks of `kPerBlock` elements.
template <int kPerBlock, class Element>
void for_elements(Stream stream, std::uint64_t seed, std::uint64_t start, std::int64_t n, Element element) {
  for (std::int64_t i = 0; i < n;) {
    const std::uint64_t position = start + static_cast<std::uint64_t>(i);
    const Words words = block(stream, seed, position / kPerBlock);
    for (int which = static_cast<int>(position % kPerBlock); which < kPerBlock && i < n; ++which)
      element(i++, words, which);
  }
}

// Uniform in [0, 1) and in (0, 1).
float unit32(std::uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }
double unit64(std::uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }
double open_unit64(std::uint64_t bits) { return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52; }

// One of the two deviates that Box and Muller's transform makes of two uniform ones.
double box_muller(double u, double v, int which) {
  const double radius = std::sqrt(-2.0 * std::log(u)), angle = 6.283185307179586 * v;
  return radius * (which == 0 ? std::cos(angle) : std::sin(angle));
}

std::int64_t in_range(std::uint64_t bits, std::int64_t low, std::int64_t high) {
  const std::uint64_t range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(low) + multiply_high(bits, range));
}

}  // namespace

void random(Random kind, Dtype dtype, std::uint64_t seed, std::uint64_t offset, std::int64_t low, std::int64_t high,
            std::int64_t first, std::int64_t n, void* output) noexcept {
  const std::uint64_t start = offset + static_cast<std::uint64_t>(first);
  auto* f32 = static_cast<float*>(output);
  auto* f64 = static_cast<double*>(output);
  switch (kind) {
    case Random::uniform:
      if (dtype == float32)
        return for_elements<4>(Stream::bits32, seed, start, n,
                               [&](std::int64_t i, const Words& words, int which) { f32[i] = unit32(words.w[which]); });
      return for_elements<2>(Stream::bits64, seed, start, n, [&](std::int64_t i, const Words& words, int which) {
        f64[i] = unit64(pair(words, which));
      });
    case Random::normal:
      if (dtype == float32)
        return for_elements<4>(Stream::normal32, seed, start, n, [&](std::int64_t i, const Words& words, int which) {
          const std::uint32_t* w = words.w + (which & 2);
          f32[i] = static_cast<float>(box_muller((w[0] + 0.5) * 0x1p-32, w[1] * 0x1p-32, which & 1));
        });
      return for_elements<2>(Stream::normal64, seed, start, n, [&](std::int64_t i, const Words& words, int which) {
        f64[i] = box_muller(open_unit64(pair(words, 0)), unit64(pair(words, 1)), which);
      });
    case Random::integer: {
      auto* i64 = static_cast<std::int64_t*>(output);
      return for_elements<2>(Stream::bits64, seed, start, n, [&](std::int64_t i, const Words& words, int which) {
        i64[i] = in_range(pair(words, which), low, high);
      });
    }
  }
}

void iota(Dtype dtype, double start, double step, std::int64_t istart, std::int64_t istep, std::int64_t first,
          std::int64_t n, void* output) noexcept {
  // Integers wrap around.
  const auto integer = [&](std::int64_t i) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(istart) +
                                     static_cast<std::uint64_t>(first + i) * static_cast<std::uint64_t>(istep));
  };
  const auto floating = [&](std::int64_t i) { return start + static_cast<double>(first + i) * step; };
  for (std::int64_t i = 0; i < n; ++i) switch (dtype) {
      case float32:
        static_cast<float*>(output)[i] = static_cast<float>(floating(i));
        break;
      case float64:
        static_cast<double*>(output)[i] = floating(i);
        break;
      case int64:
        static_cast<std::int64_t*>(output)[i] = integer(i);
        break;
      case int32:
        static_cast<std::int32_t*>(output)[i] = static_cast<std::int32_t>(integer(i));
        break;
      case uint8:
        static_cast<std::uint8_t*>(output)[i] = static_cast<std::uint8_t>(integer(i));
        break;
      case bool_:
        static_cast<std::uint8_t*>(output)[i] = integer(i) != 0;
        break;
    }
}

void permutation(std::uint64_t seed, std::uint64_t offset, std::int64_t n, std::int64_t* output) noexcept {
  for (std::int64_t i = 0; i < n; ++i) output[i] = i;
  for_elements<2>(Stream::bits64, seed, offset, n - 1, [&](std::int64_t i, const Words& words, int which) {
    const std::int64_t last = n - 1 - i, other = in_range(pair(words, which), 0, last + 1);
    const std::int64_t value = output[last];
    output[last] = output[other];
    output[other] = value;
  });
}

}  // namespace adjoint::kernels
