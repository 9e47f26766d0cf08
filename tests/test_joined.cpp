// Parameters that an optimizer updates together, as parts of one tensor: nobody can tell, but by the time it takes.
#include "core/node.hpp"
#include "core/thread_state.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ad = adjoint;
namespace nn = ad::nn;
namespace optim = ad::optim;
using ad::Tensor;
using ad::detail::Access;

namespace {

using Tensors = std::vector<Tensor>;
using MakeOptimizer = std::function<std::unique_ptr<optim::Optimizer>(const Tensors&)>;

const std::vector<ad::Shape> kShapes = {{16},      {3, 5}, {},         {1},    {40, 30}, {2, 1, 3, 3},
                                        {100, 90}, {0, 4}, {64, 2, 8}, {1024}, {5}};

Tensors parameters(ad::Dtype dtype = ad::float32, const std::vector<ad::Shape>& shapes = kShapes) {
  ad::Generator generator(7);
  Tensors result;
  for (const ad::Shape& shape : shapes) result.push_back(ad::randn(shape, dtype, generator).requires_grad_());
  ad::eval(result);
  return result;
}
/// Of parameter i at a step; a matrix's lies transposed.
Tensor gradient(const Tensor& parameter, int step, std::size_t i) {
  ad::Generator generator(static_cast<std::uint64_t>(100 * step) + i);
  if (parameter.dim() == 2) return ad::randn({parameter.size(1), parameter.size(0)}, parameter.dtype(), generator).t();
  return ad::randn(parameter.shape(), parameter.dtype(), generator);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const auto bytes = static_cast<std::size_t>(a.numel()) * (a.dtype() == ad::float32 ? 4 : 8);
  if (a.dtype() == ad::float32) return std::memcmp(a.data<float>(), b.data<float>(), bytes) == 0;
  return std::memcmp(a.data<double>(), b.data<double>(), bytes) == 0;
}

/// The same parameters twice: in one optimizer, and each in one of its own, which updates it alone.
struct Pair {
  Tensors together, alone;
  std::unique_ptr<optim::Optimizer> optimizer;
  std::vector<std::unique_ptr<optim::Optimizer>> others;

  explicit Pair(const MakeOptimizer& make, ad::Dtype dtype = ad::float32,
                const std::vector<ad::Shape>& shapes = kShapes)
      : together(parameters(dtype, shapes)), alone(parameters(dtype, shapes)), optimizer(make(together)) {
    for (const Tensor& parameter : alone) others.push_back(make({parameter}));
  }
  /// `has_gradient(i)`: of those that require grad.
  void step(
      int number, const std::function<bool(std::size_t)>& has_gradient = [](std::size_t) { return true; }) {
    for (std::size_t i = 0; i < together.size(); ++i) {
      const bool has = together[i].requires_grad() && has_gradient(i);
      together[i].set_grad(has ? gradient(together[i], number, i) : Tensor());
      alone[i].set_grad(has ? gradient(alone[i], number, i) : Tensor());
      if (has) others[i]->step();
    }
    optimizer->step();
  }
  void check_parameters() const {
    for (std::size_t i = 0; i < together.size(); ++i) {
      CAPTURE(i);
      CHECK(same_bits(together[i].detach(), alone[i].detach()));
    }
  }
  void check() const {
    check_parameters();
    const ad::StateDict state = optimizer->state_dict();
    std::size_t entries = 0;
    for (std::size_t i = 0; i < together.size(); ++i)
      for (const auto& [name, value] : others[i]->state_dict()) {
        CAPTURE(i);
        CAPTURE(name);
        CHECK(same_bits(state.at(std::to_string(i) + name.substr(1)), value));
        ++entries;
      }
    CHECK(state.size() == entries);
  }
};

const void* place_of(const Tensor& tensor) { return Access::node(tensor)->value.data; }
const ad::detail::Storage* storage_of(const Tensor& tensor) { return Access::node(tensor)->value.storage; }

/// Updates without options.
class Halving : public optim::Optimizer {
 public:
  Halving(Tensors parameters, bool elementwise)
      : Optimizer("Halving", std::move(parameters), 1, {}), elementwise_(elementwise) {}
  int updates = 0;

