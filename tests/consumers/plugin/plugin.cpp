#include <adjoint/adjoint.hpp>

namespace ad = adjoint;

#define EXPORTED extern "C" __attribute__((visibility("default")))

// The derivative of x^3 at 2.
EXPORTED double plugin_compute() {
  const ad::Tensor x = ad::tensor({2.0f});
  return ad::grad([](const ad::Tensor& v) { return ad::sum(v * v * v); })(x).item<double>();
}
EXPORTED void plugin_throw() { ad::matmul(ad::ones({2, 3}), ad::ones({4, 5})); }
