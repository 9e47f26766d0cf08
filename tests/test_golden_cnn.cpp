// A convolutional network with batch normalisation, against PyTorch's numbers: tests/golden.
#include "golden.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace ad = adjoint;
namespace nn = ad::nn;
using ad::Tensor;

namespace {

nn::Sequential cnn(const ad::StateDict& numbers) {
  nn::Conv2dOptions first, second;
  first.padding = 1;
  second.stride = 2;
  second.padding = 1;
  second.groups = 2;
  nn::Sequential net(nn::Conv2d(2, 6, 3, first), nn::BatchNorm2d(6), nn::ReLU(), nn::MaxPool2d(2),
                     nn::Conv2d(6, 8, 3, second), nn::BatchNorm2d(8), nn::ReLU(), nn::AdaptiveAvgPool2d(2),
                     nn::Flatten(), nn::Linear(32, 10), nn::BatchNorm1d(10), nn::ReLU(), nn::Linear(10, 5));
  net.to(ad::float64);
  net.load_state_dict(with_prefix(numbers, "initial/"));
  return net;
}

void check_state(const ad::StateDict& actual, const ad::StateDict& expected) {
  for (const auto& [name, value] : expected) {
    CAPTURE(name);
    if (value.dtype() == ad::int64) CHECK(ad::equal(actual.at(name), value));
    else CHECK(difference(actual.at(name), value) < kTolerance);
  }
}

}  // namespace

TEST_CASE("a convolutional network: values, gradients and running statistics in training and evaluation") {
  const ad::StateDict numbers = golden("cnn");
  nn::Sequential net = cnn(numbers);
  for (int i = 0; i < 3; ++i) {
    CAPTURE(i);
    const ad::StateDict expected = with_prefix(numbers, std::to_string(i) + "/");
    net.train(i < 2);
    net.zero_grad();
    Tensor x = numbers.at("inputs")[i].detach();
    x.requires_grad_();
    const Tensor logits = net(x), loss = nn::cross_entropy(logits, numbers.at("labels")[i]);
    loss.backward();
    CHECK(difference(logits, expected.at("logits")) < kTolerance);
    CHECK(difference(loss, expected.at("loss")) < kTolerance);
    CHECK(difference(x.grad(), expected.at("gradient")) < kTolerance);
    for (const auto& [name, parameter] : net.named_parameters()) {
      CAPTURE(name);
      CHECK(difference(parameter.grad(), expected.at("gradient/" + name)) < kTolerance);
    }
    const ad::StateDict after = with_prefix(expected, "after/");
    CHECK(after.size() == net.named_buffers().size());
    check_state(net.state_dict(), after);
  }
}

TEST_CASE("a convolutional network: twenty steps of AdamW") {
  const ad::StateDict numbers = golden("cnn");
  nn::Sequential net = cnn(numbers);
  ad::optim::AdamWOptions options;
  options.lr = 0.01;
  options.weight_decay = 0.05;
  options.eps = 1e-6;
  ad::optim::AdamW optimizer(net.parameters(), options);
  std::vector<Tensor> losses;
  for (int step = 0; step < 20; ++step) {
    optimizer.zero_grad();
    const Tensor loss = nn::cross_entropy(net(numbers.at("inputs")[step]), numbers.at("labels")[step]);
    loss.backward();
    optimizer.step();
    losses.push_back(loss);
  }
  CHECK(difference(ad::stack(losses).detach(), numbers.at("losses")) < kTolerance);
  const ad::StateDict expected = with_prefix(numbers, "final/");
  CHECK(expected.size() == net.state_dict().size());
  check_state(net.state_dict(), expected);
}
