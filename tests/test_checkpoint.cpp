// Checkpoints: what they save, and that nothing else changes.
#include "core/node.hpp"
#include "core/thread_state.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

namespace ad = adjoint;
using ad::Tensor;

namespace {

constexpr std::int64_t kSide = 256, kMatrix = kSide * kSide * 4;  // bytes

std::int64_t live() { return ad::memory::stats().live; }
std::int64_t peak_of(const std::function<void()>& f) {
  const std::int64_t before = live();
  ad::memory::reset_peak();
  f();
  return ad::memory::stats().peak - before;
}

template <class T>
bool same_bits_as(const Tensor& a, const Tensor& b) {
  const std::vector<T> x = a.to_vector<T>(), y = b.to_vector<T>();
  return a.shape() == b.shape() && std::memcmp(x.data(), y.data(), x.size() * sizeof(T)) == 0;
}
bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && (a.dtype() == ad::float64 ? same_bits_as<double>(a, b) : same_bits_as<float>(a, b));
}

Tensor leaf(const ad::Shape& shape, ad::Dtype dtype = ad::float32) {
  Tensor x = (ad::randn(shape, dtype) * 0.5).requires_grad_();
  ad::eval(x);
  return x;
}

/// Values that derivatives read: three of them, for each segment.
Tensor segment(const Tensor& x) { return ad::sin(ad::exp(ad::tanh(x) * 0.5f) * x); }

Tensor chain(Tensor x, int segments, bool checkpointed) {
  for (int i = 0; i < segments; ++i) x = checkpointed ? ad::checkpoint(segment)(x) : segment(x);
  return ad::sum(x);
}

Tensor nested_chain(const Tensor& x, int segments) {
  if (segments == 1) return segment(x);
  const auto half = [segments](const Tensor& y) { return nested_chain(y, segments / 2); };
  return ad::checkpoint(half)(ad::checkpoint(half)(x));
}

/// What some of everything is in: products, reductions, random numbers, a running statistic, indices.
struct Block : ad::nn::Module<Block> {
  ad::nn::Linear up{32, 64}, down{64, 32};
  ad::nn::LayerNorm norm{32};
  ad::nn::BatchNorm1d batch_norm{32};
  mutable int calls = 0;
  void members(ad::nn::Members& m) { m("up", up)("down", down)("norm", norm)("batch_norm", batch_norm); }
  Tensor forward(const Tensor& x) const {
    ++calls;
    const Tensor hidden = ad::dropout(ad::gelu(up(norm(x))), 0.3);
    const Tensor y = batch_norm(x + down(ad::where(hidden > 0, hidden, hidden * 0.1)));
    return y * ad::softmax(y, -1) + ad::max(y, -1, true).values;
  }
};

}  // namespace

TEST_CASE("a chain of checkpoints needs the memory of their arguments and one segment") {
  Tensor x = leaf({kSide, kSide});
  constexpr int kSegments = 16;
  for (const bool looked_at : {false, true}) {
    CAPTURE(looked_at);
    const auto step = [&](const std::function<Tensor()>& f) {
      return [&x, f, looked_at] {
        x.set_grad({});
        const Tensor loss = f();
        if (looked_at) loss.item<double>();
        loss.backward();
        ad::eval(x.grad());
      };
    };
    const auto plain = step([&] { return chain(x, kSegments, false); });
    const auto checkpointed = step([&] { return chain(x, kSegments, true); });
    const auto nested = step([&] { return ad::sum(nested_chain(x, kSegments)); });
    const auto looking = step([&] {  // within each segment
      Tensor y = x;
      for (int i = 0; i < kSegments; ++i)
        y = ad::checkpoint([](const Tensor& t) {
          const Tensor result = segment(t);
          ad::eval(result);
          return result;
        })(y);
      return ad::sum(y);
    });
    for (int run = 0; run < 4; ++run) {  // the plan is kept from the second on
      CAPTURE(run);
      const std::int64_t expected = peak_of(plain), peak = peak_of(checkpointed);
      CHECK(expected > 3 * kSegments * kMatrix);
      CHECK(peak < (kSegments + 2) * kMatrix);
      CHECK(peak_of(nested) <= 6 * kMatrix);
      CHECK(peak_of(looking) < (kSegments + 6) * kMatrix);
    }
  }
}

