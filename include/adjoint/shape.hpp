#pragma once

#include <adjoint/export.hpp>

#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <string>

namespace adjoint {

/// The most dims that a tensor can have.
inline constexpr int kMaxRank = 8;

/// A short list of integers kept in place: the sizes of a tensor's dims, its strides, or a choice of dims.
/// Comes from braces, `{2, 3}`, or explicitly from a range, `Dims(vector)`; never from a single integer, so that
/// `zeros((1, 3))`, a comma expression, does not compile. Throws ShapeError beyond kMaxRank entries.
class ADJOINT_API Dims {
 public:
  using value_type = std::int64_t;

  Dims() noexcept { values_[0] = values_[1] = values_[2] = 0; }
  Dims(const Dims& other) noexcept { copy(other); }
  Dims& operator=(const Dims& other) noexcept {
    copy(other);
    return *this;
  }
  Dims(std::initializer_list<std::int64_t> values) : Dims() { assign(values.begin(), values.end()); }
  template <class Range, class = decltype(std::begin(std::declval<const Range&>()))>
  explicit Dims(const Range& range) : Dims() {
    assign(std::begin(range), std::end(range));
  }
  template <class Iterator>
  Dims(Iterator first, Iterator last) : Dims() {
    assign(first, last);
  }
  /// `size` entries of `value`.
  static Dims filled(int size, std::int64_t value);

  int size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  std::int64_t operator[](int i) const noexcept { return values_[i]; }
  std::int64_t& operator[](int i) noexcept { return values_[i]; }
  const std::int64_t* begin() const noexcept { return values_; }
  const std::int64_t* end() const noexcept { return values_ + size_; }
  std::int64_t* begin() noexcept { return values_; }
  std::int64_t* end() noexcept { return values_ + size_; }
  std::int64_t back() const noexcept { return values_[size_ - 1]; }
  std::int64_t& back() noexcept { return values_[size_ - 1]; }

  void push_back(std::int64_t value) {
    if (size_ == kMaxRank) throw_too_long();
    values_[size_++] = value;
  }
  void insert(int at, std::int64_t value);
  void erase(int at) noexcept;

  friend bool operator==(const Dims& a, const Dims& b) noexcept {
    if (a.size_ != b.size_) return false;
    for (int i = 0; i < a.size_; ++i)
      if (a.values_[i] != b.values_[i]) return false;
    return true;
  }
  friend bool operator!=(const Dims& a, const Dims& b) noexcept { return !(a == b); }

 private:
  template <class Iterator>
  void assign(Iterator first, Iterator last) {
    for (; first != last; ++first) push_back(static_cast<std::int64_t>(*first));
  }
  // Nodes are full of these: what few of them use is left as it is.
  void copy(const Dims& other) noexcept {
    size_ = other.size_;
    for (int i = 0; i < 3; ++i) values_[i] = other.values_[i];
    if (size_ > 3)
      for (int i = 3; i < kMaxRank; ++i) values_[i] = other.values_[i];
  }
  [[noreturn]] static void throw_too_long();

  int size_ = 0;  // first, so that it lies beside the entries that are used
  std::int64_t values_[kMaxRank];
};

using Shape = Dims;
using Strides = Dims;

/// The number of elements: the product of the sizes; 1 for the shape {}.
ADJOINT_API std::int64_t numel(const Shape& shape) noexcept;
/// The strides, in elements, of a row-major array without gaps.
ADJOINT_API Strides row_major_strides(const Shape& shape) noexcept;
/// The shape that two shapes broadcast to, by NumPy's rule. Throws ShapeError naming `operation` and both shapes.
ADJOINT_API Shape broadcast_shapes(const Shape& a, const Shape& b, const char* operation = "broadcast_shapes");
/// "(2, 3)".
ADJOINT_API std::string to_string(const Dims& dims);
ADJOINT_API std::ostream& operator<<(std::ostream& out, const Dims& dims);

}  // namespace adjoint
