// Trains a network on Fashion-MNIST and tells how well it does on the test images. Read it from main(), at the end,
// upwards; the networks and the data are in fashion_mnist.hpp.
#include "fashion_mnist.hpp"

#include <CLI/CLI.hpp>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

using namespace fashion_mnist;

namespace {

struct Options {
  std::string model = "cnn";
  int epochs = 0;  // the network's own number
  std::int64_t batch_size = 64;
  double learning_rate = 1e-3;
  std::uint64_t seed = 1;
  // The steps of so small a network are short: a second thread saves a third of the time on an idle machine, and costs
  // much more on one where it has to be waited for.
  int threads = 1;
  std::string data = kDataDirectory;
  std::string log, save, load;
};

// -- what is written --------------------------------------------------------------------------------------------------

/// A CSV file with a line for each epoch; nothing when there is no --log.
class Log {
 public:
  explicit Log(const std::string& path) : path_(path) {
    if (path_.empty()) return;
    file_.open(path_);
    file_ << "epoch,train_loss,validation_loss,validation_accuracy,seconds" << std::endl;
    check();
  }
  void write(int epoch, double train_loss, double validation_loss, double accuracy, double seconds) {
    if (path_.empty()) return;
    file_ << epoch << ',' << train_loss << ',' << validation_loss << ',' << accuracy << ',' << seconds << std::endl;
    check();
  }

 private:
  void check() const {
    if (!file_) throw ad::IoError("the log '" + path_ + "' cannot be written");
  }

  std::string path_;
  std::ofstream file_;
};

// -- training ---------------------------------------------------------------------------------------------------------

volatile std::sig_atomic_t interrupted = 0;

/// Ctrl-C ends the training at the next batch; a second one ends the program.
void handle_interrupt(int signal) {
  interrupted = 1;
  std::signal(signal, SIG_DFL);
}

void check_loss(const std::string& which, double loss) {
  if (!std::isfinite(loss))
    throw ad::ValueError("training failed: the " + which + " loss is " + std::to_string(loss) +
                         "; a smaller --lr may help");
}

/// Half of the images, chosen at random, mirrored: clothes have no left and right, and the network sees twice as many.
/// It helps the CNN; the MLP has not the weights to learn both.
Tensor randomly_mirrored(const Tensor& images) {
  return ad::where(ad::rand({images.size(0), 1, 1}) < 0.5, ad::flip(images, 2), images);
}

/// One pass over the training data; returns the mean loss.
double train_epoch(Classifier& net, data::DataLoader<Images>& loader, ad::optim::Adam& optimizer, bool mirror,
                   const std::string& label) {
  net.train();
  data::ProgressBar bar(std::cout, loader.size(), {.label = label});
  for (auto& [images, labels] : loader) {
    optimizer.zero_grad();
    const Tensor loss = nn::cross_entropy(net(mirror ? randomly_mirrored(images) : images), labels);
    loss.backward();
    optimizer.step();
    bar.update(images.size(0), loss.item<double>());
    check_loss("training", bar.mean_loss());
    if (interrupted) break;
  }
  return bar.mean_loss();
}

/// Trains until the validation accuracy stops improving, or Ctrl-C. The network ends with its best parameters. They are
/// in the file of --save as soon as they are found, so that no error, nor a loss that is no number any more, loses
/// them.
void train(Classifier& net, const Images& training, const Images& validation, const Options& options, Log& log) {
  data::DataLoader loader(training, {.batch_size = options.batch_size, .shuffle = true, .seed = options.seed});
  ad::optim::Adam optimizer(net.parameters(), {.lr = options.learning_rate});
  // Large steps first, small ones in the end.
  ad::optim::CosineAnnealingLR schedule(optimizer, options.epochs);
  // By accuracy: the loss grows again, from too much confidence in wrong answers, long before the accuracy falls.
  data::EarlyStopping stopping({.patience = 8, .mode = data::EarlyStoppingOptions::Mode::max});
  Classifier best = net;
  for (int epoch = 1; epoch <= options.epochs && !stopping.should_stop(); ++epoch) {
    const auto start = std::chrono::steady_clock::now();
    const std::string label = "epoch " + std::to_string(epoch) + "/" + std::to_string(options.epochs);
    const double train_loss = train_epoch(net, loader, optimizer, options.model == "cnn", label);
    if (interrupted) break;
    schedule.step();
    const Evaluation result = evaluate(net, validation);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    const bool improved = stopping.update(result.accuracy);
    std::printf("%s  train loss %.4f  validation loss %.4f  accuracy %.4f  %.1f s%s\n", label.c_str(), train_loss,
                result.loss, result.accuracy, seconds, improved ? "  (best)" : "");
    std::fflush(stdout);
    log.write(epoch, train_loss, result.loss, result.accuracy, seconds);
    check_loss("validation", result.loss);
    if (improved) {
      best = net;
      if (!options.save.empty()) net.save(options.save);
    }
  }
  if (stopping.best_epoch() > 0) net = best;
  else if (!options.save.empty()) net.save(options.save);  // interrupted in the first epoch: there is nothing better
}

}  // namespace