 private:
  Tensor update(const Tensor& p, const Tensor& g, std::vector<Tensor>&, const ad::TensorList&) override {
    ++updates;
    return elementwise_ ? p * 0.5 + g : p * 0.5 + g / ad::sum(g);
  }
  bool is_elementwise() const noexcept override { return elementwise_; }

  bool elementwise_;
};

std::vector<std::pair<std::string, MakeOptimizer>> optimizers() {
  std::vector<std::pair<std::string, MakeOptimizer>> result;
  const auto sgd = [&](const char* name, const optim::SGDOptions& options) {
    result.emplace_back(name, [options](const Tensors& p) { return std::make_unique<optim::SGD>(p, options); });
  };
  optim::SGDOptions options;
  options.lr = 0.125;
  sgd("SGD", options);
  options.momentum = 0.9;
  options.weight_decay = 0.25;
  sgd("SGD with momentum", options);
  options.dampening = 0.5;
  sgd("SGD with dampening", options);
  options.dampening = 0;
  options.nesterov = true;
  sgd("SGD as Nesterov's", options);
  optim::AdamOptions adam;
  adam.weight_decay = 0.25;
  result.emplace_back("Adam", [adam](const Tensors& p) { return std::make_unique<optim::Adam>(p, adam); });
  result.emplace_back("AdamW", [](const Tensors& p) { return std::make_unique<optim::AdamW>(p); });
  result.emplace_back("one's own", [](const Tensors& p) { return std::make_unique<Halving>(p, true); });
  return result;
}
const MakeOptimizer adam = [](const Tensors& p) { return std::make_unique<optim::Adam>(p); };

}  // namespace

TEST_CASE("parameters that are updated together have the bits of those that are updated one by one") {
  // Blocks of 1024 that are of one gradient, which is read where it lies, and of pieces of two, which are copied.
  const std::vector<ad::Shape> in_blocks = {{1024}, {1024}, {1024}, {32, 32}, {1008}, {1024}, {7}, {1000}};
  for (const auto& [name, make] : optimizers())
    for (const ad::Dtype dtype : {ad::float32, ad::float64})
      for (const int threads : {1, 2})
        for (const auto& shapes : {kShapes, in_blocks}) {
          CAPTURE(name);
          CAPTURE(dtype);
          CAPTURE(threads);
          const int before = ad::get_num_threads();
          ad::set_num_threads(threads);
          Pair pair(make, dtype, shapes);
          for (int step = 0; step < 4; ++step) pair.step(step);
          pair.check();
          ad::set_num_threads(before);
        }
  for (const auto& options :
       {ad::engine::Options{false, true, true, true}, ad::engine::Options{true, false, true, true},
        ad::engine::Options{true, true, false, true}}) {
    const ad::engine::OptionsGuard guard(options);
    Pair pair(adam);
    for (int step = 0; step < 4; ++step) pair.step(step);
    pair.check();
  }
  const ad::EagerGuard guard;
  Pair pair(adam);
  for (int step = 0; step < 3; ++step) pair.step(step);
  pair.check();
}

