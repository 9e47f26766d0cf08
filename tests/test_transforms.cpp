#include "engine/engine.hpp"
#include "engine/execute.hpp"
#include "message_of.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

namespace ad = adjoint;
using ad::Tensor;

namespace {

Tensor f64(std::vector<double> values) { return ad::tensor(values); }

// f(x) = sum(x tanh(x)), its gradient and the diagonal of its Hessian, by hand.
Tensor f(const Tensor& x) { return ad::sum(ad::tanh(x) * x); }
double first(double x) { return std::tanh(x) + x * (1 - std::tanh(x) * std::tanh(x)); }
double second(double x) {
  const double t = std::tanh(x), d = 1 - t * t;
  return 2 * d - 2 * x * t * d;
}

// A linear operation, the identity, that counts in which mode it is differentiated.
int pullbacks = 0;
void execute_probe(ad::detail::Node& node) {
  const ad::detail::Value& source = node.input(0)->value;
  node.alias_value(source, 0, source.strides);
}
int executed_probes = 0;
const ad::detail::Operation kProbe{"probe",
                                   ad::detail::Family::linear,
                                   execute_probe,
                                   0,
                                   false,
                                   1,
                                   {},
                                   nullptr,
                                   [](const ad::detail::Recorded&, int, const Tensor& g) {
                                     ++pullbacks;
                                     return g;
                                   }};
Tensor probe(const Tensor& x) {
  ++executed_probes;
  return ad::detail::record(kProbe, x.shape(), x.dtype(), {x});
}

}  // namespace

TEST_CASE("gradients, values and Hessians of functions") {
  const Tensor x = f64({0.3, -1.2});
  const Tensor g = ad::grad(f)(x);
  CHECK(g.to_vector<double>()[0] == doctest::Approx(first(0.3)).epsilon(1e-14));
  CHECK(g.to_vector<double>()[1] == doctest::Approx(first(-1.2)).epsilon(1e-14));
  const auto [y, dy] = ad::value_and_grad(f)(x);
  CHECK(y.item<double>() == f(x).item<double>());
  CHECK(ad::equal(dy, g));

  const Tensor h = ad::hessian(f)(x);
  REQUIRE(h.shape() == ad::Shape{2, 2});
  CHECK(h[0][0].item<double>() == doctest::Approx(second(0.3)).epsilon(1e-14));
  CHECK(h[1][1].item<double>() == doctest::Approx(second(-1.2)).epsilon(1e-14));
  CHECK(h[0][1].item<double>() == 0);
  const auto cubic = [](const Tensor& v) { return ad::sum(ad::matmul(v, ad::t(v)) * ad::sum(v)); };
  const Tensor m = ad::tensor({{0.5, -1.0, 2.0}, {0.25, 3.0, -0.75}}, ad::float64);
  const Tensor full = ad::hessian(cubic)(m);
  REQUIRE(full.shape() == ad::Shape{2, 3, 2, 3});
  const Tensor v = ad::tensor({{1.0, 0.5, -2.0}, {0.0, 1.5, 0.25}}, ad::float64);
  const Tensor product = ad::matmul(ad::reshape(full, {6, 6}), ad::reshape(v, {6}));
  CHECK(ad::allclose(ad::reshape(ad::hvp(cubic, m, v), {6}), product, 1e-13));
  CHECK(ad::allclose(ad::reshape(full, {6, 6}), ad::t(ad::reshape(full, {6, 6})), 1e-13));
}

TEST_CASE("what a function does not depend on has a gradient of zeros") {
  const Tensor x = f64({1, 2});
  CHECK(ad::equal(ad::grad([](const Tensor&) { return ad::tensor(3.0, ad::float64); })(x), ad::zeros_like(x)));
  CHECK(ad::equal(ad::hessian([](const Tensor& v) { return ad::sum(v); })(x), ad::zeros({2, 2}, ad::float64)));
  auto [y, dy] = ad::jvp([](const Tensor& v) { return ad::ones_like(v); }, {x}, {x});
  CHECK(ad::equal(dy, ad::zeros_like(x)));
}

