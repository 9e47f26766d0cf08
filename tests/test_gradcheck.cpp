#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <sstream>

namespace ad = adjoint;
using ad::Tensor;

namespace {

struct Gate : ad::nn::Module<Gate> {
  ad::nn::Linear in{3, 4}, gate{3, 4};
  bool is_wrong = false;
  void members(ad::nn::Members& m) { m("in", in)("gate", gate); }
  Tensor forward(const Tensor& x) const {
    const Tensor weight = is_wrong ? ad::stop_gradient(gate.weight) : Tensor(gate.weight);
    return ad::tanh(in(x)) * ad::sigmoid(ad::linear(x, weight, gate.bias));
  }
};

}  // namespace

TEST_CASE("gradcheck agrees with right derivatives and tells where wrong ones are") {
  const Tensor x = ad::tensor({{0.3, -1.2}, {0.7, 2.0}}, ad::float64), y = ad::tensor({0.5, 1.5}, ad::float64);
  const auto f = [](const Tensor& a, const Tensor& b) { return ad::tanh(a) * b + ad::matmul(a, b); };
  CHECK(ad::gradcheck(f, {x, y}));
  CHECK(ad::gradgradcheck(f, {x, y}));
  const auto wrong = [](const Tensor& a, const Tensor& b) { return a * ad::stop_gradient(b); };
  const ad::GradcheckResult result = ad::gradcheck(wrong, {x, y});
  CHECK_FALSE(result);
  CHECK(result.message() ==
        "gradcheck: the derivative of output 0 at (0, 0) with respect to input 1 at (0,): reverse mode gives 0, "
        "central differences 0.3 (error 0.3)");
  std::ostringstream printed;
  printed << result;
  CHECK(printed.str() == result.message());
}

TEST_CASE("gradgradcheck finds a first derivative that is right and itself wrongly differentiated") {
  const Tensor x = ad::tensor({0.5, -1.5}, ad::float64);
  // The value and the gradient of x^2, but a gradient that has forgotten that it depends on x.
  const auto f = [](const Tensor& v) {
    const Tensor constant = ad::stop_gradient(v);
    return constant * constant + 2 * constant * (v - constant);
  };
  CHECK(ad::equal(ad::grad([&](const Tensor& v) { return ad::sum(f(v)); })(x), 2 * x));
  CHECK_FALSE(ad::gradgradcheck(f, {x}));
}

TEST_CASE("the parameters of modules are checked, and left as they were") {
  ad::manual_seed(3);
  Gate net;
  net.to(ad::float64);
  const Tensor x = ad::randn({2, 3}, ad::float64);
  const std::vector<double> before = net.gate.weight.to_vector<double>();
  CHECK(ad::gradcheck(net, {x}));
  CHECK(ad::gradgradcheck(net, {x}));
  CHECK(net.gate.weight.to_vector<double>() == before);
  CHECK_FALSE(net.gate.weight.grad().defined());
  net.is_wrong = true;
  const ad::GradcheckResult result = ad::gradcheck(net, {x});
  CHECK_FALSE(result);
  CHECK(result.message().find("parameter 'gate.weight' at (0, 0): reverse mode gives 0,") != std::string::npos);
  const auto parameters_only = [&](const Tensor&) { return ad::sum(net(x)); };
  CHECK_THROWS_AS(ad::gradcheck(parameters_only, {ad::tensor({1, 2})}), ad::ValueError);
}

TEST_CASE("gradcheck refuses what differences cannot check") {
  const auto f = [](const Tensor& v) { return v * v; };
  CHECK_THROWS_AS(ad::gradcheck(f, {ad::tensor({1.0f})}), ad::DtypeError);
  CHECK_THROWS_AS(ad::gradcheck(f, {}), ad::ValueError);
  ad::GradcheckOptions options;
  options.eps = 0;
  CHECK_THROWS_AS(ad::gradcheck(f, {ad::tensor({1.0}, ad::float64)}, options), ad::ValueError);
  const auto random = [](const Tensor& v) { return v * ad::rand({2}, ad::float64); };
  CHECK(ad::gradcheck(random, {ad::tensor({1.0, 2.0}, ad::float64)}).message() ==
        "gradcheck: the function gives other values when it is called again");
}

TEST_CASE("integers among the inputs are handed on; tolerances and the step can be chosen") {
  const Tensor x = ad::tensor({0.5, -1.5, 2.5}, ad::float64), index = ad::tensor({2, 0});
  CHECK(ad::gradcheck([](const Tensor& v, const Tensor& i) { return ad::index_select(v, 0, i) * 3; }, {x, index}));
  ad::GradcheckOptions strict;
  strict.atol = strict.rtol = 1e-14;
  CHECK_FALSE(ad::gradcheck([](const Tensor& v) { return ad::exp(v); }, {x}, strict));
}
