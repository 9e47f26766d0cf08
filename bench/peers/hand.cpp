// Loops written by hand, each as much as can be done in one pass over memory: what a composite of the library, fused,
// is measured against. Forward and backward are one loop, since gradients are given beforehand; a row stays in the
// cache between its reductions and its results. And how fast memory is (the triad of McCalpin's STREAM).
//
// Compiled for this machine's processor. Plain C++ that the compiler turns into vector instructions; accurate to some
// units in the last place, as what it is compared with.
#include <omp.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <stdexcept>
#include <vector>

#include "peer.hpp"
#include "workloads.hpp"

namespace {

using peers::Kind;
using peers::Numbers;
using peers::Work;
using Index = std::int64_t;
using Values = std::vector<float>;

int threads = 1;

// -- functions --------------------------------------------------------------------------------------------------------

/// exp(x), for x <= 88.3: 2^n times a polynomial for the rest in [-ln(2) / 2, ln(2) / 2] (coefficients of Cephes'
/// expf). Below -87 it is about 1e-38 instead of smaller.
inline float exp_of(float x) {
  x = x < -87.0f ? -87.0f : x;
  constexpr float round = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer
  const float n = (x * 1.44269504f + round) - round;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (p * r) * r + r + 1.0f;
  const std::int32_t power = (static_cast<std::int32_t>(n) + 127) << 23;
  float scale;
  std::memcpy(&scale, &power, sizeof scale);
  return p * scale;
}

/// erf(x) as x P(x^2) / Q(x^2), |x| limited to 4 (the coefficients are those of Eigen and XLA).
inline float erf_of(float x) {
  x = x < -4.0f ? -4.0f : x > 4.0f ? 4.0f : x;
  const float s = x * x;
  float p = -2.72614225801306e-10f;
  p = p * s + 2.77068142495902e-08f;
  p = p * s - 2.10102402082508e-06f;
  p = p * s - 5.69250639462346e-05f;
  p = p * s - 7.34990630326855e-04f;
  p = p * s - 2.95459980854025e-03f;
  p = p * s - 1.60960333262415e-02f;
  float q = -1.45660718464996e-05f;
  q = q * s - 2.13374055278905e-04f;
  q = q * s - 1.68282697438203e-03f;
  q = q * s - 7.37332916720468e-03f;
  q = q * s - 1.42647390514189e-02f;
  return x * p / q;
}

// -- rows -------------------------------------------------------------------------------------------------------------

// Reductions have four vectors of terms under way at once; with one, as in a plain loop, each addition waits for the
// one before.

// As wide as the processor's registers: wider ones, passed between functions, have another ABI with each instruction set.
#if defined __AVX512F__
constexpr int kLanes = 16;
#elif defined __AVX__
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
using Vector = float __attribute__((vector_size(sizeof(float) * kLanes)));

template <class T>
inline T load(const float* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
inline void store(float* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

/// f(0), .. f(n - 1), joined by `join`, which takes two vectors or two numbers, beginning with `start`. Calls f once
/// for each, in any order.
template <class F, class Join>
inline float reduce(Index n, float start, const F& f, const Join& join) {
  Vector totals[4];
  for (Vector& total : totals) total = start - Vector{};
  Index i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int part = 0; part < 4; ++part) {
      Vector terms;
#pragma omp simd
      for (int j = 0; j < kLanes; ++j) terms[j] = f(i + part * kLanes + j);
      totals[part] = join(totals[part], terms);
    }
  }
  const Vector total = join(join(totals[0], totals[1]), join(totals[2], totals[3]));
  float result = start;
  for (int j = 0; j < kLanes; ++j) result = join(result, total[j]);
  for (; i < n; ++i) result = join(result, f(i));
  return result;
}

template <class F>
inline float sum_of(Index n, const F& f) {
  return reduce(n, 0, f, [](const auto& a, const auto& b) { return a + b; });
}

float largest(const float* x, Index n) {
  return reduce(
      n, x[0], [x](Index i) { return x[i]; }, [](const auto& a, const auto& b) { return a > b ? a : b; });
}

/// The sums of the two values that f(T(), i) returns for positions i, i + 1, ..., as many as T holds: a Vector, or, at
/// the end, a number.
template <class F>
inline std::array<float, 2> sums_of(Index n, const F& f) {
  Vector first[4] = {}, second[4] = {};
  Index i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int part = 0; part < 4; ++part) {
      const auto [a, b] = f(Vector{}, i + part * kLanes);
      first[part] += a;
      second[part] += b;
    }
  }
  for (; i + kLanes <= n; i += kLanes) {
    const auto [a, b] = f(Vector{}, i);
    first[0] += a;
    second[0] += b;
  }
  const Vector firsts = (first[0] + first[1]) + (first[2] + first[3]);
  const Vector seconds = (second[0] + second[1]) + (second[2] + second[3]);
  std::array<float, 2> result{};
  for (int j = 0; j < kLanes; ++j) result[0] += firsts[j], result[1] += seconds[j];
  for (; i < n; ++i) {
    const auto [a, b] = f(0.0f, i);
    result[0] += a;
    result[1] += b;
  }
  return result;
}

