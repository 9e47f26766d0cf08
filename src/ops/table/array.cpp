#include "array.hpp"

#include <algorithm>

namespace adjoint::table {

std::size_t Array::position(const Dims& index) const {
  std::int64_t result = 0;
  for (int i = 0; i < shape.size(); ++i) result = result * shape[i] + index[i];
  return static_cast<std::size_t>(result);
}

double Array::broadcast_at(const Dims& index) const {
  Dims own;
  for (int i = 0; i < shape.size(); ++i) own.push_back(shape[i] == 1 ? 0 : index[index.size() - shape.size() + i]);
  return at(own);
}

void for_each_index(const Shape& shape, const std::function<void(const Dims&)>& visit) {
  const std::int64_t count = numel(shape);
  Dims index = Dims::filled(shape.size(), 0);
  for (std::int64_t n = 0; n < count; ++n) {
    visit(index);
    for (int i = shape.size() - 1; i >= 0 && ++index[i] == shape[i]; --i) index[i] = 0;
  }
}

Array generate(const Shape& shape, const std::function<double(const Dims&)>& element, std::optional<Dtype> dtype) {
  Array result{shape, {}, dtype};
  result.values.reserve(static_cast<std::size_t>(numel(shape)));
  for_each_index(shape, [&](const Dims& index) { result.values.push_back(element(index)); });
  return result;
}

Array map(const Arrays& inputs, const std::function<double(const double*)>& f, std::optional<Dtype> dtype) {
  Shape shape;
  for (const Array& input : inputs) {
    while (shape.size() < input.shape.size()) shape.insert(0, 1);
    for (int i = 0; i < input.shape.size(); ++i)
      if (input.shape[i] != 1) shape[shape.size() - input.shape.size() + i] = input.shape[i];
  }
  std::vector<double> arguments(inputs.size());
  return generate(
      shape,
      [&](const Dims& index) {
        for (std::size_t i = 0; i < inputs.size(); ++i) arguments[i] = inputs[i].broadcast_at(index);
        return f(arguments.data());
      },
      dtype);
}

Array reduce(const Array& x, const Dims& dims, bool keepdim, const std::function<double(const std::vector<double>&)>& f,
             std::optional<Dtype> dtype) {
  std::vector<bool> reduced(static_cast<std::size_t>(x.shape.size()), dims.empty());
  if (!x.shape.empty())  // a scalar is also a vector of one
    for (std::int64_t dim : dims) reduced[static_cast<std::size_t>(front(dim, x.shape.size()))] = true;
  Shape kept, shape, run;
  for (int i = 0; i < x.shape.size(); ++i) {
    const bool here = reduced[static_cast<std::size_t>(i)];
    if (here) run.push_back(x.shape[i]);
    else kept.push_back(x.shape[i]);
    if (!here || keepdim) shape.push_back(here ? 1 : x.shape[i]);
  }
  Array result = generate(
      kept,
      [&](const Dims& outer) {
        std::vector<double> elements;
        for_each_index(run, [&](const Dims& inner) {
          Dims index;
          int o = 0, r = 0;
          for (int i = 0; i < x.shape.size(); ++i)
            index.push_back(reduced[static_cast<std::size_t>(i)] ? inner[r++] : outer[o++]);
          elements.push_back(x.at(index));
        });
        return f(elements);
      },
      dtype);
  result.shape = shape;
  return result;
}

Array moved(const Array& x, const Shape& shape, const std::function<Dims(const Dims&)>& from) {
  return generate(
      shape, [&](const Dims& index) { return x.at(from(index)); }, x.dtype);
}

double stored(double value, Dtype dtype) {
  const auto whole = [&] { return static_cast<std::int64_t>(value); };
  switch (dtype) {
    case Dtype::float32:
      return static_cast<float>(value);
    case Dtype::float64:
      return value;
    case Dtype::int64:
      return static_cast<double>(whole());
    case Dtype::int32:
      return static_cast<std::int32_t>(static_cast<std::uint32_t>(whole()));
    case Dtype::uint8:
      return static_cast<std::uint8_t>(whole());
    case Dtype::bool_:
      return value != 0;
  }
  return value;
}

}  // namespace adjoint::table
