#include "ops/common.hpp"

namespace adjoint {
namespace detail {
namespace {

const Operation kOrder{"argsort", Family::non_differentiable, execute_order};

/// The positions of the first k elements along a dim, in order.
Tensor ordered(const Tensor& x, int dim, std::int64_t k, bool descending) {
  Shape shape = x.shape();
  shape[dim] = k;
  return record(kOrder, shape, int64, {x}, OrderAttributes{dim, descending});
}

}  // namespace
}  // namespace detail

using namespace detail;

// PyTorch takes a scalar for a vector of one here.
ValuesIndices sort(const Tensor& x, std::int64_t dim, bool descending) {
  const Shape& shape = Access::node(x, "sort")->shape;
  if (shape.empty()) {
    checked_dims("sort", dim, shape);
    return {unchanged(x), zeros({}, int64)};
  }
  const int d = checked_dim("sort", dim, shape);
  const Tensor indices = ordered(x, d, shape[d], descending);
  return {gather(x, d, indices), indices};
}

Tensor argsort(const Tensor& x, std::int64_t dim, bool descending) {
  const Shape& shape = Access::node(x, "argsort")->shape;
  if (shape.empty()) {
    checked_dims("argsort", dim, shape);
    return zeros({}, int64);
  }
  const int d = checked_dim("argsort", dim, shape);
  return ordered(x, d, shape[d], descending);
}

ValuesIndices topk(const Tensor& x, std::int64_t k, std::int64_t dim, bool largest, bool) {
  const Shape& shape = Access::node(x, "topk")->shape;
  if (shape.empty() && k == 1) {
    checked_dims("topk", dim, shape);
    return {unchanged(x), zeros({}, int64)};
  }
  const int d = checked_dim("topk", dim, shape);
  if (k < 0 || k > shape[d])
    throw ValueError("topk: k is " + std::to_string(k) + " for dim " + std::to_string(dim) + " of shape " +
                     to_string(shape) + "; it must lie in [0, " + std::to_string(shape[d]) + "]");
  const Tensor indices = ordered(x, d, k, largest);
  return {gather(x, d, indices), indices};
}

}  // namespace adjoint
