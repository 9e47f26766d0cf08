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
  if (stride == 1) {
    std::memcpy(destination, source, static_cast<std::size_t>(n) * sizeof(T));
  } else if (stride == 0) {
    const T value = *source;
    for (std::int64_t i = 0; i < n; ++i) destination[i] = value;
  } else {
    for (std::int64_t i = 0; i < n; ++i) destination[i] = source[i * stride];
  }
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
  for (;;) {
    const std::int64_t left = walk.size[0] - at[0];
    if (n <= left) {
      copy_run(source, walk.stride[0], n, destination);
      return;
    }
    copy_run(source, walk.stride[0], left, destination);
    destination += left;
    n -= left;
    source -= at[0] * walk.stride[0];
    at[0] = 0;
    for (int d = 1;; ++d) {
      source += walk.stride[d];
      if (++at[d] < walk.size[d]) break;
      source -= walk.size[d] * walk.stride[d];
      at[d] = 0;
    }
  }
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
