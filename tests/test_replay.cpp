// Plans that are kept: found again when nothing that decides how to compute has changed, and only then.
#include "core/thread_state.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <functional>
#include <vector>

namespace ad = adjoint;
namespace nn = adjoint::nn;
using ad::Tensor;
using ad::detail::ThreadState;

namespace {

std::uint64_t replays() { return ThreadState::get().replays; }

/// Whether computing what `f` returns takes a plan that was kept.
bool is_replayed(const std::function<Tensor()>& f) {
  const std::uint64_t before = replays();
  ad::eval(f());
  return replays() > before;
}

/// Computes it until its plan is kept.
void keep(const std::function<Tensor()>& f) {
  for (int i = 0; i < 3; ++i) ad::eval(f());
  REQUIRE(is_replayed(f));
}

}  // namespace

TEST_CASE("a plan is kept when it is seen for the second time, and values are not part of it") {
  const Tensor x = ad::randn({5, 6}), y = ad::randn({5, 6});
  ad::eval(x, y);
  const auto f = [](const Tensor& a, const Tensor& b, double number) { return ad::tanh(a * b + number).sum(-1); };
  const auto first = [&] { return f(x, y, 1); };
  CHECK_FALSE(is_replayed(first));
  CHECK_FALSE(is_replayed(first));  // here it is made
  CHECK(is_replayed(first));
  CHECK(is_replayed([&] { return f(y, x, 2); }));
  const Tensor again = f(y, x, 3);
  ad::eval(again);
  const ad::engine::OptionsGuard without_replay({true, false, true});
  CHECK_FALSE(is_replayed(first));
  CHECK(ad::equal(again, f(y, x, 3)));
}

TEST_CASE("what decides how to compute is part of the plan") {
  const Tensor x = ad::randn({4, 6}), y = ad::randn({4, 6});
  ad::eval(x, y);
  keep([&] { return (x + y).sum(-1) * 2; });
  SUBCASE("shapes") {
    const Tensor a = ad::randn({6, 4}), b = ad::randn({6, 4});
    ad::eval(a, b);
    CHECK_FALSE(is_replayed([&] { return (a + b).sum(-1) * 2; }));
  }
  SUBCASE("dtypes") {
    const Tensor a = x.to(ad::float64), b = y.to(ad::float64);
    ad::eval(a, b);
    CHECK_FALSE(is_replayed([&] { return (a + b).sum(-1) * 2; }));
  }
  SUBCASE("operations") {
    CHECK_FALSE(is_replayed([&] { return (x - y).sum(-1) * 2; }));
    CHECK_FALSE(is_replayed([&] { return (x + y).sum(0) * 2; }));
    CHECK_FALSE(is_replayed([&] { return 2 + (x + y).sum(-1); }));
  }
  SUBCASE("what is read twice") {
    keep([&] { return (x * x).sum(-1) * 2; });
    CHECK_FALSE(is_replayed([&] { return (x * y).sum(-1) * 2; }));
  }
  SUBCASE("what is held") {
    Tensor held;
    const auto f = [&] {
      held = x + y;
      return held.sum(-1) * 2;
    };
    CHECK_FALSE(is_replayed(f));
    CHECK(ad::equal(held, x + y));
  }
  SUBCASE("what a derivative will read") {
    Tensor leaf = x.detach().requires_grad_();
    const auto f = [&] { return (ad::exp(leaf) + y).sum(-1) * 2; };
    keep([&] { return (ad::exp(x) + y).sum(-1) * 2; });
    const std::uint64_t before = replays();
    Tensor loss = f();
    ad::eval(loss);
    CHECK(replays() == before);
    loss.sum().backward();
    CHECK(ad::allclose(leaf.grad(), 2 * ad::exp(x)));
  }
}

TEST_CASE("inputs that lie in another way are found by the program of the step") {
  const Tensor x = ad::randn({5, 5}), y = ad::randn({5, 5});
  const Tensor flipped = ad::flip(x, {0, 1}), across = x.t(), repeated = ad::randn({5, 1}).expand({5, 5});
  ad::eval(x, y, flipped, across, repeated);
  const auto f = [](const Tensor& a, const Tensor& b) { return ad::softmax(a * 2 + b, -1); };
  keep([&] { return f(x, y); });
  for (const Tensor& other : {flipped, across, repeated, x}) {
    CHECK(is_replayed([&] { return f(other, y); }));
    const Tensor replayed = f(other, y), both = f(other, other);
    ad::eval(replayed, both);
    const ad::engine::OptionsGuard without_replay({true, false, true});
    CHECK(ad::equal(replayed, f(other, y)));
    CHECK(ad::equal(both, f(other, other)));
  }
}

