// Reductions. How the terms are grouped depends on shapes and strides alone: by rows where the reduced dims lie
// contiguously, by columns where the kept ones do, else on a copy that is ordered so.
#include "engine/execute.hpp"
#include "engine/threads.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace adjoint::detail {
namespace {

using kernels::Reduce;

// Rows longer than this are cut into blocks of it, so that threads can share one.
constexpr std::int64_t kBlock = 1 << 16;
// Columns are added up over this many rows at a time: blocked summation, and work for threads.
constexpr std::int64_t kColumnRows = 64;

struct Job {
  Reduce reduce;
  Dtype dtype;          // of the input
  std::size_t element;  // its size
  std::size_t result;   // the size of a result's element
  Shape kept, reduced;  // sizes
  Strides kept_strides, reduced_strides;
  const std::byte* input;
  std::byte* output;
};

void reduce_rows(const Job& job, std::int64_t rows, std::int64_t n, const std::byte* input, std::int64_t row_stride,
                 std::byte* output) {
  kernels::table().reduce_rows[static_cast<int>(job.reduce)][static_cast<int>(job.dtype)](rows, n, input, row_stride,
                                                                                          output);
}

void identity(const Job& job, std::int64_t n, std::byte* output) {
  std::memset(output, job.reduce == Reduce::all ? 1 : 0, static_cast<std::size_t>(n) * job.result);
}

/// Rows of n contiguous elements, `row_stride` apart.
void by_rows(const Job& job, const std::byte* input, std::int64_t rows, std::int64_t n, std::int64_t row_stride) {
  const auto element = static_cast<std::int64_t>(job.element), result = static_cast<std::int64_t>(job.result);
  const bool position = job.reduce == Reduce::argmax || job.reduce == Reduce::argmin;
  if (n > kBlock && !position) {
    const std::int64_t blocks = (n + kBlock - 1) / kBlock;
    std::vector<std::byte> partial(static_cast<std::size_t>(rows * blocks * result));
    parallel_for(rows * blocks, [&](std::int64_t i) {
      const std::int64_t row = i / blocks, first = i % blocks * kBlock;
      reduce_rows(job, 1, std::min(kBlock, n - first), input + (row * row_stride + first) * element, 0,
                  partial.data() + i * result);
    });
    reduce_rows(job, rows, blocks, partial.data(), blocks, job.output);
    return;
  }
  const std::int64_t per_chunk = std::max<std::int64_t>(1, kGrain / n);
  parallel_for((rows + per_chunk - 1) / per_chunk, [&](std::int64_t chunk) {
    const std::int64_t first = chunk * per_chunk;
    reduce_rows(job, std::min(per_chunk, rows - first), n, input + first * row_stride * element, row_stride,
                job.output + first * result);
  });
}

/// The kept dims contiguous, the reduced ones anywhere: rows of kept elements are accumulated.
void by_columns(const Job& job, std::int64_t columns, std::int64_t n) {
  const auto element = static_cast<std::int64_t>(job.element);
  const auto accumulate = kernels::table().accumulate[static_cast<int>(job.reduce)][static_cast<int>(job.dtype)];
  const std::int64_t blocks = (n + kColumnRows - 1) / kColumnRows;
  const auto row_at = [&](std::int64_t i) {  // the i-th position of the reduced dims
    std::int64_t offset = 0;
    for (int d = job.reduced.size() - 1; d >= 0; --d) {
      offset += i % job.reduced[d] * job.reduced_strides[d];
      i /= job.reduced[d];
    }
    return job.input + offset * element;
  };
  std::vector<std::byte> partial(static_cast<std::size_t>(blocks > 1 ? (blocks - 1) * columns * element : 0));
  const auto sum_of = [&](std::int64_t block) {
    return block == 0 ? job.output : partial.data() + (block - 1) * columns * element;
  };
  // Wide columns are cut too; each is added up by itself.
  const std::int64_t width = std::min(columns, std::max<std::int64_t>(kernels::kTile, kGrain / kColumnRows));
  const std::int64_t strips = (columns + width - 1) / width;
  const auto run = [&](std::int64_t chunk) {
    const std::int64_t block = chunk / strips, left = chunk % strips * width;
    const std::int64_t count = std::min(width, columns - left);
    std::byte* sum = sum_of(block) + left * element;
    const std::int64_t first = block * kColumnRows, last = std::min(n, first + kColumnRows);
    std::memcpy(sum, row_at(first) + left * element, static_cast<std::size_t>(count * element));
    for (std::int64_t i = first + 1; i < last; ++i) accumulate(count, row_at(i) + left * element, sum);
  };
  if (n * columns < kGrain)
    for (std::int64_t chunk = 0; chunk < blocks * strips; ++chunk) run(chunk);
  else parallel_for(blocks * strips, run);
  // The blocks' sums, pairwise.
  for (std::int64_t step = 1; step < blocks; step *= 2)
    for (std::int64_t block = 0; block + step < blocks; block += 2 * step)
      accumulate(columns, sum_of(block + step), sum_of(block));
}

}  // namespace

void execute_reduction(Node& node) {
  const Node& input = *node.input(0);
  const std::uint32_t dims = node.attributes<ReduceAttributes>().dims;
  node.allocate_value();
  Job job{static_cast<Reduce>(node.operation->kernel),
          input.dtype,
          size_of(input.dtype),
          size_of(node.dtype),
          {},
          {},
          {},
          {},
          static_cast<const std::byte*>(input.value.data),
          static_cast<std::byte*>(node.value.data)};
  for (int i = 0; i < input.shape.size(); ++i) {
    if (input.shape[i] == 1) continue;
    const bool reduced = dims >> i & 1;
    (reduced ? job.reduced : job.kept).push_back(input.shape[i]);
    (reduced ? job.reduced_strides : job.kept_strides).push_back(input.value.strides[i]);
  }
  const std::int64_t rows = numel(job.kept), n = numel(job.reduced);
  if (rows == 0) return;
  if (n == 0) return identity(job, rows, job.output);

  const bool position = job.reduce == Reduce::argmax || job.reduce == Reduce::argmin;
  if (is_row_major(job.reduced, job.reduced_strides)) {
    // The rows lie at one distance if the kept dims, seen without the row, do.
    bool regular = true;
    for (int i = job.kept.size() - 2; i >= 0; --i)
      regular &= job.kept_strides[i] == job.kept_strides[i + 1] * job.kept[i + 1];
    if (regular) return by_rows(job, job.input, rows, n, job.kept.empty() ? n : job.kept_strides.back());
  }
  if (!position && is_row_major(job.kept, job.kept_strides)) return by_columns(job, rows, n);

  Shape order = job.kept;
  Strides strides = job.kept_strides;
  for (int i = 0; i < job.reduced.size(); ++i) {
    order.push_back(job.reduced[i]);
    strides.push_back(job.reduced_strides[i]);
  }
  Storage* copy = Storage::allocate(static_cast<std::size_t>(rows * n) * job.element);
  copy_row_major(job.element, order, job.input, strides, copy->data());
  by_rows(job, static_cast<const std::byte*>(copy->data()), rows, n, n);
  copy->drop_ref();
}

}  // namespace adjoint::detail
