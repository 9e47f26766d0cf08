#pragma once

#include <adjoint/export.hpp>

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <type_traits>

namespace adjoint {

/// The type of a tensor's elements. float32 is the default; float32 and float64 have gradients.
enum class Dtype : std::uint8_t { float32, float64, int64, int32, uint8, bool_ };

inline constexpr Dtype float32 = Dtype::float32, float64 = Dtype::float64, int64 = Dtype::int64,
                       int32 = Dtype::int32, uint8 = Dtype::uint8, bool_ = Dtype::bool_;
inline constexpr int kDtypeCount = 6;

/// Bytes of one element.
constexpr std::size_t size_of(Dtype dtype) noexcept {
  constexpr std::size_t sizes[] = {4, 8, 8, 4, 1, 1};
  return sizes[static_cast<int>(dtype)];
}
constexpr bool is_floating(Dtype dtype) noexcept { return dtype == float32 || dtype == float64; }
/// int64, int32 and uint8; not bool.
constexpr bool is_integral(Dtype dtype) noexcept { return dtype == int64 || dtype == int32 || dtype == uint8; }

/// "float32", "int64", "bool", ...
ADJOINT_API const char* name_of(Dtype dtype) noexcept;
ADJOINT_API std::ostream& operator<<(std::ostream& out, Dtype dtype);

/// The dtype in which two tensors meet, as in PyTorch: bool < uint8 < int32 < int64 < float32 < float64.
constexpr Dtype promote_types(Dtype a, Dtype b) noexcept {
  constexpr int rank[] = {4, 5, 3, 2, 1, 0};
  return rank[static_cast<int>(a)] >= rank[static_cast<int>(b)] ? a : b;
}

/// The dtype of a C++ type: float, double, std::uint8_t, bool, and the signed integers of 32 and 64 bits.
template <class T>
constexpr Dtype dtype_of() noexcept {
  static_assert(std::is_arithmetic_v<T>, "adjoint: tensors hold arithmetic types");
  if constexpr (std::is_same_v<T, bool>) return Dtype::bool_;
  else if constexpr (std::is_same_v<T, float>) return Dtype::float32;
  else if constexpr (std::is_same_v<T, double>) return Dtype::float64;
  else if constexpr (std::is_same_v<T, std::uint8_t>) return Dtype::uint8;
  else if constexpr (std::is_integral_v<T> && std::is_signed_v<T> && sizeof(T) == 8) return Dtype::int64;
  else {
    static_assert(std::is_integral_v<T> && std::is_signed_v<T> && sizeof(T) == 4,
                  "adjoint: no dtype for this type; use float, double, int64_t, int32_t, uint8_t or bool");
    return Dtype::int32;
  }
}

}  // namespace adjoint
