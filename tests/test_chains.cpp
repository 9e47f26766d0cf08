// Chains: the links of every instruction set that this processor has against the kernels that they stand for, and
// groups that are large enough for them against the same operations one by one.
#include "kernels/kernels.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace ad = adjoint;
namespace k = adjoint::kernels;
using ad::Tensor;
using k::Link;
using k::Source;

namespace {

template <class T>
constexpr ad::Dtype kDtype = sizeof(T) == 4 ? ad::float32 : ad::float64;
template <class T>
constexpr auto kOwn = static_cast<int>(kDtype<T>);  // in tables

std::vector<const k::Table*> tables() {
  std::vector<const k::Table*> all;
  for (const char* name : {"baseline", "avx2", "avx512"})
    if (const k::Table* table = k::table(name)) all.push_back(table);
  return all;
}

template <class T>
bool same(T a, T b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b));
}

/// Numbers of all sizes, special ones among them.
template <class T>
std::vector<T> numbers(std::size_t count, unsigned seed) {
  constexpr bool single = sizeof(T) == 4;
  std::mt19937 generator(seed);
  std::normal_distribution<T> normal;
  std::vector<T> values(count);
  for (T& value : values) value = normal(generator) * std::exp2(T{3} * normal(generator));
  using Limits = std::numeric_limits<T>;
  const T special[] = {T{0},
                       T{-0.0},
                       Limits::infinity(),
                       -Limits::infinity(),
                       Limits::quiet_NaN(),
                       Limits::denorm_min() * 700,
                       -Limits::denorm_min() * 700,
                       T(single ? 88.8 : 709.9),
                       T(single ? -104 : -745.2),
                       T{1},
                       T{-1},
                       Limits::max() / 2};
  for (const T value : special) values[generator() % count] = value;
  return values;
}

Link link_to(void (*function)(), const void* x, const void* y, void* to, const void* z = nullptr) {
  Link link{};
  link.function = function;
  link.at[0] = static_cast<const std::byte*>(x);
  link.at[1] = static_cast<const std::byte*>(y);
  link.at[2] = static_cast<const std::byte*>(z);
  link.to = static_cast<std::byte*>(to);
  for (std::int64_t& mask : link.mask) mask = -1;
  link.mask_to = -1;
  return link;
}

constexpr std::byte kUntouched{0x5a};
/// Memory for the lanes of a row of n elements, and behind it an untouched byte at least.
std::byte* lanes_in(std::vector<std::byte>& memory, std::int64_t n) {
  memory.assign(static_cast<std::size_t>(k::lanes_bytes(n) + k::kLaneBytes), kUntouched);
  return memory.data() + (-reinterpret_cast<std::uintptr_t>(memory.data()) & (k::kLaneBytes - 1));
}

constexpr auto kBool = static_cast<int>(ad::Dtype::bool_);
constexpr auto kStrip = static_cast<int>(Source::strip), kMemory = static_cast<int>(Source::memory),
               kSingle = static_cast<int>(Source::single);

