// Data sets, splits, batches and standardising.
#include <adjoint/data/dataset.hpp>
#include <adjoint/data/loader.hpp>
#include <adjoint/data/standardizer.hpp>
#include <adjoint/ops.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

namespace ad = adjoint;
using ad::data::DataLoader;
using ad::data::DataLoaderOptions;
using ad::data::Indices;
using ad::data::random_split;
using ad::data::Standardizer;
using ad::data::TensorDataset;

namespace {

/// Example i is the row (10 i, 10 i + 1) with the label i.
TensorDataset<2> numbered(std::int64_t count) {
  const ad::Tensor labels = ad::arange(count);
  return TensorDataset(ad::stack({labels * 10, labels * 10 + 1}, 1).to(ad::float32), labels);
}

DataLoaderOptions batches(std::int64_t size, bool shuffle = false, std::uint64_t seed = 0, bool drop_last = false) {
  DataLoaderOptions options;
  options.batch_size = size;
  options.shuffle = shuffle;
  options.seed = seed;
  options.drop_last = drop_last;
  return options;
}

/// The labels of one epoch, and a check that each row came with its label.
template <class Loader>
Indices epoch(Loader& loader, std::vector<std::int64_t>* sizes = nullptr) {
  Indices seen;
  for (auto& [rows, labels] : loader) {
    REQUIRE(rows.shape() == ad::Shape{labels.size(0), 2});
    if (sizes) sizes->push_back(labels.size(0));
    for (std::int64_t i = 0; i < labels.size(0); ++i) {
      const auto label = labels[i].template item<std::int64_t>();
      CHECK(rows[i].template to_vector<float>() ==
            std::vector<float>{static_cast<float>(10 * label), static_cast<float>(10 * label + 1)});
      seen.push_back(label);
    }
  }
  return seen;
}

Indices sorted(Indices values) {
  std::sort(values.begin(), values.end());
  return values;
}

Indices counted(std::int64_t count) {
  Indices values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), 0);
  return values;
}

Indices labels_of(const TensorDataset<2>& dataset) { return dataset.all()[1].to_vector<std::int64_t>(); }

}  // namespace

TEST_CASE("a data set gives the examples asked for") {
  const TensorDataset<2> dataset = numbered(10);
  CHECK(dataset.size() == 10);
  const auto [rows, labels] = dataset.batch({7, 0, 7});
  CHECK(labels.dtype() == ad::int64);
  CHECK(labels.to_vector<std::int64_t>() == Indices{7, 0, 7});
  CHECK(rows.to_vector<float>() == std::vector<float>{70, 71, 0, 1, 70, 71});
  CHECK(dataset.batch({})[0].shape() == ad::Shape{0, 2});
  CHECK_THROWS_AS(dataset.batch({10}), ad::ValueError);
  CHECK_THROWS_AS(dataset.batch({-1}), ad::ValueError);

  const TensorDataset one(ad::rand({4, 2, 3}));
  CHECK(one.batch({1, 2})[0].shape() == ad::Shape{2, 2, 3});
  const TensorDataset three(ad::zeros({4}), ad::ones({4, 1}, ad::uint8), ad::ones({4}, ad::bool_));
  CHECK(three.batch({3})[1].dtype() == ad::uint8);
  CHECK(three.batch({3})[2].to_vector<bool>() == std::vector<bool>{true});
}

TEST_CASE("tensors that do not fit together") {
  CHECK_THROWS_AS(TensorDataset(ad::zeros({3, 2}), ad::zeros({4})), ad::ShapeError);
  CHECK_THROWS_AS(TensorDataset(ad::zeros({})), ad::ShapeError);
}

TEST_CASE("subsets of subsets") {
  const TensorDataset<2> dataset = numbered(10);
  const TensorDataset<2> odd = dataset.subset({9, 7, 5, 3, 1});
  CHECK(odd.size() == 5);
  CHECK(labels_of(odd) == Indices{9, 7, 5, 3, 1});
  CHECK(labels_of(odd.subset({4, 0})) == Indices{1, 9});
  CHECK(odd.subset({4, 0}).batch({1})[0].to_vector<float>() == std::vector<float>{90, 91});
  CHECK_THROWS_AS(odd.subset({5}), ad::ValueError);
  CHECK_THROWS_AS(odd.batch({5}), ad::ValueError);
  CHECK(dataset.subset({}).size() == 0);
}

TEST_CASE("a split is disjoint, complete, random, and the same for the same seed") {
  const TensorDataset<2> dataset = numbered(1000);
  const auto [training, validation, test] = random_split(dataset, {700, 200, 100}, 5);
  CHECK(training.size() == 700);
  CHECK(validation.size() == 200);
  CHECK(test.size() == 100);
  Indices together = labels_of(training);
  for (const auto& part : {validation, test}) {
    const Indices labels = labels_of(part);
    together.insert(together.end(), labels.begin(), labels.end());
  }
  CHECK(together != counted(1000));
  CHECK(sorted(together) == counted(1000));
  // The mean of a fair sample of 700 from 0 .. 999 is 499.5, with a deviation of 6.
  const Indices sample = labels_of(training);
  CHECK(std::abs(std::accumulate(sample.begin(), sample.end(), 0.0) / 700 - 499.5) < 30);

  CHECK(labels_of(random_split(dataset, {700, 200, 100}, 5)[0]) == labels_of(training));
  CHECK(labels_of(random_split(dataset, {700, 200, 100}, 6)[0]) != labels_of(training));
}

