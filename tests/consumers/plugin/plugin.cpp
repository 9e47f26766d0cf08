#include <adjoint/error.hpp>
#include <adjoint/shape.hpp>

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED double plugin_compute() { return static_cast<double>(adjoint::numel({2, 3})); }
EXPORTED void plugin_throw() { adjoint::broadcast_shapes({2, 3}, {4}, "plugin"); }
