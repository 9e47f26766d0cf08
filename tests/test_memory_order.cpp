// In which order results lie in memory, and how often activations are copied from one order into the other.
#include "engine/memory_order.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace ad = adjoint;
namespace nn = adjoint::nn;
using ad::Tensor;
using ad::detail::Access;
using ad::detail::MemoryOrder;

namespace {

/// [2, 3, 4, 5] that lies channels-last.
Tensor channels_last(ad::Dtype dtype = ad::float32) {
  const Tensor x = ad::rand({2, 4, 5, 3}, dtype);
  ad::eval(x);
  return ad::permute(x, {0, 3, 1, 2});
}

const ad::detail::Node& computed(const Tensor& x) {
  ad::eval(x);
  return *Access::node(x);
}
bool lies_channels_last(const Tensor& x) {
  const ad::detail::Node& node = computed(x);
  return ad::detail::is_channels_last(node.shape, node.value.strides);
}
bool lies_row_major(const Tensor& x) {
  const ad::detail::Node& node = computed(x);
  return ad::detail::is_row_major(node.shape, node.value.strides);
}

std::int64_t conversions_of(const std::function<void()>& body) {
  const std::int64_t before = ad::memory::layout_conversions();
  body();
  return ad::memory::layout_conversions() - before;
}

/// Five convolutions with batch norms; three poolings.
nn::Sequential make_network() {
  nn::Conv2dOptions same;
  same.padding = 1;
  nn::Conv2dOptions grouped = same;
  grouped.groups = 2;
  return nn::Sequential(nn::Conv2d(3, 8, 3, same), nn::BatchNorm2d(8), nn::ReLU(), nn::MaxPool2d(2),
                        nn::Conv2d(8, 12, 3, same), nn::BatchNorm2d(12), nn::ReLU(), nn::Dropout(0.1),
                        nn::Conv2d(12, 12, 3, grouped), nn::BatchNorm2d(12), nn::ReLU(), nn::AvgPool2d(2),
                        nn::Conv2d(12, 16, 3, same), nn::BatchNorm2d(16), nn::ReLU(),  //
                        nn::Conv2d(16, 16, 3, same), nn::BatchNorm2d(16), nn::ReLU(), nn::MaxPool2d(2));
}

}  // namespace

TEST_CASE("the order of an array without gaps, and of any other") {
  const ad::Shape shape{2, 3, 4, 5};
  CHECK(MemoryOrder(shape, ad::row_major_strides(shape)).is_row_major());
  const MemoryOrder last(shape, {60, 1, 15, 3});
  CHECK_FALSE(last.is_row_major());
  CHECK(last.apply(shape) == ad::Shape{2, 4, 5, 3});
  CHECK(last.undo(last.apply(shape)) == shape);
  CHECK(last.strides(shape) == ad::Strides{60, 1, 15, 3});
  CHECK(last.position(1) == 3);
  CHECK(last.position(3) == 2);
  for (const ad::Strides& strides : {ad::Strides{60, 2, 15, 3}, ad::Strides{60, 0, 5, 1}, ad::Strides{-60, 1, 15, 3}})
    CHECK(MemoryOrder(shape, strides).is_row_major());
  // A size of 1 steps nowhere.
  CHECK(MemoryOrder({2, 1, 4, 5}, {20, 1, 5, 1}).is_row_major());
  CHECK(MemoryOrder({2, 3, 1, 5}, {15, 1, 99, 3}).strides({2, 3, 4, 5})[1] == 1);
  CHECK(ad::detail::is_channels_last({2, 1, 4, 5}, {20, 20, 5, 1}));
}

TEST_CASE("elementwise results lie as their inputs do") {
  const Tensor x = channels_last(), row_major = ad::rand({2, 3, 4, 5}), scale = ad::rand({3, 1, 1});
  ad::eval(row_major, scale);
  CHECK(lies_channels_last(ad::relu(x)));
  CHECK(lies_channels_last(x * 2 + 1));
  CHECK(lies_channels_last(x * scale));
  CHECK(lies_channels_last(row_major + x));
  CHECK(lies_channels_last(ad::where(row_major > 0.5, x, 0)));
  CHECK(lies_channels_last(x.to(ad::float64)));
  CHECK(lies_row_major(row_major * scale));
  CHECK(lies_row_major(x.expand({2, 2, 3, 4, 5}) * 1));  // another rank than x's
  CHECK(conversions_of([&] { ad::eval(ad::exp(x) * scale + row_major); }) == 0);
}

