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

float largest(const float* x, Index n) {
  float result = -std::numeric_limits<float>::infinity();
#pragma omp simd reduction(max : result)
  for (Index i = 0; i < n; ++i) result = result > x[i] ? result : x[i];
  return result;
}

/// y = exp(x - max x); returns its sum.
float exponentials(const float* x, float* y, Index n) {
  const float maximum = largest(x, n);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < n; ++i) sum += y[i] = exp_of(x[i] - maximum);
  return sum;
}

void softmax_row(const float* x, float* y, Index n) {
  const float factor = 1 / exponentials(x, y, n);
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] *= factor;
}

void softmax_row_both(const float* x, const float* g, float* y, float* dx, Index n) {
  const float factor = 1 / exponentials(x, y, n);
  float dot = 0;
#pragma omp simd reduction(+ : dot)
  for (Index i = 0; i < n; ++i) {
    y[i] *= factor;
    dot += y[i] * g[i];
  }
#pragma omp simd
  for (Index i = 0; i < n; ++i) dx[i] = y[i] * (g[i] - dot);
}

struct Moments {
  float mean, scale;  // and 1 / standard deviation
};
Moments moments(const float* x, Index n) {
  float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < n; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(n);
#pragma omp simd reduction(+ : squares)
  for (Index i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  return {mean, 1 / std::sqrt(squares / static_cast<float>(n) + 1e-5f)};
}

void layer_norm_row(const float* x, const float* weight, const float* bias, float* y, Index n) {
  const auto [mean, scale] = moments(x, n);
#pragma omp simd
  for (Index i = 0; i < n; ++i) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

void layer_norm_row_both(const float* x, const float* weight, const float* bias, const float* g, float* y, float* dx,
                         float* dweight, float* dbias, Index n) {
  const auto [mean, scale] = moments(x, n);
  float sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
  for (Index i = 0; i < n; ++i) {
    const float normal = (x[i] - mean) * scale, weighted = g[i] * weight[i];
    y[i] = normal * weight[i] + bias[i];
    dweight[i] += g[i] * normal;
    dbias[i] += g[i];
    sum += weighted;
    dot += weighted * normal;
  }
  sum /= static_cast<float>(n), dot /= static_cast<float>(n);
#pragma omp simd
  for (Index i = 0; i < n; ++i) dx[i] = scale * (g[i] * weight[i] - sum - (x[i] - mean) * scale * dot);
}

float cross_entropy_row(const float* x, Index target, Index n) {
  const float maximum = largest(x, n);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < n; ++i) sum += exp_of(x[i] - maximum);
  return std::log(sum) - (x[target] - maximum);
}

/// `share` is what the row's loss counts for.
float cross_entropy_row_both(const float* x, Index target, float share, float* dx, Index n) {
  const float maximum = largest(x, n), sum = exponentials(x, dx, n), factor = share / sum;
#pragma omp simd
  for (Index i = 0; i < n; ++i) dx[i] *= factor;
  dx[target] -= share;
  return std::log(sum) - (x[target] - maximum);
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
