// The linear operations that move elements, each with its transpose.
#include "ops/movement.hpp"
#include "core/thread_state.hpp"
#include "ops/common.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

namespace adjoint {
namespace detail {
namespace {

// clang-format off
const Operation kReshape{"reshape", Family::linear, execute_reshape, 0, false, 1, {}, nullptr, [](const Recorded& at, int, const Tensor& g) {
  return reshape(g, at.input_shape(0));
}};
const Operation kBroadcastTo{"broadcast_to", Family::linear, execute_broadcast, 0, false, 1, {}, nullptr, [](const Recorded& at, int, const Tensor& g) {
  return sum_to(g, at.input_shape(0));
}};
const Operation kFlip{"flip", Family::linear, execute_flip, 0, false, 1, {}, nullptr, [](const Recorded& at, int, const Tensor& g) {
  Dims dims;
  for (int i = 0; i < at.shape().size(); ++i)
    if (at.attributes<FlipAttributes>().dims >> i & 1) dims.push_back(i);
  return dims.empty() ? g : flip(g, dims);
}};
const Operation kCat{"cat", Family::linear, execute_cat, 0, false, 0xff, {}, nullptr, [](const Recorded& at, int i, const Tensor& g) {
  const auto dim = static_cast<int>(at.attributes<CatAttributes>().dim);
  std::int64_t start = 0;
  for (int k = 0; k < i; ++k) start += at.input_shape(k)[dim];
  return narrow(g, dim, start, at.input_shape(i)[dim]);
}};
// clang-format on

Tensor strided_slice(const Tensor& x, int dim, std::int64_t start, std::int64_t length, std::int64_t step);
Tensor unslice(const Tensor& x, const Shape& shape, const SliceAttributes& attributes);

const Operation kSlice{
    "slice", Family::linear, execute_slice, 0, false, 1, {}, nullptr, [](const Recorded& at, int, const Tensor& g) {
      return unslice(g, at.input_shape(0), at.attributes<SliceAttributes>());
    }};
const Operation kUnslice{
    "unslice", Family::linear, execute_unslice, 0, false, 1, {}, nullptr, [](const Recorded& at, int, const Tensor& g) {
      const auto& [dim, start, step] = at.attributes<SliceAttributes>();
      const int d = static_cast<int>(dim);
      return strided_slice(g, d, start, at.input_shape(0)[d], step);
    }};

Tensor strided_slice(const Tensor& x, int dim, std::int64_t start, std::int64_t length, std::int64_t step) {
  Shape shape = x.shape();
  if (start == 0 && step == 1 && length == shape[dim]) return unchanged(x);
  shape[dim] = length;
  return record(kSlice, shape, x.dtype(), {x}, SliceAttributes{dim, start, step});
}

Tensor unslice(const Tensor& x, const Shape& shape, const SliceAttributes& attributes) {
  return record(kUnslice, shape, x.dtype(), {x}, attributes);
}

/// Python's slice.indices(size): the first position and how many.
struct Range {
  std::int64_t start, length;
};
Range range_of(const Slice& slice, std::int64_t size) {
  const std::int64_t lowest = slice.step > 0 ? 0 : -1, highest = slice.step > 0 ? size : size - 1;
  const auto position = [&](std::int64_t at) { return std::clamp(at < 0 ? at + size : at, lowest, highest); };
  const std::int64_t start = slice.start ? position(*slice.start) : slice.step > 0 ? lowest : highest;
  const std::int64_t stop = slice.stop ? position(*slice.stop) : slice.step > 0 ? highest : lowest;
  const std::int64_t distance = slice.step > 0 ? stop - start : start - stop;
  const std::int64_t step = slice.step > 0 ? slice.step : -slice.step;
  return {start, distance > 0 ? (distance + step - 1) / step : 0};
}

/// Throws ShapeError unless the source has the shape of what it replaces.
void check_source(const char* operation, const Shape& shape, const Tensor& source, const Shape& replaced) {
  if (Access::node(source, operation)->shape != replaced)
    throw ShapeError(std::string(operation) + ": the source has shape " + to_string(source.shape()) +
                     "; it must have the shape " + to_string(replaced) + " of what it replaces in the input of shape " +
                     to_string(shape));
}

/// x with the source at positions start, start + step, ... of a dim.
Tensor with_slice(const Tensor& x, const Tensor& source, const SliceAttributes& at) {
  const int d = static_cast<int>(at.dim);
  Shape part = Dims::filled(x.dim(), 1), all = part;
  part[d] = source.shape()[d];
  all[d] = x.shape()[d];
  return where(unslice(ones(part, bool_), all, at), unslice(cast_to(source, x.dtype()), x.shape(), at), x);
}

void check_step(const char* operation, std::int64_t step, std::int64_t dim, const Shape& shape) {
  if (step <= 0)
    throw ValueError(std::string(operation) + ": step " + std::to_string(step) + " for dim " + std::to_string(dim) +
                     " of shape " + to_string(shape) + "; it must be positive (see flip)");
}

/// A position of a dim, counted from the front.
std::int64_t checked_position(const char* operation, std::int64_t index, std::int64_t dim, const Shape& shape) {
  const std::int64_t size = shape[checked_dim(operation, dim, shape)];
  if (index < -size || index >= size)
    throw ValueError(std::string(operation) + ": index " + std::to_string(index) + " is out of range for dim " +
                     std::to_string(dim) + " of shape " + to_string(shape));
  return index < 0 ? index + size : index;
}

/// What pad() puts before or after the positions of a dim.
Tensor border(const Tensor& x, int dim, std::int64_t width, bool before, PadMode mode, const Tensor& value) {
  const std::int64_t size = x.shape()[dim];
  Shape shape = x.shape();
  shape[dim] = width;
  switch (mode) {
    case PadMode::constant:
      break;
    case PadMode::reflect:
      return flip(strided_slice(x, dim, before ? 1 : size - 1 - width, width, 1), dim);
    case PadMode::replicate:
      return broadcast_to(strided_slice(x, dim, before ? 0 : size - 1, 1, 1), shape);
    case PadMode::circular:
      return strided_slice(x, dim, before ? size - width : 0, width, 1);
  }
  return broadcast_to(value, shape);
}

Tensor padded(const Tensor& x, const std::int64_t* padding, std::size_t count, PadMode mode, Scalar value) {
  const Shape shape = Access::node(x, "pad")->shape;
  const auto text = [&] {
    std::string list;
    for (std::size_t i = 0; i < count; ++i) list += (i ? ", " : "") + std::to_string(padding[i]);
    return "padding {" + list + "} of the input of shape " + to_string(shape);
  };
  if (count % 2 != 0 || count > 2 * static_cast<std::size_t>(shape.size()))
    throw ShapeError("pad: the " + text() + " has " + std::to_string(count) + " entries; there must be two for each " +
                     "padded dim, from the last one on, so an even number of at most " +
                     std::to_string(2 * shape.size()));
  const bool is_constant = mode == PadMode::constant,
             is_zero = value.to_double() == 0 && !std::signbit(value.to_double());
  if (!is_constant && !is_zero)
    throw ValueError("pad: the value is " + std::to_string(value.to_double()) +
                     "; it is for the constant mode alone, and must else be left out");
  const Tensor number = is_constant ? number_of("pad", value, x.dtype()) : Tensor();
  Tensor result = unchanged(x);
  for (std::size_t i = 0; i < count; i += 2) {
    const int dim = shape.size() - 1 - static_cast<int>(i / 2);
    const std::int64_t before = padding[i], after = padding[i + 1], size = shape[dim];
    if (before < 0 || after < 0)
      throw ValueError("pad: the " + text() + " has a negative entry; use narrow or slice to remove positions");
    const std::int64_t most = mode == PadMode::reflect ? std::max<std::int64_t>(size - 1, 0)
                              : mode == PadMode::circular || (mode == PadMode::replicate && size == 0)
                                  ? size
                                  : std::numeric_limits<std::int64_t>::max() / 4;
    if (before > most || after > most)
      throw ValueError("pad: the " + text() + " does not fit dim " + std::to_string(dim) + " of size " +
                       std::to_string(size) + "; in this mode it must be at most " + std::to_string(most));
    if (before == 0 && after == 0) continue;
    Shape larger = result.shape();
    larger[dim] += before + after;
    check_shape("pad", larger);
    if (is_constant && is_zero) {
      result = unslice(result, larger, {dim, before, 1});
      continue;
    }
    std::vector<Tensor> parts{result};
    if (before > 0) parts.insert(parts.begin(), border(result, dim, before, true, mode, number));
    if (after > 0) parts.push_back(border(result, dim, after, false, mode, number));
    result = cat(parts, dim);
  }
  return result;
}

Shape inferred_shape(const char* operation, const Tensor& x, Shape shape) {
  int inferred = -1;
  std::int64_t known = 1;
  const auto refuse = [&](const char* why) {
    throw ShapeError(std::string(operation) + ": the input of shape " + to_string(x.shape()) + " with " +
                     std::to_string(x.numel()) + " elements cannot take the shape " + to_string(shape) + why);
  };
  for (int i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      if (inferred >= 0) refuse(": only one size may be -1");
      inferred = i;
    } else if (shape[i] < 0) {
      refuse(": sizes must not be negative");
    } else if (__builtin_mul_overflow(known, shape[i], &known)) {
      refuse(", which has more elements than can be addressed");
    }
  }
  if (inferred >= 0) {
    if (known == 0 || x.numel() % known != 0) refuse(": the size -1 cannot be inferred");
    shape[inferred] = x.numel() / known;
  } else if (known != x.numel()) {
    refuse(("; it has " + std::to_string(known) + " elements").c_str());
  }
  return shape;
}

}  // namespace

Tensor python_slice(const char* operation, const Tensor& x, int dim, const Slice& slice) {
  if (slice.step == 0)
    throw ValueError(std::string(operation) + ": the step of the slice of dim " + std::to_string(dim) + " of shape " +
                     to_string(x.shape()) + " is 0");
  const Range range = range_of(slice, x.shape()[dim]);
  if (slice.step > 0) return strided_slice(x, dim, range.start, range.length, slice.step);
  // Backwards: the same positions from the other end, flipped.
  const std::int64_t first = range.length ? range.start + (range.length - 1) * slice.step : 0;
  return flip(strided_slice(x, dim, first, range.length, -slice.step), dim);
}

const Operation kPermute{
    "permute", Family::linear, execute_permute, 0, false, 1, {}, nullptr, [](const Recorded& at, int, const Tensor& g) {
      Dims inverse = at.shape();
      for (int i = 0; i < inverse.size(); ++i) inverse[at.attributes<PermuteAttributes>().dims[i]] = i;
      return permute(g, inverse);
    }};

std::optional<PutSlice> put_slice(Node& node, const Tensor& g) {
  if (node.operation != &kSlice) return {};
  const auto& [dim, start, step] = node.attributes<SliceAttributes>();
  if (step != 1) return {};
  return PutSlice{g, node.input(0)->shape, static_cast<int>(dim), start};
}

Tensor sum_of_put_slices(const List<PutSlice>& parts) {
  const Shape shape = parts[0].shape;
  const int dim = parts[0].dim;
  const auto end = [](const PutSlice& part) { return part.start + part.slice.shape()[part.dim]; };
  List<const PutSlice*> sorted;
  sorted.reserve(parts.size());
  for (const PutSlice& part : parts) sorted.push_back(&part);
  // Of equal ones the earlier first: a stable sort would allocate.
  std::sort(sorted.begin(), sorted.end(),
            [](const PutSlice* a, const PutSlice* b) { return a->start != b->start ? a->start < b->start : a < b; });
  bool apart = parts.size() > 1;
  for (std::size_t i = 0; i < sorted.size() && apart; ++i)
    apart = sorted[i]->dim == dim && (i == 0 || sorted[i]->start >= end(*sorted[i - 1]));
  if (!apart) {
    Tensor sum;
    for (const PutSlice& part : parts) {
      const Tensor put = unslice(part.slice, shape, {part.dim, part.start, 1});
      sum = sum.defined() ? sum + put : put;
    }
    return sum;
  }
  List<Tensor> joined;
  joined.reserve(2 * parts.size() + 1);
  std::int64_t at = 0;
  const auto fill_to = [&](std::int64_t next) {
    Shape gap = shape;
    gap[dim] = next - at;
    if (next > at) joined.push_back(zeros(gap, parts[0].slice.dtype()));
  };
  for (const PutSlice* part : sorted) {
    fill_to(part->start);
    joined.push_back(part->slice);
    at = end(*part);
  }
  fill_to(shape[dim]);
  return cat(joined, dim);
}

}  // namespace detail

