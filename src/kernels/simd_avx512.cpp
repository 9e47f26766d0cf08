#define ADJOINT_SIMD_TABLE avx512_table
#define ADJOINT_SIMD_NAME "avx512"
#include "kernels/simd.inc"
