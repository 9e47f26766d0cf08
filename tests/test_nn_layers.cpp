// Layers, initial values, and the losses' errors (their values and gradients are in test_golden).
#include "message_of.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace ad = adjoint;
namespace nn = ad::nn;
using ad::Tensor;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Statistics {
  double mean = 0, deviation = 0, smallest = 0, largest = 0;
  explicit Statistics(const Tensor& x) {
    const std::vector<double> values = x.to(ad::float64).to_vector<double>();
    const auto n = static_cast<double>(values.size());
    smallest = largest = values.at(0);
    for (const double v : values) {
      mean += v / n;
      smallest = std::min(smallest, v);
      largest = std::max(largest, v);
    }
    for (const double v : values) deviation += (v - mean) * (v - mean) / n;
    deviation = std::sqrt(deviation);
  }
};

// The deviation of n values that are uniform on +-bound, or normal, is known to about 1/sqrt(n).
void check_uniform(const Tensor& x, double bound) {
  const Statistics s(x);
  const double tolerance = 5 / std::sqrt(static_cast<double>(x.numel()));
  CHECK(s.largest <= bound);
  CHECK(s.smallest >= -bound);
  CHECK(std::abs(s.mean) < tolerance * bound);
  CHECK(std::abs(s.deviation * std::sqrt(3.0) / bound - 1) < tolerance);
}

void check_normal(const Tensor& x, double mean, double deviation) {
  const Statistics s(x);
  const double tolerance = 5 / std::sqrt(static_cast<double>(x.numel()));
  CHECK(std::abs(s.mean - mean) < tolerance * deviation);
  CHECK(std::abs(s.deviation / deviation - 1) < tolerance);
  CHECK(s.largest > mean + 2 * deviation);
}

}  // namespace

TEST_CASE("Linear") {
  nn::Linear linear(3, 2, true, ad::float64);
  linear.weight = ad::tensor({{1.0, 2.0, 3.0}, {-1.0, 0.5, 0.0}}, ad::float64);
  linear.bias = ad::tensor({10.0, 20.0}, ad::float64);
  const Tensor x = ad::tensor({{1.0, 1.0, 1.0}, {0.0, 2.0, -1.0}}, ad::float64);
  CHECK(linear(x).to_vector<double>() == std::vector<double>{16, 19.5, 11, 21});
  CHECK(linear(x[0]).shape() == ad::Shape{2});
  CHECK(linear(ad::zeros({4, 5, 3}, ad::float64)).shape() == ad::Shape{4, 5, 2});

  const nn::Linear plain(3, 2, false);
  CHECK_FALSE(plain.bias.defined());
  CHECK(plain.parameters().size() == 1);
  CHECK(plain(ad::ones({3})).shape() == ad::Shape{2});
  CHECK(plain.weight.dtype() == ad::float32);

  CHECK_THROWS_AS(linear(ad::ones({2, 4}, ad::float64)), ad::ShapeError);
  CHECK_THROWS_AS(nn::Linear(0, 2), ad::ValueError);
  CHECK_THROWS_AS(nn::Linear(2, -1), ad::ValueError);
  CHECK_THROWS_AS(nn::Linear(2, 2, true, ad::int64), ad::DtypeError);
}

TEST_CASE("Linear starts as PyTorch's does, and from the seed") {
  ad::manual_seed(3);
  const nn::Linear a(400, 300);
  check_uniform(a.weight, 1 / 20.0);
  check_uniform(a.bias, 1 / 20.0);
  ad::manual_seed(3);
  const nn::Linear b(400, 300), c(400, 300);
  CHECK(ad::equal(a.weight, b.weight));
  CHECK(ad::equal(a.bias, b.bias));
  CHECK_FALSE(ad::equal(b.weight, c.weight));
}

