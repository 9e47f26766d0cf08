#pragma once

#include <adjoint/dtype.hpp>

namespace adjoint {

/// A number of the host program, as an operand: an integer, a floating-point number, or a bool. It never promotes a
/// tensor's dtype within its kind: `float32 tensor * 2.0` stays float32; `int64 tensor * 2.0` becomes float32.
class Scalar {
 public:
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  constexpr Scalar(T value) noexcept  // implicit: numbers are operands
      : floating_(static_cast<double>(value)),
        integer_(std::is_floating_point_v<T> ? 0 : static_cast<std::int64_t>(value)),
        kind_(std::is_same_v<T, bool> ? Kind::boolean : std::is_floating_point_v<T> ? Kind::floating : Kind::integer) {}

  constexpr bool is_floating() const noexcept { return kind_ == Kind::floating; }
  constexpr bool is_integer() const noexcept { return kind_ == Kind::integer; }
  constexpr bool is_bool() const noexcept { return kind_ == Kind::boolean; }
  constexpr double to_double() const noexcept { return floating_; }
  /// Exact for integers and bools; a floating-point number is truncated.
  constexpr std::int64_t to_int64() const noexcept {
    return is_floating() ? static_cast<std::int64_t>(floating_) : integer_;
  }
  /// The dtype that a tensor made from this number alone has: float32, int64 or bool.
  constexpr Dtype default_dtype() const noexcept { return is_floating() ? float32 : is_bool() ? bool_ : int64; }

 private:
  enum class Kind : std::uint8_t { floating, integer, boolean };
  double floating_;
  std::int64_t integer_;
  Kind kind_;
};

}  // namespace adjoint
