// Values that are computed again where they are read, instead of being kept: when, and that nothing else changes.
#include "core/thread_state.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace ad = adjoint;
using ad::Tensor;

namespace {

constexpr std::int64_t kSide = 256, kMatrix = kSide * kSide * 4;  // bytes

std::int64_t live() { return ad::memory::stats().live; }

Tensor computed(const ad::Shape& shape = {kSide, kSide}) {
  const Tensor x = ad::randn(shape);
  ad::eval(x);
  return x;
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}
const char* const kAgain = "to be computed again";
std::size_t recomputed_in(const std::vector<Tensor>& outputs) { return count(ad::explain(outputs).text, kAgain); }

bool same_bits(const Tensor& a, const Tensor& b) {
  const std::vector<float> x = a.to_vector<float>(), y = b.to_vector<float>();
  return a.shape() == b.shape() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
}

ad::engine::Options without_recomputation() {
  ad::engine::Options options;
  options.recomputation = false;
  return options;
}

/// f's results, which are the same without recomputation.
std::vector<Tensor> same_without(const std::function<std::vector<Tensor>()>& f) {
  const std::vector<Tensor> results = f(), replayed = (f(), f());
  const ad::engine::OptionsGuard guard(without_recomputation());
  const std::vector<Tensor> expected = f();
  REQUIRE(results.size() == expected.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(results[i], expected[i]));
    CHECK(same_bits(replayed[i], expected[i]));
  }
  return results;
}

/// Two groups read v, before and after a product.
Tensor around_a_product(const Tensor& v, const Tensor& w) { return ad::tanh(v) * ad::matmul(ad::exp(v * 0.1f), w); }

}  // namespace

TEST_CASE("a cheap value that several groups read is written to memory by none of them") {
  const Tensor x = computed(), w = computed();
  const auto f = [&] { return around_a_product(x * 2 + 1, w); };
  CHECK(recomputed_in({f()}) == 2);  // the product, and the sum
  {
    const ad::engine::OptionsGuard guard(without_recomputation());
    CHECK(recomputed_in({f()}) == 0);
  }
  CHECK(ad::explain({f()}).bytes_written == 3 * kMatrix);  // exp, the product, and the result
  same_without([&] { return std::vector<Tensor>{f()}; });
}

TEST_CASE("what is kept as before") {
  const Tensor x = computed(), w = computed();
  SUBCASE("what is held") {
    const Tensor v = x * 2 + 1;
    CHECK(recomputed_in({around_a_product(v, w)}) == 0);
    CHECK(recomputed_in({v, around_a_product(v, w)}) == 0);
  }
  SUBCASE("what is not cheap") { CHECK(recomputed_in({around_a_product(ad::sin(x), w)}) == 0); }
  SUBCASE("what takes two arrays") { CHECK(recomputed_in({around_a_product(x + w, w)}) == 0); }
  SUBCASE("what takes many instructions") {
    Tensor v = x;
    for (int i = 0; i < 6; ++i) v = v * 0.5f + 1;
    CHECK(recomputed_in({around_a_product(v, w)}) == 0);
  }
  SUBCASE("what is small") {
    const Tensor a = computed({16, 16}), b = computed({16, 16});
    CHECK(recomputed_in({around_a_product(a * 2, b)}) == 0);
  }
  SUBCASE("what is smaller than what it is made of") {
    const Tensor mask = x > 0.5f;
    CHECK(recomputed_in({ad::where(mask, ad::matmul(ad::where(mask, ad::exp(w), 0), w), 0)}) == 0);
  }
  SUBCASE("what a library call reads") {
    const Tensor v = x * 2;
    CHECK(recomputed_in({ad::matmul(v, w) + ad::matmul(ad::exp(v), w)}) == 0);
  }
}

TEST_CASE("a loss that is looked at first keeps what is cheap for no derivative") {
  Tensor w = (computed() * 0.01f).detach().requires_grad_();
  const Tensor x = computed();
  ad::eval(w);
  const auto gradient = [&](bool look) {
    const Tensor loss = ad::mean(ad::square(ad::tanh(ad::matmul(x, w)) * 3 + 1));
    if (look) ad::eval(loss);
    w.set_grad({});
    loss.backward();
    return std::vector<Tensor>{loss.detach(), w.grad()};
  };
  same_without([&] { return gradient(true); });
  same_without([&] { return gradient(false); });
  w.set_grad({});
  const auto kept = [&] {
    const std::int64_t before = live();
    const Tensor loss = ad::mean(ad::square(ad::tanh(ad::matmul(x, w)) * 3 + 1));
    ad::eval(loss);
    return live() - before;
  };
  CHECK(kept() == kMatrix);  // tanh's result
  {
    const ad::engine::OptionsGuard guard(without_recomputation());
    CHECK(kept() == 2 * kMatrix);
  }
  const std::int64_t before = live();
  kept();
  CHECK(live() == before);  // what was left goes with the graph
}

