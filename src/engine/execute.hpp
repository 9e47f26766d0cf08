// How each family's nodes are computed. An operation names one of these functions; what they need beside the node is
// its `kernel`, and the attributes declared here.
#pragma once

#include "core/node.hpp"
#include "engine/memory_order.hpp"
#include "kernels/kernels.hpp"

namespace adjoint::detail {

/// Whether a node's result, of these strides, may be written over input i: it lies so, can be written to, and nobody else
/// will read it.
bool may_be_donated(const Node& node, int i, const Strides& strides);

// -- elementwise ------------------------------------------------------------------------------------------------------

/// kernel: a kernels::Tile. Inputs broadcast to the node's shape and have one dtype (but for the condition of `where`).
void execute_elementwise(Node& node);
void execute_cast(Node& node);

// -- reductions -------------------------------------------------------------------------------------------------------

struct ReduceAttributes {
  std::uint32_t dims;  // bit i: dim i is reduced
  bool keepdim;
};
/// kernel: a kernels::Reduce.
void execute_reduction(Node& node);
/// Columns are added up over this many rows at a time: blocked summation, and work for threads.
inline constexpr std::int64_t kColumnRows = 64;
/// The order in which the sums of so many blocks become that of the first: calls add(from, to), pairwise.
template <class Add>
void add_pairwise(std::int64_t blocks, const Add& add) {
  for (std::int64_t step = 1; step < blocks; step *= 2)
    for (std::int64_t block = 0; block + step < blocks; block += 2 * step) add(block + step, block);
}
/// Fewer columns than this are rather copied: a kernel is called for each row of them.
inline constexpr std::int64_t kFewestColumns = 4;
/// Whether a row of so many elements, of many that are reduced to one value, is reduced by itself first.
inline bool is_row_of_many(std::int64_t length) noexcept { return length >= 16 && length <= 1 << 16; }
/// Then, the reduction of those rows' results, of which each is one of `columns` that lie row by row.
void reduce_results_of_rows(const Node& node, std::int64_t rows, std::int64_t columns, const std::byte* results);

/// The input's value as it is.
void execute_alias(Node& node);
/// The same of the first input; the second only has to be computed before.
void execute_after(Node& node);

// -- movement: the result reads its input's storage through other strides ---------------------------------------------

void execute_reshape(Node& node);  // copies when no strides will do
void execute_broadcast(Node& node);
struct PermuteAttributes {
  std::int8_t dims[kMaxRank];
};
void execute_permute(Node& node);
struct SliceAttributes {
  std::int64_t dim, start, step;
};
void execute_slice(Node& node);
Strides strides_of_slice(const Node& node);  // in its computed input; a copy lies in the same order
/// The transpose of a slice: zeros, with the input at the slice's positions.
void execute_unslice(Node& node);
struct FlipAttributes {
  std::uint32_t dims;
};
void execute_flip(Node& node);
struct CatAttributes {
  std::int64_t dim;
};
void execute_cat(Node& node);
/// All inputs in one dim, each row-major.
void execute_join(Node& node);
/// n elements of that, from the given one of an input on.
void load_joined(const Node& node, int input, std::int64_t first, std::int64_t n, std::byte* to);
/// Whether a computed value is a small part of the memory that it keeps alive.
bool is_small_part(const Node& node) noexcept;
/// Whether a reshape or a slice copies its computed input, instead of showing it. False for others.
bool is_copied(const Node& node);
/// Whether a node's value is its computed input's, seen in its or another way.
bool shows_input(const Node& node);

// -- indexing ---------------------------------------------------------------------------------------------------------

struct IndexAttributes {
  std::int64_t dim;
};
void execute_gather(Node& node);
void execute_scatter_add(Node& node);
struct CheckAttributes {
  std::int64_t low, high;
  const char* what;
};
void execute_checked_index(Node& node);
struct PositionAttributes {
  const char* operation;  // for the error
  std::int64_t dim, size;
  bool from_end;  // whether negative indices, from the end, are allowed
};
/// Indices into a dim, of its size, counted from the front.
void execute_positions(Node& node);
/// For each number below the result's size, the last place in the input at which it stands, or -1.
void execute_last_at(Node& node);
struct OrderAttributes {
  std::int64_t dim;
  bool descending;
};
/// The positions, along a dim, of as many elements as the result has there, in order.
void execute_order(Node& node);

// -- scans ------------------------------------------------------------------------------------------------------------

struct CumsumAttributes {
  std::int64_t dim;
};
void execute_cumsum(Node& node);

// -- from nothing -----------------------------------------------------------------------------------------------------

struct RandomAttributes {
  std::uint64_t seed, offset;
  std::int64_t low, high;
};
/// kernel: a kernels::Random.
void execute_random(Node& node);
void execute_permutation(Node& node);
struct IotaAttributes {
  double start, step;
  std::int64_t integer_start, integer_step;
};
void execute_iota(Node& node);

// -- contractions -----------------------------------------------------------------------------------------------------

/// [b.., m, k] x [b.., k, n].
void execute_matmul(Node& node);
/// Computes a product, what shows it in other forms, and the sum that has it for its second operand, in the memory of
/// the first one. False, and nothing has changed, where that memory is not free, or is laid out otherwise.
bool execute_added_product(Node* const* nodes, int count);
/// The first of a value's matrices.
kernels::Matrix last_two_dims(const Node& node) noexcept;

// -- convolutions and pooling of [N, C, H, W] -------------------------------------------------------------------------

struct ConvolutionAttributes {
  std::int32_t stride[2], padding[2], dilation[2], groups;  // height, width
};
/// kernel: a kernels::ConvolutionKind. The sizes are those of the shapes.
void execute_convolution(Node& node);
kernels::Convolution convolution_sizes(const Node& node);

enum class Pooling : std::uint8_t { largest_positions, sum, spread };
struct PoolingAttributes {
  std::int32_t kernel[2], stride[2], padding[2], dilation[2];  // height, width
  bool adaptive;  // instead of these: windows that share the input among the results as evenly as they can
};
/// kernel: a Pooling.
void execute_pooling(Node& node);

// -- shared -----------------------------------------------------------------------------------------------------------

/// The strides with which an array of `shape` is read as one of `target`, to which it broadcasts.
Strides broadcast_strides(const Shape& shape, const Strides& strides, const Shape& target) noexcept;
/// Copies a strided array into row-major memory.
void copy_row_major(std::size_t element, const Shape& shape, const void* source, const Strides& strides,
                    void* destination);
/// The value of a computed node in row-major order; a copy made for it is kept with the node.
const void* row_major_data(Node& node);

}  // namespace adjoint::detail
