#include <adjoint/data/early_stopping.hpp>
#include <adjoint/error.hpp>

#include <limits>

namespace adjoint::data {

EarlyStopping::EarlyStopping(const EarlyStoppingOptions& options)
    : options_(options), best_(std::numeric_limits<double>::infinity()) {
  if (options.patience < 1)
    throw ValueError("EarlyStopping: patience is " + std::to_string(options.patience) + "; it has to be at least 1");
  if (!(options.min_delta >= 0))
    throw ValueError("EarlyStopping: min_delta is " + std::to_string(options.min_delta) + "; it has to be at least 0");
  if (options.mode == EarlyStoppingOptions::Mode::max) best_ = -best_;
}

bool EarlyStopping::update(double value) noexcept {
  ++epoch_;
  const bool better = options_.mode == EarlyStoppingOptions::Mode::min ? value < best_ - options_.min_delta
                                                                       : value > best_ + options_.min_delta;
  if (!better) {
    ++since_best_;
    return false;
  }
  best_ = value;
  best_epoch_ = epoch_;
  since_best_ = 0;
  return true;
}

}  // namespace adjoint::data
