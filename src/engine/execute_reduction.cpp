// Reductions. How the terms are grouped depends on shapes and strides alone: by rows where the reduced dims lie
// contiguously, by columns where the innermost kept ones do, by rows and then by columns where the kept dims are
// between reduced ones, else on a copy that is ordered so.
#include "core/pool.hpp"
#include "engine/execute.hpp"
#include "engine/threads.hpp"
#include "kernels/kernels.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace adjoint::detail {
namespace {

using kernels::Reduce;

// Rows longer than this are cut into blocks of it, so that threads can share one.
constexpr std::int64_t kBlock = 1 << 16;

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
    List<std::byte> partial(static_cast<std::size_t>(rows * blocks * result));
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

/// The offset of a position, counted in row-major order.
std::int64_t offset_of(std::int64_t position, const Shape& shape, const Strides& strides) {
  std::int64_t offset = 0;
  for (int d = shape.size() - 1; d > 0; --d) {
    offset += position % shape[d] * strides[d];
    position /= shape[d];
  }
  return shape.empty() ? 0 : offset + position * strides[0];
}

/// The innermost kept dim contiguous, the reduced ones anywhere: rows of kept elements are accumulated, for each
/// position of the outer kept dims.
void by_columns(const Job& job, std::int64_t n) {
  const auto element = static_cast<std::int64_t>(job.element);
  const auto accumulate = kernels::table().accumulate[static_cast<int>(job.reduce)][static_cast<int>(job.dtype)];
  Shape outer_dims = job.kept;
  outer_dims.erase(outer_dims.size() - 1);
  const std::int64_t columns = job.kept.back(), outer = numel(outer_dims);
  const std::int64_t blocks = (n + kColumnRows - 1) / kColumnRows;
  List<std::byte> partial(static_cast<std::size_t>(outer * (blocks - 1) * columns * element));
  const auto sum_of = [&](std::int64_t o, std::int64_t block) {
    return block == 0 ? job.output + o * columns * element
                      : partial.data() + (o * (blocks - 1) + block - 1) * columns * element;
  };
  // Wide columns are cut too; each is added up by itself.
  const std::int64_t width = std::min(columns, std::max<std::int64_t>(kernels::kTile, kGrain / kColumnRows));
  const std::int64_t strips = (columns + width - 1) / width;
  const auto run = [&](std::int64_t piece) {
    const std::int64_t left = piece % strips * width, block = piece / strips % blocks, o = piece / strips / blocks;
    const std::int64_t count = std::min(width, columns - left);
    const std::byte* input = job.input + (offset_of(o, outer_dims, job.kept_strides) + left) * element;
    const auto row_at = [&](std::int64_t i) {
      return input + offset_of(i, job.reduced, job.reduced_strides) * element;
    };
    std::byte* sum = sum_of(o, block) + left * element;
    const std::int64_t first = block * kColumnRows, last = std::min(n, first + kColumnRows);
    std::memcpy(sum, row_at(first), static_cast<std::size_t>(count * element));
    for (std::int64_t i = first + 1; i < last; ++i) accumulate(count, row_at(i), sum);
  };
  // Pieces are small: some together are worth a thread.
  const std::int64_t pieces = outer * blocks * strips;
  const std::int64_t per_chunk = std::max<std::int64_t>(1, kGrain / (std::min(n, kColumnRows) * width));
  parallel_for((pieces + per_chunk - 1) / per_chunk, [&](std::int64_t chunk) {
    const std::int64_t end = std::min(pieces, (chunk + 1) * per_chunk);
    for (std::int64_t piece = chunk * per_chunk; piece < end; ++piece) run(piece);
  });
  // The blocks' sums, pairwise.
  for (std::int64_t o = 0; o < outer; ++o)
    add_pairwise(blocks,
                 [&](std::int64_t from, std::int64_t to) { accumulate(columns, sum_of(o, from), sum_of(o, to)); });
}

/// On a copy that has each result's elements in a row.
void on_copy(const Job& job, std::int64_t rows, std::int64_t n) {
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

/// One kept dim between two reduced ones, the inner one contiguous: each of its rows, and then their results.
void by_rows_of_many(const Node& node, const Job& job) {
  const std::int64_t outer = job.reduced[0], columns = job.kept[0], length = job.reduced[1];
  const auto element = static_cast<std::int64_t>(job.element), result = static_cast<std::int64_t>(job.result);
  List<std::byte> results(static_cast<std::size_t>(outer * columns * result));
  const std::int64_t per_chunk = std::max<std::int64_t>(1, kGrain / (columns * length));
  parallel_for((outer + per_chunk - 1) / per_chunk, [&](std::int64_t chunk) {
    for (std::int64_t i = chunk * per_chunk; i < std::min(outer, (chunk + 1) * per_chunk); ++i)
      reduce_rows(job, columns, length, job.input + i * job.reduced_strides[0] * element, job.kept_strides[0],
                  results.data() + i * columns * result);
  });
  reduce_results_of_rows(node, outer * columns, columns, results.data());
}

/// By falling strides, so that dims that lie behind one another can be joined.
void sort_by_strides(Shape& shape, Strides& strides) {
  for (int i = 1; i < shape.size(); ++i)
    for (int k = i; k > 0 && strides[k - 1] < strides[k]; --k) {
      std::swap(strides[k - 1], strides[k]);
      std::swap(shape[k - 1], shape[k]);
    }
}

/// Joins neighbouring dims that step as one.
void join(Shape& shape, Strides& strides) {
  for (int i = shape.size() - 2; i >= 0; --i)
    if (strides[i] == strides[i + 1] * shape[i + 1]) {
      shape[i] *= shape[i + 1];
      strides[i] = strides[i + 1];
      shape.erase(i + 1);
      strides.erase(i + 1);
    }
}

/// Of `node`, whose value is allocated, on what is given instead of its input.
Job job_of(const Node& node, Dtype dtype, const void* input) {
  return {static_cast<Reduce>(node.operation->kernel),
          dtype,
          size_of(dtype),
          size_of(node.dtype),
          {},
          {},
          {},
          {},
          static_cast<const std::byte*>(input),
          static_cast<std::byte*>(node.value.data)};
}

}  // namespace

void reduce_results_of_rows(const Node& node, std::int64_t rows, std::int64_t columns, const std::byte* results) {
  Job job = job_of(node, node.dtype, results);
  job.kept = {columns};
  job.kept_strides = {1};
  job.reduced = {rows / columns};
  job.reduced_strides = {columns};
  if (columns >= kFewestColumns) return by_columns(job, rows / columns);
  on_copy(job, columns, rows / columns);
}

void execute_reduction(Node& node) {
  const Node& input = *node.input(0);
  const std::uint32_t dims = node.attributes<ReduceAttributes>().dims;
  node.allocate_value();
  Job job = job_of(node, input.dtype, input.value.data);
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
  if (!position) sort_by_strides(job.reduced, job.reduced_strides);
  join(job.reduced, job.reduced_strides);
  join(job.kept, job.kept_strides);
  if (is_row_major(job.reduced, job.reduced_strides) && job.kept.size() <= 1)
    return by_rows(job, job.input, rows, n, job.kept.empty() ? n : job.kept_strides.back());
  if (!position && !job.kept.empty() && job.kept_strides.back() == 1 && job.kept.back() >= kFewestColumns)
    return by_columns(job, n);
  if (!position && job.kept.size() == 1 && job.reduced.size() == 2 && job.reduced_strides[1] == 1 &&
      is_row_of_many(job.reduced[1]))
    return by_rows_of_many(node, job);
  on_copy(job, rows, n);
}

}  // namespace adjoint::detail
