// Which way of computing a small matrix product is the fastest, for m, n and k from 1 to 64: the kernel for small ones,
// the one that copies its operands into blocks, or the library; and which one `kernels::matmul` chooses. On one thread,
// with all in the first-level caches.
//
//   bench_matmul [--float64] [--all]
//
// writes, for each layout of the operands, how much slower what is chosen is than the best; and the products for which
// it is slower by more than a tenth (with --all: each product).
#include "kernels/kernels.hpp"

#include <cblas.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace k = adjoint::kernels;

namespace {

double seconds_per_round = 2e-4;

enum Way { small, packed, library, ways };
const char* const names[] = {"small", "packed", "library"};

template <class T>
class Product {
 public:
  Product(std::int64_t m, std::int64_t n, std::int64_t depth, bool transposed_a, bool transposed_b)
      : m_(m),
        n_(n),
        k_(depth),
        ta_(transposed_a),
        tb_(transposed_b),
        a_(at(m * depth)),
        b_(at(depth * n)),
        c_(at(m * n)),
        workspace_(at(k::kProductDepth * (k::kProductRows + 64))) {
    for (std::size_t i = 0; i < a_.size(); ++i) a_[i] = static_cast<T>(i % 7) - 3;
    for (std::size_t i = 0; i < b_.size(); ++i) b_[i] = static_cast<T>(i % 5) - 2;
    left_ = {a_.data(), ta_ ? 1 : k_, ta_ ? m_ : 1};
    right_ = {b_.data(), tb_ ? 1 : n_, tb_ ? k_ : 1};
  }

  bool is_possible(Way way) const { return way != small || k_ * n_ <= k::kSmallMatmul; }
  Way chosen() const {
    const adjoint::Dtype dtype = adjoint::dtype_of<T>();
    if (std::strcmp(k::matmul_library(dtype, m_, n_, k_, left_, right_), "own kernel") != 0) return library;
    return k::matmul_scratch(dtype, m_, n_, k_, left_, right_) > 0 ? packed : small;
  }
  void compute(Way way) {
    constexpr auto dtype = static_cast<std::size_t>(adjoint::dtype_of<T>());
    if (way == small) k::table().small_matmul[dtype](m_, n_, k_, left_, right_, c_.data(), false);
    else if (way == packed)
      k::table().packed_matmul[dtype](m_, n_, k_, left_, right_, c_.data(), n_, workspace_.data(), false);
    else call_library(a_.data(), b_.data(), c_.data());
  }
  /// Seconds for one product.
  double round(Way way) {
    using Clock = std::chrono::steady_clock;
    const auto elapsed = [](Clock::time_point since) {
      return std::chrono::duration<double>(Clock::now() - since).count();
    };
    std::int64_t count = 0, more = 1;
    const Clock::time_point start = Clock::now();
    for (double time = 0; time < seconds_per_round; time = elapsed(start)) {
      for (std::int64_t i = 0; i < more; ++i) compute(way);
      count += more;
      more = std::min<std::int64_t>(2 * more, 64);
    }
    return elapsed(start) / static_cast<double>(count);
  }

 private:
  static std::size_t at(std::int64_t index) { return static_cast<std::size_t>(index); }
  void call_library(const float* a, const float* b, float* c) {
    dnnl_sgemm(ta_ ? 'T' : 'N', tb_ ? 'T' : 'N', m_, n_, k_, 1, a, ta_ ? m_ : k_, b, tb_ ? k_ : n_, 0, c, n_);
  }
  void call_library(const double* a, const double* b, double* c) {
    const auto narrow = [](std::int64_t size) { return static_cast<int>(size); };
    cblas_dgemm(CblasRowMajor, ta_ ? CblasTrans : CblasNoTrans, tb_ ? CblasTrans : CblasNoTrans, narrow(m_), narrow(n_),
                narrow(k_), 1, a, narrow(ta_ ? m_ : k_), b, narrow(tb_ ? k_ : n_), 0, c, narrow(n_));
  }

  std::int64_t m_, n_, k_;
  bool ta_, tb_;
  std::vector<T> a_, b_, c_, workspace_;
  k::Matrix left_, right_;
};

template <class T>
void compare(const std::vector<std::int64_t>& sizes, bool all) {
  for (int layout = 0; layout < 4; ++layout) {
    int count = 0, best_is[ways] = {}, slower = 0;
    double sum = 0, worst = 1;
    std::string lines;
    for (const std::int64_t m : sizes)
      for (const std::int64_t n : sizes)
        for (const std::int64_t depth : sizes) {
          Product<T> product(m, n, depth, layout & 1, layout & 2);
          double time[ways] = {HUGE_VAL, HUGE_VAL, HUGE_VAL};
          for (int round = 0; round < 4; ++round)  // in turn, so that all see the same of what else the machine does
            for (const Way way : {small, packed, library})
              if (product.is_possible(way)) time[way] = std::min(time[way], product.round(way));
          const auto best = static_cast<Way>(std::min_element(time, time + ways) - time);
          const Way chosen = product.chosen();
          const double ratio = time[chosen] / time[best];
          ++count, ++best_is[best], slower += ratio > 1.1;
          sum += std::log(ratio), worst = std::max(worst, ratio);
          if (!all && ratio <= 1.1) continue;
          char line[160];
          std::snprintf(line, sizeof line, "  %2d x %2d x %2d: small %8.1f, packed %8.1f, library %8.1f ns; %s, %.2f\n",
                        static_cast<int>(m), static_cast<int>(n), static_cast<int>(depth), time[small] * 1e9,
                        time[packed] * 1e9, time[library] * 1e9, names[chosen], ratio);
          lines += line;
        }
    std::printf(
        "%s, a %s, b %s: %d products m x n x k; best: small %d, packed %d, library %d; chosen: %.3f of the best "
        "(geometric mean), at most %.2f, by more than a tenth %d\n%s",
        sizeof(T) == 4 ? "float32" : "float64", layout & 1 ? "transposed" : "by rows",
        layout & 2 ? "transposed" : "by rows", count, best_is[small], best_is[packed], best_is[library],
        std::exp(sum / count), worst, slower, lines.c_str());
    std::fflush(stdout);
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<std::int64_t> sizes = {1, 2, 3, 4, 7, 8, 13, 16, 32, 33, 50, 64};
  bool all = false, doubles = false;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--all") {
      all = true;
    } else if (argument == "--float64") {
      doubles = true;
    } else if (argument.rfind("--benchmark_min_time=", 0) == 0) {  // to see that it works
      sizes = {1, 13, 64};
      seconds_per_round = 1e-6;
    } else {
      std::fprintf(stderr, "usage: %s [--float64] [--all]\n", arguments[0]);
      return 1;
    }
  }
  omp_set_num_threads(1);
  doubles ? compare<double>(sizes, all) : compare<float>(sizes, all);
}