using namespace detail;

Tensor detail::reshape_as(const char* operation, const Tensor& x, const Shape& shape) {
  Access::node(x, operation);
  const Shape result = inferred_shape(operation, x, shape);
  if (result == x.shape()) return unchanged(x);
  return record(kReshape, result, x.dtype(), {x});
}

Tensor reshape(const Tensor& x, const Shape& shape) { return reshape_as("reshape", x, shape); }
Tensor view(const Tensor& x, const Shape& shape) { return reshape_as("view", x, shape); }

Tensor flatten(const Tensor& x, std::int64_t start_dim, std::int64_t end_dim) {
  const Shape& shape = Access::node(x, "flatten")->shape;
  if (shape.empty()) return reshape(x, {1});
  const int start = checked_dim("flatten", start_dim, shape), end = checked_dim("flatten", end_dim, shape);
  if (start > end)
    throw ShapeError("flatten: start_dim " + std::to_string(start_dim) + " comes after end_dim " +
                     std::to_string(end_dim) + " for shape " + to_string(shape));
  Shape result;
  for (int i = 0; i < shape.size(); ++i)
    if (i <= start || i > end) result.push_back(shape[i]);
    else result.back() *= shape[i];
  return reshape(x, result);
}

Tensor unsqueeze(const Tensor& x, std::int64_t dim) {
  Shape shape = Access::node(x, "unsqueeze")->shape;
  shape.insert(checked_new_dim("unsqueeze", dim, shape), 1);
  return reshape(x, shape);
}

