// The kernels of every instruction set that this processor has, against plain loops over libm and naive indexing.
#include "kernels/kernels.hpp"
#include "kernels/philox.hpp"
#include "ops/table/gamma.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <iomanip>
#include <limits>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace k = adjoint::kernels;
using adjoint::Dtype;
using adjoint::Shape;
using adjoint::Strides;
using k::Reduce;
using k::Tile;
using std::int32_t;
using std::int64_t;
using std::uint8_t;

namespace {

std::vector<const k::Table*> tables() {
  std::vector<const k::Table*> all;
  for (const char* name : {"baseline", "avx2", "avx512"})
    if (const k::Table* table = k::table(name)) all.push_back(table);
  return all;
}

k::TileKernel kernel(const k::Table& table, Tile kind, Dtype dtype) {
  return table.tile[static_cast<int>(kind)][static_cast<int>(dtype)];
}

// vector<bool> has no elements in memory; a bool is a byte here.
template <class T>
using Stored = std::conditional_t<std::is_same_v<T, bool>, uint8_t, T>;
template <class T>
using Array = std::vector<Stored<T>>;

template <class Result, class... Arrays>
std::vector<Result> run(k::TileKernel f, const Arrays&... arrays) {
  const int64_t n = std::min({static_cast<int64_t>(arrays.size())...});
  std::vector<Result> out(static_cast<std::size_t>(n));
  for (int64_t i = 0; i < n; i += k::kTile) {
    const void* inputs[] = {arrays.data() + i...};
    f(std::min(k::kTile, n - i), inputs, out.data() + i);
  }
  return out;
}

bool same_bits(const void* a, const void* b, std::size_t bytes) { return bytes == 0 || std::memcmp(a, b, bytes) == 0; }
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && same_bits(a.data(), b.data(), a.size() * sizeof(T));
}

// The distance from `got` to the exact value, in units of the last place of T there, or at `scale` if that is larger; 0
// for equal special values.
template <class T>
double ulps(T got, long double exact, long double scale = 0) {
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) && std::isnan(got) ? 0 : HUGE_VAL;
  const T rounded = static_cast<T>(exact);
  if (rounded == got) {
    // Zeros carry a sign.
    if (got == 0 && std::signbit(got) != std::signbit(exact)) return HUGE_VAL;
    if (std::isinf(got)) return 0;
  }
  if (std::isinf(got)) {
    // An overflow by rounding up counts as the next number after the largest.
    if (std::isinf(exact)) return HUGE_VAL;
    const long double next = std::ldexp(1.0L, std::numeric_limits<T>::max_exponent);
    if (std::signbit(got) != std::signbit(exact)) return HUGE_VAL;
    const long double unit = std::ldexp(1.0L, std::numeric_limits<T>::max_exponent - std::numeric_limits<T>::digits);
    return static_cast<double>((next - std::fabs(exact)) / unit);
  }
  if (std::isinf(rounded)) exact = std::copysign(std::ldexp(1.0L, std::numeric_limits<T>::max_exponent), exact);
  const long double size = std::max({std::fabs(exact), scale, 1e-4000L});
  const int exponent = std::max(std::ilogb(size), std::numeric_limits<T>::min_exponent - 1);
  const long double unit = std::ldexp(1.0L, exponent - std::numeric_limits<T>::digits + 1);
  return static_cast<double>(std::fabs(static_cast<long double>(got) - exact) / unit);
}

template <class T>
constexpr T kInf = std::numeric_limits<T>::infinity();
template <class T>
constexpr T kNan = std::numeric_limits<T>::quiet_NaN();

template <class T>
std::vector<T> special_values() {
  using L = std::numeric_limits<T>;
  std::vector<T> values;
  for (T x : {T(0),
              L::denorm_min(),
              T(3) * L::denorm_min(),
              L::min() / 2,
              L::min(),
              L::epsilon(),
              L::epsilon() / 4,
              T(1e-3),
              T(0.1),
              T(0.25),
              T(0.5),
              std::nextafter(T(0.5), T(0)),
              T(0.75),
              std::nextafter(T(1), T(0)),
              T(1),
              std::nextafter(T(1), T(2)),
              T(1.5),
              T(2),
              T(2.5),
              T(3),
              T(3.5),
              T(4),
              T(5),
              T(7),
              T(8.5),
              T(9),
              T(10),
              T(16),
              T(17),
              T(20),
              T(38),
              T(50),
              T(87),
              T(88.3),
              T(88.5),
              T(88.72),
              T(88.73),
              T(89),
              T(100),
              T(103.9),
              T(104),
              T(105),
              T(300),
              T(709.7),
              T(709.79),
              T(710),
              T(744),
              T(745.2),
              T(746),
              T(1000),
              T(1.5707963267948966),
              T(3.141592653589793),
              T(4.71238898038469),
              T(6.283185307179586),
              T(355),
              T(710),
              T(31415.926535897932),
              T(103993),
              T(2097152.5),
              T(4194303.5),
              T(8388607.5),
              T(8388609),
              T(16777216),
              T(2147483647),
              T(4503599627370495.5),
              T(4503599627370497.0),
              T(9007199254740993.0),
              T(1e5),
              T(1e10),
              T(1e20),
              T(1e30),
              L::max() / 2,
              L::max(),
              L::infinity(),
              L::quiet_NaN()}) {
    values.push_back(x);
    values.push_back(-x);
  }
  return values;
}

// Values of all sizes: uniform in some ranges, and of random exponent.
template <class T>
std::vector<T> sample_values(unsigned seed = 7) {
  std::mt19937_64 engine(seed);
  std::vector<T> values = special_values<T>();
  for (double range : {0.01, 0.5, 1.0, 2.0, 4.0, 12.0, 90.0, 750.0, 3000.0, 1e5, 1e7}) {
    std::uniform_real_distribution<double> uniform(-range, range);
    for (int i = 0; i < 20000; ++i) values.push_back(static_cast<T>(uniform(engine)));
  }
  std::uniform_int_distribution<int> exponent(std::numeric_limits<T>::min_exponent - 20,
                                              std::numeric_limits<T>::max_exponent - 1);
  std::uniform_real_distribution<double> fraction(-2, 2);
  for (int i = 0; i < 50000; ++i)
    values.push_back(static_cast<T>(std::ldexp(static_cast<T>(fraction(engine)), exponent(engine))));
  // Multiples of pi/2, where a reduced argument has lost the most bits.
  for (int i = -20000; i < 20000; ++i) values.push_back(static_cast<T>(i * 1.5707963267948966192L));
  return values;
}

using Exact = long double;

struct Function {
  const char* name;
  Tile kind;
  Exact (*exact)(Exact);
  double (*in_double)(double);
  double bound32, bound64;  // units in the last place
  Exact (*scale64)(Exact);  // of the result, or of this if it is larger; null: of the result

  template <class F>
  Function(const char* of, Tile tile, F f, double for32, double for64, Exact (*of64)(Exact) = nullptr)
      : name(of), kind(tile), exact(f), in_double(f), bound32(for32), bound64(for64), scale64(of64) {}
};

// std::lgamma writes a global variable.
double log_gamma(double x) {
  int sign;
  return ::lgamma_r(x, &sign);
}
Exact log_gamma(Exact x) {
  int sign;
  return ::lgammal_r(x, &sign);
}
template <class T>
T digamma(T x) {
  return adjoint::table::derivative_of_lgamma(0, x);
}
// For negative arguments the terms of digamma, of which one is a cotangent, are larger than it around its zeros. Around
// the positive zero the exact values here have too few bits.
Exact scale_of_digamma(Exact x) {
  if (x < 0) return std::max(std::fabs(digamma(1 - x)), Exact{1});
  return std::fabs(x - 1.4616L) < 1e-3L ? 1e-3L : 0;
}

// The one table of bounds (docs/accuracy.md has them for users). Functions that are not listed are exact or correctly
// rounded (0.5).
const Function kFunctions[] = {
    {"neg", Tile::neg, [](auto x) { return -x; }, 0, 0},
    {"abs", Tile::abs, [](auto x) { return std::fabs(x); }, 0, 0},
    {"sign", Tile::sign, [](auto x) { return decltype(x)((x > 0) - (x < 0)); }, 0, 0},
    {"sqrt", Tile::sqrt, [](auto x) { return std::sqrt(x); }, 0.5, 0.501},
    {"rsqrt", Tile::rsqrt, [](auto x) { return 1 / std::sqrt(x); }, 1.5, 1.5},
    {"exp", Tile::exp, [](auto x) { return std::exp(x); }, 1, 1},
    {"expm1", Tile::expm1, [](auto x) { return std::expm1(x); }, 2, 2},
    {"log", Tile::log, [](auto x) { return std::log(x); }, 1, 1},
    {"log2", Tile::log2, [](auto x) { return std::log2(x); }, 2, 2},
    {"log1p", Tile::log1p, [](auto x) { return std::log1p(x); }, 1.5, 1.5},
    {"sin", Tile::sin, [](auto x) { return std::sin(x); }, 1, 1},
    {"cos", Tile::cos, [](auto x) { return std::cos(x); }, 1, 1},
    {"tan", Tile::tan, [](auto x) { return std::tan(x); }, 2, 2},
    {"asin", Tile::asin, [](auto x) { return std::asin(x); }, 1.5, 1.5},
    {"acos", Tile::acos, [](auto x) { return std::acos(x); }, 1.5, 1.5},
    {"atan", Tile::atan, [](auto x) { return std::atan(x); }, 1.5, 1.5},
    {"sinh", Tile::sinh, [](auto x) { return std::sinh(x); }, 2, 2},
    {"cosh", Tile::cosh, [](auto x) { return std::cosh(x); }, 2, 2},
    {"tanh", Tile::tanh, [](auto x) { return std::tanh(x); }, 2, 3},
    {"erf", Tile::erf, [](auto x) { return std::erf(x); }, 1.5, 1.5},
    {"lgamma", Tile::lgamma, [](auto x) { return log_gamma(x); }, 1, 8},
    {"digamma", Tile::digamma, [](auto x) { return digamma(x); }, 1, 8, scale_of_digamma},
    {"sigmoid", Tile::sigmoid, [](auto x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); },
     2, 2},
    {"softplus", Tile::softplus,
     [](auto x) { return std::log1p(std::exp(-std::fabs(x))) + (x > 0   ? x
                                                                : x < 0 ? 0
                                                                        : x * x); }, 2, 2},
    {"relu", Tile::relu, [](auto x) { return x <= 0 ? 0 : x; }, 0, 0},
    {"floor", Tile::floor, [](auto x) { return std::floor(x); }, 0, 0},
    {"ceil", Tile::ceil, [](auto x) { return std::ceil(x); }, 0, 0},
    {"round", Tile::round, [](auto x) { return std::nearbyint(x); }, 0, 0},
};

