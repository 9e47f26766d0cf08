#include "kernels/elements.hpp"
#include "kernels/kernels.hpp"

#include <cstring>
#include <type_traits>

namespace adjoint::kernels {
namespace {

// Walks the rows (innermost dim) of `shape` in row-major order, with an offset for each of N operands:
// row(position, offsets) returns false to stop. Returns whether it came to the end.
template <int N, class Row>
bool for_rows(const Shape& shape, const Strides* const (&strides)[N], Row row) {
  const int rank = shape.size();
  for (std::int64_t size : shape)
    if (size == 0) return true;
  const std::int64_t length = rank > 0 ? shape[rank - 1] : 1;
  std::int64_t at[kMaxRank] = {}, offsets[N] = {};
  for (std::int64_t position = 0;; position += length) {
    if (!row(position, offsets)) return false;
    int d = rank - 2;
    for (; d >= 0; --d) {
      for (int k = 0; k < N; ++k) offsets[k] += (*strides[k])[d];
      if (++at[d] < shape[d]) break;
      for (int k = 0; k < N; ++k) offsets[k] -= shape[d] * (*strides[k])[d];
      at[d] = 0;
    }
    if (d < 0) return true;
  }
}

std::int64_t last_or_zero(const Strides& strides) { return strides.empty() ? 0 : strides.back(); }
// A scalar is indexed as if it had one dim of size 1.
std::int64_t size_along(const Shape& shape, int dim) { return shape.empty() ? 1 : shape[dim]; }
std::int64_t stride_along(const Strides& strides, int dim) { return strides.empty() ? 0 : strides[dim]; }

template <class Bits, class Position>
bool gather_as(int dim, const Shape& input_shape, const View& input, const Shape& index_shape, const View& index,
               void* out, std::int64_t* bad) {
  using T = typename Bits::type;
  const T* source = static_cast<const T*>(input.data);
  const auto* indices = static_cast<const Position*>(index.data);
  T* output = static_cast<T*>(out);
  const std::int64_t size = size_along(input_shape, dim), step = stride_along(input.strides, dim);
  // The index moves the input along `dim`; the walk moves it along the others.
  Strides others = input.strides;
  if (!others.empty()) others[dim] = 0;
  const std::int64_t length = index_shape.empty() ? 1 : index_shape.back();
  const std::int64_t source_step = last_or_zero(others), index_step = last_or_zero(index.strides);
  const Strides* const strides[] = {&others, &index.strides};
  return for_rows<2>(index_shape, strides, [&](std::int64_t position, const std::int64_t* offsets) {
    if (index_step == 0 && length > 1) {  // one index for the row, as when whole rows are selected
      const std::int64_t i = indices[offsets[1]];
      if (i < 0 || i >= size) {
        *bad = position;
        return false;
      }
      const T* from = source + offsets[0] + i * step;
      if (source_step == 1) std::memcpy(output + position, from, static_cast<std::size_t>(length) * sizeof(T));
      else
        for (std::int64_t j = 0; j < length; ++j) output[position + j] = from[j * source_step];
      return true;
    }
    for (std::int64_t j = 0; j < length; ++j) {
      const std::int64_t i = indices[offsets[1] + j * index_step];
      if (i < 0 || i >= size) {
        *bad = position + j;
        return false;
      }
      output[position + j] = source[offsets[0] + j * source_step + i * step];
    }
    return true;
  });
}

// Integers wrap around.
template <class T>
T plus(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
  } else {
    return a + b;
  }
}

template <class T, class Position>
bool scatter_add_as(int dim, const Shape& output_shape, void* out, const Shape& index_shape, const View& index,
                    const View& source, std::int64_t* bad) {
  const T* values = static_cast<const T*>(source.data);
  const auto* indices = static_cast<const Position*>(index.data);
  T* output = static_cast<T*>(out);
  Strides others = row_major_strides(output_shape);
  const std::int64_t size = size_along(output_shape, dim), step = stride_along(others, dim);
  if (!others.empty()) others[dim] = 0;
  const std::int64_t length = index_shape.empty() ? 1 : index_shape.back();
  const std::int64_t output_step = last_or_zero(others), index_step = last_or_zero(index.strides),
                     value_step = last_or_zero(source.strides);
  const Strides* const strides[] = {&others, &index.strides, &source.strides};
  return for_rows<3>(index_shape, strides, [&](std::int64_t position, const std::int64_t* offsets) {
    if (index_step == 0 && length > 1) {
      const std::int64_t i = indices[offsets[1]];
      if (i < 0 || i >= size) {
        *bad = position;
        return false;
      }
      T* to = output + offsets[0] + i * step;
      const T* from = values + offsets[2];
      for (std::int64_t j = 0; j < length; ++j) to[j * output_step] = plus(to[j * output_step], from[j * value_step]);
      return true;
    }
    for (std::int64_t j = 0; j < length; ++j) {
      const std::int64_t i = indices[offsets[1] + j * index_step];
      if (i < 0 || i >= size) {
        *bad = position + j;
        return false;
      }
      T& target = output[offsets[0] + j * output_step + i * step];
      target = plus(target, values[offsets[2] + j * value_step]);
    }
    return true;
  });
}

template <class Position>
bool gather_at(std::size_t element, int dim, const Shape& input_shape, const View& input, const Shape& index_shape,
               const View& index, void* output, std::int64_t* bad) {
  switch (element) {
    case 1:
      return gather_as<Bits8, Position>(dim, input_shape, input, index_shape, index, output, bad);
    case 4:
      return gather_as<Bits32, Position>(dim, input_shape, input, index_shape, index, output, bad);
    default:
      return gather_as<Bits64, Position>(dim, input_shape, input, index_shape, index, output, bad);
  }
}

template <class Position>
bool scatter_add_at(Dtype dtype, int dim, const Shape& output_shape, void* output, const Shape& index_shape,
                    const View& index, const View& source, std::int64_t* bad) {
  switch (dtype) {
    case float32:
      return scatter_add_as<float, Position>(dim, output_shape, output, index_shape, index, source, bad);
    case float64:
      return scatter_add_as<double, Position>(dim, output_shape, output, index_shape, index, source, bad);
    case int32:
      return scatter_add_as<std::int32_t, Position>(dim, output_shape, output, index_shape, index, source, bad);
    default:
      return scatter_add_as<std::int64_t, Position>(dim, output_shape, output, index_shape, index, source, bad);
  }
}

}  // namespace

bool gather(std::size_t element, int dim, const Shape& input_shape, const View& input, Dtype index_dtype,
            const Shape& index_shape, const View& index, void* output, std::int64_t* bad) noexcept {
  const auto gather = index_dtype == int32 ? &gather_at<std::int32_t> : &gather_at<std::int64_t>;
  return gather(element, dim, input_shape, input, index_shape, index, output, bad);
}

bool scatter_add(Dtype dtype, int dim, const Shape& output_shape, void* output, Dtype index_dtype,
                 const Shape& index_shape, const View& index, const View& source, std::int64_t* bad) noexcept {
  const auto scatter = index_dtype == int32 ? &scatter_add_at<std::int32_t> : &scatter_add_at<std::int64_t>;
  return scatter(dtype, dim, output_shape, output, index_shape, index, source, bad);
}

}  // namespace adjoint::kernels
