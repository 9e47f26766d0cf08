#include "kernels/kernels.hpp"
#include "ops/common.hpp"

#include <algorithm>

namespace adjoint {
namespace detail {
namespace {

/// The cotangent of what is gathered from.
PutElements elements_of(const Recorded& at, const Tensor& g) {
  return {at.input(1), g, at.input_shape(0), at.attributes<IndexAttributes>().dim};
}

// Gather and scatter_add are each other's transposes.
const Operation kGather{"gather",
                        Family::linear,
                        execute_gather,
                        0,
                        true,
                        1,
                        {kReadsB},
                        nullptr,
                        [](const Recorded& at, int, const Tensor& g) { return with_elements({}, elements_of(at, g)); }};
const Operation kScatterAdd{"scatter_add",
                            Family::linear,
                            execute_scatter_add,
                            0,
                            true,
                            5,
                            {kReadsB, 0, kReadsB},
                            nullptr,
                            [](const Recorded& at, int i, const Tensor& g) {
                              return i == 0 ? g : gathered(g, at.attributes<IndexAttributes>().dim, at.input(1));
                            }};
const Operation kCheckedIndex{"checked_index", Family::non_differentiable, execute_checked_index, 0, true};
const Operation kPositions{"index_positions", Family::non_differentiable, execute_positions, 0, true};
const Operation kLastAt{"last_at", Family::non_differentiable, execute_last_at};

Tensor as_index(const char* operation, const Tensor& index, const char* or_else = "") {
  const Dtype dtype = Access::node(index, operation)->dtype;
  if (dtype != int64 && dtype != int32)
    throw DtypeError(std::string(operation) + ": the index of shape " + to_string(index.shape()) + " has dtype " +
                     name_of(dtype) + "; it must be int64 or int32" + or_else);
  return cast_to(index, int64);
}

/// An index into a dim (of `size`) counted from the front. Throws ValueError in the operation's name when computed.
Tensor positions(const char* operation, const Tensor& index, std::int64_t dim, std::int64_t size, bool from_end) {
  return record(kPositions, index.shape(), int64, {index}, PositionAttributes{operation, dim, size, from_end});
}

void check_index_shape(const char* operation, const Shape& shape, const Shape& index, int dim) {
  bool fits = index.size() == shape.size();
  for (int i = 0; fits && i < shape.size(); ++i) fits = i == dim || index[i] <= shape[i];
  if (!fits)
    throw ShapeError(std::string(operation) + ": the index of shape " + to_string(index) +
                     " does not fit the input of shape " + to_string(shape) +
                     "; it must have as many dims and, but for dim " + std::to_string(dim) + ", at most its sizes");
}

void check_same_dtype(const char* operation, const Tensor& x, const char* argument, const Tensor& other) {
  if (x.dtype() != other.dtype())
    throw DtypeError(std::string(operation) + ": the input has dtype " + name_of(x.dtype()) + " and the " + argument +
                     " " + name_of(other.dtype()) + "; they must be equal");
}

/// What scatter and scatter_add ask of their arguments. Returns the index as int64.
Tensor checked_scatter(const char* operation, const Tensor& x, int dim, const Tensor& index, const Tensor& source) {
  const Tensor at = as_index(operation, index);
  check_index_shape(operation, x.shape(), at.shape(), dim);
  if (Access::node(source, operation)->shape != at.shape())
    throw ShapeError(std::string(operation) + ": the source of shape " + to_string(source.shape()) +
                     " and the index of shape " + to_string(at.shape()) + " must have the same shape");
  check_same_dtype(operation, x, "source", source);
  return at;
}

/// A one-dimensional index, seen along dim d of a shape.
Tensor spread(const Tensor& index, int d, const Shape& shape) {
  Shape along = Dims::filled(shape.size(), 1);
  along[d] = shape[d];
  return broadcast_to(reshape(index, along), shape);
}

/// Positions of one dim of x, by a one-dimensional index.
Tensor rows(const Tensor& x, int d, const Tensor& index) {
  Shape shape = x.shape();
  shape[d] = index.numel();
  return gather(x, d, spread(index, d, shape));
}

/// Calls visit(position) for the row-major positions at which a mask, which is computed, holds.
template <class Visit>
void for_true(const Node& mask, const Visit& visit) {
  const std::int64_t n = numel(mask.shape);
  bool tile[kernels::kTile];
  for (std::int64_t first = 0; first < n; first += kernels::kTile) {
    const std::int64_t length = std::min(kernels::kTile, n - first);
    kernels::load(sizeof(bool), mask.shape, {mask.value.data, mask.value.strides}, first, length, tile);
    for (std::int64_t i = 0; i < length; ++i)
      if (tile[i]) visit(first + i);
  }
}

/// The row-major positions at which a mask holds, or, in `coordinates`, their indices. Computes the mask.
Tensor true_positions(const char* operation, const Tensor& mask, bool coordinates = false) {
  const Node& node = *evaluated(mask, operation);
  std::int64_t count = 0;
  for_true(node, [&](std::int64_t) { ++count; });
  const int rank = node.shape.size();
  std::byte* data = nullptr;
  Tensor result = unwritten(coordinates ? Shape{count, rank} : Shape{count}, int64, &data);
  auto* to = reinterpret_cast<std::int64_t*>(data);
  if (!coordinates) {
    for_true(node, [&](std::int64_t position) { *to++ = position; });
    return result;
  }
  for_true(node, [&](std::int64_t position) {
    for (int i = rank - 1; i >= 0; --i) {
      to[i] = position % node.shape[i];
      position /= node.shape[i];
    }
    to += rank;
  });
  return result;
}

// -- indices of several entries ---------------------------------------------------------------------------------------

using Entries = std::initializer_list<Index>;

/// How many dims of a shape an index is about, beside those that its Ellipsis stands for.
struct Extent {
  int consumed = 0, ellipses = 0;
};
Extent extent_of(const char* operation, Entries entries, const Shape& shape) {
  Extent extent;
  for (const Index& entry : entries) switch (entry.kind) {
      case Index::Kind::integer:
      case Index::Kind::slice:
        ++extent.consumed;
        break;
      case Index::Kind::tensor:
        extent.consumed += Access::node(entry.tensor, operation)->dtype == bool_ ? entry.tensor.dim() : 1;
        break;
      case Index::Kind::ellipsis:
        ++extent.ellipses;
        break;
      case Index::Kind::none:
        break;
    }
  if (extent.ellipses > 1) throw ShapeError(std::string(operation) + ": an index has at most one Ellipsis");
  if (extent.consumed > shape.size())
    throw ShapeError(std::string(operation) + ": entries for " + std::to_string(extent.consumed) +
                     " dims, and the input of shape " + to_string(shape) + " has " + std::to_string(shape.size()));
  return extent;
}

/// The elements of x at the positions given along some of its dims, which broadcast together.
Tensor select_together(const char* operation, Tensor x, const Tensor (&along)[kMaxRank]) {
  Dims chosen, order;
  Shape block;
  for (int d = 0; d < x.dim(); ++d)
    if (along[d].defined()) {
      block = chosen.empty() ? along[d].shape() : broadcast_shapes(block, along[d].shape(), operation);
      chosen.push_back(d);
    }
  if (chosen.empty()) return x;
  int first = static_cast<int>(chosen[0]);
  if (chosen.back() - first != chosen.size() - 1) {  // not side by side: they go first
    order = chosen;
    for (int d = 0; d < x.dim(); ++d)
      if (!along[d].defined()) order.push_back(d);
    x = permute(x, order);
    first = 0;
  }
  // One position in all of these dims joined.
  Shape shape = x.shape();
  Tensor at = along[chosen[0]];
  for (int i = 1; i < chosen.size(); ++i) {
    at = at * shape[first + 1] + along[chosen[i]];
    shape[first] *= shape[first + 1];
    shape.erase(first + 1);
  }
  const Tensor selected = rows(reshape(x, shape), first, reshape(at, {numel(block)}));
  shape.erase(first);
  for (int i = 0; i < block.size(); ++i) shape.insert(first + i, block[i]);
  return reshape(selected, shape);
}

/// x.index(entries). Errors speak of `shape`, of which x may have the first dims alone.
Tensor indexed(const char* operation, const Tensor& x, Entries entries, const Shape& shape) {
  const int consumed = extent_of(operation, entries, shape).consumed, skipped = x.dim() - consumed;
  Tensor result = unchanged(x), along[kMaxRank];
  // `dim` counts the result's dims, `original` the input's.
  int dim = 0, original = 0;
  for (const Index& entry : entries) switch (entry.kind) {
      case Index::Kind::integer: {
        const std::int64_t size = result.shape()[dim];
        if (entry.integer < -size || entry.integer >= size)
          throw ValueError(std::string(operation) + ": position " + std::to_string(entry.integer) +
                           " is out of range for dim " + std::to_string(original) + " of shape " + to_string(shape));
        result = select(result, dim, entry.integer);
        ++original;
        break;
      }
      case Index::Kind::slice:
        result = python_slice(operation, result, dim++, entry.slice);
        ++original;
        break;
      case Index::Kind::none:
        result = unsqueeze(result, dim++);
        break;
      case Index::Kind::ellipsis:
        dim += skipped;
        original += skipped;
        break;
      case Index::Kind::tensor: {
        const Tensor& tensor = entry.tensor;
        Shape joined = result.shape();
        if (tensor.dtype() != bool_) {
          const Tensor at =
              positions(operation, as_index(operation, tensor, ", or bool for a mask"), original++, joined[dim], true);
          if (tensor.dim() > 0) along[dim++] = at;
          else result = squeeze(rows(result, dim, reshape(at, {1})), dim);
          break;
        }
        // A mask selects positions in its dims joined, which may be none.
        const Shape covered(joined.begin() + dim, joined.begin() + dim + tensor.dim());
        if (covered != tensor.shape())
          throw ShapeError(std::string(operation) + ": the mask of shape " + to_string(tensor.shape()) +
                           " does not fit dims " + to_string(covered) + " from dim " + std::to_string(original) +
                           " on of the input of shape " + to_string(shape) + "; the sizes must be equal");
        for (int i = 0; i < covered.size(); ++i) joined.erase(dim);
        joined.insert(dim, numel(covered));
        result = reshape(result, joined);
        along[dim++] = true_positions(operation, tensor);
        original += covered.size();
        break;
      }
    }
  return select_together(operation, result, along);
}

/// x with elements (or rows) of the source at positions `at`, of one dim; of equal positions the last one counts.
Tensor replaced(const Tensor& x, const Tensor& at, const Tensor& source) {
  if (source.numel() == 0) return scatter_add(x, 0, spread(at, 0, source.shape()), source);
  const Tensor last = record(kLastAt, {x.shape()[0]}, int64, {at});  // where in `at`, or -1
  const Tensor found = last >= 0;
  return where(x.dim() == 1 ? found : unsqueeze(found, 1), rows(source, 0, maximum(last, 0)), x);
}

}  // namespace

Tensor gathered(const Tensor& x, std::int64_t dim, const Tensor& index) {
  return record(kGather, index.shape(), x.dtype(), {x, index}, IndexAttributes{dim});
}
Tensor scatter_added(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
  return record(kScatterAdd, x.shape(), x.dtype(), {x, index, source}, IndexAttributes{dim});
}

std::optional<PutElements> put_elements(Node& node, const Tensor& g, MarkedValues& values) {
  if (node.operation != &kGather) return {};
  return elements_of(Recorded(node, values), g);
}

Tensor with_elements(const Tensor& x, const PutElements& put) {
  return scatter_added(x.defined() ? x : zeros(put.shape, put.elements.dtype()), put.dim, put.index, put.elements);
}

}  // namespace detail

using namespace detail;

// PyTorch takes a scalar for a vector of one here.
Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index) {
  const Shape& shape = Access::node(x, "gather")->shape;
  if (shape.empty() && Access::node(index, "gather")->shape.empty())
    return reshape(gather(reshape(x, {1}), dim, reshape(index, {1})), {});
  const int d = checked_dim("gather", dim, shape);
  const Tensor positions = as_index("gather", index);
  check_index_shape("gather", shape, positions.shape(), d);
  return gathered(x, d, positions);
}

