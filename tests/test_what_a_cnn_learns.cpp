// The program that draws what a CNN has learnt, run as a user runs it, on a small data set of its format made here.
#include "fashion_mnist_program.hpp"

#include <png.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

const Program run{ADJOINT_WHAT_A_CNN_LEARNS};
const Program train{ADJOINT_TRAIN_FASHION_MNIST};

/// Grey values, row by row.
struct Picture {
  std::size_t width, height;
  std::vector<unsigned char> pixels;
  unsigned char at(std::size_t y, std::size_t x) const { return pixels.at(y * width + x); }
};

Picture read_png(const std::string& path) {
  REQUIRE(read_file(path).substr(0, 8) == "\x89PNG\r\n\x1a\n");
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  REQUIRE(png_image_begin_read_from_file(&header, path.c_str()) != 0);
  CHECK(header.format == PNG_FORMAT_GRAY);
  header.format = PNG_FORMAT_GRAY;
  std::vector<unsigned char> pixels(PNG_IMAGE_SIZE(header));
  REQUIRE(png_image_finish_read(&header, nullptr, pixels.data(), 0, nullptr) != 0);
  return {header.width, header.height, pixels};
}

/// How many grey values a square with its upper left corner at (y, x) has.
std::size_t shades(const Picture& picture, std::size_t y, std::size_t x, std::size_t size) {
  std::set<unsigned char> values;
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j < size; ++j) values.insert(picture.at(y + i, x + j));
  return values.size();
}

/// A line of the list of mistakes.
struct Mistake {
  std::size_t row, column, label, answer;
  double probability;
};

std::vector<Mistake> listed_mistakes(const std::string& out) {
  const std::vector<std::string> names = {"t-shirt", "trouser", "pullover", "dress", "coat",
                                          "sandal",  "shirt",   "sneaker",  "bag",   "boot"};
  const auto class_of = [&](const std::string& name) {
    const auto found = std::find(names.begin(), names.end(), name);
    REQUIRE(found != names.end());
    return static_cast<std::size_t>(found - names.begin());
  };
  std::vector<Mistake> result;
  const std::regex line(R"( *(\d+) +(\d+)  (\S+) +(\S+) +([01]\.\d{4})\n)");
  for (std::sregex_iterator match(out.begin(), out.end(), line), end; match != end; ++match)
    result.push_back({std::stoul((*match)[1]) - 1, std::stoul((*match)[2]) - 1, class_of((*match)[3]),
                      class_of((*match)[4]), std::stod((*match)[5])});
  return result;
}

std::set<std::string> files_of(const fs::path& directory) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) names.insert(entry.path().filename().string());
  return names;
}

/// Moves the labels of the first `count` test images on by one class: who knows the classes is wrong about these.
void spoil_labels(const DataSet& set, std::size_t count) {
  std::string labels{0, 0, 8, 1, 0, 0, 0, 100};
  for (std::size_t i = 0; i < 100; ++i) labels += static_cast<char>((i + (i < count ? 1 : 0)) % 10);
  write_gzip(set / "t10k-labels-idx1-ubyte.gz", labels);
}

/// The parameters of a network that knows the classes.
std::string trained(const DataSet& set) {
  const std::string file = set / "cnn.safetensors";
  REQUIRE(train({"--data", set.path.string(), "--epochs", "5", "--batch-size", "20", "--save", file}).status == 0);
  return file;
}

}  // namespace

TEST_CASE("trains and draws; the same seed draws the same") {
  const DataSet set;
  spoil_labels(set, 40);
  const std::string out = set / "new/pictures";
  const std::vector<std::string> arguments = {"--data", set.path.string(), "--out", out, "--epochs",
                                              "2",      "--seed",          "3"};
  const Outcome outcome = run(arguments);
  CAPTURE(outcome.out);
  CHECK(outcome.err == "");
  REQUIRE(outcome.status == 0);
  CHECK(std::regex_search(outcome.out, std::regex("epoch 2/2  5/5  loss ")));
  CHECK(std::regex_search(outcome.out, std::regex("\ntest accuracy [01]\\.\\d{4}\n")));
  CHECK(listed_mistakes(outcome.out).size() == 24);
  CHECK(files_of(out) == std::set<std::string>{"filters.png", "mistakes.png"});

  const std::string filters = read_file(out + "/filters.png"), mistakes = read_file(out + "/mistakes.png");
  CHECK(run(arguments).status == 0);
  CHECK(read_file(out + "/filters.png") == filters);
  CHECK(read_file(out + "/mistakes.png") == mistakes);
}

