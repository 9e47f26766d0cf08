// Tensors from values, and from nothing.
#pragma once

#include <adjoint/tensor.hpp>

#include <memory>
#include <utility>

namespace adjoint {

namespace detail {

/// Braces of any depth around numbers, as an argument of tensor().
class Nested {
 public:
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  Nested(T value) : scalar(value) {}
  Nested(std::initializer_list<Nested> entries) : scalar(0), list(entries), is_list(true) {}

  Scalar scalar;
  std::initializer_list<Nested> list;
  bool is_list = false;
};

ADJOINT_API Tensor tensor_from(const Nested& values, std::optional<Dtype> dtype);
ADJOINT_API Tensor copy_in(const void* data, const Shape& shape, Dtype dtype);
ADJOINT_API Tensor adopt(void* data, const Shape& shape, Dtype dtype, void (*release)(void* context), void* context);

}  // namespace detail

/// A tensor of numbers in braces: `tensor({{1.0, 2.0}, {3.0, 4.0}})`, or of one number. The dtype is float32 when any
/// is floating-point, else int64, or bool when all are. Throws ShapeError when the braces are ragged.
inline Tensor tensor(const detail::Nested& values, std::optional<Dtype> dtype = {}) {
  return detail::tensor_from(values, dtype);
}
/// A one-dimensional tensor of a vector's elements and dtype.
template <class T>
Tensor tensor(const std::vector<T>& values) {
  if constexpr (std::is_same_v<T, bool>) {
    auto copy = std::make_unique<bool[]>(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) copy[i] = values[i];
    return detail::copy_in(copy.get(), {static_cast<std::int64_t>(values.size())}, bool_);
  } else {
    return detail::copy_in(values.data(), {static_cast<std::int64_t>(values.size())}, dtype_of<T>());
  }
}
/// A tensor of the row-major elements at `data`, copied. Throws ShapeError for a negative size.
template <class T>
Tensor from_blob(const T* data, const Shape& shape) {
  return detail::copy_in(data, shape, dtype_of<T>());
}
/// A tensor that adopts the row-major elements at `data` without a copy; `deleter(data)` is called when nothing
/// refers to them any more, on whichever thread that is. Nobody may write to them meanwhile.
template <class T, class Deleter>
Tensor from_blob(T* data, const Shape& shape, Deleter deleter) {
  struct Context {
    T* data;
    Deleter deleter;
  };
  auto context = std::make_unique<Context>(Context{data, std::move(deleter)});
  Tensor result = detail::adopt(data, shape, dtype_of<T>(), [](void* p) {
        std::unique_ptr<Context> owned(static_cast<Context*>(p));
        owned->deleter(owned->data);
      }, context.get());
  context.release();
  return result;
}

/// All of these take any shape of sizes >= 0, and throw ShapeError otherwise.
ADJOINT_API Tensor zeros(const Shape& shape, Dtype dtype = float32);
ADJOINT_API Tensor ones(const Shape& shape, Dtype dtype = float32);
/// The dtype is the value's own (float32, int64 or bool) unless given. Throws ValueError for a whole number that the
/// dtype cannot hold.
ADJOINT_API Tensor full(const Shape& shape, Scalar value, std::optional<Dtype> dtype = {});
/// Values that nobody may rely on (they are zeros here).
ADJOINT_API Tensor empty(const Shape& shape, Dtype dtype = float32);
ADJOINT_API Tensor zeros_like(const Tensor& x, std::optional<Dtype> dtype = {});
ADJOINT_API Tensor ones_like(const Tensor& x, std::optional<Dtype> dtype = {});
ADJOINT_API Tensor full_like(const Tensor& x, Scalar value, std::optional<Dtype> dtype = {});
ADJOINT_API Tensor empty_like(const Tensor& x, std::optional<Dtype> dtype = {});
/// Ones on the main diagonal of an n x m matrix (m = n when left out), zeros elsewhere.
ADJOINT_API Tensor eye(std::int64_t n, std::optional<std::int64_t> m = {}, Dtype dtype = float32);
/// start, start + step, ... up to but without stop. int64 when all three are integers, else float32, unless given.
/// Throws ValueError for a step of 0 or one that leads away from stop.
ADJOINT_API Tensor arange(Scalar start, Scalar stop, Scalar step = 1, std::optional<Dtype> dtype = {});
ADJOINT_API Tensor arange(Scalar stop);
/// `steps` evenly spaced values from start to stop, both included. Throws ValueError when steps < 0.
ADJOINT_API Tensor linspace(Scalar start, Scalar stop, std::int64_t steps, Dtype dtype = float32);

}  // namespace adjoint