/// Exponentials of a row, block by block, each block less its own maximum, so that the row comes from memory once.
class Exponentials {
 public:
  static constexpr Index kBlock = 4096;

  /// To y, or, where that is null, to nowhere.
  Exponentials(const float* x, float* y, Index n) {
    if (n > kBlock * static_cast<Index>(maxima_.size())) throw std::length_error("hand: the row is too long");
    float maximum = -std::numeric_limits<float>::infinity(), sum = 0;
    for (Index at = 0, block = 0; at < n; at += kBlock, ++block) {
      const Index size = std::min(kBlock, n - at);
      const float own = maxima_[static_cast<std::size_t>(block)] = largest(x + at, size);
      float own_sum = 0;
      if (y == nullptr) {
        own_sum = sum_of(size, [=](Index i) { return exp_of(x[at + i] - own); });
      } else {
        own_sum = sum_of(size, [=](Index i) { return y[at + i] = exp_of(x[at + i] - own); });
      }
      if (own > maximum) sum = block == 0 ? own_sum : sum * std::exp(maximum - own) + own_sum, maximum = own;
      else sum += own_sum * std::exp(own - maximum);
    }
    maximum_ = maximum, sum_ = sum;
  }
  float maximum() const { return maximum_; }
  float sum() const { return sum_; }
  /// Calls f(begin, size, factor): times the factor a block is its part of the softmax.
  template <class F>
  void for_blocks(Index n, const F& f) const {
    for (Index at = 0, block = 0; at < n; at += kBlock, ++block)
      f(at, std::min(kBlock, n - at), std::exp(maxima_[static_cast<std::size_t>(block)] - maximum_) / sum_);
  }

 private:
  std::array<float, 64> maxima_;
  float maximum_, sum_;
};

void softmax_row(const float* x, float* y, Index n) {
  Exponentials(x, y, n).for_blocks(n, [&](Index begin, Index size, float factor) {
#pragma omp simd
    for (Index i = begin; i < begin + size; ++i) y[i] *= factor;
  });
}

void softmax_row_both(const float* x, const float* g, float* y, float* dx, Index n) {
  float dot = 0;
  Exponentials(x, y, n).for_blocks(n, [&](Index begin, Index size, float factor) {
    dot += sum_of(size, [=](Index i) { return (y[begin + i] *= factor) * g[begin + i]; });
  });
#pragma omp simd
  for (Index i = 0; i < n; ++i) dx[i] = y[i] * (g[i] - dot);
}

struct Moments {
  float mean, scale;  // and 1 / standard deviation
};
/// In one pass, from deviations from the mean of the row's beginning, which is near enough for nothing to cancel.
Moments moments(const float* x, Index n) {
  const Index some = std::min<Index>(n, 4 * kLanes);
  const float guess = sum_of(some, [x](Index i) { return x[i]; }) / static_cast<float>(some);
  const auto [sum, squares] = sums_of(n, [x, guess](auto zero, Index i) {
    const auto deviation = load<decltype(zero)>(x + i) - guess;
    return std::pair(deviation, deviation * deviation);
  });
  const float shift = sum / static_cast<float>(n), variance = squares / static_cast<float>(n) - shift * shift;
  return {guess + shift, 1 / std::sqrt(variance + 1e-5f)};
}

