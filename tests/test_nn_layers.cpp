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

// -- normalisation ----------------------------------------------------------------------------------------------------

TEST_CASE("LayerNorm") {
  const nn::LayerNorm norm(4);
  CHECK(ad::equal(norm.weight, ad::ones({4})));
  CHECK(ad::equal(norm.bias, ad::zeros({4})));
  CHECK(norm.extra_repr() == "(4,)");
  const Tensor x = ad::randn({3, 4});
  CHECK(ad::equal(norm(x), ad::layer_norm(x, {4}, norm.weight, norm.bias)));
  const Statistics of_row(norm(x)[1]);
  CHECK(std::abs(of_row.mean) < 1e-6);
  CHECK(of_row.deviation == doctest::Approx(1).epsilon(1e-3));

  nn::LayerNormOptions options;
  options.bias = false;
  options.eps = 0.5;
  options.dtype = ad::float64;
  const nn::LayerNorm two({3, 4}, options);
  CHECK(two.parameters().size() == 1);
  CHECK(two.weight.shape() == ad::Shape{3, 4});
  CHECK(two.weight.dtype() == ad::float64);
  CHECK(two.extra_repr() == "(3, 4), eps=0.5, bias=false");
  options.elementwise_affine = false;
  const nn::LayerNorm plain({3, 4}, options);
  CHECK(plain.parameters().empty());
  const Tensor y = ad::randn({2, 3, 4}, ad::float64);
  CHECK(ad::equal(plain(y), ad::layer_norm(y, {3, 4}, {}, {}, 0.5)));

  CHECK(contains(message_of([&] {
                   norm(ad::ones({4, 3}));
                 }),
                 "layer_norm: the input of shape (4, 3) must end in the normalized_shape (4,)"));
  CHECK_THROWS_AS(norm(ad::ones({4, 3})), ad::ShapeError);
  CHECK_THROWS_AS(nn::LayerNorm(0), ad::ValueError);
  CHECK_THROWS_AS(nn::LayerNorm(ad::Shape{}), ad::ValueError);
  options.dtype = ad::int64;
  CHECK_THROWS_AS(nn::LayerNorm(4, options), ad::DtypeError);
  options = {};
  options.eps = -1;
  CHECK_THROWS_AS(nn::LayerNorm(4, options), ad::ValueError);
}

TEST_CASE("batch_norm assigns running statistics that are cells, in training alone") {
  const Tensor x = ad::randn({5, 3, 2}, ad::float64) * 2.0 + 1.0;
  Tensor mean = ad::ones({3}, ad::float64).requires_grad_(false),
         var = ad::ones({3}, ad::float64).requires_grad_(false);
  const Tensor handle = mean, plain = ad::ones({3}, ad::float64);
  ad::batch_norm(x, mean, var);
  ad::batch_norm(x, plain, plain, {}, {}, true);
  CHECK(ad::equal(mean, ad::ones({3}, ad::float64)));
  CHECK(ad::equal(plain, ad::ones({3}, ad::float64)));
  const Tensor y = ad::batch_norm(x, mean, var, {}, {}, true, 0.25);
  CHECK(ad::allclose(handle, 0.75 + 0.25 * ad::mean(x, {0, 2}), 1e-14));
  CHECK(ad::allclose(var, 0.75 + 0.25 * ad::var(x, {0, 2}), 1e-14));
  CHECK(ad::allclose(ad::mean(y, {0, 2}), ad::zeros({3}, ad::float64), 0, 1e-14));
  CHECK(ad::allclose(ad::var(y, {0, 2}, 0), ad::ones({3}, ad::float64), 1e-4));
  // Nothing to learn from an empty batch.
  const Tensor before = mean.detach();
  CHECK(ad::batch_norm(ad::zeros({0, 3}, ad::float64), mean, var, {}, {}, true).shape() == ad::Shape{0, 3});
  CHECK(ad::equal(mean, before));

  // The statistics are no part of the graph, with whatever gradients are wanted.
  Tensor leaf = x.detach().requires_grad_();
  ad::sum(ad::square(ad::batch_norm(leaf, mean, var, {}, {}, true))).backward();
  CHECK_FALSE(mean.requires_grad());
  CHECK(mean.is_leaf());
  const auto f = [&](const Tensor& t) { return ad::square(ad::batch_norm(t, mean, var, {}, {}, true)); };
  CHECK(ad::gradgradcheck(f, {x}));
}

