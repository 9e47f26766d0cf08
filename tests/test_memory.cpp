// What a graph keeps alive: live bytes, peaks, donation, slices, buffers at the border.
#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <numeric>
#include <thread>

namespace ad = adjoint;
using ad::Tensor;

namespace {

constexpr std::int64_t kSide = 256, kMatrix = kSide * kSide * 4;  // the bytes of a matrix of float32
constexpr std::int64_t kMiB = std::int64_t{1} << 20;

std::int64_t live() { return ad::memory::stats().live; }

/// The most bytes that were live during f, beside those before.
std::int64_t peak_of(const std::function<void()>& f) {
  ad::memory::reset_peak();
  const std::int64_t before = live();
  f();
  return ad::memory::stats().peak - before;
}

/// A computed matrix.
Tensor computed() {
  const Tensor x = ad::rand({kSide, kSide});
  ad::eval(x);
  return x;
}
/// A matrix that requires grad.
Tensor parameter() { return (computed() - 0.5f).requires_grad_(); }

}  // namespace

TEST_CASE("live, peak and cached bytes are those of tensors") {
  ad::memory::trim();
  CHECK(ad::memory::stats().cached == 0);
  const std::int64_t before = live();
  ad::memory::reset_peak();
  CHECK(ad::memory::stats().peak == before);
  {
    const Tensor x = computed(), y = computed();
    CHECK(live() == before + 2 * kMatrix);
    CHECK(ad::memory::stats().peak == before + 2 * kMatrix);
  }
  CHECK(live() == before);
  CHECK(ad::memory::stats().peak == before + 2 * kMatrix);
  ad::memory::reset_peak();
  CHECK(ad::memory::stats().peak == before);
#if !defined(__SANITIZE_ADDRESS__)  // which keeps no freed memory
  const std::int64_t cached = ad::memory::stats().cached;
  CHECK(cached >= 2 * kMatrix);
  {
    const Tensor x = computed();  // out of the cache
    CHECK(ad::memory::stats().cached <= cached - kMatrix);
  }
#endif
  ad::memory::trim();
  CHECK(ad::memory::stats().cached == 0);
  CHECK(live() == before);
}

TEST_CASE("elements lie on 64 bytes, whatever their number") {
  for (std::int64_t n : {2, 3, 15, 16, 17, 63, 64, 65, 257, 1000, 4097, 70001}) {
    const Tensor x = ad::rand({n}) + 1;
    CHECK(reinterpret_cast<std::uintptr_t>(x.data<float>()) % 64 == 0);
  }
}

TEST_CASE("memory is freed as soon as nothing can read it") {
  const Tensor x = computed();
  const std::int64_t before = live();
  SUBCASE("a chain needs two buffers at a time, and one when every step may take over its input's") {
    CHECK(peak_of([&] {
            Tensor y = x;
            for (int i = 0; i < 20; ++i) y = ad::exp(y * 0.5f) - 1;
            ad::eval(y);
          }) <= 2 * kMatrix);
    CHECK(peak_of([&] {
            Tensor y = x;
            for (int i = 0; i < 10; ++i) y = ad::matmul(y, x) * 0.001f;
            ad::eval(y);
          }) <= 3 * kMatrix);
  }
  SUBCASE("also when everything held is computed, and nobody has looked") {
    CHECK(peak_of([&] {
            Tensor y = x;
            for (int i = 0; i < 20; ++i) y = ad::exp(y * 0.5f) - 1;
            ad::detail::eval_pending();
          }) <= 2 * kMatrix);
  }
  SUBCASE("a value that nobody holds is gone after its last reader, though all were recorded with it") {
    Tensor trunk = x * 2;
    const Tensor small = ad::sum(trunk), other = ad::amax(trunk);
    trunk = Tensor();
    CHECK(small.item<float>() > 0);
    CHECK(other.is_computed());
    CHECK(live() == before);
  }
  SUBCASE("a handle that is dropped frees at once") {
    Tensor y = x + 1;
    ad::eval(y);
    CHECK(live() == before + kMatrix);
    const Tensor view = y.t().reshape({kSide, kSide / 2, 2})[ad::Slice(0, 200)];
    ad::eval(view);
    y = Tensor();
    CHECK(live() == before + kMatrix);
  }
  CHECK(live() == before);
}

