// The tables of the instruction sets, one translation unit each.
#pragma once

#include "kernels/kernels.hpp"

namespace adjoint::kernels {

const Table& baseline_table() noexcept;
#if defined(__x86_64__)
const Table& avx2_table() noexcept;
const Table& avx512_table() noexcept;
#endif

}  // namespace adjoint::kernels
