// The training program, run as a user runs it, on a small data set of its format made here.
#include "fashion_mnist_program.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

const Program run{ADJOINT_TRAIN_FASHION_MNIST};

/// From the line "test accuracy" to the end.
std::string verdict(const std::string& out) {
  const std::size_t at = ("\n" + out).find("\ntest accuracy ");
  return at == std::string::npos ? "" : out.substr(at);
}

/// The log without its last column, which no two runs have in common.
std::string without_seconds(const std::string& csv) { return std::regex_replace(csv, std::regex(",[^,\n]*\n"), "\n"); }

}  // namespace

TEST_CASE("trains, logs, saves; a saved network has the same accuracy; the same seed the same numbers") {
  const DataSet set;
  const std::string log = set / "log.csv", saved = set / "best.safetensors";
  const std::vector<std::string> training = {
      "--data", set.path.string(), "--epochs", "4",      "--lr", "0.003",   "--batch-size", "20", "--seed",
      "7",      "--log",           log,        "--save", saved,  "--model", "mlp"};
  const Outcome outcome = run(training);
  CAPTURE(outcome.out);
  CHECK(outcome.err == "");
  REQUIRE(outcome.status == 0);
  CHECK(contains(outcome.out, "540 training images, 60 validation images"));
  CHECK_FALSE(contains(outcome.out, "\r"));
  CHECK(std::regex_search(outcome.out, std::regex("epoch 4/4  27/27  loss ")));
  CHECK(std::regex_search(outcome.out, std::regex("epoch 4/4  train loss \\d.*validation loss \\d.*accuracy \\d")));

  std::smatch accuracy;
  REQUIRE(std::regex_search(outcome.out, accuracy, std::regex("\ntest accuracy ([01]\\.\\d{4})\n")));
  CHECK(std::stod(accuracy[1]) > 0.9);
  CHECK(contains(verdict(outcome.out), "pullover"));

  std::istringstream lines(read_file(log));
  std::string line;
  std::getline(lines, line);
  CHECK(line == "epoch,train_loss,validation_loss,validation_accuracy,seconds");
  int epochs = 0;
  while (std::getline(lines, line)) {
    CAPTURE(line);
    CHECK(std::regex_match(line, std::regex(std::to_string(++epochs) + R"((,[0-9.e+-]+){4})")));
  }
  CHECK(epochs == 4);

  const Outcome loaded = run({"--data", set.path.string(), "--load", saved, "--seed", "99", "--model", "mlp"});
  CHECK(loaded.status == 0);
  CHECK_FALSE(contains(loaded.out, "epoch"));
  CHECK(loaded.out == verdict(outcome.out));

  const std::string first_log = read_file(log), first_saved = read_file(saved);
  CHECK(run(training).status == 0);
  CHECK(without_seconds(read_file(log)) == without_seconds(first_log));
  CHECK(read_file(saved) == first_saved);
}

TEST_CASE("stops early, when the validation accuracy has not improved for eight epochs") {
  const DataSet set;
  const std::string log = set / "log.csv", saved = set / "best.safetensors";
  const Outcome outcome = run({"--data", set.path.string(), "--epochs", "100", "--log", log, "--save", saved});
  CHECK(outcome.status == 0);
  std::istringstream lines(read_file(log));
  std::string line;
  std::getline(lines, line);
  double best = 0;
  int best_epoch = 0, epochs = 0;
  while (std::getline(lines, line)) {
    std::smatch columns;
    REQUIRE(std::regex_match(line, columns, std::regex("([^,]*),([^,]*),([^,]*),([^,]*),([^,]*)")));
    ++epochs;
    if (std::stod(columns[4]) > best) {
      best = std::stod(columns[4]);
      best_epoch = epochs;
    }
  }
  CHECK(best > 0.9);
  CHECK(epochs == best_epoch + 8);
}

TEST_CASE("a loss that is no number ends the training, and what was saved stays") {
  const DataSet set;
  const std::string saved = set / "best.safetensors";
  REQUIRE(run({"--data", set.path.string(), "--epochs", "1", "--save", saved}).status == 0);
  const std::string before = read_file(saved);
  const Outcome outcome = run({"--data", set.path.string(), "--epochs", "3", "--save", saved, "--lr", "1e38"});
  CAPTURE(outcome.out);
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, "training failed"));
  CHECK_FALSE(contains(outcome.out, "test accuracy"));
  CHECK(read_file(saved) == before);
}

