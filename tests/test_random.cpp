// Random numbers: counter-based streams that do not depend on what is computed, when, or by whom.
#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <thread>

namespace ad = adjoint;
using ad::Tensor;
using Floats = std::vector<float>;

namespace {

/// Draws of every kind, in one order.
std::vector<Tensor> draws(ad::Generator& generator) {
  return {ad::rand({5}, ad::float32, generator),
          ad::randn({7}, ad::float32, generator),
          ad::randint(-3, 1000, {4}, ad::int64, generator),
          ad::rand({3}, ad::float64, generator),
          ad::randn({2, 3}, ad::float64, generator),
          ad::bernoulli(ad::full({9}, 0.4), generator),
          ad::randperm(11, generator),
          ad::dropout(ad::ones({10}), 0.5, true, generator),
          ad::rand({2}, ad::float32, generator)};
}

std::vector<double> numbers(const Tensor& x) { return x.to(ad::float64).to_vector<double>(); }

std::vector<std::vector<double>> numbers(const std::vector<Tensor>& tensors) {
  std::vector<std::vector<double>> all;
  for (const Tensor& x : tensors) all.push_back(numbers(x));
  return all;
}

/// Philox 4x32-10 as its paper has it (Salmon et al. 2011): one block of four words.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0], b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return counter;
}

}  // namespace

TEST_CASE("numbers do not depend on the order of looking, on dropping, or on an EagerGuard") {
  ad::Generator generator(42);
  const auto expected = numbers(draws(generator));
  const std::uint64_t end = generator.offset();

  SUBCASE("looked at backwards") {
    generator.manual_seed(42);
    const std::vector<Tensor> tensors = draws(generator);
    for (std::size_t i = tensors.size(); i-- > 0;) CHECK(numbers(tensors[i]) == expected[i]);
  }
  SUBCASE("all but one dropped") {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      generator.manual_seed(42);
      std::vector<Tensor> tensors = draws(generator);
      const Tensor kept = tensors[i];
      tensors.clear();
      CHECK(numbers(kept) == expected[i]);
    }
  }
  SUBCASE("computed eagerly") {
    generator.manual_seed(42);
    const ad::EagerGuard eager;
    CHECK(numbers(draws(generator)) == expected);
  }
  SUBCASE("looked at again, in a team, or by another thread") {
    generator.manual_seed(42);
    const std::vector<Tensor> tensors = draws(generator);
    std::vector<std::vector<double>> found;
    std::thread([&] { found = numbers(tensors); }).join();
    CHECK(found == expected);
    CHECK(numbers(tensors) == expected);
  }
  SUBCASE("differentiated, and computed together with a gradient") {
    generator.manual_seed(42);
    const std::vector<Tensor> tensors = draws(generator);
    const Tensor w = ad::ones({10}).requires_grad_();
    const Tensor loss = ad::sum(w * tensors[7]);
    loss.backward();
    CHECK(numbers(w.grad()) == expected[7]);  // the same mask forward and backward
    CHECK(loss.item<float>() == doctest::Approx(std::accumulate(expected[7].begin(), expected[7].end(), 0.0)));
  }
  CHECK(generator.offset() == end);
}

TEST_CASE("a dropout's gradient has the mask of its forward pass") {
  const Tensor x = ad::ones({10000}).requires_grad_();
  const Tensor y = ad::dropout(x, 0.25);
  ad::sum(y).backward();
  const Floats forward = y.to_vector<float>(), backward = x.grad().to_vector<float>();
  CHECK(forward == backward);
  const auto zeros = std::count(forward.begin(), forward.end(), 0.0f);
  CHECK(zeros > 2300);
  CHECK(zeros < 2700);
  CHECK(*std::max_element(forward.begin(), forward.end()) == doctest::Approx(1 / 0.75));
  const Tensor same = ad::dropout(x, 0.5, false), none = ad::dropout(x, 1);
  CHECK(ad::equal(same, x));
  CHECK(ad::sum(none).item<float>() == 0);
}