TEST_CASE("a step keeps what a derivative names, and nothing else, and ends where it began") {
  const Tensor x = computed();
  Tensor w = parameter();
  ad::eval(w);
  const std::int64_t before = live();
  {
    Tensor loss;
    {
      const Tensor product = ad::matmul(x, w);     // names its operands: x and w
      const Tensor e = ad::exp(product * 0.001f);  // names its result; the product names nothing that is not here
      const Tensor r = ad::relu(e - 1);            // names its result
      const Tensor shifted = (r + 3).t().reshape({-1}) - 0.5f;  // these name nothing
      loss = ad::mean(shifted);
    }
    CHECK(live() == before);
    ad::eval(loss);
    CHECK(live() == before + 2 * kMatrix);  // e and r
    loss.backward();
    CHECK(live() == before + 2 * kMatrix);
    ad::eval(w.grad());
    CHECK(live() == before + kMatrix);  // the gradient alone
    CHECK(loss.item<float>() > 2);
    {
      const ad::NoGradGuard no_grad;
      w -= 0.1f * w.grad();
    }
    ad::detail::eval_pending();
    CHECK(live() == before + kMatrix);
  }
  w.set_grad({});
  CHECK(live() == before);
}

TEST_CASE("a step that nobody looks into ends where it began, too, and so does a graph that is never differentiated") {
  const Tensor x = computed(), w = parameter();
  const std::int64_t before = live();
  {
    const Tensor loss = ad::sum(ad::exp(ad::matmul(x, w) * 0.001f));
    loss.backward();
  }
  ad::eval(w.grad());
  CHECK(live() == before + kMatrix);
  w.set_grad({});
  CHECK(live() == before);
  {
    Tensor y = ad::exp(w);
    const Tensor loss = ad::sum(ad::tanh(y) * y);
    ad::eval(loss);
    CHECK(live() > before);
    y = Tensor();
  }
  CHECK(live() == before);
  {
    const ad::NoGradGuard no_grad;
    const Tensor loss = ad::sum(ad::tanh(ad::exp(w)) * w);
    ad::eval(loss);
    CHECK(live() == before);
  }
  {
    const Tensor loss = ad::sum(ad::tanh(ad::exp(w)));
    ad::eval(loss);
    loss.backward({}, true);  // the graph goes with its last handle
    ad::eval(w.grad());
  }
  w.set_grad({});
  CHECK(live() == before);
}

TEST_CASE("detach() keeps a value, and lets go of the graph below it") {
  const Tensor w = parameter();
  const std::int64_t before = live();
  {
    Tensor y = ad::exp(ad::tanh(w));
    const Tensor d = (y * 2).detach();
    ad::eval(d);
    CHECK(live() == before + 3 * kMatrix);  // d, and what the derivatives of exp and tanh name
    y = Tensor();
    CHECK(live() == before + kMatrix);
    CHECK(ad::amin(d).item<float>() > 0);
  }
  CHECK(live() == before);
}

TEST_CASE("k accumulated micro-batches need the memory of one") {
  const Tensor w = parameter(), v = parameter();
  std::vector<Tensor> batches;
  for (int i = 0; i < 8; ++i) batches.push_back(computed());
  const auto accumulate = [&](int k) {
    w.set_grad({});
    v.set_grad({});
    return peak_of([&] {
      for (int i = 0; i < k; ++i) {
        const Tensor h = ad::tanh(ad::matmul(batches[static_cast<std::size_t>(i)], w));
        const Tensor loss = ad::mean(ad::exp(ad::tanh(ad::tanh(ad::matmul(h, v)))));
        loss.backward();
      }
      ad::eval(w.grad(), v.grad());
    });
  };
  accumulate(1);
  const std::int64_t one = accumulate(1), two = accumulate(2), eight = accumulate(8);
  CHECK(one >= 4 * kMatrix);
  CHECK(two <= one + 3 * kMatrix);  // the two sums of before, and one of them being renewed
  CHECK(eight == two);
  w.set_grad({});
  v.set_grad({});
}