Tensor squeeze(const Tensor& x) {
  Shape shape;
  for (std::int64_t size : Access::node(x, "squeeze")->shape)
    if (size != 1) shape.push_back(size);
  return reshape(x, shape);
}

Tensor squeeze(const Tensor& x, std::int64_t dim) {
  Shape shape = Access::node(x, "squeeze")->shape;
  const int d = checked_dim("squeeze", dim, shape);
  if (shape[d] != 1) return unchanged(x);
  shape.erase(d);
  return reshape(x, shape);
}

Tensor permute(const Tensor& x, const Dims& dims) {
  const Shape& shape = Access::node(x, "permute")->shape;
  if (dims.size() != shape.size())
    throw ShapeError("permute: dims " + to_string(dims) + " do not name each dim of shape " + to_string(shape) +
                     " once");
  PermuteAttributes attributes{};
  Shape result = shape;
  std::uint32_t seen = 0;
  bool identity = true;
  for (int i = 0; i < dims.size(); ++i) {
    const int d = checked_dim("permute", dims[i], shape);
    if (seen >> d & 1)
      throw ShapeError("permute: dims " + to_string(dims) + " name a dim of shape " + to_string(shape) + " twice");
    seen |= 1u << d;
    identity &= d == i;
    attributes.dims[i] = static_cast<std::int8_t>(d);
    result[i] = shape[d];
  }
  return identity ? unchanged(x) : record(kPermute, result, x.dtype(), {x}, attributes);
}

