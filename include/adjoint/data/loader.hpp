#pragma once

#include <adjoint/data/dataset.hpp>
#include <adjoint/random.hpp>

namespace adjoint::data {

struct DataLoaderOptions {
  /// Examples in a batch; the last one of an epoch may have fewer.
  std::int64_t batch_size = 1;
  /// Whether each epoch takes the examples in a new random order.
  bool shuffle = false;
  /// The same seed gives the same orders, epoch by epoch.
  std::uint64_t seed = 0;
  /// Whether to leave out a last batch that is not full.
  bool drop_last = false;
};

namespace detail {

// Throws ValueError for options that give no batches.
ADJOINT_API void check_loader(std::int64_t examples, const DataLoaderOptions& options);
// What an epoch's iterator holds. The loader keeps it for the next epoch, so that epochs allocate none.
struct Epoch {
  Indices order;      // of the examples; empty for their own
  Indices positions;  // of the batch that is being made
};
// The next epoch, in the memory of the last one if nobody else has it.
ADJOINT_API void begin_epoch(std::int64_t examples, const DataLoaderOptions& options, Generator& generator,
                             std::shared_ptr<Epoch>& epoch);
// Sets the epoch's positions to those of batch number `index`.
ADJOINT_API const Indices& batch_positions(std::int64_t examples, std::int64_t batch_size, std::int64_t index,
                                           Epoch& epoch);

}  // namespace detail

/// The batches of a data set. Every range-for over it is one epoch:
///
///     DataLoader loader(training, {.batch_size = 128, .shuffle = true, .seed = 1});
///     for (auto& [images, labels] : loader) ...
///
/// A data set is a TensorDataset, or any copyable type with `std::int64_t size() const` and `batch(const Indices&)
/// const`, whose result is handed to the loop; that is the place for augmentation. Throws ValueError for an empty data
/// set, a batch size below 1, and when drop_last leaves no batch.
template <class Dataset>
class DataLoader {
 public:
  using Batch = decltype(std::declval<const Dataset&>().batch(std::declval<const Indices&>()));

  explicit DataLoader(Dataset dataset, const DataLoaderOptions& options = {})
      : dataset_(std::move(dataset)), options_(options), generator_(options.seed) {
    detail::check_loader(dataset_.size(), options_);
  }

  /// The number of batches in an epoch.
  std::int64_t size() const noexcept {
    const std::int64_t full = dataset_.size() / options_.batch_size;
    return full + (!options_.drop_last && dataset_.size() % options_.batch_size != 0 ? 1 : 0);
  }
  const Dataset& dataset() const noexcept { return dataset_; }

  struct End {};

  /// Holds its epoch's order, which copies share, and the batch it stands at. The loader must outlive it.
  class Iterator {
   public:
    Batch& operator*() noexcept { return batch_; }
    Batch* operator->() noexcept { return &batch_; }
    Iterator& operator++() {
      ++index_;
      load();
      return *this;
    }
    friend bool operator==(const Iterator& i, End) noexcept { return i.index_ >= i.loader_->size(); }
    friend bool operator!=(const Iterator& i, End end) noexcept { return !(i == end); }

   private:
    friend class DataLoader;
    Iterator(const DataLoader* loader, std::shared_ptr<detail::Epoch> epoch)
        : loader_(loader), epoch_(std::move(epoch)) {
      load();
    }
    void load() {
      if (index_ >= loader_->size()) return;
      batch_ = loader_->dataset_.batch(
          detail::batch_positions(loader_->dataset_.size(), loader_->options_.batch_size, index_, *epoch_));
    }

    const DataLoader* loader_;
    std::shared_ptr<detail::Epoch> epoch_;
    std::int64_t index_ = 0;
    Batch batch_;
  };

  /// Begins an epoch.
  Iterator begin() {
    detail::begin_epoch(dataset_.size(), options_, generator_, epoch_);
    return Iterator(this, epoch_);
  }
  End end() const noexcept { return {}; }

 private:
  Dataset dataset_;
  DataLoaderOptions options_;
  Generator generator_;
  std::shared_ptr<detail::Epoch> epoch_;
};

}  // namespace adjoint::data
