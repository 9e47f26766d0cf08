#include "kernels/elements.hpp"
#include "kernels/kernels.hpp"

#include <cstring>

namespace adjoint::kernels {
namespace {

// A strided array with the fewest dims that say the same: innermost first, no size of 1, no two dims that step as one.
struct Walk {
  int rank = 0;
  std::int64_t size[kMaxRank], stride[kMaxRank];

  Walk(const Shape& shape, const Strides& strides) {
    for (int i = shape.size() - 1; i >= 0; --i) {
      if (shape[i] == 1) continue;
      if (rank > 0 && strides[i] == stride[rank - 1] * size[rank - 1]) {
        size[rank - 1] *= shape[i];
      } else {
        size[rank] = shape[i];
        stride[rank++] = strides[i];
      }
    }
    if (rank == 0) {
      size[0] = 1;
      stride[0] = 1;
      rank = 1;
    }
  }
};

template <class T>
void copy_run(const T* source, std::int64_t stride, std::int64_t n, T* destination) {
  if (stride == 1 && n >= 8) {
    std::memcpy(destination, source, static_cast<std::size_t>(n) * sizeof(T));
  } else if (stride == 0) {
    table().fill[size_index(sizeof(T))](n, source, destination);
  } else {
    for (std::int64_t i = 0; i < n; ++i) destination[i] = source[i * stride];
  }
}

// Whole rows, `step` apart in the source.
template <class T>
void copy_rows(const T* source, std::int64_t rows, std::int64_t step, std::int64_t stride, std::int64_t n,
               T* destination) {
  // When the elements of a column lie together in memory rather than those of a row, several rows at a time use all of
  // a cache line before it is evicted.
  constexpr std::int64_t block = 64 / sizeof(T);
  const auto distance = [](std::int64_t s) { return s < 0 ? -s : s; };
  if (step != 0 && distance(step) < distance(stride))
    for (; rows >= block; rows -= block, source += block * step, destination += block * n)
      for (std::int64_t i = 0; i < n; ++i)
        for (std::int64_t row = 0; row < block; ++row) destination[row * n + i] = source[row * step + i * stride];
  for (; rows > 0; --rows, source += step, destination += n) copy_run(source, stride, n, destination);
}

template <class Bits>
void load_as(const Shape& shape, const View& view, std::int64_t first, std::int64_t n, void* out) {
  using T = typename Bits::type;
  const Walk walk(shape, view.strides);
  const T* source = static_cast<const T*>(view.data);
  T* destination = static_cast<T*>(out);

  std::int64_t at[kMaxRank];
  for (int d = 0; d < walk.rank; ++d) {
    at[d] = d == walk.rank - 1 ? first : first % walk.size[d];
    if (first != 0) first /= walk.size[d];
    source += at[d] * walk.stride[d];
  }
  // Moves on by `count` in dim `d`, carrying into the dims beyond; the last dim is never run through.
  const auto advance = [&](int d, std::int64_t count) {
    source += count * walk.stride[d];
    at[d] += count;
    for (; at[d] == walk.size[d] && d + 1 < walk.rank; ++d) {
      source += walk.stride[d + 1] - at[d] * walk.stride[d];
      at[d] = 0;
      ++at[d + 1];
    }
  };
  const std::int64_t length = walk.size[0];
  if (at[0] != 0 || walk.rank == 1) {
    const std::int64_t count = n < length - at[0] ? n : length - at[0];
    copy_run(source, walk.stride[0], count, destination);
    destination += count;
    n -= count;
    if (n == 0) return;
    advance(0, count);
  }
  while (n >= length) {
    std::int64_t rows = walk.size[1] - at[1];
    if (rows > n / length) rows = n / length;
    copy_rows(source, rows, walk.stride[1], walk.stride[0], length, destination);
    destination += rows * length;
    n -= rows * length;
    if (n == 0) return;
    advance(1, rows);
  }
  copy_run(source, walk.stride[0], n, destination);
}

}  // namespace

void load(std::size_t element, const Shape& shape, const View& source, std::int64_t first, std::int64_t n,
          void* destination) noexcept {
  if (n <= 0) return;
  switch (element) {
    case 1:
      return load_as<Bits8>(shape, source, first, n, destination);
    case 4:
      return load_as<Bits32>(shape, source, first, n, destination);
    default:
      return load_as<Bits64>(shape, source, first, n, destination);
  }
}

}  // namespace adjoint::kernels
