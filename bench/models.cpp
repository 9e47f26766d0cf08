// Training steps of whole networks, and a chain of small operations; `threads` is the number of threads. Each step has
// a batch of its own, and ends with the loss and all parameters computed, so that nothing is left for later.
#include <adjoint/adjoint.hpp>

#include <benchmark/benchmark.h>

#include <array>
#include <functional>
#include <utility>
#include <vector>

#include "models.hpp"

namespace ad = adjoint;
using ad::Tensor;
using ad::nn::Conv2d, ad::nn::Flatten, ad::nn::Linear, ad::nn::MaxPool2d, ad::nn::ReLU, ad::nn::Sequential;

namespace {

void threads(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgName("threads")->Arg(1)->Arg(2)->UseRealTime()->Unit(benchmark::kMicrosecond);
}

/// The number of threads of a benchmark, and the same random numbers for each.
class Setting {
 public:
  explicit Setting(const benchmark::State& state) : before_(ad::get_num_threads()) {
    ad::set_num_threads(static_cast<int>(state.range(0)));
    ad::manual_seed(1);
  }
  ~Setting() { ad::set_num_threads(before_); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  int before_;
};

// -- a chain ----------------------------------------------------------------------------------------------------------

/// A hundred operations.
Tensor chain(Tensor x, const Tensor& y) {
  for (int i = 0; i < 25; ++i) x = ad::tanh(x * y + 0.5) - y;
  return x;
}

/// Eight values.
std::array<Tensor, 2> values() {
  std::array<Tensor, 2> result{ad::randn({8}), ad::randn({8})};
  ad::eval(result[0], result[1]);
  return result;
}

void chain_forward(benchmark::State& state) {
  const Setting setting(state);
  const ad::NoGradGuard no_grad;
  const auto [x, y] = values();
  for (auto _ : state) ad::eval(chain(x.detach(), y));
}
BENCHMARK(chain_forward)->Apply(threads);

void chain_forward_backward(benchmark::State& state) {
  const Setting setting(state);
  const auto [x0, y] = values();
  const auto [gradient, unused] = values();
  for (auto _ : state) {
    const Tensor x = x0.detach().requires_grad_();
    const Tensor result = chain(x, y);
    result.backward(gradient);
    ad::eval(result, x.grad());
  }
}
BENCHMARK(chain_forward_backward)->Apply(threads);

// -- training steps ---------------------------------------------------------------------------------------------------

struct Batch {
  Tensor input, target;
};

/// Steps on batches that `make_batch` has made beforehand, taken in turn.
template <class Net>
void train(benchmark::State& state, Net& net, ad::optim::Optimizer& optimizer,
           const std::function<Tensor(const Tensor&, const Tensor&)>& loss_of,
           const std::function<Batch()>& make_batch) {
  std::vector<Batch> batches;
  for (int i = 0; i < 4; ++i) {
    batches.push_back(make_batch());
    ad::eval(batches.back().input, batches.back().target);
  }
  std::size_t turn = 0;
  const auto step = [&] {
    const Batch& batch = batches[turn++ % batches.size()];
    optimizer.zero_grad();
    // New nodes of the same values, so that nothing of an earlier step is found again.
    const Tensor loss = loss_of(net(batch.input.detach()), batch.target.detach());
    loss.backward();
    optimizer.step();
    benchmark::DoNotOptimize(loss.item<float>());
    ad::eval(net.parameters());
  };
  for (int i = 0; i < 3; ++i) step();  // what is made once, such as the optimizer's state, is there afterwards
  for (auto _ : state) step();
}

Tensor cross_entropy(const Tensor& input, const Tensor& target) { return ad::nn::cross_entropy(input, target); }
Tensor mse(const Tensor& input, const Tensor& target) { return ad::nn::mse_loss(input, target); }

void mlp_2_16_16_1(benchmark::State& state) {
  const Setting setting(state);
  Sequential net(Linear(2, 16), ReLU(), Linear(16, 16), ReLU(), Linear(16, 1));
  ad::optim::SGD optimizer(net.parameters(), {.lr = 0.01});
  train(state, net, optimizer, mse, [] { return Batch{ad::randn({32, 2}), ad::randn({32, 1})}; });
}
BENCHMARK(mlp_2_16_16_1)->Apply(threads);

void mlp_784_256_256_10(benchmark::State& state) {
  const Setting setting(state);
  Sequential net(Linear(784, 256), ReLU(), Linear(256, 256), ReLU(), Linear(256, 10));
  ad::optim::Adam optimizer(net.parameters());
  train(state, net, optimizer, cross_entropy, [] { return Batch{ad::randn({64, 784}), ad::randint(0, 10, {64})}; });
}
BENCHMARK(mlp_784_256_256_10)->Apply(threads);

void mlp_1024_1024_1024_1024(benchmark::State& state) {
  const Setting setting(state);
  Sequential net(Linear(1024, 1024), ReLU(), Linear(1024, 1024), ReLU(), Linear(1024, 1024));
  ad::optim::Adam optimizer(net.parameters());
  train(state, net, optimizer, cross_entropy, [] {
    return Batch{ad::randn({256, 1024}), ad::randint(0, 1024, {256})};
  });
}
BENCHMARK(mlp_1024_1024_1024_1024)->Apply(threads);

void cnn_28x28(benchmark::State& state) {
  const Setting setting(state);
  Sequential net(Conv2d(1, 32, 3, {.padding = 1}), ReLU(), MaxPool2d(2), Conv2d(32, 64, 3, {.padding = 1}), ReLU(),
                 MaxPool2d(2), Flatten(), Linear(64 * 7 * 7, 128), ReLU(), Linear(128, 10));
  ad::optim::Adam optimizer(net.parameters());
  train(state, net, optimizer, cross_entropy, [] {
    return Batch{ad::randn({64, 1, 28, 28}), ad::randint(0, 10, {64})};
  });
}
BENCHMARK(cnn_28x28)->Apply(threads);

/// All outputs of 32 times count.
void lstm(benchmark::State& state) {
  const Setting setting(state);
  ad::bench::Lstm net(64, 128);
  ad::optim::Adam optimizer(net.parameters());
  train(state, net, optimizer, mse, [] { return Batch{ad::randn({32, 32, 64}), ad::randn({32, 32, 128})}; });
}
BENCHMARK(lstm)->Apply(threads);

void transformer_encoder_layer(benchmark::State& state) {
  const Setting setting(state);
  ad::bench::EncoderLayer net(128, 4, 512);
  ad::optim::Adam optimizer(net.parameters());
  train(state, net, optimizer, mse, [] { return Batch{ad::randn({16, 64, 128}), ad::randn({16, 64, 128})}; });
}
BENCHMARK(transformer_encoder_layer)->Apply(threads);

}  // namespace