/// Checks a function's links against its kernel, for operands T, or of bools where `bools` says so. `sources`:
/// where they are; those beyond `count` are not there.
template <class T>
void check_links(const k::Links& links, void (*const (&functions)[2])(), k::TileKernel kernel, int count,
                 const int (&sources)[3], const bool (&bools)[3], bool gives_bool) {
  const auto n = static_cast<std::size_t>(4 * links.strip);
  const auto strip = static_cast<std::size_t>(links.strip);
  const std::vector<T> first = numbers<T>(n, 1);
  std::vector<T> floats[3];
  std::vector<unsigned char> bytes[3];
  const void* at[3];
  for (int i = 0; i < count; ++i) {
    const std::vector<T> own = sources[i] == kStrip ? first : numbers<T>(n, static_cast<unsigned>(i) + 2);
    floats[i] = own;
    for (const T value : own) bytes[i].push_back(value > 0 ? (value > 1 ? 1 : 200) : 0);
    if (sources[i] == kSingle) floats[i].assign(n, own[0]);
    at[i] = bools[i] ? static_cast<const void*>(bytes[i].data()) : floats[i].data();
  }
  // What is in the strip: the first numbers plus -0, or whether they are above 0.
  const T zero{0}, negative_zero{-0.0};
  bool strip_of_bools = false;
  for (int i = 0; i < count; ++i) strip_of_bools |= sources[i] == kStrip && bools[i];
  const Link take = strip_of_bools ? link_to(links.tile[static_cast<int>(k::Tile::gt)][kMemory][kSingle][0],
                                             first.data(), &zero, nullptr)
                                   : link_to(links.tile[static_cast<int>(k::Tile::add)][kMemory][kSingle][0],
                                             first.data(), &negative_zero, nullptr);
  const Link last = link_to(links.last, nullptr, nullptr, nullptr);
  std::vector<T> found(n), handed(n), expected(n);
  std::vector<unsigned char> found_bools(n), handed_bools(n), expected_bools(n);
  // Once written, and once handed on to a link that computes, and written then.
  void* const to = gives_bool ? static_cast<void*>(found_bools.data()) : found.data();
  const Link store = link_to(links.store[gives_bool], nullptr, nullptr, to);
  const Link load = link_to(links.load[bools[0]], at[0], nullptr, nullptr);
  const Link from_memory[] = {load, link_to(functions[0], nullptr, nullptr, nullptr), store, last};
  const Link from_strip[] = {take, link_to(functions[1], at[0], at[1], to, at[2]), last};
  links.run(0, static_cast<std::int64_t>(n), count == 1 ? from_memory : from_strip);
  const Link handed_on[] = {
      take, link_to(functions[0], at[0], at[1], nullptr, at[2]),
      gives_bool
          ? link_to(links.tile[static_cast<int>(k::Tile::logical_not)][kStrip][0][0], nullptr, nullptr, nullptr)
          : link_to(links.tile[static_cast<int>(k::Tile::add)][kStrip][kSingle][0], nullptr, &negative_zero, nullptr),
      link_to(links.store[gives_bool], nullptr, nullptr,
              gives_bool ? static_cast<void*>(handed_bools.data()) : handed.data()),
      last};
  links.run(0, static_cast<std::int64_t>(n), handed_on);
  for (std::size_t i = 0; i < n; i += strip) {
    const void* inputs[3] = {};
    for (int j = 0; j < count; ++j)
      inputs[j] = bools[j] ? static_cast<const void*>(bytes[j].data() + i) : floats[j].data() + i;
    kernel(links.strip, inputs, gives_bool ? static_cast<void*>(expected_bools.data() + i) : expected.data() + i);
  }
  bool all = true;
  for (std::size_t i = 0; i < n; ++i) {
    if (gives_bool) all &= found_bools[i] == expected_bools[i] && handed_bools[i] == 1 - expected_bools[i];
    else all &= same(found[i], expected[i]) && same(handed[i], expected[i]);
  }
  CHECK(all);
}

}  // namespace

TEST_CASE_TEMPLATE("a link gives the bits of its kernel, wherever its operands are", T, float, double) {
  for (const k::Table* table : tables()) {
    CAPTURE(std::string(table->name));
    const k::Links& links = table->links(kDtype<T>);
    REQUIRE(k::kLongestStrip % links.strip == 0);
    int linked = 0;
    for (int x = 0; x < k::kSourceCount; ++x)
      for (int y = 0; y < k::kSourceCount; ++y) {
        CAPTURE(x);
        CAPTURE(y);
        for (int tile = 0; tile < k::kTileCount; ++tile) {
          if (!links.tile[tile][x][y][0]) continue;
          CAPTURE(tile);
          ++linked;
          const bool logical = !table->tile[tile][kOwn<T>];
          const bool bools[] = {logical, logical, false};
          const bool unary = tile < static_cast<int>(k::Tile::add) || tile >= static_cast<int>(k::Tile::logical_not);
          const int sources[] = {x, y, kMemory};
          check_links<T>(links, links.tile[tile][x][y], table->tile[tile][logical ? kBool : kOwn<T>], unary ? 1 : 2,
                         sources, bools, tile >= static_cast<int>(k::Tile::eq));
        }
        if (x == kStrip && y == kStrip)
          check_links<T>(links, links.from_bool, table->cast[kBool][kOwn<T>], 1, {x, y, y}, {true, false, false},
                         false);
        for (int z = 0; z < k::kSourceCount; ++z) {
          if (!links.where[x][y][z][1]) continue;
          CAPTURE(z);
          ++linked;
          check_links<T>(links, links.where[x][y][z], table->tile[static_cast<int>(k::Tile::where)][kOwn<T>], 3,
                         {x, y, z}, {true, false, false}, false);
        }
      }
    CHECK(linked > 130);
  }
}