void layer_norm_row(const float* x, const float* weight, const float* bias, float* y, Index n) {
  const auto [mean, scale] = moments(x, n);
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

void layer_norm_row_both(const float* x, const float* weight, const float* bias, const float* g, float* y, float* dx,
                         float* dweight, float* dbias, Index n) {
  const auto [mean, scale] = moments(x, n);
  auto [sum, dot] = sums_of(n, [=, mean = mean, scale = scale](auto zero, Index i) {
    using T = decltype(zero);
    const T gradient = load<T>(g + i), w = load<T>(weight + i);
    const T normal = (load<T>(x + i) - mean) * scale, weighted = gradient * w;
    store<T>(y + i, normal * w + load<T>(bias + i));
    store<T>(dweight + i, load<T>(dweight + i) + gradient * normal);
    store<T>(dbias + i, load<T>(dbias + i) + gradient);
    return std::pair(weighted, weighted * normal);
  });
  sum /= static_cast<float>(n), dot /= static_cast<float>(n);
#pragma omp simd
  for (Index i = 0; i < n; ++i) dx[i] = scale * (g[i] * weight[i] - sum - (x[i] - mean) * scale * dot);
}

float cross_entropy_row(const float* x, Index target, Index n) {
  const Exponentials e(x, nullptr, n);
  return std::log(e.sum()) - (x[target] - e.maximum());
}

/// `share` is what the row's loss counts for.
float cross_entropy_row_both(const float* x, Index target, float share, float* dx, Index n) {
  const Exponentials e(x, dx, n);
  e.for_blocks(n, [&](Index begin, Index size, float factor) {
#pragma omp simd
    for (Index i = begin; i < begin + size; ++i) dx[i] *= share * factor;
  });
  dx[target] -= share;
  return std::log(e.sum()) - (x[target] - e.maximum());
}

constexpr float kRootHalf = 0.70710678f, kDensity = 0.39894228f;  // of the normal distribution at 0

void gelu_some(const float* x, float* y, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] = 0.5f * x[i] * (1 + erf_of(x[i] * kRootHalf));
}

void gelu_some_both(const float* x, const float* g, float* y, float* dx, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    const float below = 0.5f * (1 + erf_of(x[i] * kRootHalf));
    y[i] = x[i] * below;
    dx[i] = g[i] * (below + x[i] * kDensity * exp_of(-0.5f * x[i] * x[i]));
  }
}

/// What does not change within a step of Adam.
struct AdamStep {
  float rate, root_correction;

  explicit AdamStep(int step)
      : rate(static_cast<float>(1e-3 / (1 - std::pow(0.9, step)))),
        root_correction(static_cast<float>(1 / std::sqrt(1 - std::pow(0.999, step)))) {}
};

void adam_some(const AdamStep& step, const float* g, float* p, float* m, float* v, Index n) {
#pragma omp simd
  for (Index i = 0; i < n; ++i) {
    m[i] = 0.9f * m[i] + 0.1f * g[i];
    v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
    p[i] -= step.rate * m[i] / (std::sqrt(v[i]) * step.root_correction + 1e-8f);
  }
}

// -- whole tensors ----------------------------------------------------------------------------------------------------

/// Calls f(begin, end) for a part of [0, count) on each thread.
template <class F>
void in_parallel(Index count, const F& f) {
  if (threads == 1) return f(Index{0}, count);
#pragma omp parallel num_threads(threads)
  {
    const Index parts = omp_get_num_threads(), part = omp_get_thread_num();
    f(count * part / parts, count * (part + 1) / parts);
  }
}

/// Inputs made beforehand, to be taken in turn.
class Pool {
 public:
  template <class Make>
  Pool(Index bytes, const Make& make) {
    for (int i = 0; i < peers::pool_size(bytes); ++i) entries_.push_back(make(static_cast<std::uint32_t>(i)));
  }
  const float* next() { return at(turn_++); }
  const float* at(std::size_t turn) const { return entries_[turn % entries_.size()].data(); }

 private:
  std::vector<Values> entries_;
  std::size_t turn_ = 0;
};
Pool normals(Index count, std::uint32_t stream) {
  return Pool(4 * count, [&](auto i) { return peers::normal(count, stream + 64 * i); });
}

