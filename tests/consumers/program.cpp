// A program of somebody else's: differentiates, and catches what the library throws.
#include <adjoint/adjoint.hpp>

#include <iostream>

namespace ad = adjoint;

int main() {
  const ad::Tensor x = ad::tensor({{1.0, 2.0}, {3.0, 4.0}});
  const ad::Tensor gradient = ad::grad([](const ad::Tensor& v) { return ad::sum(ad::matmul(v, v)); })(x);
  if (!ad::equal(gradient, ad::tensor({{7.0, 11.0}, {9.0, 13.0}}))) return 1;
  try {
    ad::matmul(x, ad::ones({3, 1}));
  } catch (const ad::ShapeError& error) {
    std::cout << "adjoint " << ADJOINT_VERSION_STRING << " threw: " << error.what() << '\n';
    return 0;
  }
  return 2;
}