TEST_CASE("they lie together, and are updated where they lie, without new nodes") {
  Pair pair(adam);
  for (int step = 0; step < 3; ++step) pair.step(step);
  const Tensor &first = pair.together[0], &second = pair.together[1], &large = pair.together[6];
  CHECK(storage_of(first) == storage_of(second));
  CHECK(storage_of(first) != storage_of(large));
  const void *place = place_of(first), *large_place = place_of(large);
  const ad::detail::Node* node = Access::node(second);
  for (int step = 3; step < 6; ++step) pair.step(step);
  CHECK(place_of(first) == place);
  CHECK(place_of(large) == large_place);
  CHECK(Access::node(second) == node);
  pair.check();
  // What was looked at by a pointer stays as it is.
  const float* looked_at = first.data<float>();
  const std::vector<float> before = first.to_vector<float>();
  const Tensor kept = ad::detail::Access::share(Access::node(first));
  pair.step(6);
  CHECK(std::memcmp(looked_at, before.data(), before.size() * sizeof(float)) == 0);
  CHECK(place_of(first) != looked_at);
  pair.check();
}

TEST_CASE("a network's are updated where they lie while it is trained") {
  for (const bool looks : {false, true}) {
    CAPTURE(looks);
    nn::Sequential net(nn::Linear(2, 16), nn::Tanh(), nn::LayerNorm({16}), nn::Linear(16, 16), nn::ReLU(),
                       nn::Linear(16, 3));
    const Tensors together = net.parameters();
    optim::Adam optimizer(together);
    const Tensor x = ad::randn({8, 2}), targets = ad::tensor({0, 1, 2, 0, 1, 2, 0, 1}, ad::int64);
    std::vector<const ad::detail::Node*> nodes;
    double first = 0, last = 0;
    for (int step = 0; step < 40; ++step) {
      optimizer.zero_grad();
      const Tensor loss = nn::cross_entropy(net(x), targets);
      if (looks) last = loss.item<double>();
      loss.backward();
      optimizer.step();
      last = loss.item<double>();
      if (step == 0) first = last;
      std::vector<const ad::detail::Node*> now;
      for (const Tensor& parameter : together) now.push_back(Access::node(parameter));
      if (step > 1) CHECK(now == nodes);
      nodes = now;
    }
    CHECK(last < first);
  }
}

TEST_CASE("whoever has an old value keeps it") {
  Pair pair(adam);
  for (int step = 0; step < 2; ++step) pair.step(step);
  const Tensor &x = pair.together[0], &matrix = pair.together[4];
  const auto copy_of = [](const Tensor& tensor) { return tensor.detach().to_vector<float>(); };
  const std::vector<float> x_before = copy_of(x), matrix_before = copy_of(matrix);
  const Tensor detached = x.detach(), of_matrix = matrix.detach(), row = matrix.detach()[3];
  const Tensor pending = ad::exp(x), looked_at = ad::reshape(matrix, {30, 40});
  ad::eval(looked_at);
  const Tensor loss = ad::sum(ad::square(x));  // whose derivative reads x
  pair.step(2);
  pair.check();
  CHECK(copy_of(detached) == x_before);
  CHECK(copy_of(of_matrix) == matrix_before);
  CHECK(copy_of(looked_at) == matrix_before);
  CHECK(copy_of(row) == std::vector<float>(matrix_before.begin() + 90, matrix_before.begin() + 120));
  CHECK(ad::equal(pending, ad::exp(detached)));
  x.set_grad({});
  pair.alone[0].set_grad({});
  loss.backward();
  CHECK(ad::equal(x.grad(), 2 * detached));
  pair.step(3);
  pair.check();
}

TEST_CASE("who assigns one of them is heard") {
  Pair pair(adam);
  const ad::NoGradGuard no_grad;
  for (int step = 0; step < 6; ++step) {
    pair.step(step);
    for (Tensors* tensors : {&pair.together, &pair.alone}) {
      Tensor &vector = (*tensors)[0], &matrix = (*tensors)[4];
      if (step == 1) matrix.set_(ad::full({40, 30}, 0.5));
      if (step == 2) vector.mul_(3);
      if (step == 3) matrix.set_(ad::reshape(matrix, {30, 40}).t());
      if (step == 4) {
        vector.requires_grad_(false);
        vector.requires_grad_();
      }
    }
  }
  pair.check();
  // By a second optimizer of the same parameters as well.
  const auto second = adam(pair.together);
  std::vector<std::unique_ptr<optim::Optimizer>> others;
  for (const Tensor& parameter : pair.alone) others.push_back(adam({parameter}));
  for (int step = 6; step < 10; ++step) {
    pair.step(step);
    second->step();
    for (const auto& other : others) other->step();
  }
  pair.check();
}

