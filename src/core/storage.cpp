#include "core/storage.hpp"

#include "core/arena.hpp"

#include <adjoint/memory.hpp>

#include <algorithm>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

namespace adjoint::detail {
namespace {

constexpr std::size_t kAlignment = 64;
// AddressSanitizer sees more of memory that is not kept.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeepsMemory = false;
#else
constexpr bool kKeepsMemory = true;
#endif
// Blocks of at least so many bytes come from the arena, smaller ones from lists by size.
constexpr std::size_t kLarge = std::size_t{32} << 10;
// Freed small blocks are kept up to the most that was ever live, and at least this much: a training step finds its
// buffers.
constexpr std::int64_t kCacheAtLeast = std::int64_t{64} << 20;

// Four sizes per power of two, so that at most a fifth of a small block is unused; of large ones nothing is.
struct SizeClass {
  std::size_t bytes;
  std::size_t index;  // of small ones
};
SizeClass size_class(std::size_t bytes) noexcept {
  if (bytes <= 4 * kAlignment || bytes >= kLarge) {
    const std::size_t units = std::max<std::size_t>(1, (bytes + kAlignment - 1) / kAlignment);
    return {units * kAlignment, units - 1};
  }
  const int log2 = 63 - __builtin_clzll(bytes - 1);  // 2^log2 <= bytes - 1
  const std::size_t step = std::size_t{1} << (log2 - 2);
  const std::size_t steps = (bytes + step - 1) / step;  // 5..8
  return {steps * step, static_cast<std::size_t>(log2 - 8) * 4 + (steps - 5) + 4};
}

std::byte nothing;  // where stand-ins lie

std::atomic<std::int64_t>& live = Storage::live;

class Cache {
 public:
  static Cache& get() {
    static Cache& cache = *new Cache;  // never destroyed: tensors of static lifetime outlive every other object
    return cache;
  }

  void* allocate(SizeClass size) {
    {
      std::lock_guard lock(mutex_);
      count(static_cast<std::int64_t>(size.bytes));
      if (size.bytes >= kLarge) {
        if (void* data = kKeepsMemory ? arena_.allocate(size.bytes) : nullptr) return data;
      } else if (size.index < free_.size() && !free_[size.index].blocks.empty()) {
        Free& list = free_[size.index];
        void* data = list.blocks.back();
        list.blocks.pop_back();
        list.last_use = ++uses_;
        cached_ -= static_cast<std::int64_t>(size.bytes);
        return data;
      }
    }
    void* data = std::aligned_alloc(kAlignment, size.bytes);
    if (!data) {
      trim();
      data = std::aligned_alloc(kAlignment, size.bytes);
    }
    if (!data) {
      std::lock_guard lock(mutex_);
      live -= static_cast<std::int64_t>(size.bytes);
      throw std::bad_alloc();
    }
    return data;
  }

  void free(void* data, SizeClass size) noexcept {
    {
      std::lock_guard lock(mutex_);
      const auto bytes = static_cast<std::int64_t>(size.bytes);
      live -= bytes;
      if (arena_.owns(data)) return arena_.free(data);
      if (kKeepsMemory && size.bytes < kLarge) {
        try {
          if (free_.size() <= size.index) free_.resize(size.index + 1);
          Free& list = free_[size.index];
          list.bytes = bytes;
          list.blocks.push_back(data);
          list.last_use = ++uses_;
          cached_ += bytes;
          while (cached_ > std::max(kCacheAtLeast, peak_)) let_go();
          return;
        } catch (const std::bad_alloc&) {  // then it is not kept
        }
      }
    }
    std::free(data);
  }

  void adopt(std::int64_t bytes) noexcept {
    std::lock_guard lock(mutex_);
    count(bytes);
  }
  void disown(std::int64_t bytes) noexcept {
    std::lock_guard lock(mutex_);
    live -= bytes;
  }

  void trim() noexcept {
    std::vector<Free> free;
    {
      std::lock_guard lock(mutex_);
      free.swap(free_);
      cached_ = 0;
      arena_.trim();
    }
    for (const Free& list : free)
      for (void* data : list.blocks) std::free(data);
  }

  memory::Stats stats() noexcept {
    std::lock_guard lock(mutex_);
    return {live, peak_, cached_ + static_cast<std::int64_t>(arena_.cached())};
  }
  void reset_peak() noexcept {
    std::lock_guard lock(mutex_);
    peak_ = live;
  }

 private:
  void count(std::int64_t bytes) noexcept {
    live += bytes;
    peak_ = std::max(peak_, live.load(std::memory_order_relaxed));
  }

  /// Small blocks of a size.
  struct Free {
    std::vector<void*> blocks;
    std::int64_t bytes = 0;
    std::uint64_t last_use = 0;
  };
  /// Lets go of one block, of the size that has not been asked for, or given back, for longest.
  void let_go() noexcept {
    Free* oldest = nullptr;
    for (Free& list : free_)
      if (!list.blocks.empty() && (!oldest || list.last_use < oldest->last_use)) oldest = &list;
    std::free(oldest->blocks.back());
    oldest->blocks.pop_back();
    cached_ -= oldest->bytes;
  }

  std::mutex mutex_;
  std::vector<Free> free_;  // by size
  Arena arena_;
  std::uint64_t uses_ = 0;
  std::int64_t peak_ = 0, cached_ = 0;
};

}  // namespace

Storage* Storage::allocate(std::size_t bytes) {
  const SizeClass size = size_class(bytes);
  auto* storage = new Storage;
  try {
    storage->data_ = Cache::get().allocate(size);
  } catch (...) {
    delete storage;
    throw;
  }
  storage->bytes_ = size.bytes;
  return storage;
}

Storage* Storage::adopt(void* data, std::size_t bytes, void (*release)(void*), void* context) {
  auto* storage = new Storage;
  storage->data_ = data;
  storage->bytes_ = bytes;
  storage->release_ = release;
  storage->context_ = context;
  Cache::get().adopt(static_cast<std::int64_t>(bytes));
  return storage;
}

Storage* Storage::stand_in(std::size_t bytes) {
  auto* storage = new Storage;
  storage->data_ = &nothing;
  storage->bytes_ = size_class(bytes).bytes;
  return storage;
}

void Storage::destroy() noexcept {
  if (release_) {
    Cache::get().disown(static_cast<std::int64_t>(bytes_));
    release_(context_);
  } else if (data_ != &nothing) {
    Cache::get().free(data_, size_class(bytes_));
  }
  delete this;
}

}  // namespace adjoint::detail

namespace adjoint::memory {

Stats stats() noexcept { return detail::Cache::get().stats(); }
void reset_peak() noexcept { detail::Cache::get().reset_peak(); }
void trim() noexcept { detail::Cache::get().trim(); }

}  // namespace adjoint::memory
