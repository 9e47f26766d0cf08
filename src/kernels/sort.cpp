#include "kernels/kernels.hpp"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace adjoint::kernels {
namespace {

/// A whole number whose order is the element's.
template <class T>
auto key_of(T value) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    using Key = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    if (value != value) return static_cast<Key>(-1);
    value += 0;  // -0 is 0
    Key bits;
    std::memcpy(&bits, &value, sizeof bits);
    constexpr Key sign = Key{1} << (sizeof(Key) * 8 - 1);
    return bits & sign ? static_cast<Key>(~bits) : static_cast<Key>(bits | sign);
  } else if constexpr (std::is_signed_v<T>) {
    using Key = std::make_unsigned_t<T>;
    return static_cast<Key>(static_cast<Key>(value) ^ Key{1} << (sizeof(Key) * 8 - 1));
  } else {
    return static_cast<std::uint32_t>(value);
  }
}

// An entry is a key with its position, so that no two are equal. Keys of 32 bits share a word with theirs.
struct Wide {
  std::uint64_t key;
  std::int64_t position;
  friend bool operator<(const Wide& a, const Wide& b) noexcept {
    return a.key != b.key ? a.key < b.key : a.position < b.position;
  }
};
constexpr std::int64_t kMostNarrow = std::int64_t{1} << 32;
bool is_narrow(Dtype dtype, std::int64_t n) noexcept { return size_of(dtype) <= 4 && n <= kMostNarrow; }

std::uint64_t entry(std::uint64_t*, std::uint64_t key, std::int64_t position) noexcept {
  return key << 32 | static_cast<std::uint64_t>(position);
}
Wide entry(Wide*, std::uint64_t key, std::int64_t position) noexcept { return {key, position}; }
std::int64_t position_of(std::uint64_t entry) noexcept { return static_cast<std::int64_t>(entry & (kMostNarrow - 1)); }
std::int64_t position_of(const Wide& entry) noexcept { return entry.position; }

template <class Entry, class T>
void fill(std::int64_t n, bool descending, const T* input, std::int64_t stride, Entry* entries) noexcept {
  using Key = decltype(key_of(T()));
  const Key flipped = descending ? static_cast<Key>(-1) : Key{0};
  for (std::int64_t i = 0; i < n; ++i)
    entries[i] = entry(entries, static_cast<Key>(key_of(input[i * stride]) ^ flipped), i);
}

template <class Entry>
void fill(Dtype dtype, std::int64_t n, bool descending, const void* input, std::int64_t stride,
          Entry* entries) noexcept {
  switch (dtype) {
    case float32:
      return fill(n, descending, static_cast<const float*>(input), stride, entries);
    case float64:
      return fill(n, descending, static_cast<const double*>(input), stride, entries);
    case int64:
      return fill(n, descending, static_cast<const std::int64_t*>(input), stride, entries);
    case int32:
      return fill(n, descending, static_cast<const std::int32_t*>(input), stride, entries);
    case uint8:
    case bool_:
      return fill(n, descending, static_cast<const std::uint8_t*>(input), stride, entries);
  }
}

/// Brings the k smallest to the front, in order.
template <class Entry>
void choose(std::int64_t n, std::int64_t k, Entry* entries, std::int64_t* output, std::int64_t stride) noexcept {
  if (k == n) {
    std::sort(entries, entries + n);
  } else if (k <= n / 64) {
    std::partial_sort(entries, entries + k, entries + n);
  } else {
    std::nth_element(entries, entries + k, entries + n);
    std::sort(entries, entries + k);
  }
  for (std::int64_t i = 0; i < k; ++i) output[i * stride] = position_of(entries[i]);
}

}  // namespace

void order(Dtype dtype, std::int64_t n, std::int64_t k, bool descending, const void* input, std::int64_t stride,
           std::int64_t* output, std::int64_t output_stride, void* scratch) noexcept {
  const auto run = [&](auto* entries) {
    fill(dtype, n, descending, input, stride, entries);
    choose(n, k, entries, output, output_stride);
  };
  if (is_narrow(dtype, n)) run(static_cast<std::uint64_t*>(scratch));
  else run(static_cast<Wide*>(scratch));
}

std::size_t order_scratch(Dtype dtype, std::int64_t n) noexcept {
  return static_cast<std::size_t>(n) * (is_narrow(dtype, n) ? sizeof(std::uint64_t) : sizeof(Wide));
}

}  // namespace adjoint::kernels