TEST_CASE("all of a checkpoint is one pass over memory, of which nothing but the result is written") {
  Tensor x = leaf({kSide, kSide});
  ad::Explanation plan = ad::explain(ad::checkpoint(segment)(x));
  CHECK(plan.steps == 1);
  CHECK(plan.bytes_read == kMatrix + 4);  // and the number
  CHECK(plan.bytes_written == kMatrix);
  plan = ad::explain(segment(x));
  CHECK(plan.bytes_written > 3 * kMatrix);
}

TEST_CASE("with checkpoints a training step has the same bits, and the function is called once") {
  struct Run {
    std::vector<Tensor> results;
    int calls;
  };
  const auto train = [](bool checkpointed, bool looked_at, bool nested, bool eager) {
    ad::manual_seed(7);
    const Block block, second = block;
    const Tensor input = ad::randn({8, 32});
    Tensor x = ad::randn({8, 32}).requires_grad_();
    ad::optim::SGD optimizer(block.parameters(), {0.1});
    ad::optim::SGD second_optimizer(second.parameters(), {0.1});
    Run run{{}, 0};
    for (int step = 0; step < 4; ++step) {
      const auto both = [&](const Tensor& y) {
        if (nested) return ad::checkpoint(second)(ad::checkpoint(block)(y));
        return second(block(y));
      };
      optimizer.zero_grad();
      second_optimizer.zero_grad();
      x.set_grad({});
      Tensor loss;
      {
        std::unique_ptr<ad::EagerGuard> guard(eager ? new ad::EagerGuard : nullptr);
        const Tensor y = checkpointed ? ad::checkpoint(both)(input + x) : both(input + x);
        loss = ad::mean(ad::square(y));
        if (looked_at) loss.item<double>();
        loss.backward();
      }
      run.results.push_back(loss);
      run.results.push_back(x.grad());
      optimizer.step();
      second_optimizer.step();
    }
    run.results.push_back(ad::rand({4}));  // as many random numbers were taken
    for (const auto* b : {&block, &second})
      for (const auto& [name, value] : b->state_dict()) run.results.push_back(value.detach());
    run.calls = block.calls;
    return run;
  };
  const Run expected = train(false, false, false, false);
  for (const bool looked_at : {false, true})
    for (const bool nested : {false, true})
      for (const bool eager : {false, true}) {
        CAPTURE(looked_at);
        CAPTURE(nested);
        CAPTURE(eager);
        const Run run = train(true, looked_at, nested, eager);
        CHECK(run.calls == 4);
        REQUIRE(run.results.size() == expected.results.size());
        for (std::size_t i = 0; i < run.results.size(); ++i) {
          CAPTURE(i);
          if (run.results[i].dtype() == ad::float32) CHECK(same_bits(run.results[i], expected.results[i]));
        }
      }
}