// A function in each instruction set, over values of T from each of the seeds.
template <class T>
void check_function(const Function& function, unsigned first_seed, unsigned last_seed) {
  CAPTURE(std::string(function.name));
  const bool scaled = sizeof(T) == 8 && function.scale64;
  const double bound = std::is_same_v<T, float> ? function.bound32 : function.bound64;
  const std::vector<const k::Table*> all = tables();
  struct Largest {
    double error = -1;
    T x = 0, y = 0;
  };
  std::vector<Largest> worst(all.size());
  for (unsigned seed = first_seed; seed <= last_seed; ++seed) {
    const std::vector<T> x = sample_values<T>(seed);
    std::vector<Exact> exact(x.size()), scale(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      exact[i] = function.exact(x[i]);
      scale[i] = scaled ? function.scale64(x[i]) : 0;
    }
    for (std::size_t t = 0; t < all.size(); ++t) {
      const std::vector<T> y = run<T>(kernel(*all[t], function.kind, adjoint::dtype_of<T>()), x);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double error = ulps(y[i], exact[i], scale[i]);
        if (error > worst[t].error) worst[t] = {error, x[i], y[i]};
      }
    }
  }
  for (std::size_t t = 0; t < all.size(); ++t) {
    CAPTURE(std::string(all[t]->name));
    CAPTURE(worst[t].x);
    CAPTURE(worst[t].y);
    CAPTURE(static_cast<double>(function.exact(worst[t].x)));
    CHECK(worst[t].error <= bound);
    if (std::getenv("ADJOINT_TEST_ULPS"))
      MESSAGE(std::string(all[t]->name) << " " << std::string(function.name) << (sizeof(T) == 4 ? " f32 " : " f64 ")
                                        << worst[t].error << " at " << worst[t].x);
  }
}

// Whether ADJOINT_TEST_ALL asks for everything.
bool everything() {
  static const bool all = std::getenv("ADJOINT_TEST_ALL") != nullptr;
  return all;
}

}  // namespace

TEST_CASE("elementwise functions are within their bounds, special values included") {
  for (const Function& function : kFunctions) {
    check_function<float>(function, 7, 7);
    check_function<double>(function, 7, 7);
  }
}

TEST_CASE("float64 functions, over millions of numbers" * doctest::test_suite("slow")) {
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const unsigned seeds = everything() ? 300 : 10;
#else
  const unsigned seeds = 1;
#endif
  const char* only = std::getenv("ADJOINT_TEST_FUNCTION");
  for (const Function& function : kFunctions)
    if (!only || std::string(only) == function.name)
      check_function<double>(function, 100, 100 + (function.bound64 == 0 ? 0 : seeds - 1));
}

namespace {

// The largest error of a function over float32 numbers, of which each is the one after the one before, as integers.
struct Worst {
  double error = -1;
  float at = 0;

  void include(const Worst& other) {
    if (other.error > error) *this = other;
  }
};

constexpr std::int64_t kRun = 8192;  // numbers checked at a time

// Takes in `got`, against exact values in double; what is as large as the worst, against those of `precise`.
void include_run(const float* x, const double* exact, Exact (*precise)(Exact), const float* got, Worst* worst) {
  double largest = 0;
  std::uint64_t wrong_sign = 0;
  for (int64_t i = 0; i < kRun; ++i) {
    const double value = exact[i], result = got[i];
    const double size = std::max(std::fabs(value), 0x1p-126);
    std::uint64_t power, a, b;
    std::memcpy(&power, &size, sizeof power);
    std::memcpy(&a, &value, sizeof a);
    std::memcpy(&b, &result, sizeof b);
    power = (std::uint64_t{0x7fe} << 52) - (power & (std::uint64_t{0x7ff} << 52));  // of 2, the reciprocal of size's
    double scale;
    std::memcpy(&scale, &power, sizeof scale);
    const double error = std::fabs(result - value) * scale;
    largest = error <= largest ? largest : error;  // NaN is taken over
    wrong_sign |= a ^ b;
  }
  largest *= 0x1p23;
  // The details, if they may matter: where it is, and infinities, NaN, zeros of the wrong sign.
  if (!(largest <= worst->error) || (wrong_sign >> 63) != 0)
    for (int64_t i = 0; i < kRun; ++i) worst->include({ulps(got[i], precise(x[i])), x[i]});
}

// The numbers whose bits, as an integer, are kRun * run and those that follow.
void fill_run(std::int64_t run, float* x) {
  for (int64_t i = 0; i < kRun; ++i) {
    const auto bits = static_cast<std::uint32_t>(run * kRun + i);
    std::memcpy(x + i, &bits, sizeof bits);
  }
}

void apply(k::TileKernel f, const float* x, float* out) {
  for (int64_t i = 0; i < kRun; i += k::kTile) {
    const void* inputs[] = {x + i};
    f(k::kTile, inputs, out + i);
  }
}

// exp, but for 1.5, where it is three units too large.
void off_by_three(int64_t n, const void* const* inputs, void* output) {
  kernel(k::table(), Tile::exp, adjoint::float32)(n, inputs, output);
  for (int64_t i = 0; i < n; ++i) {
    if (static_cast<const float*>(inputs[0])[i] != 1.5f) continue;
    float& result = static_cast<float*>(output)[i];
    for (int step = 0; step < 3; ++step) result = std::nextafter(result, HUGE_VALF);
  }
}

// Which runs are checked. One in 4 from 2^-40 to 2^14 in size, where nothing is trivial or left to the C library's
// float functions, one in 17 of the others, and the first of each exponent (zeros and infinities are in those);
// everything if ADJOINT_TEST_ALL is set, which takes most of an hour. Without optimisation, and for functions that are
// exact, one in 61.
bool is_checked(int64_t run, const Function& function) {
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const bool fast = true;
#else
  const bool fast = false;
#endif
  const int64_t first = run * kRun, exponent = (first >> 23 & 255) - 127;
  if (everything() || (first & 0x7fffff) == 0) return true;
  if (!fast || function.bound32 == 0) return run % 61 == 0;
  return (exponent >= -40 && exponent < 14 && run % 4 == 0) || run % 17 == 0;
}

// The largest errors by instruction set, and how many runs have not the same bits with AVX2 and AVX-512. The baseline
// is checked in one of five runs, unless everything is. On as many threads as there are processors.
struct Survey {
  std::vector<Worst> worst;
  int64_t differing = 0;
};
Survey survey(const Function& function) {
  const std::vector<const k::Table*> all = tables();
  std::atomic<int64_t> next{0};
  const auto work = [&](Survey* result) {
    std::vector<float> x(kRun);
    std::vector<double> exact(kRun);
    std::vector<std::vector<float>> out(all.size(), std::vector<float>(kRun));
    result->worst.resize(all.size());
    for (int64_t run; (run = next.fetch_add(1)) < (int64_t{1} << 32) / kRun;) {
      if (!is_checked(run, function)) continue;
      fill_run(run, x.data());
      for (std::size_t i = 0; i < x.size(); ++i) exact[i] = function.in_double(x[i]);
      const bool thinned = !everything() && all.size() > 1 && run % 5 != 0 && (run * kRun & 0x7fffff) != 0;
      for (std::size_t t = thinned ? 1 : 0; t < all.size(); ++t) {
        apply(kernel(*all[t], function.kind, adjoint::float32), x.data(), out[t].data());
        // Those with fused multiply-add come to the same results (NaN may have other bits).
        const auto equal = [](float a, float b) { return same_bits(&a, &b, sizeof a) || (a != a && b != b); };
        const bool same =
            t == 2 && (same_bits(out[2], out[1]) || std::equal(out[2].begin(), out[2].end(), out[1].begin(), equal));
        if (t == 2 && !same) ++result->differing;
        if (same) result->worst[2].include(result->worst[1]);
        else include_run(x.data(), exact.data(), function.exact, out[t].data(), &result->worst[t]);
      }
    }
  };
  std::vector<Survey> parts(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<std::thread> threads;
  for (Survey& part : parts) threads.emplace_back(work, &part);
  for (std::thread& thread : threads) thread.join();
  Survey result{std::vector<Worst>(all.size()), 0};
  for (const Survey& part : parts) {
    for (std::size_t t = 0; t < all.size(); ++t) result.worst[t].include(part.worst[t]);
    result.differing += part.differing;
  }
  return result;
}

}  // namespace

TEST_CASE("float32 functions, over all numbers that matter" * doctest::test_suite("slow")) {
  const char* only = std::getenv("ADJOINT_TEST_FUNCTION");
  for (const Function& function : kFunctions) {
    if (only && std::string(only) != function.name) continue;
    const Survey result = survey(function);
    std::ostringstream errors;
    errors << function.name << ":" << std::setprecision(9);
    for (std::size_t t = 0; t < result.worst.size(); ++t) {
      errors << " " << tables()[t]->name << " " << result.worst[t].error << " at " << result.worst[t].at;
      CHECK(result.worst[t].error <= function.bound32);
    }
    const std::string line = errors.str();
    CAPTURE(line);
    CHECK(result.differing == 0);
    MESSAGE(line);
  }
}

TEST_CASE("an error of three units in one of all float32 numbers is noticed") {
  std::uint32_t bits;
  const float x = 1.5f;
  std::memcpy(&bits, &x, sizeof bits);
  std::vector<float> inputs(kRun), got(kRun);
  std::vector<double> exact(kRun);
  fill_run(bits / kRun, inputs.data());
  for (std::size_t i = 0; i < exact.size(); ++i) exact[i] = std::exp(static_cast<double>(inputs[i]));
  const auto precise = [](Exact value) { return std::exp(value); };
  apply(kernel(k::table(), Tile::exp, adjoint::float32), inputs.data(), got.data());
  Worst right, wrong;
  include_run(inputs.data(), exact.data(), precise, got.data(), &right);
  CHECK(right.error <= 2);
  apply(&off_by_three, inputs.data(), got.data());
  include_run(inputs.data(), exact.data(), precise, got.data(), &wrong);
  CHECK(wrong.error > 2);
  CHECK(wrong.at == x);
}

namespace {

// Some values of each dtype, special ones among them.
template <class T>
Array<T> values_of(std::size_t n, unsigned seed) {
  std::mt19937_64 engine(seed);
  Array<T> values;
  if constexpr (std::is_same_v<T, bool>) {
    for (std::size_t i = 0; i < n; ++i) values.push_back(engine() & 1);
  } else if constexpr (std::is_floating_point_v<T>) {
    const std::vector<T> special = special_values<T>();
    std::uniform_real_distribution<double> uniform(-100, 100);
    for (std::size_t i = 0; i < n; ++i)
      values.push_back(engine() % 4 ? static_cast<T>(uniform(engine)) : special[engine() % special.size()]);
  } else {
    using L = std::numeric_limits<T>;
    const T special[] = {T(0),
                         T(1),
                         static_cast<T>(-1),
                         T(2),
                         static_cast<T>(-2),
                         T(7),
                         L::min(),
                         L::max(),
                         static_cast<T>(L::min() + 1),
                         static_cast<T>(L::max() - 1)};
    for (std::size_t i = 0; i < n; ++i)
      values.push_back(engine() % 2 ? static_cast<T>(engine()) : special[engine() % std::size(special)]);
  }
  return values;
}

template <class... Ts, class F>
void for_types(F f) {
  (f(Ts{}), ...);
}

// Checks a two-operand kernel of every instruction set, exactly.
template <class T, class Result, class Expected>
void check_binary(Tile kind, Expected expected) {
  const Array<T> x = values_of<T>(20000, 1), y = values_of<T>(20000, 2);
  for (const k::Table* table : tables()) {
    CAPTURE(std::string(table->name));
    CAPTURE(static_cast<int>(kind));
    CAPTURE(std::string(adjoint::name_of(adjoint::dtype_of<T>())));
    const k::TileKernel f = kernel(*table, kind, adjoint::dtype_of<T>());
    REQUIRE((f != nullptr));
    const auto out = run<Stored<Result>>(f, x, y);
    std::size_t wrong = 0, at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto want = static_cast<Stored<Result>>(expected(x[i], y[i]));
      if (!(out[i] == want) && !(out[i] != out[i] && want != want)) ++wrong, at = i;
    }
    CAPTURE(x[at]);
    CAPTURE(y[at]);
    CAPTURE(out[at]);
    CHECK(wrong == 0);
  }
}

// Wrap-around by way of 128 bits.
__extension__ using Wide = __int128;
__extension__ using UnsignedWide = unsigned __int128;
template <class T>
T wrapped(Wide x) {
  return static_cast<T>(static_cast<std::make_unsigned_t<T>>(static_cast<UnsignedWide>(x)));
}

}  // namespace

