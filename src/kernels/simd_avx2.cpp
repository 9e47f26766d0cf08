#define ADJOINT_SIMD_TABLE avx2_table
#define ADJOINT_SIMD_NAME "avx2"
#include "kernels/simd.inc"
