#include <doctest/doctest.h>

extern "C" int openblas_get_parallel();

// A second pool of threads, beside OpenMP's, would fight with it for the cores.
TEST_CASE("OpenBLAS is linked in its OpenMP build") {
  constexpr int openmp = 2;  // 0: sequential, 1: pthreads
  CHECK(openblas_get_parallel() == openmp);
}
