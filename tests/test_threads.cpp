// Threads of the host program, and the team: who may do what at once, and that nothing changes a bit.
#include "core/thread_state.hpp"
#include "engine/threads.hpp"
#include "probe.hpp"

#include <adjoint/adjoint.hpp>

#include <omp.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <mutex>
#include <new>
#include <thread>
#include <tuple>

namespace ad = adjoint;
using ad::Tensor;

namespace {

/// Runs body(0), .. body(count - 1) at once, each in a thread of its own, and hands on what one throws.
void in_threads(int count, const std::function<void(int)>& body) {
  std::atomic<int> ready{0};
  std::exception_ptr error;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i)
    threads.emplace_back([&, i] {
      ++ready;
      while (ready < count) std::this_thread::yield();
      try {
        body(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        error = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  if (error) std::rethrow_exception(error);
}

/// The bytes of a tensor's elements.
std::vector<std::byte> bits(const Tensor& x) {
  const void* data = nullptr;
  switch (x.dtype()) {
    case ad::Dtype::float32:
      data = x.data<float>();
      break;
    case ad::Dtype::float64:
      data = x.data<double>();
      break;
    case ad::Dtype::int64:
      data = x.data<std::int64_t>();
      break;
    case ad::Dtype::int32:
      data = x.data<std::int32_t>();
      break;
    case ad::Dtype::uint8:
      data = x.data<std::uint8_t>();
      break;
    case ad::Dtype::bool_:
      data = x.data<bool>();
      break;
  }
  const auto* bytes = static_cast<const std::byte*>(data);
  return {bytes, bytes + static_cast<std::size_t>(x.numel()) * ad::size_of(x.dtype())};
}

/// Two layers, as a const net that threads share.
struct Net {
  Tensor w1 = (ad::rand({6, 16}) - 0.5f).requires_grad_(), b1 = ad::zeros({16}).requires_grad_(),
         w2 = (ad::rand({16, 3}) - 0.5f).requires_grad_();
  std::vector<Tensor> parameters() const { return {w1, b1, w2}; }
  Tensor forward(const Tensor& x) const { return ad::matmul(ad::tanh(ad::matmul(x, w1) + b1), w2); }
  Tensor loss(const Tensor& x) const { return ad::mean(ad::square(forward(x) - 1)); }
};

Tensor input(int i) {
  ad::Generator generator(static_cast<std::uint64_t>(i));
  return ad::rand({5, 6}, ad::float32, generator);
}

void train(Net& net, int steps, int seed) {
  for (int step = 0; step < steps; ++step) {
    for (const Tensor& p : net.parameters()) p.set_grad({});
    net.loss(input(seed)).backward();
    {
      const ad::NoGradGuard no_grad;
      for (Tensor p : net.parameters()) p -= 0.1f * p.grad();
    }
    ad::detail::eval_pending();
  }
}

}  // namespace

// -- the host's threads -----------------------------------------------------------------------------------------------

TEST_CASE("eight threads run one const net, each with its own graph and its own gradients") {
  for (const bool looked_at : {false, true}) {
    ad::manual_seed(5);
    const Net net;
    if (looked_at) ad::eval(net.parameters());  // else the parameters' own values are pending, recorded by this thread
    std::vector<std::vector<std::byte>> found(8), expected(8);
    const auto run = [&](int i) {
      const Tensor loss = net.loss(input(i));
      std::vector<std::byte> all = bits(loss);
      for (const Tensor& g : ad::autograd::grad({loss}, net.parameters())) {
        const auto b = bits(g);
        all.insert(all.end(), b.begin(), b.end());
      }
      return all;
    };
    in_threads(8, [&](int i) {
      ad::set_num_threads(1);
      for (int repeat = 0; repeat < 20; ++repeat) {
        found[static_cast<std::size_t>(i)] = run(i);
        ad::grad([&](const Tensor& x) { return net.loss(x); })(input(i)).to_vector<float>();
        const ad::NoGradGuard no_grad;
        net.forward(input(i)).to_vector<float>();
      }
    });
    const int before = ad::get_num_threads();
    ad::set_num_threads(1);
    for (int i = 0; i < 8; ++i) CHECK(run(i) == found[static_cast<std::size_t>(i)]);
    ad::set_num_threads(before);
    for (const Tensor& p : net.parameters()) CHECK_FALSE(p.grad().defined());
  }
}

TEST_CASE("two threads train two networks, as if each were alone") {
  std::vector<std::vector<std::byte>> together(2);
  in_threads(2, [&](int i) {
    ad::manual_seed(static_cast<std::uint64_t>(i));
    Net net;
    train(net, 30, i);
    together[static_cast<std::size_t>(i)] = bits(net.w1);
  });
  for (int i = 0; i < 2; ++i) {
    in_threads(1, [&](int) {
      ad::manual_seed(static_cast<std::uint64_t>(i));
      Net net;
      train(net, 30, i);
      CHECK(bits(net.w1) == together[static_cast<std::size_t>(i)]);
    });
  }
}

TEST_CASE("handles are copied and destroyed on any thread, of pending, computed and differentiable tensors") {
  for (int repeat = 0; repeat < 20; ++repeat) {
    const Tensor w = ad::rand({4}).requires_grad_();
    std::vector<Tensor> shared;
    Tensor y = w;
    for (int i = 0; i < 200; ++i) {
      y = i % 3 ? y * 1.01f : ad::tanh(y) + w;
      shared.push_back(y);
      if (i == 100) ad::eval(y);
    }
    std::vector<std::vector<Tensor>> each(4, shared);
    shared.clear();
    y = Tensor();
    in_threads(4, [&](int i) {
      std::vector<Tensor>& mine = each[static_cast<std::size_t>(i)];
      std::vector<Tensor> copies(mine.begin(), mine.end());
      mine.clear();
      while (copies.size() > 1) {
        const Tensor moved = std::move(copies[copies.size() / 2]);
        copies.erase(copies.begin() + static_cast<std::ptrdiff_t>(copies.size() / 2));
        const Tensor another = moved;
        static_cast<void>(another);
      }
    });
  }
}

TEST_CASE("one thread drops handles while the one that recorded them computes") {
  for (int repeat = 0; repeat < 50; ++repeat) {
    const Tensor x = ad::rand({8});
    Tensor trunk = x * 2;
    std::vector<Tensor> held;
    for (int i = 0; i < 100; ++i) held.push_back(ad::exp(trunk) + i);
    const Tensor asked = trunk + 1;
    trunk = Tensor();
    std::atomic<bool> started{false};
    std::thread dropper([&, mine = std::move(held)]() mutable {
      started = true;
      for (Tensor& handle : mine) handle = Tensor();
    });
    while (!started) std::this_thread::yield();
    CHECK(asked.to_vector<float>()[0] >= 1);
    ad::detail::eval_pending();
    dropper.join();
  }
}

TEST_CASE("a pending graph is computed by any one thread, and all lookers get the same values") {
  for (int repeat = 0; repeat < 20; ++repeat) {
    const int before = ad::probe::executions;
    const Tensor x = ad::rand({1000});
    std::vector<Tensor> chain{ad::probe::counted(x)};
    for (int i = 0; i < 50; ++i) chain.push_back(ad::sin(ad::probe::counted(chain.back())));
    std::vector<std::vector<std::byte>> found(4);
    std::vector<const float*> pointers(4);
    in_threads(4, [&](int i) {
      // Some look at the end, some on the way.
      chain[static_cast<std::size_t>(i % 2 ? 50 : 10 * i + 5)].to_vector<float>();
      pointers[static_cast<std::size_t>(i)] = chain.back().data<float>();
      found[static_cast<std::size_t>(i)] = bits(chain.back());
    });
    for (const auto& each : found) CHECK(each == found[0]);
    for (const float* each : pointers) CHECK(each == pointers[0]);
    CHECK(ad::probe::executions == before + 51);  // and each node once
  }
}

TEST_CASE("graphs of several threads that read each other are computed from any of them") {
  for (int repeat = 0; repeat < 20; ++repeat) {
    const int rounds = 4, count = 4;
    std::vector<Tensor> layer(count, ad::ones({4}));
    for (int round = 0; round < rounds; ++round) {
      std::vector<Tensor> next(count);
      in_threads(count, [&](int i) {
        Tensor sum = layer[0];
        for (int k = 1; k < count; ++k) sum = sum + layer[static_cast<std::size_t>(k)];
        next[static_cast<std::size_t>(i)] = sum * 0.25f + i;
      });
      layer = next;
    }
    std::vector<double> expected(count, 1.0);
    for (int round = 0; round < rounds; ++round) {
      double sum = 0;
      for (double v : expected) sum += v;
      for (int i = 0; i < count; ++i) expected[static_cast<std::size_t>(i)] = sum * 0.25 + i;
    }
    in_threads(count, [&](int i) {
      const auto k = static_cast<std::size_t>(i);
      CHECK(layer[k][0].item<float>() == doctest::Approx(expected[k]));
    });
  }
}

TEST_CASE("a thread looks at a graph while the one that recorded it differentiates it") {
  for (int repeat = 0; repeat < 30; ++repeat) {
    const Tensor w = ad::rand({16}).requires_grad_();
    Tensor y = w;
    for (int i = 0; i < 50; ++i) y = ad::tanh(y) * 1.5f + w;
    const Tensor loss = ad::sum(y);
    float seen = 0;
    std::thread looker([&seen, loss] { seen = loss.item<float>(); });
    const Tensor g = ad::autograd::grad({loss}, {w}, {{}, true})[0];
    const std::vector<float> gradient = g.to_vector<float>();
    looker.join();
    CHECK(seen == loss.item<float>());
    CHECK(gradient == ad::autograd::grad({loss}, {w})[0].to_vector<float>());
  }
}

TEST_CASE("objects that are destroyed at the end of a thread may still compute") {
  struct Last {
    Tensor x;
    std::vector<float>* found = nullptr;
    ~Last() { *found = (ad::tanh(x * 2) + 1).to_vector<float>(); }
  };
  std::vector<float> expected, found;
  std::thread([&] {
    thread_local Last last;  // made before what the engine keeps for the thread, and so destroyed after it
    last.x = ad::ones({5});
    last.found = &found;
    expected = (ad::tanh(last.x * 2) + 1).to_vector<float>();
  }).join();
  CHECK(found.size() == 5);
  CHECK(found == expected);
}

TEST_CASE("what a thread recorded outlives it, and its successor starts afresh") {
  Tensor y, loss;
  const Tensor w = ad::ones({3}).requires_grad_();
  in_threads(1, [&](int) {
    y = w * 3;
    loss = ad::sum(ad::exp(y) * 0 + y);
    ad::set_num_threads(1);
    ad::manual_seed(123);
    alignas(ad::NoGradGuard) static std::byte place[sizeof(ad::NoGradGuard)];
    ::new (place) ad::NoGradGuard;  // never ends: grad mode is off when the thread does
  });
  in_threads(1, [&](int) {
    CHECK(ad::is_grad_enabled());
    CHECK(ad::default_generator().seed() == 0);
    CHECK(ad::detail::ThreadState::get().pending.empty());
    CHECK(y.to_vector<float>() == std::vector<float>{3, 3, 3});
  });
  loss.backward();
  CHECK(w.grad().to_vector<float>() == std::vector<float>{3, 3, 3});
}

TEST_CASE("threads that only free, and threads that come and go, do not keep memory") {
  const std::int64_t before = ad::memory::stats().live;
  for (int i = 0; i < 200; ++i) {
    std::vector<Tensor> made;
    for (int k = 0; k < 100; ++k) made.push_back(ad::rand({64}) + k);
    std::thread([moved = std::move(made)]() mutable { moved.clear(); }).join();
  }
  CHECK(ad::memory::stats().live == before);
}

TEST_CASE("grad mode, eager mode and the number of threads are each thread's own") {
  const int threads = ad::get_num_threads();
  const ad::NoGradGuard no_grad;
  const ad::EagerGuard eager;
  ad::set_num_threads(3);
  in_threads(2, [&](int) {
    CHECK(ad::is_grad_enabled());
    CHECK_FALSE((ad::ones({2}) + 1).is_computed());
    CHECK(ad::get_num_threads() == omp_get_max_threads());
    ad::set_num_threads(2);
    CHECK(ad::get_num_threads() == 2);
  });
  CHECK(ad::get_num_threads() == 3);
  ad::set_num_threads(threads);
  CHECK_THROWS_AS(ad::set_num_threads(0), ad::ValueError);
  CHECK(ad::get_num_threads() == threads);
}

// -- the team ---------------------------------------------------------------------------------------------------------

TEST_CASE("the host's OpenMP settings are as they were, also after an error, and inside its own parallel regions") {
  const int before = omp_get_max_threads(), dynamic = omp_get_dynamic(), levels = omp_get_max_active_levels();
  const int mine = ad::get_num_threads();
  for (int threads : {1, 2, 4}) {
    ad::set_num_threads(threads);
    const Tensor x = ad::rand({300, 300});
    ad::sum(ad::matmul(x, x)).item<float>();
    CHECK(omp_get_max_threads() == before);
    CHECK_THROWS_AS(ad::eval(ad::probe::failing()), ad::ValueError);
    CHECK(omp_get_max_threads() == before);
    const Tensor transposed = x.t();
    transposed.data<float>();  // copies, in a team
    CHECK(omp_get_max_threads() == before);
  }
  omp_set_num_threads(3);
  ad::sum(ad::rand({200000})).item<float>();
  CHECK(omp_get_max_threads() == 3);
  omp_set_num_threads(before);
  CHECK(omp_get_dynamic() == dynamic);
  CHECK(omp_get_max_active_levels() == levels);

  const float expected = ad::sum(ad::ones({100000}) * 2).item<float>();
  std::vector<float> found(2, expected);
#pragma omp parallel num_threads(2)
  {
    const int own = ad::get_num_threads();
    ad::set_num_threads(4);
    found[static_cast<std::size_t>(omp_get_thread_num())] = ad::sum(ad::ones({100000}) * 2).item<float>();
    ad::set_num_threads(own);
  }
  CHECK(found == std::vector<float>(2, expected));
  ad::set_num_threads(mine);
}

TEST_CASE("the team is leased to one caller at a time") {
  const int mine = ad::get_num_threads();
  ad::set_num_threads(2);
  if (omp_get_thread_limit() > 1) {
    const ad::detail::TeamLease lease;
    CHECK(omp_get_max_threads() == 2);
    in_threads(1, [](int) {
      ad::set_num_threads(2);
      const ad::detail::TeamLease second;
      CHECK(omp_get_max_threads() == 1);
    });
  }
  // One that is set to 1 never leases: its neighbours get the team.
  ad::set_num_threads(1);
  const ad::detail::TeamLease none;
  CHECK(omp_get_max_threads() == 1);
  in_threads(1, [](int) {
    ad::set_num_threads(2);
    const ad::detail::TeamLease lease;
    CHECK(omp_get_max_threads() == 2);
  });
  ad::set_num_threads(mine);
}

TEST_CASE("a thread that is done takes over chunks of another one's") {
  if (omp_get_thread_limit() < 3) return;
  const int mine = ad::get_num_threads();
  for (const int threads : {2, 3}) {
    ad::set_num_threads(threads);
    const ad::detail::TeamLease lease;
    constexpr std::int64_t count = 20;
    REQUIRE(ad::detail::team_size(count) == threads);
    std::vector<std::atomic<int>> done(count);
    std::atomic<std::int64_t> others{0};
    const auto before = std::chrono::steady_clock::now();
    bool waited_in_vain = false;
    ad::detail::parallel_for(count, [&](std::int64_t chunk) {
      // The first is not done before all others are.
      while (chunk == 0 && others < count - 1 && !waited_in_vain) {
        waited_in_vain = std::chrono::steady_clock::now() - before > std::chrono::seconds(60);
        std::this_thread::yield();
      }
      ++done[static_cast<std::size_t>(chunk)];
      if (chunk != 0) ++others;
    });
    CHECK(!waited_in_vain);
    for (const std::atomic<int>& times : done) CHECK(times == 1);
  }
  ad::set_num_threads(mine);
}

namespace {

/// Elementwise work, reductions and random numbers around the size of a thread's chunk (32768 elements).
std::vector<std::vector<std::byte>> work(bool thorough) {
  std::vector<std::vector<std::byte>> results;
  const auto add = [&](const Tensor& x) { results.push_back(bits(x)); };
  ad::Generator generator(7);
  using Sizes = std::vector<std::int64_t>;
  for (std::int64_t n : thorough ? Sizes{1000, 32767, 32768, 32769, 65535, 65536, 65537, 131071, 1000003}
                                 : Sizes{32767, 32769, 65535, 65537}) {
    const Tensor x = ad::randn({n}, ad::float32, generator);
    const Tensor d = ad::rand({n / 3}, ad::float64, generator);
    add(x);
    add(ad::tanh(x) * x + ad::exp(-ad::abs(x)));
    add(ad::sum(x));
    add(ad::mean(d));
    add(ad::logsumexp(x, {}));
    add(ad::argmax(x));
    add(ad::amin(x));
    add(x > 0.5f);
    add(ad::sum(x > 0));
    add(ad::randint(-5, 1000, {n}, ad::int64, generator));
    add(ad::bernoulli(ad::sigmoid(x), generator));
    add(ad::cast(x * 100, ad::int32));
  }
  using Shapes = std::vector<ad::Shape>;
  for (const ad::Shape& shape : thorough
                                    ? Shapes{{1, 100003},
                                             {100003, 1},
                                             {2, 32769},
                                             {32769, 2},
                                             {256, 257},
                                             {1021, 1031},
                                             {64, 65, 67},
                                             {3, 70000, 2},
                                             {40, 3, 1000},
                                             {70000, 3, 2},
                                             {2, 3, 70000},
                                             {7, 9, 11, 13, 5},
                                             {300, 2, 1, 300}}
                                    : Shapes{{1, 70001}, {33000, 2}, {200, 257}, {3, 11000, 2}, {5, 7, 11, 9, 13}}) {
    const Tensor x = ad::randn(shape, ad::float32, generator);
    std::vector<Tensor> views{x, x.transpose(0, -1)};
    if (thorough) views.insert(views.end(), {x[ad::Slice({}, {}, 2)], ad::flip(x, 0)});
    for (const Tensor& y : views) {
      add(y * 2 + 1);
      add(ad::sum(y));
      for (int d = 0; d < y.dim(); ++d) {
        add(ad::sum(y, d));
        add(ad::amax(y, d));
        add(ad::argmin(y, d));
      }
      if (y.dim() > 2) {
        add(ad::sum(y, {0, -1}));
        add(ad::sum(y, {1, 2}));
        add(ad::var(y, {0, 1}));
        add(ad::softmax(y, 1));
      }
      add(y + ad::sum(y, 0, true));
    }
  }
  add(ad::randperm(70000, generator));
  add(ad::gather(ad::arange(100000) * 3, 0, ad::randint(0, 100000, {70000}, ad::int64, generator)));
  return results;
}

}  // namespace

namespace {

void check_bits(bool thorough) {
  const int before = ad::get_num_threads();
  ad::set_num_threads(1);
  const auto expected = work(thorough);
  for (int threads : {2, 3, 4}) {
    CAPTURE(threads);
    ad::set_num_threads(threads);
    const auto found = work(thorough);
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      CAPTURE(i);
      CHECK(found[i] == expected[i]);
    }
  }
  ad::set_num_threads(before);
}

}  // namespace

TEST_CASE("elementwise work, reductions and random numbers have the same bits at any number of threads") {
  check_bits(false);
}

TEST_CASE("the same, of more shapes" * doctest::test_suite("slow")) { check_bits(true); }

TEST_CASE("a training step has the same bits alone and beside neighbours, with a fixed number of threads") {
  const auto run = [] {
    ad::set_num_threads(1);
    ad::manual_seed(3);
    Net net;
    train(net, 10, 4);
    return bits(net.w1);
  };
  std::vector<std::byte> alone;
  in_threads(1, [&](int) { alone = run(); });
  std::atomic<bool> done{false};
  std::thread neighbour([&] {
    ad::set_num_threads(2);
    while (!done) ad::sum(ad::rand({200000})).item<float>();
  });
  std::vector<std::byte> beside;
  in_threads(1, [&](int) { beside = run(); });
  done = true;
  neighbour.join();
  CHECK(alone == beside);
}

// -- looking changes nothing ------------------------------------------------------------------------------------------

TEST_CASE("the bits of a result do not depend on who looked at what, or when") {
  enum class Mode { unlooked, every, some, backwards, eager, pending };
  const auto run = [](unsigned seed, Mode mode) {
    ad::Generator generator(seed);
    std::vector<Tensor> values{ad::randn({12, 20}, ad::float32, generator), ad::randn({12, 20}, ad::float32, generator),
                               ad::rand({12, 20}, ad::float32, generator).requires_grad_()};
    std::optional<ad::EagerGuard> eager;
    if (mode == Mode::eager) eager.emplace();
    unsigned state = seed * 2654435761u + 1;
    const auto pick = [&](std::size_t n) {
      state = state * 1664525u + 1013904223u;
      return static_cast<std::size_t>(state >> 16) % n;
    };
    const ad::Shape shape{12, 20};
    for (int i = 0; i < 40; ++i) {
      const Tensor a = values[pick(values.size())], b = values[pick(values.size())];
      Tensor r;
      switch (pick(10)) {
        case 0:
          r = ad::tanh(a) * b;
          break;
        case 1:
          r = a - ad::mean(a, 1, true);
          break;
        case 2:
          r = ad::matmul(a, b.t()).index({ad::Ellipsis, ad::Slice(0, 10)}).reshape({6, 20});
          r = ad::tanh(ad::cat({r, r * 0.5f}));
          break;
        case 3:
          r = a.t().reshape(shape);
          break;
        case 4:
          r = ad::softmax(a, 0) + ad::sum(b, 0);
          break;
        case 5:
          r = ad::flip(a, 1) * 0.5f + ad::amax(b.t(), 1).reshape({1, 20})[0][3];
          break;
        case 6:
          r = ad::broadcast_to(ad::var(a.reshape({3, 4, 20}), {0, 2}, 1, true), {3, 4, 20}).reshape(shape);
          break;
        case 7:
          r = ad::where(a > b, a, b * 0.1f);
          break;
        case 8:
          r = ad::dropout(a, 0.3, true, generator);
          break;
        default:
          r = ad::sigmoid(a.index({ad::Slice({}, {}, -1)})) / (ad::abs(b) + 1);
      }
      values.push_back(r);
      if (mode == Mode::every) r.data<float>();
      if (mode == Mode::some && i % 7 == 3) ad::to_string(r[0]);
      if (mode == Mode::pending && i % 11 == 5) ad::detail::eval_pending();
    }
    if (mode == Mode::backwards)
      for (std::size_t i = values.size(); i-- > 0;) values[i].data<float>();
    const Tensor w = values[2];
    Tensor loss = ad::sum(ad::tanh(values.back()) + values[values.size() - 2] + w);
    if (mode != Mode::every) values.resize(3);  // dropped, where somebody else holds on to them
    loss.backward();
    auto result = bits(w.grad());
    const auto more = bits(loss);
    result.insert(result.end(), more.begin(), more.end());
    return result;
  };
  for (unsigned seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    const auto expected = run(seed, Mode::unlooked);
    for (const Mode mode : {Mode::every, Mode::some, Mode::backwards, Mode::eager, Mode::pending}) {
      CAPTURE(static_cast<int>(mode));
      CHECK(run(seed, mode) == expected);
    }
  }
}
