# The libraries that adjoint stands on. Used by our own build and, installed, by find_package(adjoint), whose users need
# only what the archive links: not the headers that our sources alone include.
include(CMakeFindDependencyMacro)
find_dependency(OpenMP COMPONENTS CXX)
find_dependency(Threads)
find_dependency(ZLIB)
find_dependency(dnnl)

# OpenBLAS in its OpenMP build, by its path: Debian's alternatives may point `libopenblas.so` at the pthread build,
# whose pool of threads would fight with OpenMP's.
find_library(ADJOINT_OPENBLAS NAMES openblas PATH_SUFFIXES openblas-openmp
             HINTS /usr/lib/${CMAKE_LIBRARY_ARCHITECTURE}/openblas-openmp NO_DEFAULT_PATH
             DOC "OpenBLAS, built with OpenMP")
find_library(ADJOINT_OPENBLAS NAMES openblas cblas blas)
if(NOT ADJOINT_OPENBLAS)
  message(FATAL_ERROR "adjoint: no CBLAS found; install libopenblas-openmp-dev or set ADJOINT_OPENBLAS")
endif()
