// Trains the CNN of fashion_mnist.hpp, or loads one, and draws two pictures of what it has learnt:
//   filters.png   its first filters, grey where they are 0, and beside each what it makes of the first test image;
//   mistakes.png  the wrong answers that it is surest of, and beside each image the pixels on which the answer hangs.
// What to run, after a build; it takes a minute:
//   build/release/examples/what_a_cnn_learns --out pictures
// Or, without training again, for a network that was trained for longer:
//   build/release/examples/train_fashion_mnist --save cnn.safetensors
//   build/release/examples/what_a_cnn_learns --out pictures --load cnn.safetensors
#include "fashion_mnist.hpp"

#include <CLI/CLI.hpp>

#include <png.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

using namespace fashion_mnist;

namespace {

void train(Classifier& net, const Images& images, int epochs, std::uint64_t seed) {
  net.standardize_as(images.all()[0]);
  data::DataLoader loader(images, {.batch_size = 128, .shuffle = true, .seed = seed});
  ad::optim::Adam optimizer(net.parameters(), {.lr = 2e-3});
  ad::optim::CosineAnnealingLR schedule(optimizer, epochs * loader.size());
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    const std::string label = "epoch " + std::to_string(epoch) + "/" + std::to_string(epochs);
    data::ProgressBar bar(std::cout, loader.size(), {.label = label});
    for (auto& [batch, labels] : loader) {
      optimizer.zero_grad();
      const Tensor loss = nn::cross_entropy(net(batch), labels);
      loss.backward();
      optimizer.step();
      schedule.step();
      bar.update(batch.size(0), loss.item<double>());
    }
  }
}

// -- pictures: tensors of grey values from 0, black, to 1, white ------------------------------------------------------

constexpr std::int64_t kGap = 6;

/// Every pixel of images [n, h, w] as a square of `factor` by `factor`.
Tensor enlarge(const Tensor& images, std::int64_t factor) {
  const std::int64_t n = images.size(0), h = images.size(1), w = images.size(2);
  return images.reshape({n, h, 1, w, 1}).expand({n, h, factor, w, factor}).reshape({n, h * factor, w * factor});
}

/// Pairs of images, left [n, h, w] and right [n, h, w], in rows of `columns` on white paper.
Tensor grid_of_pairs(const Tensor& left, const Tensor& right, std::int64_t columns) {
  const Tensor pairs = ad::cat({left, ad::ones({left.size(0), left.size(1), 1}), right}, 2);
  const std::int64_t n = pairs.size(0), rows = (n + columns - 1) / columns;
  const Tensor tiles = ad::pad(pairs, {0, kGap, 0, kGap, 0, rows * columns - n}, ad::PadMode::constant, 1);
  const std::int64_t h = tiles.size(1), w = tiles.size(2);
  const Tensor grid = tiles.reshape({rows, columns, h, w}).permute({0, 2, 1, 3}).reshape({rows * h, columns * w});
  return ad::pad(grid, {kGap, 0, kGap, 0}, ad::PadMode::constant, 1);
}

/// Writes a picture [h, w] as a PNG file: the whole file, or, with IoError, none.
void write_png(const std::string& path, const Tensor& picture) {
  const Tensor bytes = ad::round(255 * ad::clamp(picture, 0, 1)).to(ad::uint8);
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  header.format = PNG_FORMAT_GRAY;
  header.height = static_cast<png_uint_32>(bytes.size(0));
  header.width = static_cast<png_uint_32>(bytes.size(1));
  // Under another name until it is complete. libpng removes what it could not finish.
  const std::string unfinished = path + ".unfinished";
  if (png_image_write_to_file(&header, unfinished.c_str(), false, bytes.data<std::uint8_t>(), 0, nullptr) == 0)
    throw ad::IoError("'" + path + "' cannot be written: " + header.message);
  std::error_code error;
  std::filesystem::rename(unfinished, path, error);
  if (error) {
    std::filesystem::remove(unfinished);
    throw ad::IoError("'" + path + "' cannot be written: " + error.message());
  }
}

/// Each of images [n, h, w] from 0 to its own largest value.
Tensor full_contrast(const Tensor& images) { return images / ad::clamp(ad::amax(images, {1, 2}, true), 1e-20); }

Tensor draw_filters(const Classifier& net, const Tensor& image) {
  const auto& convolution = net.layers.get<nn::Conv2d>(1);
  const Tensor filters = convolution.weight.squeeze(1);                             // [32, 3, 3]
  const Tensor maps = ad::relu(convolution(net.standardized(image.unsqueeze(0))));  // [32, 28, 28]
  return grid_of_pairs(enlarge(0.5 + 0.5 * filters / ad::amax(ad::abs(filters)), kImageSize),
                       enlarge(full_contrast(maps), 3), 8);
}

