// Operations that move elements and change none. They cost no copy by themselves: a later operation reads its input
// through strides. Negative dims count from the end; dims out of range throw ShapeError.
#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint {

/// The same elements, in row-major order, in another shape; one size may be -1 and is then inferred. Throws ShapeError
/// when the number of elements differs.
ADJOINT_API Tensor reshape(const Tensor& x, const Shape& shape);
/// The same as reshape: there are no aliasing views.
ADJOINT_API Tensor view(const Tensor& x, const Shape& shape);
/// Joins the dims start_dim .. end_dim into one.
ADJOINT_API Tensor flatten(const Tensor& x, std::int64_t start_dim = 0, std::int64_t end_dim = -1);
/// A new dim of size 1 at `dim`, of -x.dim()-1 .. x.dim().
ADJOINT_API Tensor unsqueeze(const Tensor& x, std::int64_t dim);
/// Without the dims of size 1; or without the one named, if it has size 1.
ADJOINT_API Tensor squeeze(const Tensor& x);
ADJOINT_API Tensor squeeze(const Tensor& x, std::int64_t dim);
/// The dims in another order: result dim i is x's dim dims[i].
ADJOINT_API Tensor permute(const Tensor& x, const Dims& dims);
ADJOINT_API Tensor transpose(const Tensor& x, std::int64_t dim0, std::int64_t dim1);
/// A matrix transposed; vectors and scalars as they are. Throws ShapeError for more dims.
ADJOINT_API Tensor t(const Tensor& x);
/// Repeats dims of size 1, and new leading dims, to `shape`. Throws ShapeError when x does not broadcast to it.
ADJOINT_API Tensor broadcast_to(const Tensor& x, const Shape& shape);
/// broadcast_to in which -1 keeps a size.
ADJOINT_API Tensor expand(const Tensor& x, const Shape& shape);
/// Positions start, start + step, ... before stop of one dim, as Python's x[start:stop:step] (step > 0, else
/// ValueError).
ADJOINT_API Tensor slice(const Tensor& x, std::int64_t dim, std::optional<std::int64_t> start = {},
                         std::optional<std::int64_t> stop = {}, std::int64_t step = 1);
/// `length` positions of one dim from `start` on. Throws ValueError when they do not all exist.
ADJOINT_API Tensor narrow(const Tensor& x, std::int64_t dim, std::int64_t start, std::int64_t length);
/// Position `index` of one dim, which is dropped. Throws ValueError when out of range.
ADJOINT_API Tensor select(const Tensor& x, std::int64_t dim, std::int64_t index);
ADJOINT_API Tensor flip(const Tensor& x, const DimArg& dims);
/// Tensors of one rank, joined along a dim in which alone they may differ; dtypes are promoted. Throws ShapeError for
/// shapes that do not fit, ValueError for none.
ADJOINT_API Tensor cat(TensorSpan tensors, std::int64_t dim = 0);
/// Tensors of one shape, joined along a new dim.
ADJOINT_API Tensor stack(TensorSpan tensors, std::int64_t dim = 0);
/// Parts of `size` positions along a dim (the last may be shorter), or of the given sizes, which add up to it.
ADJOINT_API TensorList split(const Tensor& x, std::int64_t size, std::int64_t dim = 0);
ADJOINT_API TensorList split(const Tensor& x, const std::vector<std::int64_t>& sizes, std::int64_t dim = 0);
/// At most `chunks` parts of equal size along a dim; the last may be smaller.
ADJOINT_API TensorList chunk(const Tensor& x, std::int64_t chunks, std::int64_t dim = 0);

/// What pad() puts around a tensor.
enum class PadMode : std::uint8_t {
  constant,   // a value
  reflect,    // 2 1 | 0 1 2 3 | 2 1: mirrored at the first and last element
  replicate,  // 0 0 | 0 1 2 3 | 3 3: the first and last element
  circular,   // 2 3 | 0 1 2 3 | 0 1: from the other end
};
/// x with positions before and after the positions of its dims: `padding` is {before, after} for the last dim, then for
/// the one before it, and so on. `value`, as x's dtype holds it, is for the constant mode alone. Throws ShapeError for
/// an odd number of paddings or more than x has dims for, ValueError for negative ones (see narrow), and unless reflect
/// has paddings below the dim's size, circular at most the size, and replicate a dim that is not empty.
ADJOINT_API Tensor pad(const Tensor& x, std::initializer_list<std::int64_t> padding, PadMode mode = PadMode::constant,
                       Scalar value = 0);
ADJOINT_API Tensor pad(const Tensor& x, const std::vector<std::int64_t>& padding, PadMode mode = PadMode::constant,
                       Scalar value = 0);

/// x, with `source`, converted to x's dtype, in the place of slice(x, dim, start, stop, step), whose shape it must have
/// (ShapeError).
ADJOINT_API Tensor slice_scatter(const Tensor& x, const Tensor& source, std::int64_t dim = 0,
                                 std::optional<std::int64_t> start = {}, std::optional<std::int64_t> stop = {},
                                 std::int64_t step = 1);
/// x, with `source`, converted to x's dtype, in the place of select(x, dim, index), whose shape it must have
/// (ShapeError).
ADJOINT_API Tensor select_scatter(const Tensor& x, const Tensor& source, std::int64_t dim, std::int64_t index);

}  // namespace adjoint