TEST_CASE("a variance far from zero keeps its digits") {
  // Sums of squares would lose them all: the mean is 10^4 deviations, and float32 has 7 digits.
  const Tensor x = ad::tensor({{1e4f}, {1e4f + 1}, {1e4f + 2}, {1e4f + 3}});
  const std::vector<float> y = ad::batch_norm(x, {}, {}, {}, {}, true).to_vector<float>();
  CHECK(y[0] == doctest::Approx(-1.5 / std::sqrt(1.25 + 1e-5)).epsilon(1e-6));
  CHECK(y[3] == doctest::Approx(1.5 / std::sqrt(1.25 + 1e-5)).epsilon(1e-6));
  CHECK(ad::equal(ad::layer_norm(x.t(), {4}), ad::batch_norm(x, {}, {}, {}, {}, true).t()));
}

TEST_CASE("BatchNorm") {
  nn::BatchNorm2d norm(3);
  std::string names;
  for (const auto& [name, tensor] : norm.state_dict()) names += name + " " + ad::to_string(tensor.shape()) + ";";
  CHECK(names == "weight (3,);bias (3,);running_mean (3,);running_var (3,);num_batches_tracked ();");
  CHECK(norm.num_batches_tracked.dtype() == ad::int64);
  CHECK(norm.parameters().size() == 2);
  CHECK(norm.extra_repr() == "3");

  const Tensor x = ad::randn({4, 3, 5, 5}) * 3.0 + 2.0;
  const Tensor y = norm(x);
  CHECK(norm.num_batches_tracked.item<int>() == 1);
  CHECK(ad::allclose(norm.running_mean, 0.1 * ad::mean(x, {0, 2, 3}), 1e-5));
  CHECK(ad::allclose(norm.running_var, 0.9 + 0.1 * ad::var(x, {0, 2, 3}), 1e-5));
  CHECK(ad::equal(y, ad::batch_norm(x, {}, {}, norm.weight, norm.bias, true)));
  {
    const ad::NoGradGuard no_grad;
    norm(x);  // as in PyTorch the mode decides, not whether gradients are wanted
  }
  CHECK(norm.num_batches_tracked.item<int>() == 2);

  norm.eval();
  const std::vector<float> mean = norm.running_mean.to_vector<float>();
  CHECK(ad::equal(norm(x), ad::batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias)));
  CHECK(norm.running_mean.to_vector<float>() == mean);
  CHECK(norm.num_batches_tracked.item<int>() == 2);
  CHECK(norm(x[0].unsqueeze(0).index({ad::Ellipsis, ad::Slice(0, 1), ad::Slice(0, 1)})).shape() ==
        ad::Shape{1, 3, 1, 1});

  // A copy has statistics of its own, and the mode; an assignment sets them.
  nn::BatchNorm2d copy = norm;
  CHECK_FALSE(copy.is_training());
  copy.train();
  copy(x);
  CHECK(copy.num_batches_tracked.item<int>() == 3);
  CHECK(norm.num_batches_tracked.item<int>() == 2);
  norm = copy;
  CHECK(ad::equal(norm.running_mean, copy.running_mean));
  CHECK(norm.num_batches_tracked.item<int>() == 3);
  norm.to(ad::float64);
  CHECK(norm(x.to(ad::float64)).dtype() == ad::float64);
  CHECK(norm.num_batches_tracked.dtype() == ad::int64);

  nn::BatchNormOptions options;
  options.affine = false;
  options.track_running_stats = false;
  options.eps = 0.5;
  options.momentum.reset();
  const nn::BatchNorm1d plain(3, options);
  CHECK(plain.parameters().empty());
  CHECK(plain.buffers().empty());
  CHECK(plain.extra_repr() == "3, eps=0.5, momentum=none, affine=false, track_running_stats=false");
}

TEST_CASE("BatchNorm: bad input") {
  struct Net : nn::Module<Net> {
    nn::BatchNorm1d first{3};
    nn::BatchNorm2d second{3};
    void members(nn::Members& m) { m("first", first)("second", second); }
    Tensor forward(const Tensor& x) const { return x.dim() < 4 ? first(x) : second(x); }
  };
  const Net net;
  CHECK(message_of([&] {
          net(ad::ones({2, 4}));
        }) == "first: BatchNorm1d: x of shape (2, 4) must have shape (N, 3) or (N, 3, L)");
  CHECK(message_of([&] {
          net(ad::ones({2, 4, 3, 3}));
        }) == "second: BatchNorm2d: x of shape (2, 4, 3, 3) must have shape (N, 3, H, W)");
  CHECK_THROWS_AS(net.first(ad::ones({3})), ad::ShapeError);
  CHECK_THROWS_AS(net.first(ad::ones({2, 3, 4, 5})), ad::ShapeError);
  CHECK_THROWS_AS(net.second(ad::ones({2, 3, 4})), ad::ShapeError);
  CHECK(contains(message_of([&] {
                   net(ad::ones({1, 3}));
                 }),
                 "first: batch_norm: the input of shape (1, 3) has one value per channel"));
  CHECK_THROWS_AS(net(ad::ones({1, 3, 1, 1})), ad::ShapeError);
  CHECK(net.first.num_batches_tracked.item<int>() == 0);
  CHECK_THROWS_AS(net(ad::ones({2, 3}, ad::float64)), ad::DtypeError);
  CHECK_THROWS_AS(net(ad::ones({2, 3}, ad::int64)), ad::DtypeError);

  CHECK_THROWS_AS(nn::BatchNorm1d(0), ad::ValueError);
  nn::BatchNormOptions options;
  options.momentum = 1.5;
  CHECK_THROWS_AS(nn::BatchNorm2d(3, options), ad::ValueError);
  options = {};
  options.eps = std::nan("");
  CHECK_THROWS_AS(nn::BatchNorm2d(3, options), ad::ValueError);
  options = {};
  options.dtype = ad::bool_;
  CHECK_THROWS_AS(nn::BatchNorm2d(3, options), ad::DtypeError);
}