TEST_CASE("checkpoints are differentiated in every mode, to every order") {
  const Tensor w = ad::randn({5, 5}, ad::float64);
  const auto plain = [w](const Tensor& x) { return ad::sum(ad::tanh(ad::matmul(ad::exp(ad::sin(x)), w)) * x); };
  const auto checkpointed = [&plain](const Tensor& x) { return ad::checkpoint(plain)(x); };
  const auto nested = [&plain](const Tensor& x) {
    return ad::checkpoint([&](const Tensor& y) { return ad::checkpoint(plain)(ad::checkpoint(segment)(y)); })(x);
  };
  const auto nested_plain = [&plain](const Tensor& x) { return plain(segment(x)); };
  const Tensor x = ad::randn({5, 5}, ad::float64), v = ad::randn({5, 5}, ad::float64);
  CHECK(ad::gradcheck(checkpointed, {x}));
  CHECK(ad::gradgradcheck(checkpointed, {x}));
  CHECK(ad::gradcheck(nested, {x}));
  CHECK(ad::gradgradcheck(nested, {x}));
  const auto compare = [&](const auto& f, const auto& expected) {
    CHECK(same_bits(ad::grad(f)(x), ad::grad(expected)(x)));
    CHECK(same_bits(ad::jvp(f, {x}, {v}).second, ad::jvp(expected, {x}, {v}).second));
    CHECK(ad::allclose(ad::hvp(f, x, v), ad::hvp(expected, x, v), 1e-12, 1e-12));
    CHECK(ad::allclose(ad::hessian(f)(x), ad::hessian(expected)(x), 1e-12, 1e-12));
    const auto third = [&](const auto& g) {
      return ad::grad([&](const Tensor& y) { return ad::sum(ad::hvp(g, y, v) * v); })(x);
    };
    CHECK(ad::allclose(third(f), third(expected), 1e-11, 1e-11));
  };
  compare(checkpointed, plain);
  compare(nested, nested_plain);
  SUBCASE("a derivative within a checkpoint") {
    const auto inner = [](const auto& f) {
      return [&f](const Tensor& y) { return ad::sum(ad::square(ad::grad(f)(y))); };
    };
    const auto f = [&](const Tensor& y) { return ad::checkpoint(inner(nested))(y); };
    const auto expected = inner(nested_plain);
    CHECK(ad::gradcheck(f, {x}));
    CHECK(ad::allclose(ad::grad(f)(x), ad::grad(expected)(x), 1e-12, 1e-12));
  }
  SUBCASE("the forward mode of what was looked at") {
    const auto looked_at = [&plain](const Tensor& y) {
      const Tensor z = ad::checkpoint(plain)(y);
      z.item<double>();
      return z;
    };
    CHECK(same_bits(ad::jvp(looked_at, {x}, {v}).second, ad::jvp(plain, {x}, {v}).second));
  }
}

TEST_CASE("a derivative by an intermediate value that somebody holds is by that value") {
  Tensor x = leaf({6}, ad::float64), held, expected_held;
  const auto f = [&](Tensor& kept) {
    return [&kept](const Tensor& y) {
      kept = ad::tanh(y);
      return ad::sum(ad::exp(ad::square(kept)) * ad::sin(kept));
    };
  };
  const Tensor y = ad::checkpoint(f(held))(x), expected = f(expected_held)(x);
  const auto second = [](const Tensor& z, const Tensor& by) {
    ad::autograd::GradOptions options;
    options.create_graph = true;
    const Tensor g = ad::autograd::grad({z}, {by}, options)[0];
    return ad::autograd::grad({ad::sum(g)}, {by})[0];
  };
  CHECK(ad::allclose(second(y, held), second(expected, expected_held), 1e-12, 1e-12));
  CHECK(same_bits(held, expected_held));
}

TEST_CASE("what was a constant within a checkpoint is one for every derivative") {
  const auto plain = [](const Tensor& x) {
    Tensor constant;
    {
      const ad::NoGradGuard guard;
      constant = x * x;
    }
    return ad::sum(x * x * constant);
  };
  const auto checkpointed = [&plain](const Tensor& x) { return ad::checkpoint(plain)(x); };
  const Tensor x = ad::randn({4}, ad::float64), v = ad::randn({4}, ad::float64);
  CHECK(ad::allclose(ad::hvp(checkpointed, x, v), ad::hvp(plain, x, v), 1e-12, 1e-12));
}

TEST_CASE("a graph that is kept is differentiated again, and one that was released is not") {
  Tensor x = leaf({8, 8});
  const Tensor loss = chain(x, 3, true);
  loss.backward({}, true);
  const Tensor once = x.grad().detach();
  ad::eval(once);
  loss.backward();
  CHECK(same_bits(x.grad(), once + once));
  CHECK_THROWS_AS(loss.backward(), ad::AutogradError);
  CHECK(loss.item<float>() == loss.item<float>());
}