namespace {

/// Four micro-batches, and the step that they make together, need at most a tenth more than one, and the gradients.
template <class Net, class LossOf>
void check_accumulation(const std::string& name, Net& net, const LossOf& loss_of) {
  const std::vector<Tensor> parameters = net.parameters();
  std::int64_t gradients = 0;
  for (const Tensor& parameter : parameters) gradients += parameter.numel() * 4;
  ad::optim::Adam optimizer(parameters);
  const auto peak = [&](int batches, bool updates) {
    optimizer.zero_grad();
    return peak_of([&] {
      for (int i = 0; i < batches; ++i) loss_of().backward();
      if (updates) return optimizer.step();
      std::vector<Tensor> sums;
      for (const Tensor& parameter : parameters) sums.push_back(parameter.grad());
      ad::eval(sums);
    });
  };
  for (const bool updates : {false, true}) {
    CAPTURE(name);
    CAPTURE(updates);
    peak(4, updates);  // the optimizer's state is there
    const std::int64_t one = peak(1, updates), four = peak(4, updates);
    CAPTURE(one);
    CAPTURE(four);
    CHECK(static_cast<double>(four) <= 1.1 * static_cast<double>(one) + static_cast<double>(gradients));
  }
  optimizer.zero_grad();
}

}  // namespace

TEST_CASE("accumulation over four micro-batches peaks little above one") {
  namespace nn = ad::nn;
  SUBCASE("a multilayer perceptron") {
    nn::Sequential net(nn::Linear(784, 256), nn::ReLU(), nn::Linear(256, 256), nn::ReLU(), nn::Linear(256, 10));
    for (const std::int64_t batch : {64, 1024}) {
      const std::string name = "MLP 784-256-256-10, batch " + std::to_string(batch);
      check_accumulation(name, net, [&] {
        return nn::cross_entropy(net(ad::rand({batch, 784})), ad::randint(0, 10, {batch}));
      });
    }
  }
  SUBCASE("a convolutional network") {
    nn::Conv2dOptions padded;
    padded.padding = 1;
    nn::Sequential net(nn::Conv2d(1, 32, 3, padded), nn::BatchNorm2d(32), nn::ReLU(), nn::MaxPool2d(2),
                       nn::Conv2d(32, 64, 3, padded), nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(),
                       nn::Linear(64 * 7 * 7, 128), nn::ReLU(), nn::Linear(128, 10));
    check_accumulation("CNN, batch 64", net, [&] {
      return nn::cross_entropy(net(ad::rand({64, 1, 28, 28})), ad::randint(0, 10, {64}));
    });
  }
}

TEST_CASE("training does not grow") {
  Tensor w = parameter(), moment = computed();
  std::int64_t after_two = 0, peak = 0;
  for (int step = 0; step < 6; ++step) {
    const std::int64_t most = peak_of([&] {
      w.set_grad({});
      const Tensor loss = ad::mean(ad::square(ad::matmul(computed(), w)));
      loss.backward();
      {
        const ad::NoGradGuard no_grad;
        moment = moment * 0.9f + w.grad();
        w -= moment * 0.01f;
      }
      ad::detail::eval_pending();
    });
    if (step == 1) {
      after_two = live();
      peak = most;
    }
    if (step > 1) {
      CHECK(live() == after_two);
      CHECK(most == peak);
    }
  }
}

TEST_CASE("a small slice does not keep a large buffer alive") {
  const std::int64_t before = live();
  const auto small_of = [&](const std::function<Tensor(const Tensor&)>& f) {
    Tensor x = ad::rand({64, kSide, kSide});
    ad::eval(x);
    const Tensor part = f(x);
    ad::eval(part);
    CHECK(live() >= before + 64 * kMatrix);
    x = Tensor();
    CHECK(live() <= before + 8 * part.numel() * 4 + 64);
  };
  small_of([](const Tensor& x) { return x[3]; });
  small_of([](const Tensor& x) { return x[5][7]; });
  small_of([](const Tensor& x) { return x[5][7][9]; });
  small_of([](const Tensor& x) { return x.index({ad::Ellipsis, ad::Slice(0, 3)}); });
  small_of([](const Tensor& x) { return x.reshape({-1})[ad::Slice(1000, 900, -3)]; });
  small_of([](const Tensor& x) { return ad::split(x, 16)[3]; });
  small_of([](const Tensor& x) { return ad::split(ad::split(x, 32)[1], 4)[3]; });
  CHECK(live() == before);
}