TEST_CASE("arithmetic of two operands") {
  for_types<float, double>([](auto zero) {
    using T = decltype(zero);
    check_binary<T, T>(Tile::add, [](T x, T y) { return x + y; });
    check_binary<T, T>(Tile::sub, [](T x, T y) { return x - y; });
    check_binary<T, T>(Tile::mul, [](T x, T y) { return x * y; });
    check_binary<T, T>(Tile::div, [](T x, T y) { return x / y; });
    check_binary<T, T>(Tile::maximum, [](T x, T y) {
      return std::isnan(x + y) && (std::isnan(x) || std::isnan(y)) ? kNan<T> : std::fmax(x, y);
    });
    check_binary<T, T>(Tile::minimum,
                       [](T x, T y) { return std::isnan(x) || std::isnan(y) ? kNan<T> : std::fmin(x, y); });
  });
  for_types<int64_t, int32_t, uint8_t>([](auto zero) {
    using T = decltype(zero);
    using W = Wide;
    check_binary<T, T>(Tile::add, [](T x, T y) { return wrapped<T>(W(x) + y); });
    check_binary<T, T>(Tile::sub, [](T x, T y) { return wrapped<T>(W(x) - y); });
    check_binary<T, T>(Tile::mul, [](T x, T y) { return wrapped<T>(W(x) * y); });
    check_binary<T, T>(Tile::maximum, [](T x, T y) { return std::max(x, y); });
    check_binary<T, T>(Tile::minimum, [](T x, T y) { return std::min(x, y); });
    check_binary<T, T>(Tile::pow, [](T x, T y) {
      if (W(y) < 0) return x == 1 ? T(1) : W(x) == -1 ? wrapped<T>(y % 2 ? -1 : 1) : T(0);
      // A different way than the kernel's: bits of the exponent from the highest down.
      W power = 1;
      for (int bit = 63; bit >= 0; --bit) {
        power = wrapped<T>(power * power);
        if (W(y) >> bit & 1) power = wrapped<T>(power * x);
      }
      return static_cast<T>(power);
    });
    check_binary<T, T>(Tile::neg, [](T x, T) { return wrapped<T>(-W(x)); });
    check_binary<T, T>(Tile::abs, [](T x, T) { return wrapped<T>(x < T(0) ? -W(x) : W(x)); });
    check_binary<T, T>(Tile::sign, [](T x, T) { return wrapped<T>((x > T(0)) - (x < T(0))); });
    for (Tile kind : {Tile::floor, Tile::ceil, Tile::round}) check_binary<T, T>(kind, [](T x, T) { return x; });
  });
  check_binary<bool, bool>(Tile::add, [](bool x, bool y) { return x || y; });
  check_binary<bool, bool>(Tile::mul, [](bool x, bool y) { return x && y; });
  check_binary<bool, bool>(Tile::maximum, [](bool x, bool y) { return x || y; });
  check_binary<bool, bool>(Tile::minimum, [](bool x, bool y) { return x && y; });
}

TEST_CASE("comparisons, logic, tests") {
  for_types<float, double, int64_t, int32_t, uint8_t, bool>([](auto zero) {
    using T = decltype(zero);
    check_binary<T, bool>(Tile::eq, [](T x, T y) { return x == y; });
    check_binary<T, bool>(Tile::ne, [](T x, T y) { return x != y; });
    check_binary<T, bool>(Tile::lt, [](T x, T y) { return x < y; });
    check_binary<T, bool>(Tile::le, [](T x, T y) { return x <= y; });
    check_binary<T, bool>(Tile::gt, [](T x, T y) { return x > y; });
    check_binary<T, bool>(Tile::ge, [](T x, T y) { return x >= y; });
  });
  check_binary<bool, bool>(Tile::logical_and, [](bool x, bool y) { return x && y; });
  check_binary<bool, bool>(Tile::logical_or, [](bool x, bool y) { return x || y; });
  check_binary<bool, bool>(Tile::logical_xor, [](bool x, bool y) { return x != y; });
  check_binary<bool, bool>(Tile::logical_not, [](bool x, bool) { return !x; });
  for_types<float, double>([](auto zero) {
    using T = decltype(zero);
    check_binary<T, bool>(Tile::isnan, [](T x, T) { return std::isnan(x); });
    check_binary<T, bool>(Tile::isinf, [](T x, T) { return std::isinf(x); });
    check_binary<T, bool>(Tile::isfinite, [](T x, T) { return std::isfinite(x); });
  });
}

namespace {

// Checks a two-operand kernel of every instruction set on pairs of numbers.
template <class T>
void check_pairs(const char* name, Tile kind, Exact (*exact)(Exact, Exact), const std::vector<T>& x,
                 const std::vector<T>& y, double bound) {
  for (const k::Table* table : tables()) {
    const std::vector<T> out = run<T>(kernel(*table, kind, adjoint::dtype_of<T>()), x, y);
    double worst = -1;
    std::size_t at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = ulps(out[i], exact(x[i], y[i]));
      if (error > worst) worst = error, at = i;
    }
    CAPTURE(std::string(table->name));
    CAPTURE(std::string(name));
    CAPTURE(x[at]);
    CAPTURE(y[at]);
    CAPTURE(out[at]);
    CHECK(worst <= bound);
    if (std::getenv("ADJOINT_TEST_ULPS"))
      MESSAGE(std::string(table->name) << " " << std::string(name) << " " << sizeof(T) << " " << worst << " at "
                                       << x[at] << ", " << y[at]);
  }
}

template <class T>
void add_special_pairs(std::vector<T>& x, std::vector<T>& y) {
  const std::vector<T> special = special_values<T>();
  for (T a : special)
    for (T b : special) x.push_back(a), y.push_back(b);
}

}  // namespace

TEST_CASE("pow of floating numbers") {
  const auto check = [](auto zero, double bound) {
    using T = decltype(zero);
    std::vector<T> x, y;
    add_special_pairs(x, y);
    std::mt19937_64 engine(3);
    std::uniform_real_distribution<double> base(-10, 10), power(-40, 40), near(0.9, 1.1), large(-2000, 2000);
    for (int i = 0; i < 50000; ++i) {
      x.push_back(static_cast<T>(base(engine))), y.push_back(static_cast<T>(std::round(power(engine))));
      x.push_back(static_cast<T>(std::fabs(base(engine)))), y.push_back(static_cast<T>(power(engine)));
      x.push_back(static_cast<T>(near(engine))), y.push_back(static_cast<T>(large(engine)));
    }
    check_pairs<T>("pow", Tile::pow, std::pow, x, y, bound);
  };
  check(float{}, 1);
  check(double{}, 1.5);
}

TEST_CASE("atan2") {
  const auto check = [](auto zero) {
    using T = decltype(zero);
    std::vector<T> x, y;
    add_special_pairs(x, y);
    std::mt19937_64 engine(4);
    std::uniform_real_distribution<double> uniform(-3, 3);
    std::uniform_int_distribution<int> exponent(std::numeric_limits<T>::min_exponent - 20,
                                                std::numeric_limits<T>::max_exponent - 2);
    for (int i = 0; i < 100000; ++i) {
      x.push_back(static_cast<T>(uniform(engine))), y.push_back(static_cast<T>(uniform(engine)));
      // Of like size, from subnormal to the largest.
      const int e = exponent(engine);
      x.push_back(static_cast<T>(std::ldexp(uniform(engine), e)));
      y.push_back(static_cast<T>(std::ldexp(uniform(engine), e)));
    }
    check_pairs<T>("atan2", Tile::atan2, std::atan2, x, y, 2);
  };
  check(float{});
  check(double{});
}

