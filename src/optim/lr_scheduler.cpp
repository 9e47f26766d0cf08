#include <adjoint/ops.hpp>
#include <adjoint/optim/lr_scheduler.hpp>

#include <cmath>
#include <sstream>
#include <utility>

namespace adjoint::optim {

namespace {

template <class T>
void require(bool valid, const char* name, const char* option, T value, const char* condition) {
  if (valid) return;
  std::ostringstream text;
  text << name << ": " << option << " must be " << condition << ", not " << value;
  throw ValueError(text.str());
}

LRScheduler::Schedule step_schedule(std::int64_t step_size, double gamma) {
  require(step_size >= 1, "StepLR", "step_size", step_size, "at least 1");
  require(gamma >= 0 && std::isfinite(gamma), "StepLR", "gamma", gamma, "finite and at least 0");
  return [=](double initial, std::int64_t step) {
    return initial * std::pow(gamma, static_cast<double>(step / step_size));
  };
}

LRScheduler::Schedule cosine_schedule(std::int64_t T_max, double eta_min) {
  require(T_max >= 1, "CosineAnnealingLR", "T_max", T_max, "at least 1");
  require(eta_min >= 0 && std::isfinite(eta_min), "CosineAnnealingLR", "eta_min", eta_min, "finite and at least 0");
  return [=](double initial, std::int64_t step) {
    constexpr double pi = 3.14159265358979323846;
    const double phase = static_cast<double>(step % (2 * T_max)) / static_cast<double>(T_max);
    return eta_min + (initial - eta_min) * (1 + std::cos(pi * phase)) / 2;
  };
}

}  // namespace

LRScheduler::LRScheduler(Optimizer& optimizer, Schedule schedule, const LRSchedulerOptions& options)
    : optimizer_(&optimizer), schedule_(std::move(schedule)), options_(options) {
  if (!schedule_) throw ValueError("LRScheduler: schedule is empty; it must be a function");
  require(options.warmup_steps >= 0, "LRScheduler", "warmup_steps", options.warmup_steps, "at least 0");
  require(options.warmup_start_factor > 0 && options.warmup_start_factor <= 1, "LRScheduler", "warmup_start_factor",
          options.warmup_start_factor, "in (0, 1]");
  for (std::size_t g = 0; g < optimizer.group_count(); ++g) initial_lr_.push_back(optimizer.lr(g));
  set(initial_lr_, 0);
}

// Sets the rates of a step, or throws and sets none.
void LRScheduler::set(const std::vector<double>& initial, std::int64_t step) {
  const std::int64_t after = step - options_.warmup_steps;
  const auto rate = [&](double lr) {
    if (after >= 0) return schedule_(lr, after);
    const double start = options_.warmup_start_factor;
    return lr * (start + (1 - start) * static_cast<double>(step) / static_cast<double>(options_.warmup_steps));
  };
  next_lr_.clear();
  for (const double lr : initial) {
    const double next = next_lr_.emplace_back(rate(lr));
    require(next >= 0 && std::isfinite(next), "LRScheduler", "the learning rate", next, "finite and at least 0");
  }
  for (std::size_t g = 0; g < next_lr_.size(); ++g) optimizer_->set_lr(g, next_lr_[g]);
  last_lr_.swap(next_lr_);
}

void LRScheduler::step() {
  set(initial_lr_, last_step_ + 1);
  ++last_step_;
}

StateDict LRScheduler::state_dict() const {
  StateDict state;
  state.insert("last_step", full({}, last_step_, int64));
  state.insert("initial_lr", tensor(initial_lr_));
  return state;
}

void LRScheduler::load_state_dict(const StateDict& values) {
  const StateDict mine = state_dict();
  for (const auto& [name, current] : mine) {
    const Tensor* value = values.find(name);
    if (!value) throw ValueError("LRScheduler: load_state_dict: \"" + name + "\" is missing");
    if (value->shape() != current.shape())
      throw ShapeError("LRScheduler: load_state_dict: \"" + name + "\" has shape " + to_string(value->shape()) +
                       ", the scheduler's has " + to_string(current.shape()));
    if (value->dtype() != current.dtype())
      throw DtypeError("LRScheduler: load_state_dict: \"" + name + "\" is " + name_of(value->dtype()) +
                       ", the scheduler's is " + name_of(current.dtype()));
  }
  for (const auto& [name, value] : values)
    if (!mine.find(name)) throw ValueError("LRScheduler: load_state_dict: \"" + name + "\" is not expected");

  const std::int64_t step = values.at("last_step").item<std::int64_t>();
  require(step >= 0, "LRScheduler", "last_step", step, "at least 0");
  std::vector<double> initial = values.at("initial_lr").to_vector<double>();
  set(initial, step);
  initial_lr_ = std::move(initial);
  last_step_ = step;
}

StepLR::StepLR(Optimizer& optimizer, std::int64_t step_size, double gamma, const LRSchedulerOptions& options)
    : LRScheduler(optimizer, step_schedule(step_size, gamma), options) {}

CosineAnnealingLR::CosineAnnealingLR(Optimizer& optimizer, std::int64_t T_max, double eta_min,
                                     const LRSchedulerOptions& options)
    : LRScheduler(optimizer, cosine_schedule(T_max, eta_min), options) {}

}  // namespace adjoint::optim
