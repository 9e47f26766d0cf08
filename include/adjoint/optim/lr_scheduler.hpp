#pragma once

#include <adjoint/optim/optimizer.hpp>

#include <functional>

namespace adjoint::optim {

struct LRSchedulerOptions {
  /// At the first so many steps the learning rate rises on a straight line from warmup_start_factor times the initial
  /// one; the schedule begins after them. PyTorch's LinearLR, joined to the schedule by SequentialLR.
  std::int64_t warmup_steps = 0;
  double warmup_start_factor = 1.0 / 3;
};

/// Sets the learning rates of an optimizer's groups by the number of steps that were made, of whatever is counted:
/// optimizer steps, or epochs. Call step() after the optimizer's. A schedule of one's own:
///   LRScheduler scheduler(optimizer, [](double initial, std::int64_t step) { return initial / (1 + 0.1 * step); });
/// With warm-up, at step t < warmup_steps,
///   lr = initial (start_factor + (1 - start_factor) t / warmup_steps)
/// and afterwards the schedule is asked for t - warmup_steps. The rates depend on the step alone: what set_lr() did in
/// between lasts until the next step().
class ADJOINT_API LRScheduler {
 public:
  /// The learning rate of a group at a step >= 0, given the one that it had when the scheduler was made.
  using Schedule = std::function<double(double initial, std::int64_t step)>;

  /// Sets the learning rates of step 0. The optimizer outlives the scheduler. Throws ValueError unless
  /// warmup_steps >= 0, 0 < warmup_start_factor <= 1, and the schedule is one.
  LRScheduler(Optimizer& optimizer, Schedule schedule, const LRSchedulerOptions& options = {});

  /// Goes to the next step and sets its learning rates. Throws ValueError when one is negative or not finite.
  void step();
  /// How often step() was called.
  std::int64_t last_step() const noexcept { return last_step_; }
  /// The learning rates that were set last, one for each group.
  const std::vector<double>& last_lr() const noexcept { return last_lr_; }

  /// "last_step" (int64) and "initial_lr" (float64, one for each group). Not part of it are the schedule and its
  /// options: construct the scheduler as before.
  StateDict state_dict() const;
  /// Takes the state over and sets the learning rates of its step. Throws ValueError, ShapeError or DtypeError for what
  /// does not fit; then nothing has changed.
  void load_state_dict(const StateDict& values);

 private:
  void set(const std::vector<double>& initial, std::int64_t step);

  Optimizer* optimizer_;
  Schedule schedule_;
  LRSchedulerOptions options_;
  std::int64_t last_step_ = 0;
  std::vector<double> initial_lr_, last_lr_, next_lr_;  // for each group
};

/// lr = initial gamma^floor(t / step_size).
class ADJOINT_API StepLR : public LRScheduler {
 public:
  /// Throws ValueError unless step_size >= 1 and gamma >= 0 and finite.
  StepLR(Optimizer& optimizer, std::int64_t step_size, double gamma = 0.1, const LRSchedulerOptions& options = {});
};

/// lr = eta_min + (initial - eta_min) (1 + cos(pi t / T_max)) / 2 (Loshchilov & Hutter 2017, equation 5, without
/// restarts): down to eta_min at step T_max, counted from the end of the warm-up, and, as PyTorch's, up again after it.
class ADJOINT_API CosineAnnealingLR : public LRScheduler {
 public:
  /// Throws ValueError unless T_max >= 1 and eta_min >= 0 and finite.
  CosineAnnealingLR(Optimizer& optimizer, std::int64_t T_max, double eta_min = 0,
                    const LRSchedulerOptions& options = {});
};

}  // namespace adjoint::optim
