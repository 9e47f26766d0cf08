#pragma once

#include <adjoint/export.hpp>

#include <cstdint>

namespace adjoint::data {

struct EarlyStoppingOptions {
  /// So many updates in a row without an improvement end the training.
  int patience = 5;
  /// What a value must be better by to count as an improvement.
  double min_delta = 0;
  enum class Mode : std::uint8_t { min, max };
  /// Whether small values are good, as of a loss, or large ones, as of an accuracy.
  Mode mode = Mode::min;
};

/// Watches a validation figure and says when it has stopped improving:
///
///     if (stopping.update(validation_loss)) best = net;
///     if (stopping.should_stop()) break;
///
/// NaN never improves anything. Throws ValueError unless patience >= 1 and min_delta >= 0.
class ADJOINT_API EarlyStopping {
 public:
  explicit EarlyStopping(const EarlyStoppingOptions& options = {});

  /// Takes the figure of the next epoch; true when it is the best so far.
  bool update(double value) noexcept;
  bool should_stop() const noexcept { return since_best_ >= options_.patience; }

  /// The best figure, and in which update it came, from 1; infinite and 0 before the first.
  double best() const noexcept { return best_; }
  int best_epoch() const noexcept { return best_epoch_; }

 private:
  EarlyStoppingOptions options_;
  double best_;
  int epoch_ = 0, best_epoch_ = 0, since_best_ = 0;
};

}  // namespace adjoint::data
