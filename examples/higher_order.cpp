// Derivatives of derivatives. Gradients are recorded Tensors like any other, so they can be differentiated again.
#include <adjoint/adjoint.hpp>

#include <cmath>
#include <cstdlib>
#include <iostream>

namespace ad = adjoint;
using ad::Tensor;

/// Rosenbrock's valley: curved, narrow, and 0 at its lowest point (1, 1).
Tensor rosenbrock(const Tensor& x) { return 100 * ad::square(x[1] - ad::square(x[0])) + ad::square(1 - x[0]); }

/// The solution of a system of two linear equations.
Tensor solve2(const Tensor& a, const Tensor& b) {
  const Tensor determinant = a[0][0] * a[1][1] - a[0][1] * a[1][0];
  return ad::stack({a[1][1] * b[0] - a[0][1] * b[1], a[0][0] * b[1] - a[1][0] * b[0]}) / determinant;
}

bool close(const Tensor& a, const Tensor& b) { return ad::allclose(a, b, 1e-9, 1e-9); }

int main() {
  bool right = true;

  // grad turns a function into its derivative, and can be applied again: sin, cos, -sin, -cos.
  const auto f = [](const Tensor& x) { return ad::sin(x); };
  const auto f1 = ad::grad(f);
  const auto f2 = ad::grad(f1);
  const auto f3 = ad::grad(f2);
  const Tensor t = ad::tensor(0.5, ad::float64);
  std::cout << "sin'''(0.5) = " << f3(t) << ", -cos(0.5) = " << -std::cos(0.5) << '\n';
  right = right && close(f1(t), ad::cos(t)) && close(f2(t), -ad::sin(t)) && close(f3(t), -ad::cos(t));

  // hessian: all second derivatives. Newton's method goes where the gradient of the local parabola vanishes.
  Tensor x = ad::tensor({-1.2, 1.0}, ad::float64);
  for (int step = 1; step <= 7; ++step) {
    const auto [value, gradient] = ad::value_and_grad(rosenbrock)(x);
    x = x - solve2(ad::hessian(rosenbrock)(x), gradient);
    std::cout << "Newton step " << step << ": from " << value << " to " << x << '\n';
  }
  right = right && close(x, ad::ones({2}, ad::float64));

  // hvp: the Hessian times a vector, for the price of a few gradients, without the Hessian. With many variables it is
  // what there is time and memory for.
  const Tensor y = ad::tensor({0.5, -0.5}, ad::float64), v = ad::tensor({1.0, 2.0}, ad::float64);
  const Tensor product = ad::hvp(rosenbrock, y, v);
  std::cout << "H v = " << product << '\n';
  right = right && close(product, ad::matmul(ad::hessian(rosenbrock)(y), v));

  // jvp: the derivative in one direction, in forward mode: no backward pass. It is the gradient's product with it.
  const auto [value, slope] = ad::jvp(rosenbrock, {y}, {v});
  std::cout << "f = " << value << ", its slope along v = " << slope << '\n';
  right = right && close(slope, ad::sum(ad::grad(rosenbrock)(y) * v));

  // The same by hand: with create_graph a gradient is differentiable, as here the square of its length.
  Tensor z = y.detach().requires_grad_();
  const Tensor gradient = ad::autograd::grad({rosenbrock(z)}, {z}, {.create_graph = true})[0];
  ad::sum(ad::square(gradient)).backward();
  right = right && close(z.grad(), 2 * ad::hvp(rosenbrock, y, gradient.detach()));

  std::cout << (right ? "all as expected" : "something is wrong") << '\n';
  return right ? EXIT_SUCCESS : EXIT_FAILURE;
}