TEST_CASE_TEMPLATE("a link of two functions gives the bits of both, one after the other", T, float, double) {
  for (const k::Table* table : tables()) {
    CAPTURE(std::string(table->name));
    const k::Links& links = table->links(kDtype<T>);
    const auto n = static_cast<std::size_t>(2 * links.strip);
    const T negative_zero{-0.0};
    int linked = 0;
    // Each digit: a function or a source.
    for (int code = 0; code < 4 * 4 * 2 * 27; ++code) {
      const int inner = code % 4, outer = code / 4 % 4, side = code / 16 % 2;
      const int sources[] = {code / 32 % 3, code / 96 % 3, code / 288};
      const auto& functions = links.pair[inner][outer][side][sources[0]][sources[1]][sources[2]];
      if (!functions[0]) continue;
      CAPTURE(code);
      ++linked;
      const std::vector<T> strip = numbers<T>(n, 1);
      std::vector<T> operands[3], found(n), handed(n), made(n), expected(n);
      for (int i = 0; i < 3; ++i) {
        operands[i] = sources[i] == kStrip ? strip : numbers<T>(n, static_cast<unsigned>(i) + 2);
        if (sources[i] == kSingle) operands[i].assign(n, operands[i][0]);
      }
      const Link take = link_to(links.tile[static_cast<int>(k::Tile::add)][kMemory][kSingle][0], strip.data(),
                                &negative_zero, nullptr);
      const Link last = link_to(links.last, nullptr, nullptr, nullptr);
      for (const bool written : {false, true}) {
        const Link both = link_to(functions[written], operands[0].data(), operands[1].data(),
                                  written ? found.data() : nullptr, operands[2].data());
        const Link chain[] = {take, both, link_to(links.store[0], nullptr, nullptr, handed.data()), last};
        links.run(0, static_cast<std::int64_t>(n), chain);
        if (!written) CHECK(found == std::vector<T>(n));
      }
      const auto kernel = [&](int function) { return table->tile[static_cast<int>(k::Tile::add) + function][kOwn<T>]; };
      const void* first[] = {operands[0].data(), operands[1].data()};
      kernel(inner)(static_cast<std::int64_t>(n), first, made.data());
      const void* second[] = {made.data(), operands[2].data()};
      if (side == 1) std::swap(second[0], second[1]);
      kernel(outer)(static_cast<std::int64_t>(n), second, expected.data());
      bool all = true;
      for (std::size_t i = 0; i < n; ++i) all &= same(found[i], expected[i]) && same(handed[i], expected[i]);
      CHECK(all);
    }
    CHECK(linked > 30);
  }
}

TEST_CASE_TEMPLATE("exp's link where some elements are hidden by large negative numbers", T, float, double) {
  for (const k::Table* table : tables()) {
    CAPTURE(std::string(table->name));
    const k::Links& links = table->links(kDtype<T>);
    std::vector<T> x(1024);
    std::mt19937 generator(5);
    std::normal_distribution<T> normal;
    const T infinity = std::numeric_limits<T>::infinity();
    const T zero = sizeof(T) == 4 ? T(-104) : T(-746);  // where exp becomes 0
    const T hidden[] = {
        T(-1e9), -infinity, zero - T(0.5), zero - T(1.5), zero, zero + T(0.1), std::numeric_limits<T>::quiet_NaN()};
    // A NaN with low bits beside moderate numbers, too.
    T nan = std::numeric_limits<T>::quiet_NaN();
    reinterpret_cast<unsigned char*>(&nan)[0] = 0xff;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (i % 3 != 0) x[i] = normal(generator) * (sizeof(T) == 4 ? 20 : 160);
      else x[i] = i >= 768 ? nan : hidden[generator() % (i < 512 ? 4 : 7)];
    }
    std::vector<T> found(x.size()), expected(x.size());
    const Link chain[] = {
        link_to(links.load[0], x.data(), nullptr, nullptr),
        link_to(links.tile[static_cast<int>(k::Tile::exp)][kStrip][kStrip][0], nullptr, nullptr, nullptr),
        link_to(links.store[0], nullptr, nullptr, found.data()), link_to(links.last, nullptr, nullptr, nullptr)};
    links.run(0, 1024, chain);
    for (std::size_t i = 0; i < x.size(); i += k::kTile) {
      const void* inputs[] = {x.data() + i};
      table->tile[static_cast<int>(k::Tile::exp)][kOwn<T>](k::kTile, inputs, expected.data() + i);
    }
    bool all = true;
    for (std::size_t i = 0; i < x.size(); ++i) all &= same(found[i], expected[i]);
    CHECK(all);
  }
}

