#pragma once

#include <adjoint/tensor.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace adjoint::data {

/// Positions of examples in a data set.
using Indices = std::vector<std::int64_t>;

namespace detail {

// What does not depend on the number of tensors. A null list of rows means all of them, in order.
using SharedIndices = std::shared_ptr<const Indices>;
ADJOINT_API std::int64_t common_length(const Tensor* tensors, std::size_t count);
ADJOINT_API void gather_rows(const Tensor* tensors, std::size_t count, const Indices* rows, const Indices* positions,
                             Tensor* results);
ADJOINT_API SharedIndices compose(std::int64_t size, const Indices* rows, const Indices& positions);
ADJOINT_API std::vector<Indices> random_parts(std::int64_t size, const Scalar* sizes, std::size_t count,
                                              std::uint64_t seed);

template <class Dataset, std::size_t... I>
std::array<Dataset, sizeof...(I)> subsets(const Dataset& dataset, const std::vector<Indices>& parts,
                                          std::index_sequence<I...>) {
  return {dataset.subset(parts[I])...};
}

}  // namespace detail

/// Examples as N tensors whose first dims run over the same examples, such as images [n, 28, 28] and labels [n]; or a
/// choice among them. A small handle: copies and subsets share the tensors.
///
/// `TensorDataset examples(images, labels)` finds N. Throws ShapeError for 0-dim tensors and for first sizes that
/// differ.
template <std::size_t N>
class TensorDataset {
 public:
  /// What batch() returns: `auto [images, labels] = examples.batch({0, 1})`.
  using Batch = std::array<Tensor, N>;

  template <class... Tensors, class = std::enable_if_t<sizeof...(Tensors) + 1 == N>>
  explicit TensorDataset(const Tensor& first, const Tensors&... rest)
      : tensors_{first, rest...}, size_(detail::common_length(tensors_.data(), N)) {}

  /// The number of examples.
  std::int64_t size() const noexcept { return size_; }

  /// The examples at these positions, copied into new tensors; computes the data set's tensors. Throws ValueError for a
  /// position outside [0, size()).
  Batch batch(const Indices& positions) const { return gather(&positions); }
  /// All examples, in order.
  Batch all() const { return gather(nullptr); }
  /// The data set of the examples at these positions, in this order; repetitions are fine. Throws ValueError for a
  /// position outside [0, size()).
  TensorDataset subset(const Indices& positions) const {
    TensorDataset result(*this);
    result.rows_ = detail::compose(size_, rows_.get(), positions);
    result.size_ = static_cast<std::int64_t>(positions.size());
    return result;
  }

 private:
  Batch gather(const Indices* positions) const {
    Batch result;
    detail::gather_rows(tensors_.data(), N, rows_.get(), positions, result.data());
    return result;
  }

  std::array<Tensor, N> tensors_;
  std::int64_t size_;
  detail::SharedIndices rows_;
};

template <class... Tensors>
TensorDataset(const Tensor&, const Tensors&...) -> TensorDataset<1 + sizeof...(Tensors)>;

/// Splits a data set (anything with size() and subset()) into disjoint random parts that together are all of it:
/// `auto [training, validation] = random_split(examples, {54000, 6000}, seed)`. Integers are sizes, floating-point
/// numbers fractions, `{0.9, 0.1}`; the examples that rounding down leaves over go to the first parts, one each. The
/// same seed gives the same parts. Throws ValueError unless the sizes add up to size(), or the fractions to 1.
template <class Dataset, std::size_t Parts>
std::array<Dataset, Parts> random_split(const Dataset& dataset, const Scalar (&sizes)[Parts], std::uint64_t seed) {
  return detail::subsets(dataset, detail::random_parts(dataset.size(), sizes, Parts, seed),
                         std::make_index_sequence<Parts>());
}

}  // namespace adjoint::data