TEST_CASE("more arguments are handed on; the first is differentiated") {
  const auto g = [](const Tensor& x, const Tensor& w, double factor) { return ad::sum(x * w) * factor; };
  CHECK(ad::equal(ad::grad(g)(f64({1, 2}), f64({3, 4}), 2.0), f64({6, 8})));
}

TEST_CASE("vjp gives a function of cotangents, which may be called again and be differentiated") {
  const auto g = [](const Tensor& a, const Tensor& b) { return ad::exp(a) * b; };
  const Tensor a = f64({0.0, 1.0}), b = f64({2.0, 3.0});
  auto [y, pullback] = ad::vjp(g, {a, b});
  CHECK_FALSE(y.requires_grad());
  for (int i = 0; i < 2; ++i) {
    const std::vector<Tensor> cotangents = pullback(f64({1.0, 10.0}));
    REQUIRE(cotangents.size() == 2);
    CHECK(cotangents[0].to_vector<double>()[1] == doctest::Approx(30 * std::exp(1.0)));
    CHECK(cotangents[1].to_vector<double>()[1] == doctest::Approx(10 * std::exp(1.0)));
    CHECK_FALSE(cotangents[0].requires_grad());
  }
  Tensor c = f64({1.0, 1.0}).requires_grad_();
  ad::sum(pullback(c)[0]).backward();
  CHECK(c.grad().to_vector<double>()[1] == doctest::Approx(3 * std::exp(1.0)));

  const auto two = [](const std::vector<Tensor>& x) { return std::vector<Tensor>{x[0] * x[1], ad::sum(x[0])}; };
  auto [outputs, back] = ad::vjp(two, {a, b});
  REQUIRE(outputs.size() == 2);
  const std::vector<Tensor> gradients = back(std::vector<Tensor>{f64({1, 1}), ad::tensor(5.0, ad::float64)});
  CHECK(ad::equal(gradients[0], f64({7, 8})));
  CHECK(ad::equal(gradients[1], a));
}

TEST_CASE("jvp runs no reverse pass; grad runs one") {
  const auto g = [](const Tensor& x) { return ad::sum(ad::square(probe(x))); };
  const Tensor x = f64({1, 2});
  pullbacks = 0;
  auto [y, dy] = ad::jvp(g, {x}, {f64({1, 0})});
  CHECK(dy.item<double>() == 2);
  CHECK(pullbacks == 0);
  ad::grad(g)(x);
  CHECK(pullbacks == 1);
  executed_probes = 0;
  ad::hessian(g)(f64({1, 2, 3}));
  CHECK(executed_probes == 1);  // the function runs once, however many columns there are
}

TEST_CASE("transforms nest: every mix of modes gives the second derivative") {
  const Tensor x = f64({0.7}), one = f64({1});
  const auto scalar = [](const auto& function) { return [=](const Tensor& v) { return ad::sum(function(v)); }; };
  const auto reverse = scalar(ad::grad(f));
  const auto forward = [&](const Tensor& v) { return ad::jvp(f, {v}, {one}).second; };
  const double expected = second(0.7);
  CHECK(ad::grad(reverse)(x).item<double>() == doctest::Approx(expected).epsilon(1e-13));
  CHECK(ad::grad(forward)(x).item<double>() == doctest::Approx(expected).epsilon(1e-13));
  CHECK(ad::jvp(reverse, {x}, {one}).second.item<double>() == doctest::Approx(expected).epsilon(1e-13));
  CHECK(ad::jvp(forward, {x}, {one}).second.item<double>() == doctest::Approx(expected).epsilon(1e-13));
  const auto fourth_power = [](const Tensor& v) { return ad::sum(ad::square(ad::square(v))); };
  const auto third = ad::grad(scalar(ad::grad(scalar(ad::grad(fourth_power)))));
  CHECK(third(f64({2.0})).item<double>() == doctest::Approx(48));
  // d/dx of x * d/dy (x y) = 2x: the inner variable is not confused with the outer one.
  const auto outer = [](const Tensor& u) {
    return u * ad::grad([&](const Tensor& v) { return u * v; })(ad::tensor(1.0, ad::float64));
  };
  CHECK(ad::grad(outer)(ad::tensor(3.0, ad::float64)).item<double>() == 6);
}