Tensor scatter_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const Shape& shape = Access::node(x, "scatter_add")->shape;
  if (shape.empty() && Access::node(index, "scatter_add")->shape.empty() &&
      Access::node(source, "scatter_add")->shape.empty())
    return reshape(scatter_add(reshape(x, {1}), dim, reshape(index, {1}), reshape(source, {1})), {});
  const int d = checked_dim("scatter_add", dim, shape);
  const Tensor at = checked_scatter("scatter_add", x, d, index, source);
  if (x.dtype() == uint8 || x.dtype() == bool_)  // the kernel adds wider integers; these wrap around when cast back
    return cast(scatter_add(cast(x, int32), dim, at, cast(source, int32)), x.dtype());
  return scatter_added(x, d, at, source);
}

Tensor scatter(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const Shape& shape = Access::node(x, "scatter")->shape;
  if (shape.empty() && Access::node(index, "scatter")->shape.empty() && Access::node(source, "scatter")->shape.empty())
    return reshape(scatter(reshape(x, {1}), dim, reshape(index, {1}), reshape(source, {1})), {});
  const int d = checked_dim("scatter", dim, shape);
  const Tensor at = positions("scatter", checked_scatter("scatter", x, d, index, source), d, shape[d], false);
  const Tensor all = reshape(arange(x.numel()), shape);
  const Shape n{x.numel()}, count{at.numel()};
  return reshape(replaced(reshape(x, n), reshape(gather(all, d, at), count), reshape(source, count)), shape);
}

