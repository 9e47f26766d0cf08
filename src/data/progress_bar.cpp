#include <adjoint/data/progress_bar.hpp>
#include <adjoint/error.hpp>

#include <unistd.h>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <limits>

namespace adjoint::data {

namespace {

bool is_terminal(const std::ostream& out) {
  if (&out == &std::cout) return isatty(STDOUT_FILENO) != 0;
  if (&out == &std::cerr || &out == &std::clog) return isatty(STDERR_FILENO) != 0;
  return false;
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

template <class... Values>
std::string format(const char* pattern, Values... values) {
  char text[128];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

/// "0:07", "12:40", "1:02:03"; "?" when not known.
std::string clock_time(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  const auto whole = static_cast<long long>(std::min(std::ceil(seconds), 1e9));
  if (whole >= 3600) return format("%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
  return format("%lld:%02lld", whole / 60, whole % 60);
}

}  // namespace

ProgressBar::ProgressBar(std::ostream& out, std::int64_t batches, const ProgressBarOptions& options)
    : out_(&out),
      batches_(batches),
      label_(options.label),
      terminal_(options.terminal.value_or(is_terminal(out))),
      width_(options.width),
      interval_(options.interval.value_or(terminal_ ? 0.1 : 5)),
      start_(now()),
      drawn_(start_) {
  if (batches < 1) throw ValueError("ProgressBar: batches is " + std::to_string(batches) + "; it has to be at least 1");
}

ProgressBar::~ProgressBar() {
  try {
    finish();
  } catch (...) {  // a stream set to throw
  }
}

void ProgressBar::update(std::int64_t examples, double loss) {
  ++done_;
  examples_ += examples;
  loss_sum_ += loss * static_cast<double>(examples);
  if (!finished_ && now() - drawn_ >= interval_) draw();
}

void ProgressBar::finish() {
  if (finished_) return;
  finished_ = true;
  if (terminal_) *out_ << '\r' << std::string(static_cast<std::size_t>(std::max(width_, 0)), ' ') << '\r' << std::flush;
  else if (drawn_batches_ < done_) draw();
}

double ProgressBar::mean_loss() const noexcept {
  return examples_ > 0 ? loss_sum_ / static_cast<double>(examples_) : std::numeric_limits<double>::quiet_NaN();
}

double ProgressBar::seconds() const noexcept { return now() - start_; }

std::string ProgressBar::line() const {
  const double elapsed = seconds();
  const double per_batch = done_ > 0 ? elapsed / static_cast<double>(done_) : std::numeric_limits<double>::infinity();
  const auto left = static_cast<double>(std::max<std::int64_t>(batches_ - done_, 0));
  std::string begin = label_.empty() ? "" : label_ + "  ";
  std::string end = format("%lld/%lld  loss %.4f  %.0f/s  ", static_cast<long long>(done_),
                           static_cast<long long>(batches_), mean_loss(), static_cast<double>(examples_) / elapsed) +
                    clock_time(left * per_batch) + " left";
  if (!terminal_) return begin + end;

  // The bar takes the columns that the texts leave.
  const int room = width_ - static_cast<int>(begin.size() + end.size()) - 4;
  std::string bar;
  if (room >= 4) {
    const double share = std::min(1.0, static_cast<double>(done_) / static_cast<double>(batches_));
    const auto filled = static_cast<std::size_t>(share * room);
    bar = "[" + std::string(filled, '=') + std::string(static_cast<std::size_t>(room) - filled, ' ') + "]  ";
  }
  std::string text = begin + bar + end;
  text.resize(static_cast<std::size_t>(std::max(width_, 0)), ' ');
  return text;
}

void ProgressBar::draw() {
  drawn_ = now();
  drawn_batches_ = done_;
  if (terminal_) *out_ << '\r' << line() << std::flush;
  else *out_ << line() << std::endl;
}

}  // namespace adjoint::data
