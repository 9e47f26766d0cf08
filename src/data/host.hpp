// Tensors as arrays of the host.
#pragma once

#include <adjoint/ops/creation.hpp>

#include <cstddef>
#include <new>

namespace adjoint::data {

/// Calls f(T()) with the C++ type of a dtype.
template <class F>
decltype(auto) visit(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::float32:
      return f(float());
    case Dtype::float64:
      return f(double());
    case Dtype::int64:
      return f(std::int64_t());
    case Dtype::int32:
      return f(std::int32_t());
    case Dtype::uint8:
      return f(std::uint8_t());
    case Dtype::bool_:
      break;
  }
  return f(bool());
}

/// Memory for the elements of a tensor to be, aligned for any vector kernel.
class HostBuffer {
 public:
  explicit HostBuffer(std::size_t bytes) : data_(allocate(bytes)) {}
  ~HostBuffer() { release(data_); }
  HostBuffer(const HostBuffer&) = delete;
  HostBuffer& operator=(const HostBuffer&) = delete;

  std::byte* data() noexcept { return data_; }

  /// A tensor of the elements written so far; the buffer is its own from then on.
  Tensor to_tensor(const Shape& shape, Dtype dtype) && {
    return visit(dtype, [&](auto type) {
      using T = decltype(type);
      Tensor result = from_blob(reinterpret_cast<T*>(data_), shape, [](T* data) { release(data); });
      data_ = nullptr;
      return result;
    });
  }

 private:
  static constexpr std::align_val_t kAlignment{64};
  static std::byte* allocate(std::size_t bytes) { return static_cast<std::byte*>(::operator new(bytes, kAlignment)); }
  static void release(void* data) noexcept { ::operator delete(data, kAlignment); }

  std::byte* data_;
};

}  // namespace adjoint::data
