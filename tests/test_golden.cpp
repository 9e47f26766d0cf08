// Numbers from PyTorch, in float64; tests/golden/make_golden.py remakes them.
#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>

namespace ad = adjoint;
using ad::Tensor;

namespace {

constexpr double kTolerance = 1e-9;

ad::StateDict golden(const std::string& name) {
  return ad::io::load_safetensors(ADJOINT_SOURCE_DIR "/tests/golden/" + name + ".safetensors");
}

// The largest difference, relative to the expected values where those are large.
double difference(const Tensor& actual, const Tensor& expected) {
  REQUIRE(actual.shape() == expected.shape());
  REQUIRE(actual.dtype() == ad::float64);
  const double *a = actual.data<double>(), *b = expected.data<double>();
  double largest = 0;
  for (std::int64_t i = 0; i < actual.numel(); ++i) {
    const double d = std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
    if (!(d <= largest)) largest = d;  // NaN, too
  }
  return largest;
}

ad::nn::Sequential mlp(const ad::StateDict& numbers) {
  using ad::nn::Linear;
  ad::nn::Sequential net(Linear(12, 16), ad::nn::ReLU(), Linear(16, 10), ad::nn::Tanh(), Linear(10, 8), ad::nn::GELU(),
                         Linear(8, 5));
  net.to(ad::float64);
  ad::StateDict initial;
  for (const auto& [name, parameter] : net.named_parameters()) initial.insert(name, numbers.at("initial/" + name));
  net.load_state_dict(initial);
  return net;
}

}  // namespace

TEST_CASE("forward pass, loss and gradients of an MLP") {
  const ad::StateDict numbers = golden("mlp");
  const ad::nn::Sequential net = mlp(numbers);
  const Tensor logits = net(numbers.at("inputs")[0]);
  const Tensor loss = ad::nn::cross_entropy(logits, numbers.at("labels")[0]);
  loss.backward();
  CHECK(difference(logits, numbers.at("logits")) < kTolerance);
  CHECK(difference(loss, numbers.at("loss")) < kTolerance);
  for (const auto& [name, parameter] : net.named_parameters()) {
    CAPTURE(name);
    CHECK(difference(parameter.grad(), numbers.at("gradient/" + name)) < kTolerance);
  }
}

TEST_CASE("twenty steps of the optimizers") {
  using Make = std::function<std::unique_ptr<ad::optim::Optimizer>(std::vector<Tensor>)>;
  const auto sgd = [](double lr, double momentum, double dampening, bool nesterov, double weight_decay) {
    return [=](std::vector<Tensor> parameters) {
      ad::optim::SGDOptions options;
      options.lr = lr;
      options.momentum = momentum;
      options.dampening = dampening;
      options.nesterov = nesterov;
      options.weight_decay = weight_decay;
      return std::make_unique<ad::optim::SGD>(std::move(parameters), options);
    };
  };
  const auto adam = [](std::vector<Tensor> parameters) {
    ad::optim::AdamOptions options;
    options.lr = 0.01;
    options.betas = {0.85, 0.99};
    options.eps = 1e-7;
    options.weight_decay = 0.02;
    return std::make_unique<ad::optim::Adam>(std::move(parameters), options);
  };
  const std::pair<std::string, Make> cases[] = {{"sgd", sgd(0.1, 0, 0, false, 0)},
                                                {"nesterov", sgd(0.05, 0.9, 0, true, 0.01)},
                                                {"dampening", sgd(0.05, 0.8, 0.3, false, 0)},
                                                {"clipped", sgd(0.5, 0.9, 0, false, 0)},
                                                {"adam", adam}};
  const ad::StateDict numbers = golden("mlp");
  const Tensor &inputs = numbers.at("inputs"), &labels = numbers.at("labels");
  for (const auto& [name, make] : cases) {
    CAPTURE(name);
    ad::nn::Sequential net = mlp(numbers);
    const auto optimizer = make(net.parameters());
    std::vector<Tensor> losses;
    for (int step = 0; step < 20; ++step) {
      optimizer->zero_grad();
      const Tensor loss = ad::nn::cross_entropy(net(inputs[step]), labels[step]);
      loss.backward();
      if (name == "clipped") ad::optim::clip_grad_norm_(net.parameters(), 0.25);
      optimizer->step();
      losses.push_back(loss);
    }
    CHECK(difference(ad::stack(losses).detach(), numbers.at(name + "/losses")) < kTolerance);
    for (const auto& [parameter_name, parameter] : net.named_parameters()) {
      CAPTURE(parameter_name);
      CHECK(difference(parameter, numbers.at(name + "/" + parameter_name)) < kTolerance);
    }
  }
}

