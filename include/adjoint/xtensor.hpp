// xtensor in and out. The only header of adjoint that includes a third-party one; not part of <adjoint/adjoint.hpp>.
#pragma once

// With GCC in C++20 mode, xtensor 0.24.3 silently loses results: xt::eval(xt::sum(a, {0})) is empty, or aborts.
#if defined(__GNUC__) && !defined(__clang__) && __cplusplus > 201703L
#pragma GCC warning \
    "adjoint/xtensor.hpp: with GCC, xtensor 0.24 gives wrong results above C++17; use -std=c++17 for this file"
#endif

#include <adjoint/ops/creation.hpp>

#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>

namespace adjoint {

namespace detail {

// The row-major containers that own their elements: what can be read by a pointer and, as an rvalue, adopted.
template <class X>
struct is_row_major_array : std::false_type {};
template <class Storage, class ShapeType>
struct is_row_major_array<
    xt::xarray_container<Storage, xt::layout_type::row_major, ShapeType, xt::xtensor_expression_tag>>
    : std::is_pointer<decltype(std::declval<Storage&>().data())> {};
template <class Storage, std::size_t N>
struct is_row_major_array<xt::xtensor_container<Storage, N, xt::layout_type::row_major, xt::xtensor_expression_tag>>
    : std::is_pointer<decltype(std::declval<Storage&>().data())> {};

}  // namespace detail

/// A tensor of an xtensor array's or expression's elements. An rvalue xt::xarray or xt::xtensor (row-major) is adopted
/// without a copy; everything else is evaluated, or copied, once. Throws ShapeError beyond kMaxRank dims.
template <class Expression>
Tensor from_xtensor(Expression&& expression) {
  using X = std::decay_t<Expression>;
  using T = typename X::value_type;
  const Shape shape(expression.shape());
  if constexpr (detail::is_row_major_array<X>::value && !std::is_lvalue_reference_v<Expression> &&
                !std::is_const_v<std::remove_reference_t<Expression>>) {
    auto owned = std::make_unique<X>(std::move(expression));
    Tensor result = from_blob(owned->data(), shape, [container = owned.get()](T*) { delete container; });
    owned.release();
    return result;
  } else if constexpr (detail::is_row_major_array<X>::value) {
    return from_blob(expression.data(), shape);
  } else {
    return from_xtensor(xt::xarray<T, xt::layout_type::row_major>(expression));
  }
}

/// What as_xtensor() returns: a const array over memory that a shared_ptr keeps alive.
template <class T>
using XtensorView =
    xt::xarray_adaptor<xt::xbuffer_adaptor<const T*, xt::smart_ownership, std::shared_ptr<const Tensor>>,
                       xt::layout_type::row_major, std::vector<std::size_t>>;

/// The tensor's elements as a const xtensor expression, without a copy. The view keeps them alive, and shows what the
/// tensor held when it was made, also when it is a cell that is assigned later. Computes. Throws DtypeError when T is
/// not the tensor's dtype.
template <class T>
const XtensorView<T> as_xtensor(const Tensor& tensor) {
  const auto held = std::make_shared<const Tensor>(tensor.detach());
  const T* data = held->data<T>();
  using Buffer = typename XtensorView<T>::storage_type;
  return XtensorView<T>(Buffer(data, static_cast<std::size_t>(held->numel()), held),
                        std::vector<std::size_t>(held->shape().begin(), held->shape().end()));
}

}  // namespace adjoint