TEST_CASE("one result is differentiated after another one that shares what no derivative goes through") {
  for (const bool looked_at : {false, true}) {
    Tensor x = leaf({8}), w = leaf({8});
    const auto both = [](const Tensor& a, const Tensor& b) {
      const Tensor h = a * a;
      return std::pair(ad::sum(h), ad::sum(ad::where(h > 0.1f, b, 0)));
    };
    const auto [first, second] = ad::checkpoint(both)(x, w);
    if (looked_at) ad::eval(first, second);
    first.backward();
    ad::eval(x.grad());
    second.backward();
    CHECK(same_bits(w.grad(), ad::cast(ad::square(x.detach()) > 0.1f, ad::float32)));
  }
}

TEST_CASE("plans of what was released and of what was not are told apart") {
  Tensor start = leaf({1000});
  const auto run = [&](bool retained) {
    Tensor x = start + 1.0f, held;
    Tensor y = ad::checkpoint([&](const Tensor& t) {
      held = t + 1.0f;
      return held + 2.0f;
    })(x);
    x = Tensor();
    ad::sum(y).backward({}, retained);
    start.set_grad({});
    y = Tensor();
    ad::eval(held);
    if (!retained) return;
    const Tensor u = held * held;
    held = Tensor();
    ad::eval(u);
    ad::sum(u).backward();
    CHECK(ad::allclose(start.grad(), 2 * (start.detach() + 2), 1e-6, 1e-6));
  };
  run(false);
  run(false);
  run(true);
}

TEST_CASE("nothing of a checkpoint outlives its graph") {
  Tensor x = leaf({kSide, kSide});
  const std::int64_t before = live();
  {
    const Tensor loss = chain(x, 4, true);
    loss.item<double>();
    CHECK(live() - before < 6 * kMatrix);
    CHECK(live() - before >= 3 * kMatrix);
  }
  CHECK(live() == before);
  {
    const Tensor loss = chain(x, 4, true);
    loss.backward();
    ad::eval(x.grad());
    CHECK(live() - before == kMatrix);
  }
  x.set_grad({});
  CHECK(live() == before);
  SUBCASE("what is held without a derivative does not keep what it was made of") {
    Tensor state = ad::ones({kSide, kSide});
    const auto f = [&](const Tensor& y) {
      state = ad::tanh(state * 0.5f + y.detach());
      return ad::sum(y * state);
    };
    std::int64_t at_first = 0;
    for (int i = 0; i < 8; ++i) {
      ad::checkpoint(f)(x).item<double>();
      ad::eval(state);
      if (i == 1) at_first = live();
    }
    CHECK(live() == at_first);
  }
  SUBCASE("nor does a cell's value") {
    Tensor cell = ad::zeros({kSide, kSide}).requires_grad_();
    const auto f = [&](const Tensor& y) {
      const ad::NoGradGuard guard;
      cell += ad::tanh(y) * 0.5f;
      return ad::sum(y);
    };
    std::int64_t at_first = 0;
    for (int i = 0; i < 8; ++i) {
      ad::checkpoint(f)(x).item<double>();
      ad::eval(cell);
      if (i == 1) at_first = live();
    }
    CHECK(live() == at_first);
  }
}

TEST_CASE("what f returns may be anything made of tensors, looked at or not, arguments or not") {
  Tensor x = leaf({4, 3}), w = leaf({3});
  const auto f = [&](const Tensor& a, double factor, const std::vector<Tensor>& more) {
    const Tensor y = ad::exp(a * factor), z = ad::tanh(y * more[0]);
    ad::eval(y, z);
    return std::tuple(y, std::vector<Tensor>{z, a}, std::pair(more[0], ad::sum(z)));
  };
  const auto gradients = [&](const auto& g) {
    x.set_grad({});
    w.set_grad({});
    Tensor loss;
    {
      const auto [y, list, pair] = g(x, 0.5, std::vector<Tensor>{w});
      loss = ad::sum(ad::square(y) * list[0]) + ad::sum(ad::sin(list[1])) + ad::sum(pair.first) * pair.second;
    }
    loss.backward();
    return std::vector<Tensor>{loss.detach(), x.grad().detach(), w.grad().detach()};
  };
  const std::vector<Tensor> results = gradients(ad::checkpoint(f)), expected = gradients(f);
  // f looks at y, and reads it: its cotangents are added up in another order.
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(ad::allclose(results[i], expected[i], 1e-6, 1e-6));
}