/// `compute` does one iteration, `numbers` looks at what it left.
template <class Compute, class Look>
Work work(Compute compute, Look look) {
  const auto shared = std::make_shared<Compute>(std::move(compute));
  return {[shared] { (*shared)(); },
          [shared, look] {
            (*shared)();
            return look();
          }};
}

std::vector<double> numbers(const Values& values) {
  return peers::numbers_of(values.data(), static_cast<Index>(values.size()));
}

/// The buffers of an operation, made once.
struct Buffers {
  Values y, dx, weight, bias, dweight, dbias, partial, losses;
};

Work operation(const peers::Operation& op) {
  const Index rows = op.rows(), n = op.columns(), count = rows * n;
  const auto b = std::make_shared<Buffers>();
  const auto sized = [](Values& values, Index size) { values.resize(static_cast<std::size_t>(size)); };
  if (op.kind != Kind::cross_entropy) sized(b->y, count);
  if (op.backward) sized(b->dx, count);
  Pool inputs = normals(count, 1);
  if (op.kind == Kind::cross_entropy) {
    sized(b->losses, 1);
    std::vector<std::vector<Index>> targets;
    for (int i = 0; i < peers::pool_size(4 * count); ++i)
      targets.push_back(peers::classes(rows, n, 2 + 64 * static_cast<std::uint32_t>(i)));
    const auto compute = [=, backward = op.backward, turn = std::size_t{0}]() mutable {
      const float* x = inputs.next();
      const Index* target = targets[turn++ % targets.size()].data();
      double total = 0;
      in_parallel(rows, [&](Index begin, Index end) {
        double sum = 0;
        for (Index i = begin; i < end; ++i) {
          const float* row = x + i * n;
          sum += backward ? cross_entropy_row_both(row, target[i], 1 / static_cast<float>(rows), &b->dx[0] + i * n, n)
                          : cross_entropy_row(row, target[i], n);
        }
#pragma omp atomic
        total += sum;
      });
      b->losses[0] = static_cast<float>(total / static_cast<double>(rows));
    };
    return work(compute, [b, backward = op.backward] {
      return backward ? Numbers{numbers(b->losses), numbers(b->dx)} : Numbers{numbers(b->losses)};
    });
  }

  if (op.kind == Kind::layer_norm) {
    b->weight = peers::normal(n, 10), b->bias = peers::normal(n, 11);
    sized(b->dweight, op.backward ? n : 0), sized(b->dbias, op.backward ? n : 0);
    sized(b->partial, op.backward ? 2 * n * threads : 0);
  }
  Pool gradients = op.backward ? normals(count, 3) : normals(0, 3);
  const auto compute = [=, kind = op.kind, backward = op.backward]() mutable {
    const float *x = inputs.next(), *g = gradients.next();
    float *y = b->y.data(), *dx = b->dx.data();
    in_parallel(rows, [&](Index begin, Index end) {
      const Index first = begin * n, size = (end - begin) * n;
      if (kind == Kind::gelu && backward) return gelu_some_both(x + first, g + first, y + first, dx + first, size);
      if (kind == Kind::gelu) return gelu_some(x + first, y + first, size);
      // Each thread sums over its rows by itself.
      float* dweight = nullptr;
      if (kind == Kind::layer_norm && backward) {
        dweight = b->partial.data() + 2 * n * omp_get_thread_num();
        std::fill(dweight, dweight + 2 * n, 0.0f);
      }
      for (Index at = first; at < first + size; at += n) {
        if (kind == Kind::softmax && backward) softmax_row_both(x + at, g + at, y + at, dx + at, n);
        else if (kind == Kind::softmax) softmax_row(x + at, y + at, n);
        else if (backward)
          layer_norm_row_both(x + at, b->weight.data(), b->bias.data(), g + at, y + at, dx + at, dweight, dweight + n,
                              n);
        else layer_norm_row(x + at, b->weight.data(), b->bias.data(), y + at, n);
      }
    });
    if (kind != Kind::layer_norm || !backward) return;
    for (Index i = 0; i < n; ++i) {
      float dweight = 0, dbias = 0;
      for (Index thread = 0; thread < threads; ++thread) {
        dweight += b->partial[static_cast<std::size_t>(2 * n * thread + i)];
        dbias += b->partial[static_cast<std::size_t>(2 * n * thread + n + i)];
      }
      b->dweight[static_cast<std::size_t>(i)] = dweight;
      b->dbias[static_cast<std::size_t>(i)] = dbias;
    }
  };
  return work(compute, [b] {
    Numbers result;
    for (const Values* values : {&b->y, &b->dx, &b->dweight, &b->dbias})
      if (!values->empty()) result.push_back(numbers(*values));
    return result;
  });
}

