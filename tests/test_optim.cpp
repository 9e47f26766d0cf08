// Optimizers by hand; test_golden compares whole trainings with PyTorch.
#include "message_of.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace ad = adjoint;
namespace optim = ad::optim;
using ad::Tensor;

namespace {

Tensor leaf(double value, ad::Dtype dtype = ad::float64) { return ad::full({}, value, dtype).requires_grad_(); }

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("SGD against its formula") {
  for (const bool nesterov : {false, true}) {
    for (const double dampening : {0.0, 0.25}) {
      if (nesterov && dampening != 0) continue;
      CAPTURE(nesterov);
      CAPTURE(dampening);
      const Tensor p = leaf(2);
      optim::SGDOptions options;
      options.lr = 0.1;
      options.momentum = 0.5;
      options.dampening = dampening;
      options.nesterov = nesterov;
      options.weight_decay = 0.2;
      optim::SGD optimizer({p}, options);
      double x = 2, v = 0;
      for (int step = 0; step < 5; ++step) {
        optimizer.zero_grad();
        (p * p * p).backward();
        optimizer.step();
        const double g = 3 * x * x + 0.2 * x;
        v = step == 0 ? g : 0.5 * v + (1 - dampening) * g;
        x -= 0.1 * (nesterov ? g + 0.5 * v : v);
        CHECK(p.item<double>() == doctest::Approx(x).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("Adam against its formula") {
  for (const ad::Dtype dtype : {ad::float64, ad::float32}) {
    const Tensor p = leaf(2, dtype);
    optim::AdamOptions options;
    options.lr = 0.1;
    options.betas = {0.8, 0.9};
    options.eps = 1e-3;
    options.weight_decay = 0.2;
    optim::Adam optimizer({p}, options);
    double x = 2, m = 0, v = 0;
    for (int t = 1; t <= 5; ++t) {
      optimizer.zero_grad();
      (p * p * p).backward();
      optimizer.step();
      const double g = 3 * x * x + 0.2 * x;
      m = 0.8 * m + 0.2 * g;
      v = 0.9 * v + 0.1 * g * g;
      x -= 0.1 * (m / (1 - std::pow(0.8, t))) / (std::sqrt(v / (1 - std::pow(0.9, t))) + 1e-3);
      CHECK(p.item<double>() == doctest::Approx(x).epsilon(dtype == ad::float64 ? 1e-12 : 1e-6));
      CHECK(p.dtype() == dtype);
    }
  }
}

TEST_CASE("AdamW against its formula") {
  for (const ad::Dtype dtype : {ad::float64, ad::float32}) {
    const Tensor p = leaf(2, dtype);
    optim::AdamWOptions options;
    CHECK(options.weight_decay == 1e-2);
    options.lr = 0.1;
    options.weight_decay = 0.2;
    optim::AdamW optimizer({p}, options);
    double x = 2, m = 0, v = 0;
    for (int t = 1; t <= 5; ++t) {
      optimizer.zero_grad();
      (p * p * p).backward();
      optimizer.step();
      const double g = 3 * x * x;
      x -= 0.1 * 0.2 * x;
      m = 0.9 * m + 0.1 * g;
      v = 0.999 * v + 0.001 * g * g;
      x -= 0.1 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
      CHECK(p.item<double>() == doctest::Approx(x).epsilon(dtype == ad::float64 ? 1e-12 : 1e-6));
    }
  }
  CHECK(message_of([] { optim::AdamW({leaf(1), Tensor()}); }) == "AdamW: parameter 1 is undefined");
}

TEST_CASE("groups of parameters have options of their own, and else the common ones") {
  const Tensor a = leaf(1), b = leaf(1), c = leaf(1, ad::float32);
  optim::SGDGroup first{{a}}, second{{b, c}};
  first.options.lr = 0.5;
  optim::SGDOptions options;
  options.lr = 0.25;
  options.weight_decay = 1;
  optim::SGD optimizer({first, second}, options);
  CHECK(optimizer.group_count() == 2);
  CHECK(optimizer.lr() == 0.5);
  CHECK(optimizer.lr(1) == 0.25);
  CHECK(optimizer.parameters().size() == 3);
  const auto step = [&] {
    optimizer.zero_grad();
    (a + b + c.to(ad::float64)).backward();
    optimizer.step();
  };
  step();
  CHECK(a.item<double>() == 0);
  CHECK(b.item<double>() == 0.5);
  CHECK(c.item<float>() == 0.5f);
  optimizer.set_lr(1, 0);
  step();
  CHECK(a.item<double>() == -0.5);
  CHECK(b.item<double>() == 0.5);
  optimizer.set_lr(1);
  CHECK(optimizer.lr(0) == 1);
  CHECK(optimizer.lr(1) == 1);
  CHECK(message_of([&] { optimizer.set_lr(2, 0.1); }) == "SGD: set_lr: there is no group 2; there are 2");
  CHECK_THROWS_AS(optimizer.lr(2), ad::ValueError);
  CHECK_THROWS_AS(optimizer.set_lr(1, -1), ad::ValueError);
  CHECK(optimizer.lr(1) == 1);

  // One group's momentum is no other's, and so for every option.
  const Tensor p = leaf(1), q = leaf(1);
  optim::SGDGroup heavy{{p}}, light{{q}};
  heavy.options.momentum = 0.5;
  heavy.options.nesterov = true;
  heavy.options.dampening = 0;
  heavy.options.weight_decay = 0;
  options = {};
  options.lr = 1;
  optim::SGD mixed({heavy, light}, options);
  for (int i = 0; i < 2; ++i) {
    mixed.zero_grad();
    (p + q).backward();
    mixed.step();
  }
  CHECK(q.item<double>() == -1);
  CHECK(p.item<double>() == 1 - 1.5 - 1.75);
  CHECK(mixed.state_dict().at("0.momentum").item<double>() == 1.5);
  CHECK(mixed.state_dict().at("1.momentum").item<double>() == 0);

  // Bad ones.
  heavy.options.momentum = -1;
  CHECK_THROWS_AS(optim::SGD({heavy}), ad::ValueError);
  optim::AdamGroup adam{{leaf(1)}};
  adam.options.betas = {0.9, 1};
  CHECK(message_of([&] { optim::AdamW({adam, {{leaf(1)}}}); }) == "AdamW: betas.second must be in [0, 1), not 1");
  CHECK_THROWS_AS(optim::Adam(std::vector<optim::AdamGroup>{}), ad::ValueError);
  const Tensor twice = p;
  CHECK(message_of([&] {
          optim::Adam({{{p, q}}, {{twice}}});
        }) == "Adam: parameter 2 of shape () (group 1) is parameter 0 (group 0) again; each must be named once");
  CHECK_THROWS_AS(optim::SGD({p, p}), ad::ValueError);
}

TEST_CASE("frozen parameters are passed over, until they are thawed") {
  Tensor frozen = leaf(1), trained = leaf(1);
  frozen.requires_grad_(false);
  optim::Adam optimizer({frozen, trained});
  const auto step = [&] {
    optimizer.zero_grad();
    (ad::square(frozen) + ad::square(trained)).backward();
    optimizer.step();
  };
  step();
  step();
  CHECK(frozen.item<double>() == 1);
  CHECK(optimizer.state_dict().at("0.step").item<double>() == 0);
  frozen.requires_grad_();
  step();
  CHECK(frozen.item<double>() == doctest::Approx(1 - 1e-3));
  CHECK(optimizer.state_dict().at("0.step").item<double>() == 1);
  CHECK(optimizer.state_dict().at("1.step").item<double>() == 3);
  frozen.requires_grad_(false);
  CHECK(message_of([&] { optim::SGD({frozen}); }).find("SGD: none of the 1 parameters requires grad") == 0);
}

TEST_CASE("a parameter without gradient stays as it is, and its moments and count, too") {
  const Tensor a = leaf(1), b = leaf(1), c = leaf(1), alone = leaf(1);
  const Tensor single = leaf(1, ad::float32);
  optim::Adam optimizer({a, b, c, single}), of_alone({alone});
  for (int step = 0; step < 4; ++step) {
    optimizer.zero_grad();
    of_alone.zero_grad();
    ad::square(a).backward();
    if (step % 2 == 1) {
      ad::square(b).backward();
      ad::square(alone).backward();
    }
    optimizer.step();
    of_alone.step();
  }
  CHECK(c.item<double>() == 1);
  CHECK(single.item<float>() == 1);
  CHECK(b.item<double>() == alone.item<double>());
  CHECK(a.item<double>() < b.item<double>());
  const ad::StateDict state = optimizer.state_dict();
  CHECK(state.at("0.step").item<double>() == 4);
  CHECK(state.at("1.step").item<double>() == 2);
  CHECK(state.at("2.step").item<double>() == 0);
  CHECK(state.at("3.step").item<double>() == 0);
  CHECK(state.at("2.exp_avg").item<double>() == 0);
}

TEST_CASE("the learning rate may change, zero_grad clears, step computes") {
  const Tensor p = leaf(1);
  optim::SGD optimizer({p});
  CHECK(optimizer.lr() == 1e-3);
  optimizer.set_lr(0.5);
  ad::square(p).backward();
  optimizer.step();
  CHECK(p.is_computed());
  CHECK(p.item<double>() == 0);
  CHECK(p.is_leaf());
  CHECK(p.requires_grad());
  optimizer.zero_grad();
  CHECK_FALSE(p.grad().defined());
  optimizer.set_lr(0);
  CHECK_THROWS_AS(optimizer.set_lr(-1), ad::ValueError);
  CHECK_THROWS_AS(optimizer.set_lr(kNan), ad::ValueError);
  CHECK(optimizer.lr() == 0);
  CHECK(optimizer.parameters().size() == 1);
}

TEST_CASE("a step that fails changes nothing") {
  const Tensor p = ad::tensor({1.0, 2.0}, ad::float64).requires_grad_(), q = leaf(1);
  optim::Adam optimizer({p, q});
  const auto step = [&](int index) {
    optimizer.zero_grad();
    const Tensor loss = ad::sum(ad::index_select(p, 0, ad::tensor({index}))) + q;
    loss.backward();
    optimizer.step();
  };
  step(0);
  const std::vector<double> before = p.to_vector<double>();
  const double q_before = q.item<double>();
  CHECK_THROWS_AS(step(7), ad::ValueError);
  CHECK(p.to_vector<double>() == before);
  CHECK(q.item<double>() == q_before);
  const ad::StateDict state = optimizer.state_dict();
  CHECK(state.at("0.step").item<double>() == 1);
  CHECK(state.at("1.exp_avg").item<double>() == doctest::Approx(0.1));

  // And the next one works as if it had not been.
  const Tensor r = leaf(1);
  optim::Adam fresh({r});
  for (int i = 0; i < 2; ++i) {
    fresh.zero_grad();
    (r * 1).backward();
    fresh.step();
  }
  step(0);
  CHECK(q.item<double>() == r.item<double>());
}

TEST_CASE("state_dict and load_state_dict continue a training") {
  const auto train = [](const Tensor& p, const Tensor& q, optim::Optimizer& optimizer, int steps) {
    for (int i = 0; i < steps; ++i) {
      optimizer.zero_grad();
      (ad::square(p) * 3 + (i % 2 == 0 ? ad::square(q) : p)).backward();
      optimizer.step();
    }
  };
  const Tensor p = leaf(1), q = leaf(2);
  optim::Adam optimizer({p, q});
  train(p, q, optimizer, 3);
  const ad::StateDict state = optimizer.state_dict();
  const Tensor p2 = leaf(p.item<double>()), q2 = leaf(q.item<double>());
  optim::Adam second({p2, q2});
  second.load_state_dict(state);
  train(p, q, optimizer, 3);
  train(p2, q2, second, 3);
  CHECK(p.item<double>() == p2.item<double>());
  CHECK(q.item<double>() == q2.item<double>());

  const auto without = [&](const std::string& dropped) {
    ad::StateDict result;
    for (const auto& [name, tensor] : state)
      if (name != dropped) result.insert(name, tensor);
    return result;
  };
  CHECK_THROWS_AS(second.load_state_dict(without("1.exp_avg")), ad::ValueError);
  ad::StateDict wrong = without("1.exp_avg");
  wrong.insert("1.exp_avg", ad::zeros({2}, ad::float64));
  CHECK_THROWS_AS(second.load_state_dict(wrong), ad::ShapeError);
  wrong = without("1.exp_avg");
  wrong.insert("1.exp_avg", ad::zeros({}));
  CHECK_THROWS_AS(second.load_state_dict(wrong), ad::DtypeError);
  wrong = without("");
  wrong.insert("2.step", ad::zeros({}));
  CHECK_THROWS_AS(second.load_state_dict(wrong), ad::ValueError);
  optim::SGD sgd({leaf(1)});
  CHECK_THROWS_AS(sgd.load_state_dict(state), ad::ValueError);
}

TEST_CASE("bad options and parameters") {
  const std::vector<Tensor> good = {leaf(1)};
  CHECK_THROWS_AS(optim::SGD({}), ad::ValueError);
  CHECK_THROWS_AS(optim::Adam({}), ad::ValueError);
  CHECK_THROWS_AS(optim::SGD({Tensor()}), ad::ValueError);
  CHECK_THROWS_AS(optim::SGD({ad::zeros({2})}), ad::ValueError);
  CHECK_THROWS_AS(optim::SGD({leaf(1) * 2}), ad::ValueError);
  CHECK(message_of([] { optim::Adam({leaf(1), leaf(1) * 2}); }).find("Adam: parameter 1 of shape ()") == 0);

  const auto sgd_throws = [&](double optim::SGDOptions::*field, double value) {
    optim::SGDOptions options;
    options.*field = value;
    CHECK_THROWS_AS(optim::SGD(good, options), ad::ValueError);
  };
  const auto adam_throws = [&](double optim::AdamOptions::*field, double value) {
    optim::AdamOptions options;
    options.*field = value;
    CHECK_THROWS_AS(optim::Adam(good, options), ad::ValueError);
  };
  for (const double bad : {-1.0, kNan, kInfinity}) {
    sgd_throws(&optim::SGDOptions::lr, bad);
    sgd_throws(&optim::SGDOptions::momentum, bad);
    sgd_throws(&optim::SGDOptions::weight_decay, bad);
    adam_throws(&optim::AdamOptions::lr, bad);
    adam_throws(&optim::AdamOptions::eps, bad);
    adam_throws(&optim::AdamOptions::weight_decay, bad);
  }
  sgd_throws(&optim::SGDOptions::dampening, kNan);
  for (const double bad : {-0.1, 1.0, kNan}) {
    optim::AdamOptions options;
    options.betas = {bad, 0.9};
    CHECK_THROWS_AS(optim::Adam(good, options), ad::ValueError);
    options.betas = {0.9, bad};
    CHECK_THROWS_AS(optim::Adam(good, options), ad::ValueError);
  }
  optim::SGDOptions options;
  options.nesterov = true;
  CHECK_THROWS_AS(optim::SGD(good, options), ad::ValueError);
  options.momentum = 0.9;
  CHECK_NOTHROW(optim::SGD(good, options));
  options.dampening = 0.1;
  CHECK_THROWS_AS(optim::SGD(good, options), ad::ValueError);
}

TEST_CASE("an optimizer of one's own") {
  class SignDescent : public optim::Optimizer {
   public:
    SignDescent(std::vector<Tensor> parameters, double lr)
        : Optimizer("SignDescent", std::move(parameters), lr, {"count"}) {}

   private:
    Tensor update(const Tensor& p, const Tensor& g, std::vector<Tensor>& state, const ad::TensorList&) override {
      state[0] += 1;
      return p - lr() * ad::sign(g);
    }
  };
  const Tensor p = leaf(1);
  SignDescent optimizer({p}, 0.25);
  for (int i = 0; i < 3; ++i) {
    optimizer.zero_grad();
    ad::square(p).backward();
    optimizer.step();
  }
  CHECK(p.item<double>() == 0.25);
  CHECK(optimizer.state_dict().at("0.count").item<double>() == 3);
}

TEST_CASE("learning-rate schedulers") {
  const Tensor p = leaf(1);
  optim::SGDOptions options;
  options.lr = 0.5;
  optim::SGD optimizer({p}, options);
  optim::LRSchedulerOptions warm;
  warm.warmup_steps = 2;
  warm.warmup_start_factor = 0.5;
  optim::StepLR scheduler(optimizer, 1, 0.5, warm);
  const auto train = [&](optim::LRScheduler& s, int steps) {
    std::vector<double> rates;
    for (int i = 0; i < steps; ++i) {
      rates.push_back(optimizer.lr());
      p.set_grad(ad::ones({}, ad::float64));
      optimizer.step();
      s.step();
    }
    return rates;
  };
  CHECK(train(scheduler, 4) == std::vector<double>{0.25, 0.375, 0.5, 0.25});
  CHECK(p.item<double>() == 1 - 0.25 - 0.375 - 0.5 - 0.25);
  CHECK(scheduler.last_step() == 4);
  CHECK(scheduler.last_lr() == std::vector<double>{0.125});
  const ad::StateDict state = scheduler.state_dict();
  CHECK(train(scheduler, 2) == std::vector<double>{0.125, 0.0625});

  // Resumed: with an optimizer of the same options, whatever its learning rate is by now.
  optim::StepLR again(optimizer, 1, 0.5, warm);
  again.load_state_dict(state);
  CHECK(again.last_step() == 4);
  CHECK(train(again, 2) == std::vector<double>{0.125, 0.0625});
  // What set_lr() does lasts until the next step.
  optimizer.set_lr(3);
  again.step();
  CHECK(optimizer.lr() == 0.015625);

  ad::StateDict wrong;
  wrong.insert("last_step", ad::tensor(1));
  CHECK_THROWS_AS(again.load_state_dict(wrong), ad::ValueError);
  wrong.insert("initial_lr", ad::zeros({2}, ad::float64));
  CHECK_THROWS_AS(again.load_state_dict(wrong), ad::ShapeError);
  wrong = {};
  wrong.insert("last_step", ad::tensor(1.0));
  wrong.insert("initial_lr", ad::zeros({1}, ad::float64));
  CHECK_THROWS_AS(again.load_state_dict(wrong), ad::DtypeError);
  wrong = {};
  wrong.insert("last_step", ad::tensor(-1));
  wrong.insert("initial_lr", ad::zeros({1}, ad::float64));
  CHECK_THROWS_AS(again.load_state_dict(wrong), ad::ValueError);
  wrong = state;
  wrong.insert("other", ad::tensor(1));
  CHECK_THROWS_AS(again.load_state_dict(wrong), ad::ValueError);
  CHECK(again.last_step() == 7);
  CHECK(optimizer.lr() == 0.015625);

  // A schedule of one's own; one that goes wrong changes nothing.
  optimizer.set_lr(1);
  optim::LRScheduler own(optimizer, [](double initial, std::int64_t step) { return initial - 0.5 * double(step); });
  CHECK(train(own, 2) == std::vector<double>{1, 0.5});
  CHECK(message_of([&] { own.step(); }) == "LRScheduler: the learning rate must be finite and at least 0, not -0.5");
  CHECK(own.last_step() == 2);
  CHECK(optimizer.lr() == 0);

  CHECK_THROWS_AS(optim::LRScheduler(optimizer, nullptr), ad::ValueError);
  CHECK_THROWS_AS(optim::StepLR(optimizer, 0), ad::ValueError);
  CHECK_THROWS_AS(optim::StepLR(optimizer, 1, -0.1), ad::ValueError);
  CHECK_THROWS_AS(optim::CosineAnnealingLR(optimizer, 0), ad::ValueError);
  CHECK_THROWS_AS(optim::CosineAnnealingLR(optimizer, 1, kNan), ad::ValueError);
  warm.warmup_steps = -1;
  CHECK_THROWS_AS(optim::StepLR(optimizer, 1, 0.1, warm), ad::ValueError);
  for (const double bad : {0.0, 1.5, kNan}) {
    warm = {1, bad};
    CHECK_THROWS_AS(optim::StepLR(optimizer, 1, 0.1, warm), ad::ValueError);
  }
}

TEST_CASE("clip_grad_norm_") {
  const Tensor a = ad::zeros({2}, ad::float64).requires_grad_(), b = leaf(0), none = leaf(0);
  const Tensor single = ad::zeros({1}).requires_grad_(), empty = ad::zeros({0}).requires_grad_();
  const std::vector<Tensor> all = {a, b, none, single, empty};
  const auto set = [&] {
    a.set_grad(ad::tensor({3.0, -4.0}, ad::float64));
    b.set_grad(ad::full({}, -12.0, ad::float64));
    single.set_grad(ad::zeros({1}));
    empty.set_grad(ad::zeros({0}));
  };
  set();
  const Tensor norm = optim::clip_grad_norm_(all, 6.5);
  CHECK_FALSE(a.grad().is_computed());
  CHECK(norm.item<double>() == 13);
  CHECK(a.grad().to_vector<double>()[1] == doctest::Approx(-4 * 6.5 / (13 + 1e-6)).epsilon(1e-14));
  CHECK(b.grad().item<double>() == doctest::Approx(-12 * 6.5 / (13 + 1e-6)).epsilon(1e-14));
  CHECK(single.grad().dtype() == ad::float32);
  CHECK_FALSE(none.grad().defined());

  set();
  optim::clip_grad_norm_(all, 100);
  CHECK(a.grad().to_vector<double>() == std::vector<double>{3, -4});
  set();
  CHECK(optim::clip_grad_norm_(all, 1, kInfinity).item<double>() == 12);
  CHECK(a.grad().to_vector<double>()[0] == doctest::Approx(3 / (12 + 1e-6)).epsilon(1e-14));
  set();
  CHECK(optim::clip_grad_norm_(all, 1, 1).item<double>() == 19);
  set();
  CHECK(optim::clip_grad_norm_(all, 1, 3).item<double>() == doctest::Approx(std::cbrt(27. + 64 + 1728)));
  CHECK(optim::clip_grad_norm_({none}, 1).item<float>() == 0);
  CHECK(optim::clip_grad_norm_({}, 1).item<float>() == 0);
  CHECK_THROWS_AS(optim::clip_grad_norm_(all, -1), ad::ValueError);
  CHECK_THROWS_AS(optim::clip_grad_norm_(all, kNan), ad::ValueError);
  CHECK_THROWS_AS(optim::clip_grad_norm_(all, 1, 0), ad::ValueError);
}