TEST_CASE("a seed gives a stream; different seeds and positions give different ones") {
  ad::manual_seed(1);
  const Floats first = ad::rand({8}).to_vector<float>(), second = ad::rand({8}).to_vector<float>();
  CHECK(first != second);
  ad::manual_seed(1);
  CHECK(ad::rand({8}).to_vector<float>() == first);
  ad::manual_seed(2);
  CHECK(ad::rand({8}).to_vector<float>() != first);
  // One draw of sixteen is two of eight.
  ad::manual_seed(1);
  Floats both = first;
  both.insert(both.end(), second.begin(), second.end());
  CHECK(ad::rand({16}).to_vector<float>() == both);
  CHECK(ad::default_generator().offset() == 16);
  ad::default_generator().set_offset(8);
  CHECK(ad::rand({8}).to_vector<float>() == second);
  // Seeds beyond 32 bits count, too.
  ad::Generator low(5), high(5 + (std::uint64_t{1} << 32));
  CHECK(ad::rand({8}, ad::float32, low).to_vector<float>() != ad::rand({8}, ad::float32, high).to_vector<float>());
}

TEST_CASE("the stream is Philox 4x32-10, with the seed as its key and the position as its counter") {
  // The known answers that come with the authors' library hold for this file's function, and that one for rand().
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == std::array<std::uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}) ==
        std::array<std::uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  const std::uint64_t seed = 0x123456789abcdef0, start = (std::uint64_t{1} << 36) + 3;
  ad::Generator generator(seed);
  generator.set_offset(start);
  const Floats drawn = ad::rand({10}, ad::float32, generator).to_vector<float>();
  for (std::uint64_t i = 0; i < 10; ++i) {
    const std::uint64_t position = start + i, block = position / 4;
    const auto words = philox({static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), 0, 0},
                              {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
    CHECK(drawn[i] == std::ldexp(static_cast<float>(words[position % 4] >> 8), -24));
  }
}

TEST_CASE("generators are explicit, and each is a stream of its own") {
  ad::Generator a(3), b(3);
  const Floats from_a = ad::randn({6}, ad::float32, a).to_vector<float>();
  ad::manual_seed(3);
  const std::uint64_t position = ad::default_generator().offset();
  CHECK(ad::randn({6}, ad::float32, b).to_vector<float>() == from_a);
  CHECK(ad::default_generator().offset() == position);  // untouched
  CHECK(ad::randn({6}).to_vector<float>() == from_a);
  ad::Generator copy = a;  // goes on from where a is
  CHECK(ad::rand({4}, ad::float32, copy).to_vector<float>() == ad::rand({4}, ad::float32, a).to_vector<float>());
}

TEST_CASE("the default generator is each thread's own, and starts with seed 0") {
  ad::manual_seed(99);
  const std::uint64_t before = ad::default_generator().offset();
  Floats x, y;
  const auto draw = [](Floats& to) {
    to = ad::rand({4}).to_vector<float>();
    ad::manual_seed(7);
    ad::rand({100});
  };
  std::thread one([&] { draw(x); });
  one.join();
  std::thread two([&] { draw(y); });
  two.join();
  CHECK(x == y);
  CHECK(ad::default_generator().seed() == 99);
  CHECK(ad::default_generator().offset() == before);
  ad::Generator zero(0);
  CHECK(ad::rand({4}, ad::float32, zero).to_vector<float>() == x);
}

