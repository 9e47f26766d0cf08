// Tensors from values, dtypes and their promotion, numbers of the host program, and indices.
#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

namespace ad = adjoint;
using ad::Shape;
using ad::Tensor;
using Integers = std::vector<std::int64_t>;

namespace {

Integers integers(const Tensor& x) { return x.to(ad::int64).to_vector<std::int64_t>(); }

constexpr ad::Dtype kDtypes[] = {ad::bool_, ad::uint8, ad::int32, ad::int64, ad::float32, ad::float64};

}  // namespace

// -- creation ---------------------------------------------------------------------------------------------------------

TEST_CASE("tensor() takes braces of any depth; their numbers choose the dtype") {
  CHECK(ad::tensor({0.5, 1.0}).dtype() == ad::float32);
  CHECK(ad::tensor({1, 2}).dtype() == ad::int64);
  CHECK(ad::tensor({1, 2.0}).dtype() == ad::float32);
  CHECK(ad::tensor({true, false}).dtype() == ad::bool_);
  CHECK(ad::tensor({true, 2}).dtype() == ad::int64);
  CHECK(ad::tensor({1, 2}, ad::float64).dtype() == ad::float64);
  CHECK(ad::tensor({0.25, 3.75}, ad::int32).to_vector<std::int32_t>() == std::vector<std::int32_t>{0, 3});
  CHECK(ad::tensor(7).shape() == Shape{});
  CHECK(ad::tensor(7).item<std::int64_t>() == 7);
  CHECK(ad::tensor(2.5).dtype() == ad::float32);
  CHECK(ad::tensor({7}).shape() == Shape{1});
  CHECK(ad::tensor({{1, 2, 3}, {4, 5, 6}}).shape() == Shape{2, 3});
  CHECK(ad::tensor({{1, 2}}).shape() == Shape{1, 2});
  CHECK(ad::tensor({{{1}}}).shape() == Shape{1, 1, 1});
  CHECK(ad::tensor({{1}, {2}, {3}}).shape() == Shape{3, 1});
  const Tensor deep = ad::tensor({{{1, 2}, {3, 4}, {5, 6}}, {{7, 8}, {9, 10}, {11, 12}}});
  CHECK(deep.shape() == Shape{2, 3, 2});
  CHECK(integers(deep) == Integers{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12});
  CHECK(ad::tensor({{}, {}}).shape() == Shape{2, 0});
  CHECK(ad::tensor({{}, {}}).dtype() == ad::float32);
  // Exactly, where a double would not do.
  CHECK(ad::tensor({std::int64_t{9007199254740993}}).item<std::int64_t>() == 9007199254740993);
}

