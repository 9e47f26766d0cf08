#include "kernels/kernels.hpp"
#include "ops/common.hpp"

#include <adjoint/random.hpp>

#include "core/thread_state.hpp"

#include <cmath>
#include <cstring>
#include <limits>

namespace adjoint {
namespace detail {
namespace {

const Operation kIota{"arange", Family::non_differentiable, execute_iota};
const Operation kUniform{"rand", Family::non_differentiable, execute_random,
                         static_cast<std::uint8_t>(kernels::Random::uniform)};
const Operation kNormal{"randn", Family::non_differentiable, execute_random,
                        static_cast<std::uint8_t>(kernels::Random::normal)};
const Operation kInteger{"randint", Family::non_differentiable, execute_random,
                         static_cast<std::uint8_t>(kernels::Random::integer)};
const Operation kPermutation{"randperm", Family::non_differentiable, execute_permutation};

Tensor iota(std::int64_t count, Dtype dtype, const IotaAttributes& attributes) {
  return record(kIota, {count}, dtype, {}, attributes);
}

Tensor draw(const Operation& operation, const Shape& shape, Dtype dtype, Generator& generator, std::int64_t low = 0,
            std::int64_t high = 0) {
  check_shape(operation.name, shape);
  const std::uint64_t offset = generator.reserve(static_cast<std::uint64_t>(numel(shape)));
  return record(operation, shape, dtype, {}, RandomAttributes{generator.seed(), offset, low, high});
}

Tensor constant_like(const char* operation, const Tensor& x, Scalar value, std::optional<Dtype> dtype) {
  const Node* node = Access::node(x, operation);
  return broadcast_as(operation, number_of(operation, value, dtype.value_or(node->dtype)), node->shape);
}

void check_floating_dtype(const char* operation, Dtype dtype) {
  if (!is_floating(dtype))
    throw DtypeError(std::string(operation) + ": the dtype is " + name_of(dtype) + "; it must be float32 or float64");
}

/// The first path down the braces gives the shape, and every other one is held against it.
void measure(const Nested& values, int depth, bool first, Shape* shape, bool* floating, bool* all_bool) {
  if (values.is_list && first) shape->push_back(static_cast<std::int64_t>(values.list.size()));
  if (values.is_list != (depth < shape->size()))
    throw ShapeError("tensor: the braces are ragged: a number stands beside a list at depth " + std::to_string(depth));
  if (!values.is_list) {
    *floating |= values.scalar.is_floating();
    *all_bool &= values.scalar.is_bool();
    return;
  }
  const auto size = static_cast<std::int64_t>(values.list.size());
  if ((*shape)[depth] != size)
    throw ShapeError("tensor: the braces are ragged: lists of " + std::to_string((*shape)[depth]) + " and of " +
                     std::to_string(size) + " entries at depth " + std::to_string(depth));
  for (const Nested& entry : values.list) {
    measure(entry, depth + 1, first, shape, floating, all_bool);
    first = false;
  }
}

void flatten_into(const Nested& values, Dtype dtype, std::byte*& at) {
  if (!values.is_list) {
    store_number(values.scalar, dtype, at);
    at += size_of(dtype);
    return;
  }
  for (const Nested& entry : values.list) flatten_into(entry, dtype, at);
}

}  // namespace

Tensor unwritten(const Shape& shape, Dtype dtype, std::byte** data) {
  Node* node = Node::make(kLeaf, shape, dtype);
  Tensor result = Access::take(node);
  node->allocate_value();
  node->set_computed();
  *data = static_cast<std::byte*>(node->value.data);
  return result;
}

Tensor tensor_from(const Nested& values, std::optional<Dtype> dtype) {
  Shape shape;
  bool floating = false, all_bool = true;
  measure(values, 0, true, &shape, &floating, &all_bool);
  if (numel(shape) == 0) {
    floating = true;
    all_bool = false;
  }
  std::byte* data = nullptr;
  Tensor result = unwritten(shape, dtype.value_or(floating ? float32 : all_bool ? bool_ : int64), &data);
  flatten_into(values, result.dtype(), data);
  return result;
}

Tensor copy_in(const void* data, const Shape& shape, Dtype dtype) {
  check_shape("from_blob", shape);
  if (!data && numel(shape) > 0)
    throw ValueError("from_blob: the pointer is null, and shape " + to_string(shape) + " is not empty");
  std::byte* to = nullptr;
  Tensor result = unwritten(shape, dtype, &to);
  if (numel(shape) > 0) std::memcpy(to, data, static_cast<std::size_t>(numel(shape)) * size_of(dtype));
  return result;
}

Tensor adopt(void* data, const Shape& shape, Dtype dtype, void (*release)(void*), void* context) {
  check_shape("from_blob", shape);
  if (!data && numel(shape) > 0)
    throw ValueError("from_blob: the pointer is null, and shape " + to_string(shape) + " is not empty");
  Storage* storage = Storage::adopt(data, static_cast<std::size_t>(numel(shape)) * size_of(dtype), release, context);
  return storage_node(storage, shape, dtype);
}

}  // namespace detail

using namespace detail;

Tensor full(const Shape& shape, Scalar value, std::optional<Dtype> dtype) {
  return broadcast_as("full", number_of("full", value, dtype.value_or(value.default_dtype())), shape);
}
Tensor zeros(const Shape& shape, Dtype dtype) { return broadcast_as("zeros", scalar_node(0, dtype), shape); }
Tensor ones(const Shape& shape, Dtype dtype) { return broadcast_as("ones", scalar_node(1, dtype), shape); }
Tensor empty(const Shape& shape, Dtype dtype) { return broadcast_as("empty", scalar_node(0, dtype), shape); }
Tensor full_like(const Tensor& x, Scalar value, std::optional<Dtype> dtype) {
  return constant_like("full_like", x, value, dtype);
}
Tensor zeros_like(const Tensor& x, std::optional<Dtype> dtype) { return constant_like("zeros_like", x, 0, dtype); }
Tensor ones_like(const Tensor& x, std::optional<Dtype> dtype) { return constant_like("ones_like", x, 1, dtype); }
Tensor empty_like(const Tensor& x, std::optional<Dtype> dtype) { return constant_like("empty_like", x, 0, dtype); }

Tensor eye(std::int64_t n, std::optional<std::int64_t> m, Dtype dtype) {
  check_shape("eye", {n, m.value_or(n)});
  return cast(unsqueeze(arange(n), 1) == arange(m.value_or(n)), dtype);
}

Tensor arange(Scalar start, Scalar stop, Scalar step, std::optional<Dtype> dtype) {
  const bool floating = start.is_floating() || stop.is_floating() || step.is_floating();
  const Dtype result = dtype.value_or(floating ? float32 : int64);
  if (result == bool_) throw DtypeError("arange: the dtype is bool; it must be a number's");
  const double distance = stop.to_double() - start.to_double();
  const auto refuse = [&](const char* why) {
    throw ValueError("arange: start " + std::to_string(start.to_double()) + ", stop " +
                     std::to_string(stop.to_double()) + ", step " + std::to_string(step.to_double()) + ": " + why);
  };
  if (step.to_double() == 0) refuse("the step must not be 0");
  if (distance != 0 && (distance > 0) != (step.to_double() > 0)) refuse("the step leads away from stop");
  std::int64_t count = 0;
  if (floating) {
    const double steps = std::ceil(distance / step.to_double());
    if (!(steps >= 0 && steps < 9e18)) refuse("the number of elements must be finite");
    count = static_cast<std::int64_t>(steps);
  } else {
    const std::int64_t by = step.to_int64(), length = stop.to_int64() - start.to_int64();
    count = (length + by - (by > 0 ? 1 : -1)) / by;
  }
  check_shape("arange", {count});
  return iota(count, result, {start.to_double(), step.to_double(), start.to_int64(), step.to_int64()});
}
Tensor arange(Scalar stop) { return arange(stop.is_floating() ? Scalar(0.0) : Scalar(0), stop); }

Tensor linspace(Scalar start, Scalar stop, std::int64_t steps, Dtype dtype) {
  if (steps < 0) throw ValueError("linspace: steps is " + std::to_string(steps) + "; it must not be negative");
  const double a = start.to_double(), b = stop.to_double();
  if (steps == 1) return full({1}, a, dtype);
  // Each half is counted from its own end, so that both ends are met exactly.
  const double step = (b - a) / static_cast<double>(steps - 1);
  const Tensor i = iota(steps, float64, {0, 1, 0, 1});
  const Tensor values =
      where(i < static_cast<double>(steps) / 2, a + i * step, b - (static_cast<double>(steps - 1) - i) * step);
  return cast(values, dtype);
}

// -- random -----------------------------------------------------------------------------------------------------------

Generator& default_generator() noexcept { return ThreadState::get().generator; }
void manual_seed(std::uint64_t seed) noexcept { default_generator().manual_seed(seed); }

Tensor rand(const Shape& shape, Dtype dtype, Generator& generator) {
  check_floating_dtype("rand", dtype);
  return draw(kUniform, shape, dtype, generator);
}
Tensor randn(const Shape& shape, Dtype dtype, Generator& generator) {
  check_floating_dtype("randn", dtype);
  return draw(kNormal, shape, dtype, generator);
}
Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape, Dtype dtype, Generator& generator) {
  if (low >= high)
    throw ValueError("randint: low is " + std::to_string(low) + " and high " + std::to_string(high) +
                     "; low must be less than high");
  return cast(draw(kInteger, shape, int64, generator, low, high), dtype);
}
Tensor bernoulli(const Tensor& probabilities, Generator& generator) {
  const Shape& shape = Access::node(probabilities, "bernoulli")->shape;
  check_floating("bernoulli", probabilities);
  const Dtype dtype = probabilities.dtype();
  return cast(rand(shape, dtype, generator) < probabilities, dtype);
}
Tensor randperm(std::int64_t n, Generator& generator) {
  if (n < 0) throw ValueError("randperm: n is " + std::to_string(n) + "; it must not be negative");
  return draw(kPermutation, {n}, int64, generator);
}

}  // namespace adjoint