TEST_CASE("losses and their gradients") {
  namespace nn = ad::nn;
  using nn::Reduction;
  const ad::StateDict numbers = golden("losses");
  const auto optional = [&](const std::string& name) {
    const Tensor* tensor = numbers.find(name);
    return tensor ? *tensor : Tensor();
  };
  const auto cross_entropy = [&](const std::string& name, Reduction reduction, std::int64_t ignore_index = -100,
                                 double label_smoothing = 0) {
    return [=](const Tensor& input, const Tensor& target) {
      return nn::cross_entropy(input, target, {optional(name + "/weight"), ignore_index, reduction, label_smoothing});
    };
  };
  const auto nll = [&](const std::string& name, Reduction reduction) {
    return [=](const Tensor& input, const Tensor& target) {
      return nn::nll_loss(input, target, {optional(name + "/weight"), -100, reduction});
    };
  };
  const auto bce = [&](const std::string& name, Reduction reduction) {
    return [=](const Tensor& input, const Tensor& target) {
      return nn::binary_cross_entropy_with_logits(
          input, target, {optional(name + "/weight"), optional(name + "/pos_weight"), reduction});
    };
  };

  int count = 0;
  const auto check = [&](const std::string& name, const auto& function) {
    CAPTURE(name);
    Tensor input = numbers.at(name + "/input").detach();
    input.requires_grad_();
    const Tensor loss = function(input, numbers.at(name + "/target"));
    CHECK(difference(loss, numbers.at(name + "/loss")) < kTolerance);
    ad::sum(loss * numbers.at(name + "/cotangent")).backward();
    CHECK(difference(input.grad(), numbers.at(name + "/gradient")) < kTolerance);
    ++count;
  };

  const std::pair<Reduction, std::string> reductions[] = {
      {Reduction::mean, "mean"}, {Reduction::sum, "sum"}, {Reduction::none, "none"}};
  for (const auto& [reduction, name] : reductions) {
    const auto with = [&, suffix = "_" + name](const std::string& prefix) { return prefix + suffix; };
    check(with("cross_entropy"), cross_entropy(with("cross_entropy"), reduction));
    check(with("cross_entropy_weight_smoothing"),
          cross_entropy(with("cross_entropy_weight_smoothing"), reduction, -100, 0.2));
    check(with("cross_entropy_images"), cross_entropy(with("cross_entropy_images"), reduction, 7));
    check(with("cross_entropy_probabilities"),
          cross_entropy(with("cross_entropy_probabilities"), reduction, -100, 0.1));
    check(with("nll"), nll(with("nll"), reduction));
    check(with("bce"), bce(with("bce"), reduction));
    check(with("mse"), [r = reduction](const Tensor& x, const Tensor& y) { return nn::mse_loss(x, y, r); });
    check(with("l1"), [r = reduction](const Tensor& x, const Tensor& y) { return nn::l1_loss(x, y, r); });
  }
  check("cross_entropy_vector", cross_entropy("cross_entropy_vector", Reduction::mean));
  check("cross_entropy_image_probabilities", cross_entropy("cross_entropy_image_probabilities", Reduction::mean));
  check("cross_entropy_large", cross_entropy("cross_entropy_large", Reduction::mean));
  check("bce_large", bce("bce_large", Reduction::mean));

  int recorded = 0;
  for (const auto& [name, tensor] : numbers) recorded += name.find("/loss") != std::string::npos;
  CHECK(count == recorded);
}