TEST_CASE("groups of one structure are computed by one program, where their inputs lie alike") {
  const Tensor x = ad::randn({40, 40}), across = ad::randn({40, 40}).t(), z = ad::randn({40, 40});
  ad::eval(x, across, z);
  const auto f = [&](const Tensor& a, const Tensor& b, const Tensor& c) {
    std::vector<Tensor> results;
    for (const Tensor& t : {a, b, c}) results.push_back(ad::tanh(ad::exp(t) * 2 + 1).detach() * 3);
    ad::eval(results);
    return results;
  };
  for (int i = 0; i < 4; ++i) f(x, z, x);
  for (const bool is_across : {true, false, true}) {
    const std::vector<Tensor> replayed = f(x, is_across ? across : z, z);
    const ad::engine::OptionsGuard without_replay({true, false, true});
    const std::vector<Tensor> planned = f(x, is_across ? across : z, z);
    for (std::size_t i = 0; i < planned.size(); ++i) CHECK(ad::equal(replayed[i], planned[i]));
  }
}

TEST_CASE("what is pending as before, but not asked for, is not computed") {
  const Tensor x = ad::randn({5}), y = ad::randn({5});
  ad::eval(x, y);
  Tensor p, q;
  const auto record = [&] {
    p = ad::exp(x) * 2;
    q = ad::tanh(y) * 2;
  };
  for (int i = 0; i < 4; ++i) {
    record();
    const std::uint64_t before = replays();
    ad::eval(p, q);
    CHECK((i < 2 || replays() > before));
  }
  record();
  SUBCASE("one") { ad::eval(p); }
  SUBCASE("one twice") { ad::eval(p, p); }
  SUBCASE("more is pending") {
    const Tensor more = q + 1;
    ad::eval(p);
    CHECK_FALSE(more.is_computed());
  }
  CHECK(p.is_computed());
  CHECK_FALSE(q.is_computed());
  CHECK(ad::allclose(q, ad::tanh(y) * 2));
}

TEST_CASE("random numbers and the positions of slices are operands") {
  const Tensor x = ad::randn({8, 5});
  ad::eval(x);
  for (int i = 0; i < 6; ++i) {
    ad::manual_seed(i);
    const std::uint64_t before = replays();
    const Tensor noisy = ad::slice(x, 0, i, i + 2) * 3 + ad::rand({2, 5});
    ad::eval(noisy);
    CHECK((replays() > before) == (i > 1));
    const ad::engine::OptionsGuard without_replay({true, false, true});
    ad::manual_seed(i);
    CHECK(ad::equal(noisy, ad::slice(x, 0, i, i + 2) * 3 + ad::rand({2, 5})));
  }
}

TEST_CASE("training with and without replay has the same bits") {
  const auto parameters_after_training = [] {
    ad::manual_seed(1);
    nn::Sequential net(nn::Linear(6, 16), nn::BatchNorm1d(16), nn::ReLU(), nn::Dropout(0.3), nn::Linear(16, 3));
    ad::optim::AdamW optimizer(net.parameters(), {});
    double total = 0;
    for (int step = 0; step < 12; ++step) {
      optimizer.set_lr(1e-2 / (step + 1));
      const Tensor x = ad::randn({step % 5 == 4 ? 7 : 8, 6}), target = ad::randint(0, 3, {x.size(0)});
      optimizer.zero_grad();
      const Tensor loss = nn::cross_entropy(net(x), target);
      if (step % 3 == 2) total += loss.item<double>();  // looked at before backward()
      loss.backward();
      ad::optim::clip_grad_norm_(net.parameters(), 1);
      optimizer.step();
      total += loss.item<double>();
    }
    std::vector<Tensor> result = net.parameters();
    for (Tensor& parameter : result) parameter = parameter.detach();
    result.push_back(ad::tensor(total));
    ad::eval(result);
    return result;
  };
  const std::uint64_t before = replays();
  const std::vector<Tensor> replayed = parameters_after_training();
  CHECK(replays() >= before + 5);
  const ad::engine::OptionsGuard without_replay({true, false, true});
  const std::vector<Tensor> planned = parameters_after_training();
  for (std::size_t i = 0; i < planned.size(); ++i) CHECK(ad::equal(replayed[i], planned[i]));
}

TEST_CASE("a failure in a replayed plan is thrown, and leaves cells as they were") {
  const Tensor table = ad::randn({4, 3});
  Tensor cell = ad::zeros({3}).requires_grad_(false);
  ad::eval(table, cell);
  const auto update = [&](std::int64_t position) {
    const Tensor index = ad::tensor(std::vector<std::int64_t>{position});
    cell.set_(ad::index_select(table, 0, index).reshape({3}) * 2 + cell);
    ad::eval(cell);
  };
  for (int i = 0; i < 4; ++i) update(i);
  const Tensor before = cell.detach();
  ad::eval(before);
  CHECK_THROWS_AS(update(9), ad::ValueError);
  CHECK(ad::equal(cell, before));
  update(1);
  CHECK(ad::equal(cell, before + 2 * table[1]));
}

TEST_CASE("what is kept is bounded") {
  const Tensor x = ad::randn({3});
  ad::eval(x);
  for (int length = 1; length < 600; ++length) {
    const auto f = [&] {
      Tensor y = x;
      for (int i = 0; i < length % 40 + 1; ++i) y = i % 7 == length % 7 ? y * 2 : y + length / 40;
      return y;
    };
    ad::eval(f());
    ad::eval(f());
  }
  CHECK(ad::equal(x * 1 + 1, x + 1));
}
