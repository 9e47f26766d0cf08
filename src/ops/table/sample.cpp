#include "table.hpp"

#include <adjoint/ops.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>

namespace adjoint::table {

namespace {

// std::mt19937_64 gives the same numbers everywhere; the standard library's distributions do not.
double uniform(std::mt19937_64& engine) { return static_cast<double>(engine() >> 11) * 0x1p-53; }

double as_float(double value) { return static_cast<float>(value); }

double draw_one(const Domain& domain, std::mt19937_64& engine) {
  if (!domain.choices.empty()) return domain.choices[engine() % domain.choices.size()];
  for (;;) {
    const double value = as_float(domain.low + (domain.high - domain.low) * uniform(engine));
    if (std::none_of(domain.kinks.begin(), domain.kinks.end(),
                     [&](double kink) { return std::abs(value - kink) < domain.gap; }))
      return value;
  }
}

// The shape of what the layout repeats.
Shape drawn_shape(const Input& input) {
  Shape shape = input.shape;
  if (input.layout == Layout::expanded && !shape.empty() && shape[0] > 0) shape[0] = 1;
  return shape;
}

void shuffle(std::vector<double>& values, std::mt19937_64& engine) {
  for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[engine() % i]);
}

template <class T>
Tensor contiguous(const std::vector<double>& values, const Shape& shape) {
  const auto copy = std::make_unique<T[]>(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) copy[i] = static_cast<T>(values[i]);
  return from_blob(copy.get(), shape);
}

Tensor contiguous(const std::vector<double>& values, const Shape& shape, Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return contiguous<float>(values, shape);
    case Dtype::float64:
      return contiguous<double>(values, shape);
    case Dtype::int64:
      return contiguous<std::int64_t>(values, shape);
    case Dtype::int32:
      return contiguous<std::int32_t>(values, shape);
    case Dtype::uint8:
      return contiguous<std::uint8_t>(values, shape);
    case Dtype::bool_:
      return contiguous<bool>(values, shape);
  }
  throw std::logic_error("unknown dtype");
}

template <class T>
std::vector<double> as_doubles(const Tensor& tensor) {
  const T* data = tensor.data<T>();
  return std::vector<double>(data, data + tensor.numel());
}

}  // namespace

Domain whole(int low, int high) {
  Domain domain;
  for (int i = low; i <= high; ++i) domain.choices.push_back(i);
  return domain;
}

Input index_input(const Shape& shape, std::int64_t size, Layout layout, Dtype dtype) {
  return {shape, layout, whole(0, static_cast<int>(size) - 1), dtype};
}

Input mask_input(const Shape& shape, Layout layout) { return {shape, layout, whole(0, 1), bool_}; }

Arrays draw(const std::vector<Input>& inputs, std::uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::size_t distinct_count = 0;
  for (const Input& input : inputs)
    if (input.domain.distinct) distinct_count += static_cast<std::size_t>(numel(drawn_shape(input)));
  std::vector<double> ranks(distinct_count);
  std::iota(ranks.begin(), ranks.end(), 0.5);
  shuffle(ranks, engine);

  Arrays result;
  for (const Input& input : inputs) {
    const Domain& domain = input.domain;
    const Array drawn = generate(drawn_shape(input), [&](const Dims&) {
      if (!domain.distinct) return draw_one(domain, engine);
      const double rank = ranks.back();
      ranks.pop_back();
      return as_float(domain.low + (domain.high - domain.low) * rank / static_cast<double>(distinct_count));
    });
    result.push_back(generate(
        input.shape, [&](const Dims& index) { return drawn.broadcast_at(index); }, input.dtype));
  }
  return result;
}

Tensor place(const Array& elements, Layout layout, Dtype dtype) {
  dtype = elements.dtype.value_or(dtype);
  const Shape& shape = elements.shape;
  const int rank = shape.size();
  const auto make = [&](const Array& base) { return contiguous(base.values, base.shape, dtype); };
  if (rank == 0) layout = Layout::contiguous;
  switch (layout) {
    case Layout::contiguous:
      return make(elements);
    case Layout::transposed: {
      const auto reversed = [](const Dims& dims) {
        Dims result;
        for (int i = dims.size() - 1; i >= 0; --i) result.push_back(dims[i]);
        return result;
      };
      Dims order;
      for (int i = rank - 1; i >= 0; --i) order.push_back(i);
      return permute(make(moved(elements, reversed(shape), reversed)), order);
    }
    case Layout::sliced: {
      const double junk = is_floating(dtype)                 ? std::numeric_limits<double>::quiet_NaN()
                          : dtype == bool_ || dtype == uint8 ? 1
                                                             : -99;
      Shape larger = shape;
      larger.back() = 2 * shape.back() + 1;
      const Array base = generate(larger, [&](const Dims& index) {
        if (index.back() % 2 == 0) return junk;
        Dims inner = index;
        inner.back() /= 2;
        return elements.at(inner);
      });
      return slice(make(base), -1, 1, {}, 2);
    }
    case Layout::flipped: {
      Dims all;
      for (int i = 0; i < rank; ++i) all.push_back(i);
      return flip(make(moved(elements, shape,
                             [&](Dims index) {
                               for (int i = 0; i < rank; ++i) index[i] = shape[i] - 1 - index[i];
                               return index;
                             })),
                  all);
    }
    case Layout::expanded: {
      Shape smaller = shape;
      smaller[0] = std::min<std::int64_t>(1, shape[0]);
      return expand(make(moved(elements, smaller, [](const Dims& index) { return index; })), shape);
    }
    case Layout::channels_last: {
      const auto last = [](Dims dims) {
        const std::int64_t channels = dims[1];
        dims.erase(1);
        dims.push_back(channels);
        return dims;
      };
      const auto first = [](Dims dims) {
        dims.insert(1, dims.back());
        dims.erase(dims.size() - 1);
        return dims;
      };
      Dims order;
      for (int i = 0; i < rank; ++i) order.push_back(i);
      return permute(make(moved(elements, last(shape), first)), first(order));
    }
  }
  throw std::logic_error("unknown layout");
}

Array elements_of(const Tensor& tensor) {
  Array result{tensor.shape(), {}, tensor.dtype()};
  switch (tensor.dtype()) {
    case Dtype::float32:
      result.values = as_doubles<float>(tensor);
      break;
    case Dtype::float64:
      result.values = as_doubles<double>(tensor);
      break;
    case Dtype::int64:
      result.values = as_doubles<std::int64_t>(tensor);
      break;
    case Dtype::int32:
      result.values = as_doubles<std::int32_t>(tensor);
      break;
    case Dtype::uint8:
      result.values = as_doubles<std::uint8_t>(tensor);
      break;
    case Dtype::bool_:
      result.values = as_doubles<bool>(tensor);
      break;
  }
  return result;
}

}  // namespace adjoint::table