TEST_CASE("results are constants, unless something else is differentiated") {
  const Tensor x = f64({0.5, 1.5});
  CHECK_FALSE(ad::grad(f)(x).requires_grad());
  CHECK_FALSE(ad::hessian(f)(x).requires_grad());
  CHECK_FALSE(ad::jvp(f, {x}, {x}).second.requires_grad());
  Tensor w = f64({2.0, 3.0}).requires_grad_();
  const Tensor g = ad::grad([&](const Tensor& v) { return ad::sum(ad::square(v) * w); })(x);
  REQUIRE(g.requires_grad());
  ad::sum(g).backward();
  CHECK(ad::equal(w.grad(), 2 * x));
  {
    const ad::NoGradGuard no_grad;
    CHECK(ad::allclose(ad::grad(f)(x), f64({first(0.5), first(1.5)}), 1e-14));
  }
  const ad::EagerGuard eager;
  CHECK(ad::allclose(ad::hessian(f)(x)[0][0], ad::tensor(second(0.5), ad::float64), 1e-13));
}

TEST_CASE("transforms refuse what they cannot do, by name") {
  const Tensor x = f64({1, 2});
  const auto vector = [](const Tensor& v) { return v * 2; };
  CHECK_THROWS_AS(ad::grad(vector)(x), ad::AutogradError);
  CHECK(message_of([&] { ad::grad(vector)(x); }) ==
        "grad: the function returned a tensor of shape (2,); it must return a single element");
  CHECK(message_of([&] {
          ad::grad(f)(ad::tensor({1, 2}));
        }).find("grad: the input of shape (2,) has dtype int64") == 0);
  CHECK_THROWS_AS(ad::jvp(f, {x}, {f64({1, 2, 3})}), ad::ShapeError);
  CHECK_THROWS_AS(ad::jvp(f, {x}, {ad::tensor({1.0f, 2.0f})}), ad::DtypeError);
  CHECK_THROWS_AS(ad::jvp(f, {x}, {}), ad::ValueError);
  CHECK_THROWS_AS(ad::vjp(f, {x, x}), ad::ValueError);
  CHECK_THROWS_AS(ad::hvp(f, x, f64({1})), ad::ShapeError);
  auto [y, pullback] = ad::vjp(vector, {x});
  CHECK_THROWS_AS(pullback(f64({1})), ad::ShapeError);
}

TEST_CASE("autograd::grad: weights, intermediate inputs, unused inputs, and no touch of grad()") {
  Tensor a = f64({1, 2}).requires_grad_(), b = f64({3, 4}).requires_grad_(), unused = f64({0}).requires_grad_();
  const Tensor h = a * b, y = ad::square(h);
  ad::autograd::GradOptions options;
  options.grad_outputs = {f64({1, 10})};
  options.retain_graph = true;
  const std::vector<Tensor> g = ad::autograd::grad({y}, {h, a, a}, options);
  CHECK(ad::equal(g[0], f64({6, 160})));
  CHECK(ad::equal(g[1], f64({18, 640})));
  CHECK(ad::equal(g[2], g[1]));
  CHECK_FALSE(a.grad().defined());
  CHECK_THROWS_AS(ad::autograd::grad({y}, {a, unused}, options), ad::AutogradError);
  options.allow_unused = true;
  CHECK_FALSE(ad::autograd::grad({y}, {a, unused}, options)[1].defined());
  CHECK_THROWS_AS(ad::autograd::grad({y}, {a}), ad::AutogradError);  // no scalar
  CHECK_THROWS_AS(ad::autograd::grad({}, {a}), ad::ValueError);
  CHECK_THROWS_AS(ad::autograd::grad({ad::sum(y)}, {f64({1})}), ad::AutogradError);
  const std::vector<Tensor> of_two = ad::autograd::grad({ad::sum(h), ad::sum(y)}, {b});
  CHECK(ad::equal(of_two[0], f64({1 + 2 * 3, 2 + 2 * 8 * 2})));
}

