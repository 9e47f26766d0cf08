# The libraries that our own sources are compiled with. xtensor, xsimd and nlohmann-json are headers found by the
# compiler; what the archive links is found again by adjointConfig.cmake for those who use the installed package.
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_package(dnnl REQUIRED)
include(${CMAKE_CURRENT_LIST_DIR}/AdjointOpenBLAS.cmake)
if(NOT ADJOINT_OPENBLAS)
  message(FATAL_ERROR "adjoint: no CBLAS found; install libopenblas-openmp-dev or set ADJOINT_OPENBLAS")
endif()