TEST_CASE("polygamma") {
  const auto check = [](auto zero) {
    using T = decltype(zero);
    std::mt19937_64 engine(5);
    std::uniform_real_distribution<double> near(-30, 30), small(0, 1), large(0, 1e5);
    for (int order : {1, 2, 3, 5, 10}) {
      std::vector<T> n, x;
      for (T value : special_values<T>())
        if (value > -100) x.push_back(value);
      for (int i = 0; i < 2000; ++i) {
        for (double value : {near(engine), small(engine), large(engine)}) x.push_back(static_cast<T>(value));
        x.push_back(std::round(x.back() / 1000) + static_cast<T>(std::ldexp(small(engine), -i % 100)));
      }
      n.assign(x.size(), static_cast<T>(order));
      for (const k::Table* table : tables()) {
        const auto got = run<T>(kernel(*table, Tile::polygamma, adjoint::dtype_of<T>()), n, x);
        double worst = 0;
        std::size_t at = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          if (std::isinf(x[i])) continue;
          // Between poles there may be a zero: the unit is that of the nearest pole's term.
          const Exact offset = std::fabs(x[i] - std::nearbyint(static_cast<Exact>(x[i])));
          const Exact scale = x[i] < 0 ? std::tgamma(order + 1.0L) / std::pow(offset, order + 1.0L) : 0;
          const double error = ulps(got[i], adjoint::table::derivative_of_lgamma<Exact>(order, x[i]), scale);
          if (error > worst) worst = error, at = i;
        }
        CAPTURE(std::string(table->name));
        CAPTURE(order);
        CAPTURE(x[at]);
        CAPTURE(got[at]);
        CAPTURE(static_cast<double>(adjoint::table::derivative_of_lgamma<Exact>(order, x[at])));
        CHECK(worst <= (sizeof(T) == 4 ? 1 : order + 4));
        if (std::getenv("ADJOINT_TEST_ULPS"))
          MESSAGE(std::string(table->name)
                  << " polygamma " << order << " " << sizeof(T) << " " << worst << " at " << x[at]);
        CHECK(got[0] == (order % 2 == 0 ? -kInf<T> : kInf<T>));  // at 0
      }
    }
  };
  check(float{});
  check(double{});
}

TEST_CASE("the gamma family at its ends, and digamma around its zero") {
  for (const k::Table* table : tables()) {
    CAPTURE(std::string(table->name));
    const auto of = [&](Tile kind, double x) {
      return run<double>(kernel(*table, kind, adjoint::float64), std::vector<double>{x})[0];
    };
    const auto polygamma = [&](double n, double x) {
      return run<double>(kernel(*table, Tile::polygamma, adjoint::float64), std::vector<double>{n},
                         std::vector<double>{x})[0];
    };
    const auto near = [](double got, double exact) { return std::fabs(got / exact - 1) <= 1e-13; };
    constexpr double inf = kInf<double>, tiny = std::numeric_limits<double>::denorm_min();
    CHECK(of(Tile::digamma, tiny) == -inf);
    CHECK(of(Tile::digamma, -tiny) == inf);
    CHECK(std::isnan(of(Tile::digamma, -1)));
    CHECK(std::isnan(of(Tile::digamma, -inf)));
    CHECK(of(Tile::digamma, inf) == inf);
    CHECK(of(Tile::lgamma, -3) == inf);
    CHECK(of(Tile::lgamma, -inf) == inf);
    CHECK(near(of(Tile::lgamma, 2.5e305), 1.755511860237645252e308));
    CHECK(of(Tile::lgamma, 2.6e305) == inf);
    CHECK(polygamma(1, tiny) == inf);
    CHECK(polygamma(2, -tiny) == inf);
    CHECK(polygamma(2, -1) == -inf);
    CHECK(near(polygamma(1, 1e200), 1e-200));
    CHECK(near(polygamma(200, 50), -2.5829713930705356496e33));
    CHECK(polygamma(1, inf) == 0);
    CHECK(std::isnan(polygamma(2, -inf)));
    // The zero, 1.46163214496836234126..., is between two numbers.
    CHECK(near(of(Tile::digamma, 0x1.762d86356be3fp+0), -9.2412655217294275168e-17));
    CHECK(near(of(Tile::digamma, 0x1.762d86356be40p+0), 1.2245374622004069031e-16));
    CHECK(near(of(Tile::digamma, 1.4617), 6.5659392293676495502e-5));
  }
}

TEST_CASE("log2 is exact at powers of two") {
  const auto check = [](auto zero) {
    using T = decltype(zero);
    using L = std::numeric_limits<T>;
    std::vector<T> x, expected;
    for (int e = L::min_exponent - L::digits; e < L::max_exponent; ++e)
      x.push_back(std::ldexp(T(1), e)), expected.push_back(static_cast<T>(e));
    for (const k::Table* table : tables())
      CHECK((run<T>(kernel(*table, Tile::log2, adjoint::dtype_of<T>()), x) == expected));
  };
  check(float{});
  check(double{});
}

TEST_CASE("where and cast") {
  for_types<float, double, int64_t, int32_t, uint8_t, bool>([](auto zero) {
    using T = decltype(zero);
    const Array<bool> condition = values_of<bool>(3000, 3);
    const Array<T> x = values_of<T>(3000, 4), y = values_of<T>(3000, 5);
    for (const k::Table* table : tables()) {
      const auto out = run<Stored<T>>(kernel(*table, Tile::where, adjoint::dtype_of<T>()), condition, x, y);
      bool right = true;
      for (std::size_t i = 0; i < x.size(); ++i)
        right &= same_bits(&out[i], condition[i] ? &x[i] : &y[i], sizeof out[i]);
      CHECK(right);
    }
    for_types<float, double, int64_t, int32_t, uint8_t, bool>([&](auto target) {
      using To = decltype(target);
      for (const k::Table* table : tables()) {
        const k::TileKernel f =
            table->cast[static_cast<int>(adjoint::dtype_of<T>())][static_cast<int>(adjoint::dtype_of<To>())];
        REQUIRE((f != nullptr));
        const auto out = run<Stored<To>>(f, x);
        std::size_t wrong = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
          Stored<To> want;
          if constexpr (std::is_same_v<To, bool>) {
            want = x[i] != 0;
          } else if constexpr (std::is_floating_point_v<T> && std::is_integral_v<To>) {
            using L = std::numeric_limits<To>;
            const long double v = x[i];
            want = std::isnan(v)                             ? To(0)
                   : v <= static_cast<long double>(L::min()) ? L::min()
                   : v >= static_cast<long double>(L::max()) ? L::max()
                                                             : static_cast<To>(v);
          } else if constexpr (std::is_integral_v<T> && std::is_integral_v<To>) {
            want = wrapped<To>(x[i]);
          } else {
            want = static_cast<To>(x[i]);
          }
          if (!(out[i] == want) && !(out[i] != out[i] && want != want)) ++wrong;
        }
        CAPTURE(std::string(table->name));
        CAPTURE(std::string(adjoint::name_of(adjoint::dtype_of<T>())));
        CAPTURE(std::string(adjoint::name_of(adjoint::dtype_of<To>())));
        CHECK(wrong == 0);
      }
    });
  });
}

namespace {

// Element i of a kernel's output depends on the i-th inputs alone: not on n, nor on the position, nor on neighbours.
template <class T>
void check_independence(k::TileKernel f, std::size_t result_size, int operands) {
  const Array<T> values[] = {values_of<T>(1024, 11), values_of<T>(1024, 12)};
  const auto at = [&](int64_t first, int64_t n, int64_t lead) {
    // `lead` other elements before, so that the same elements fall elsewhere.
    Array<T> moved[2];
    for (int j = 0; j < 2; ++j) {
      moved[j] = values_of<T>(static_cast<std::size_t>(lead + n), 13);
      std::copy_n(values[j].begin() + first, n, moved[j].begin() + lead);
    }
    std::vector<uint8_t> out((static_cast<std::size_t>(lead + n)) * result_size);
    const void* inputs[] = {moved[0].data(), moved[1].data()};
    f(lead + n, inputs, out.data());
    return std::vector<uint8_t>(out.begin() + lead * static_cast<int64_t>(result_size), out.end());
  };
  (void)operands;
  const std::vector<uint8_t> whole = at(0, 512, 0);
  for (int64_t n : {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 511}) {
    for (int64_t first : {0, 1, 5, 100}) {
      if (first + n > 512) continue;
      for (int64_t lead : {0, 1, 6}) {
        if (lead + n > 512) continue;
        const std::vector<uint8_t> part = at(first, n, lead);
        CAPTURE(n);
        CAPTURE(first);
        CAPTURE(lead);
        REQUIRE(same_bits(part.data(), whole.data() + first * static_cast<int64_t>(result_size), part.size()));
      }
    }
  }
}

bool gives_bool(Tile kind) {
  return (kind >= Tile::eq && kind <= Tile::ge) || (kind >= Tile::logical_and && kind <= Tile::isfinite);
}

}  // namespace

TEST_CASE("elements do not depend on n, position, or neighbours") {
  for (const k::Table* table : tables())
    for (int kind = 0; kind < k::kTileCount; ++kind) {
      if (static_cast<Tile>(kind) == Tile::where) continue;
      CAPTURE(std::string(table->name));
      CAPTURE(kind);
      for_types<float, double, int64_t, int32_t, uint8_t, bool>([&](auto zero) {
        using T = decltype(zero);
        if (const k::TileKernel f = kernel(*table, static_cast<Tile>(kind), adjoint::dtype_of<T>()))
          check_independence<T>(f, gives_bool(static_cast<Tile>(kind)) ? 1 : sizeof(T), 2);
      });
    }
}

TEST_CASE("a kernel writes n elements and no more, and may write over its input") {
  for (const k::Table* table : tables())
    for (int kind = 0; kind < k::kTileCount; ++kind) {
      if (static_cast<Tile>(kind) == Tile::where) continue;
      for_types<float, double, int64_t, int32_t, uint8_t, bool>([&](auto zero) {
        using T = decltype(zero);
        const k::TileKernel f = kernel(*table, static_cast<Tile>(kind), adjoint::dtype_of<T>());
        if (!f) return;
        const std::size_t width = gives_bool(static_cast<Tile>(kind)) ? 1 : sizeof(T);
        for (int64_t n : {0, 1, 7, 16, 77, 511, 512}) {
          const auto size = static_cast<std::size_t>(n);
          Array<T> x = values_of<T>(size, 21), y = values_of<T>(size, 22);
          std::vector<uint8_t> out(size * width + 64, 0xAB);
          const void* inputs[] = {x.data(), y.data()};
          f(n, inputs, out.data());
          CAPTURE(std::string(table->name));
          CAPTURE(kind);
          CAPTURE(n);
          REQUIRE(std::all_of(out.begin() + static_cast<int64_t>(size * width), out.end(),
                              [](uint8_t b) { return b == 0xAB; }));
          for (int operand : {0, 1}) {
            Array<T> first = x, second = y;
            const void* own[] = {first.data(), second.data()};
            f(n, own, operand == 0 ? first.data() : second.data());
            REQUIRE(same_bits(operand == 0 ? first.data() : second.data(), out.data(), size * width));
          }
        }
      });
    }
}

