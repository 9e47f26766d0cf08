#include "ops/common.hpp"

namespace adjoint {
namespace detail {
namespace {

// Gather and scatter_add are each other's transposes.
const Operation kGather{"gather",
                        Family::linear,
                        execute_gather,
                        0,
                        true,
                        1,
                        {kReadsB},
                        nullptr,
                        [](const Recorded& at, int, const Tensor& g) {
                          return scatter_add(zeros(at.input_shape(0), g.dtype()), at.attributes<IndexAttributes>().dim,
                                             at.input(1), g);
                        }};
const Operation kScatterAdd{"scatter_add",
                            Family::linear,
                            execute_scatter_add,
                            0,
                            true,
                            5,
                            {kReadsB, 0, kReadsB},
                            nullptr,
                            [](const Recorded& at, int i, const Tensor& g) {
                              return i == 0 ? g : gather(g, at.attributes<IndexAttributes>().dim, at.input(1));
                            }};
const Operation kCheckedIndex{"checked_index", Family::non_differentiable, execute_checked_index, 0, true};

Tensor as_index(const char* operation, const Tensor& index) {
  const Dtype dtype = Access::node(index, operation)->dtype;
  if (dtype != int64 && dtype != int32)
    throw DtypeError(std::string(operation) + ": the index of shape " + to_string(index.shape()) + " has dtype " +
                     name_of(dtype) + "; it must be int64 or int32");
  return cast_to(index, int64);
}

void check_index_shape(const char* operation, const Shape& shape, const Shape& index, int dim) {
  bool fits = index.size() == shape.size();
  for (int i = 0; fits && i < shape.size(); ++i) fits = i == dim || index[i] <= shape[i];
  if (!fits)
    throw ShapeError(std::string(operation) + ": the index of shape " + to_string(index) +
                     " does not fit the input of shape " + to_string(shape) +
                     "; it must have as many dims and, but for dim " + std::to_string(dim) + ", at most its sizes");
}

}  // namespace
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
  return record(kGather, positions.shape(), x.dtype(), {x, positions}, IndexAttributes{d});
}

Tensor scatter_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const Shape& shape = Access::node(x, "scatter_add")->shape;
  if (shape.empty() && Access::node(index, "scatter_add")->shape.empty() &&
      Access::node(source, "scatter_add")->shape.empty())
    return reshape(scatter_add(reshape(x, {1}), dim, reshape(index, {1}), reshape(source, {1})), {});
  const int d = checked_dim("scatter_add", dim, shape);
  const Tensor positions = as_index("scatter_add", index);
  check_index_shape("scatter_add", shape, positions.shape(), d);
  const Node* added = Access::node(source, "scatter_add");
  if (added->shape != positions.shape())
    throw ShapeError("scatter_add: the source of shape " + to_string(added->shape) + " and the index of shape " +
                     to_string(positions.shape()) + " must have the same shape");
  if (added->dtype != x.dtype() || x.dtype() == bool_)
    throw DtypeError(std::string("scatter_add: the input has dtype ") + name_of(x.dtype()) + " and the source " +
                     name_of(added->dtype) + "; they must be equal, and not bool");
  if (x.dtype() == uint8)  // the kernel adds wider integers; these wrap around when cast back
    return cast(scatter_add(cast(x, int32), dim, positions, cast(source, int32)), uint8);
  return record(kScatterAdd, shape, x.dtype(), {x, positions, source}, IndexAttributes{d});
}

Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index) {
  const Shape& shape = Access::node(x, "index_select")->shape;
  const int d = checked_dim("index_select", dim, shape);
  if (const Tensor positions = as_index("index_select", index); positions.dim() != 1)
    throw ShapeError("index_select: the index has shape " + to_string(positions.shape()) + "; it must have one dim");
  const Tensor positions = checked_index(index, 0, shape[d], "index_select: index");
  Shape along = Dims::filled(shape.size(), 1), result = shape;
  along[d] = result[d] = positions.numel();
  return gather(x, d, broadcast_to(reshape(positions, along), result));
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
