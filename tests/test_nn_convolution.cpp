// The layers of convolution.hpp; the operations' values and derivatives are in test_ops.
#include "message_of.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace ad = adjoint;
namespace nn = adjoint::nn;
using ad::Tensor;

namespace {

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Uniform on +-bound: nothing is outside, and something near.
void check_uniform(const Tensor& x, double bound) {
  CHECK(ad::max(ad::abs(x)).item<double>() <= bound);
  CHECK(ad::max(ad::abs(x)).item<double>() > 0.9 * bound);
}

}  // namespace

TEST_CASE("Conv2d") {
  nn::Conv2d conv(2, 3, {1, 2}, {2, {0, 1}, 1, 1, true, ad::float64});
  CHECK(conv.weight.shape() == ad::Shape{3, 2, 1, 2});
  CHECK(conv.bias.shape() == ad::Shape{3});
  conv.weight = ad::ones({3, 2, 1, 2}, ad::float64);
  conv.bias = ad::tensor({0.0, 10.0, 20.0}, ad::float64);
  const Tensor x = ad::tensor({{{{1.0, 2.0, 3.0}}, {{10.0, 20.0, 30.0}}}}, ad::float64);
  // Padded: 0 1 2 3 0 and 0 10 20 30 0; windows of 2 at 0 and 2.
  CHECK(conv(x).shape() == ad::Shape{1, 3, 1, 2});
  CHECK(conv(x).to_vector<double>() == std::vector<double>{11, 55, 21, 65, 31, 75});
  CHECK(conv(x[0]).shape() == ad::Shape{3, 1, 2});

  nn::Conv2dOptions grouped;
  grouped.groups = 2;
  grouped.bias = false;
  const nn::Conv2d plain(4, 6, 3, grouped);
  CHECK(plain.weight.shape() == ad::Shape{6, 2, 3, 3});
  CHECK(plain.parameters().size() == 1);
  CHECK(plain(ad::zeros({5, 4, 8, 7})).shape() == ad::Shape{5, 6, 6, 5});
  CHECK(plain.extra_repr() == "in=4, out=6, kernel_size=3, groups=2, bias=false");
  CHECK(nn::Conv2d(1, 2, {3, 1}, {2, {1, 0}, 3}).extra_repr() ==
        "in=1, out=2, kernel_size={3, 1}, stride=2, padding={1, 0}, dilation=3");

  CHECK_THROWS_AS(nn::Conv2d(0, 2, 3), ad::ValueError);
  CHECK_THROWS_AS(nn::Conv2d(2, 2, {3, 0}), ad::ValueError);
  CHECK_THROWS_AS(nn::Conv2d(2, 2, 3, {0}), ad::ValueError);
  CHECK_THROWS_AS(nn::Conv2d(2, 2, 3, {1, -1}), ad::ValueError);
  CHECK_THROWS_AS(nn::Conv2d(2, 2, 3, {1, 0, 0}), ad::ValueError);
  CHECK(contains(message_of([] { nn::Conv2d(4, 6, 3, {1, 0, 1, 4}); }), "groups (4)"));
  CHECK_THROWS_AS(nn::Conv2d(2, 2, 3, {1, 0, 1, 1, true, ad::int64}), ad::DtypeError);

  nn::Sequential net(nn::Conv2d(3, 4, 3), nn::ReLU());
  const std::string message = message_of([&] { net(ad::zeros({2, 5, 8, 8})); });
  CHECK(contains(message, "conv2d"));
  CHECK(contains(message, "(2, 5, 8, 8)"));
  CHECK(contains(message, "(4, 3, 3, 3)"));
}

TEST_CASE("convolutions start as PyTorch's do") {
  ad::manual_seed(4);
  const nn::Conv2d conv(8, 64, {3, 5}, {1, 0, 1, 2});
  check_uniform(conv.weight, 1 / std::sqrt(4 * 15.0));
  check_uniform(conv.bias, 1 / std::sqrt(4 * 15.0));
  const nn::ConvTranspose2d transposed(16, 64, 3, {1, 0, 0, 2});
  check_uniform(transposed.weight, 1 / std::sqrt(32 * 9.0));
  check_uniform(transposed.bias, 1 / std::sqrt(32 * 9.0));
}

TEST_CASE("ConvTranspose2d") {
  nn::ConvTranspose2d conv(2, 3, 4, {2, 1});
  CHECK(conv.weight.shape() == ad::Shape{2, 3, 4, 4});
  CHECK(conv(ad::zeros({5, 2, 7, 6})).shape() == ad::Shape{5, 3, 14, 12});
  CHECK(conv.extra_repr() == "in=2, out=3, kernel_size=4, stride=2, padding=1");
  // It undoes the shape of the convolution with the same numbers.
  CHECK(nn::Conv2d(3, 2, 4, {2, 1})(conv(ad::zeros({5, 2, 7, 6}))).shape() == ad::Shape{5, 2, 7, 6});
  CHECK(nn::ConvTranspose2d(2, 3, 3, {2, 1, 1})(ad::zeros({1, 2, 7, 6})).shape() == ad::Shape{1, 3, 14, 12});
  CHECK_THROWS_AS(nn::ConvTranspose2d(2, 3, 3, {2, 1, -1}), ad::ValueError);
  CHECK_THROWS_AS(nn::ConvTranspose2d(3, 4, 3, {1, 0, 0, 2}), ad::ValueError);
}

TEST_CASE("pooling layers") {
  const Tensor x = ad::reshape(ad::arange(16).to(ad::float32), {1, 1, 4, 4});
  CHECK(nn::MaxPool2d(2)(x).to_vector<float>() == std::vector<float>{5, 7, 13, 15});
  CHECK(nn::MaxPool2d({2, 4}, {{1, 4}})(x).to_vector<float>() == std::vector<float>{7, 11, 15});
  CHECK(nn::AvgPool2d(2)(x).to_vector<float>() == std::vector<float>{2.5, 4.5, 10.5, 12.5});
  CHECK(nn::AdaptiveAvgPool2d({1, 2})(x).to_vector<float>() == std::vector<float>{6.5, 8.5});
  CHECK(nn::MaxPool2d(2).extra_repr() == "kernel_size=2");
  CHECK(nn::MaxPool2d(3, {2, 1}).extra_repr() == "kernel_size=3, stride=2, padding=1");
  CHECK(nn::AvgPool2d({3, 2}, {1, 0, true, false, {}}).extra_repr() ==
        "kernel_size={3, 2}, stride=1, ceil_mode=true, count_include_pad=false");
  CHECK(nn::AdaptiveAvgPool2d(1).extra_repr() == "output_size=1");
  CHECK_THROWS_AS(nn::MaxPool2d(5)(x), ad::ShapeError);
}

TEST_CASE("max_pool2d hands on NaN, and chooses an element even where all are -infinity") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const Tensor x = ad::tensor({{{{1.0, nan, -infinity, -infinity}, {nan, 2.0, -infinity, -infinity}}}}, ad::float64);
  const auto [values, indices] = ad::max_pool2d_with_indices(x, 2);
  CHECK(std::isnan(values.to_vector<double>()[0]));
  CHECK(values.to_vector<double>()[1] == -infinity);
  CHECK(indices.to_vector<std::int64_t>() == std::vector<std::int64_t>{1, 2});
}