Work adam(const peers::AdamUpdate& sizes) {
  struct Parameter {
    Values p, m, v;
    Pool gradients;
  };
  const auto parameters = std::make_shared<std::vector<Parameter>>();
  for (Index i = 0; i < sizes.count; ++i) {
    const auto stream = static_cast<std::uint32_t>(1000 * i);
    const Values zeros(static_cast<std::size_t>(sizes.size));
    const auto gradient = [&](auto j) { return peers::normal(sizes.size, stream + 2 + 64 * j); };
    parameters->push_back(
        {peers::normal(sizes.size, stream + 1), zeros, zeros, Pool(4 * sizes.size * sizes.count, gradient)});
  }
  const auto compute = [parameters, size = sizes.size, steps = std::size_t{0}]() mutable {
    const AdamStep step(static_cast<int>(++steps));
    // A part of each parameter for a thread, or some parameters for it.
    const bool share_each = size > 65536;
    in_parallel(share_each ? size : static_cast<Index>(parameters->size()), [&](Index begin, Index end) {
      for (std::size_t i = 0; i < parameters->size(); ++i) {
        if (!share_each && (static_cast<Index>(i) < begin || static_cast<Index>(i) >= end)) continue;
        auto& [p, m, v, gradients] = (*parameters)[i];
        const Index from = share_each ? begin : 0, n = share_each ? end - begin : size;
        const float* g = gradients.at(steps - 1);
        adam_some(step, g + from, &p[0] + from, &m[0] + from, &v[0] + from, n);
      }
    });
  };
  return work(compute, [parameters] { return Numbers{numbers(parameters->front().p), numbers(parameters->back().p)}; });
}

/// a = b + s c on three arrays that together take so many bytes.
Work triad(Index bytes) {
  const auto n = static_cast<std::size_t>(bytes / 12);
  const auto arrays = std::make_shared<std::array<Values, 3>>();
  for (Values& array : *arrays) array.resize(n, 1.0f);
  const auto compute = [arrays, s = 0.0f, n]() mutable {
    s += 1e-3f;
    float* a = (*arrays)[0].data();
    const float *b = (*arrays)[1].data(), *c = (*arrays)[2].data();
    in_parallel(static_cast<Index>(n), [&](Index begin, Index end) {
#pragma omp simd
      for (Index i = begin; i < end; ++i) a[i] = b[i] + s * c[i];
    });
  };
  return work(compute, [arrays] { return Numbers{numbers((*arrays)[0])}; });
}

peers::Peer peer() {
  peers::Peer result;
  result.name = "hand";
  result.version = __VERSION__;
  result.set_threads = [](int count) { threads = count; };
  for (const peers::Operation& op : peers::operations()) {
    if (op.f64 || op.kind == Kind::tanh || op.kind == Kind::gelu_tanh) continue;
    result.workloads.push_back({op.name(), [op](const std::string&) { return operation(op); }, op.bytes()});
  }
  for (const peers::AdamUpdate& sizes : peers::kAdamUpdates)
    result.workloads.push_back({sizes.name(), [&sizes](const std::string&) { return adam(sizes); }, sizes.bytes()});
  for (const Index megabytes : {3, 16, 64, 1024}) {
    const Index bytes = megabytes << 20;
    result.workloads.push_back(
        {"triad/" + std::to_string(megabytes) + "MB", [bytes](const std::string&) { return triad(bytes); }, bytes});
  }
  return result;
}

}  // namespace

int main(int argc, char** argv) { return peers::run(argc, argv, peer); }