TEST_CASE("a split by fractions") {
  const auto sizes = [](std::int64_t count, auto split) {
    std::vector<std::int64_t> result;
    std::int64_t sum = 0;
    for (const auto& part : split(numbered(count))) result.push_back(part.size()), sum += part.size();
    CHECK(sum == count);
    return result;
  };
  const auto halves = [](const auto& d) { return random_split(d, {0.5, 0.5}, 1); };
  const auto tenths = [](const auto& d) { return random_split(d, {0.9, 0.1}, 1); };
  const auto thirds = [](const auto& d) { return random_split(d, {1.0 / 3, 1.0 / 3, 1.0 / 3}, 1); };
  CHECK(sizes(10, halves) == std::vector<std::int64_t>{5, 5});
  CHECK(sizes(11, halves) == std::vector<std::int64_t>{6, 5});
  CHECK(sizes(100, tenths) == std::vector<std::int64_t>{90, 10});
  CHECK(sizes(5, thirds) == std::vector<std::int64_t>{2, 2, 1});
  CHECK(sizes(100, [](const auto& d) {
          return random_split(d, {0.29, 0.71}, 1);
        }) == std::vector<std::int64_t>{29, 71});
}

TEST_CASE("sizes that do not add up") {
  const TensorDataset<2> dataset = numbered(10);
  CHECK_THROWS_AS(random_split(dataset, {5, 4}, 1), ad::ValueError);
  CHECK_THROWS_AS(random_split(dataset, {5, 6}, 1), ad::ValueError);
  CHECK_THROWS_AS(random_split(dataset, {-1, 11}, 1), ad::ValueError);
  CHECK_THROWS_AS(random_split(dataset, {0.5, 0.4}, 1), ad::ValueError);
  CHECK_THROWS_AS(random_split(dataset, {1.5, -0.5}, 1), ad::ValueError);
  CHECK_THROWS_AS(random_split(dataset, {0.5, 5}, 1), ad::ValueError);
  CHECK_THROWS_AS(random_split(dataset, {std::nan(""), 1.0}, 1), ad::ValueError);
}

TEST_CASE("a loader goes through all examples, in order") {
  DataLoader loader(numbered(10), batches(4));
  CHECK(loader.size() == 3);
  std::vector<std::int64_t> sizes;
  CHECK(epoch(loader, &sizes) == counted(10));
  CHECK(sizes == std::vector<std::int64_t>{4, 4, 2});
  CHECK(epoch(loader) == counted(10));
  DataLoader exact(numbered(8), batches(4));
  CHECK(exact.size() == 2);
  CHECK(epoch(exact) == counted(8));
  DataLoader one(numbered(3), batches(100));
  CHECK(one.size() == 1);
  CHECK(epoch(one) == counted(3));
}

TEST_CASE("drop_last leaves out what fills no batch") {
  DataLoader loader(numbered(10), batches(4, false, 0, true));
  CHECK(loader.size() == 2);
  CHECK(epoch(loader) == counted(8));
}

TEST_CASE("shuffled: each epoch a new order of all examples, the same for the same seed") {
  DataLoader loader(numbered(100), batches(7, true, 3)), again(numbered(100), batches(7, true, 3)),
      other(numbered(100), batches(7, true, 4));
  const Indices first = epoch(loader), second = epoch(loader);
  CHECK(sorted(first) == counted(100));
  CHECK(sorted(second) == counted(100));
  CHECK(first != counted(100));
  CHECK(first != second);
  CHECK(epoch(again) == first);
  CHECK(epoch(again) == second);
  CHECK(epoch(other) != first);
}

TEST_CASE("a shuffle does not depend on other random numbers, nor disturbs them") {
  DataLoader loader(numbered(50), batches(10, true, 3)), again(numbered(50), batches(10, true, 3));
  ad::manual_seed(1);
  const float number = ad::rand({1}).item<float>();
  ad::manual_seed(1);
  const Indices first = epoch(loader);
  CHECK(ad::rand({1}).item<float>() == number);
  CHECK(epoch(again) == first);
}

TEST_CASE("a loader of a part") {
  const auto [training, validation] = random_split(numbered(50), {0.8, 0.2}, 1);
  DataLoader loader(training, batches(8, true, 2));
  CHECK(sorted(epoch(loader)) == sorted(labels_of(training)));
}

TEST_CASE("batches outlive their iteration, and epochs may be left early or nested") {
  DataLoader loader(numbered(10), batches(4));
  std::vector<ad::Tensor> kept;
  for (auto [rows, labels] : loader) kept.push_back(labels);
  CHECK(kept[0].to_vector<std::int64_t>() == Indices{0, 1, 2, 3});
  for (auto& [rows, labels] : loader) {
    CHECK(labels[0].item<std::int64_t>() == 0);
    break;
  }
  int pairs = 0;
  for (auto& outer : loader)
    for (auto& inner : loader) pairs += outer[0].dim() == inner[0].dim();
  CHECK(pairs == 9);
}

