// What the programs on Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017) share: 70,000 images of clothes, 28 x 28 grey
// values each, in ten classes; two networks; and how well they do.
#pragma once

#include <adjoint/adjoint.hpp>

#include <unistd.h>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace fashion_mnist {

namespace ad = adjoint;
namespace data = adjoint::data;
namespace nn = adjoint::nn;
using ad::Tensor;

constexpr std::int64_t kImageSize = 28, kClasses = 10;
const std::vector<std::string> kClassNames = {"t-shirt", "trouser", "pullover", "dress", "coat",
                                              "sandal",  "shirt",   "sneaker",  "bag",   "boot"};
const std::string kDataDirectory = "/usr/share/datasets/fashion-mnist";

// -- the networks -----------------------------------------------------------------------------------------------------

/// Two convolutions, each followed by pooling, and two linear layers. Dropout keeps it from learning the training
/// images by heart.
inline nn::Sequential make_cnn() {
  nn::Conv2dOptions same_size;
  same_size.padding = 1;
  const auto with_channel = [](const Tensor& images) { return images.unsqueeze(1); };
  return nn::Sequential(with_channel,                                                    // [n, 1, 28, 28]
                        nn::Conv2d(1, 32, 3, same_size), nn::ReLU(), nn::MaxPool2d(2),   // [n, 32, 14, 14]
                        nn::Conv2d(32, 64, 3, same_size), nn::ReLU(), nn::MaxPool2d(2),  // [n, 64, 7, 7]
                        nn::Flatten(), nn::Dropout(0.25),                                //
                        nn::Linear(64 * 7 * 7, 128), nn::ReLU(), nn::Dropout(0.25),      //
                        nn::Linear(128, kClasses));
}

/// The multilayer perceptron 784-256-128-100-10.
inline nn::Sequential make_mlp() {
  constexpr double kDropout = 0.3;
  return nn::Sequential(nn::Flatten(),                                                                //
                        nn::Linear(kImageSize * kImageSize, 256), nn::ReLU(), nn::Dropout(kDropout),  //
                        nn::Linear(256, 128), nn::ReLU(), nn::Dropout(kDropout),                      //
                        nn::Linear(128, 100), nn::ReLU(), nn::Dropout(kDropout),                      //
                        nn::Linear(100, kClasses));
}

/// Bytes of images [n, 28, 28] in, logits [n, 10] out. Mean and deviation are part of it, and of the file in which it
/// is saved: what was trained can be used with no knowledge of the training data.
struct Classifier : nn::Module<Classifier> {
  nn::Buffer mean{ad::zeros({1, 1, 1})}, deviation{ad::ones({1, 1, 1})};
  nn::Sequential layers;

  explicit Classifier(nn::Sequential layers_) : layers(std::move(layers_)) {}
  void standardize_as(const Tensor& training_images) {
    const auto standardizer = data::Standardizer::fit(training_images);
    mean = standardizer.mean();
    deviation = standardizer.deviation();
  }
  void members(nn::Members& m) { m("mean", mean)("deviation", deviation)("layers", layers); }
  Tensor standardized(const Tensor& images) const { return (images.to(ad::float32) - mean) / deviation; }
  Tensor forward(const Tensor& images) const { return layers(standardized(images)); }
};

// -- the data ---------------------------------------------------------------------------------------------------------

using Images = data::TensorDataset<2>;  // images [n, 28, 28] and labels [n]

inline std::string images_file(const std::string& directory, const std::string& part) {
  return directory + "/" + part + "-images-idx3-ubyte.gz";
}
inline std::string labels_file(const std::string& directory, const std::string& part) {
  return directory + "/" + part + "-labels-idx1-ubyte.gz";
}

inline void check_data_files(const std::string& directory) {
  for (const char* part : {"train", "t10k"})
    for (const std::string& file : {images_file(directory, part), labels_file(directory, part)})
      if (::access(file.c_str(), R_OK) != 0)
        throw ad::IoError("'" + file + "' is missing or cannot be read; --data names the directory of the data set");
}

/// Finds out now, not after the training, that a file cannot be written where `option` wants it.
inline void check_can_write(const std::string& path, const std::string& option) {
  const std::string trial = path + ".trial";
  if (std::filesystem::is_directory(path) || !(std::ofstream(trial) << std::flush))
    throw ad::IoError("'" + path + "' cannot be written; " + option + " has to name a place that can");
  std::filesystem::remove(trial);
}

/// A part of the data set: "train" or "t10k".
inline Images read_images(const std::string& directory, const std::string& part) {
  const Tensor images =
      data::IdxReader(images_file(directory, part)).expect(ad::uint8, {-1, kImageSize, kImageSize}).read();
  const Tensor labels = data::IdxReader(labels_file(directory, part)).expect(ad::uint8, {images.size(0)}).read();
  return Images(images, labels.to(ad::int64));
}

// -- how well a network does ------------------------------------------------------------------------------------------

struct Evaluation {
  double loss, accuracy;
  Tensor predictions, certainties, labels;  // the classes that it answered, with their probabilities, and the true ones
};

inline Evaluation evaluate(Classifier& net, const Images& images) {
  const ad::NoGradGuard no_grad;
  net.eval();
  data::DataLoader loader(images, {.batch_size = 1000});
  double loss = 0, right = 0;
  std::vector<Tensor> predictions, certainties, labels;
  for (auto& [batch, truth] : loader) {
    const Tensor logits = net(batch);
    const auto count = static_cast<double>(truth.size(0));
    loss += count * nn::cross_entropy(logits, truth).item<double>();
    right += count * data::accuracy(logits, truth);
    predictions.push_back(logits.argmax(1));
    certainties.push_back(ad::amax(ad::softmax(logits, 1), 1));
    labels.push_back(truth);
  }
  const auto count = static_cast<double>(images.size());
  return {loss / count, right / count, ad::cat(predictions), ad::cat(certainties), ad::cat(labels)};
}

}  // namespace fashion_mnist
