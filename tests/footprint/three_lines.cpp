#include <adjoint/adjoint.hpp>
#include <iostream>

int main() {
  adjoint::Tensor w = adjoint::tensor({0.5f, -1.0f}).requires_grad_();
  adjoint::sum(adjoint::square(w)).backward();
  std::cout << w.grad() << '\n';
}