Tensor scatter(const Tensor& x, std::int64_t dim, const Tensor& index, Scalar value) {
  const Tensor number = number_of("scatter", value, Access::node(x, "scatter")->dtype);
  return scatter(x, dim, index, broadcast_to(number, Access::node(index, "scatter")->shape));
}

Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index) {
  const Shape& shape = Access::node(x, "index_select")->shape;
  const int d = checked_dim("index_select", dim, shape);
  const Tensor at = as_index("index_select", index);
  if (at.dim() != 1)
    throw ShapeError("index_select: the index has shape " + to_string(at.shape()) + "; it must have one dim");
  return rows(x, d, positions("index_select", at, d, shape[d], false));
}

Tensor index_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source, Scalar alpha) {
  const Shape& shape = Access::node(x, "index_add")->shape;
  const int d = checked_dim("index_add", dim, shape);
  const Tensor at = as_index("index_add", index);
  if (at.dim() > 1)
    throw ShapeError("index_add: the index has shape " + to_string(at.shape()) + "; it must have one dim, or none");
  Shape added = shape;
  added[d] = at.numel();
  if (Access::node(source, "index_add")->shape != added)
    throw ShapeError("index_add: the source has shape " + to_string(source.shape()) + "; for the input of shape " +
                     to_string(shape) + " and an index of " + std::to_string(at.numel()) + " positions of dim " +
                     std::to_string(dim) + " it must be " + to_string(added));
  check_same_dtype("index_add", x, "source", source);
  const Tensor checked = positions("index_add", at, d, shape[d], false);
  return scatter_add(x, d, spread(checked, d, added),
                     alpha.to_double() == 1 ? source : source * number_of("index_add", alpha, x.dtype()));
}

