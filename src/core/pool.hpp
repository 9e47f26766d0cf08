// Small blocks of memory for what a step makes and lets go of again: nodes, headers, short lists. Each thread keeps
// those that were freed on it, so that a step that repeats asks the system for none.
#pragma once

#include <cstddef>
#include <new>
#include <string>
#include <vector>

namespace adjoint::detail {

/// What a thread keeps: lists by size. Multiples of 64 bytes up to 512, then powers of two up to a MiB.
class Pool {
 public:
  static void* allocate(std::size_t bytes) {
    const SizeClass size = size_class(bytes);
#if !defined(__SANITIZE_ADDRESS__)
    if (size.index < kClasses) {
      Pool& pool = of_thread;
      if (Block* block = pool.first_[size.index]) {
        pool.first_[size.index] = block->next;
        pool.bytes_ -= size.bytes;
        __builtin_prefetch(block->next, 1);  // it is the next one, and may have been away for long
        return block;
      }
    }
#endif
    return allocate_from_system(size.bytes);
  }
  static void free(void* block, std::size_t bytes) noexcept {
    [[maybe_unused]] const SizeClass size = size_class(bytes);
#if !defined(__SANITIZE_ADDRESS__)
    Pool& pool = of_thread;
    if (size.index < kClasses && pool.bytes_ + size.bytes <= kMostBytes) {
      if (pool.bytes_ == 0) empty_at_end_of_thread();  // a thread may only ever free
      pool.first_[size.index] = ::new (block) Block{pool.first_[size.index]};
      pool.bytes_ += size.bytes;
      return;
    }
#endif
    free_to_system(block);
  }

 private:
  struct Block {
    Block* next;
  };
  struct SizeClass {
    std::size_t bytes;
    int index;
  };
  static constexpr std::size_t kMostFine = 512, kMostBytes = std::size_t{16} << 20;
  static constexpr int kFine = kMostFine / 64, kClasses = kFine + 11;
  static constexpr SizeClass size_class(std::size_t bytes) noexcept {
    if (bytes <= kMostFine) {
      const std::size_t units = bytes == 0 ? 1 : (bytes + 63) / 64;
      return {units * 64, static_cast<int>(units) - 1};
    }
    const int log2 = 64 - __builtin_clzll(bytes - 1);
    return {std::size_t{1} << log2, kFine + log2 - 10};
  }
  static void* allocate_from_system(std::size_t bytes);
  static void free_to_system(void* block) noexcept;
  static void empty_at_end_of_thread();
  struct Emptying;

  static thread_local Pool of_thread;

  Block* first_[kClasses] = {};
  std::size_t bytes_ = 0;
};
// Plain, so that it is there before, and after, all objects of the thread.
inline thread_local Pool Pool::of_thread;

/// A block, aligned to 64 bytes. Throws std::bad_alloc.
inline void* pool_allocate(std::size_t bytes) { return Pool::allocate(bytes); }
/// Takes back a block of pool_allocate(bytes), on any thread.
inline void pool_free(void* block, std::size_t bytes) noexcept { Pool::free(block, bytes); }

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
using PoolString = std::basic_string<char, std::char_traits<char>, PoolAllocator<char>>;

}  // namespace adjoint::detail