TEST_CASE("a module is referred to, and a temporary function is kept") {
  ad::nn::Linear linear(3, 2);
  const auto through = ad::checkpoint(linear);
  ad::sum(through(ad::ones({4, 3}))).backward();
  CHECK(linear.weight.grad().defined());
  const auto twice = ad::checkpoint([factor = std::make_unique<int>(2)](const Tensor& x) { return x * *factor; });
  CHECK(twice(ad::tensor({3.0f})).item<float>() == 6);
  CHECK_FALSE(ad::checkpoint([](const Tensor& x) { return std::pair(x, Tensor()); })(ad::ones({2})).second.defined());
}

TEST_CASE("a checkpoint that is left by an error ends there") {
  const auto is_marked = [](const Tensor& x) { return ad::detail::Access::node(x)->is_marked(); };
  const Tensor x = ad::ones({2});
  Tensor inside;
  const auto f = [&](const Tensor& y) {
    inside = y * 2;
    return ad::matmul(inside, ad::ones({3}));
  };
  CHECK_THROWS_AS(ad::checkpoint(f)(x), ad::ShapeError);
  CHECK(is_marked(inside));
  CHECK_FALSE(is_marked(x * 2));
  SUBCASE("and so does one whose values fail") {
    ad::nn::Embedding words(3, 2);
    Tensor bad = ad::tensor({1, 7});
    const Tensor loss = ad::sum(ad::checkpoint(words)(bad));
    loss.backward();
    CHECK_THROWS_WITH_AS(loss.item<double>(), doctest::Contains("7"), ad::ValueError);
    CHECK_THROWS_AS(ad::eval(words.weight.grad()), ad::Error);
  }
  SUBCASE("and too many of them within each other") {
    std::function<Tensor(const Tensor&, int)> deep = [&](const Tensor& y, int depth) {
      if (depth == 0) return ad::exp(y);
      return ad::checkpoint([&](const Tensor& z) { return deep(z, depth - 1); })(y);
    };
    CHECK(same_bits(ad::grad([&](const Tensor& y) { return ad::sum(deep(y, 255)); })(x), ad::exp(x)));
    CHECK_THROWS_AS(deep(x, 256), ad::ValueError);
    CHECK_FALSE(is_marked(x * 2));
  }
}

TEST_CASE("threads checkpoint by themselves, and compute what others recorded") {
  std::vector<std::thread> threads;
  std::vector<Tensor> gradients(4);
  const Tensor x = ad::ones({64, 64}) * 0.3f;
  const Tensor expected = ad::grad([](const Tensor& y) { return chain(y, 4, false); })(x);
  ad::eval(x, expected);
  for (Tensor& gradient : gradients)
    threads.emplace_back([&gradient, &x] {
      for (int i = 0; i < 3; ++i) gradient = ad::grad([](const Tensor& y) { return chain(y, 4, true); })(x);
    });
  for (std::thread& thread : threads) thread.join();
  for (const Tensor& gradient : gradients) CHECK(same_bits(gradient, expected));
}

TEST_CASE("a long chain within one checkpoint is recorded again without recursion") {
  Tensor x = leaf({2});
  const auto f = [](const Tensor& start) {
    Tensor y = start;
    for (int i = 0; i < 100'000; ++i) y = ad::sin(y);
    return ad::sum(y);
  };
  ad::checkpoint(f)(x).backward();
  const Tensor gradient = x.grad().detach();
  x.set_grad({});
  f(x).backward();
  CHECK(same_bits(gradient, x.grad()));
}