TEST_CASE("cotangents of slices: joined where they lie apart, added up where they overlap") {
  const Tensor x = ad::rand({7, 3}, ad::float64);
  const auto apart = [](const Tensor& v) {  // with gaps, out of order
    return ad::sum(ad::square(ad::narrow(v, 0, 4, 2)) * 2) + ad::sum(ad::exp(v[1])) + ad::sum(ad::sin(v[0]));
  };
  const auto overlapping = [](const Tensor& v) {
    return ad::sum(ad::square(ad::narrow(v, 0, 1, 4))) + ad::sum(ad::exp(ad::narrow(v, 0, 3, 3)));
  };
  const auto of_two_dims = [](const Tensor& v) {
    return ad::sum(ad::square(v[2])) + ad::sum(ad::exp(ad::select(v, 1, 0))) + ad::sum(v * v[6]);
  };
  const auto each = [](const Tensor& v) {
    Tensor state = ad::zeros({3}, ad::float64);
    for (int i = 0; i < 7; ++i) state = ad::tanh(state + v[i]);
    return ad::sum(state);
  };
  const auto strided = [](const Tensor& v) {
    return ad::sum(ad::square(ad::slice(v, 0, 0, 7, 2))) + ad::sum(ad::exp(ad::slice(v, 0, 1, 7, 2)));
  };
  for (const auto& f :
       std::vector<std::function<Tensor(const Tensor&)>>{apart, overlapping, of_two_dims, each, strided}) {
    CHECK(ad::gradcheck(f, {x}));
    CHECK(ad::gradgradcheck(f, {x}));
  }
  // Joined, the slices of a sequence are copied once; added up, each would be a tensor as large as the sequence.
  const Tensor sequence = ad::rand({200, 1000}).requires_grad_();
  Tensor sum = ad::zeros({1000});
  for (int i = 0; i < 200; ++i) sum = sum + ad::square(sequence[i]);
  ad::sum(sum).backward();
  ad::memory::reset_peak();
  const std::int64_t before = ad::memory::stats().live;
  ad::eval(sequence.grad());
  CHECK(ad::memory::stats().peak - before < 5 * 200 * 1000 * 4);
}

TEST_CASE("cotangents of slices when so much is recorded that it is computed on the way") {
  const std::int64_t steps = 700;
  const Tensor x = ad::full({steps, 2}, 0.5);
  for (const bool create_graph : {false, true}) {
    ad::autograd::GradOptions options;
    options.create_graph = create_graph;
    const Tensor leaf = x.detach().requires_grad_();
    std::vector<Tensor> parts;
    for (std::int64_t i = 0; i < steps; ++i) {
      Tensor part = ad::narrow(leaf, 0, i, 1);
      for (int k = 0; k < 200; ++k) part = ad::sin(part);
      parts.push_back(part);
    }
    Tensor alone = x.detach().requires_grad_(), all = alone;
    for (int k = 0; k < 200; ++k) all = ad::sin(all);
    const Tensor gradient = ad::autograd::grad({ad::sum(ad::cat(parts, 0))}, {leaf}, options)[0];
    CHECK(ad::equal(gradient, ad::autograd::grad({ad::sum(all)}, {alone})[0]));
  }
}