TEST_CASE("broadcasts, zeros and ones take no memory by themselves") {
  const std::int64_t before = live();
  const Tensor ones = ad::ones({10000, 10000}), wide = ad::broadcast_to(ad::tensor({1.0f, 2.0f}), {1 << 20, 2});
  ad::eval(ones, wide);
  CHECK(live() <= before + 64);
  CHECK(ad::sum(wide).item<float>() == 3 << 20);
  CHECK(live() <= before + 64);
}

TEST_CASE("a loop that never looks stays bounded: in bytes that pending work keeps alive") {
  const std::int64_t before = live();
  std::vector<float> elements(static_cast<std::size_t>(16 * kMiB));  // one block, lent many times
  elements[0] = 1;
  std::int64_t most = 0;
  Tensor sum = ad::zeros({});
  for (int i = 0; i < 100; ++i) {
    const Tensor block = ad::from_blob(elements.data(), {16 * kMiB}, [](float*) {});
    sum = sum + ad::sum(block[ad::Slice(0, 10)]);
    most = std::max(most, live() - before);
  }
  CHECK(most <= (512 + 3 * 64) * kMiB);
  CHECK(sum.item<float>() == 100);
  CHECK(live() == before);
}

// -- buffers at the border
// ----------------------------------------------------------------------------------------------

TEST_CASE("data<T>() stays where it is, and as it is, while the handle keeps its value") {
  Tensor y = computed() * 2;
  const float* data = y.data<float>();
  const std::vector<float> copy(data, data + y.numel());
  {
    const Tensor another = y;
    const Tensor z = y + 1, v = ad::exp(y);  // y may not be taken over
    ad::eval(z, v);
    Tensor churn = z;
    for (int i = 0; i < 10; ++i) churn = churn * 0.5f + 1;
    ad::eval(churn);
  }
  ad::memory::trim();
  CHECK(y.data<float>() == data);
  CHECK(std::memcmp(data, copy.data(), copy.size() * sizeof(float)) == 0);
  // Another handle keeps it, too.
  const Tensor last = y;
  y = Tensor();
  const Tensor w = last * 3;
  ad::eval(w);
  CHECK(last.data<float>() == data);
  CHECK(std::memcmp(data, copy.data(), copy.size() * sizeof(float)) == 0);
}

TEST_CASE("a buffer that a pointer was given out of is never taken over") {
  const Tensor x = ad::tensor({1.0f, 2.0f, 3.0f, 4.0f}) * 1;
  Tensor shared = x.reshape({2, 2});  // the same elements
  const float* data = shared.data<float>();
  const Tensor y = shared + 10;  // now the only reader of a node whose elements are x's
  shared = Tensor();
  ad::eval(y);
  CHECK(x.data<float>() == data);
  CHECK(x.to_vector<float>() == std::vector<float>{1, 2, 3, 4});
}

