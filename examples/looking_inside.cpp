// What the engine makes of a graph: its plan, what it would read and write, and what it did, as a trace.
#include <adjoint/adjoint.hpp>

#include <iostream>

namespace ad = adjoint;

int main() {
  const ad::Tensor x = ad::randn({512, 1024});
  ad::eval(x);

  // Nothing is computed here; softmax is one step, in one pass over memory.
  const ad::Explanation plan = ad::explain(ad::softmax(x, -1));
  std::cout << plan << '\n';
  std::cout << "bytes read and written, by those of input and output: "
            << static_cast<double>(plan.bytes_read + plan.bytes_written) / (2 * 4 * 512 * 1024) << '\n';

  // The same, operation by operation.
  {
    const ad::engine::OptionsGuard guard({.fusion = false});
    const ad::Explanation one_by_one = ad::explain(ad::softmax(x, -1));
    std::cout << "without fusion: " << one_by_one.steps << " steps, "
              << static_cast<double>(one_by_one.bytes_read + one_by_one.bytes_written) / (2 * 4 * 512 * 1024) << "\n\n";
  }

  // A step of a training, for chrome://tracing or ui.perfetto.dev.
  ad::nn::Sequential net(ad::nn::Linear(1024, 64), ad::nn::GELU(), ad::nn::Linear(64, 10));
  ad::optim::Adam optimizer(net.parameters());
  const ad::Tensor labels = ad::randint(0, 10, {512});
  ad::profiler::Profile profile;
  for (int i = 0; i < 3; ++i) {
    optimizer.zero_grad();
    ad::nn::cross_entropy(net(x), labels).backward();
    optimizer.step();
  }
  profile.save("looking_inside.json");
  std::cout << "looking_inside.json is the trace of three steps\n";
}
