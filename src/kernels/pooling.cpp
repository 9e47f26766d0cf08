#include "kernels/kernels.hpp"

#include <cstring>

namespace adjoint::kernels {
namespace {

std::byte* at(void* data, std::int64_t offset, std::size_t element) {
  return static_cast<std::byte*>(data) + offset * static_cast<std::int64_t>(element);
}
const std::byte* at(const void* data, std::int64_t offset, std::size_t element) {
  return static_cast<const std::byte*>(data) + offset * static_cast<std::int64_t>(element);
}

/// visit(pixel of the result, pixel of x, whether it is the first of its window), for the pixels of an image.
template <class Visit>
void for_windows(const Windows& rows, const Windows& columns, Visit visit) {
  for (std::int64_t i = 0; i < rows.count; ++i)
    for (std::int64_t j = 0; j < columns.count; ++j)
      for (std::int64_t row = rows.begin[i]; row < rows.end[i]; row += rows.step)
        for (std::int64_t column = columns.begin[j]; column < columns.end[j]; column += columns.step)
          visit(i * columns.count + j, row * columns.size + column, row == rows.begin[i] && column == columns.begin[j]);
}

}  // namespace

void largest_positions(Dtype dtype, std::int64_t first, std::int64_t last, std::int64_t channels, const Windows& rows,
                       const Windows& columns, const void* x, std::int32_t* positions) noexcept {
  const std::size_t element = size_of(dtype);
  const auto keep_larger = table().keep_larger[static_cast<int>(dtype)];
  // Some channels at a time, so that the largest so far stay at hand.
  alignas(64) std::byte best[kTile * 8];
  for (std::int64_t n = first; n < last; ++n)
    for (std::int64_t c = 0; c < channels; c += kTile) {
      const std::int64_t count = channels - c < kTile ? channels - c : kTile;
      const auto bytes = static_cast<std::size_t>(count) * element;
      for_windows(rows, columns, [&](std::int64_t to, std::int64_t from, bool is_first) {
        const void* pixel = at(x, (n * rows.size * columns.size + from) * channels + c, element);
        std::int32_t* chosen = positions + (n * rows.count * columns.count + to) * channels + c;
        const auto position = static_cast<std::int32_t>(from);
        if (is_first) {
          std::memcpy(best, pixel, bytes);
          for (std::int64_t k = 0; k < count; ++k) chosen[k] = position;
        } else {
          keep_larger(count, pixel, position, best, chosen);
        }
      });
    }
}

void sum_windows(Dtype dtype, std::int64_t first, std::int64_t last, std::int64_t channels, const Windows& rows,
                 const Windows& columns, const void* x, void* sums) noexcept {
  const std::size_t element = size_of(dtype);
  const auto add = table().accumulate[static_cast<int>(Reduce::sum)][static_cast<int>(dtype)];
  for (std::int64_t n = first; n < last; ++n)
    for_windows(rows, columns, [&](std::int64_t to, std::int64_t from, bool is_first) {
      const void* pixel = at(x, (n * rows.size * columns.size + from) * channels, element);
      void* sum = at(sums, (n * rows.count * columns.count + to) * channels, element);
      if (is_first) std::memcpy(sum, pixel, static_cast<std::size_t>(channels) * element);
      else add(channels, pixel, sum);
    });
}

void spread_windows(Dtype dtype, std::int64_t first, std::int64_t last, std::int64_t channels, const Windows& rows,
                    const Windows& columns, const void* sums, void* x) noexcept {
  const std::size_t element = size_of(dtype);
  const auto add = table().accumulate[static_cast<int>(Reduce::sum)][static_cast<int>(dtype)];
  const std::int64_t image = rows.size * columns.size * channels;
  std::memset(at(x, first * image, element), 0, static_cast<std::size_t>((last - first) * image) * element);
  for (std::int64_t n = first; n < last; ++n)
    for_windows(rows, columns, [&](std::int64_t to, std::int64_t from, bool) {
      add(channels, at(sums, (n * rows.count * columns.count + to) * channels, element),
          at(x, n * image + from * channels, element));
    });
}

}  // namespace adjoint::kernels
