// An architecture of one's own: a residual network whose blocks learn how far to open.
#include <adjoint/adjoint.hpp>

#include <cstdlib>
#include <iostream>

namespace ad = adjoint;
namespace nn = adjoint::nn;
using ad::Tensor;

/// y = x + g(x) f(x): f a small network, g a gate between 0 and 1 for each feature, learnt as well (after the highway
/// networks of Srivastava, Greff and Schmidhuber, 2015).
struct GatedBlock : nn::Module<GatedBlock> {
  nn::Linear up, down, gate;

  explicit GatedBlock(std::int64_t width) : up(width, 2 * width), down(2 * width, width), gate(width, width) {
    nn::init::constant_(gate.bias, -2);  // begin nearly closed: a deep network then begins as a shallow one
  }
  void members(nn::Members& m) { m("up", up)("down", down)("gate", gate); }
  Tensor forward(const Tensor& x) const { return x + ad::sigmoid(gate(x)) * down(ad::gelu(up(x))); }
};

/// Modules nest: their parameters are named "blocks.0.up.weight" and so on.
struct GatedResidualNet : nn::Module<GatedResidualNet> {
  nn::Linear in, out;
  nn::ModuleList<GatedBlock> blocks;

  GatedResidualNet(std::int64_t inputs, std::int64_t width, std::int64_t outputs, int depth)
      : in(inputs, width), out(width, outputs) {
    for (int i = 0; i < depth; ++i) blocks.emplace_back(width);
  }
  void members(nn::Members& m) { m("in", in)("blocks", blocks)("out", out); }
  Tensor forward(const Tensor& x) const {
    Tensor hidden = in(x);
    for (const GatedBlock& block : blocks) hidden = block(hidden);
    return out(hidden);
  }
};

/// Whether the derivatives of the network, by its input and by every parameter, agree with finite differences. In
/// float64, since differences of float32 numbers say little.
bool derivatives_are_right() {
  GatedResidualNet net(2, 3, 1, 2);
  net.to(ad::float64);
  const Tensor x = ad::randn({4, 2}, ad::float64);
  return ad::gradcheck(net, {x}) && ad::gradgradcheck(net, {x});
}

int main() {
  ad::manual_seed(1);
  const bool right = derivatives_are_right();
  std::cout << "gradcheck: " << (right ? "passed" : "failed") << '\n';

  GatedResidualNet net(2, 16, 1, 3);
  std::cout << net << '\n';

  // Learn a function of two numbers from samples of it.
  const auto target = [](const Tensor& x) {
    const Tensor a = x.index(ad::Ellipsis, ad::Slice(0, 1)), b = x.index(ad::Ellipsis, ad::Slice(1, 2));
    return ad::sin(3 * a) * ad::cos(2 * b);
  };
  ad::optim::Adam optimizer(net.parameters(), {.lr = 1e-2});
  for (int step = 1; step <= 500; ++step) {
    const Tensor x = 2 * ad::rand({64, 2}) - 1;
    optimizer.zero_grad();
    const Tensor loss = nn::mse_loss(net(x), target(x));
    loss.backward();
    optimizer.step();
    if (step % 100 == 0) std::cout << "step " << step << ": loss " << loss.item<float>() << '\n';
  }

  const ad::NoGradGuard no_grad;
  const Tensor x = 2 * ad::rand({1000, 2}) - 1;
  const Tensor y = target(x);
  const double error = nn::mse_loss(net(x), y).item<double>(), variance = ad::var(y).item<double>();
  std::cout << "unexplained variance: " << 100 * error / variance << " %\n";
  return right && error < 0.02 * variance ? EXIT_SUCCESS : EXIT_FAILURE;
}
