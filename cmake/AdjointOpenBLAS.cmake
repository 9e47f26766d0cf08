# Sets ADJOINT_OPENBLAS to OpenBLAS in its OpenMP build, by its path: Debian's alternatives may point `libopenblas.so`
# at the pthread build, whose pool of threads would fight with OpenMP's. Any other CBLAS does where there is none.
find_library(ADJOINT_OPENBLAS NAMES openblas HINTS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp
             NO_DEFAULT_PATH DOC "OpenBLAS, built with OpenMP")
find_library(ADJOINT_OPENBLAS NAMES openblas cblas blas)
mark_as_advanced(ADJOINT_OPENBLAS)
