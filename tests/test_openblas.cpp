#include <doctest/doctest.h>

#include "kernels/kernels.hpp"

#include <string>

extern "C" {
int openblas_get_parallel();
char* openblas_get_corename();
}

// A second pool of threads, beside OpenMP's, would fight with it for the cores.
TEST_CASE("OpenBLAS is linked in its OpenMP build") {
  constexpr int openmp = 2;  // 0: sequential, 1: pthreads
  CHECK(openblas_get_parallel() == openmp);
}

// By whichever kernels OpenBLAS chose here; OPENBLAS_CORETYPE and ADJOINT_ISA choose others.
TEST_CASE("large float64 products are ours where OpenBLAS has kernels of narrower vectors") {
  namespace k = adjoint::kernels;
  const std::string core = openblas_get_corename(), isa = k::table().name;
  const k::Matrix square{nullptr, 256, 1}, column{nullptr, 1, 1};
  const auto library = [&](std::int64_t n, const k::Matrix& b) {
    return std::string(k::matmul_library(adjoint::float64, 256, n, 256, square, b));
  };
  CAPTURE(core);
  CAPTURE(isa);
  const bool is_narrow = core == "Prescott", has_avx2 = core == "Haswell" || core == "Zen";
  if (is_narrow || has_avx2 || core == "SkylakeX") {
    const bool is_behind = (is_narrow && isa != "baseline") || (has_avx2 && isa == "avx512");
    CHECK(library(256, square) == (is_behind ? "own kernel" : "CBLAS"));
  }
  CHECK(library(1, column) != "own kernel");  // to copy its operands would cost as much
  CHECK(std::string(k::matmul_library(adjoint::float32, 256, 512, 200, square, {nullptr, 520, 1})) == "oneDNN");
}
