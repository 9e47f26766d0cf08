#define ADJOINT_SIMD_TABLE baseline_table
#define ADJOINT_SIMD_NAME "baseline"
#include "kernels/simd.inc"
