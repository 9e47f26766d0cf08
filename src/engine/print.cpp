// Printing as NumPy does.
#include <adjoint/tensor.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ostream>

namespace adjoint {
namespace {

constexpr std::int64_t kThreshold = 1000, kEdge = 3;
constexpr std::size_t kLineWidth = 75;
constexpr int kPrecision = 8;

/// One tensor's elements as strings of one width.
class Formatter {
 public:
  Formatter(const Tensor& tensor, const void* data)
      : shape_(tensor.shape()), dtype_(tensor.dtype()), data_(data), summarise_(tensor.numel() > kThreshold) {
    std::vector<std::int64_t> shown;
    collect(0, 0, &shown);
    if (is_floating(dtype_)) measure(shown);
    for (std::int64_t i : shown) width_ = std::max(width_, element(i).size());
  }

  std::string text() const {
    if (shape_.empty()) return element(0);
    if (numel(shape_) == 0) return "[]";
    return list(0, 0);
  }

 private:
  double number(std::int64_t i) const {
    return dtype_ == float32 ? static_cast<const float*>(data_)[i] : static_cast<const double*>(data_)[i];
  }

  void collect(int dim, std::int64_t offset, std::vector<std::int64_t>* shown) const {
    if (dim == shape_.size()) return shown->push_back(offset);
    for (std::int64_t i = 0; i < shape_[dim]; ++i) {
      if (is_cut(dim) && i == kEdge) i = shape_[dim] - kEdge;
      collect(dim + 1, offset * shape_[dim] + i, shown);
    }
  }
  bool is_cut(int dim) const { return summarise_ && shape_[dim] > 2 * kEdge; }

  /// Fixed or exponential, and how many digits before and after the point.
  void measure(const std::vector<std::int64_t>& shown) {
    double largest = 0, smallest = INFINITY;
    for (std::int64_t i : shown) {
      const double x = std::fabs(number(i));
      if (!std::isfinite(x) || x == 0) continue;
      largest = std::max(largest, x);
      smallest = std::min(smallest, x);
    }
    if (dtype_ == float32) {  // compared in float32: 1e-4f is a little less than 1e-4
      const auto a = static_cast<float>(largest), b = static_cast<float>(smallest);
      exponential_ = a >= 1e8f || b < 1e-4f || (a > 0 && a / b > 1000);
    } else {
      exponential_ = largest >= 1e8 || smallest < 1e-4 || (largest > 0 && largest / smallest > 1000);
    }
    for (std::int64_t i : shown) {
      if (!std::isfinite(number(i))) continue;
      const std::string text = digits(number(i));
      if (const std::size_t exponent = text.find('e'); exponent != std::string::npos)
        exponent_ = std::max(exponent_, text.size() - exponent - 2);
      const std::size_t end = std::min(text.size(), text.find('e')), point = std::min(end, text.find('.'));
      before_ = std::max(before_, point);
      after_ = std::max(after_, end > point ? end - point - 1 : 0);
    }
  }

  /// The shortest digits that give the number back.
  std::string shortest(double x, bool exponential) const {
    char buffer[400];
    const auto format = exponential ? std::chars_format::scientific : std::chars_format::fixed;
    char* end = dtype_ == float32 ? std::to_chars(buffer, buffer + sizeof buffer, static_cast<float>(x), format).ptr
                                  : std::to_chars(buffer, buffer + sizeof buffer, x, format).ptr;
    return std::string(buffer, end);
  }

  /// The same, with at most kPrecision digits after the point.
  std::string digits(double x) const {
    std::string text = shortest(x, exponential_);
    std::size_t mantissa = std::min(text.size(), text.find('e'));
    const std::size_t point = text.find('.');
    if (point != std::string::npos && point < mantissa && mantissa - point - 1 > kPrecision) {
      char buffer[400];
      std::snprintf(buffer, sizeof buffer, exponential_ ? "%.*e" : "%.*f", kPrecision, x);
      text = buffer;
      mantissa = std::min(text.size(), text.find('e'));
      while (text[mantissa - 1] == '0') text.erase(--mantissa, 1);
    }
    if (text.substr(0, mantissa).find('.') == std::string::npos) text.insert(mantissa, ".");
    return text;
  }