TEST_CASE("activations, Flatten") {
  const Tensor x = ad::tensor({-2.0, 0.0, 1.5}, ad::float64);
  const auto expect = [&](const Tensor& y, double (*function)(double)) {
    const std::vector<double> values = y.to_vector<double>();
    for (std::size_t i = 0; i < values.size(); ++i)
      CHECK(values[i] == doctest::Approx(function(x.to_vector<double>()[i])).epsilon(1e-12));
  };
  expect(nn::ReLU()(x), [](double v) { return v > 0 ? v : 0; });
  expect(nn::Sigmoid()(x), [](double v) { return 1 / (1 + std::exp(-v)); });
  expect(nn::Tanh()(x), [](double v) { return std::tanh(v); });
  expect(nn::GELU()(x), [](double v) { return v * 0.5 * std::erfc(-v / std::sqrt(2.0)); });

  expect(nn::GELU(nn::Approximate::tanh)(x), [](double v) {
    return 0.5 * v * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (v + 0.044715 * v * v * v)));
  });
  expect(nn::SiLU()(x), [](double v) { return v / (1 + std::exp(-v)); });
  expect(nn::Softplus()(x), [](double v) { return std::log1p(std::exp(v)); });
  expect(nn::Softplus(3)(x), [](double v) { return std::log1p(std::exp(3 * v)) / 3; });
  expect(nn::ELU()(x), [](double v) { return v > 0 ? v : std::expm1(v); });
  expect(nn::ELU(0.5)(x), [](double v) { return v > 0 ? v : 0.5 * std::expm1(v); });
  expect(nn::LeakyReLU()(x), [](double v) { return v > 0 ? v : 0.01 * v; });
  expect(nn::LeakyReLU(0.25)(x), [](double v) { return v > 0 ? v : 0.25 * v; });
  expect(nn::Hardtanh()(x), [](double v) { return std::min(std::max(v, -1.0), 1.0); });
  expect(nn::Hardtanh(-0.5, 6)(x), [](double v) { return std::max(v, -0.5); });
  CHECK(nn::GELU().extra_repr().empty());
  CHECK(nn::GELU(nn::Approximate::tanh).extra_repr() == "approximate=tanh");
  CHECK(nn::Softplus(2.5).extra_repr() == "beta=2.5");
  CHECK(nn::ELU().extra_repr() == "alpha=1");
  CHECK(nn::LeakyReLU().extra_repr() == "negative_slope=0.01");
  CHECK(nn::Hardtanh(0, 6).extra_repr() == "min=0, max=6");
  CHECK_THROWS_AS(nn::Softplus(0), ad::ValueError);
  CHECK_THROWS_AS(nn::Hardtanh(1, 1), ad::ValueError);

  const Tensor image = ad::zeros({2, 3, 4, 5});
  CHECK(nn::Flatten()(image).shape() == ad::Shape{2, 60});
  CHECK(nn::Flatten(0, 1)(image).shape() == ad::Shape{6, 4, 5});
  CHECK(nn::Flatten(2).extra_repr() == "start_dim=2, end_dim=-1");
  CHECK_THROWS_AS(nn::Flatten(4)(image), ad::ShapeError);
}

TEST_CASE("Dropout") {
  nn::Dropout dropout(0.25);
  const Tensor x = ad::ones({10000});
  ad::manual_seed(1);
  const std::vector<float> y = dropout(x).to_vector<float>();
  int zeros = 0;
  for (const float v : y) {
    zeros += v == 0;
    CHECK((v == 0 || v == doctest::Approx(4.0 / 3)));
  }
  CHECK(std::abs(zeros - 2500) < 250);
  CHECK_FALSE(ad::equal(dropout(x), dropout(x)));
  dropout.eval();
  CHECK(ad::equal(dropout(x), x));
  CHECK_THROWS_AS(nn::Dropout(-0.1), ad::ValueError);
  CHECK_THROWS_AS(nn::Dropout(1.1), ad::ValueError);
  CHECK_THROWS_AS(nn::Dropout(std::nan("")), ad::ValueError);
}

