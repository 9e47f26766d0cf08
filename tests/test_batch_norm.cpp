// The batch's statistics from one look at the input: as good as those of two, by an oracle that computes two passes in
// float64.
#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <vector>

namespace ad = adjoint;
using ad::Tensor;

namespace {

using Function = std::function<Tensor(const Tensor&)>;

ad::Dims all_but_channels(const Tensor& x) {
  ad::Dims dims{0};
  for (int i = 2; i < x.dim(); ++i) dims.push_back(i);
  return dims;
}

Tensor in_one_pass(const Tensor& x) { return ad::batch_norm(x, {}, {}, {}, {}, true); }
/// The mean first, then squares about it.
Tensor in_two_passes(const Tensor& x) {
  const ad::Dims dims = all_but_channels(x);
  const Tensor deviation = x - ad::mean(x, dims, true);
  return deviation * ad::rsqrt(ad::mean(ad::square(deviation), dims, true) + 1e-5);
}
/// Both about zero: what must not pass.
Tensor about_zero(const Tensor& x) {
  const ad::Dims dims = all_but_channels(x);
  const Tensor mean = ad::mean(x, dims, true);
  return (x - mean) * ad::rsqrt(ad::mean(ad::square(x), dims, true) - ad::square(mean) + 1e-5);
}

/// The largest error, as a part of the largest value; what is not finite counts as infinite.
double error_of(const Function& f, const Tensor& x) {
  const Tensor expected = in_two_passes(x.to(ad::float64));
  const double error = ad::amax(ad::abs(f(x).to(ad::float64) - expected)).item<double>();
  return std::isfinite(error) ? error / ad::amax(ad::abs(expected)).item<double>()
                              : std::numeric_limits<double>::infinity();
}

/// Row-major, and channels-last.
void for_orders(const Tensor& x, const std::function<void(const Tensor&)>& check) {
  check(x);
  if (x.dim() < 3) return;
  ad::Dims there{0}, back{0, x.dim() - 1};
  for (int i = 2; i < x.dim(); ++i) there.push_back(i), back.push_back(i - 1);
  there.push_back(1);
  const Tensor last = x.permute(there);
  const Tensor copy = last.reshape({-1}).reshape(last.shape());
  ad::eval(copy);
  check(copy.permute(back));
}

const std::vector<ad::Shape> kShapes{{700, 64},         {40, 1000},       {40, 16, 60},    {128, 6, 50},
                                     {33, 16, 9, 11},   {128, 8, 12, 12}, {3, 32, 20, 20}, {2, 4, 70, 71},
                                     {5, 8, 7, 11, 13}, {64, 4, 6, 6, 6}, {1, 8, 90, 91}};

}  // namespace

TEST_CASE("batch_norm is as exact as in two passes") {
  for (const ad::Shape& shape : kShapes)
    for (const ad::Dtype dtype : {ad::float32, ad::float64})
      // How many deviations the mean is away from zero: so many times less exact is the input itself.
      for (const double distance : {0., 3., 100., 1e4}) {
        const Tensor x = (ad::randn(shape, ad::float64) + distance).to(dtype);
        ad::eval(x);
        for_orders(x, [&](const Tensor& in_order) {
          CAPTURE(shape);
          CAPTURE(dtype);
          CAPTURE(distance);
          const double epsilon = dtype == ad::float32 ? 1.2e-7 : 2.3e-16;
          CHECK(error_of(in_one_pass, in_order) < epsilon * (16 + distance));
          CHECK(error_of(in_two_passes, in_order) < epsilon * (16 + distance));
          if (distance == 1e4) CHECK(error_of(about_zero, in_order) > 20 * epsilon * (16 + distance));
        });
      }
}

TEST_CASE("a first part unlike the rest costs some bits, not all") {
  constexpr double bound = 64 * 4e-7;  // as many errors of a sum
  // By the largest possible distance: sqrt(63) deviations. All other elements are alike, but for a little.
  for (const double little : {1e-1, 1e-3}) {
    Tensor x = ad::randn({128, 8, 16, 16}) * little;
    x = ad::cat({ad::slice(x, 0, 0, 2) + 100.0, ad::slice(x, 0, 2)}, 0);
    ad::eval(x);
    for_orders(x, [&](const Tensor& in_order) { CHECK(error_of(in_one_pass, in_order) < bound); });
  }
  // A single element so far away that no others count.
  std::vector<float> values(64 * 4 * 16 * 16, 1.0F);
  values[0] = 1e6F;
  values[60000] = 1.5F;
  const Tensor x = ad::tensor(values).reshape({64, 4, 16, 16});
  for_orders(x, [&](const Tensor& in_order) { CHECK(error_of(in_one_pass, in_order) < bound); });
}