TEST_CASE_TEMPLATE("a value in a buffer of one strip is overwritten by the next", T, float, double) {
  for (const k::Table* table : tables()) {
    CAPTURE(std::string(table->name));
    const k::Links& links = table->links(kDtype<T>);
    const auto n = static_cast<std::size_t>(3 * links.strip);
    const std::vector<T> x = numbers<T>(n, 3);
    std::vector<T> own(static_cast<std::size_t>(links.strip) + 1, T{7}), result(n);
    const auto& mul = links.tile[static_cast<int>(k::Tile::mul)];
    Link square = link_to(mul[kMemory][kMemory][1], x.data(), x.data(), own.data());
    square.mask_to = 0;
    Link cube = link_to(mul[kMemory][kMemory][1], own.data(), x.data(), result.data());
    cube.mask[0] = 0;
    const Link chain[] = {square, cube, link_to(links.last, nullptr, nullptr, nullptr)};
    links.run(0, static_cast<std::int64_t>(n), chain);
    bool all = true;
    for (std::size_t i = 0; i < n; ++i) all &= same(result[i], x[i] * x[i] * x[i]);
    CHECK(all);
    CHECK(own.back() == T{7});
  }
}

TEST_CASE_TEMPLATE("a link reduces a row as reduce_rows does, and adds to columns as accumulate does", T, float,
                   double) {
  for (const k::Table* table : tables()) {
    CAPTURE(std::string(table->name));
    const k::Links& links = table->links(kDtype<T>);
    for (const int kind :
         {static_cast<int>(k::Reduce::sum), static_cast<int>(k::Reduce::max), static_cast<int>(k::Reduce::min)}) {
      CAPTURE(kind);
      for (const std::int64_t n : {128, 129, 200, 1000, 1024, 1025, 1100, 2048, 3000, 5200, 65536})
        for (const bool special : {false, true}) {
          CAPTURE(n);
          std::vector<T> x = numbers<T>(static_cast<std::size_t>(n), static_cast<unsigned>(n));
          if (!special)
            for (T& value : x)
              if (!(std::fabs(value) < T(1e30))) value = T(0.5);
          const k::Links::Reduction& reduction = links.reduce[kind];
          std::vector<std::byte> memory;
          std::byte* const aligned = lanes_in(memory, n);
          reduction.start(n, aligned);
          constexpr std::int64_t group = k::kGroupBytes / static_cast<std::int64_t>(sizeof(T));
          const std::int64_t done = n / group * group;
          std::vector<T> columns(x.size(), T{3}), expected_columns = columns, begun(x.size());
          const Link chain[] = {link_to(reduction.link[1], x.data(), nullptr, aligned),
                                link_to(reduction.column[0][0], nullptr, nullptr, columns.data()),
                                link_to(reduction.column[0][1], nullptr, nullptr, begun.data()),
                                link_to(links.last, nullptr, nullptr, nullptr)};
          links.run(0, done, chain);
          reduction.add_rest(n, done, x.data() + done, aligned);
          T found = 0, expected = 0;
          reduction.finish(n, aligned, &found);
          table->reduce_rows[kind][kOwn<T>](1, n, x.data(), n, &expected);
          CHECK(same(found, expected));
          CHECK(aligned[k::lanes_bytes(n)] == kUntouched);
          table->accumulate[kind][kOwn<T>](done, x.data(), expected_columns.data());
          bool all = true;
          for (std::size_t i = 0; i < static_cast<std::size_t>(done); ++i)
            all &= same(columns[i], expected_columns[i]) && same(begun[i], x[i]);
          CHECK(all);
        }
    }
  }
}