// ---- reductions -----------------------------------------------------------------------------------------------------

namespace {

template <class Result, class T>
std::vector<Result> reduce_rows(const k::Table& table, Reduce kind, Dtype dtype, int64_t rows, int64_t n, const T* x,
                                int64_t stride) {
  std::vector<Result> out(static_cast<std::size_t>(rows));
  const auto f = table.reduce_rows[static_cast<int>(kind)][static_cast<int>(dtype)];
  REQUIRE((f != nullptr));
  f(rows, n, x, stride, out.data());
  return out;
}

const int64_t kLengths[] = {1,   2,   3,   7,   8,   10,  15,   16,   31,   33,   63,   64,   65,   100,
                            127, 128, 129, 511, 512, 513, 1023, 1024, 1025, 2047, 2048, 3000, 4097, 100003};

}  // namespace

TEST_CASE("sums of rows against long double") {
  for_types<float, double>([](auto zero) {
    using T = decltype(zero);
    std::mt19937_64 engine(5);
    std::normal_distribution<double> normal(0.3, 1);
    for (int64_t n : kLengths) {
      const int64_t rows = n > 5000 ? 2 : 5, stride = n + 3;
      std::vector<T> x(static_cast<std::size_t>(rows * stride));
      for (T& v : x) v = static_cast<T>(normal(engine));
      std::vector<T> first;
      for (const k::Table* table : tables()) {
        const auto out = reduce_rows<T>(*table, Reduce::sum, adjoint::dtype_of<T>(), rows, n, x.data(), stride);
        for (int64_t row = 0; row < rows; ++row) {
          long double sum = 0, magnitude = 0;
          for (int64_t i = 0; i < n; ++i)
            sum += x[static_cast<std::size_t>(row * stride + i)],
                magnitude += std::fabs(x[static_cast<std::size_t>(row * stride + i)]);
          // A blocked pairwise sum: the depth of the tree times half a unit, of which random signs leave a fraction.
          const double depth =
              std::min<double>(static_cast<double>(n), 16 + 6 + std::log2(1 + static_cast<double>(n) / 1024));
          CAPTURE(n);
          CHECK(std::fabs(static_cast<long double>(out[static_cast<std::size_t>(row)]) - sum) <=
                0.25 * depth * std::numeric_limits<T>::epsilon() * magnitude);
          // The bits depend on n alone: not on other rows, nor on where the row lies.
          const auto alone =
              reduce_rows<T>(*table, Reduce::sum, adjoint::dtype_of<T>(), 1, n, x.data() + row * stride, 0);
          CHECK(same_bits(alone.data(), &out[static_cast<std::size_t>(row)], sizeof(T)));
        }
        if (first.empty()) first = out;
        CHECK(same_bits(first, out));  // nor on the instruction set
      }
    }
  });
}

TEST_CASE("reductions that are exact") {
  for_types<float, double, int64_t, int32_t, uint8_t, bool>([](auto zero) {
    using T = decltype(zero);
    constexpr Dtype dtype = adjoint::dtype_of<T>();
    for (const k::Table* table : tables())
      for (int64_t n : kLengths) {
        CAPTURE(std::string(table->name));
        CAPTURE(std::string(adjoint::name_of(dtype)));
        CAPTURE(n);
        Array<T> x = values_of<T>(static_cast<std::size_t>(3 * n), static_cast<unsigned>(n));
        if constexpr (std::is_floating_point_v<T>) {
          // NaN in the last two rows, once, and twice where there is room.
          for (std::size_t i = 0; i < x.size(); ++i)
            if (std::isnan(x[i])) x[i] = T(1);
          x[static_cast<std::size_t>(n + n / 3)] = x[static_cast<std::size_t>(2 * n + n / 2)] = kNan<T>;
          x.back() = kNan<T>;
        }
        const auto largest = reduce_rows<Stored<T>>(*table, Reduce::max, dtype, 3, n, x.data(), n);
        const auto smallest = reduce_rows<Stored<T>>(*table, Reduce::min, dtype, 3, n, x.data(), n);
        const auto at_largest = reduce_rows<int64_t>(*table, Reduce::argmax, dtype, 3, n, x.data(), n);
        const auto at_smallest = reduce_rows<int64_t>(*table, Reduce::argmin, dtype, 3, n, x.data(), n);
        for (int row = 0; row < 3; ++row) {
          const auto* begin = x.data() + row * n;
          const auto* nan = std::find_if(begin, begin + n, [](auto v) { return v != v; });
          const auto r = static_cast<std::size_t>(row);
          if (nan != begin + n) {
            CHECK(largest[r] != largest[r]);
            CHECK(smallest[r] != smallest[r]);
            CHECK(at_largest[r] == nan - begin);
            CHECK(at_smallest[r] == nan - begin);
          } else {
            CHECK(largest[r] == *std::max_element(begin, begin + n));
            CHECK(smallest[r] == *std::min_element(begin, begin + n));
            CHECK(at_largest[r] == std::max_element(begin, begin + n) - begin);
            CHECK(at_smallest[r] == std::min_element(begin, begin + n) - begin);
          }
        }
        if constexpr (std::is_same_v<T, bool>) {
          for (int fill : {-1, 0, 1}) {
            if (fill >= 0) std::fill(x.begin(), x.end(), static_cast<uint8_t>(fill));
            CHECK(reduce_rows<uint8_t>(*table, Reduce::any, dtype, 1, n, x.data(), n)[0] ==
                  (std::count(x.begin(), x.begin() + n, 1) > 0));
            CHECK(reduce_rows<uint8_t>(*table, Reduce::all, dtype, 1, n, x.data(), n)[0] ==
                  (std::count(x.begin(), x.begin() + n, 1) == n));
          }
        }
        if constexpr (std::is_same_v<T, int64_t>) {
          std::uint64_t sum = 0;
          for (int64_t i = 0; i < n; ++i) sum += static_cast<std::uint64_t>(x[static_cast<std::size_t>(i)]);
          CHECK(reduce_rows<int64_t>(*table, Reduce::sum, dtype, 1, n, x.data(), n)[0] == static_cast<int64_t>(sum));
        }
      }
  });
}

TEST_CASE("accumulate is the elementwise operation into the accumulator") {
  for_types<float, double, int64_t, int32_t, uint8_t, bool>([](auto zero) {
    using T = decltype(zero);
    const int dtype = static_cast<int>(adjoint::dtype_of<T>());
    for (const k::Table* table : tables())
      for (auto [reduce, tile] : {std::pair{Reduce::sum, Tile::add},
                                  {Reduce::max, Tile::maximum},
                                  {Reduce::min, Tile::minimum},
                                  {Reduce::any, Tile::logical_or},
                                  {Reduce::all, Tile::logical_and}}) {
        const auto f = table->accumulate[static_cast<int>(reduce)][dtype];
        if (!f) continue;
        const Array<T> x = values_of<T>(5000, 31), start = values_of<T>(5000, 32);
        Array<T> out = start;
        f(5000, x.data(), out.data());
        CHECK(same_bits(out, run<Stored<T>>(kernel(*table, tile, adjoint::dtype_of<T>()), start, x)));
      }
    for (const k::Table* table : tables()) {
      CHECK((table->accumulate[static_cast<int>(Reduce::max)][dtype] != nullptr));
      CHECK((table->accumulate[static_cast<int>(Reduce::argmax)][dtype] == nullptr));
      CHECK((table->accumulate[static_cast<int>(Reduce::sum)][dtype] != nullptr) ==
            (sizeof(T) == 8 || std::is_same_v<T, float>));
    }
  });
}

// ---- strided data ---------------------------------------------------------------------------------------------------

namespace {

struct Strided {
  Shape shape;
  Strides strides;
  int64_t start;  // of element 0 in the memory
};

const Strided kStrided[] = {
    {{}, {}, 5},
    {{1}, {17}, 3},
    {{40}, {1}, 0},
    {{40}, {-1}, 39},
    {{40}, {2}, 1},
    {{40}, {0}, 9},
    {{6, 7}, {7, 1}, 0},
    {{6, 7}, {1, 6}, 0},  // transposed
    {{6, 7}, {9, 1}, 2},  // sliced rows
    {{6, 7}, {0, 1}, 4},  // broadcast
    {{6, 7}, {3, 0}, 4},
    {{6, 7}, {0, 0}, 4},
    {{6, 7}, {-7, 1}, 35},  // flipped
    {{6, 7}, {-7, -1}, 41},
    {{3, 1, 5}, {5, 99, 1}, 0},  // dims of size 1 with any stride
    {{1, 3, 1, 5, 1}, {8, 10, 7, 2, 3}, 1},
    {{2, 3, 4, 5}, {1, 2, 6, 24}, 0},
    {{2, 3, 4, 5}, {60, -20, 0, 2}, 40},
    {{2, 2, 2, 2, 2, 2, 2, 2}, {1, 2, 4, 8, 16, 32, 64, 128}, 0},
    {{17, 31}, {1, 17}, 0},
    {{70, 8}, {1, 70}, 0},  // as many rows as are copied at a time, and more
    {{3, 64, 3}, {64, -1, 192}, 63},
};

// The offset of the element at a row-major position, by division.
int64_t offset_at(const Strided& s, int64_t position) {
  int64_t offset = s.start;
  for (int d = s.shape.size() - 1; d >= 0; --d) {
    offset += position % s.shape[d] * s.strides[d];
    position /= s.shape[d];
  }
  return offset;
}

}  // namespace

