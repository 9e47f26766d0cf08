// Early stopping and the progress bar.
#include <adjoint/data/early_stopping.hpp>
#include <adjoint/data/progress_bar.hpp>
#include <adjoint/error.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace ad = adjoint;
using ad::data::EarlyStopping;
using ad::data::EarlyStoppingOptions;
using ad::data::ProgressBar;
using ad::data::ProgressBarOptions;

namespace {

EarlyStoppingOptions stopping(int patience, double min_delta, EarlyStoppingOptions::Mode mode) {
  EarlyStoppingOptions options;
  options.patience = patience;
  options.min_delta = min_delta;
  options.mode = mode;
  return options;
}

constexpr auto kMin = EarlyStoppingOptions::Mode::min, kMax = EarlyStoppingOptions::Mode::max;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// The update, from 1, after which training stops; 0 if it goes on.
int stops_after(EarlyStopping stopper, const std::vector<double>& figures) {
  for (std::size_t i = 0; i < figures.size(); ++i) {
    CHECK_FALSE(stopper.should_stop());
    stopper.update(figures[i]);
    if (stopper.should_stop()) return static_cast<int>(i) + 1;
  }
  return 0;
}

ProgressBarOptions drawing(bool terminal, double interval) {
  ProgressBarOptions options;
  options.label = "epoch 1/2";
  options.terminal = terminal;
  options.interval = interval;
  return options;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

}  // namespace

TEST_CASE("stops after so many updates without an improvement") {
  CHECK(stops_after(EarlyStopping(stopping(2, 0, kMin)), {5, 4, 4, 4.5, 1}) == 4);
  CHECK(stops_after(EarlyStopping(stopping(2, 0, kMin)), {5, 4, 4.5, 3, 3.5, 2}) == 0);
  CHECK(stops_after(EarlyStopping(stopping(1, 0, kMin)), {5, 5}) == 2);
  CHECK(stops_after(EarlyStopping(stopping(2, 0, kMax)), {0.5, 0.6, 0.6, 0.1}) == 4);
  // Improvements of min_delta or less do not count, also not together.
  CHECK(stops_after(EarlyStopping(stopping(3, 1, kMin)), {9, 8.5, 8, 8.2}) == 4);
  CHECK(stops_after(EarlyStopping(stopping(3, 1, kMax)), {1, 1.5, 2.5, 2, 3, 3.5}) == 6);
  CHECK(stops_after(EarlyStopping(stopping(2, 0, kMin)), {kNaN, kNaN}) == 2);
}

TEST_CASE("remembers the best figure and when it came") {
  EarlyStopping stopper(stopping(3, 0, kMin));
  CHECK(stopper.best_epoch() == 0);
  CHECK(std::isinf(stopper.best()));
  CHECK_FALSE(stopper.update(kNaN));
  CHECK(stopper.update(2));
  CHECK(stopper.update(1));
  CHECK_FALSE(stopper.update(1));
  CHECK(stopper.best() == 1);
  CHECK(stopper.best_epoch() == 3);
}

TEST_CASE("options of early stopping are checked") {
  CHECK_THROWS_AS(EarlyStopping(stopping(0, 0, kMin)), ad::ValueError);
  CHECK_THROWS_AS(EarlyStopping(stopping(1, -1, kMin)), ad::ValueError);
  CHECK_THROWS_AS(EarlyStopping(stopping(1, kNaN, kMin)), ad::ValueError);
}

TEST_CASE("plain lines where there is no terminal") {
  std::ostringstream out;
  ProgressBar bar(out, 3, drawing(false, 0));
  CHECK(out.str().empty());
  bar.update(100, 1.0);
  bar.update(100, 2.0);
  bar.update(50, 4.0);
  bar.finish();
  bar.finish();
  CHECK(bar.mean_loss() == doctest::Approx((100 * 1.0 + 100 * 2.0 + 50 * 4.0) / 250));

  const std::vector<std::string> lines = split(out.str(), '\n');
  REQUIRE(lines.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CAPTURE(lines[i]);
    CHECK(std::regex_match(
        lines[i], std::regex("epoch 1/2  " + std::to_string(i + 1) + R"(/3  loss \d\.\d{4}  \d+/s  \d:\d\d left)")));
  }
  CHECK(lines[2].find("loss 2.0000") != std::string::npos);
  CHECK(lines[2].find("0:00 left") != std::string::npos);
  CHECK(out.str().find('\r') == std::string::npos);
}

TEST_CASE("few plain lines: one each interval, and the last") {
  std::ostringstream out;
  {
    ProgressBar bar(out, 1000, drawing(false, 1e9));
    for (int i = 0; i < 1000; ++i) bar.update(1, 0.5);
  }
  CHECK(split(out.str(), '\n').size() == 1);
  CHECK(out.str().find("1000/1000") != std::string::npos);

  std::ostringstream none;
  { ProgressBar bar(none, 1000, drawing(false, 0)); }
  CHECK(none.str().empty());
}

TEST_CASE("one line, redrawn, on a terminal") {
  std::ostringstream out;
  ProgressBar bar(out, 4, drawing(true, 0));
  for (int i = 0; i < 4; ++i) bar.update(10, 0.25);
  const std::vector<std::string> drawn = split(out.str(), '\r');
  REQUIRE(drawn.size() == 5);  // the first is what came before the first \r: nothing
  CHECK(drawn[0].empty());
  std::ptrdiff_t filled_before = 0;
  for (std::size_t i = 1; i < drawn.size(); ++i) {
    CAPTURE(drawn[i]);
    CHECK(drawn[i].size() == 79);
    CHECK(drawn[i].find("epoch 1/2  [=") == 0);
    CHECK(drawn[i].find("]  " + std::to_string(i) + "/4  loss 0.2500  ") != std::string::npos);
    const std::ptrdiff_t filled = std::count(drawn[i].begin(), drawn[i].end(), '=');
    CHECK(filled > filled_before);
    filled_before = filled;
  }
  CHECK(drawn.back().find("=]") != std::string::npos);
  CHECK(out.str().find('\n') == std::string::npos);

  bar.finish();
  const std::string end = "\r" + std::string(79, ' ') + "\r";
  CHECK(out.str().substr(out.str().size() - end.size()) == end);
}

TEST_CASE("a narrow terminal is not overrun") {
  for (int width : {0, 1, 20, 40, 60, 200}) {
    std::ostringstream out;
    ProgressBarOptions options = drawing(true, 0);
    options.width = width;
    ProgressBar bar(out, 2, options);
    bar.update(10, 0.25);
    CHECK(out.str().size() == static_cast<std::size_t>(width) + 1);
  }
}

TEST_CASE("more batches than announced, a loss of NaN, a stream that fails") {
  std::ostringstream out;
  ProgressBar bar(out, 1, drawing(true, 0));
  bar.update(1, kNaN);
  bar.update(1, 1);
  CHECK(out.str().find("2/1  loss nan") != std::string::npos);
  CHECK(std::isnan(bar.mean_loss()));

  std::ostringstream broken;
  broken.setstate(std::ios::badbit);
  ProgressBar silent(broken, 1, drawing(false, 0));
  CHECK_NOTHROW(silent.update(1, 1));
  CHECK_THROWS_AS(ProgressBar(out, 0), ad::ValueError);
}