TEST_CASE_TEMPLATE("a link sums a row of products, and hands on what was in the strip", T, float, double) {
  for (const k::Table* table : tables()) {
    CAPTURE(std::string(table->name));
    const k::Links& links = table->links(kDtype<T>);
    for (const std::size_t n : {std::size_t{128}, std::size_t{1024}, std::size_t{2304}}) {
      CAPTURE(n);
      const auto count = static_cast<std::int64_t>(n);
      std::vector<T> x = numbers<T>(n, 1), y = numbers<T>(n, 2), z = numbers<T>(n, 3);
      for (std::vector<T>* values : {&x, &y, &z})  // whose sum is a number
        for (T& value : *values)
          if (!(std::fabs(value) < T(1e15))) value = T(0.5);
      std::vector<std::byte> memory;
      std::byte* const lanes = lanes_in(memory, count);
      const k::Links::Reduction& sum = links.reduce[static_cast<int>(k::Reduce::sum)];
      for (int first = 0; first < k::kSourceCount; ++first)
        for (int second = 0; second < k::kSourceCount; ++second) {
          const auto function =
              sum.pair[static_cast<int>(k::Tile::mul) - static_cast<int>(k::Tile::add)][first][second];
          if (!function) continue;
          CAPTURE(first);
          CAPTURE(second);
          const T *a = first == kStrip ? z.data() : x.data(), *b = second == kStrip ? z.data() : y.data();
          std::vector<T> handed(n), products(n);
          sum.start(count, lanes);
          const Link chain[] = {link_to(links.load[0], z.data(), nullptr, nullptr), link_to(function, a, b, lanes),
                                link_to(links.store[0], nullptr, nullptr, handed.data()),
                                link_to(links.last, nullptr, nullptr, nullptr)};
          links.run(0, count, chain);
          T found = 0, expected = 0;
          sum.finish(count, lanes, &found);
          const void* operands[] = {a, b};
          table->tile[static_cast<int>(k::Tile::mul)][kOwn<T>](count, operands, products.data());
          table->reduce_rows[static_cast<int>(k::Reduce::sum)][kOwn<T>](1, count, products.data(), count, &expected);
          CHECK(found == expected);
          bool all = true;
          for (std::size_t i = 0; i < n; ++i) all &= same(handed[i], z[i]);
          CHECK(all);
        }
    }
  }
}

TEST_CASE_TEMPLATE("a number's link gives the bits of its kernel, wherever its operands are", T, float, double) {
  for (const k::Table* table : tables()) {
    CAPTURE(std::string(table->name));
    const k::Links& links = table->links(kDtype<T>);
    const T negative_zero{-0.0};
    const std::vector<T> x = numbers<T>(200, 1), y = numbers<T>(200, 2), z = numbers<T>(200, 3);
    const Link last = link_to(links.last_number, nullptr, nullptr, nullptr);
    int linked = 0;
    for (int tile = 0; tile < k::kTileCount; ++tile)
      for (const bool first : {false, true})
        for (const bool second : {false, true}) {
          const auto function = links.number[tile][first][second];
          if (!function) continue;
          ++linked;
          CAPTURE(tile);
          CAPTURE(first);
          CAPTURE(second);
          bool all = true;
          for (std::size_t i = 0; i < x.size(); ++i) {
            // The one before makes x, plus -0; the one behind takes what is made.
            T made = 0, found = 0, handed = 0, expected = 0;
            const auto& add = links.number[static_cast<int>(k::Tile::add)];
            const Link chain[] = {link_to(add[1][1], &x[i], &negative_zero, &made),
                                  link_to(function, first ? &y[i] : nullptr, second ? &z[i] : nullptr, &found),
                                  link_to(add[0][1], nullptr, &negative_zero, &handed), last};
            links.run_numbers(chain);
            const void* inputs[] = {first ? &y[i] : &x[i], second ? &z[i] : &x[i]};
            table->tile[tile][kOwn<T>](1, inputs, &expected);
            all &= same(made, x[i]) && same(found, expected) && same(handed, expected);
          }
          CHECK(all);
        }
    CHECK(linked == 5 * 2 + 6 * 4);
  }
}

