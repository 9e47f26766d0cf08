// The interop header, for those who have xtensor.
#include <adjoint/adjoint.hpp>
#include <adjoint/xtensor.hpp>

int main() {
  const xt::xarray<float> array{{1.0f, 2.0f}, {3.0f, 4.0f}};
  const adjoint::Tensor doubled = adjoint::from_xtensor(array) * 2.0;
  return adjoint::as_xtensor<float>(doubled)(1, 0) == 6.0f ? 0 : 1;
}