TEST_CASE("data<T>() is row-major for transposed, sliced and broadcast values, and the same at every call") {
  const Tensor x = ad::arange(12).reshape({3, 4}) * 1;
  const auto check = [](const Tensor& view, const std::vector<std::int64_t>& expected) {
    const std::int64_t* data = view.data<std::int64_t>();
    CHECK(std::vector<std::int64_t>(data, data + view.numel()) == expected);
    CHECK(view.data<std::int64_t>() == data);
    const Tensor copy = view;
    CHECK(copy.data<std::int64_t>() == data);
    CHECK(view.to_vector<std::int64_t>() == expected);
  };
  check(x.t(), {0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11});
  check(x.index({ad::Slice(), ad::Slice(3, {}, -2)}), {3, 1, 7, 5, 11, 9});
  check(ad::broadcast_to(x[1].reshape({4, 1}), {2, 4, 2}), {4, 4, 5, 5, 6, 6, 7, 7, 4, 4, 5, 5, 6, 6, 7, 7});
  check(ad::full({2, 3}, 7), {7, 7, 7, 7, 7, 7});
  check(ad::zeros({0, 3}, ad::int64), {});
  check(x, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
}

TEST_CASE("data<T>() asks for the right dtype") {
  const Tensor x = ad::ones({2});
  CHECK_THROWS_AS(x.data<double>(), ad::DtypeError);
  CHECK_THROWS_AS(x.to_vector<std::int64_t>(), ad::DtypeError);
}

TEST_CASE("from_blob copies, or adopts what a deleter frees exactly once, after the last reader") {
  std::array<float, 6> elements{1, 2, 3, 4, 5, 6};
  const Tensor copy = ad::from_blob(elements.data(), {2, 3});
  elements[0] = 100;
  CHECK(copy.to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});
  elements[0] = 1;

  int calls = 0;
  float* given = nullptr;
  const auto deleter = [&](float* data) {
    ++calls;
    given = data;
  };
  const std::int64_t before = live();
  {
    Tensor adopted = ad::from_blob(elements.data(), {2, 3}, deleter);
    CHECK(live() == before + 24);
    CHECK(adopted.data<float>() == elements.data());
    const Tensor view = adopted.t(), twice = adopted * 2, w = ad::ones({2, 3}).requires_grad_();
    const Tensor product = ad::sum(w * adopted);
    Tensor other = adopted;
    adopted = Tensor();
    other = other + 1;  // not in place
    CHECK(other.to_vector<float>() == std::vector<float>{2, 3, 4, 5, 6, 7});
    CHECK(calls == 0);
    ad::eval(view, twice, product);
    CHECK(calls == 0);
    product.backward();
    CHECK(w.grad().to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});
    CHECK(calls == 0);
  }
  CHECK(calls == 1);
  CHECK(given == elements.data());
  CHECK(live() == before);
  CHECK(elements == std::array<float, 6>{1, 2, 3, 4, 5, 6});

  // Whatever frees it: a thread, an error, a deleter that owns something, or that uses tensors itself.
  calls = 0;
  Tensor adopted = ad::from_blob(elements.data(), {6}, deleter);
  std::thread([moved = std::move(adopted)]() mutable { moved = Tensor(); }).join();
  CHECK(calls == 1);
  CHECK_THROWS_AS(ad::from_blob(elements.data(), {-6}, deleter), ad::ShapeError);
  CHECK(calls == 1);  // it was not adopted
  auto owned = std::make_shared<int>(3);
  {
    const Tensor t = ad::from_blob(elements.data(), {6}, [owned](float*) {});
    CHECK(owned.use_count() == 2);
  }
  CHECK(owned.use_count() == 1);
  Tensor nested = ad::from_blob(elements.data(), {6}, deleter);
  {
    const Tensor t = ad::from_blob(elements.data(), {6}, [&](float*) { nested = nested * 2; });
  }
  CHECK(nested.to_vector<float>()[5] == 12);
  nested = Tensor();
  CHECK(calls == 2);
  CHECK_THROWS_AS(ad::from_blob(static_cast<const float*>(nullptr), {2}), ad::ValueError);
  CHECK(ad::from_blob(static_cast<const float*>(nullptr), {0, 2}).numel() == 0);
}

TEST_CASE("adopted elements need no alignment beyond their own") {
  std::vector<float> elements(70000);
  std::iota(elements.begin(), elements.end(), 0.0f);
  for (std::size_t offset : {1, 2, 3, 5}) {
    const auto n = static_cast<std::int64_t>(elements.size() - offset);
    const Tensor x = ad::from_blob(elements.data() + offset, {n}, [](float*) {});
    CHECK((x + x).to_vector<float>().back() == 2 * elements.back());
    CHECK(ad::amax(x * -1).item<float>() == -static_cast<float>(offset));
    CHECK(ad::argmax(x).item<std::int64_t>() == n - 1);
    CHECK(ad::matmul(x[ad::Slice(0, 64)].reshape({8, 8}), ad::eye(8)).to_vector<float>()[9] == elements[offset + 9]);
  }
}

TEST_CASE("a gradient, or a cell, in a cycle of handles does not leak") {
  const std::int64_t before = live();
  {
    const Tensor w = parameter(), v = parameter();
    w.set_grad(w);
    v.set_grad(w);
    w.set_grad(v);
    w.backward(v);
    (w * v).backward(w);
    ad::eval(w.grad(), v.grad());
  }
  CHECK(live() == before);
  {
    const Tensor w = parameter();
    const Tensor loss = ad::sum(w * w * w);
    loss.backward({}, {}, true);  // w.grad() is differentiable, and its graph refers to w
    ad::eval(w.grad());
  }
  CHECK(live() == before);
}
