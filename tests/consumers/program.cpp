// A program of somebody else's: computes, and catches what the library throws.
#include <adjoint/error.hpp>
#include <adjoint/shape.hpp>
#include <adjoint/version.hpp>

#include <iostream>

namespace ad = adjoint;

int main() {
  try {
    ad::broadcast_shapes({2, 3}, {4});
  } catch (const ad::ShapeError& error) {
    std::cout << "adjoint " << ADJOINT_VERSION_STRING << " threw: " << error.what() << '\n';
    return 0;
  }
  return 1;
}