TEST_CASE("joined, padded, gathered and scattered activations stay channels-last") {
  const Tensor x = channels_last();
  const Tensor index = ad::zeros({2, 3, 4, 5}, ad::int64);
  CHECK(lies_channels_last(ad::cat({x, ad::rand({2, 2, 4, 5})}, 1)));
  CHECK(lies_channels_last(ad::cat({x, x}, 2)));
  CHECK(lies_channels_last(ad::pad(x, {1, 1, 1, 1})));
  CHECK(lies_channels_last(ad::gather(x, 1, index)));
  CHECK(lies_channels_last(ad::scatter_add(ad::zeros({2, 3, 4, 5}), 2, index, x)));
  CHECK(lies_channels_last(ad::conv2d(x, ad::rand({6, 3, 3, 3}))));
  CHECK(lies_channels_last(ad::max_pool2d(x, 2)));
  CHECK(lies_channels_last(ad::avg_pool2d(x, 2)));
  // A small slice, which is copied.
  const Tensor many = ad::rand({64, 4, 5, 3});
  ad::eval(many);
  CHECK(lies_channels_last(ad::slice(many.permute({0, 3, 1, 2}), 0, 0, 2)));
}

TEST_CASE("an error names an index where the caller put it, however it lies") {
  Tensor index = ad::zeros({2, 4, 5, 3}, ad::int64);
  index = ad::index_put(index, {1, 2, 3, 2}, ad::tensor(7));
  index = ad::permute(index, {0, 3, 1, 2});
  try {
    ad::eval(ad::gather(channels_last(), 1, index));
    FAIL("nothing was thrown");
  } catch (const ad::ValueError& error) {
    CHECK(std::string(error.what()).find("index 7 at position (1, 2, 2, 3)") != std::string::npos);
  }
}

TEST_CASE("reductions give the same however the input lies") {
  const Tensor x = channels_last(ad::float64), copy = ad::tensor(x.to_vector<double>()).reshape({2, 3, 4, 5});
  for (const ad::Dims& dims : {ad::Dims{0, 2, 3}, ad::Dims{2, 3}, ad::Dims{1}, ad::Dims{1, 2, 3}, ad::Dims{0},
                               ad::Dims{3}, ad::Dims{0, 1, 2, 3}}) {
    CAPTURE(dims);
    CHECK(ad::allclose(ad::sum(x, dims), ad::sum(copy, dims), 1e-14, 0));
    CHECK(ad::equal(ad::amax(x, dims), ad::amax(copy, dims)));
  }
  CHECK(ad::equal(ad::argmax(x, 1), ad::argmax(copy, 1)));
  CHECK(ad::equal(ad::argmax(x, 2), ad::argmax(copy, 2)));
}

TEST_CASE("a network with five convolutions and batch norms converts where it begins and where it ends") {
  ad::manual_seed(1);
  const nn::Sequential net = make_network();
  const Tensor images = ad::rand({4, 3, 16, 16});
  ad::eval(images);
  Tensor y;
  {
    const ad::NoGradGuard no_grad;
    CHECK(conversions_of([&] { ad::eval(y = net(images)); }) == 1);
    CHECK(conversions_of([&] { y.data<float>(); }) == 1);  // where it is looked at
    CHECK(conversions_of([&] { ad::eval(net(images).flatten(1)); }) == 2);
  }
  // With a backward pass: the input is read once more, for the first weight's gradient, and the last cotangent arrives
  // row-major.
  const Tensor loss = ad::sum(ad::square(nn::Flatten()(net(images))));
  CHECK(conversions_of([&] {
          loss.backward();
          std::vector<Tensor> gradients;
          for (const Tensor& parameter : net.parameters()) gradients.push_back(parameter.grad());
          ad::eval(gradients);
        }) <= 4);
  // Control: images that already lie channels-last are not converted.
  const Tensor x = channels_last();
  CHECK(conversions_of([&] { ad::eval(ad::relu(ad::conv2d(x, ad::rand({4, 3, 3, 3})))); }) == 0);
}
