// The kernels: pointers, sizes and strides. Nothing here knows of graphs, tensors, threads or allocation.
//
// Elementwise work goes tile by tile: a tile is at most kTile elements, contiguous in memory. An input that is not
// contiguous is first loaded into a tile buffer (`load`), so that a chain of kernels runs over buffers that stay in
// the first-level cache, whatever the strides of its inputs. Each kernel is compiled once per instruction set
// (baseline, AVX2+FMA, AVX-512) in a translation unit of its own; `table()` chooses at first use by what the processor
// has.
#pragma once

#include <adjoint/dtype.hpp>
#include <adjoint/shape.hpp>

#include <cstddef>
#include <cstdint>

namespace adjoint::kernels {

/// Elements of a tile.
inline constexpr std::int64_t kTile = 512;

// clang-format off
/// Elementwise functions. Unless said otherwise inputs and output have the same dtype.
enum class Tile : std::uint8_t {
  // one operand, float32/float64 (neg, abs, sign also integers; floor, ceil, round are the identity on integers)
  neg, abs, sign, exp, expm1, log, log2, log1p, sqrt, rsqrt, sin, cos, tan, asin, acos, atan, sinh, cosh, tanh, erf,
  lgamma, digamma, sigmoid, relu, softplus, floor, ceil, round,
  // two operands, every dtype but bool (add, mul, maximum and minimum also bool: or, and, or, and)
  // (div and atan2: floating only; polygamma too, of a whole number >= 1; maximum and minimum hand on NaN)
  add, sub, mul, div, atan2, pow, polygamma, maximum, minimum,
  // two operands of any dtype, output bool
  eq, ne, lt, le, gt, ge,
  // bool to bool
  logical_and, logical_or, logical_xor, logical_not,
  // floating to bool
  isnan, isinf, isfinite,
  // three operands: bool, T, T
  where,
  count_
};
// clang-format on
inline constexpr int kTileCount = static_cast<int>(Tile::count_);

/// Computes `n <= kTile` elements; inputs and output are contiguous, of any alignment. `output` may be the same
/// pointer as one of the inputs when its elements are not wider than that input's.
/// Element i depends on the i-th inputs alone, and on neither n nor i: cutting work differently gives the same bits.
using TileKernel = void (*)(std::int64_t n, const void* const* inputs, void* output);

/// A strided array, strides in elements (0 for a broadcast dim, negative for a flipped one).
struct View {
  void* data;
  Strides strides;
};

/// What a reduction computes. any, all: bool to bool. argmax, argmin: T to int64, the first of equals, NaN wins.
/// max, min: hand on NaN. sum: floating dtypes and int64.
enum class Reduce : std::uint8_t { sum, max, min, any, all, argmax, argmin, count_ };
inline constexpr int kReduceCount = static_cast<int>(Reduce::count_);

/// uniform: [0, 1), float32 with 24 bits, float64 with 53. normal: Box-Muller. integer: [low, high) as int64, by
/// multiply-high of 64 random bits (bias below 2^-32 for ranges below 2^32).
enum class Random : std::uint8_t { uniform, normal, integer, count_ };
inline constexpr int kRandomCount = static_cast<int>(Random::count_);

/// A matrix of a product: element (i, j) at data[i * row_stride + j * column_stride]; any strides.
struct Matrix {
  const void* data;
  std::int64_t row_stride, column_stride;
};
/// The most elements that the right operand of Table::small_matmul may have.
inline constexpr std::int64_t kSmallMatmul = 4096;
/// What Table::packed_matmul copies at a time: blocks of so many rows of a, columns of b, and of the sum that they
/// share.
inline constexpr std::int64_t kProductRows = 96, kProductColumns = 1024, kProductDepth = 256;

struct Links;
/// One instruction set's kernels; a null entry means: not defined for this dtype.
struct Table {
  const char* name;                          // "baseline", "avx2", "avx512"
  TileKernel tile[kTileCount][kDtypeCount];  // by the dtype of the operands (of the second one for `where`)
  /// Functions of two operands whose first ([0]) or second ([1]) is a single element for all of the others, and `where`
  /// with such a second or third: the same bits as for an operand filled with it. Null for rare ones.
  TileKernel tile_with_single[2][kTileCount][kDtypeCount];
  TileKernel cast[kDtypeCount]
                 [kDtypeCount];  // [from][to]; to bool: x != 0; float to integer truncates, saturating, NaN to 0
  /// Writes an element, of 1, 4 or 8 bytes (by its index 0, 1, 2), n times.
  void (*fill[3])(std::int64_t n, const void* element, void* output);
  /// Reduces each of `rows` runs of `n` contiguous elements, `row_stride` elements apart, into output[row]
  /// (n >= 1; sums by a tree that depends on n alone, at least as exact as blocked pairwise summation).
  void (*reduce_rows[kReduceCount][kDtypeCount])(std::int64_t rows, std::int64_t n, const void* input,
                                                 std::int64_t row_stride, void* output);
  /// accumulator[i] = op(accumulator[i], input[i]) for n contiguous elements; null for argmax and argmin.
  void (*accumulate[kReduceCount][kDtypeCount])(std::int64_t n, const void* input, void* accumulator);
  /// The same for `rows` runs that lie one after another, in their order. For few elements: sums stay in registers.
  void (*accumulate_rows[kReduceCount][kDtypeCount])(std::int64_t rows, std::int64_t n, const void* input,
                                                     void* accumulator);
  /// Where input[i] is above best[i], or the first NaN: best[i] = input[i], positions[i] = position. Reals.
  void (*keep_larger[kDtypeCount])(std::int64_t n, const void* input, std::int32_t position, void* best,
                                   std::int32_t* positions);
  /// What `random` below does, from position `start` = offset + first on.
  void (*random[kRandomCount][kDtypeCount])(std::uint64_t seed, std::uint64_t start, std::int64_t low,
                                            std::int64_t high, std::int64_t n, void* output);
  const Links& (*links)(Dtype dtype);  // below; float32 or float64
  /// `matmul` below for small products, without a library: float32 and float64, k * n <= kSmallMatmul.
  void (*small_matmul[kDtypeCount])(std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a, const Matrix& b,
                                    void* c, bool add);
  /// The same for any sizes and strides, with rows of c `c_step` elements apart. Each element's bits depend on its own
  /// row and column alone. `workspace` has at least kProductDepth * (kProductRows + n), n rounded up to multiples of 32
  /// and at most kProductColumns, elements. `add`: only with k <= kProductDepth.
  void (*packed_matmul[kDtypeCount])(std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a, const Matrix& b,
                                     void* c, std::int64_t c_step, void* workspace, bool add);
};
const Table& table() noexcept;

// -- chains: functions of float32 one after another, on strips of elements that stay in vector registers -------------

/// One function of a chain. It takes the strip that the one before it made, or operands in memory, and hands on its
/// result; some write it to memory too. The masks are applied to a strip's offset in bytes of float32: 0 for a buffer
/// of one strip, which each strip overwrites, else -1. A bool is a byte in memory, and in the strip all bits of its
/// element.
struct Link {
  void (*function)();
  const std::byte* at[3];
  std::byte* to;
  std::int64_t mask[3], mask_to;
};
/// Where an operand is: in the strip, in memory, or a single element in memory for all.
enum class Source : std::uint8_t { strip, memory, single, count_ };
inline constexpr int kSourceCount = static_cast<int>(Source::count_);
inline constexpr int kPairTiles = 4;  // add, sub, mul and div
/// The alignment of what goes past the caches.
inline constexpr std::uintptr_t kStreamed = 64;
/// How rows of at least kLongRow elements are reduced: in blocks of kLaneBlock, each in lanes of kLaneBytes, to which
/// kGroupBytes at a time are added.
inline constexpr std::int64_t kLongRow = 128, kLaneBlock = 1024, kLaneBytes = 64, kGroupBytes = 256;
/// What the lanes of a row of n elements take: a line for each block and for what is left, and one before them.
constexpr std::int64_t lanes_bytes(std::int64_t n) { return (n / kLaneBlock + 2) * kLaneBytes; }
/// The most elements of a strip.
inline constexpr std::int64_t kLongestStrip = 64;
/// One instruction set's links for a dtype; null where there is none. They give the bits that the kernels of Table
/// give.
struct Links {
  std::int64_t strip;  // elements: a divisor of kLongestStrip
  /// Calls a chain, which ends with `last`, for elements [begin, end), a multiple of `strip`.
  void (*run)(std::int64_t begin, std::int64_t end, const Link* links);
  void (*last)();
  void (*fetch)();     // brings its operand into the cache
  void (*load[2])();   // brings its operand into the strip; [1]: of bools
  void (*store[2])();  // writes the strip to memory
  void (*stream)();    // as store[0], past the caches, to where alignment is kStreamed
  void (*drain)();     // what has been streamed is in memory for other threads, too
  /// By where the operands are. [1]: written to memory. Functions of one operand have it in the strip, both operands
  /// count as there, and are not written. Bools
  /// are comparisons' and tests' results, and logical functions' operands.
  void (*tile[kTileCount][kSourceCount][kSourceCount][2])();
  void (*where[kSourceCount][kSourceCount][kSourceCount][2])();  // the condition is no single element
  void (*from_bool[2])();                                        // a cast, as a function of one operand
  void (*scatter[2])();  // to an element of the row: `at[0]` points to its index, an int64, `at[1]` to what is added
  /// Two functions of two operands, of which the second alone reads what the first makes: by these functions, from
  /// Tile::add on, whether that is the second operand, and where the first one's operands and the other one of the
  /// second are. Where operands may change places, the first of them is the one with the smaller Source, or what is
  /// made.
  void (*pair[kPairTiles][kPairTiles][2][kSourceCount][kSourceCount][kSourceCount][2])();
  /// For rows of n >= kLongRow elements, of which a chain with such a link takes whole groups. What was in the strip
  /// before is handed on, but that link[1] hands on what it reads.
  struct Reduction {
    void (*link[2])();  // of the strip or what is in memory: adds to lanes, which `to` points to, of whole groups
    void (*pair[kPairTiles][kSourceCount][kSourceCount])();  // of a function's results, which nobody else reads
    /// Of a row of n elements: lanes_bytes(n), aligned to kLaneBytes.
    void (*start)(std::int64_t n, void* lanes);
    /// Adds elements [done, n), fewer than kGroupBytes of them.
    void (*add_rest)(std::int64_t n, std::int64_t done, const void* rest, void* lanes);
    void (*finish)(std::int64_t n, void* lanes, void* output);
    void (*column[2][2])();  // adds to a column for each element, which `to` points to; [1]: begins with the strip
  } reduce[kReduceCount];
  /// Functions of single numbers, one after another: of one or two operands, by whether each is in memory, where the
  /// link's `at` points, or what the one before made. `to` is given the result.
  void (*number[kTileCount][2][2])();
  void (*last_number)();
  void (*run_numbers)(const Link* links);  // which end with last_number
};

/// The table of one instruction set by its name, or null where this processor (or this build) lacks it.
const Table* table(const char* name) noexcept;

/// Copies the elements with row-major positions [first, first + n) of a strided array into contiguous memory.
/// `element` is the element's size in bytes: 1, 4 or 8.
void load(std::size_t element, const Shape& shape, const View& source, std::int64_t first, std::int64_t n,
          void* destination) noexcept;

// -- indexing; an index is checked as it is read: the first bad one is returned in *bad (else untouched), as a
// row-major
//    position in `index`, and nothing after it is done -------------------------------------------------------------

/// output[i][j][k] = input[i][index[i][j][k]][k] along dim `dim`; output is row-major of shape `index_shape`.
/// Other dims of index_shape are no larger than input's. Returns false for an index outside
/// [0, size). The index has the dtype int64 or int32.
bool gather(std::size_t element, int dim, const Shape& input_shape, const View& input, Dtype index_dtype,
            const Shape& index_shape, const View& index, void* output, std::int64_t* bad) noexcept;
/// output[i][index[i][j][k]][k] += source[i][j][k], in row-major order of index; output is row-major of output_shape.
/// float32, float64, int64 and int32.
bool scatter_add(Dtype dtype, int dim, const Shape& output_shape, void* output, Dtype index_dtype,
                 const Shape& index_shape, const View& index, const View& source, std::int64_t* bad) noexcept;

/// The positions of the k (1 <= k <= n) smallest of n elements, `stride` elements apart, in ascending order; or of the
/// largest, in descending order. Of equals the first comes first; NaN are equal, and the largest. `scratch` has
/// `order_scratch` bytes, aligned to 16.
void order(Dtype dtype, std::int64_t n, std::int64_t k, bool descending, const void* input, std::int64_t stride,
           std::int64_t* output, std::int64_t output_stride, void* scratch) noexcept;
std::size_t order_scratch(Dtype dtype, std::int64_t n) noexcept;

// -- scans ----------------------------------------------------------------------------------------------------------

/// output[i][j] = input[0][j] + ... + input[i][j] for `n` i's, `step` elements apart in the input and `output_step` in
/// the output, and `lines` j's, `line_step` apart in the input and 1 in the output. float32, float64 and int64.
void cumsum(Dtype dtype, std::int64_t n, std::int64_t lines, const void* input, std::int64_t step,
            std::int64_t line_step, void* output, std::int64_t output_step) noexcept;

// -- random numbers: Philox 4x32-10 (Salmon et al. 2011); counter-based: element i of a tensor is a function of
//    (seed, offset + i) alone --------------------------------------------------------------------------------------

/// Writes elements [first, first + n) of the stream.
void random(Random kind, Dtype dtype, std::uint64_t seed, std::uint64_t offset, std::int64_t low, std::int64_t high,
            std::int64_t first, std::int64_t n, void* output) noexcept;
/// output[i] = start + (first + i) * step, for n elements. Computed in double for floating dtypes, in int64 otherwise.
void iota(Dtype dtype, double start, double step, std::int64_t istart, std::int64_t istep, std::int64_t first,
          std::int64_t n, void* output) noexcept;
/// A permutation of 0..n-1 (Fisher-Yates from the same stream), as int64.
void permutation(std::uint64_t seed, std::uint64_t offset, std::int64_t n, std::int64_t* output) noexcept;

// -- matrix products ------------------------------------------------------------------------------------------------

/// c (row-major m x n, leading dimension n) = a (m x k) * b (k x n), float32 or float64; k = 0 gives zeros. Operands
/// are read where they are, whatever their strides. By oneDNN (dnnl_sgemm, float32), CBLAS (float64), or kernels of
/// ours, on the caller's OpenMP team. `scratch` has `matmul_scratch` bytes; without it a library is called, which must
/// be able to read both operands: by rows or by columns. With `add` (then k > 0, and scratch there must be) c + a * b,
/// the product complete before it is added: the same bits as of both apart.
void matmul(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a, const Matrix& b, void* c,
            void* scratch, bool add = false);
std::size_t matmul_scratch(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a,
                           const Matrix& b, bool add = false) noexcept;
/// Who computes it: "oneDNN", "CBLAS" or "own kernel".
const char* matmul_library(Dtype dtype, std::int64_t m, std::int64_t n, std::int64_t k, const Matrix& a,
                           const Matrix& b) noexcept;

// -- convolutions; activations lie channels-last, row-major [batch, height, width, channels], and weights row-major
//    [out, in / groups, kernel height, kernel width] ------------------------------------------------------------------

/// y[n, o, i, j] = sum over c, k, l of w[o, c, k, l] x[n, c, i * stride + k * dilation - padding, ..]: its sizes.
struct Convolution {
  std::int64_t batch, groups, in_channels, out_channels;
  std::int64_t in[2], out[2], kernel[2];  // height, width
  std::int64_t stride[2], padding[2], dilation[2];
};
/// The trilinear form <w * x, g> by each of its three arguments: y from x and w; x's adjoint from g and w; w's from x
/// and g.
enum class ConvolutionKind : std::uint8_t { forward, data, weight };

/// Computes one of them, in the order of the comment above, for sizes that are not 0; float32 and float64. `scratch` is
/// of `convolution_scratch` bytes, aligned to 64. float32 by oneDNN where it has an implementation; else by
/// matrix products on patches. Both on the caller's OpenMP team.
void convolution(ConvolutionKind kind, Dtype dtype, const Convolution& sizes, const void* a, const void* b,
                 void* result, void* scratch);
std::size_t convolution_scratch(ConvolutionKind kind, Dtype dtype, const Convolution& sizes);
/// Who computes it: "oneDNN", or "matrix products on patches".
const char* convolution_library(ConvolutionKind kind, Dtype dtype, const Convolution& sizes);

// -- pooling, channels-last as well ----------------------------------------------------------------------------------

/// The windows of one dim: elements [begin[i], end[i]) in steps of `step` for result i; never empty.
struct Windows {
  std::int64_t size, count, step;
  const std::int64_t* begin;
  const std::int64_t* end;
};
/// For images [first, last): the position, row * width + column, of the largest element of each window and channel (the
/// first of equals; NaN wins).
void largest_positions(Dtype dtype, std::int64_t first, std::int64_t last, std::int64_t channels, const Windows& rows,
                       const Windows& columns, const void* x, std::int32_t* positions) noexcept;
/// The sum of each window.
void sum_windows(Dtype dtype, std::int64_t first, std::int64_t last, std::int64_t channels, const Windows& rows,
                 const Windows& columns, const void* x, void* sums) noexcept;
/// Its transpose: each element the sum over the windows that it lies in.
void spread_windows(Dtype dtype, std::int64_t first, std::int64_t last, std::int64_t channels, const Windows& rows,
                    const Windows& columns, const void* sums, void* x) noexcept;

}  // namespace adjoint::kernels
