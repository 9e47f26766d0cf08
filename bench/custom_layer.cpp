// How to measure a layer of one's own. Recording computes nothing, so what is measured ends in ad::eval, and each
// iteration has inputs of its own, or the second one would find its work done.
//
//   cmake --preset release && cmake --build build/release --target bench_custom_layer &&
//   build/release/bench/bench_custom_layer
#include <adjoint/adjoint.hpp>

#include <benchmark/benchmark.h>

#include <array>

namespace ad = adjoint;
using ad::Tensor;

namespace {

/// The layer: x + down(gelu(up(x))).
struct ResidualBlock : ad::nn::Module<ResidualBlock> {
  ad::nn::Linear up, down;

  explicit ResidualBlock(std::int64_t width) : up(width, 4 * width), down(4 * width, width) {}
  void members(ad::nn::Members& m) { m("up", up)("down", down); }
  Tensor forward(const Tensor& x) const { return x + down(ad::gelu(up(x))); }
};

/// Some inputs, computed beforehand, to be taken in turn: `detach` makes a new node of the same value, so nothing of
/// an earlier iteration is found again.
class Inputs {
 public:
  explicit Inputs(const ad::Shape& shape) {
    for (Tensor& input : inputs_) input = ad::randn(shape);
    ad::eval({inputs_.begin(), inputs_.end()});
  }
  Tensor next() { return inputs_[turn_++ % inputs_.size()].detach(); }

 private:
  std::array<Tensor, 4> inputs_;
  std::size_t turn_ = 0;
};

void arguments(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"batch", "width"})->Args({32, 64})->Args({256, 256})->Unit(benchmark::kMicrosecond);
}

void forward(benchmark::State& state) {
  const ad::NoGradGuard no_grad;
  const ResidualBlock layer(state.range(1));
  Inputs inputs({state.range(0), state.range(1)});
  for (auto _ : state) ad::eval(layer(inputs.next()));
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(forward)->Apply(arguments);

void forward_backward(benchmark::State& state) {
  ResidualBlock layer(state.range(1));
  Inputs inputs({state.range(0), state.range(1)});
  for (auto _ : state) {
    layer.zero_grad();
    // With a gradient for the input, as in the midst of a network.
    Tensor x = inputs.next().requires_grad_();
    ad::sum(layer(x)).backward();
    std::vector<Tensor> gradients = {x.grad()};
    for (const Tensor& parameter : layer.parameters()) gradients.push_back(parameter.grad());
    ad::eval(gradients);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(forward_backward)->Apply(arguments);

}  // namespace