Tensor transpose(const Tensor& x, std::int64_t dim0, std::int64_t dim1) {
  const Shape& shape = Access::node(x, "transpose")->shape;
  const int a = checked_dim("transpose", dim0, shape), b = checked_dim("transpose", dim1, shape);
  if (a == b) return unchanged(x);
  PermuteAttributes attributes{};
  for (int i = 0; i < shape.size(); ++i) attributes.dims[i] = static_cast<std::int8_t>(i == a ? b : i == b ? a : i);
  Shape result = shape;
  std::swap(result[a], result[b]);
  return record(kPermute, result, x.dtype(), {x}, attributes);
}

Tensor t(const Tensor& x) {
  const Shape& shape = Access::node(x, "t")->shape;
  if (shape.size() > 2)
    throw ShapeError("t: the input of shape " + to_string(shape) + " has more than 2 dims; use transpose or permute");
  return shape.size() < 2 ? unchanged(x) : transpose(x, 0, 1);
}

Tensor detail::broadcast_as(const char* operation, const Tensor& x, const Shape& shape, const char* argument) {
  const Shape& from = Access::node(x, operation)->shape;
  check_shape(operation, shape);
  if (from == shape) return unchanged(x);
  bool fits = from.size() <= shape.size();
  for (int i = 1; fits && i <= from.size(); ++i)
    fits = from[from.size() - i] == 1 || from[from.size() - i] == shape[shape.size() - i];
  if (!fits)
    throw ShapeError(std::string(operation) + ": the " + argument + " of shape " + to_string(from) +
                     " does not broadcast to " + to_string(shape) +
                     ": from the last dim on, sizes must be equal, or 1 in the " + argument);
  return record(kBroadcastTo, shape, x.dtype(), {x});
}

Tensor detail::multiplied(const Tensor& x, double number) {
  Node& node = *Access::node(x);
  Tensor repeated;
  if (node.operation == &kBroadcastTo && node.owner == &ThreadState::get()) {
    const std::lock_guard lock(node.owner->mutex);
    // Computed, its input's value may be gone; and what others have may be differentiated by.
    if (node.state() == State::pending && node.uses() == 1) repeated = Access::share(node.input(0));
  }
  return repeated.defined() ? broadcast_to(repeated * number, node.shape) : x * number;
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) { return broadcast_as("broadcast_to", x, shape); }