TEST_CASE("some of them have no gradient, or are frozen") {
  Pair pair(adam);
  pair.step(0);
  pair.step(1, [](std::size_t i) { return i % 3 != 0; });
  pair.step(2);
  pair.check();
  for (Tensors* tensors : {&pair.together, &pair.alone}) (*tensors)[1].requires_grad_(false);
  pair.step(3);
  pair.step(4, [](std::size_t i) { return i != 4; });
  for (Tensors* tensors : {&pair.together, &pair.alone}) (*tensors)[1].requires_grad_(true);
  for (int step = 5; step < 8; ++step) pair.step(step);
  pair.check();
  pair.step(8, [](std::size_t) { return false; });
  pair.check();
}

TEST_CASE("a state is saved, and loaded, by parameter") {
  Pair pair(adam);
  for (int step = 0; step < 3; ++step) pair.step(step);
  const ad::StateDict state = pair.optimizer->state_dict();
  Tensors values;
  for (const Tensor& parameter : pair.together) values.push_back(parameter.detach());
  for (int step = 3; step < 6; ++step) pair.step(step);
  pair.check();
  Pair later(adam);
  later.step(9);
  const ad::NoGradGuard no_grad;
  for (std::size_t i = 0; i < values.size(); ++i) later.together[i].set_(values[i]);
  later.optimizer->load_state_dict(state);
  for (int step = 3; step < 6; ++step) {
    for (std::size_t i = 0; i < values.size(); ++i) later.together[i].set_grad(gradient(values[i], step, i));
    later.optimizer->step();
  }
  for (std::size_t i = 0; i < values.size(); ++i) CHECK(same_bits(later.together[i].detach(), pair.alone[i].detach()));
  const ad::StateDict of_later = later.optimizer->state_dict();
  for (const auto& [name, value] : pair.optimizer->state_dict()) CHECK(same_bits(of_later.at(name), value));
}

TEST_CASE("a step that fails changes none of them") {
  for (const int good : {0, 1, 4}) {
    CAPTURE(good);
    Pair pair(adam);
    for (int step = 0; step < good; ++step) pair.step(step);
    const ad::NoGradGuard no_grad;
    const Tensor bad = ad::index_select(ad::ones({3}), 0, ad::tensor({7}));
    for (std::size_t i = 0; i < kShapes.size(); ++i) pair.together[i].set_grad(gradient(pair.together[i], 50, i));
    pair.together[1].set_grad(pair.together[1].grad() + ad::sum(bad));
    CHECK_THROWS_AS(pair.optimizer->step(), ad::ValueError);
    pair.check_parameters();
    for (int step = good; step < 6; ++step) pair.step(step);
    pair.check();
  }
}

TEST_CASE("an update that is not elementwise sees each parameter by itself") {
  const std::vector<ad::Shape> shapes(5, ad::Shape{8});
  for (const bool elementwise : {false, true}) {
    Halving optimizer(parameters(ad::float32, shapes), elementwise);
    for (const Tensor& parameter : optimizer.parameters()) parameter.set_grad(ad::ones({8}));
    optimizer.step();
    CHECK(optimizer.updates == (elementwise ? 1 : 5));
    for (const Tensor& parameter : optimizer.parameters()) CHECK(parameter.shape() == ad::Shape{8});
  }
}