TEST_CASE("draws a network that was trained before: every tile is what it should be") {
  const DataSet set;
  spoil_labels(set, 14);
  const Outcome outcome = run({"--data", set.path.string(), "--out", set.path.string(), "--load", trained(set)});
  CAPTURE(outcome.out);
  CHECK(outcome.err == "");
  REQUIRE(outcome.status == 0);
  CHECK_FALSE(contains(outcome.out, "epoch"));
  CHECK(contains(outcome.out, "test accuracy 0.8600\n"));

  // 8 x 4 pairs of a filter of nine squares and a map, each 84 x 84.
  const Picture filters = read_png(set / "filters.png");
  REQUIRE(filters.width == 8 * (84 + 1 + 84 + 6) + 6);
  REQUIRE(filters.height == 4 * (84 + 6) + 6);
  unsigned char darkest = 255, brightest = 0;
  std::size_t maps = 0;
  for (std::size_t y = 6; y < filters.height; y += 84 + 6)
    for (std::size_t x = 6; x < filters.width; x += 84 + 1 + 84 + 6) {
      CHECK(shades(filters, y, x, 28) == 1);
      CHECK(shades(filters, y, x, 84) >= 7);
      maps += shades(filters, y, x + 85, 84) > 7;
      for (std::size_t i = 0; i < 84 * 84; ++i) {
        darkest = std::min(darkest, filters.at(y + i / 84, x + i % 84));
        brightest = std::max(brightest, filters.at(y + i / 84, x + i % 84));
      }
      CHECK(filters.at(y - 1, x) == 255);
      CHECK(filters.at(y, x - 1) == 255);
    }
  CHECK(maps >= 24);  // a unit may have died
  CHECK((darkest == 0 || brightest == 255));
  CHECK(std::min<int>(darkest, 255 - brightest) < 100);

  // Three rows of pairs, the last with two, each of an image and its sensitivities, 112 x 112.
  const Picture picture = read_png(set / "mistakes.png");
  REQUIRE(picture.width == 6 * (112 + 1 + 112 + 6) + 6);
  REQUIRE(picture.height == 3 * (112 + 6) + 6);
  const std::vector<Mistake> mistakes = listed_mistakes(outcome.out);
  REQUIRE(mistakes.size() == 14);
  for (std::size_t i = 0; i < mistakes.size(); ++i) {
    const Mistake& mistake = mistakes[i];
    CAPTURE(i);
    CHECK(mistake.row == i / 6);
    CHECK(mistake.column == i % 6);
    CHECK(mistake.label == (mistake.answer + 1) % 10);
    CHECK(mistake.probability <= (i == 0 ? 1 : mistakes[i - 1].probability));
    // The image is of the class that the network took it for: its bright rows say so.
    const std::size_t top = 6 + mistake.row * 118, left = 6 + mistake.column * 231;
    for (std::size_t y = 0; y < 112; ++y) {
      const bool bright = picture.at(top + y, left + y) >= 128;
      CHECK(bright == (y / 8 == mistake.answer));
    }
    CHECK(shades(picture, top, left, 4) == 1);
    CHECK(shades(picture, top, left, 112) > 64);
    // The pixels that decide lie mostly in the rows that one of the two classes has bright.
    std::size_t most = 0, there = 0, elsewhere = 0;
    for (std::size_t pixel = 0; pixel < 112 * 112; ++pixel) {
      const std::size_t value = picture.at(top + pixel / 112, left + 113 + pixel % 112), pair = pixel / 112 / 8;
      most = std::max(most, value);
      (pair == mistake.answer || pair == mistake.label ? there : elsewhere) += value;
    }
    CHECK(most == 255);
    CHECK(there / 2 > elsewhere / 12);
    CHECK(shades(picture, top, left + 113, 112) > 32);
  }
  CHECK(shades(picture, 6 + 2 * 118, 6 + 2 * 231, 112) == 1);
}

TEST_CASE("a network that makes no mistake") {
  const DataSet set;
  const Outcome outcome = run({"--data", set.path.string(), "--out", set.path.string(), "--load", trained(set)});
  CHECK(outcome.status == 0);
  CHECK(contains(outcome.out, "test accuracy 1.0000\nno mistakes"));
  CHECK(fs::exists(set / "filters.png"));
  CHECK_FALSE(fs::exists(set / "mistakes.png"));
}

TEST_CASE("a picture that cannot be written whole leaves the one before") {
  const DataSet set;
  const std::string out = set / "pictures";
  fs::create_directory(out);
  std::ofstream(out + "/filters.png") << "the one before";
  // Files may not grow beyond four kilobytes, and writing more is an error rather than a signal.
  const std::string limited = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
  const Outcome outcome =
      Program{"/bin/sh"}({"-c", limited, run.path, "--data", set.path.string(), "--out", out, "--epochs", "1"});
  CAPTURE(outcome.out);
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, out + "/filters.png' cannot be written"));
  CHECK(files_of(out) == std::set<std::string>{"filters.png"});
  CHECK(read_file(out + "/filters.png") == "the one before");
}

TEST_CASE("what is wrong is found out before training") {
  const DataSet set;
  const std::string data = set.path.string(), labels = set / "t10k-labels-idx1-ubyte.gz";
  check_refused(run, {"--data", set / "nowhere"}, "nowhere/train-images-idx3-ubyte.gz");
  check_refused(run, {"--data", data, "--out", labels}, labels + "/filters.png");
  check_refused(run, {"--data", data, "--out", labels + "/below"}, labels + "/below/filters.png");
  fs::create_directory(set / "mistakes.png");
  check_refused(run, {"--data", data, "--out", data}, set / "mistakes.png");

  const std::string out = set / "pictures";
  check_refused(run, {"--data", data, "--out", out, "--load", set / "nothing"}, set / "nothing");
  check_refused(run, {"--data", data, "--out", out, "--load", labels}, labels);
  const std::string mlp = set / "mlp.safetensors";
  REQUIRE(train({"--data", data, "--epochs", "1", "--model", "mlp", "--save", mlp}).status == 0);
  check_refused(run, {"--data", data, "--out", out, "--load", mlp}, "layers.1.weight");
  CHECK(files_of(out).empty());

  CHECK(run({"--load", mlp, "--epochs", "1"}).status != 0);
  CHECK(run({"--epochs", "0"}).status != 0);
  const Outcome help = run({"--help"});
  CHECK(help.status == 0);
  for (const char* option : {"--epochs", "--seed", "--data", "--out", "--load"}) CHECK(contains(help.out, option));
}