Tensor expand(const Tensor& x, const Shape& shape) {
  const Shape& from = Access::node(x, "expand")->shape;
  Shape target = shape;
  const int offset = shape.size() - from.size();
  for (int i = 0; i < shape.size(); ++i)
    if (shape[i] == -1 && i >= offset) target[i] = from[i - offset];
  return broadcast_as("expand", x, target);
}

Tensor slice(const Tensor& x, std::int64_t dim, std::optional<std::int64_t> start, std::optional<std::int64_t> stop,
             std::int64_t step) {
  const int d = checked_dim("slice", dim, Access::node(x, "slice")->shape);
  check_step("slice", step, dim, x.shape());
  return python_slice("slice", x, d, Slice(start, stop, step));
}

Tensor narrow(const Tensor& x, std::int64_t dim, std::int64_t start, std::int64_t length) {
  const Shape& shape = Access::node(x, "narrow")->shape;
  const int d = checked_dim("narrow", dim, shape);
  const std::int64_t first = start < 0 ? start + shape[d] : start;
  if (first < 0 || length < 0 || first > shape[d] || length > shape[d] - first)
    throw ValueError("narrow: start " + std::to_string(start) + " and length " + std::to_string(length) +
                     " do not lie within dim " + std::to_string(dim) + " of shape " + to_string(shape));
  return strided_slice(x, d, first, length, 1);
}

Tensor select(const Tensor& x, std::int64_t dim, std::int64_t index) {
  const Shape& shape = Access::node(x, "select")->shape;
  const std::int64_t position = checked_position("select", index, dim, shape);
  const int d = checked_dim("select", dim, shape);
  return squeeze(strided_slice(x, d, position, 1, 1), d);
}

Tensor flip(const Tensor& x, const DimArg& dims) {
  if (dims.dims().empty()) return unchanged(x);
  const std::uint32_t bits = checked_dims("flip", dims, Access::node(x, "flip")->shape);
  return bits == 0 ? unchanged(x) : record(kFlip, x.shape(), x.dtype(), {x}, FlipAttributes{bits});
}

Tensor cat(TensorSpan tensors, std::int64_t dim) {
  if (tensors.empty()) throw ValueError("cat: no tensors were given; there must be at least one");
  Shape shape = Access::node(tensors[0], "cat")->shape;
  if (shape.empty()) throw ShapeError("cat: tensor 0 has no dims; scalars are joined by stack");
  const int d = checked_dim("cat", dim, shape);
  Dtype dtype = tensors[0].dtype();
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    const Shape& other = Access::node(tensors[i], "cat")->shape;
    bool fits = other.size() == shape.size();
    for (int k = 0; fits && k < shape.size(); ++k) fits = k == d || other[k] == shape[k];
    if (!fits)
      throw ShapeError("cat: tensor " + std::to_string(i) + " has shape " + to_string(other) + ", and tensor 0 " +
                       to_string(tensors[0].shape()) + "; they may differ in dim " + std::to_string(d) + " alone");
    shape[d] += other[d];
    dtype = promote_types(dtype, tensors[i].dtype());
  }
  List<Tensor> operands;
  operands.reserve(tensors.size());
  for (const Tensor& tensor : tensors) operands.push_back(cast_to(tensor, dtype));
  if (operands.size() == 1) return unchanged(operands[0]);
  const CatAttributes attributes{d};
  return record(kCat, shape, dtype, operands.data(), static_cast<int>(operands.size()), &attributes, sizeof attributes);
}

Tensor stack(TensorSpan tensors, std::int64_t dim) {
  if (tensors.empty()) throw ValueError("stack: no tensors were given; there must be at least one");
  const Shape& shape = Access::node(tensors[0], "stack")->shape;
  const int d = checked_new_dim("stack", dim, shape);
  List<Tensor> operands;
  operands.reserve(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (Access::node(tensors[i], "stack")->shape != shape)
      throw ShapeError("stack: tensor " + std::to_string(i) + " has shape " + to_string(tensors[i].shape()) +
                       ", and tensor 0 " + to_string(shape) + "; they must be equal");
    operands.push_back(unsqueeze(tensors[i], d));
  }
  return cat(operands, d);
}

