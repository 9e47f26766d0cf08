#include "kernels/kernels.hpp"

#include <algorithm>

namespace adjoint::kernels {
namespace {

// The sum of what was added so far, by dtype. Rounding errors do not grow with the number of terms.
struct SingleSum {
  using type = float;
  double sum = 0;
  float add(float x) { return static_cast<float>(sum += x); }
};
struct DoubleSum {
  using type = double;
  double sum = 0, lost = 0;
  double add(double x) {
    // Knuth's two-sum: what the rounding of the sum lost, exactly.
    const double next = sum + x, part = next - sum;
    lost += (sum - (next - part)) + (x - part);
    sum = next;
    const bool is_finite = sum - sum == 0;
    return is_finite ? sum + lost : sum;
  }
};
struct IntegerSum {
  using type = std::int64_t;
  std::uint64_t sum = 0;  // wraps around
  std::int64_t add(std::int64_t x) { return static_cast<std::int64_t>(sum += static_cast<std::uint64_t>(x)); }
};

template <class Sum>
void cumsum_as(std::int64_t n, std::int64_t lines, const void* input, std::int64_t step, std::int64_t line_step,
               void* output, std::int64_t output_step) {
  using T = typename Sum::type;
  constexpr std::int64_t most = 32;
  for (std::int64_t first = 0; first < lines; first += most) {
    const T* x = static_cast<const T*>(input) + first * line_step;
    T* out = static_cast<T*>(output) + first;
    Sum sums[most];
    const std::int64_t count = std::min(most, lines - first);
    for (std::int64_t i = 0; i < n; ++i, x += step, out += output_step)
      for (std::int64_t line = 0; line < count; ++line) out[line] = sums[line].add(x[line * line_step]);
  }
}

}  // namespace

void cumsum(Dtype dtype, std::int64_t n, std::int64_t lines, const void* input, std::int64_t step,
            std::int64_t line_step, void* output, std::int64_t output_step) noexcept {
  const auto run = dtype == Dtype::float32   ? &cumsum_as<SingleSum>
                   : dtype == Dtype::float64 ? &cumsum_as<DoubleSum>
                                             : &cumsum_as<IntegerSum>;
  run(n, lines, input, step, line_step, output, output_step);
}

}  // namespace adjoint::kernels