TEST_CASE("they take no more memory, and end where they began") {
  const auto live = [] { return ad::memory::stats().live; };
  const std::int64_t before = live();
  constexpr std::int64_t kCount = 64, kBytes = 1024 * 4;
  {
    const Tensors together = parameters(ad::float32, std::vector<ad::Shape>(kCount, ad::Shape{1024}));
    const auto optimizer = adam(together);
    Tensors gradients;
    for (std::size_t i = 0; i < together.size(); ++i) gradients.push_back(gradient(together[i], 0, i));
    ad::eval(gradients);
    const auto step = [&] {
      for (std::size_t i = 0; i < together.size(); ++i) together[i].set_grad(gradients[i]);
      optimizer->step();
    };
    for (int i = 0; i < 3; ++i) step();
    const std::int64_t kept = live();
    CHECK(kept - before <= 4 * kCount * kBytes + 8192);  // parameters, two moments, gradients
    ad::memory::reset_peak();
    for (int i = 0; i < 3; ++i) step();
    CHECK(live() == kept);
    CHECK(ad::memory::stats().peak <= kept + 8192);
    // One that is kept does not keep the others.
    Tensors history;
    for (int i = 0; i < 10; ++i) {
      history.push_back(together[5].detach());
      step();
    }
    CHECK(live() <= kept + 10 * kBytes);
  }
  CHECK(live() == before);
}

TEST_CASE("a slice of one of them is seen, not copied") {
  Pair pair(adam, ad::float32, std::vector<ad::Shape>(32, ad::Shape{32, 32}));
  pair.step(0);
  const Tensor half = ad::narrow(pair.together[3], 0, 16, 16);
  ad::eval(half);
  CHECK(storage_of(half) == storage_of(pair.together[3]));
}

TEST_CASE("who assigns one of them before its next value is computed has the last word") {
  const ad::NoGradGuard no_grad;
  Tensors cells;
  for (int i = 0; i < 3; ++i) cells.push_back(ad::full({4}, 1.0 * i).detach().requires_grad_(true));
  ad::detail::JoinedCells joined(cells);
  for (const double value : {5.0, 7.0}) {
    joined.set_(joined.value() + 10.0);
    cells[1].set_(ad::full({4}, value));
    ad::detail::eval_pending();
    CHECK(same_bits(cells[1].detach(), ad::full({4}, value)));
  }
  CHECK(same_bits(cells[0].detach(), ad::full({4}, 20.0)));
  CHECK(same_bits(cells[2].detach(), ad::full({4}, 22.0)));
  joined.set_(joined.value() + 1.0);
  ad::detail::eval_pending();
  CHECK(same_bits(cells[1].detach(), ad::full({4}, 8.0)));
  // So it is when all is computed at once.
  const ad::EagerGuard eager;
  cells[0].set_(ad::full({4}, 1.0));
  joined.set_(joined.value() + 1.0);
  CHECK(same_bits(cells[0].detach(), ad::full({4}, 2.0)));
  CHECK(same_bits(cells[1].detach(), ad::full({4}, 9.0)));
}

TEST_CASE("a cell that takes the value of one of them does not keep the others") {
  Pair pair(adam, ad::float32, std::vector<ad::Shape>(32, ad::Shape{32, 32}));
  pair.step(0);
  const ad::NoGradGuard no_grad;
  Tensor cell = ad::zeros({32, 32}).detach().requires_grad_(true);
  cell.set_(pair.together[3]);
  ad::eval(cell);
  CHECK(storage_of(cell) != storage_of(pair.together[3]));
  CHECK(same_bits(cell.detach(), pair.together[3].detach()));
}

TEST_CASE("their steps are replayed") {
  Pair pair(adam);
  for (int step = 0; step < 5; ++step) pair.step(step);
  std::uint64_t& replays = ad::detail::ThreadState::get().replays;
  const std::uint64_t before = replays;
  for (std::size_t i = 0; i < kShapes.size(); ++i)
    pair.together[i].set_grad(ad::detail::Access::share(Access::node(pair.together[i])));
  pair.optimizer->step();
  CHECK(replays == before + 1);
}
