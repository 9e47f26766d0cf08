#include "core/pool.hpp"

#include <cstdint>

namespace adjoint::detail {
namespace {

constexpr std::size_t kAlignment = 64;
// Multiples of 64 bytes up to 512, then powers of two up to a MiB; larger blocks are the system's.
constexpr std::size_t kMostFine = 512, kMost = std::size_t{1} << 20;
constexpr int kFine = kMostFine / kAlignment, kClasses = kFine + 11;
// What a thread keeps.
constexpr std::size_t kMostKept = std::size_t{16} << 20;

struct SizeClass {
  std::size_t bytes;
  int index;
};
SizeClass size_class(std::size_t bytes) noexcept {
  if (bytes <= kMostFine) {
    const std::size_t units = bytes == 0 ? 1 : (bytes + kAlignment - 1) / kAlignment;
    return {units * kAlignment, static_cast<int>(units) - 1};
  }
  const int log2 = 64 - __builtin_clzll(bytes - 1);
  return {std::size_t{1} << log2, kFine + log2 - 10};
}

[[maybe_unused]] void* allocate_aligned(std::size_t bytes) {
  return ::operator new(bytes, std::align_val_t{kAlignment});
}
void free_aligned(void* block) noexcept { ::operator delete(block, std::align_val_t{kAlignment}); }

struct Block {
  Block* next;
};
// Plain, so that it is there before, and after, all objects of the thread.
struct Kept {
  Block* first[kClasses];
  std::size_t bytes;
};
thread_local Kept kept;

// Empties the lists when their thread ends; blocks freed even later (by objects of static lifetime) are not kept.
struct Emptying {
  ~Emptying() {
    kept.bytes = kMostKept;
    for (Block*& first : kept.first)
      while (Block* block = first) {
        first = block->next;
        free_aligned(block);
      }
  }
};
[[maybe_unused]] void empty_at_end() {
  thread_local Emptying emptying;
  static_cast<void>(emptying);
}

}  // namespace

void* pool_allocate(std::size_t bytes) {
  if (bytes > kMost) return allocate_aligned(bytes);
  const SizeClass size = size_class(bytes);
#if !defined(__SANITIZE_ADDRESS__)
  if (Block* block = kept.first[size.index]) {
    kept.first[size.index] = block->next;
    kept.bytes -= size.bytes;
    return block;
  }
#endif
  return allocate_aligned(size.bytes);
}

void pool_free(void* block, std::size_t bytes) noexcept {
#if !defined(__SANITIZE_ADDRESS__)
  if (bytes <= kMost) {
    const SizeClass size = size_class(bytes);
    if (kept.bytes + size.bytes <= kMostKept) {
      if (kept.bytes == 0) empty_at_end();  // a thread may only ever free
      kept.first[size.index] = ::new (block) Block{kept.first[size.index]};
      kept.bytes += size.bytes;
      return;
    }
  }
#endif
  free_aligned(block);
}

}  // namespace adjoint::detail
