// The smallest network that needs a hidden layer: exclusive or.
#include <adjoint/adjoint.hpp>

#include <cstdlib>
#include <iostream>

namespace ad = adjoint;

int main() {
  ad::manual_seed(0);
  const ad::Tensor x = ad::tensor({{0.0, 0.0}, {0.0, 1.0}, {1.0, 0.0}, {1.0, 1.0}});
  const ad::Tensor y = ad::tensor({{0.0}, {1.0}, {1.0}, {0.0}});

  ad::nn::Sequential net(ad::nn::Linear(2, 8), ad::nn::Tanh(), ad::nn::Linear(8, 1));
  ad::optim::Adam optimizer(net.parameters(), {.lr = 0.05});
  for (int step = 0; step < 300; ++step) {
    optimizer.zero_grad();
    const ad::Tensor loss = ad::nn::binary_cross_entropy_with_logits(net(x), y);
    loss.backward();
    optimizer.step();
  }

  const ad::Tensor answers = ad::sigmoid(net(x));
  std::cout << "x\n" << x << "\nanswers\n" << answers << '\n';
  return ad::allclose(answers, y, 0, 0.1) ? EXIT_SUCCESS : EXIT_FAILURE;
}
