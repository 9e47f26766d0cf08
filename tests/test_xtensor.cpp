// xtensor in and out.
#include <adjoint/autograd.hpp>
#include <adjoint/ops.hpp>
#include <adjoint/xtensor.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <xtensor/xadapt.hpp>
#include <xtensor/xfixed.hpp>
#include <xtensor/xmath.hpp>
#include <xtensor/xtensor.hpp>
#include <xtensor/xview.hpp>

namespace ad = adjoint;

static_assert(__cplusplus == 201703L, "xtensor 0.24 gives wrong results with GCC above C++17");

TEST_CASE("an lvalue is copied") {
  xt::xarray<float> a = {{1, 2, 3}, {4, 5, 6}};
  const ad::Tensor t = ad::from_xtensor(a);
  a(0, 0) = 100;
  CHECK(t.dtype() == ad::float32);
  CHECK(t.shape() == ad::Shape{2, 3});
  CHECK(t.to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(t.data<float>() != a.data());

  const xt::xtensor<std::int64_t, 1> b = {7, 8};
  CHECK(ad::from_xtensor(b).to_vector<std::int64_t>() == std::vector<std::int64_t>{7, 8});
  CHECK(ad::from_xtensor(std::move(b)).to_vector<std::int64_t>() == std::vector<std::int64_t>{7, 8});
  CHECK(b(1) == 8);
}

TEST_CASE("an rvalue is adopted, without a copy") {
  xt::xarray<double> a = xt::ones<double>({30, 40});
  const double* elements = a.data();
  ad::Tensor t = ad::from_xtensor(std::move(a));
  CHECK(t.data<double>() == elements);
  CHECK(ad::sum(t).item<double>() == 1200);

  xt::xtensor<std::uint8_t, 3> b = xt::zeros<std::uint8_t>({2, 3, 400});
  const std::uint8_t* bytes = b.data();
  t = ad::from_xtensor(std::move(b));
  CHECK(t.data<std::uint8_t>() == bytes);
  CHECK(t.shape() == ad::Shape{2, 3, 400});
}

TEST_CASE("expressions, other layouts and other containers are evaluated") {
  const xt::xarray<float> a = {{1, 2, 3}, {4, 5, 6}};
  CHECK(ad::from_xtensor(a * 2.0f + 1.0f).to_vector<float>() == std::vector<float>{3, 5, 7, 9, 11, 13});
  CHECK(ad::from_xtensor(xt::transpose(a)).to_vector<float>() == std::vector<float>{1, 4, 2, 5, 3, 6});
  CHECK(ad::from_xtensor(xt::view(a, xt::all(), xt::range(1, 3))).to_vector<float>() == std::vector<float>{2, 3, 5, 6});
  CHECK(ad::from_xtensor(xt::sum(a, {0})).to_vector<float>() == std::vector<float>{5, 7, 9});
  CHECK(ad::from_xtensor(a > 3.0f).to_vector<bool>() == std::vector<bool>{false, false, false, true, true, true});

  const xt::xarray<int, xt::layout_type::column_major> columns = a;
  CHECK(ad::from_xtensor(columns).to_vector<int>() == std::vector<int>{1, 2, 3, 4, 5, 6});
  CHECK(ad::from_xtensor(xt::xarray<int, xt::layout_type::column_major>(columns)).to_vector<int>() ==
        std::vector<int>{1, 2, 3, 4, 5, 6});
  const xt::xtensor_fixed<double, xt::xshape<2, 2>> fixed = {{1, 2}, {3, 4}};
  CHECK(ad::from_xtensor(fixed).to_vector<double>() == std::vector<double>{1, 2, 3, 4});
  const std::vector<double> values = {1, 2, 3, 4, 5, 6};
  CHECK(ad::from_xtensor(xt::adapt(values, {3, 2})).shape() == ad::Shape{3, 2});
}

TEST_CASE("scalars, nothing, and too many dims") {
  const xt::xarray<float> scalar = 3.0f;
  CHECK(ad::from_xtensor(scalar).shape() == ad::Shape{});
  CHECK(ad::from_xtensor(scalar).item<float>() == 3);
  const xt::xarray<float> nothing = xt::zeros<float>({3, 0});
  CHECK(ad::from_xtensor(nothing).shape() == ad::Shape{3, 0});
  CHECK(ad::from_xtensor(xt::xarray<float>(nothing)).numel() == 0);
  CHECK(ad::as_xtensor<float>(ad::zeros({3, 0})).size() == 0);
  CHECK(ad::as_xtensor<float>(ad::full({}, 2.5))() == 2.5f);
  const xt::xarray<float> deep = xt::zeros<float>(std::vector<std::size_t>(9, 1));
  CHECK_THROWS_AS(ad::from_xtensor(deep), ad::ShapeError);
}

TEST_CASE("a view has the tensor's elements, and no copy of them") {
  const ad::Tensor t = ad::tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  const auto view = ad::as_xtensor<float>(t);
  CHECK(view.data() == t.data<float>());
  REQUIRE(view.dimension() == 2);
  CHECK(view.shape(0) == 2);
  CHECK(view.shape(1) == 3);
  CHECK(view(1, 2) == 6);
  const xt::xarray<float> sums = xt::sum(view, {1});
  CHECK(sums == xt::xarray<float>{6, 15});
  CHECK_THROWS_AS(ad::as_xtensor<double>(t), ad::DtypeError);
  static_assert(std::is_same_v<decltype(view(0, 0)), const float&>);
}

TEST_CASE("a view shows a recorded, strided tensor in order") {
  const ad::Tensor t = ad::tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  CHECK(ad::as_xtensor<float>(t.t() * 10.0) == xt::xarray<float>{{10, 40}, {20, 50}, {30, 60}});
}

TEST_CASE("a view keeps the elements alive, and as they were") {
  const auto view = ad::as_xtensor<float>(ad::full({1000}, 7.0) + 1.0);
  auto copy = view;
  const ad::Tensor noise = ad::zeros({1000}) + 3.0;
  ad::eval(noise);
  CHECK(copy(999) == 8);

  ad::Tensor cell = ad::ones({4}).requires_grad_();
  const auto before = ad::as_xtensor<float>(cell);
  {
    const ad::NoGradGuard no_grad;
    cell += 1.0;
  }
  CHECK(cell.to_vector<float>() == std::vector<float>(4, 2));
  CHECK(before == xt::xarray<float>{1, 1, 1, 1});
}

TEST_CASE("there and back") {
  const xt::xarray<double> a = xt::linspace<double>(0, 1, 24).reshape({2, 3, 4});
  CHECK(ad::as_xtensor<double>(ad::from_xtensor(a)) == a);
}
