// Memory for large blocks.
#pragma once

#include <cstddef>
#include <cstdint>

namespace adjoint::detail {

/// One range of addresses, used from its beginning on and only as far as is needed. A block lies in the first place
/// that it fits into, and joins its free neighbours when it is freed: steps whose tensors have many sizes need little
/// more memory than the most that is in use at a time. To be used under a lock.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  /// A block of at least `bytes` bytes, aligned to 64; null where there is no memory, or no such range.
  void* allocate(std::size_t bytes) noexcept;
  void free(void* data) noexcept;
  bool owns(const void* data) const noexcept {
    const auto* at = static_cast<const std::byte*>(data);
    return begin_ <= at && at < end_;
  }
  /// Bytes that are free and that the system has not been given back.
  std::size_t cached() const noexcept { return cached_; }
  /// Gives what is free back to the system.
  void trim() noexcept;

 private:
  /// What stands before a block's bytes.
  struct alignas(64) Block {
    std::size_t bytes;       // with this
    Block* before;           // in memory; null: the first
    Block *next, *previous;  // in the list of free ones
    bool is_free, is_kept;   // kept: what is free counts as cached
  };
  // Lists of free blocks, in the order in memory: eight for each power of two from 4 KiB on.
  static constexpr int kFirstPower = 12, kPerPower = 8, kLists = 40 * kPerPower;
  static constexpr std::size_t kSmallest = std::size_t{1} << kFirstPower;

  static int list_of(std::size_t bytes) noexcept;
  bool reserve() noexcept;
  bool grow(std::size_t bytes) noexcept;
  std::byte* end_of(Block* block) const noexcept { return reinterpret_cast<std::byte*>(block) + block->bytes; }
  Block* after(Block* block) const noexcept {
    return end_of(block) == end_ ? nullptr : reinterpret_cast<Block*>(end_of(block));
  }
  /// Makes a block, whose size is new, the one before the next one, or the last.
  void set_before_next(Block* block) noexcept {
    Block* next = after(block);
    (next ? next->before : last_) = block;
  }
  void insert(Block* block) noexcept;
  void remove(Block* block) noexcept;
  Block* find(std::size_t bytes) const noexcept;
  Block* at_end(std::size_t bytes) noexcept;

  std::byte *begin_ = nullptr, *end_ = nullptr;  // of the blocks
  std::byte *usable_ = nullptr, *limit_ = nullptr;
  bool failed_ = false;  // there is no range
  Block* last_ = nullptr;
  Block* free_[kLists] = {};
  std::uint64_t any_free_[kLists / 64] = {};
  std::size_t cached_ = 0;
};

}  // namespace adjoint::detail
