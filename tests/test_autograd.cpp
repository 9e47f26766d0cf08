#include <adjoint/adjoint.hpp>

#include <cmath>

#include <doctest/doctest.h>

namespace ad = adjoint;

TEST_CASE("the first program") {
  ad::Tensor w = ad::tensor({0.5f, -1.0f}).requires_grad_();
  ad::Tensor x = ad::tensor({2.0f, 3.0f});
  ad::Tensor loss = ad::square(ad::sum(w * x) - 1.0f);
  CHECK_FALSE(loss.is_computed());
  loss.backward();
  CHECK(loss.item<float>() == 9.0f);
  CHECK(w.grad().to_vector<float>() == std::vector<float>{-12.0f, -18.0f});
  CHECK(ad::to_string(w.grad()) == "[-12. -18.]");
}

TEST_CASE("transforms") {
  auto f = [](const ad::Tensor& x) { return ad::sum(ad::tanh(x) * x); };
  const ad::Tensor x = ad::tensor({0.3, -1.2}, ad::float64);
  const auto expected = [](double v) { return std::tanh(v) + v * (1 - std::tanh(v) * std::tanh(v)); };
  const ad::Tensor g = ad::grad(f)(x);
  CHECK(g.to_vector<double>()[0] == doctest::Approx(expected(0.3)));
  CHECK_FALSE(g.requires_grad());
  const ad::Tensor h = ad::hessian(f)(x);
  CHECK(h.shape() == ad::Shape{2, 2});
  const auto second = [](double v) {
    const double t = std::tanh(v), d = 1 - t * t;
    return 2 * d - 2 * v * t * d;
  };
  CHECK(h[1][1].item<double>() == doctest::Approx(second(-1.2)));
  CHECK(h[0][1].item<double>() == 0);
  auto [y, dy] = ad::jvp(f, {x}, {ad::tensor({1.0, 0.0}, ad::float64)});
  CHECK(dy.item<double>() == doctest::Approx(expected(0.3)));
  const ad::Tensor gg = ad::grad([&](const ad::Tensor& v) { return ad::sum(ad::grad(f)(v)); })(x);
  CHECK(gg.to_vector<double>()[1] == doctest::Approx(second(-1.2)));
}

TEST_CASE("gradcheck agrees with right derivatives and finds wrong ones") {
  const ad::Tensor x = ad::tensor({{0.3, -1.2}, {0.7, 2.0}}, ad::float64), y = ad::tensor({0.5, 1.5}, ad::float64);
  const auto f = [](const ad::Tensor& a, const ad::Tensor& b) { return ad::tanh(a) * b + ad::matmul(a, b); };
  CHECK(ad::gradcheck(f, {x, y}));
  CHECK(ad::gradgradcheck(f, {x, y}));
  const auto wrong = [](const ad::Tensor& a, const ad::Tensor& b) { return a * ad::stop_gradient(b); };
  const ad::GradcheckResult result = ad::gradcheck(wrong, {x, y});
  CHECK_FALSE(result);
  CHECK(result.message() ==
        "gradcheck: the derivative of output 0 at (0, 0) with respect to input 1 at (0,): reverse mode gives 0, "
        "central differences 0.3 (error 0.3)");
}
