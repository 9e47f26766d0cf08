// Chains: the links of every instruction set that this processor has against the kernels that they stand for, and
// groups that are large enough for them against the same operations one by one.
#include "kernels/kernels.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace ad = adjoint;
namespace k = adjoint::kernels;
using ad::Tensor;
using k::Link;
using k::Operands;

namespace {

constexpr auto kFloat = static_cast<int>(ad::Dtype::float32);

std::vector<const k::Table*> tables() {
  std::vector<const k::Table*> all;
  for (const char* name : {"baseline", "avx2", "avx512"})
    if (const k::Table* table = k::table(name)) all.push_back(table);
  return all;
}

bool same(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b)); }

/// Numbers of all sizes, special ones among them.
std::vector<float> numbers(std::size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator) * std::exp2(3.0f * normal(generator));
  const float infinity = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const float special[] = {0.0f, -0.0f, infinity, -infinity, nan, 1e-42f, -1e-42f, 88.8f, -104.0f, 1.0f, -1.0f, 3e38f};
  for (const float value : special) values[generator() % count] = value;
  return values;
}

Link link_to(void (*function)(), const float* x, const float* y, float* to) {
  Link link{};
  link.function = function;
  link.at[0] = reinterpret_cast<const std::byte*>(x);
  link.at[1] = reinterpret_cast<const std::byte*>(y);
  link.to = reinterpret_cast<std::byte*>(to);
  link.mask[0] = link.mask[1] = link.mask_to = -1;
  return link;
}

bool has_strip(Operands form, int operand) {
  switch (form) {
    case Operands::strip:
    case Operands::strip_memory:
    case Operands::strip_single:
      return operand == 0;
    case Operands::memory_strip:
    case Operands::single_strip:
      return operand == 1;
    case Operands::strip_strip:
      return true;
    default:
      return false;
  }
}
bool has_single(Operands form, int operand) {
  return operand == 0 ? form == Operands::single_strip || form == Operands::single_memory
                      : form == Operands::strip_single || form == Operands::memory_single;
}

}  // namespace

TEST_CASE("a link gives the bits of its kernel, wherever its operands are") {
  for (const k::Table* table : tables()) {
    CAPTURE(table->name);
    const k::Links& links = table->links();
    REQUIRE(k::kLanes % links.strip == 0);
    const auto n = static_cast<std::size_t>(4 * links.strip);
    const std::vector<float> x = numbers(n, 1), y = numbers(n, 2);
    int linked = 0;
    for (int tile = 0; tile < k::kTileCount; ++tile) {
      for (int form = 0; form < k::kOperandsCount; ++form) {
        const auto operands = static_cast<Operands>(form);
        void (*const* functions)() = links.tile[tile][form];
        if (!functions[1]) continue;
        CAPTURE(tile);
        CAPTURE(form);
        ++linked;
        // The strip is x plus -0: x itself.
        const float zero = -0.0f;
        void (*const take)() = links.tile[static_cast<int>(k::Tile::add)][static_cast<int>(Operands::memory_single)][0];
        const bool single_x = has_single(operands, 0), single_y = has_single(operands, 1);
        const std::vector<float>& strip = has_strip(operands, 0) ? x : y;
        std::vector<float> found(n), handed(n), expected(n), first = x, second = y;
        if (single_x) first.assign(n, x[0]);
        if (single_y) second.assign(n, y[0]);
        if (operands == Operands::strip_strip) second = x;
        // Once written, and once handed on to a link that writes.
        const Link links_of[] = {link_to(take, strip.data(), &zero, nullptr),
                                 link_to(functions[1], x.data(), y.data(), found.data()),
                                 link_to(links.last, nullptr, nullptr, nullptr)};
        links.run(static_cast<std::int64_t>(n), links_of);
        const Link handed_on[] = {
            link_to(take, strip.data(), &zero, nullptr), link_to(functions[0], x.data(), y.data(), nullptr),
            link_to(links.tile[static_cast<int>(k::Tile::add)][static_cast<int>(Operands::strip_single)][1], nullptr,
                    &zero, handed.data()),
            link_to(links.last, nullptr, nullptr, nullptr)};
        links.run(static_cast<std::int64_t>(n), handed_on);
        for (std::size_t i = 0; i < n; i += static_cast<std::size_t>(links.strip)) {
          const void* inputs[] = {first.data() + i, second.data() + i};
          table->tile[tile][kFloat](links.strip, inputs, expected.data() + i);
        }
        bool all = true;
        for (std::size_t i = 0; i < n; ++i) all &= same(found[i], expected[i]) && same(handed[i], expected[i]);
        CHECK(all);
      }
    }
    CHECK(linked > 60);
  }
}

