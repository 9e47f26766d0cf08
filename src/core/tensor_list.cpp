// TensorList: memory of the pool.
#include "core/pool.hpp"

#include <adjoint/tensor.hpp>

#include <algorithm>
#include <memory>
#include <utility>

namespace adjoint {

TensorList::TensorList(const Tensor* first, const Tensor* last) {
  reserve(static_cast<std::size_t>(last - first));
  std::uninitialized_copy(first, last, first_);
  size_ = static_cast<std::size_t>(last - first);
}

TensorList::~TensorList() {
  std::destroy(begin(), end());
  if (first_) detail::pool_free(first_, capacity_ * sizeof(Tensor));
}

void TensorList::reserve(std::size_t capacity) {
  if (capacity <= capacity_) return;
  auto* first = static_cast<Tensor*>(detail::pool_allocate(capacity * sizeof(Tensor)));
  std::uninitialized_move(begin(), end(), first);
  std::destroy(begin(), end());
  if (first_) detail::pool_free(first_, capacity_ * sizeof(Tensor));
  first_ = first;
  capacity_ = capacity;
}

void TensorList::push_back(Tensor tensor) {
  if (size_ == capacity_) reserve(std::max<std::size_t>(4, 2 * capacity_));
  ::new (first_ + size_) Tensor(std::move(tensor));
  ++size_;
}

void TensorList::swap(TensorList& other) noexcept {
  std::swap(first_, other.first_);
  std::swap(size_, other.size_);
  std::swap(capacity_, other.capacity_);
}

}  // namespace adjoint
