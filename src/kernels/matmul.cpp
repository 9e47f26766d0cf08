#include "kernels/kernels.hpp"

#include <cblas.h>
#include <oneapi/dnnl/dnnl.h>

#include <omp.h>
#include <strings.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstring>
#include <iterator>

extern "C" [[gnu::weak]] char* openblas_get_corename();  // null where the CBLAS is another one

namespace adjoint::kernels {
namespace {

// How a BLAS reads a matrix: rows of `leading` elements, of the matrix itself or of its transpose.
struct Layout {
  bool readable, transposed;
  std::int64_t leading;
};

Layout layout(std::int64_t rows, std::int64_t columns, const Matrix& x) {
  // With a single row (column) the stride between rows (columns) means nothing.
  const std::int64_t row = rows > 1 ? x.row_stride : columns, column = columns > 1 ? x.column_stride : rows;
  if ((x.column_stride == 1 || columns == 1) && row >= columns) return {true, false, row};
  if ((x.row_stride == 1 || rows == 1) && column >= rows) return {true, true, column};
  return {false, false, columns};
}

// Whether calling a library would cost more than the product does: 130 ns by oneDNN for vectors, 250 ns else; by
// OpenBLAS 100 ns. The limits are those of bench_matmul on one Zen 3 core.
bool is_small(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& b) {
  constexpr std::int64_t most = 64 * 64 * 64;
  if (m > most || n > most || k > most || m * n * k > most || k * n > kSmallMatmul) return false;
  const bool by_onednn = dtype == float32;
  if (n == 1) return by_onednn ? m <= 24 && m * k <= 400 : m * k <= 4096;
  if (b.column_stride == 1) return true;
  // The right operand is rearranged first, which must pay.
  return k * n <= (m == 1 ? 128 : by_onednn ? 400 : 200) || (m >= 8 && m * n * k <= (by_onednn ? 8192 : 16384));
}

// Whether a library reads many rows of which each lies a multiple of half a page behind the one before: they then share
// a few places of the first-level cache. oneDNN 2.6 without AVX-512 copies such operands only when the other one is
// large, too; on one Zen 3 core, 256x1024x1024 float32: 45 Gflop/s, ours 82, and 85 where neither operand lies so. With
// few columns of a, of b only whole pages matter; 1024x256x32: 48, ours 72.
bool shares_cache_lines(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k, const Layout& a, const Layout& b) {
  static const bool has_avx2_at_most = std::strcmp(table().name, "avx2") == 0 && !table("avx512");
  constexpr std::int64_t page = 4096;
  if (!has_avx2_at_most || dtype != float32 || m < 16 || n < 16 || k < 32) return false;
  const auto lies_at = [](std::int64_t leading, std::int64_t multiple) {
    return leading * std::int64_t{sizeof(float)} % multiple == 0;
  };
  return (a.transposed && n < 512 && lies_at(a.leading, page / 2)) ||
         (!b.transposed && m < 512 && lies_at(b.leading, k < 64 ? page : page / 2));
}

// Whether OpenBLAS has taken kernels of narrower vectors than the processor has, as it does where it does not know it:
// 0.3.21 takes an Emerald Rapids for a processor of 2004. float64 there, 256x256x256: 16 Gflop/s, ours 68, which is
// 0.95 of what its kernels for AVX-512 do.
bool is_behind(const char* core, const char* isa) {
  static const char* const without_fma[] = {"generic",    "unknown", "Katmai", "Coppermine", "Northwood",
                                            "Prescott",   "Banias",  "Atom",   "Core2",      "Penryn",
                                            "Dunnington", "Nehalem", "Athlon", "Opteron",    "Opteron_SSE3",
                                            "Barcelona",  "Bobcat",  "Nano",   "Sandybridge"};
  static const char* const without_avx512[] = {"Bulldozer", "Piledriver", "Steamroller", "Excavator", "Haswell", "Zen"};
  const auto is_core = [&](const char* name) { return strcasecmp(core, name) == 0; };
  if (std::strcmp(isa, "baseline") == 0) return false;
  return std::any_of(std::begin(without_fma), std::end(without_fma), is_core) ||
         (std::strcmp(isa, "avx512") == 0 &&
          std::any_of(std::begin(without_avx512), std::end(without_avx512), is_core));
}

// Whether we compute instead for that reason. A product that is little more than reading its operands stays the
// library's: ours would copy them first.
bool is_left_to_us(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k) {
  static const bool behind = openblas_get_corename && is_behind(openblas_get_corename(), table().name);
  return dtype == float64 && behind && m >= 4 && n >= 4 && k >= 4;
}

enum class Way { small, packed, library };
Way way(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a, const Matrix& b) {
  if (is_small(dtype, m, n, k, b)) return Way::small;
  const Layout la = layout(m, k, a), lb = layout(k, n, b);
  const bool is_readable = la.readable && lb.readable;
  const bool is_ours = !is_readable || is_left_to_us(dtype, m, n, k) || shares_cache_lines(dtype, m, n, k, la, lb);
  return is_ours ? Way::packed : Way::library;
}

// The parts that a product by packed_matmul is cut into, one for each thread: of rows or of columns, whichever are
// more, since the other operand is copied by each.
struct Parts {
  std::int64_t count, rows, columns;
};
Parts parts_of(std::int64_t m, std::int64_t n, std::int64_t k) {
  constexpr std::int64_t rows = 12, columns = 32;
  constexpr double worth_a_thread = 1 << 20;
  const std::int64_t most = omp_in_parallel() ? 1 : omp_get_max_threads();
  const auto cut = [&](std::int64_t size, std::int64_t unit) {
    const std::int64_t units = (size + unit - 1) / unit;
    const double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / worth_a_thread;
    const auto parts = static_cast<std::int64_t>(std::clamp(work, 1.0, static_cast<double>(std::min(most, units))));
    return (units + parts - 1) / parts * unit;
  };
  if (most == 1) return {1, m, n};
  const std::int64_t part = n >= m ? cut(n, columns) : cut(m, rows);
  return n >= m ? Parts{(n + part - 1) / part, m, part} : Parts{(m + part - 1) / part, part, n};
}
std::size_t packed_workspace(Dtype dtype, std::int64_t n, std::int64_t k) {
  const std::int64_t columns = std::min(kProductColumns, (n + 31) / 32 * 32);
  return static_cast<std::size_t>((kProductRows + columns) * std::min(k, kProductDepth)) * size_of(dtype);
}

template <class T>
void multiply_plain(std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a, const Matrix& b, T* c, bool add) {
  constexpr std::int64_t strip = 64;
  const T* pa = static_cast<const T*>(a.data);
  const T* pb = static_cast<const T*>(b.data);
  for (std::int64_t i = 0; i < m; ++i)
    for (std::int64_t j0 = 0; j0 < n; j0 += strip) {
      const std::int64_t columns = std::min(strip, n - j0);
      T* const row = c + i * n + j0;
      T sums[strip] = {};
      for (std::int64_t p = 0; p < k; ++p) {
        const T factor = pa[i * a.row_stride + p * a.column_stride];
        const T* other = pb + p * b.row_stride + j0 * b.column_stride;
        for (std::int64_t j = 0; j < columns; ++j) sums[j] += factor * other[j * b.column_stride];
      }
      for (std::int64_t j = 0; j < columns; ++j) row[j] = add ? row[j] + sums[j] : sums[j];
    }
}

bool call_library(std::int64_t m, std::int64_t n, std::int64_t k, const float* a, const Layout& la, const float* b,
                  const Layout& lb, float* c, bool add) {
  return dnnl_sgemm(la.transposed ? 'T' : 'N', lb.transposed ? 'T' : 'N', m, n, k, 1.0f, a, la.leading, b, lb.leading,
                    add ? 1.0f : 0.0f, c, n) == dnnl_success;
}

bool call_library(std::int64_t m, std::int64_t n, std::int64_t k, const double* a, const Layout& la, const double* b,
                  const Layout& lb, double* c, bool add) {
  for (std::int64_t size : {m, n, k, la.leading, lb.leading})
    if (size > INT_MAX) return false;
  cblas_dgemm(CblasRowMajor, la.transposed ? CblasTrans : CblasNoTrans, lb.transposed ? CblasTrans : CblasNoTrans,
              static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), 1.0, a, static_cast<int>(la.leading), b,
              static_cast<int>(lb.leading), add ? 1.0 : 0.0, c, static_cast<int>(n));
  return true;
}

template <class T>
void call_library_or_plain(std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a, const Matrix& b, T* c,
                           bool add) {
  const T *pa = static_cast<const T*>(a.data), *pb = static_cast<const T*>(b.data);
  // It refuses when it lacks memory or when a size does not fit its integers.
  if (!call_library(m, n, k, pa, layout(m, k, a), pb, layout(k, n, b), c, add)) multiply_plain(m, n, k, a, b, c, add);
}

void multiply_packed(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a, const Matrix& b,
                     void* c, void* scratch, bool add) {
  const auto multiply = table().packed_matmul[static_cast<int>(dtype)];
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  const Parts parts = parts_of(m, n, k);
  const std::size_t workspace = packed_workspace(dtype, parts.columns, k);
  const auto run = [&](std::int64_t part) {
    const std::int64_t row = parts.rows < m ? part * parts.rows : 0,
                       column = parts.columns < n ? part * parts.columns : 0;
    const Matrix left{static_cast<const std::byte*>(a.data) + row * a.row_stride * element, a.row_stride,
                      a.column_stride};
    const Matrix right{static_cast<const std::byte*>(b.data) + column * b.column_stride * element, b.row_stride,
                       b.column_stride};
    multiply(std::min(parts.rows, m - row), std::min(parts.columns, n - column), k, left, right,
             static_cast<std::byte*>(c) + (row * n + column) * element, n,
             static_cast<std::byte*>(scratch) + static_cast<std::size_t>(part) * workspace, add);
  };
  if (parts.count == 1) return run(0);
  const auto threads = static_cast<int>(parts.count);
#pragma omp parallel for schedule(static) num_threads(threads)
  for (std::int64_t part = 0; part < parts.count; ++part) run(part);
}

// Whether whoever computes a product adds it to c with the bits of adding it afterwards: when it sums up all of k
// before it looks at c. oneDNN 2.6 does with up to 96 columns of a, but for vectors.
bool adds_to_result(Way way, Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k) {
  switch (way) {
    case Way::small:
      return true;
    case Way::packed:
      return k <= kProductDepth;
    case Way::library:
      break;
  }
  return dtype == float32 && m >= 16 && n >= 16 && k <= 64;
}

// c += product, of n elements.
void add_product(Dtype dtype, std::int64_t n, const void* product, void* c) {
  constexpr std::int64_t grain = 1 << 15;
  const auto add = table().accumulate[static_cast<int>(Reduce::sum)][static_cast<int>(dtype)];
  const std::int64_t chunks = (n + grain - 1) / grain, bytes = grain * static_cast<std::int64_t>(size_of(dtype));
  const auto run = [&](std::int64_t chunk) {
    add(std::min(grain, n - chunk * grain), static_cast<const std::byte*>(product) + chunk * bytes,
        static_cast<std::byte*>(c) + chunk * bytes);
  };
  const std::int64_t threads = omp_in_parallel() ? 1 : std::min<std::int64_t>(chunks, omp_get_max_threads());
  if (threads > 1) {
#pragma omp parallel for schedule(static) num_threads(static_cast <int>(threads))
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) run(chunk);
  } else {
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) run(chunk);
  }
}