  std::string element(std::int64_t i) const {
    switch (dtype_) {
      case Dtype::int64:
        return std::to_string(static_cast<const std::int64_t*>(data_)[i]);
      case Dtype::int32:
        return std::to_string(static_cast<const std::int32_t*>(data_)[i]);
      case Dtype::uint8:
        return std::to_string(static_cast<const std::uint8_t*>(data_)[i]);
      case Dtype::bool_:
        return static_cast<const bool*>(data_)[i] ? "True" : "False";
      default:
        break;
    }
    const double x = number(i);
    if (std::isnan(x)) return "nan";
    if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
    if (shape_.empty()) return scalar(x);
    std::string text = digits(x);
    std::size_t exponent = text.find('e');
    if (exponent == std::string::npos) exponent = text.size();
    else text.insert(exponent + 2, exponent_ - (text.size() - exponent - 2), '0');
    const std::size_t point = text.find('.');
    text.insert(exponent, std::string(after_ - (exponent - point - 1), exponential_ ? '0' : ' '));
    return std::string(before_ - point, ' ') + text;
  }

  /// A number alone: the shortest digits that give it back, filled up with zeros to the point.
  std::string scalar(double x) const {
    const double size = std::fabs(x);
    const std::string scientific = shortest(x, true);
    if (x != 0 && (size >= 1e16 || size < 1e-4)) return scientific;
    std::string text = shortest(x, false);
    if (text.find('.') != std::string::npos) return text;
    const std::size_t end = scientific.find('e');
    text = scientific.substr(0, end);
    if (const std::size_t point = text.find('.'); point != std::string::npos) text.erase(point, 1);
    text.resize(static_cast<std::size_t>(std::stoi(scientific.substr(end + 1))) + (std::signbit(x) ? 2 : 1), '0');
    return text + ".0";
  }

  std::string padded(std::int64_t i) const {
    const std::string text = element(i);
    return std::string(width_ - text.size(), ' ') + text;
  }

  std::string list(int dim, std::int64_t offset) const {
    const std::string indent(static_cast<std::size_t>(dim) + 1, ' ');
    const bool last = dim + 1 == shape_.size();
    std::string text = "[", line;
    for (std::int64_t i = 0; i < shape_[dim]; ++i) {
      const bool gap = is_cut(dim) && i == kEdge;
      if (gap) i = shape_[dim] - kEdge - 1;
      if (last) {
        const std::string word = gap ? "..." : padded(offset * shape_[dim] + i);
        // The last line of a row needs room for all brackets that may close there.
        const std::size_t brackets = static_cast<std::size_t>(shape_.size());
        if (!line.empty() && indent.size() + line.size() + 1 + word.size() > kLineWidth - brackets) {
          text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n" + indent;
          line.clear();
        }
        line += (line.empty() ? "" : " ") + word;
      } else {
        if (i > 0) text += std::string(static_cast<std::size_t>(shape_.size() - dim - 1), '\n') + indent;
        text += gap ? "..." : list(dim + 1, offset * shape_[dim] + i);
      }
    }
    return text + line + "]";
  }

  Shape shape_;
  Dtype dtype_;
  const void* data_;
  bool summarise_, exponential_ = false;
  std::size_t width_ = 0, before_ = 0, after_ = 0, exponent_ = 0;  // the exponent's digits
};

const void* elements(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case Dtype::float32:
      return tensor.data<float>();
    case Dtype::float64:
      return tensor.data<double>();
    case Dtype::int64:
      return tensor.data<std::int64_t>();
    case Dtype::int32:
      return tensor.data<std::int32_t>();
    case Dtype::uint8:
      return tensor.data<std::uint8_t>();
    case Dtype::bool_:
      break;
  }
  return tensor.data<bool>();
}

}  // namespace

std::string to_string(const Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  return Formatter(tensor, elements(tensor)).text();
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) { return out << to_string(tensor); }

}  // namespace adjoint
