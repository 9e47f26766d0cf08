// Small blocks of memory for what a step makes and lets go of again: nodes, headers, short lists. Each thread keeps
// those that were freed on it, so that a step that repeats asks the system for none.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace adjoint::detail {

/// A block, aligned to 64 bytes. Throws std::bad_alloc.
void* pool_allocate(std::size_t bytes);
/// Takes back a block of pool_allocate(bytes), on any thread.
void pool_free(void* block, std::size_t bytes) noexcept;

/// The standard containers' way to it.
template <class T>
struct PoolAllocator {
  using value_type = T;
  PoolAllocator() = default;
  template <class U>
  PoolAllocator(const PoolAllocator<U>&) noexcept {}
  T* allocate(std::size_t count) { return static_cast<T*>(pool_allocate(count * sizeof(T))); }
  void deallocate(T* block, std::size_t count) noexcept { pool_free(block, count * sizeof(T)); }
  friend bool operator==(PoolAllocator, PoolAllocator) noexcept { return true; }
  friend bool operator!=(PoolAllocator, PoolAllocator) noexcept { return false; }
};

/// A list that lives as long as a call.
template <class T>
using List = std::vector<T, PoolAllocator<T>>;

}  // namespace adjoint::detail