std::size_t workspace_of(Way way, Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k) {
  if (way != Way::packed) return 0;
  const Parts parts = parts_of(m, n, k);
  return packed_workspace(dtype, parts.columns, k) * static_cast<std::size_t>(parts.count);
}

}  // namespace

std::size_t matmul_scratch(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a,
                           const Matrix& b, bool add) noexcept {
  const Way chosen = way(dtype, m, n, k, a, b);
  const bool apart = add && !adds_to_result(chosen, dtype, m, n, k);
  return workspace_of(chosen, dtype, m, n, k) + (apart ? static_cast<std::size_t>(m * n) * size_of(dtype) : 0);
}

const char* matmul_library(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a,
                           const Matrix& b) noexcept {
  if (way(dtype, m, n, k, a, b) != Way::library) return "own kernel";
  return dtype == float32 ? "oneDNN" : "CBLAS";
}

void matmul(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a, const Matrix& b, void* c,
            void* scratch, bool add) {
  if (m == 0 || n == 0) return;
  if (k == 0) {
    std::memset(c, 0, static_cast<std::size_t>(m * n) * size_of(dtype));
    return;
  }
  const Way chosen = way(dtype, m, n, k, a, b);
  if (add && !adds_to_result(chosen, dtype, m, n, k)) {
    void* const product = static_cast<std::byte*>(scratch) + workspace_of(chosen, dtype, m, n, k);
    matmul(dtype, m, n, k, a, b, product, scratch);
    return add_product(dtype, m * n, product, c);
  }
  if (chosen == Way::small) return table().small_matmul[static_cast<int>(dtype)](m, n, k, a, b, c, add);
  if (chosen == Way::packed && scratch) return multiply_packed(dtype, m, n, k, a, b, c, scratch, add);
  if (dtype == float32) return call_library_or_plain(m, n, k, a, b, static_cast<float*>(c), add);
  call_library_or_plain(m, n, k, a, b, static_cast<double*>(c), add);
}

}  // namespace adjoint::kernels