TEST_CASE("Ctrl-C ends the training and saves") {
  const DataSet set;
  const std::string saved = set / "best.safetensors";
  const auto interrupt = [sent = false](pid_t child, const std::string& out) mutable {
    if (!sent && contains(out, "epoch 2/1000  train loss")) sent = kill(child, SIGINT) == 0;
  };
  const Outcome outcome =
      run({"--data", set.path.string(), "--epochs", "1000", "--batch-size", "2", "--save", saved}, false, interrupt);
  CAPTURE(outcome.out);
  CHECK(outcome.status == 130);
  CHECK(contains(outcome.err, "interrupted"));
  CHECK(run({"--data", set.path.string(), "--load", saved}).status == 0);
}

TEST_CASE("a bar on a terminal") {
  const DataSet set;
  const Outcome outcome = run({"--data", set.path.string(), "--epochs", "1", "--batch-size", "1"}, true);
  CAPTURE(outcome.out);
  CHECK(outcome.status == 0);
  CHECK(std::regex_search(
      outcome.out, std::regex("\repoch 1/1  \\[=* *\\]  \\d+/540  loss \\d+\\.\\d{4}  \\d+/s  \\d+:\\d\\d left")));
}

TEST_CASE("the test images are not looked at before training has ended") {
  const DataSet set;
  std::ofstream(set / "t10k-images-idx3-ubyte.gz") << "garbage";
  const Outcome outcome = run({"--data", set.path.string(), "--epochs", "2"});
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.out, "epoch 2/2  train loss"));
  CHECK(contains(outcome.err, "t10k-images-idx3-ubyte.gz"));
}

TEST_CASE("files that are missing or broken") {
  for (const char* name : {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
                           "t10k-labels-idx1-ubyte.gz"}) {
    const DataSet set;
    fs::remove(set.path / name);
    check_refused(run, {"--data", set.path.string()}, name);
  }
  const DataSet set;
  fs::resize_file(set.path / "train-images-idx3-ubyte.gz", 1000);
  check_refused(run, {"--data", set.path.string()}, "truncated");

  const DataSet short_labels;
  write_gzip(short_labels / "train-labels-idx1-ubyte.gz", std::string{0, 0, 8, 1, 0, 0, 0, 1, 5});
  check_refused(run, {"--data", short_labels.path.string()}, "train-labels-idx1-ubyte.gz");

  const DataSet no_parameters;
  check_refused(run, {"--data", no_parameters.path.string(), "--load", no_parameters / "nothing"}, "nothing");
  check_refused(run, {"--data", no_parameters.path.string(), "--load", no_parameters / "t10k-labels-idx1-ubyte.gz"},
                "t10k-labels-idx1-ubyte.gz");
}

TEST_CASE("labels beyond the ten classes") {
  const DataSet set;
  std::string labels{0, 0, 8, 1, 0, 0, 2, 88};
  labels.append(600, '\x0a');
  write_gzip(set / "train-labels-idx1-ubyte.gz", labels);
  check_refused(run, {"--data", set.path.string()}, "[0, 10)");
}

TEST_CASE("what cannot be written is found out at the start") {
  const DataSet set;
  const std::string nowhere = set / "no/such/directory/file";
  check_refused(run, {"--data", set.path.string(), "--log", nowhere}, nowhere);
  check_refused(run, {"--data", set.path.string(), "--log", "/dev/full"}, "/dev/full");
  check_refused(run, {"--data", set.path.string(), "--save", nowhere}, nowhere);
  check_refused(run, {"--data", set.path.string(), "--save", set.path.string()}, set.path.string());
}

TEST_CASE("the command line") {
  const Outcome help = run({"--help"});
  CHECK(help.status == 0);
  for (const char* option : {"--model", "--epochs", "--batch-size", "--lr", "--seed", "--threads", "--log", "--data",
                             "--save", "--load", "--help"})
    CHECK(contains(help.out, option));
  CHECK(run({"--no-such-option"}).status != 0);
  for (const char* option : {"--batch-size", "--epochs", "--lr"}) {
    CHECK(run({option, "0"}).status != 0);
    CHECK(run({option, "-1"}).status != 0);
  }
  CHECK(run({"--model", "transformer"}).status != 0);
}
