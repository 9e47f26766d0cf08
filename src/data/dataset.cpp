#include <adjoint/autograd.hpp>
#include <adjoint/data/dataset.hpp>
#include <adjoint/ops/creation.hpp>
#include <adjoint/ops/indexing.hpp>
#include <adjoint/random.hpp>

#include <algorithm>
#include <cmath>

namespace adjoint::data::detail {

std::int64_t common_length(const Tensor* tensors, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    if (tensors[i].dim() == 0)
      throw ShapeError("TensorDataset: tensor " + std::to_string(i) +
                       " has shape (); its first dim has to run over the examples");
    if (tensors[i].size(0) != tensors[0].size(0))
      throw ShapeError("TensorDataset: tensor " + std::to_string(i) + " has shape " + to_string(tensors[i].shape()) +
                       ", tensor 0 " + to_string(tensors[0].shape()) + "; the first sizes have to be the same");
  }
  return tensors[0].size(0);
}

void gather_rows(const Tensor* tensors, std::size_t count, const Indices* rows, const Indices* positions,
                 Tensor* results) {
  if (!rows && !positions) {
    std::copy(tensors, tensors + count, results);
    return;
  }
  const Indices& wanted = positions ? *positions : *rows;
  const auto size = static_cast<std::int64_t>(rows ? rows->size() : static_cast<std::size_t>(tensors[0].size(0)));
  thread_local Indices composed;  // kept, so that a batch allocates none
  composed.clear();
  for (std::int64_t position : wanted) {
    if (positions && (position < 0 || position >= size))
      throw ValueError("TensorDataset: position " + std::to_string(position) + " is outside [0, " +
                       std::to_string(size) + ")");
    composed.push_back(rows && positions ? (*rows)[static_cast<std::size_t>(position)] : position);
  }
  const NoGradGuard no_grad;
  const Tensor index = from_blob(composed.data(), {static_cast<std::int64_t>(composed.size())});
  for (std::size_t i = 0; i < count; ++i) results[i] = index_select(tensors[i], 0, index);
  eval(results, count);
}

SharedIndices compose(std::int64_t size, const Indices* rows, const Indices& positions) {
  Indices result(positions);
  for (std::int64_t& position : result) {
    if (position < 0 || position >= size)
      throw ValueError("TensorDataset::subset: position " + std::to_string(position) + " is outside [0, " +
                       std::to_string(size) + ")");
    if (rows) position = (*rows)[static_cast<std::size_t>(position)];
  }
  return std::make_shared<const Indices>(std::move(result));
}

namespace {

std::vector<std::int64_t> sizes_of_fractions(std::int64_t size, const Scalar* fractions, std::size_t count) {
  double total = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double fraction = fractions[i].to_double();
    if (!(fraction >= 0 && fraction <= 1))
      throw ValueError("random_split: fraction " + std::to_string(fraction) + " is outside [0, 1]");
    total += fraction;
  }
  if (std::abs(total - 1) > 1e-6)
    throw ValueError("random_split: the fractions add up to " + std::to_string(total) + " instead of 1");
  std::vector<std::int64_t> sizes(count);
  std::int64_t rest = size;
  for (std::size_t i = 0; i < count; ++i) {
    // The nudge lets 0.29 * 100 be 29, although its double lies a little below.
    sizes[i] = static_cast<std::int64_t>(std::floor(fractions[i].to_double() * static_cast<double>(size) + 1e-6));
    rest -= sizes[i];
  }
  for (std::size_t i = 0; rest > 0; i = (i + 1) % count, --rest) ++sizes[i];
  return sizes;
}

std::vector<std::int64_t> checked_sizes(std::int64_t size, const Scalar* sizes, std::size_t count) {
  std::vector<std::int64_t> result(count);
  std::int64_t rest = size;
  for (std::size_t i = 0; i < count; ++i) {
    result[i] = sizes[i].to_int64();
    if (result[i] < 0) throw ValueError("random_split: size " + std::to_string(result[i]) + " is negative");
    if (result[i] > rest)
      throw ValueError("random_split: the sizes add up to more than the data set's " + std::to_string(size) +
                       " examples");
    rest -= result[i];
  }
  if (rest != 0)
    throw ValueError("random_split: the sizes add up to " + std::to_string(size - rest) +
                     " instead of the data set's " + std::to_string(size) + " examples");
  return result;
}

}  // namespace

std::vector<Indices> random_parts(std::int64_t size, const Scalar* sizes, std::size_t count, std::uint64_t seed) {
  for (std::size_t i = 1; i < count; ++i)
    if (sizes[i].is_floating() != sizes[0].is_floating())
      throw ValueError("random_split: give sizes, all integers, or fractions, all floating-point; not both");
  const std::vector<std::int64_t> lengths =
      sizes[0].is_floating() ? sizes_of_fractions(size, sizes, count) : checked_sizes(size, sizes, count);
  Generator generator(seed);
  const Tensor order = randperm(size, generator);
  const std::int64_t* next = order.data<std::int64_t>();
  std::vector<Indices> parts;
  for (std::int64_t length : lengths) {
    parts.emplace_back(next, next + length);
    next += length;
  }
  return parts;
}

}  // namespace adjoint::data::detail
