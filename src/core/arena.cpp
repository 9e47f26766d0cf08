#include "core/arena.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <new>

namespace adjoint::detail {
namespace {

constexpr std::size_t kStep = std::size_t{2} << 20;  // by which the range becomes usable: a huge page

std::size_t rounded_up(std::size_t bytes, std::size_t unit) noexcept { return (bytes + unit - 1) / unit * unit; }

/// As much as the machine has memory.
std::size_t most_bytes() noexcept {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return 0;
  return static_cast<std::size_t>(pages) * static_cast<std::size_t>(page) / kStep * kStep;
}

}  // namespace

Arena::~Arena() {
  if (begin_) munmap(begin_, static_cast<std::size_t>(limit_ - begin_));
}

int Arena::list_of(std::size_t bytes) noexcept {
  const int power = 63 - __builtin_clzll(bytes);
  const auto eighth = static_cast<int>(bytes >> (power - 3)) - kPerPower;
  return std::min((power - kFirstPower) * kPerPower + eighth, kLists - 1);
}

/// Addresses alone: memory comes with use.
bool Arena::reserve() noexcept {
  const std::size_t bytes = most_bytes();
  void* range = bytes == 0
                    ? MAP_FAILED
                    : mmap(nullptr, bytes + kStep, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return false;
  const auto address = reinterpret_cast<std::uintptr_t>(range);
  const std::size_t before = rounded_up(address, kStep) - address;
  begin_ = end_ = usable_ = static_cast<std::byte*>(range) + before;
  limit_ = begin_ + bytes;
  if (before > 0) munmap(range, before);
  munmap(limit_, kStep - before);
#if defined(MADV_HUGEPAGE)
  madvise(begin_, bytes, MADV_HUGEPAGE);  // a wish
#endif
  return true;
}

/// Moves the end.
bool Arena::grow(std::size_t bytes) noexcept {
  if (static_cast<std::size_t>(limit_ - end_) < bytes) return false;
  if (std::byte* end = end_ + bytes; end > usable_) {
    const std::size_t more = rounded_up(static_cast<std::size_t>(end - usable_), kStep);
    if (mprotect(usable_, more, PROT_READ | PROT_WRITE) != 0) return false;
    usable_ += more;
  }
  end_ += bytes;
  return true;
}

void Arena::insert(Block* block) noexcept {
  const int list = list_of(block->bytes);
  block->is_free = true;
  block->previous = nullptr;
  block->next = free_[list];
  while (block->next && block->next < block) {
    block->previous = block->next;
    block->next = block->next->next;
  }
  (block->previous ? block->previous->next : free_[list]) = block;
  if (block->next) block->next->previous = block;
  any_free_[list / 64] |= std::uint64_t{1} << (list % 64);
  if (block->is_kept) cached_ += block->bytes;
}

void Arena::remove(Block* block) noexcept {
  const int list = list_of(block->bytes);
  (block->previous ? block->previous->next : free_[list]) = block->next;
  if (block->next) block->next->previous = block->previous;
  if (!free_[list]) any_free_[list / 64] &= ~(std::uint64_t{1} << (list % 64));
  block->is_free = false;
  if (block->is_kept) cached_ -= block->bytes;
}

/// The first free block of so many bytes, or null.
Arena::Block* Arena::find(std::size_t bytes) const noexcept {
  const int smallest = list_of(bytes);
  Block* first = free_[smallest];
  while (first && first->bytes < bytes) first = first->next;
  for (int list = smallest + 1; list < kLists; ++list) {
    const std::uint64_t word = any_free_[list / 64] >> (list % 64);
    if (word == 0) {
      list = list / 64 * 64 + 63;
      continue;
    }
    list += __builtin_ctzll(word);
    if (!first || free_[list] < first) first = free_[list];
  }
  return first;
}

/// A block at the end, made of what is free there and new memory.
Arena::Block* Arena::at_end(std::size_t bytes) noexcept {
  Block* block = last_;
  if (block && block->is_free) {
    if (!grow(bytes - block->bytes)) return nullptr;
    remove(block);
    block->bytes = bytes;
    return block;
  }
  std::byte* const at = end_;
  if (!grow(bytes)) return nullptr;
  return last_ = ::new (at) Block{bytes, block, nullptr, nullptr, false, true};
}

void* Arena::allocate(std::size_t bytes) noexcept {
  if (!begin_ && !failed_) failed_ = !reserve();
  if (failed_ || bytes > static_cast<std::size_t>(limit_ - begin_)) return nullptr;
  bytes = std::max(rounded_up(bytes, alignof(Block)) + sizeof(Block), kSmallest);
  Block* block = find(bytes);
  if (block) {
    remove(block);
    if (const std::size_t rest = block->bytes - bytes; rest >= kSmallest) {
      block->bytes = bytes;
      auto* other = ::new (end_of(block)) Block{rest, block, nullptr, nullptr, true, block->is_kept};
      set_before_next(other);
      insert(other);
    }
  } else if (block = at_end(bytes); !block) {
    return nullptr;
  }
  block->is_kept = true;  // once it is freed
  return block + 1;
}

void Arena::free(void* data) noexcept {
  Block* block = static_cast<Block*>(data) - 1;
  const auto join = [&](Block* next) {
    block->is_kept |= next->is_kept;
    block->bytes += next->bytes;
  };
  if (Block* before = block->before; before && before->is_free) {
    remove(before);
    std::swap(before, block);
    join(before);
  }
  if (Block* next = after(block); next && next->is_free) {
    remove(next);
    join(next);
  }
  set_before_next(block);
  insert(block);
}

void Arena::trim() noexcept {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (Block* first : free_)
    for (Block* block = first; block; block = block->next) {
      if (!block->is_kept) continue;
      block->is_kept = false;
      const auto begin = rounded_up(reinterpret_cast<std::uintptr_t>(block + 1), page);
      const auto end = reinterpret_cast<std::uintptr_t>(end_of(block)) / page * page;
      if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    }
  cached_ = 0;
}

}  // namespace adjoint::detail
