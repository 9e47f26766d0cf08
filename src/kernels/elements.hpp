// Elements by their size alone, whatever type others read there: what only moves them need not know their dtype.
#pragma once

#include <cstddef>
#include <cstdint>

namespace adjoint::kernels {

struct Bits8 {
  using type = std::uint8_t;
};
struct Bits32 {
  typedef std::uint32_t __attribute__((__may_alias__)) type;
};
struct Bits64 {
  typedef std::uint64_t __attribute__((__may_alias__)) type;
};

/// 0, 1, 2 for elements of 1, 4 and 8 bytes.
constexpr int size_index(std::size_t element) noexcept { return element == 1 ? 0 : element == 4 ? 1 : 2; }

}  // namespace adjoint::kernels
