// Reference counts. While the process has a single thread, which the C library knows, they are counted without the
// processor's locked instructions, as its shared_ptr does: those would be a good part of the cost of a small operation.
#pragma once

#include <atomic>
#include <type_traits>

#if defined(__GLIBC__) && __has_include(<sys/single_threaded.h>) && !defined(__SANITIZE_THREAD__)
#include <sys/single_threaded.h>
#define ADJOINT_SINGLE_THREADED __libc_single_threaded
#else
#define ADJOINT_SINGLE_THREADED false
#endif

namespace adjoint::detail {

/// Adds, and returns the count before.
template <class T>
T add_to(std::atomic<T>& count, std::common_type_t<T> amount,
         std::memory_order order = std::memory_order_relaxed) noexcept {
  if (ADJOINT_SINGLE_THREADED) {
    const T before = count.load(std::memory_order_relaxed);
    count.store(before + amount, std::memory_order_relaxed);
    return before;
  }
  return count.fetch_add(amount, order);
}
/// Takes away, and returns the count before: the last one to do so sees what the others did.
template <class T>
T take_from(std::atomic<T>& count, std::common_type_t<T> amount) noexcept {
  return add_to(count, -amount, std::memory_order_acq_rel);
}
/// Adds one, unless `is_none(count)`. Whether it did.
template <class T, class IsNone>
bool add_unless(std::atomic<T>& count, const IsNone& is_none) noexcept {
  T before = count.load(std::memory_order_relaxed);
  if (ADJOINT_SINGLE_THREADED) {
    if (is_none(before)) return false;
    count.store(before + 1, std::memory_order_relaxed);
    return true;
  }
  while (!is_none(before))
    if (count.compare_exchange_weak(before, before + 1, std::memory_order_acq_rel)) return true;
  return false;
}

}  // namespace adjoint::detail

#undef ADJOINT_SINGLE_THREADED
