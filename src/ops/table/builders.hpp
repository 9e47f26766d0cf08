// What the rows of the families are built with.
#pragma once

#include "table.hpp"

#include <adjoint/ops.hpp>
#include <adjoint/random.hpp>

namespace adjoint::table {

using OneCall = std::function<Tensor(const Tensors&)>;
using OneOracle = std::function<Array(const Arrays&)>;

/// A case of an operation with one result.
Case one(std::string label, std::vector<Input> inputs, OneCall call, OneOracle oracle);
/// The same, which cannot be called on integers.
Case one_floating(std::string label, std::vector<Input> inputs, OneCall call, OneOracle oracle);

/// A case for the benchmarks, of an operation with one result.
Case timed(std::string label, std::vector<Input> inputs, OneCall call);
/// The usual size of its inputs: more than the caches of the first levels hold, in float32 4 MB.
inline const Shape kTimed{1024, 1024};
/// Images as they lie between the layers of a network: 64 channels of 32 x 32.
Input timed_images();

ErrorInput shape_error(OneCall call, std::vector<std::string> mentions);
ErrorInput dtype_error(OneCall call, std::vector<std::string> mentions);
ErrorInput value_error(OneCall call, std::vector<std::string> mentions);
ErrorInput value_error_when_computed(OneCall call, std::vector<std::string> mentions);

/// Every size, rank and layout that an elementwise operation of one operand should meet.
std::vector<Input> one_operand(const Domain& domain);
/// The same for two operands, with broadcasting.
std::vector<std::vector<Input>> two_operands(const Domain& a, const Domain& b);

/// Rows of elementwise operations: the operation, and the same in doubles.
struct Unary {
  Tensor (*operation)(const Tensor&);
  double (*oracle)(double);
};
Row unary(const char* name, Family family, Unary f, const Domain& domain, OnIntegers on_integers,
          std::optional<Dtype> result = {});
struct Binary {
  Tensor (*tensors)(const Tensor&, const Tensor&);
  Tensor (*scalar_right)(const Tensor&, Scalar);
  Tensor (*scalar_left)(Scalar, const Tensor&);
  double (*oracle)(double, double);
};
/// `scalar` is the number that takes an operand's place.
Row binary(const char* name, Family family, Binary f, const Domain& a, const Domain& b, double scalar,
           OnIntegers on_integers, std::optional<Dtype> result = {});

inline constexpr OnIntegers kKept{Result::same, Result::same};           // any dtype keeps its own
inline constexpr OnIntegers kNoBools{Result::same, Result::refused};     // so do integers; bools are refused
inline constexpr OnIntegers kToFloat{Result::float32, Result::float32};  // computed in float32
inline constexpr OnIntegers kRefused{Result::refused, Result::refused};

}  // namespace adjoint::table