TEST_CASE("a value in a buffer of one strip is overwritten by the next") {
  for (const k::Table* table : tables()) {
    CAPTURE(table->name);
    const k::Links& links = table->links();
    const auto n = static_cast<std::size_t>(3 * links.strip);
    const std::vector<float> x = numbers(n, 3);
    std::vector<float> own(static_cast<std::size_t>(links.strip) + 1, 7.0f), result(n);
    const auto& mul = links.tile[static_cast<int>(k::Tile::mul)];
    Link square = link_to(mul[static_cast<int>(Operands::memory_memory)][1], x.data(), x.data(), own.data());
    square.mask_to = 0;
    Link cube = link_to(mul[static_cast<int>(Operands::memory_memory)][1], own.data(), x.data(), result.data());
    cube.mask[0] = 0;
    const Link chain[] = {square, cube, link_to(links.last, nullptr, nullptr, nullptr)};
    links.run(static_cast<std::int64_t>(n), chain);
    bool all = true;
    for (std::size_t i = 0; i < n; ++i) all &= same(result[i], x[i] * x[i] * x[i]);
    CHECK(all);
    CHECK(own.back() == 7.0f);
  }
}

TEST_CASE("a link reduces a row as reduce_rows does, and adds to columns as accumulate does") {
  for (const k::Table* table : tables()) {
    CAPTURE(table->name);
    const k::Links& links = table->links();
    for (const int kind :
         {static_cast<int>(k::Reduce::sum), static_cast<int>(k::Reduce::max), static_cast<int>(k::Reduce::min)}) {
      CAPTURE(kind);
      for (const std::int64_t n : {128, 129, 200, 1000, 1024, 1025, 1100, 2048, 3000, 5200, 65536})
        for (const bool special : {false, true}) {
          CAPTURE(n);
          std::vector<float> x = numbers(static_cast<std::size_t>(n), static_cast<unsigned>(n));
          if (!special)
            for (float& value : x)
              if (!(std::fabs(value) < 1e30f)) value = 0.5f;
          const k::Links::Reduction& reduction = links.reduce[kind];
          const auto lanes = static_cast<std::size_t>((n / k::kLaneBlock + 1) * k::kLanes);
          std::vector<float> memory(lanes + 16);
          auto* aligned = reinterpret_cast<float*>((reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
          reduction.start(n, aligned);
          const std::int64_t done = n / links.strip * links.strip;
          std::vector<float> columns(x.size(), 3.0f), expected_columns = columns, begun(x.size());
          const Link chain[] = {link_to(reduction.link[1], x.data(), nullptr, aligned),
                                link_to(reduction.column[0][0], nullptr, nullptr, columns.data()),
                                link_to(reduction.column[0][1], nullptr, nullptr, begun.data()),
                                link_to(links.last, nullptr, nullptr, nullptr)};
          links.run(done, chain);
          reduction.add_rest(n, done, x.data() + done, aligned);
          float found = 0, expected = 0;
          reduction.finish(n, aligned, &found);
          table->reduce_rows[kind][kFloat](1, n, x.data(), n, &expected);
          CHECK(same(found, expected));
          table->accumulate[kind][kFloat](done, x.data(), expected_columns.data());
          bool all = true;
          for (std::size_t i = 0; i < static_cast<std::size_t>(done); ++i)
            all &= same(columns[i], expected_columns[i]) && same(begun[i], x[i]);
          CHECK(all);
        }
    }
  }
}

namespace {

/// Results of a random program on rows, all of float32 operations.
std::vector<Tensor> random_program(unsigned seed, const Tensor& x, const Tensor& weight, const Tensor& column) {
  std::mt19937 generator(seed);
  const auto below = [&](std::size_t limit) { return generator() % limit; };
  using Unary = Tensor (*)(const Tensor&);
  const Unary unary[] = {ad::abs,
                         ad::exp,
                         ad::expm1,
                         ad::log1p,
                         ad::sqrt,
                         ad::rsqrt,
                         ad::sin,
                         ad::tanh,
                         ad::erf,
                         ad::sigmoid,
                         ad::relu,
                         ad::softplus,
                         ad::floor,
                         ad::cos,
                         ad::sign,
                         ad::atan,
                         [](const Tensor& y) { return -y; },
                         [](const Tensor& y) { return ad::log(ad::abs(y)); },
                         [](const Tensor& y) { return y.to(ad::float64).to(ad::float32); }};
  std::vector<Tensor> full = {x}, rows = {column};
  std::vector<Tensor> results;
  for (int i = 0; i < 24; ++i) {
    const Tensor a = full[below(full.size())], b = full[below(full.size())], r = rows[below(rows.size())];
    switch (below(12)) {
      case 0:
        rows.push_back(ad::sum(a, {-1}, true) * 0.01);
        break;
      case 1:
        rows.push_back(below(2) ? ad::amax(a, {-1}, true) : ad::amin(a, {-1}, true));
        break;
      case 2:
        results.push_back(ad::sum(a, {0}));
        break;
      case 3:
        full.push_back(ad::where(a > b, a, b * 0.5));
        break;
      case 4:
        full.push_back(below(2) ? a - r : r / (1.0 + ad::abs(a)));
        break;
      case 5:
        full.push_back(below(2) ? a * weight : weight - a);
        break;
      case 6:
        full.push_back(below(2) ? ad::maximum(a, b) : ad::minimum(a, r));
        break;
      case 7:
        full.push_back(below(2) ? a * 0.7 + 0.1 : 2.0 - a);
        break;
      case 8:
        full.push_back(below(2) ? a * b : a + b);
        break;
      default:
        full.push_back(unary[below(std::size(unary))](a));
    }
    if (below(6) == 0) results.push_back(full[below(full.size())] + 0.0);
  }
  results.push_back(full.back() * 1.0);
  results.push_back(rows.back() * 1.0);
  return results;
}

}  // namespace

TEST_CASE("random programs on groups that are large enough for chains") {
  for (const ad::Shape& shape : {ad::Shape{128, 128}, ad::Shape{70, 130}, ad::Shape{20, 1000}, ad::Shape{3, 5000},
                                 ad::Shape{130, 64}, ad::Shape{9, 1024}, ad::Shape{40, 300}}) {
    CAPTURE(shape);
    const std::int64_t rows = shape[0], length = shape[1];
    for (unsigned seed = 0; seed < 24; ++seed) {
      CAPTURE(seed);
      ad::manual_seed(seed);
      const Tensor x = ad::randn({rows, length}), weight = ad::randn({length}), column = ad::randn({rows, 1});
      ad::eval(x, weight, column);
      std::vector<Tensor> alone;
      {
        const ad::engine::OptionsGuard one_by_one({false, true, true});
        alone = random_program(seed, x, weight, column);
        ad::eval(alone);
      }
      for (const int threads : {1, 2, 3}) {
        ad::set_num_threads(threads);
        std::vector<Tensor> together = random_program(seed, x, weight, column);
        ad::eval(together);
        REQUIRE(together.size() == alone.size());
        for (std::size_t i = 0; i < alone.size(); ++i) {
          CAPTURE(i);
          const std::vector<float> a = alone[i].to_vector<float>(), b = together[i].to_vector<float>();
          REQUIRE(a.size() == b.size());
          bool all = true;
          for (std::size_t e = 0; e < a.size(); ++e) all &= same(a[e], b[e]);
          CHECK(all);
        }
      }
      ad::set_num_threads(1);
    }
  }
}