TEST_CASE("a data set of one's own") {
  struct Squares {
    std::int64_t size() const { return 5; }
    ad::Tensor batch(const Indices& positions) const { return ad::square(ad::tensor(positions)); }
  };
  DataLoader loader(Squares(), batches(2));
  std::vector<std::int64_t> seen;
  for (const ad::Tensor& squares : loader)
    for (std::int64_t square : squares.to_vector<std::int64_t>()) seen.push_back(square);
  CHECK(seen == Indices{0, 1, 4, 9, 16});
}

TEST_CASE("no batches") {
  CHECK_THROWS_AS(DataLoader(numbered(10), batches(0)), ad::ValueError);
  CHECK_THROWS_AS(DataLoader(numbered(10), batches(-1)), ad::ValueError);
  CHECK_THROWS_AS(DataLoader(numbered(10).subset({}), batches(1)), ad::ValueError);
  CHECK_THROWS_AS(DataLoader(TensorDataset(ad::zeros({0, 3})), batches(1)), ad::ValueError);
  CHECK_THROWS_AS(DataLoader(numbered(10), batches(11, false, 0, true)), ad::ValueError);
}

TEST_CASE("standardised with one mean and deviation, or with those of each column") {
  const ad::Tensor x = ad::tensor({{1.0, 10.0}, {2.0, 20.0}, {3.0, 60.0}});
  const Standardizer one = Standardizer::fit(x);
  CHECK(one.mean().shape() == ad::Shape{1, 1});
  CHECK(one.mean().dtype() == ad::float32);
  CHECK(one.mean().item<float>() == 16);
  CHECK(one.deviation().item<double>() ==
        doctest::Approx(std::sqrt((15 * 15 + 14 * 14 + 13 * 13 + 6 * 6 + 4 * 4 + 44 * 44) / 6.0)));

  const Standardizer columns = Standardizer::fit(x, 0);
  CHECK(columns.mean().shape() == ad::Shape{1, 2});
  CHECK(columns.mean().to_vector<float>() == std::vector<float>{2, 30});
  const std::vector<float> z = columns.transform(x).to_vector<float>();
  const std::vector<double> expected = {
      -1 / std::sqrt(2.0 / 3),     -20 / std::sqrt(1400 / 3.0), 0,
      -10 / std::sqrt(1400 / 3.0), 1 / std::sqrt(2.0 / 3),      30 / std::sqrt(1400 / 3.0)};
  for (std::size_t i = 0; i < 6; ++i) CHECK(z[i] == doctest::Approx(expected[i]));
  CHECK(ad::allclose(Standardizer::fit(x, -2).mean(), columns.mean()));
  CHECK(Standardizer::fit(ad::zeros({2, 3, 4, 4}), {0, 2, 3}).mean().shape() == ad::Shape{1, 3, 1, 1});
}

TEST_CASE("standardising bytes, and other data than was fitted") {
  const ad::Tensor bytes = ad::tensor({0, 255}, ad::uint8);
  const Standardizer standardizer = Standardizer::fit(bytes);
  CHECK(standardizer.mean().item<float>() == 127.5f);
  CHECK(standardizer.deviation().item<float>() == 127.5f);
  const ad::Tensor z = standardizer.transform(ad::tensor({255, 0, 51}, ad::uint8));
  CHECK(z.dtype() == ad::float32);
  CHECK(z.to_vector<float>() == std::vector<float>{1, -1, -0.6f});
  CHECK(standardizer.transform(ad::tensor({255.0}, ad::float64)).dtype() == ad::float64);
}

TEST_CASE("the deviation of nearly equal numbers is not lost in rounding") {
  std::vector<float> values;
  std::mt19937 generator(1);
  for (int i = 0; i < 100000; ++i) values.push_back(static_cast<float>(4096 + (generator() % 2 ? 1 : -1) * 0.5));
  const Standardizer standardizer = Standardizer::fit(ad::tensor(values));
  CHECK(standardizer.deviation().item<double>() == doctest::Approx(0.5).epsilon(1e-4));
}

TEST_CASE("a constant column is centred and left alone") {
  const ad::Tensor x = ad::tensor({{5.0, 1.0}, {5.0, 3.0}});
  const ad::Tensor z = Standardizer::fit(x, 0).transform(x);
  CHECK(z.to_vector<float>() == std::vector<float>{0, -1, 0, 1});
}

TEST_CASE("nothing to fit, dims that do not exist") {
  CHECK_THROWS_AS(Standardizer::fit(ad::zeros({0, 3})), ad::ValueError);
  CHECK_THROWS_AS(Standardizer::fit(ad::zeros({2, 3}), 2), ad::ShapeError);
  CHECK_THROWS_AS(Standardizer::fit(ad::zeros({2, 3}), {0, -2}), ad::ShapeError);
  CHECK_THROWS_AS(Standardizer::fit(ad::zeros({2, 3}), 0).transform(ad::zeros({2, 4})), ad::ShapeError);
}
