#pragma once

#include <adjoint/export.hpp>

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>

namespace adjoint::data {

struct ProgressBarOptions {
  /// What the line begins with, such as "epoch 3/20".
  std::string label = {};
  /// Whether to redraw one line instead of writing lines. Default: whether the stream is std::cout, std::cerr or
  /// std::clog, and that is a terminal.
  std::optional<bool> terminal = {};
  /// The columns that the redrawn line may fill.
  int width = 79;
  /// Seconds between two drawings. Default: 0.1 on a terminal, else 5.
  std::optional<double> interval = {};
};

/// The progress of an epoch: batches done, mean loss, examples per second and the time left. On a terminal one line is
/// redrawn, and erased in the end; elsewhere plain lines are written now and then.
///
///     ProgressBar bar(std::cout, loader.size(), {.label = "epoch 1/20"});
///     for (auto& [images, labels] : loader) {
///       ...
///       bar.update(images.size(0), loss.item<double>());
///     }
///     bar.finish();
class ADJOINT_API ProgressBar {
 public:
  /// Writes nothing yet. The stream must outlive the bar.
  ProgressBar(std::ostream& out, std::int64_t batches, const ProgressBarOptions& options = {});
  /// As finish(), but does not throw.
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// One more batch is done, of so many examples and with this loss.
  void update(std::int64_t examples, double loss);
  /// Erases the line on a terminal, or writes a last line. Nothing is drawn afterwards.
  void finish();

  /// The mean loss of the examples so far, each batch weighted by its examples; NaN before the first.
  double mean_loss() const noexcept;
  double seconds() const noexcept;

 private:
  std::string line() const;
  void draw();

  std::ostream* out_;
  std::int64_t batches_, done_ = 0, examples_ = 0, drawn_batches_ = 0;
  double loss_sum_ = 0;
  std::string label_;
  bool terminal_, finished_ = false;
  int width_;
  double interval_;
  double start_, drawn_;  // seconds of the steady clock
};

}  // namespace adjoint::data
