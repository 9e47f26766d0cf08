#pragma once

#include <adjoint/export.hpp>

namespace adjoint {

/// How many threads the calling thread's computations may use; at first as many as OpenMP would (OMP_NUM_THREADS, or
/// the processor's cores). Elementwise work, reductions and random numbers give the same bits with any number.
/// Throws ValueError when count < 1.
ADJOINT_API void set_num_threads(int count);
ADJOINT_API int get_num_threads() noexcept;

}  // namespace adjoint