TEST_CASE("channels that are constant have no variance") {
  for (const double value : {0., 1., -0.1, 1e-30, 123456.7, 9e7, 1e18}) {
    CAPTURE(value);
    const Tensor x = ad::full({128, 8, 10, 10}, value, ad::float32);
    ad::eval(x);
    Tensor mean = ad::zeros({8}).requires_grad_(false), variance = ad::ones({8}).requires_grad_(false);
    for_orders(x, [&](const Tensor& in_order) {
      const Tensor y = ad::batch_norm(in_order, mean, variance, {}, {}, true, 1);
      // By how much a sum of equal numbers may miss their mean.
      const double miss = 4e-7 * std::abs(value);
      CHECK(ad::amax(ad::abs(y)).item<double>() <= miss / std::sqrt(1e-5));
      CHECK(ad::amin(variance).item<double>() >= 0);
      CHECK(ad::amax(variance).item<double>() <= 64 * miss * miss);
      CHECK(ad::allclose(mean, ad::full({8}, value, ad::float32), 4e-7, 0));
    });
  }
}

TEST_CASE("what is not finite stays in its channel") {
  for (const double bad :
       {std::nan(""), std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()})
    for (const int place : {0, 20, 127}) {
      Tensor x = ad::randn({128, 5, 8, 8});
      ad::eval(x);
      std::vector<float> values = x.to_vector<float>();
      values[static_cast<std::size_t>(place * 5 + 2) * 64 + 3] = static_cast<float>(bad);
      const Tensor spoilt = ad::tensor(values).reshape({128, 5, 8, 8}), good = in_one_pass(x);
      Tensor mean = ad::zeros({5}).requires_grad_(false), variance = ad::ones({5}).requires_grad_(false);
      const Tensor y = ad::batch_norm(spoilt, mean, variance, {}, {}, true);
      for (int c = 0; c < 5; ++c) {
        const Tensor channel = ad::select(y, 1, c);
        if (c == 2) CHECK(ad::all(ad::isnan(channel)).item<bool>());
        else CHECK(ad::equal(channel, ad::select(good, 1, c)));
        CHECK(std::isnan(ad::select(variance, 0, c).item<double>()) == (c == 2));
        CHECK(std::isfinite(ad::select(mean, 0, c).item<double>()) == (c != 2));
      }
    }
}

TEST_CASE("running statistics are those of the batch") {
  const Tensor x = ad::randn({70, 6, 10, 12}) * 3.0 + 50.0;
  Tensor mean = ad::zeros({6}).requires_grad_(false), variance = ad::zeros({6}).requires_grad_(false);
  ad::batch_norm(x, mean, variance, {}, {}, true, 0.25);
  const Tensor exact = x.to(ad::float64);
  CHECK(ad::allclose(mean.to(ad::float64), 0.25 * ad::mean(exact, {0, 2, 3}), 1e-6));
  CHECK(ad::allclose(variance.to(ad::float64), 0.25 * ad::var(exact, {0, 2, 3}), 2e-6));
}

TEST_CASE("derivatives of first and second order are those of two passes") {
  for (const ad::Shape& shape :
       {ad::Shape{40, 900}, ad::Shape{70, 8, 60}, ad::Shape{64, 8, 9, 9}, ad::Shape{3, 8, 40, 41}}) {
    CAPTURE(shape);
    const Tensor x = ad::randn(shape, ad::float64) + 5.0, v = ad::randn(shape, ad::float64),
                 w = ad::randn(shape, ad::float64);
    ad::eval(x, v, w);
    const auto derivatives = [&](const Function& norm) {
      const auto loss = [&](const Tensor& t) { return ad::sum(ad::tanh(norm(t)) * w); };
      return std::vector<Tensor>{ad::grad(loss)(x), ad::hvp(loss, x, v), ad::jvp(norm, {x}, {v}).second};
    };
    const std::vector<Tensor> found = derivatives(in_one_pass), expected = derivatives(in_two_passes);
    for (std::size_t i = 0; i < found.size(); ++i)
      CHECK(ad::amax(ad::abs(found[i] - expected[i])).item<double>() <
            1e-12 * ad::amax(ad::abs(expected[i])).item<double>());
    CHECK(ad::amax(ad::abs(expected[1])).item<double>() > 1e-6);
  }
}