TEST_CASE("ragged braces throw, wherever they are ragged") {
  CHECK_THROWS_AS(ad::tensor({{1, 2}, {3}}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({{1}, {2, 3}}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({{1, 2}, 3}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({1, {2, 3}}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({{1}, {{2}}}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({{{1}}, {2}}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({{1, 2}, {{}, {}}}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({{1, 2}, {{3, 5}, {4, 6}}}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({{}, {1}}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({{}, 1}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({{{1, 2}, {3, 4}}, {{5, 6}, {7}}}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor({{{{{{{{{1}}}}}}}}}), ad::ShapeError);  // more dims than there may be
}

TEST_CASE("tensor() takes a vector with its elements' dtype") {
  const auto check = [](const auto& values, ad::Dtype dtype) {
    const Tensor x = ad::tensor(values);
    CHECK(x.dtype() == dtype);
    CHECK(x.shape() == Shape{static_cast<std::int64_t>(values.size())});
    for (std::size_t i = 0; i < values.size(); ++i)
      CHECK(x[i].item<double>() == static_cast<double>(static_cast<int>(values[i])));
  };
  check(std::vector<float>{1, -2}, ad::float32);
  check(std::vector<double>{1, -2, 3}, ad::float64);
  check(std::vector<std::int64_t>{1, -2}, ad::int64);
  check(std::vector<long long>{4}, ad::int64);
  check(std::vector<int>{1, -2}, ad::int32);
  check(std::vector<std::uint8_t>{1, 255}, ad::uint8);
  check(std::vector<bool>{true, false, true}, ad::bool_);
  check(std::vector<float>{}, ad::float32);
}

TEST_CASE("zeros, ones, full, eye, arange, linspace, and the like of others") {
  CHECK(ad::zeros({2, 2}).dtype() == ad::float32);
  CHECK(integers(ad::ones({2}, ad::uint8)) == Integers{1, 1});
  CHECK(ad::full({2}, 3).dtype() == ad::int64);
  CHECK(ad::full({2}, 0.5).dtype() == ad::float32);
  CHECK(ad::full({}, true).dtype() == ad::bool_);
  CHECK(integers(ad::full({2}, 2.9, ad::int32)) == Integers{2, 2});
  const Tensor x = ad::ones({2, 3}, ad::float64);
  CHECK(ad::zeros_like(x).dtype() == ad::float64);
  CHECK(ad::full_like(x, 2, ad::int32).shape() == x.shape());
  CHECK(ad::empty_like(x).shape() == x.shape());
  CHECK(ad::empty({0}).numel() == 0);
  CHECK(integers(ad::eye(2, 3)) == Integers{1, 0, 0, 0, 1, 0});
  CHECK(integers(ad::eye(3, {}, ad::bool_)) == Integers{1, 0, 0, 0, 1, 0, 0, 0, 1});

  CHECK(ad::arange(3).dtype() == ad::int64);
  CHECK(ad::arange(3.0).dtype() == ad::float32);
  CHECK(integers(ad::arange(2, 11, 3)) == Integers{2, 5, 8});
  CHECK(integers(ad::arange(2, 12, 3)) == Integers{2, 5, 8, 11});
  CHECK(integers(ad::arange(5, -1, -2)) == Integers{5, 3, 1});
  CHECK(integers(ad::arange(3, 3)).empty());
  CHECK(ad::arange(0.0, 1.0, 0.25).to_vector<float>() == std::vector<float>{0, 0.25f, 0.5f, 0.75f});
  CHECK(ad::arange(0, 2, 1, ad::float64).dtype() == ad::float64);
  CHECK_THROWS_AS(ad::arange(0, 3, 0), ad::ValueError);
  CHECK_THROWS_AS(ad::arange(0, 3, -1), ad::ValueError);

  const std::vector<double> line = ad::linspace(-1, 1, 5, ad::float64).to_vector<double>();
  CHECK(line == std::vector<double>{-1, -0.5, 0, 0.5, 1});
  CHECK(ad::linspace(0, 0.3, 1001, ad::float64)[-1].item<double>() == 0.3);
  CHECK(ad::linspace(3, 9, 1).to_vector<float>() == std::vector<float>{3});
  CHECK(ad::linspace(3, 9, 0).numel() == 0);
  CHECK_THROWS_AS(ad::linspace(0, 1, -1), ad::ValueError);
}

TEST_CASE("a shape comes from braces or, said so, from a range; it has at most eight sizes") {
  const std::vector<int> sizes{2, 3};
  CHECK(ad::zeros(Shape(sizes)).shape() == Shape{2, 3});
  CHECK(ad::zeros(Shape(sizes.begin(), sizes.end())).numel() == 6);
  CHECK(ad::zeros({1, 1, 1, 1, 1, 1, 1, 1}).dim() == 8);
  CHECK_THROWS_AS(ad::zeros({1, 1, 1, 1, 1, 1, 1, 1, 1}), ad::ShapeError);
  CHECK_THROWS_AS(ad::zeros({1, 1, 1, 1, 1, 1, 1, 1}).unsqueeze(0), ad::ShapeError);
  CHECK(ad::to_string(Shape{2, 3}) == "(2, 3)");
  CHECK(ad::to_string(Shape{2}) == "(2,)");
  CHECK(ad::to_string(Shape{}) == "()");
  const Tensor x = ad::zeros({2, 3, 4});
  CHECK(x.size(-1) == 4);
  CHECK(x.size(0) == 2);
  CHECK_THROWS_AS(x.size(3), ad::ShapeError);
  CHECK_THROWS_AS(x.size(-4), ad::ShapeError);
}

// -- looks ------------------------------------------------------------------------------------------------------------

TEST_CASE("item() is of one element, and converts within reason") {
  CHECK(ad::tensor({{2.5f}}).item<double>() == 2.5);
  CHECK(ad::tensor({3}).item<int>() == 3);
  CHECK(ad::tensor({3}).item<float>() == 3);
  CHECK(ad::tensor({0.5f}).item<bool>());
  CHECK(ad::tensor({true}).item<std::int64_t>() == 1);
  CHECK(ad::tensor({std::numeric_limits<std::int64_t>::max()}).item<std::int64_t>() ==
        std::numeric_limits<std::int64_t>::max());
  CHECK_THROWS_AS(ad::tensor({2.5f}).item<int>(), ad::DtypeError);
  CHECK_THROWS_WITH_AS(ad::zeros({2, 3}).item<float>(),
                       "item: the tensor of shape (2, 3) has 6 elements; it must have exactly one", ad::ValueError);
  CHECK_THROWS_AS(ad::zeros({0}).item<float>(), ad::ValueError);
}

// -- dtypes -----------------------------------------------------------------------------------------------------------

TEST_CASE("two tensors meet in the higher of their dtypes: bool < uint8 < int32 < int64 < float32 < float64") {
  for (int a = 0; a < 6; ++a)
    for (int b = 0; b < 6; ++b) {
      const Tensor x = ad::ones({2}, kDtypes[a]), y = ad::ones({2}, kDtypes[b]);
      CAPTURE(ad::name_of(kDtypes[a]));
      CAPTURE(ad::name_of(kDtypes[b]));
      const ad::Dtype expected = kDtypes[std::max(a, b)];
      CHECK(ad::promote_types(kDtypes[a], kDtypes[b]) == expected);
      CHECK((x + y).dtype() == expected);
      CHECK((x * y).dtype() == expected);
      CHECK(ad::where(x == y, x, y).dtype() == expected);
      CHECK(ad::cat({x, y}).dtype() == expected);
      CHECK((x < y).dtype() == ad::bool_);
      CHECK((x / y).dtype() == (ad::is_floating(expected) ? expected : ad::float32));
      CHECK(ad::sum(x).dtype() == (ad::is_floating(kDtypes[a]) ? kDtypes[a] : ad::int64));
    }
}

TEST_CASE("a number of the host program never promotes within its kind") {
  for (const ad::Dtype dtype : kDtypes) {
    const Tensor x = ad::ones({2}, dtype);
    CAPTURE(ad::name_of(dtype));
    CHECK((x * 2.0).dtype() == (ad::is_floating(dtype) ? dtype : ad::float32));
    CHECK((2.0f * x).dtype() == (ad::is_floating(dtype) ? dtype : ad::float32));
    CHECK((x + 2).dtype() == (dtype == ad::bool_ ? ad::int64 : dtype));
    CHECK((std::int64_t{2} + x).dtype() == (dtype == ad::bool_ ? ad::int64 : dtype));
    CHECK((x * true).dtype() == dtype);
    CHECK(ad::where(x > 0, x, 0.5).dtype() == (ad::is_floating(dtype) ? dtype : ad::float32));
    CHECK((x / 2).dtype() == (ad::is_floating(dtype) ? dtype : ad::float32));
  }
  const ad::Scalar scalar = 2.75;
  CHECK(scalar.is_floating());
  CHECK(scalar.to_int64() == 2);
  CHECK(ad::Scalar(true).is_bool());
  CHECK(ad::Scalar(7).is_integer());
  CHECK(ad::Scalar(7u).default_dtype() == ad::int64);
  CHECK(ad::Scalar(std::int64_t{9007199254740993}).to_int64() == 9007199254740993);
  CHECK((ad::tensor({std::int64_t{9007199254740992}}) + 1).item<std::int64_t>() == 9007199254740993);
}

TEST_CASE("casts truncate, and are no operation to the same dtype") {
  CHECK(integers(ad::tensor({-1.9f, 1.9f, 0.0f})) == Integers{-1, 1, 0});
  CHECK(integers(ad::tensor({-1.5f, 0.0f, 0.25f}).to(ad::bool_)) == Integers{1, 0, 1});
  CHECK(integers(ad::tensor({300, -1}).to(ad::uint8)) == Integers{44, 255});
  CHECK(ad::tensor({true}).to(ad::float64).item<double>() == 1);
  CHECK(ad::tensor({0.1f}).to(ad::float64).item<double>() == static_cast<double>(0.1f));
}

// -- indices ----------------------------------------------------------------------------------------------------------

namespace {

/// Python's slice.indices(): the positions that a slice selects, from its definition.
std::vector<std::int64_t> positions(const ad::Slice& slice, std::int64_t size) {
  const bool forwards = slice.step > 0;
  const auto bound = [&](std::optional<std::int64_t> at, std::int64_t otherwise) {
    if (!at) return otherwise;
    std::int64_t value = *at;
    if (value < 0) value += size;
    const std::int64_t lowest = forwards ? 0 : -1, highest = forwards ? size : size - 1;
    return value < lowest ? lowest : value > highest ? highest : value;
  };
  const std::int64_t start = bound(slice.start, forwards ? 0 : size - 1),
                     stop = bound(slice.stop, forwards ? size : -1);
  std::vector<std::int64_t> result;
  for (std::int64_t i = start; forwards ? i < stop : i > stop; i += slice.step) result.push_back(i);
  return result;
}

}  // namespace

TEST_CASE("slices select what Python's do") {
  using Bound = std::optional<std::int64_t>;
  for (std::int64_t size : {0, 1, 2, 5}) {
    const Tensor x = ad::arange(size) * 10;
    for (const Bound start : {Bound(), Bound(-7), Bound(-2), Bound(-1), Bound(0), Bound(1), Bound(4), Bound(9)})
      for (const Bound stop : {Bound(), Bound(-7), Bound(-2), Bound(-1), Bound(0), Bound(1), Bound(4), Bound(9)})
        for (std::int64_t step : {-7, -3, -2, -1, 1, 2, 3, 7}) {
          Integers expected = positions(ad::Slice(start, stop, step), size);
          for (std::int64_t& value : expected) value *= 10;
          REQUIRE(integers(x[ad::Slice(start, stop, step)]) == expected);
          if (step > 0) REQUIRE(integers(ad::slice(x, 0, start, stop, step)) == expected);
        }
  }
  CHECK_THROWS_AS(ad::arange(3)[ad::Slice(0, 2, 0)], ad::ValueError);
  CHECK_THROWS_AS(ad::slice(ad::arange(3), 0, 0, 2, -1), ad::ValueError);
}

TEST_CASE("indices of integers, slices, None and Ellipsis agree with plain loops") {
  const std::int64_t n0 = 3, n1 = 4, n2 = 5;
  const Tensor base = ad::arange(n0 * n1 * n2).reshape({n0, n1, n2});
  const auto value = [&](std::int64_t i, std::int64_t j, std::int64_t k) { return (i * n1 + j) * n2 + k; };
  using ad::Ellipsis;
  using ad::None;
  using ad::Slice;

  CHECK(base[1][2][3].item<std::int64_t>() == value(1, 2, 3));
  CHECK(base[-1][-2][-3].item<std::int64_t>() == value(2, 2, 2));
  CHECK(base.index(0, 1, 2).shape() == Shape{});
  CHECK(base.index({2, 3, 4}).item<std::int64_t>() == value(2, 3, 4));

  Integers expected;
  for (std::int64_t i = 0; i < n0; ++i)
    for (std::int64_t k = 4; k >= 0; k -= 2) expected.push_back(value(i, 1, k));
  const Tensor a = base.index({Slice(), 1, Slice({}, {}, -2)});
  CHECK(a.shape() == Shape{3, 3});
  CHECK(integers(a) == expected);

  const Tensor b = base.index({Ellipsis, None, 2});
  CHECK(b.shape() == Shape{3, 4, 1});
  expected.clear();
  for (std::int64_t i = 0; i < n0; ++i)
    for (std::int64_t j = 0; j < n1; ++j) expected.push_back(value(i, j, 2));
  CHECK(integers(b) == expected);

  const Tensor c = base.index({None, Slice(1, 3), None, Ellipsis, Slice(-3, {}), None});
  CHECK(c.shape() == Shape{1, 2, 1, 4, 3, 1});
  expected.clear();
  for (std::int64_t i = 1; i < n0; ++i)
    for (std::int64_t j = 0; j < n1; ++j)
      for (std::int64_t k = 2; k < n2; ++k) expected.push_back(value(i, j, k));
  CHECK(integers(c) == expected);

  CHECK(base.index({1, Ellipsis}).shape() == Shape{4, 5});
  CHECK(base.index({Ellipsis}).shape() == Shape{3, 4, 5});
  CHECK(base.index({1, Ellipsis, 2, 3}).shape() == Shape{});  // an Ellipsis may stand for nothing
  CHECK(base[None].shape() == Shape{1, 3, 4, 5});
  CHECK(base[Ellipsis].shape() == Shape{3, 4, 5});

  CHECK_THROWS_AS(base[3], ad::ValueError);
  CHECK_THROWS_AS(base[-4], ad::ValueError);
  CHECK_THROWS_AS(base.index({0, 0, 0, 0}), ad::ShapeError);
  CHECK_THROWS_AS(base.index({Ellipsis, 0, Ellipsis}), ad::ShapeError);
  CHECK_THROWS_AS(ad::tensor(1)[0], ad::ShapeError);
  CHECK_THROWS_WITH_AS(base.index({0, 7}), "index: position 7 is out of range for dim 1 of shape (3, 4, 5)",
                       ad::ValueError);
}

TEST_CASE("an index is differentiable, and its gradient lands where it was taken from") {
  const Tensor x = ad::arange(12).to(ad::float32).reshape({3, 4}).requires_grad_();
  ad::sum(x.index({ad::Slice({}, {}, -2), ad::Slice(1, 4, 2)}) * ad::tensor({{1.0f, 2.0f}, {3.0f, 4.0f}})).backward();
  CHECK(integers(x.grad()) == Integers{0, 3, 0, 4, 0, 0, 0, 0, 0, 1, 0, 2});
}
