// What of the engine can be switched off: values stay the same, bit for bit.
#include "core/thread_state.hpp"
#include "message_of.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace ad = adjoint;
namespace nn = adjoint::nn;
using ad::Tensor;
using ad::detail::Switches;
using ad::detail::ThreadState;
using ad::engine::Options;
using ad::engine::OptionsGuard;

namespace {

Options without(bool Options::*option) {
  Options options;
  options.*option = false;
  return options;
}

/// The parameters after some steps of a training that has a bit of everything.
std::vector<Tensor> trained() {
  ad::manual_seed(3);
  nn::Sequential net(nn::Conv2d(2, 4, 3), nn::BatchNorm2d(4), nn::ReLU(), nn::Flatten(), nn::Linear(64, 16),
                     nn::LayerNorm(16), nn::GELU(), nn::Dropout(0.25), nn::Linear(16, 5));
  ad::optim::AdamWOptions options;
  options.lr = 1e-2;
  ad::optim::AdamW optimizer(net.parameters(), options);
  for (int i = 0; i < 4; ++i) {
    const Tensor x = ad::randn({6, 2, 6, 6}), labels = ad::randint(0, 5, {6});
    optimizer.zero_grad();
    Tensor loss = nn::cross_entropy(net(x), labels);
    if (i % 2) loss.item<float>();
    loss.backward();
    ad::optim::clip_grad_norm_(net.parameters(), 0.5);
    optimizer.step();
  }
  std::vector<Tensor> result;
  for (const auto& parameter : net.parameters()) result.push_back(parameter.detach());
  ad::eval(result);
  return result;
}

bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  bool same = a.size() == b.size();
  for (std::size_t i = 0; same && i < a.size(); ++i) {
    const std::vector<float> x = a[i].to_vector<float>(), y = b[i].to_vector<float>();
    same = x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  }
  return same;
}

/// The most bytes that were live while `f` was computed, beyond those before.
std::int64_t peak_of(const std::function<Tensor()>& f) {
  const std::int64_t before = ad::memory::stats().live;
  ad::memory::reset_peak();
  ad::eval(f());
  return ad::memory::stats().peak - before;
}

}  // namespace

TEST_CASE("options are the calling thread's, for as long as a guard lives") {
  const Options all = ad::engine::options();
  CHECK(all.fusion);
  CHECK(all.replay);
  CHECK(all.donation);
  {
    const OptionsGuard outer(without(&Options::fusion));
    CHECK_FALSE(ad::engine::options().fusion);
    CHECK(ad::engine::options().donation);
    {
      const OptionsGuard inner(without(&Options::donation));
      CHECK(ad::engine::options().fusion);
      CHECK_FALSE(ad::engine::options().donation);
    }
    CHECK_FALSE(ad::engine::options().fusion);
    std::thread([] { CHECK(ad::engine::options().fusion); }).join();
  }
  CHECK(ad::engine::options().fusion);
  // A thread leaves nothing behind.
  std::thread([] { ThreadState::get().replay = false; }).join();
  std::thread([] { CHECK(ad::engine::options().replay); }).join();
}

TEST_CASE("training gives the same bits without fusion, replay, donation, or all of them") {
  const std::vector<Tensor> expected = trained();
  for (const Options& options : {without(&Options::fusion), without(&Options::replay), without(&Options::donation),
                                 without(&Options::recomputation), Options{false, false, false, false}}) {
    CAPTURE(options.fusion);
    CAPTURE(options.replay);
    CAPTURE(options.donation);
    CAPTURE(options.recomputation);
    const OptionsGuard guard(options);
    CHECK(same_bits(trained(), expected));
  }
}

TEST_CASE("without replay no plan is found again") {
  const Tensor x = ad::randn({40});
  const auto replayed = [&] {
    const std::uint64_t before = ThreadState::get().replays;
    for (int i = 0; i < 4; ++i) ad::eval(ad::tanh(x * 2) + 1);
    return ThreadState::get().replays > before;
  };
  CHECK(replayed());
  const OptionsGuard guard(without(&Options::replay));
  CHECK_FALSE(replayed());
}

TEST_CASE("without donation no result takes the memory of an input, in groups and one by one") {
  const std::int64_t bytes = 4 << 20;
  Tensor x = ad::randn({bytes / 4});
  ad::eval(x);
  const auto one_by_one = [&] { return ad::exp(ad::sin(ad::cos(x))); };
  // The product is made by a step of its own, and nobody else reads it.
  const Tensor a = ad::randn({1024, 4}), b = ad::randn({4, 1024});
  ad::eval(a, b);
  const auto group = [&] { return ad::sin(ad::matmul(a, b)) + 1; };
  {
    const OptionsGuard guard({false, true, true});
    CHECK(peak_of(one_by_one) < bytes + bytes / 2);
  }
  CHECK(peak_of(group) < bytes + bytes / 2);
  const OptionsGuard without_both({false, true, false});
  CHECK(peak_of(one_by_one) >= 2 * bytes);
  const OptionsGuard guard(without(&Options::donation));
  CHECK(peak_of(group) >= 2 * bytes);
}

TEST_CASE("a list names what is switched off") {
  Switches switches;
  CHECK(switches.switch_off("") == nullptr);
  CHECK(switches.fuse);
  CHECK(switches.switch_off("no-donation,,no-fusion,") == nullptr);
  CHECK_FALSE(switches.fuse);
  CHECK_FALSE(switches.donate);
  CHECK(switches.replay);
  CHECK(std::string(switches.switch_off("no-replay,no-fusio,no-fusion")) == "no-fusio,no-fusion");
  CHECK(std::string(switches.switch_off("no-replays")) == "no-replays");
}

// ctest runs this program with ADJOINT_ENGINE as well.
TEST_CASE("what the environment switches off") {
  const char* list = std::getenv("ADJOINT_ENGINE");
  if (!list) return;
  Switches expected;
  if (expected.switch_off(list)) {
    const auto compute = [] { ad::eval(ad::ones({2}) + 1); };
    for (int i = 0; i < 2; ++i)
      CHECK(message_of(compute) ==
            "ADJOINT_ENGINE: 'no-fuson' is not known; it must be a list, separated by commas, of no-fusion, no-replay, "
            "no-donation and no-recomputation");
    CHECK_THROWS_AS(ad::engine::options(), ad::ValueError);
    CHECK_THROWS_AS(OptionsGuard{Options()}, ad::ValueError);
    return;
  }
  const auto check = [&] {
    const Options options = ad::engine::options();
    CHECK(options.fusion == expected.fuse);
    CHECK(options.replay == expected.replay);
    CHECK(options.donation == expected.donate);
  };
  check();
  std::thread(check).join();
}