TEST_CASE_TEMPLATE("a scatter's link adds to the element of a row that is in the strip", T, float, double) {
  for (const k::Table* table : tables()) {
    CAPTURE(std::string(table->name));
    const k::Links& links = table->links(kDtype<T>);
    const std::int64_t n = 4 * links.strip;
    const std::vector<T> x = numbers<T>(static_cast<std::size_t>(n), 3);
    bool all = true;
    for (std::int64_t index = -1; index <= n; ++index)  // the row may begin before these strips, and end behind them
      for (const bool written : {false, true}) {
        const T number = T{5};
        const void* const place = &index;
        std::vector<T> found(x.size());
        const Link chain[] = {link_to(links.load[0], x.data(), nullptr, nullptr),
                              link_to(links.scatter[written], place, &number, written ? found.data() : nullptr),
                              written ? link_to(links.last, nullptr, nullptr, nullptr)
                                      : link_to(links.store[0], nullptr, nullptr, found.data()),
                              link_to(links.last, nullptr, nullptr, nullptr)};
        const std::int64_t begin = index % 2 == 0 ? links.strip : 0;
        links.run(begin, n, chain);
        for (std::int64_t i = 0; i < n; ++i) {
          const auto at = static_cast<std::size_t>(i);
          all &= same(found[at], i < begin ? T{0} : i == index ? x[at] + number : x[at]);
        }
      }
    CHECK(all);
  }
}

namespace {

/// Results of a random program on rows.
std::vector<Tensor> random_program(unsigned seed, const Tensor& x, const Tensor& weight, const Tensor& column,
                                   const Tensor& index) {
  std::mt19937 generator(seed);
  const auto below = [&](std::size_t limit) { return generator() % limit; };
  const ad::Dtype own = x.dtype(), other = own == ad::float32 ? ad::float64 : ad::float32;
  using Unary = std::function<Tensor(const Tensor&)>;
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
                         [=](const Tensor& y) { return y.to(other).to(own); },
                         [=](const Tensor& y) { return (ad::exp(-ad::abs(y.to(other))) * 2.0).to(own); }};
  std::vector<Tensor> full = {x}, rows = {column}, bools = {x > 0.0, (x + weight).to(ad::bool_)};
  std::vector<Tensor> results;
  for (int i = 0; i < 24; ++i) {
    const Tensor a = full[below(full.size())], b = full[below(full.size())], r = rows[below(rows.size())];
    const Tensor p = bools[below(bools.size())], q = bools[below(bools.size())];
    switch (below(23)) {
      case 21: {  // of single numbers, one after another
        const Tensor s = rows[below(rows.size())], t = r / (1.0 + ad::exp(-s));
        rows.push_back(below(2) ? ad::maximum(t, s) - t * t : ad::rsqrt(ad::minimum(t, s) * -0.5));
        break;
      }
      case 22:
        rows.push_back(below(2) ? unary[below(std::size(unary))](r) + r : (r * 2.0).to(other).to(own) - 1.0);
        if (below(2)) results.push_back(rows.back() * r);
        break;
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
      case 12:
        full.push_back(below(2) ? ad::where(p, a, b) : ad::where(p, a, a));
        break;
      case 13:
        full.push_back(below(2) ? ad::where(p, a, -1.0) : ad::where(p, 0.0, a));
        break;
      case 14:
        full.push_back(below(2) ? ad::where(p, r, a) : p.to(own) * a);
        break;
      case 15:
        bools.push_back(below(2) ? a <= r : a == b);
        break;
      case 18:
        rows.push_back(ad::gather(below(2) ? (a - r) * 0.5 : ad::where(p, a, x), 1, index));
        break;
      case 20:
        full.push_back(ad::scatter_add(below(2) ? a * 0.5 : ad::zeros({x.size(0), x.size(1)}, own), 1, index, r));
        break;
      case 19: {
        const Tensor y = ad::exp(a) + r;
        results.push_back(ad::gather(y, 1, index));
        rows.push_back(ad::gather(below(2) ? y - x : ad::maximum(y, weight), 1, index));
        break;
      }
      case 16:
        bools.push_back(below(2) ? ad::isfinite(a) : a != weight);
        break;
      case 17:
        bools.push_back(below(2) ? ad::logical_or(p, q) : ad::logical_and(ad::logical_not(p), ad::logical_xor(p, q)));
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
    if (below(12) == 0) results.push_back(ad::logical_not(bools[below(bools.size())]));
  }
  results.push_back(full.back() * 1.0);
  results.push_back(rows.back() * 1.0);
  return results;
}

}  // namespace

