// Memory for tensors' elements.
#pragma once

#include "core/counter.hpp"
#include "core/pool.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace adjoint::detail {

/// A counted block of memory, aligned to 64 bytes. Blocks come from a cache of freed ones (memory::stats), and go back
/// to it, unless they were adopted from the user.
class Storage {
 public:
  /// A block of at least `bytes` bytes, with one reference. Throws std::bad_alloc.
  static Storage* allocate(std::size_t bytes);
  /// A block of the user's: `release(context)` is called with the last reference.
  static Storage* adopt(void* data, std::size_t bytes, void (*release)(void*), void* context);
  /// A block without memory, where only the layout of values matters: as large as allocate(bytes) would make it.
  static Storage* stand_in(std::size_t bytes);

  /// Bytes of all blocks that are in use.
  static std::int64_t live_bytes() noexcept { return live.load(std::memory_order_relaxed); }

  void* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }
  void add_ref() noexcept { add_to(refs_, 1); }
  void drop_ref() noexcept {
    if (take_from(refs_, 1) == 1) destroy();
  }
  bool is_shared() const noexcept { return refs() != 1; }
  std::int32_t refs() const noexcept { return refs_.load(std::memory_order_acquire); }
  /// A user has a pointer into it: it must never be written again.
  void set_exposed() noexcept { exposed_.store(true, std::memory_order_relaxed); }
  bool is_writable() const noexcept { return !release_ && !exposed_.load(std::memory_order_relaxed); }

  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* block, std::size_t bytes) noexcept { pool_free(block, bytes); }

  static inline std::atomic<std::int64_t> live{0};  // what live_bytes() tells; for storage.cpp alone to write

 private:
  Storage() = default;
  void destroy() noexcept;

  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::atomic<std::int32_t> refs_{1};
  std::atomic<bool> exposed_{false};
  void (*release_)(void*) = nullptr;
  void* context_ = nullptr;
};

}  // namespace adjoint::detail