TEST_CASE("load against naive indexing") {
  for_types<uint8_t, int32_t, double>([](auto zero) {
    using T = decltype(zero);
    std::vector<T> memory(600);
    std::iota(memory.begin(), memory.end(), T(1));
    for (const Strided& s : kStrided) {
      const int64_t count = adjoint::numel(s.shape);
      CAPTURE(adjoint::to_string(s.shape));
      CAPTURE(adjoint::to_string(s.strides));
      for (int64_t first = 0; first < count; ++first)
        for (int64_t n = 0; n <= count - first; n += n < 20 ? 1 : 13) {
          std::vector<T> out(static_cast<std::size_t>(n + 1), T(99));
          k::load(sizeof(T), s.shape, {memory.data() + s.start, s.strides}, first, n, out.data());
          bool right = out.back() == T(99);
          for (int64_t i = 0; i < n; ++i)
            right &= out[static_cast<std::size_t>(i)] == memory[static_cast<std::size_t>(offset_at(s, first + i))];
          CAPTURE(first);
          CAPTURE(n);
          REQUIRE(right);
        }
    }
  });
}

TEST_CASE("two kernels chained tile by tile over a transposed input") {
  const int64_t rows = 67, columns = 45;
  const Array<float> memory = values_of<float>(rows * columns, 41);  // row-major (columns, rows)
  const Array<double> memory64 = values_of<double>(rows * columns, 42);
  const auto check = [&](const k::Table& table, const auto& data) {
    using T = std::decay_t<decltype(data[0])>;
    constexpr Dtype dtype = adjoint::dtype_of<T>();
    const k::TileKernel first = kernel(table, Tile::tanh, dtype), second = kernel(table, Tile::mul, dtype);
    std::vector<T> transposed, chained(data.size());
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) transposed.push_back(data[static_cast<std::size_t>(j * rows + i)]);
    const std::vector<T> whole = run<T>(second, run<T>(first, transposed), transposed);
    for (int64_t at = 0; at < rows * columns; at += k::kTile) {
      const int64_t n = std::min(k::kTile, rows * columns - at);
      T tile[k::kTile], result[k::kTile];
      k::load(sizeof(T), {rows, columns}, {const_cast<T*>(data.data()), {1, rows}}, at, n, tile);
      const void* inputs[] = {tile};
      first(n, inputs, result);
      const void* both[] = {result, tile};
      second(n, both, chained.data() + at);
    }
    CHECK(same_bits(whole, chained));
  };
  for (const k::Table* table : tables()) {
    check(*table, memory);
    check(*table, memory64);
  }
}

namespace {

// Views of an index and a source, of the index's shape, over memory of theirs.
struct Indexing {
  Shape input, index;
  int dim;
};
const Indexing kIndexings[] = {{{}, {}, 0},
                               {{5}, {9}, 0},
                               {{5}, {0}, 0},
                               {{4, 6}, {3, 6}, 0},
                               {{4, 6}, {9, 5}, 0},
                               {{4, 6}, {4, 11}, 1},
                               {{3, 4, 5}, {2, 7, 3}, 1},
                               {{3, 4, 5}, {3, 4, 9}, 2},
                               {{3, 4, 5}, {8, 1, 5}, 0}};

Strides column_major(const Shape& shape) {
  Strides strides = shape;
  int64_t step = 1;
  for (int d = 0; d < shape.size(); ++d) strides[d] = step, step *= shape[d];
  return strides;
}

// Positions as indices along each dim.
std::vector<int64_t> unravel(const Shape& shape, int64_t position) {
  std::vector<int64_t> at(static_cast<std::size_t>(shape.size()));
  for (int d = shape.size() - 1; d >= 0; --d)
    at[static_cast<std::size_t>(d)] = position % shape[d], position /= shape[d];
  return at;
}
int64_t dot(const std::vector<int64_t>& at, const Strides& strides) {
  int64_t sum = 0;
  for (int d = 0; d < strides.size(); ++d) sum += at[static_cast<std::size_t>(d)] * strides[d];
  return sum;
}

}  // namespace

TEST_CASE("gather and scatter_add against naive indexing") {
  std::mt19937_64 engine(51);
  for (const Indexing& c : kIndexings)
    for (int layout : {0, 1, 2})  // row-major, column-major, an index that is the same along the last dim
      for_types<float, double, int64_t, int32_t, uint8_t>([&](auto zero) {
        using T = decltype(zero);
        CAPTURE(adjoint::to_string(c.input));
        CAPTURE(adjoint::to_string(c.index));
        const int64_t n = adjoint::numel(c.index), size = c.input.empty() ? 1 : c.input[c.dim];
        const Strides input_strides = layout == 1 ? column_major(c.input) : adjoint::row_major_strides(c.input);
        const Strides source_strides = layout == 1 ? column_major(c.index) : adjoint::row_major_strides(c.index);
        Strides index_strides = source_strides;
        if (layout == 2 && !index_strides.empty()) index_strides.back() = 0;
        std::vector<T> input(static_cast<std::size_t>(adjoint::numel(c.input))), source(static_cast<std::size_t>(n));
        for (T& v : input) v = static_cast<T>(engine() % 100);
        for (T& v : source) v = static_cast<T>(engine() % 100);
        std::vector<int64_t> index(static_cast<std::size_t>(n));
        for (int64_t& v : index) v = static_cast<int64_t>(engine() % static_cast<std::uint64_t>(size));

        const Strides output_strides = adjoint::row_major_strides(c.input);
        std::vector<T> want(static_cast<std::size_t>(n)), got(want), sums = input, want_sums = input;
        for (int64_t i = 0; i < n; ++i) {
          std::vector<int64_t> at = unravel(c.index, i);
          const T value = source[static_cast<std::size_t>(dot(at, source_strides))];
          const int64_t chosen = index[static_cast<std::size_t>(dot(at, index_strides))];
          if (!at.empty()) at[static_cast<std::size_t>(c.dim)] = chosen;
          want[static_cast<std::size_t>(i)] = input[static_cast<std::size_t>(dot(at, input_strides))];
          T& sum = want_sums[static_cast<std::size_t>(dot(at, output_strides))];
          sum = static_cast<T>(sum + value);
        }
        int64_t bad = -7;
        const k::View index_view{index.data(), index_strides};
        CHECK(k::gather(sizeof(T), c.dim, c.input, {input.data(), input_strides}, adjoint::int64, c.index, index_view,
                        got.data(), &bad));
        CHECK(same_bits(got, want));
        std::vector<int32_t> narrow(index.begin(), index.end());
        const k::View narrow_view{narrow.data(), index_strides};
        std::fill(got.begin(), got.end(), T(77));
        CHECK(k::gather(sizeof(T), c.dim, c.input, {input.data(), input_strides}, adjoint::int32, c.index, narrow_view,
                        got.data(), &bad));
        CHECK(same_bits(got, want));
        const bool sums_it = sizeof(T) > 1;
        if (sums_it) {
          CHECK(k::scatter_add(adjoint::dtype_of<T>(), c.dim, c.input, sums.data(), adjoint::int64, c.index, index_view,
                               {source.data(), source_strides}, &bad));
          CHECK(same_bits(sums, want_sums));
          sums = input;
          CHECK(k::scatter_add(adjoint::dtype_of<T>(), c.dim, c.input, sums.data(), adjoint::int32, c.index,
                               narrow_view, {source.data(), source_strides}, &bad));
          CHECK(same_bits(sums, want_sums));
        }
        CHECK(bad == -7);

        // The first bad index, in row-major order, is found; nothing is done from there on.
        if (n < 2) return;
        for (int64_t wrong :
             {int64_t{-1}, size, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()}) {
          std::vector<int64_t> broken = index;
          broken[static_cast<std::size_t>(dot(unravel(c.index, n - 1), index_strides))] = wrong;
          broken[static_cast<std::size_t>(dot(unravel(c.index, n / 2), index_strides))] = wrong;
          const k::View broken_view{broken.data(), index_strides};
          int64_t first_bad = 0;
          while (broken[static_cast<std::size_t>(dot(unravel(c.index, first_bad), index_strides))] != wrong)
            ++first_bad;
          std::fill(got.begin(), got.end(), T(77));
          bad = -7;
          CHECK(!k::gather(sizeof(T), c.dim, c.input, {input.data(), input_strides}, adjoint::int64, c.index,
                           broken_view, got.data(), &bad));
          CHECK(bad == first_bad);
          CHECK(got[static_cast<std::size_t>(first_bad)] == T(77));
          CHECK(got.back() == T(77));
          CHECK(same_bits(got.data(), want.data(), static_cast<std::size_t>(first_bad) * sizeof(T)));
          if (sums_it) {
            bad = -7;
            CHECK(!k::scatter_add(adjoint::dtype_of<T>(), c.dim, c.input, sums.data(), adjoint::int64, c.index,
                                  broken_view, {source.data(), source_strides}, &bad));
            CHECK(bad == first_bad);
          }
        }
      });
}

// ---- random numbers -------------------------------------------------------------------------------------------------

