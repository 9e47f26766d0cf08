// The derivatives of the logarithm of the gamma function, as oracles.
#pragma once

#include <cmath>
#include <limits>

namespace adjoint::table {

/// The derivative of order n + 1 of lgamma, for n up to 10: terms of its series, and from 15 + n on the formula of
/// Euler and Maclaurin. Negative x take as many terms more; for n = 0 those below -20 are reflected.
template <class T>
T derivative_of_lgamma(int n, T x) {
  constexpr T infinity = std::numeric_limits<T>::infinity(),
              pi = static_cast<T>(3.141592653589793238462643383279502884L);
  const T sign = n % 2 == 0 ? -1 : 1;
  const bool is_pole = x <= 0 && x == std::floor(x);
  if (n == 0 && x == 0) return -std::copysign(infinity, x);
  if (is_pole) return n == 0 ? std::numeric_limits<T>::quiet_NaN() : sign * infinity;
  if (n == 0 && x < -20) return derivative_of_lgamma<T>(0, 1 - x) - pi / std::tan(pi * (x - std::nearbyint(x)));
  T factorial = 1, sum = 0, y = x;
  for (int i = 2; i <= n; ++i) factorial *= static_cast<T>(i);
  for (int k = 1; y < static_cast<T>(15 + n); ++k) {
    T term = factorial / y;
    for (int i = 0; i < n; ++i) term /= y;
    sum += term;
    y = x + static_cast<T>(k);
  }
  T power = factorial / std::pow(y, static_cast<T>(n));
  sum += power / (2 * y) + (n == 0 ? -std::log(y) : power / static_cast<T>(n));
  // B(2k) (2k + n - 1)! / (2k)! / y^(2k + n)
  constexpr int numerators[] = {1, -1, 1, -1, 5, -691, 7, -3617, 43867, -174611},
                denominators[] = {6, 30, 42, 30, 66, 2730, 6, 510, 798, 330};
  power *= static_cast<T>(n + 1) / (2 * y * y);
  for (int k = 1; k <= 10; ++k) {
    sum += power * static_cast<T>(numerators[k - 1]) / static_cast<T>(denominators[k - 1]);
    power *= static_cast<T>((2 * k + n) * (2 * k + n + 1)) / (static_cast<T>((2 * k + 1) * (2 * k + 2)) * y * y);
  }
  return sign * sum;
}

}  // namespace adjoint::table