TEST_CASE("initial values") {
  namespace init = nn::init;
  ad::manual_seed(5);
  nn::Parameter p = ad::zeros({200, 50, 2, 3});  // fan_in 300, fan_out 1200
  const Tensor handle = p;

  init::uniform_(p, -2, 2);
  check_uniform(handle, 2);
  init::normal_(p, 3, 0.5);
  check_normal(handle, 3, 0.5);
  init::kaiming_uniform_(p);
  check_uniform(handle, std::sqrt(6 / 300.0));
  init::kaiming_uniform_(p, std::sqrt(5.0));
  check_uniform(handle, 1 / std::sqrt(300.0));
  init::kaiming_uniform_(p, 0, init::FanMode::fan_out, init::Nonlinearity::tanh);
  check_uniform(handle, 5.0 / 3 * std::sqrt(3 / 1200.0));
  init::kaiming_normal_(p, 0, init::FanMode::fan_in, init::Nonlinearity::relu);
  check_normal(handle, 0, std::sqrt(2 / 300.0));
  init::xavier_uniform_(p, 2);
  check_uniform(handle, 2 * std::sqrt(6 / 1500.0));
  init::xavier_normal_(p);
  check_normal(handle, 0, std::sqrt(2 / 1500.0));
  init::constant_(p, 0.25);
  CHECK(ad::equal(handle, ad::full({200, 50, 2, 3}, 0.25)));
  init::ones_(p);
  CHECK(ad::equal(handle, ad::ones({200, 50, 2, 3})));
  init::zeros_(p);
  CHECK(ad::equal(handle, ad::zeros({200, 50, 2, 3})));
  CHECK(handle.requires_grad());
  CHECK(handle.is_leaf());

  Tensor plain = ad::zeros({30, 40}, ad::float64);
  init::xavier_normal_(plain).requires_grad_();
  check_normal(plain, 0, std::sqrt(2 / 70.0));
  CHECK(plain.dtype() == ad::float64);

  ad::Generator first(7), second(7);
  Tensor a = ad::zeros({5}), b = ad::zeros({5});
  CHECK(ad::equal(init::normal_(a, 0, 1, first), init::normal_(b, 0, 1, second)));

  CHECK(init::calculate_gain(init::Nonlinearity::leaky_relu, 0) == doctest::Approx(std::sqrt(2.0)));
  CHECK(init::calculate_gain(init::Nonlinearity::leaky_relu) == doctest::Approx(std::sqrt(2 / 1.0001)));
  CHECK(init::calculate_gain(init::Nonlinearity::linear) == 1);
  CHECK(init::calculate_gain(init::Nonlinearity::sigmoid) == 1);
  CHECK(init::calculate_gain(init::Nonlinearity::selu) == 0.75);

  Tensor vector = ad::zeros({3}), integers = ad::zeros({2, 2}, ad::int64), empty = ad::zeros({0, 3});
  CHECK_THROWS_AS(init::kaiming_uniform_(vector), ad::ShapeError);
  CHECK_THROWS_AS(init::xavier_normal_(vector), ad::ShapeError);
  CHECK_THROWS_AS(init::uniform_(integers), ad::DtypeError);
  CHECK_THROWS_AS(init::kaiming_normal_(integers), ad::DtypeError);
  CHECK_THROWS_AS(init::uniform_(vector, 1, 0), ad::ValueError);
  CHECK_THROWS_AS(init::normal_(vector, 0, -1), ad::ValueError);
  CHECK_THROWS_AS(init::normal_(vector, std::nan("")), ad::ValueError);
  CHECK(init::xavier_uniform_(empty).numel() == 0);
}

TEST_CASE("cross_entropy: bad input") {
  const Tensor logits = ad::zeros({3, 4});
  CHECK_THROWS_AS(nn::cross_entropy(logits, ad::zeros({2}, ad::int64)), ad::ShapeError);
  CHECK_THROWS_AS(nn::cross_entropy(logits, ad::zeros({3, 4}, ad::int64)), ad::ShapeError);
  CHECK_THROWS_AS(nn::cross_entropy(logits, ad::zeros({3})), ad::ShapeError);
  CHECK_THROWS_AS(nn::cross_entropy(ad::zeros({}), ad::zeros({}, ad::int64)), ad::ShapeError);
  CHECK_THROWS_AS(nn::cross_entropy(ad::zeros({3, 4}, ad::int64), ad::zeros({3}, ad::int64)), ad::DtypeError);
  CHECK_THROWS_AS(nn::cross_entropy(logits, ad::zeros({3}, ad::bool_)), ad::DtypeError);
  nn::CrossEntropyOptions options;
  options.weight = ad::ones({3});
  CHECK_THROWS_AS(nn::cross_entropy(logits, ad::zeros({3}, ad::int64), options), ad::ShapeError);
  options = {};
  for (const double smoothing : {-0.1, 1.1, std::nan("")}) {
    options.label_smoothing = smoothing;
    CHECK_THROWS_AS(nn::cross_entropy(logits, ad::zeros({3}, ad::int64), options), ad::ValueError);
  }
  CHECK(contains(message_of([&] { nn::cross_entropy(logits, ad::zeros({2}, ad::int64)); }),
                 "cross_entropy: target of shape (2,) does not fit input of shape (3, 4)"));

  // Labels outside of [0, C): found when computed, ignore_index excepted.
  for (const std::int64_t label : {-1, 4, 1000000}) {
    const Tensor loss = nn::cross_entropy(logits, ad::tensor({0, 1, label}));
    CHECK_THROWS_AS(loss.item<float>(), ad::ValueError);
    CHECK(contains(message_of([&] { loss.item<float>(); }), "cross_entropy: target"));
    CHECK_THROWS_AS(nn::nll_loss(logits, ad::tensor({0, 1, label})).item<float>(), ad::ValueError);
  }
  const Tensor labels = ad::tensor({0, 1, -100});
  CHECK(nn::cross_entropy(logits, labels).item<float>() == doctest::Approx(std::log(4.0)));
  options = {};
  options.ignore_index = 1;
  CHECK_THROWS_AS(nn::cross_entropy(logits, labels, options).item<float>(), ad::ValueError);
  CHECK(std::isnan(nn::cross_entropy(logits, ad::full({3}, -100)).item<float>()));
  CHECK(std::isnan(nn::cross_entropy(ad::zeros({0, 4}), ad::zeros({0}, ad::int64)).item<float>()));
}

