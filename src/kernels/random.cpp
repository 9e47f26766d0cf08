#include "kernels/kernels.hpp"
#include "kernels/philox.hpp"

namespace adjoint::kernels {

void random(Random kind, Dtype dtype, std::uint64_t seed, std::uint64_t offset, std::int64_t low, std::int64_t high,
            std::int64_t first, std::int64_t n, void* output) noexcept {
  table().random[static_cast<int>(kind)][static_cast<int>(dtype)](seed, offset + static_cast<std::uint64_t>(first), low,
                                                                  high, n, output);
}

void iota(Dtype dtype, double start, double step, std::int64_t istart, std::int64_t istep, std::int64_t first,
          std::int64_t n, void* output) noexcept {
  const auto fill = [&](auto* out, auto value) {
    for (std::int64_t i = 0; i < n; ++i) out[i] = static_cast<std::decay_t<decltype(*out)>>(value(first + i));
  };
  const auto floating = [&](std::int64_t i) { return start + static_cast<double>(i) * step; };
  // Integers wrap around.
  const auto integer = [&](std::int64_t i) {
    return static_cast<std::int64_t>(static_cast<std::uint64_t>(istart) +
                                     static_cast<std::uint64_t>(i) * static_cast<std::uint64_t>(istep));
  };
  switch (dtype) {
    case float32:
      return fill(static_cast<float*>(output), floating);
    case float64:
      return fill(static_cast<double*>(output), floating);
    case int64:
      return fill(static_cast<std::int64_t*>(output), integer);
    case int32:
      return fill(static_cast<std::int32_t*>(output), integer);
    case uint8:
      return fill(static_cast<std::uint8_t*>(output), integer);
    case bool_:
      return fill(static_cast<std::uint8_t*>(output), [&](std::int64_t i) { return integer(i) != 0; });
  }
}

void permutation(std::uint64_t seed, std::uint64_t offset, std::int64_t n, std::int64_t* output) noexcept {
  for (std::int64_t i = 0; i < n; ++i) output[i] = i;
  for (std::int64_t last = n - 1; last > 0; --last) {
    const std::uint64_t position = offset + static_cast<std::uint64_t>(last);
    const Words words = philox(Stream::bits64, seed, position / 2);
    const std::uint32_t* w = words.w + 2 * (position % 2);
    const std::int64_t other = integer_between(w[0] | std::uint64_t{w[1]} << 32, 0, last + 1);
    const std::int64_t value = output[last];
    output[last] = output[other];
    output[other] = value;
  }
}

}  // namespace adjoint::kernels