/// How much each pixel of images [n, 28, 28] matters for the choice between two classes: the size of the derivative of
/// the difference of their logits, as a mean over noisy copies of the image, because at any one point it is noise for
/// the most part (SmoothGrad: Smilkov, Thorat, Kim, Viégas and Wattenberg, 2017).
Tensor saliency(const Classifier& net, const Tensor& images, const Tensor& labels, const Tensor& answers) {
  const auto difference = [&](const Tensor& pixels) {
    const Tensor logits = net(pixels);
    return ad::sum(ad::gather(logits, 1, answers.unsqueeze(1)) - ad::gather(logits, 1, labels.unsqueeze(1)));
  };
  const Tensor pixels = images.to(ad::float32);
  Tensor derivative = ad::zeros(pixels.shape());
  for (int copy = 0; copy < 50; ++copy) derivative += ad::grad(difference)(pixels + 40 * ad::randn(pixels.shape()));
  return ad::abs(derivative);
}

using Answers = data::TensorDataset<4>;  // images [n, 28, 28]; the classes that they are, that the network took them
                                         // for, and the probability that it gave to that, each [n]

/// The mistakes that the network is surest of, which are also listed.
Tensor draw_mistakes(const Classifier& net, const Answers& mistakes) {
  constexpr std::int64_t kColumns = 6, kMost = 24;
  const Tensor surest = ad::topk(mistakes.all()[3], std::min(kMost, mistakes.size())).indices;
  const auto [images, labels, answers, certainties] = mistakes.batch(surest.to_vector<std::int64_t>());
  std::printf("row  column  it is     taken for  with probability\n");
  for (std::int64_t i = 0; i < images.size(0); ++i)
    std::printf("%3d  %6d  %-8s  %-9s  %.4f\n", static_cast<int>(i / kColumns + 1), static_cast<int>(i % kColumns + 1),
                kClassNames.at(labels[i].item<int>()).c_str(), kClassNames.at(answers[i].item<int>()).c_str(),
                certainties[i].item<double>());
  const Tensor sensitivities = full_contrast(saliency(net, images, labels, answers));
  return grid_of_pairs(enlarge(images.to(ad::float32) / 255, 4), enlarge(sensitivities, 4), kColumns);
}

}  // namespace

int main(int argc, char** argv) try {
  int epochs = 3;
  std::uint64_t seed = 1;
  std::string directory = kDataDirectory, load;
  std::filesystem::path out = ".";
  CLI::App app("Trains a CNN on Fashion-MNIST, and draws its filters and its mistakes: filters.png and mistakes.png.");
  app.option_defaults()->always_capture_default();
  auto* epochs_option = app.add_option("--epochs", epochs, "Passes over the training images");
  epochs_option->check(CLI::PositiveNumber);
  app.add_option("--seed", seed, "Fixes the initial weights, the order, the dropout, and the noise of mistakes.png");
  app.add_option("--data", directory, "The directory of the data set's four .gz files");
  app.add_option("--out", out, "The directory of the pictures; made if there is none");
  app.add_option("--load", load, "Do not train: take the parameters from this file of train_fashion_mnist --save")
      ->excludes(epochs_option);
  CLI11_PARSE(app, argc, argv);

  check_data_files(directory);
  const std::string filters = out / "filters.png", mistakes = out / "mistakes.png";
  std::error_code ignored;  // what is wrong shows below
  std::filesystem::create_directories(out, ignored);
  for (const std::string& path : {filters, mistakes}) check_can_write(path, "--out");

  ad::manual_seed(seed);
  Classifier net(make_cnn());
  if (load.empty()) train(net, read_images(directory, "train"), epochs, seed);
  else net.load(load);
  net.requires_grad_(false);  // from now on only pixels are differentiated by

  const Images test = read_images(directory, "t10k");
  const Evaluation result = evaluate(net, test);  // in evaluation mode, in which it stays: no dropout below
  std::printf("test accuracy %.4f\n", result.accuracy);
  write_png(filters, draw_filters(net, test.batch({0})[0][0]));
  const Answers answers(test.all()[0], result.labels, result.predictions, result.certainties);
  const Tensor wrong = ad::nonzero(result.predictions != result.labels).squeeze(1);
  if (wrong.numel() == 0) std::printf("no mistakes, so no mistakes.png\n");
  else write_png(mistakes, draw_mistakes(net, answers.subset(wrong.to_vector<std::int64_t>())));
  return EXIT_SUCCESS;
} catch (const std::exception& error) {
  std::cerr << "what_a_cnn_learns: " << error.what() << '\n';
  return EXIT_FAILURE;
}