TEST_CASE("cross_entropy: integers of any width, no gradient through ignored elements") {
  const Tensor labels = ad::tensor({2, 0});
  Tensor logits = ad::randn({2, 3});
  const Tensor expected = nn::cross_entropy(logits, labels);
  CHECK(ad::equal(nn::cross_entropy(logits, labels.to(ad::uint8)), expected));
  CHECK(ad::equal(nn::cross_entropy(logits, labels.to(ad::int32)), expected));
  logits.requires_grad_();
  nn::cross_entropy(logits, ad::tensor({1, -100})).backward();
  CHECK(ad::equal(logits.grad()[1], ad::zeros({3})));
  CHECK_FALSE(ad::equal(logits.grad()[0], ad::zeros({3})));
}

TEST_CASE("losses are differentiable twice") {
  const Tensor labels = ad::tensor({2, 0, -100});
  const Tensor weight = ad::tensor({1.0, 0.5, 2.0}, ad::float64);
  const Tensor x = ad::randn({3, 3}, ad::float64), y = ad::softmax(ad::randn({3, 3}, ad::float64), 1);
  CHECK(ad::gradgradcheck([&](const Tensor& t) { return nn::cross_entropy(t, labels, {weight, -100}); }, {x}));
  CHECK(ad::gradgradcheck([&](const Tensor& t) { return nn::binary_cross_entropy_with_logits(t, y); }, {x}));
  CHECK(ad::gradcheck([&](const Tensor& a, const Tensor& b) { return nn::cross_entropy(a, b); }, {x, y}));
}

TEST_CASE("the other losses: bad input, large logits") {
  const Tensor a = ad::zeros({3, 4}), b = ad::zeros({3, 1}), integers = ad::zeros({3, 4}, ad::int64);
  CHECK_THROWS_AS(nn::mse_loss(a, b), ad::ShapeError);
  CHECK_THROWS_AS(nn::l1_loss(a, b), ad::ShapeError);
  CHECK_THROWS_AS(nn::mse_loss(integers, integers), ad::DtypeError);
  CHECK_THROWS_AS(nn::l1_loss(integers, integers), ad::DtypeError);
  CHECK(nn::mse_loss(a, integers).item<float>() == 0);
  CHECK_THROWS_AS(nn::nll_loss(a, ad::zeros({4}, ad::int64)), ad::ShapeError);
  CHECK_THROWS_AS(nn::nll_loss(a, ad::zeros({3})), ad::DtypeError);
  CHECK_THROWS_AS(nn::nll_loss(integers, ad::zeros({3}, ad::int64)), ad::DtypeError);
  CHECK_THROWS_AS(nn::binary_cross_entropy_with_logits(a, b), ad::ShapeError);
  CHECK_THROWS_AS(nn::binary_cross_entropy_with_logits(a, integers), ad::DtypeError);
  nn::BceOptions options;
  options.weight = ad::zeros({2, 3, 4});
  CHECK_THROWS_AS(nn::binary_cross_entropy_with_logits(a, a, options), ad::ShapeError);

  // log(1 + exp(-x)) in float32, far out on both sides: no overflow, and no digits lost.
  Tensor x = ad::tensor({20.0f, -20.0f, 1e4f, -1e4f});
  x.requires_grad_();
  const Tensor target = ad::tensor({1.0f, 0.0f, 0.0f, 1.0f});
  options = {};
  options.reduction = nn::Reduction::none;
  const Tensor losses = nn::binary_cross_entropy_with_logits(x, target, options);
  const double tiny = std::log1p(std::exp(-20.0));
  const std::vector<float> values = losses.to_vector<float>();
  CHECK(values[0] == doctest::Approx(tiny).epsilon(1e-5));
  CHECK(values[1] == doctest::Approx(tiny).epsilon(1e-5));
  CHECK(values[2] == 1e4f);
  CHECK(values[3] == 1e4f);
  ad::sum(losses).backward();
  const std::vector<float> gradient = x.grad().to_vector<float>();
  CHECK(gradient[0] == doctest::Approx(-std::exp(-20.0)).epsilon(1e-5));
  CHECK(gradient[1] == doctest::Approx(std::exp(-20.0)).epsilon(1e-5));
  CHECK(gradient[2] == 1);
  CHECK(gradient[3] == -1);

  const Tensor large = nn::cross_entropy(ad::tensor({{1e30f, -1e30f}}), ad::tensor({0}));
  CHECK(large.item<float>() == 0);
}
