// Elements by their size alone, whatever type others read there: what only moves them need not know their dtype.
#pragma once

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

}  // namespace adjoint::kernels