TensorList split(const Tensor& x, std::int64_t size, std::int64_t dim) {
  const Shape& shape = Access::node(x, "split")->shape;
  const int d = checked_dim("split", dim, shape);
  if (size <= 0)
    throw ValueError("split: size " + std::to_string(size) + " for dim " + std::to_string(dim) + " of shape " +
                     to_string(shape) + "; it must be positive");
  TensorList parts;
  for (std::int64_t start = 0; start == 0 || start < shape[d]; start += size)
    parts.push_back(strided_slice(x, d, start, std::min(size, shape[d] - start), 1));
  return parts;
}

TensorList split(const Tensor& x, const std::vector<std::int64_t>& sizes, std::int64_t dim) {
  const Shape& shape = Access::node(x, "split")->shape;
  const int d = checked_dim("split", dim, shape);
  std::int64_t total = 0;
  bool negative = false;
  for (std::int64_t size : sizes) {
    total += size;
    negative |= size < 0;
  }
  if (negative || total != shape[d])
    throw ValueError("split: the sizes add up to " + std::to_string(total) +
                     "; they must not be negative and add up to " + std::to_string(shape[d]) + ", the size of dim " +
                     std::to_string(dim) + " of shape " + to_string(shape));
  TensorList parts;
  std::int64_t start = 0;
  for (std::int64_t size : sizes) {
    parts.push_back(strided_slice(x, d, start, size, 1));
    start += size;
  }
  return parts;
}

TensorList chunk(const Tensor& x, std::int64_t chunks, std::int64_t dim) {
  const Shape& shape = Access::node(x, "chunk")->shape;
  const int d = checked_dim("chunk", dim, shape);
  if (chunks <= 0)
    throw ValueError("chunk: " + std::to_string(chunks) + " chunks of dim " + std::to_string(dim) + " of shape " +
                     to_string(shape) + "; there must be at least one");
  return split(x, std::max<std::int64_t>(1, (shape[d] + chunks - 1) / chunks), d);
}

Tensor pad(const Tensor& x, std::initializer_list<std::int64_t> padding, PadMode mode, Scalar value) {
  return padded(x, padding.begin(), padding.size(), mode, value);
}
Tensor pad(const Tensor& x, const std::vector<std::int64_t>& padding, PadMode mode, Scalar value) {
  return padded(x, padding.data(), padding.size(), mode, value);
}

Tensor slice_scatter(const Tensor& x, const Tensor& source, std::int64_t dim, std::optional<std::int64_t> start,
                     std::optional<std::int64_t> stop, std::int64_t step) {
  const Shape& shape = Access::node(x, "slice_scatter")->shape;
  const int d = checked_dim("slice_scatter", dim, shape);
  check_step("slice_scatter", step, dim, shape);
  const Range range = range_of(Slice(start, stop, step), shape[d]);
  Shape replaced = shape;
  replaced[d] = range.length;
  check_source("slice_scatter", shape, source, replaced);
  return with_slice(x, source, {d, range.start, step});
}

Tensor select_scatter(const Tensor& x, const Tensor& source, std::int64_t dim, std::int64_t index) {
  const Shape& shape = Access::node(x, "select_scatter")->shape;
  const std::int64_t position = checked_position("select_scatter", index, dim, shape);
  const int d = checked_dim("select_scatter", dim, shape);
  Shape replaced = shape;
  replaced.erase(d);
  check_source("select_scatter", shape, source, replaced);
  return with_slice(x, unsqueeze(source, d), {d, position, 1});
}

Tensor Tensor::reshape(const Shape& shape) const { return adjoint::reshape(*this, shape); }
Tensor Tensor::view(const Shape& shape) const { return adjoint::view(*this, shape); }
Tensor Tensor::flatten(std::int64_t start_dim, std::int64_t end_dim) const {
  return adjoint::flatten(*this, start_dim, end_dim);
}
Tensor Tensor::permute(const Dims& dims) const { return adjoint::permute(*this, dims); }
Tensor Tensor::transpose(std::int64_t dim0, std::int64_t dim1) const { return adjoint::transpose(*this, dim0, dim1); }
Tensor Tensor::t() const { return adjoint::t(*this); }
Tensor Tensor::unsqueeze(std::int64_t dim) const { return adjoint::unsqueeze(*this, dim); }
Tensor Tensor::squeeze() const { return adjoint::squeeze(*this); }
Tensor Tensor::squeeze(std::int64_t dim) const { return adjoint::squeeze(*this, dim); }
Tensor Tensor::expand(const Shape& shape) const { return adjoint::expand(*this, shape); }

}  // namespace adjoint
