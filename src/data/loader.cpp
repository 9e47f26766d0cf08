#include <adjoint/data/loader.hpp>

#include <algorithm>
#include <numeric>

namespace adjoint::data::detail {

void check_loader(std::int64_t examples, const DataLoaderOptions& options) {
  if (options.batch_size < 1)
    throw ValueError("DataLoader: batch_size is " + std::to_string(options.batch_size) + "; it has to be at least 1");
  if (examples < 1) throw ValueError("DataLoader: the data set is empty");
  if (options.drop_last && examples < options.batch_size)
    throw ValueError("DataLoader: " + std::to_string(examples) + " examples make no full batch of " +
                     std::to_string(options.batch_size) + ", and drop_last leaves out the rest");
}

SharedIndices epoch_order(std::int64_t examples, const DataLoaderOptions& options, Generator& generator) {
  if (!options.shuffle) return nullptr;
  return std::make_shared<const Indices>(randperm(examples, generator).to_vector<std::int64_t>());
}

void batch_positions(std::int64_t examples, std::int64_t batch_size, const Indices* order, std::int64_t index,
                     Indices& batch) {
  const std::int64_t begin = index * batch_size, end = std::min(examples, begin + batch_size);
  batch.resize(static_cast<std::size_t>(end - begin));
  if (order) std::copy(order->begin() + begin, order->begin() + end, batch.begin());
  else std::iota(batch.begin(), batch.end(), begin);
}

}  // namespace adjoint::data::detail