int main(int argc, char** argv) try {
  Options options;
  CLI::App app("Trains a network on Fashion-MNIST and tells how well it does on the test images.");
  app.option_defaults()->always_capture_default();
  app.add_option("--model", options.model, "The network: convolutions, or linear layers alone")
      ->check(CLI::IsMember({"cnn", "mlp"}));
  app.add_option("--epochs", options.epochs, "Passes over the training images, at most")
      ->check(CLI::PositiveNumber)
      ->default_str("12, with mlp 30");
  app.add_option("--batch-size", options.batch_size, "Images in a step")->check(CLI::PositiveNumber);
  app.add_option("--lr", options.learning_rate, "Adam's learning rate in the first epoch; it falls to nearly 0")
      ->check(CLI::PositiveNumber);
  app.add_option("--seed", options.seed, "Fixes the split, the initial weights, the order and the dropout");
  app.add_option("--threads", options.threads, "Threads to compute with; 0: as many as there are cores")
      ->check(CLI::Range(0, 1024));
  app.add_option("--data", options.data, "The directory of the data set's four .gz files");
  auto* log_option =
      app.add_option("--log", options.log, "Write losses, accuracy and seconds of each epoch to this CSV file");
  auto* save_option = app.add_option("--save", options.save, "Keep the best parameters in this file");
  app.add_option("--load", options.load, "Do not train: take the parameters from this file")
      ->excludes(log_option)
      ->excludes(save_option);
  CLI11_PARSE(app, argc, argv);

  check_data_files(options.data);
  if (!options.save.empty()) check_can_write(options.save, "--save");
  if (options.threads > 0) ad::set_num_threads(options.threads);
  ad::manual_seed(options.seed);

  const bool is_cnn = options.model == "cnn";
  if (options.epochs == 0) options.epochs = is_cnn ? 12 : 30;
  Classifier net(is_cnn ? make_cnn() : make_mlp());
  if (!options.load.empty()) {
    net.load(options.load);
  } else {
    Log log(options.log);
    std::signal(SIGINT, handle_interrupt);
    const Images images = read_images(options.data, "train");
    const auto [training, validation] = data::random_split(images, {0.9, 0.1}, options.seed);
    net.standardize_as(training.all()[0]);
    std::cout << net << '\n'
              << training.size() << " training images, " << validation.size() << " validation images" << std::endl;
    train(net, training, validation, options, log);
    if (interrupted) {
      std::cerr << "interrupted" << (options.save.empty() ? "" : "; the parameters are in " + options.save) << '\n';
      return 130;  // as the shell reports a program that SIGINT ended
    }
  }

  // The test images are read only now: nothing above can have learnt from them.
  const Evaluation result = evaluate(net, read_images(options.data, "t10k"));
  std::printf("test accuracy %.4f\n", result.accuracy);
  std::fflush(stdout);
  data::print_confusion_matrix(std::cout, data::confusion_matrix(result.predictions, result.labels, kClasses),
                               kClassNames);
  return EXIT_SUCCESS;
} catch (const std::exception& error) {
  std::cerr << "train_fashion_mnist: " << error.what() << '\n';
  return EXIT_FAILURE;
}