TEST_CASE("what is computed again has the values of the time of its recording") {
  const Tensor x = computed(), values = computed();
  same_without([&] {
    Tensor w = values.detach().requires_grad_();
    const Tensor loss = ad::sum(ad::square(w * 2 + 1) * x);
    ad::eval(loss);
    {
      const ad::NoGradGuard no_grad;
      w += 1;
    }
    ad::eval(w);
    loss.backward();
    return std::vector<Tensor>{w.grad(), w.detach()};
  });
}

TEST_CASE("derivatives of the second order, and several backward passes") {
  const Tensor values = computed(), x = computed();
  same_without([&] {
    const Tensor w = values.detach().requires_grad_();
    const Tensor loss = ad::sum(ad::exp((w * 2 + 1) * 0.1f) * ad::matmul(x, ad::square(w * 2 + 1)));
    ad::eval(loss);
    const Tensor g = ad::autograd::grad({loss}, {w}, {{}, true, true})[0];
    ad::eval(g);
    const Tensor second = ad::autograd::grad({ad::sum(g * g)}, {w}, {{}, true})[0];
    loss.backward();
    return std::vector<Tensor>{g.detach(), second, w.grad()};
  });
}

TEST_CASE("random numbers are drawn once") {
  const Tensor x = computed(), w = computed();
  same_without([&] {
    ad::manual_seed(3);
    const Tensor leaf = x.detach().requires_grad_();
    const Tensor y = around_a_product(ad::dropout(leaf, 0.4) * 2, w);
    ad::eval(y);
    ad::sum(y).backward();
    return std::vector<Tensor>{y.detach(), leaf.grad(), ad::rand({3})};
  });
}

TEST_CASE("a failure beside it") {
  const Tensor x = computed(), w = computed();
  const Tensor index = ad::full({kSide, kSide}, kSide, ad::int64);  // one too far
  for (int turn = 0; turn < 3; ++turn) {
    const Tensor v = x * 2 + 1;
    const Tensor first = ad::exp(v * 0.1f), failing = first + ad::gather(w, 0, index);
    const Tensor second = ad::tanh(x * 2 + 1) * ad::matmul(first, w);
    CHECK_THROWS_AS(ad::eval(second, failing), ad::Error);
    CHECK_THROWS_AS(failing.data<float>(), ad::Error);
    const ad::engine::OptionsGuard guard(without_recomputation());
    CHECK(same_bits(second, ad::tanh(x * 2 + 1) * ad::matmul(ad::exp((x * 2 + 1) * 0.1f), w)));
  }
}

TEST_CASE("what only other repeated values read, when its first group is computed one by one") {
  const Tensor x = computed(), w = computed();
  const Tensor index = ad::full({kSide, kSide}, kSide, ad::int64);  // one too far
  const auto f = [&](Tensor* failing) {
    const Tensor u = x * 2 + 1, first = ad::exp(u * 0.1f);
    if (failing) *failing = first + ad::gather(w, 0, index);
    return ad::tanh(u) * ad::matmul(first, w);
  };
  for (int turn = 0; turn < 3; ++turn) {
    Tensor failing;
    const Tensor y = f(&failing);
    if (turn == 0) CHECK(recomputed_in({y, failing}) == 2);
    CHECK_THROWS_AS(ad::eval(y, failing), ad::Error);
    const ad::engine::OptionsGuard guard(without_recomputation());
    CHECK(same_bits(y, f(nullptr)));
  }
}

TEST_CASE("one thread looks, another one differentiates") {
  const Tensor x = computed(), values = computed();
  same_without([&] {
    const Tensor w = values.detach().requires_grad_();
    const Tensor loss = ad::sum(around_a_product(w * 2 + 1, x));
    ad::eval(loss);
    std::thread([&] {
      loss.backward();
      ad::eval(w.grad());
    }).join();
    return std::vector<Tensor>{loss.detach(), w.grad()};
  });
}

TEST_CASE("a derivative does not depend on another thread that reads the same") {
  Tensor start = ad::ones({kSide, kSide}).requires_grad_();
  Tensor x = start * 2, other;
  std::thread([&] { other = ad::exp(x); }).join();
  const Tensor z = x + 1;
  x = Tensor();
  ad::eval(z);
  other = Tensor();
  ad::sum(z).backward();
  REQUIRE(start.grad().defined());
  CHECK(same_bits(start.grad(), ad::full({kSide, kSide}, 2.0f)));
}