TEST_CASE("the count of batches makes the running statistics their mean") {
  nn::BatchNormOptions options;
  options.momentum.reset();
  options.dtype = ad::float64;
  const nn::BatchNorm1d norm(2, options);
  Tensor mean = ad::zeros({2}, ad::float64), var = mean;
  for (int i = 0; i < 5; ++i) {
    const Tensor x = ad::randn({6, 2}, ad::float64) + i;
    norm(x);
    CHECK_FALSE(norm.running_mean.is_computed());  // no look
    mean = mean + ad::mean(x, 0) / 5.0;
    var = var + ad::var(x, 0) / 5.0;
  }
  CHECK(ad::allclose(norm.running_mean, mean, 1e-13));
  CHECK(ad::allclose(norm.running_var, var, 1e-13));
}

// -- embedding --------------------------------------------------------------------------------------------------------

TEST_CASE("Embedding") {
  ad::manual_seed(2);
  const nn::Embedding large(300, 50);
  check_normal(large.weight, 0, 1);
  CHECK(large.extra_repr() == "num=300, dim=50");

  nn::EmbeddingOptions options;
  options.padding_idx = -2;
  nn::Embedding embedding(4, 3, options);
  CHECK(embedding.extra_repr() == "num=4, dim=3, padding_idx=2");
  CHECK(ad::equal(embedding.weight[2], ad::zeros({3})));
  CHECK_FALSE(ad::equal(embedding.weight[3], ad::zeros({3})));
  const Tensor index = ad::tensor({{0, 2}, {3, 0}});
  const Tensor y = embedding(index);
  CHECK(y.shape() == ad::Shape{2, 2, 3});
  CHECK(ad::equal(y[1][0], embedding.weight[3]));
  CHECK(ad::equal(y[0][1], ad::zeros({3})));
  ad::sum(y).backward();
  CHECK(embedding.weight.grad().to_vector<float>() == std::vector<float>{2, 2, 2, 0, 0, 0, 0, 0, 0, 1, 1, 1});
  CHECK(ad::equal(embedding(index.to(ad::uint8)), y));
  CHECK(embedding(ad::tensor(3)).shape() == ad::Shape{3});
  CHECK(embedding(ad::zeros({2, 0}, ad::int64)).shape() == ad::Shape{2, 0, 3});
  // Whatever the padding's row holds, it is given out.
  embedding.weight = ad::ones({4, 3});
  CHECK(ad::equal(embedding(ad::tensor({2})), ad::ones({1, 3})));

  struct Net : nn::Module<Net> {
    nn::Embedding table{5, 2};
    void members(nn::Members& m) { m("table", table); }
    Tensor forward(const Tensor& x) const { return table(x); }
  };
  const Net net;
  for (const std::int64_t bad : {5, -1}) {
    const Tensor recorded = net(ad::tensor({0, bad}));
    CHECK(message_of([&] { recorded.to_vector<float>(); }) ==
          "table: Embedding: index " + std::to_string(bad) + " at position 1 of shape (2,) is outside [0, 5)");
    CHECK_THROWS_AS(recorded.to_vector<float>(), ad::ValueError);
  }
  CHECK_THROWS_AS(net(ad::ones({2})), ad::DtypeError);
  CHECK_THROWS_AS(net(ad::ones({2}, ad::bool_)), ad::DtypeError);
  CHECK_THROWS_AS(nn::Embedding(0, 3), ad::ValueError);
  CHECK_THROWS_AS(nn::Embedding(3, 0), ad::ValueError);
  for (const std::int64_t bad : {4, -5}) {
    options.padding_idx = bad;
    CHECK_THROWS_AS(nn::Embedding(4, 3, options), ad::ValueError);
  }
  options = {};
  options.dtype = ad::int64;
  CHECK_THROWS_AS(nn::Embedding(4, 3, options), ad::DtypeError);
}