Tensor take_along_dim(const Tensor& x, const Tensor& index, std::optional<std::int64_t> dim) {
  const Shape& shape = Access::node(x, "take_along_dim")->shape;
  Access::node(index, "take_along_dim");
  if (!dim) return take_along_dim(reshape(x, {x.numel()}), reshape(index, {index.numel()}), 0);
  const int d = checked_dim("take_along_dim", *dim, shape);
  const Tensor at = positions("take_along_dim", as_index("take_along_dim", index), d, shape[d], true);
  Shape from = shape, to = at.shape();
  bool fits = from.size() == to.size();
  for (int i = 0; fits && i < from.size(); ++i) {
    if (i == d) continue;
    fits = from[i] == to[i] || from[i] == 1 || to[i] == 1;
    from[i] = to[i] = from[i] == 1 ? to[i] : from[i];
  }
  if (!fits)
    throw ShapeError("take_along_dim: the index of shape " + to_string(index.shape()) +
                     " does not fit the input of shape " + to_string(shape) +
                     "; it must have as many dims and, but for dim " + std::to_string(d) + ", broadcast with it");
  return gather(broadcast_to(x, from), d, broadcast_to(at, to));
}

Tensor Tensor::index(std::initializer_list<Index> entries) const {
  return indexed("index", *this, entries, Access::node(*this, "index")->shape);
}

