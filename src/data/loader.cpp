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

void begin_epoch(std::int64_t examples, const DataLoaderOptions& options, Generator& generator,
                 std::shared_ptr<Epoch>& epoch) {
  if (!epoch || epoch.use_count() > 1) epoch = std::make_shared<Epoch>();
  if (!options.shuffle) return;
  const Tensor order = randperm(examples, generator);
  const auto* first = order.data<std::int64_t>();
  epoch->order.assign(first, first + examples);
}

const Indices& batch_positions(std::int64_t examples, std::int64_t batch_size, std::int64_t index, Epoch& epoch) {
  const std::int64_t begin = index * batch_size, end = std::min(examples, begin + batch_size);
  Indices& batch = epoch.positions;
  batch.resize(static_cast<std::size_t>(end - begin));
  const Indices& order = epoch.order;
  if (!order.empty()) std::copy(order.begin() + begin, order.begin() + end, batch.begin());
  else std::iota(batch.begin(), batch.end(), begin);
  return batch;
}

}  // namespace adjoint::data::detail