TEST_CASE_TEMPLATE("random programs on groups that are large enough for chains", T, float, double) {
  for (const ad::Shape& shape : {ad::Shape{128, 128}, ad::Shape{70, 130}, ad::Shape{20, 1000}, ad::Shape{3, 5000},
                                 ad::Shape{130, 64}, ad::Shape{9, 1024}, ad::Shape{40, 300}}) {
    CAPTURE(shape);
    const std::int64_t rows = shape[0], length = shape[1];
    for (unsigned seed = 0; seed < 24; ++seed) {
      CAPTURE(seed);
      ad::manual_seed(seed);
      const Tensor x = ad::randn({rows, length}, kDtype<T>), weight = ad::randn({length}, kDtype<T>),
                   column = ad::randn({rows, 1}, kDtype<T>), index = ad::randint(0, length, {rows, 1});
      ad::eval(x, weight, column, index);
      std::vector<Tensor> alone;
      {
        const ad::engine::OptionsGuard one_by_one({false, true, true});
        alone = random_program(seed, x, weight, column, index);
        ad::eval(alone);
      }
      for (const int threads : {1, 2, 3}) {
        ad::set_num_threads(threads);
        std::vector<Tensor> together = random_program(seed, x, weight, column, index);
        ad::eval(together);
        REQUIRE(together.size() == alone.size());
        for (std::size_t i = 0; i < alone.size(); ++i) {
          CAPTURE(i);
          const std::vector<T> a = alone[i].to(kDtype<T>).template to_vector<T>(),
                               b = together[i].to(kDtype<T>).template to_vector<T>();
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

TEST_CASE_TEMPLATE("results of large groups are written past the caches, with the same bits", T, float, double) {
  // Rows that begin where what is written so is aligned, and rows that do not; and too few elements.
  struct Case {
    ad::Shape shape;
    bool streamed;
  };
  for (const auto& [shape, streamed] : {Case{{96, 32768}, true}, Case{{83, 32771}, true}, Case{{3000, 1026}, true},
                                        Case{{2500, 1029}, true}, Case{{500, 1024}, false}}) {
    CAPTURE(shape);
    ad::manual_seed(1);
    const Tensor x = ad::randn(shape, kDtype<T>), g = ad::randn(shape, kDtype<T>),
                 weight = ad::randn({shape[1]}, kDtype<T>), other = ad::randn(shape, kDtype<T>),
                 source = ad::randn({shape[0], 1}, kDtype<T>);
    // Among others the elements before the first that is aligned, and those behind the last strip.
    const Tensor index = ad::where(ad::randint(0, 3, {shape[0], 1}) == 0, ad::randint(0, 20, {shape[0], 1}),
                                   shape[1] - 1 - ad::randint(0, 20, {shape[0], 1}));
    ad::eval(x, g, weight, other, source, index);
    const auto results = [&] {
      const Tensor centred = x - ad::mean(x, {-1}, true), scaled = centred * weight;
      const Tensor large = x > 0.0;
      const Tensor donor = other + 1.0;
      ad::eval(donor);
      std::vector<Tensor> all = {ad::exp(x),
                                 ad::softmax(x, -1),
                                 scaled,
                                 ad::sum(scaled * g, {0}),
                                 ad::tanh(g) * x,
                                 ad::where(large, x, g),
                                 ad::sum(g * x, {-1}),
                                 -g};
      all.push_back(large);
      all.push_back(ad::sqrt(donor * donor));
      all.push_back(ad::scatter_add(g * weight, 1, index, source));
      return all;
    };
    std::vector<Tensor> alone;
    {
      const ad::engine::OptionsGuard one_by_one({false, true, true});
      alone = results();
      ad::eval(alone);
    }
    std::ostringstream plan;
    plan << ad::explain(ad::softmax(x, -1));
    CHECK((plan.str().find("past the caches") != std::string::npos) == streamed);
    for (const int threads : {1, 3}) {
      ad::set_num_threads(threads);
      // Together, and each by itself.
      std::vector<Tensor> together = results(), each = results();
      ad::eval(together);
      for (const Tensor& result : each) ad::eval(result);
      for (std::size_t i = 0; i < alone.size(); ++i) {
        CAPTURE(i);
        const std::vector<T> expected = alone[i].to(kDtype<T>).template to_vector<T>();
        for (const std::vector<Tensor>* found : {&together, &each}) {
          const std::vector<T> values = (*found)[i].to(kDtype<T>).template to_vector<T>();
          REQUIRE(values.size() == expected.size());
          CHECK(std::equal(values.begin(), values.end(), expected.begin(), same<T>));
        }
      }
    }
    ad::set_num_threads(1);
  }
}

TEST_CASE("what cannot be in a chain is moved out of it") {
  const Tensor logits = ad::randn({64, 1000}).requires_grad_(), labels = ad::randint(0, 1000, {64});
  ad::eval(logits, labels);
  const Tensor loss = ad::nn::cross_entropy(logits, labels);
  loss.backward();
  std::ostringstream plan;
  plan << ad::explain(loss, logits.grad());
  // The labels' elements. Those of the derivative by them are added in the chain.
  std::istringstream lines(plan.str());
  int chained = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("(64, 1000)") == std::string::npos) continue;
    for (const char* operation : {" = sub(", " = mul("})
      if (line.find(operation) != std::string::npos) chained += line.find("in a chain") != std::string::npos ? 1 : 100;
  }
  CHECK(chained == 2);
}

TEST_CASE_TEMPLATE("elements are scattered into what is the same for all rows", T, float, double) {
  for (const ad::Shape& shape :
       {ad::Shape{300, 9}, ad::Shape{70, 130}, ad::Shape{600, 130}, ad::Shape{40, 1000}, ad::Shape{7, 5000}}) {
    CAPTURE(shape);
    ad::manual_seed(3);
    const Tensor x = ad::randn(shape, kDtype<T>), source = ad::randn({shape[0], 1}, kDtype<T>);
    const Tensor index = ad::randint(0, shape[1], {shape[0], 1}), base = ad::randn({shape[1]}, kDtype<T>);
    const Tensor one_index = ad::narrow(ad::reshape(index, {1, shape[0]}), 1, 3, 1);
    ad::eval(x, source, index, base, one_index);
    const auto results = [&] {
      const Tensor zeros = ad::zeros(shape, kDtype<T>);
      // The last at one place for all rows, which lies in memory but once.
      return std::vector<Tensor>{x + ad::scatter_add(zeros, 1, index, source),
                                 x * ad::scatter_add(ad::broadcast_to(base, shape), 1, index, source),
                                 x - ad::scatter_add(zeros, 1, ad::broadcast_to(one_index, index.shape()), source)};
    };
    std::vector<Tensor> alone;
    {
      const ad::engine::OptionsGuard one_by_one({false, true, true});
      alone = results();
      ad::eval(alone);
    }
    for (const int threads : {1, 3}) {
      ad::set_num_threads(threads);
      const std::vector<Tensor> together = results();
      ad::eval(together);
      for (std::size_t i = 0; i < alone.size(); ++i) {
        const std::vector<T> expected = alone[i].template to_vector<T>(), values = together[i].template to_vector<T>();
        CHECK(std::equal(values.begin(), values.end(), expected.begin(), same<T>));
      }
    }
    ad::set_num_threads(1);
  }
}

TEST_CASE("elements of a selection of bools are gathered") {
  const Tensor x = ad::randn({64, 100}), index = ad::randint(0, 100, {64, 1});
  const Tensor a = x > 0.5, b = x<-0.5, c = x> 0.0;
  ad::eval(x, index, a, b, c);
  const auto gathered = [&] { return ad::gather(ad::where(c, a, b), 1, index); };
  const Tensor together = gathered();
  ad::eval(together);
  const ad::engine::OptionsGuard one_by_one({false, true, true});
  CHECK(ad::sum(together != gathered()).item<std::int64_t>() == 0);
}
