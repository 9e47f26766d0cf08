#include <adjoint/data/standardizer.hpp>
#include <adjoint/ops/elementwise.hpp>
#include <adjoint/xtensor.hpp>

#include "data/host.hpp"

#include <algorithm>

#include <xtensor/xmath.hpp>

namespace adjoint::data {

namespace {

/// The dims to fit over, ascending and counted from the front; all of them for none.
std::vector<std::size_t> fitted_dims(const Tensor& x, const Dims& dims) {
  std::vector<std::size_t> result;
  if (dims.empty())
    for (int i = 0; i < x.dim(); ++i) result.push_back(static_cast<std::size_t>(i));
  for (std::int64_t dim : dims) {
    if (dim < -x.dim() || dim >= x.dim())
      throw ShapeError("Standardizer::fit: dim " + std::to_string(dim) + " is out of range for x of shape " +
                       to_string(x.shape()));
    result.push_back(static_cast<std::size_t>(dim < 0 ? dim + x.dim() : dim));
  }
  std::sort(result.begin(), result.end());
  if (std::adjacent_find(result.begin(), result.end()) != result.end())
    throw ShapeError("Standardizer::fit: dims " + to_string(dims) + " name one twice");
  return result;
}

}  // namespace

Standardizer::Standardizer(Tensor mean, Tensor deviation) noexcept
    : mean_(std::move(mean)), deviation_(std::move(deviation)) {}

Standardizer Standardizer::fit(const Tensor& x, const DimArg& dims) {
  const std::vector<std::size_t> over = fitted_dims(x, dims.dims());
  if (x.numel() == 0) throw ValueError("Standardizer::fit: x has shape " + to_string(x.shape()) + " and no elements");
  return visit(x.dtype(), [&](auto type) {
    const auto values = as_xtensor<decltype(type)>(x);
    const xt::xarray<double> mean = xt::mean<double>(values, over, xt::keep_dims);
    const xt::xarray<double> variance =
        xt::mean<double>(xt::square(xt::cast<double>(values) - mean), over, xt::keep_dims);
    xt::xarray<float> deviation = xt::cast<float>(xt::sqrt(variance));
    for (float& value : deviation)
      if (value == 0) value = 1;
    return Standardizer(from_xtensor(xt::cast<float>(mean)), from_xtensor(std::move(deviation)));
  });
}

Tensor Standardizer::transform(const Tensor& x) const {
  return (x.to(x.dtype() == float64 ? float64 : float32) - mean_) / deviation_;
}

}  // namespace adjoint::data
