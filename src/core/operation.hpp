// What there is to know of an operation: how it is executed, and how it is differentiated.
#pragma once

#include <adjoint/tensor.hpp>

#include <cstdint>
#include <optional>

namespace adjoint::detail {

class Node;
struct Operation;

/// Where a derivative has the values of marked nodes from.
class MarkedValues {
 public:
  virtual Tensor of(Node& node) = 0;

 protected:
  ~MarkedValues() = default;
};

/// The derivative's view of a recorded node: what it named, and shapes.
class Recorded {
 public:
  Recorded(Node& node, MarkedValues& values) noexcept : node_(&node), values_(&values) {}
  /// An input whose value the rule named in `reads`.
  Tensor input(int i) const;
  /// The result, if the rule named it.
  Tensor output() const;
  const Shape& input_shape(int i) const;
  Dtype input_dtype(int i) const;
  const Shape& shape() const;
  Dtype dtype() const;
  /// An input that is a number of the host program; one whose value the rule named in `reads`.
  std::optional<Scalar> number(int i) const;
  /// The operation that made an input.
  const Operation* input_operation(int i) const;
  template <class T>
  const T& attributes() const noexcept {
    return *static_cast<const T*>(attribute_bytes());
  }

 private:
  const void* attribute_bytes() const noexcept;
  Tensor value_of(Node& node) const;

  Node* node_;
  MarkedValues* values_;
};

/// The families; for each, what its author writes.
enum class Family : std::uint8_t {
  leaf,
  elementwise,  // tangent: a map of t, linear in it and elementwise, so that it is its own transpose
  linear,       // pullback: the transpose. The tangent is the operation itself
  bilinear,     // pullback for each of the two. The tangent is the operation itself, twice
  reduction,    // tangent: elementwise weights of the input; summed forward, broadcast in reverse
  non_differentiable,
};

/// Bits of `reads`: input i is bit i.
inline constexpr std::uint8_t kReadsOutput = 1 << 7;

/// A plain constant. An operation is made of these few words in the file of its family, and of a row in the table of
/// the tests.
struct Operation {
  const char* name;
  Family family;
  /// Computes the value of a node whose inputs are computed. May throw.
  void (*execute)(Node& node);
  /// Which of the family's kernels.
  std::uint8_t kernel = 0;
  /// Whether values can make it fail, so that it remembers where it was recorded.
  bool can_fail = false;
  /// The inputs that are differentiated (bit i), and what the derivative by each of them reads.
  std::uint8_t differentiable = 0;
  std::uint8_t reads[3] = {};
  /// The part of the result's tangent that input i's tangent t makes, t already of the result's shape (elementwise; in
  /// reverse mode of the input's, where the rule reads nothing), or of the input's shape (reduction).
  Tensor (*tangent)(const Recorded& at, int input, const Tensor& t) = nullptr;
  /// The part of input i's cotangent that the result's cotangent g makes.
  Tensor (*pullback)(const Recorded& at, int input, const Tensor& g) = nullptr;
};

}  // namespace adjoint::detail