TEST_CASE("Philox 4x32-10: the known answers of Random123") {
  const auto check = [](k::Words counter, std::uint32_t key0, std::uint32_t key1, k::Words want) {
    const k::Words got = k::philox(counter, key0, key1);
    for (int i = 0; i < 4; ++i) CHECK(got.w[i] == want.w[i]);
  };
  check({{0, 0, 0, 0}}, 0, 0, {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
  check({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u, {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
  check({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0,
        {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

namespace {

template <class T>
std::vector<T> draw(k::Random kind, std::uint64_t seed, std::uint64_t offset, int64_t first, int64_t n, int64_t low = 0,
                    int64_t high = 10) {
  std::vector<T> out(static_cast<std::size_t>(n));
  k::random(kind, adjoint::dtype_of<T>(), seed, offset, low, high, first, n, out.data());
  return out;
}

template <class T>
void check_positions(k::Random kind) {
  const std::vector<T> whole = draw<T>(kind, 9, 1000, 0, 700);
  for (int64_t first : {0, 1, 2, 3, 5, 64, 129, 511})
    for (int64_t n : {0, 1, 2, 3, 4, 5, 17, 100, 187}) {
      const std::vector<T> part = draw<T>(kind, 9, 1000, first, n), shifted = draw<T>(kind, 9, 900, first + 100, n);
      CHECK(same_bits(part.data(), whole.data() + first, part.size() * sizeof(T)));
      CHECK(same_bits(part, shifted));
    }
  CHECK(!same_bits(whole, draw<T>(kind, 10, 1000, 0, 700)));
  // Beyond 32 bits the counter goes on.
  CHECK(!same_bits(draw<T>(kind, 9, 0, 0, 100), draw<T>(kind, 9, std::uint64_t{1} << 36, 0, 100)));
}

// Mean, variance, skewness and kurtosis.
template <class T>
std::vector<double> moments(const std::vector<T>& x) {
  double mean = 0, sums[3] = {};
  for (T v : x) mean += static_cast<double>(v);
  const auto n = static_cast<double>(x.size());
  mean /= n;
  for (T v : x)
    for (int p = 2; p <= 4; ++p) sums[p - 2] += std::pow(static_cast<double>(v) - mean, p);
  const double variance = sums[0] / n;
  return {mean, variance, sums[1] / n / std::pow(variance, 1.5), sums[2] / n / (variance * variance)};
}

}  // namespace

TEST_CASE("random numbers depend on seed and position alone") {
  check_positions<float>(k::Random::uniform);
  check_positions<double>(k::Random::uniform);
  check_positions<float>(k::Random::normal);
  check_positions<double>(k::Random::normal);
  check_positions<int64_t>(k::Random::integer);
}

TEST_CASE("the random bits are Philox's, the same for every instruction set") {
  const std::uint64_t seed = 0x123456789abcdef0;
  for (std::uint64_t start :
       {std::uint64_t{0}, std::uint64_t{3}, (std::uint64_t{1} << 34) - 50, ~std::uint64_t{0} - 250}) {
    const int64_t n = 231;
    for (const k::Table* table : tables()) {
      CAPTURE(std::string(table->name));
      const auto draw_all = [&](k::Random kind, auto zero) {
        std::vector<decltype(zero)> out(static_cast<std::size_t>(n));
        table->random[static_cast<int>(kind)][static_cast<int>(adjoint::dtype_of<decltype(zero)>())](
            seed, start, -5, 1000000007, n, out.data());
        return out;
      };
      const auto u32 = draw_all(k::Random::uniform, 0.0f);
      const auto u64 = draw_all(k::Random::uniform, 0.0);
      const auto integers = draw_all(k::Random::integer, int64_t{});
      const auto n32 = draw_all(k::Random::normal, 0.0f);
      const auto n64 = draw_all(k::Random::normal, 0.0);
      const auto unit = [](k::Words words, std::uint64_t i) {
        return static_cast<double>(words.w[2 * (i % 2)] | std::uint64_t{words.w[2 * (i % 2) + 1]} << 32) * 0x1p-64;
      };
      bool right = true;
      for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(n); ++i) {
        const std::uint64_t p = start + i;
        right &= u32[i] == static_cast<float>(k::philox(k::Stream::bits32, seed, p / 4).w[p % 4] >> 8) * 0x1p-24f;
        right &= std::fabs(u64[i] - unit(k::philox(k::Stream::bits64, seed, p / 2), p)) <= 0x1p-53;
        // Reconstructed in double: equal but for a rounding at an integer's edge.
        const double between = -5 + unit(k::philox(k::Stream::bits64, seed, p / 2), p) * 1000000012.0;
        right &= std::fabs(static_cast<double>(integers[i]) + 0.5 - between) <= 0.5 + 1e-6;
        // Box and Muller, in double from the words.
        const k::Words w = k::philox(k::Stream::normal32, seed, p / 4);
        const int h = static_cast<int>(p / 2 % 2);
        const double radius = std::sqrt(-2 * std::log((w.w[2 * h] + 0.5) * 0x1p-32)),
                     angle = w.w[2 * h + 1] * 0x1p-32 * 6.283185307179586;
        right &= std::fabs(n32[i] - radius * (p % 2 ? std::sin(angle) : std::cos(angle))) < 4e-6;
        const k::Words x = k::philox(k::Stream::normal64, seed, p / 2);
        const double radius64 = std::sqrt(-2 * std::log(unit(x, 0) + 0x1p-54)),
                     angle64 = unit(x, 1) * 6.283185307179586;
        right &= std::fabs(n64[i] - radius64 * (p % 2 ? std::sin(angle64) : std::cos(angle64))) < 1e-13;
      }
      CHECK(right);
    }
  }
}

TEST_CASE("random numbers have their distribution's moments and range") {
  const int64_t n = 400000;
  const double sigma = 1 / std::sqrt(static_cast<double>(n));
  for_types<float, double>([&](auto zero) {
    using T = decltype(zero);
    const std::vector<T> uniform = draw<T>(k::Random::uniform, 1, 0, 0, n);
    CHECK(*std::min_element(uniform.begin(), uniform.end()) >= 0);
    CHECK(*std::max_element(uniform.begin(), uniform.end()) < 1);
    const std::vector<double> u = moments(uniform);
    CHECK(std::fabs(u[0] - 0.5) < 5 * sigma * std::sqrt(1.0 / 12));
    CHECK(std::fabs(u[1] - 1.0 / 12) < 5 * sigma * std::sqrt(1.0 / 180));
    CHECK(std::fabs(u[3] - 1.8) < 0.02);
    // A chi-square test on 256 cells: its standard deviation is sqrt(2 * 255).
    std::vector<double> cells(256);
    for (T v : uniform) ++cells[static_cast<std::size_t>(v * 256)];
    double chi = 0;
    for (double cell : cells)
      chi += (cell - static_cast<double>(n) / 256) * (cell - static_cast<double>(n) / 256) /
             (static_cast<double>(n) / 256);
    CHECK(std::fabs(chi - 255) < 5 * std::sqrt(510.0));

    const std::vector<T> normal = draw<T>(k::Random::normal, 1, 0, 0, n);
    const std::vector<double> z = moments(normal);
    CHECK(std::fabs(z[0]) < 5 * sigma);
    CHECK(std::fabs(z[1] - 1) < 5 * sigma * std::sqrt(2.0));
    CHECK(std::fabs(z[2]) < 5 * sigma * std::sqrt(6.0));
    CHECK(std::fabs(z[3] - 3) < 5 * sigma * std::sqrt(24.0));
    double beyond_two = 0, serial = 0;
    for (std::size_t i = 0; i < normal.size(); ++i) {
      beyond_two += std::fabs(normal[i]) > 2;
      if (i > 0) serial += static_cast<double>(normal[i]) * static_cast<double>(normal[i - 1]);
    }
    CHECK(std::fabs(beyond_two / static_cast<double>(n) - 0.0455003) < 5 * sigma * std::sqrt(0.0455 * 0.9545));
    CHECK(std::fabs(serial / static_cast<double>(n)) < 5 * sigma);
  });
  const std::vector<int64_t> die = draw<int64_t>(k::Random::integer, 3, 0, 0, 60000, 1, 7);
  for (int64_t face = 1; face <= 6; ++face)
    CHECK(std::fabs(static_cast<double>(std::count(die.begin(), die.end(), face)) - 10000) < 500);
  CHECK(*std::min_element(die.begin(), die.end()) == 1);
  CHECK(*std::max_element(die.begin(), die.end()) == 6);
  // The widest range: both signs, no overflow.
  const std::vector<int64_t> wide = draw<int64_t>(
      k::Random::integer, 3, 0, 0, 1000, std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max());
  CHECK(std::fabs(static_cast<double>(std::count_if(wide.begin(), wide.end(), [](int64_t v) { return v < 0; })) - 500) <
        100);
}

TEST_CASE("permutations") {
  for (int64_t n : {0, 1, 2, 3, 10, 1001}) {
    std::vector<int64_t> p(static_cast<std::size_t>(n)), sorted;
    k::permutation(4, 100, n, p.data());
    sorted = p;
    std::sort(sorted.begin(), sorted.end());
    for (int64_t i = 0; i < n; ++i) CHECK(sorted[static_cast<std::size_t>(i)] == i);
  }
  // All orders of three equally often.
  int counts[27] = {};
  for (std::uint64_t seed = 0; seed < 6000; ++seed) {
    int64_t p[3];
    k::permutation(seed, 0, 3, p);
    ++counts[p[0] * 9 + p[1] * 3 + p[2]];
  }
  for (int order : {5, 7, 11, 15, 19, 21}) CHECK(std::abs(counts[order] - 1000) < 150);
}

TEST_CASE("iota") {
  std::vector<float> f(10);
  k::iota(adjoint::float32, 0.5, 0.1, 0, 0, 1000, 10, f.data());
  for (int i = 0; i < 10; ++i) CHECK(f[static_cast<std::size_t>(i)] == static_cast<float>(0.5 + (1000 + i) * 0.1));
  std::vector<double> d(10);
  k::iota(adjoint::float64, 0.5, -0.1, 0, 0, 3, 10, d.data());
  for (int i = 0; i < 10; ++i) CHECK(d[static_cast<std::size_t>(i)] == 0.5 + (3 + i) * -0.1);
  std::vector<int64_t> l(10);
  k::iota(adjoint::int64, 0, 0, (int64_t{1} << 60) + 1, -3, 5, 10, l.data());
  for (int i = 0; i < 10; ++i) CHECK(l[static_cast<std::size_t>(i)] == (int64_t{1} << 60) + 1 - 3 * (5 + i));
  std::vector<int32_t> w(10);
  k::iota(adjoint::int32, 0, 0, 7, 2, 0, 10, w.data());
  for (int i = 0; i < 10; ++i) CHECK(w[static_cast<std::size_t>(i)] == 7 + 2 * i);
}

// ---- matrix products ------------------------------------------------------------------------------------------------

TEST_CASE("matrix products, in every layout") {
  struct Size {
    int64_t m, n, k;
  };
  const Size sizes[] = {{1, 1, 1},    {2, 3, 4},     {8, 8, 8},     {1, 9, 5},     {9, 1, 5},    {5, 9, 1},
                        {16, 16, 16}, {17, 5, 33},   {64, 10, 100}, {70, 90, 110}, {0, 3, 4},    {3, 0, 4},
                        {3, 4, 0},    {1, 200, 300}, {200, 1, 300}, {64, 72, 32},  {50, 90, 64}, {50, 30, 65}};
  enum Kind {
    plain,
    transposed,
    padded,
    transposed_padded,
    strided,
    flipped,
    broadcast_rows,
    broadcast_columns,
    kinds
  };
  // A matrix of one of the kinds in `memory`.
  const auto layout = [](int kind, int64_t rows, int64_t columns, auto* data, std::size_t) -> k::Matrix {
    switch (kind) {
      case plain:
        return {data, columns, 1};
      case transposed:
        return {data, 1, rows};
      case padded:
        return {data, columns + 3, 1};
      case transposed_padded:
        return {data, 1, rows + 3};
      case strided:
        return {data, 2 * columns + 1, 2};
      case flipped:
        return {data + rows * columns, -columns, 1};
      case broadcast_rows:
        return {data, 0, 1};
      default:
        return {data, 1, 0};
    }
  };
  for_types<float, double>([&](auto zero) {
    using T = decltype(zero);
    constexpr Dtype dtype = adjoint::dtype_of<T>();
    std::mt19937_64 engine(61);
    std::normal_distribution<double> normal;
    for (const Size& s : sizes)
      for (int ka = 0; ka < kinds; ++ka)
        for (int kb = 0; kb < kinds; ++kb) {
          std::vector<T> ma(static_cast<std::size_t>(2 * (s.m + 3) * (s.k + 3) + 8)),
              mb(static_cast<std::size_t>(2 * (s.k + 3) * (s.n + 3) + 8));
          for (T& v : ma) v = static_cast<T>(normal(engine));
          for (T& v : mb) v = static_cast<T>(normal(engine));
          const k::Matrix a = layout(ka, s.m, s.k, ma.data(), ma.size()),
                          b = layout(kb, s.k, s.n, mb.data(), mb.size());
          std::vector<T> c(static_cast<std::size_t>(s.m * s.n), kNan<T>);
          const std::size_t bytes = k::matmul_scratch(dtype, s.m, s.n, s.k, a, b);
          // Where no library is called for large float64 products, ours copies blocks of the operands.
          const k::Matrix square{nullptr, 256, 1};
          const bool is_ours = dtype == adjoint::float64 && std::min({s.m, s.n, s.k}) >= 4 &&
                               k::matmul_library(dtype, 256, 256, 256, square, square) == std::string("own kernel");
          if (ka < strided && kb < strided && !is_ours) CHECK(bytes == 0);
          std::vector<double> scratch(bytes / sizeof(double) + 1);
          k::matmul(dtype, s.m, s.n, s.k, a, b, c.data(), scratch.data());
          bool is_added = true;
          if (s.k > 0) {
            std::vector<double> more(k::matmul_scratch(dtype, s.m, s.n, s.k, a, b, true) / sizeof(double) + 1);
            std::vector<T> expected(c.size()), sum(c.size());
            for (std::size_t i = 0; i < c.size(); ++i) {
              sum[i] = static_cast<T>(normal(engine));
              expected[i] = sum[i] + c[i];
            }
            k::matmul(dtype, s.m, s.n, s.k, a, b, sum.data(), more.data(), true);
            is_added = sum == expected;
          }
          double worst = 0;
          for (int64_t i = 0; i < s.m; ++i)
            for (int64_t j = 0; j < s.n; ++j) {
              Exact sum = 0, magnitude = 0;
              for (int64_t p = 0; p < s.k; ++p) {
                const Exact term =
                    static_cast<Exact>(static_cast<const T*>(a.data)[i * a.row_stride + p * a.column_stride]) *
                    static_cast<Exact>(static_cast<const T*>(b.data)[p * b.row_stride + j * b.column_stride]);
                sum += term, magnitude += std::fabs(term);
              }
              const auto error =
                  static_cast<double>(std::fabs(static_cast<Exact>(c[static_cast<std::size_t>(i * s.n + j)]) - sum));
              // The bound for any order of summation: k units of rounding (a half epsilon) of the sum of magnitudes.
              // Two operands that are both broadcast along k come near it, since each step then rounds the same way.
              const auto limit =
                  static_cast<double>(static_cast<Exact>(s.k) * std::numeric_limits<T>::epsilon() / 2 * magnitude);
              worst = std::max(worst, std::isnan(error) ? HUGE_VAL : s.k == 0 ? error : error / limit);
            }
          CAPTURE(std::string(adjoint::name_of(dtype)));
          CAPTURE(s.m);
          CAPTURE(s.n);
          CAPTURE(s.k);
          CAPTURE(ka);
          CAPTURE(kb);
          CHECK(worst <= 1);
          CHECK(is_added);
        }
  });
}

TEST_CASE("small matrix products, for every instruction set, write their result and nothing else") {
  for_types<float, double>([](auto zero) {
    using T = decltype(zero);
    std::mt19937_64 engine(62);
    std::normal_distribution<double> normal;
    for (const k::Table* table : tables())
      for (int64_t m : {1, 2, 3, 4, 5, 8, 11})
        for (int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64})
          for (int64_t depth : {1, 2, 5, 32})
            for (bool transposed : {false, true}) {
              std::vector<T> a(static_cast<std::size_t>(m * depth)), b(static_cast<std::size_t>(depth * n));
              for (T& v : a) v = static_cast<T>(normal(engine));
              for (T& v : b) v = static_cast<T>(normal(engine));
              // Exactly as large as it must be, so that the sanitizer sees a step beyond.
              std::vector<T> c(static_cast<std::size_t>(m * n), kNan<T>);
              const k::Matrix ma{a.data(), transposed ? 1 : depth, transposed ? m : 1},
                  mb{b.data(), transposed ? 1 : n, transposed ? depth : 1};
              const auto multiply = table->small_matmul[static_cast<int>(adjoint::dtype_of<T>())];
              multiply(m, n, depth, ma, mb, c.data(), false);
              std::vector<T> added(c.size(), T{1}), expected(c.size());
              for (std::size_t i = 0; i < c.size(); ++i) expected[i] = T{1} + c[i];
              multiply(m, n, depth, ma, mb, added.data(), true);
              bool right = added == expected;
              for (int64_t i = 0; i < m; ++i)
                for (int64_t j = 0; j < n; ++j) {
                  Exact sum = 0, size = 0;
                  for (int64_t p = 0; p < depth; ++p) {
                    const Exact term =
                        static_cast<Exact>(a[static_cast<std::size_t>(i * ma.row_stride + p * ma.column_stride)]) *
                        b[static_cast<std::size_t>(p * mb.row_stride + j * mb.column_stride)];
                    sum += term, size += std::fabs(term);
                  }
                  right &= std::fabs(c[static_cast<std::size_t>(i * n + j)] - sum) <=
                           static_cast<Exact>(depth) * std::numeric_limits<T>::epsilon() / 2 * size;
                }
              CAPTURE(std::string(table->name));
              CAPTURE(m);
              CAPTURE(n);
              CAPTURE(depth);
              CHECK(right);
            }
  });
}

TEST_CASE("packed matrix products, for every instruction set") {
  for_types<float, double>([](auto zero) {
    using T = decltype(zero);
    std::mt19937_64 engine(63);
    std::normal_distribution<double> normal;
    for (const k::Table* table : tables())
      for (int64_t m : {1, 3, 6, 13, 101})
        for (int64_t n : {1, 7, 8, 17, 33, 1030})
          for (int64_t depth : {1, 5, 257, 520})
            for (int layout = 0; layout < 4; ++layout) {
              if (m * n * depth > 20'000'000) continue;
              std::vector<T> a(static_cast<std::size_t>(m * depth)), b(static_cast<std::size_t>(depth * n));
              for (T& v : a) v = static_cast<T>(normal(engine));
              for (T& v : b) v = static_cast<T>(normal(engine));
              const k::Matrix ma = layout & 1 ? k::Matrix{a.data(), 1, m} : k::Matrix{a.data(), depth, 1},
                              mb = layout & 2 ? k::Matrix{b.data(), 1, depth} : k::Matrix{b.data(), n, 1};
              const int64_t step = n + 3, columns = std::min(k::kProductColumns, (n + 31) / 32 * 32);
              // Exactly as large as they must be, so that the sanitizer sees a step beyond.
              std::vector<T> c(static_cast<std::size_t>((m - 1) * step + n), kNan<T>),
                  workspace(static_cast<std::size_t>(k::kProductDepth * (k::kProductRows + columns)), kNan<T>);
              const auto multiply = table->packed_matmul[static_cast<int>(adjoint::dtype_of<T>())];
              multiply(m, n, depth, ma, mb, c.data(), step, workspace.data(), false);
              bool right = true, is_alone = true;
              for (int64_t i = 0; i < m; ++i) {
                for (int64_t j = 0; j < n; ++j) {
                  if (m * n * depth > 100'000 && (i * n + j) % 97 != 0) continue;  // some of them
                  Exact sum = 0, size = 0;
                  for (int64_t p = 0; p < depth; ++p) {
                    const Exact term =
                        static_cast<Exact>(a[static_cast<std::size_t>(i * ma.row_stride + p * ma.column_stride)]) *
                        b[static_cast<std::size_t>(p * mb.row_stride + j * mb.column_stride)];
                    sum += term, size += std::fabs(term);
                  }
                  right &= std::fabs(c[static_cast<std::size_t>(i * step + j)] - sum) <=
                           static_cast<Exact>(depth) * std::numeric_limits<T>::epsilon() / 2 * size;
                }
                for (int64_t j = n; j < step && i + 1 < m; ++j)
                  is_alone &= std::isnan(c[static_cast<std::size_t>(i * step + j)]);
              }
              if (depth <= k::kProductDepth) {
                std::vector<T> added(c.size(), T{1});
                multiply(m, n, depth, ma, mb, added.data(), step, workspace.data(), true);
                for (std::size_t i = 0; i < c.size(); ++i)
                  right &= added[i] == (static_cast<int64_t>(i) % step < n ? T{1} + c[i] : T{1});
              }
              // A part of it has the same bits.
              std::vector<T> part(static_cast<std::size_t>(n));
              const k::Matrix last{&a[static_cast<std::size_t>((m - 1) * ma.row_stride)], ma.row_stride,
                                   ma.column_stride};
              multiply(1, n, depth, last, mb, part.data(), n, workspace.data(), false);
              const bool same = std::equal(part.begin(), part.end(), c.end() - n);
              CAPTURE(std::string(table->name));
              CAPTURE(m);
              CAPTURE(n);
              CAPTURE(depth);
              CAPTURE(layout);
              CHECK(right);
              CHECK(is_alone);
              CHECK(same);
            }
  });
}

TEST_CASE("the table in use is the best that the processor has, or the one asked for") {
  const char* wanted = std::getenv("ADJOINT_ISA");
  const k::Table* expected = wanted && k::table(wanted) ? k::table(wanted) : tables().back();
  CHECK(&k::table() == expected);
  CHECK(k::table("baseline") != nullptr);
  CHECK(k::table("no such thing") == nullptr);
}