Tensor index_put(const Tensor& x, std::initializer_list<Index> entries, const Tensor& values, bool accumulate) {
  const Shape& shape = Access::node(x, "index_put")->shape;
  Access::node(values, "index_put");
  check_same_dtype("index_put", x, "values", values);
  const Extent extent = extent_of("index_put", entries, shape);
  // What the index selects of the numbers of x's elements is where the values go. Dims behind it go along as rows.
  const int leading = extent.ellipses ? shape.size() : extent.consumed;
  const Shape front(shape.begin(), shape.begin() + leading), row(shape.begin() + leading, shape.end());
  const Tensor at = indexed("index_put", reshape(arange(numel(front)), front), entries, shape);
  Shape selected = at.shape();
  for (std::int64_t size : row) selected.push_back(size);
  const auto as_rows = [&](const Tensor& tensor, std::int64_t count) {
    return reshape(tensor, row.empty() ? Shape{count} : Shape{count, numel(row)});
  };
  const Tensor to = as_rows(x, numel(front));
  const Tensor source = as_rows(broadcast_as("index_put", values, selected, "values"), at.numel());
  const Tensor target = reshape(at, {at.numel()});
  return reshape(
      accumulate ? scatter_add(to, 0, spread(target, 0, source.shape()), source) : replaced(to, target, source), shape);
}

Tensor nonzero(const Tensor& x) {
  Access::node(x, "nonzero");
  return true_positions("nonzero", x.dtype() == bool_ ? x : x != 0, true);
}

Tensor masked_select(const Tensor& x, const Tensor& mask) {
  const Shape& shape = Access::node(x, "masked_select")->shape;
  if (Access::node(mask, "masked_select")->dtype != bool_)
    throw DtypeError("masked_select: the mask of shape " + to_string(mask.shape()) + " has dtype " +
                     name_of(mask.dtype()) + "; it must be bool");
  const Shape together = broadcast_shapes(shape, mask.shape(), "masked_select");
  const Tensor elements = reshape(broadcast_to(x, together), {numel(together)});
  return gather(elements, 0, true_positions("masked_select", broadcast_to(mask, together)));
}

Tensor one_hot(const Tensor& classes, std::int64_t num_classes) {
  if (num_classes < 1)
    throw ValueError("one_hot: num_classes is " + std::to_string(num_classes) + "; it must be at least 1");
  const Tensor checked = checked_index(as_index("one_hot", classes), 0, num_classes, "one_hot: class");
  return cast(unsqueeze(checked, -1) == arange(num_classes), int64);
}

Tensor checked_index(const Tensor& index, std::int64_t low, std::int64_t high, const char* what) {
  const Tensor positions = as_index("checked_index", index);
  return record(kCheckedIndex, positions.shape(), int64, {positions}, CheckAttributes{low, high, what});
}

}  // namespace adjoint
