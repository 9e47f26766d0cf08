#include <adjoint/error.hpp>
#include <adjoint/shape.hpp>

#include <algorithm>
#include <ostream>

namespace adjoint {

Dims Dims::filled(int size, std::int64_t value) {
  Dims dims;
  for (int i = 0; i < size; ++i) dims.push_back(value);
  return dims;
}

void Dims::insert(int at, std::int64_t value) {
  push_back(value);
  std::rotate(begin() + at, end() - 1, end());
}

void Dims::erase(int at) noexcept {
  std::rotate(begin() + at, begin() + at + 1, end());
  --size_;
}

void Dims::throw_too_long() {
  throw ShapeError("a tensor has at most " + std::to_string(kMaxRank) + " dims; this would have more");
}

std::int64_t numel(const Shape& shape) noexcept {
  std::int64_t product = 1;
  for (std::int64_t size : shape) product *= size;
  return product;
}

Strides row_major_strides(const Shape& shape) noexcept {
  Strides strides = shape;
  std::int64_t stride = 1;
  for (int i = shape.size() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape[i];
  }
  return strides;
}

Shape broadcast_shapes(const Shape& a, const Shape& b, const char* operation) {
  const Shape& longer = a.size() >= b.size() ? a : b;
  const Shape& shorter = a.size() >= b.size() ? b : a;
  Shape result = longer;
  const int offset = longer.size() - shorter.size();
  for (int i = 0; i < shorter.size(); ++i) {
    std::int64_t& size = result[offset + i];
    if (shorter[i] == size || shorter[i] == 1) continue;
    if (size != 1)
      throw ShapeError(std::string(operation) + ": shapes " + to_string(a) + " and " + to_string(b) +
                       " do not broadcast: dim " + std::to_string(i - shorter.size()) + " has sizes " +
                       std::to_string(a[a.size() - shorter.size() + i]) + " and " +
                       std::to_string(b[b.size() - shorter.size() + i]) + ", which must be equal, or one of them 1");
    size = shorter[i];
  }
  return result;
}

std::string to_string(const Dims& dims) {
  std::string text = "(";
  for (int i = 0; i < dims.size(); ++i) text += (i ? ", " : "") + std::to_string(dims[i]);
  return text + (dims.size() == 1 ? ",)" : ")");
}

std::ostream& operator<<(std::ostream& out, const Dims& dims) { return out << to_string(dims); }

}  // namespace adjoint
