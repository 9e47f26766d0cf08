// The networks that the benchmarks train compute what PyTorch's layers compute: numbers in float64 from
// tests/golden/make_golden.py.
#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <string>

#include "../bench/models.hpp"

namespace ad = adjoint;
using ad::Tensor;

namespace {

/// The outputs and gradients, for parameters, input and cotangent of the file's `name`.
template <class Net>
void check_against_pytorch(Net net, const std::string& name) {
  const ad::StateDict numbers = ad::io::load_safetensors(ADJOINT_SOURCE_DIR "/tests/golden/models.safetensors");
  const auto expected = [&](const std::string& what, const Tensor& actual) {
    CAPTURE(what);
    CHECK(ad::allclose(actual, numbers.at(name + "/" + what), 1e-9, 1e-9));
  };
  net.to(ad::float64);
  ad::StateDict initial;
  for (const auto& [parameter_name, parameter] : net.named_parameters())
    initial.insert(parameter_name, numbers.at(name + "/initial/" + parameter_name));
  net.load_state_dict(initial);

  Tensor input = numbers.at(name + "/input");
  input.requires_grad_();
  const Tensor output = net(input);
  output.backward(numbers.at(name + "/cotangent"));
  expected("output", output);
  expected("gradient", input.grad());
  for (const auto& [parameter_name, parameter] : net.named_parameters())
    expected("gradient/" + parameter_name, parameter.grad());
}

template <class Net>
void check_derivatives(Net net, const ad::Shape& shape) {
  ad::manual_seed(1);
  net.to(ad::float64);
  CHECK(ad::gradcheck(net, {ad::randn(shape, ad::float64)}));
}

}  // namespace

TEST_CASE("outputs and gradients are PyTorch's") {
  SUBCASE("LSTM") { check_against_pytorch(ad::bench::Lstm(3, 5), "lstm"); }
  SUBCASE("encoder layer") { check_against_pytorch(ad::bench::EncoderLayer(6, 2, 7), "encoder_layer"); }
}

TEST_CASE("derivatives agree with differences in both modes") {
  SUBCASE("LSTM") { check_derivatives(ad::bench::Lstm(2, 3), {3, 2, 2}); }
  SUBCASE("encoder layer") { check_derivatives(ad::bench::EncoderLayer(4, 2, 3), {2, 3, 4}); }
}