TEST_CASE("distributions are what they say") {
  ad::Generator generator(11);
  const std::int64_t n = 200000;
  for (const ad::Dtype dtype : {ad::float32, ad::float64}) {
    const std::vector<double> uniform = numbers(ad::rand({n}, dtype, generator));
    CHECK(*std::min_element(uniform.begin(), uniform.end()) >= 0);
    CHECK(*std::max_element(uniform.begin(), uniform.end()) < 1);
    // Chi squared over 100 bins has mean 99 and deviation 14.
    std::vector<double> bins(100);
    for (double u : uniform) ++bins[static_cast<std::size_t>(u * 100)];
    double chi = 0;
    for (double count : bins) chi += (count - n / 100.0) * (count - n / 100.0) / (n / 100.0);
    CHECK(chi < 99 + 5 * 14);
    CHECK(chi > 99 - 5 * 14);

    const std::vector<double> normal = numbers(ad::randn({n}, dtype, generator));
    double moments[5] = {};
    for (double x : normal)
      for (int k = 1; k < 5; ++k) moments[k] += std::pow(x, k) / static_cast<double>(n);
    const double deviation = 1 / std::sqrt(static_cast<double>(n));
    CHECK(std::fabs(moments[1]) < 5 * deviation);
    CHECK(std::fabs(moments[2] - 1) < 5 * std::sqrt(2) * deviation);
    CHECK(std::fabs(moments[3]) < 5 * std::sqrt(15) * deviation);
    CHECK(std::fabs(moments[4] - 3) < 5 * std::sqrt(96) * deviation);
    // Neighbours are uncorrelated.
    double product = 0;
    for (std::size_t i = 1; i < normal.size(); ++i) product += normal[i] * normal[i - 1] / static_cast<double>(n);
    CHECK(std::fabs(product) < 5 * deviation);
  }
  const std::vector<std::int64_t> integers =
      ad::randint(-2, 5, {70000}, ad::int64, generator).to_vector<std::int64_t>();
  for (std::int64_t value = -2; value < 5; ++value) {
    const auto count = static_cast<double>(std::count(integers.begin(), integers.end(), value));
    CHECK(std::fabs(count - 10000) < 5 * std::sqrt(10000.0));
  }
  CHECK(*std::min_element(integers.begin(), integers.end()) == -2);
  CHECK(*std::max_element(integers.begin(), integers.end()) == 4);
  // A range beyond 32 bits is drawn from as a whole.
  const std::int64_t wide = std::int64_t{1} << 40;
  const auto large = ad::randint(0, wide, {10000}, ad::int64, generator).to_vector<std::int64_t>();
  CHECK(*std::max_element(large.begin(), large.end()) > wide / 10 * 9);
  CHECK(std::count_if(large.begin(), large.end(), [](std::int64_t v) { return v % 2 == 0; }) < 5300);
  const auto everywhere = ad::randint(INT64_MIN, INT64_MAX, {10000}, ad::int64, generator).to_vector<std::int64_t>();
  CHECK(std::count_if(everywhere.begin(), everywhere.end(), [](std::int64_t v) { return v < 0; }) < 5300);

  const Tensor p = ad::tensor({0.0f, 0.1f, 0.5f, 1.0f}).reshape({4, 1});
  const Tensor hits = ad::sum(ad::bernoulli(ad::broadcast_to(p, {4, 10000}), generator), 1);
  CHECK(hits[0].item<float>() == 0);
  CHECK(std::fabs(hits[1].item<float>() - 1000) < 150);
  CHECK(std::fabs(hits[2].item<float>() - 5000) < 250);
  CHECK(hits[3].item<float>() == 10000);
}

TEST_CASE("randperm is a permutation, and all of them come") {
  ad::Generator generator(0);
  for (std::int64_t n : {0, 1, 2, 10, 1000, 100000}) {
    std::vector<std::int64_t> values = ad::randperm(n, generator).to_vector<std::int64_t>();
    const bool in_order = std::is_sorted(values.begin(), values.end());
    CHECK((n > 10 ? !in_order : true));
    std::sort(values.begin(), values.end());
    std::vector<std::int64_t> all(static_cast<std::size_t>(n));
    std::iota(all.begin(), all.end(), 0);
    CHECK(values == all);
  }
  std::array<int, 6> counts{};
  for (int i = 0; i < 6000; ++i) {
    const auto v = ad::randperm(3, generator).to_vector<std::int64_t>();
    ++counts[static_cast<std::size_t>(v[0] * 2 + (v[1] > v[2]))];
  }
  for (int count : counts) CHECK(std::abs(count - 1000) < 5 * 30);
}

TEST_CASE("bad arguments throw, by name") {
  CHECK_THROWS_AS(ad::rand({2}, ad::int64), ad::DtypeError);
  CHECK_THROWS_AS(ad::randn({2}, ad::bool_), ad::DtypeError);
  CHECK_THROWS_AS(ad::randint(3, 3, {2}), ad::ValueError);
  CHECK_THROWS_AS(ad::randperm(-1), ad::ValueError);
  CHECK_THROWS_AS(ad::rand({-2}), ad::ShapeError);
  CHECK_THROWS_AS(ad::bernoulli(ad::tensor({1, 0})), ad::DtypeError);
  CHECK_THROWS_WITH_AS(ad::randint(3, 1, {2}), "randint: low is 3 and high 1; low must be less than high",
                       ad::ValueError);
}
