// The operation table: for each operation of the public headers one row, with samples of its arguments, an oracle for
// its values, and arguments that it must refuse. The tests (test_ops), the benchmarks and the coverage document read
// it. A new operation needs its row here, in the file of its family; a test compares the rows with the headers. Cases
// are sized for the tests; where larger ones tell more about speed, a row has some for the benchmarks alone (`timed`).
#pragma once

#include "array.hpp"

#include <adjoint/tensor.hpp>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace adjoint::table {

using Tensors = std::vector<Tensor>;

// -- samples ----------------------------------------------------------------------------------------------------------

/// How an input lies in memory; the tensor that the operation is given is made by movement operations from a larger
/// one, whose other elements no operation may read (they are NaN, or -99).
enum class Layout : std::uint8_t {
  contiguous,
  transposed,     // dims in reverse order
  sliced,         // every second position of the last dim
  flipped,        // every dim backwards
  expanded,       // the first dim repeated
  channels_last,  // dim 1 behind the others
};
const char* name_of(Layout layout) noexcept;

/// What an input's elements are drawn from. All are numbers that float32 holds exactly.
struct Domain {
  double low = -2, high = 2;
  /// Points where no derivative exists; elements keep a distance of at least `gap` from them.
  std::vector<double> kinks = {};
  double gap = 0.05;
  /// No two elements, of all inputs of the sample, are close (for operations with a kink at ties).
  bool distinct = false;
  /// Elements are drawn from these alone.
  std::vector<double> choices = {};
};
/// The whole numbers of [low, high].
Domain whole(int low, int high);

struct Input {
  Input(const Shape& shape_, Layout layout_ = Layout::contiguous, const Domain& domain_ = {},
        std::optional<Dtype> dtype_ = {})
      : shape(shape_), layout(layout_), domain(domain_), dtype(dtype_) {}
  Input(const Shape& shape_, const Domain& domain_, std::optional<Dtype> dtype_ = {})
      : Input(shape_, Layout::contiguous, domain_, dtype_) {}

  Shape shape;
  Layout layout;
  Domain domain;
  std::optional<Dtype> dtype;  // none: the dtype under test, and differentiated
};
/// Positions in a dim of `size`.
Input index_input(const Shape& shape, std::int64_t size, Layout layout = Layout::contiguous, Dtype dtype = int64);
Input mask_input(const Shape& shape, Layout layout = Layout::contiguous);

/// One larger size: more than two chunks of the engine's threads, and no multiple of a tile.
inline constexpr std::int64_t kLarge = 70001;

/// The elements of the inputs; the same for the same seed.
Arrays draw(const std::vector<Input>& inputs, std::uint64_t seed);
/// A tensor of the elements, in the array's dtype (or else the given one), lying as the layout says. With
/// Layout::expanded the elements must repeat along the first dim.
Tensor place(const Array& elements, Layout layout, Dtype dtype);
/// The elements that a tensor holds. Computes.
Array elements_of(const Tensor& tensor);

// -- rows -------------------------------------------------------------------------------------------------------------

using Call = std::function<Tensors(const Tensors&)>;
using Oracle = std::function<Arrays(const Arrays&)>;
/// What is wrong with the outputs, given the inputs; empty if nothing.
using Property = std::function<std::string(const Arrays& inputs, const Arrays& outputs)>;

/// One way to call an operation, on one set of inputs.
struct Case {
  std::string label;  // how the call is written
  std::vector<Input> inputs;
  Call call;
  Oracle oracle;
  Property property = {};      // instead of an oracle, for random numbers
  bool floating_only = false;  // not to be called on integers
};

enum class ErrorKind : std::uint8_t { shape, dtype, value };
const char* name_of(ErrorKind kind) noexcept;
/// A call that must throw. The message must hold the operation's name and the texts of `mentions`.
struct ErrorInput {
  ErrorKind kind;
  std::function<Tensors()> call;
  std::vector<std::string> mentions = {};
  bool when_computed = false;  // only values reveal it
};

/// The families of DESIGN.md section 4. `creation`, `random` and `helper` have no inputs to differentiate.
enum class Family : std::uint8_t {
  elementwise,
  linear,
  bilinear,
  reduction,
  composite,
  non_differentiable,
  creation,
  random,
  helper,
};
const char* name_of(Family family) noexcept;
bool is_differentiable(Family family) noexcept;

/// What becomes of integers and bools where floating-point inputs give a floating-point result.
enum class Result : std::uint8_t { same, float32, int64, refused };
struct OnIntegers {
  Result integers = Result::refused, bools = Result::refused;
};

struct Row {
  std::string name;
  Family family;
  OnIntegers on_integers;
  std::vector<Case> cases;
  std::vector<ErrorInput> errors = {};
  /// For the benchmarks alone, without an oracle. Rows without any are timed by the largest of their cases.
  std::vector<Case> timed = {};
};

/// The whole table.
const std::vector<Row>& rows();

// -- its parts --------------------------------------------------------------------------------------------------------

std::vector<Row> elementwise_rows();
std::vector<Row> comparison_rows();
std::vector<Row> reduction_rows();
std::vector<Row> movement_rows();
std::vector<Row> indexing_rows();
std::vector<Row> sorting_rows();
std::vector<Row> contraction_rows();
std::vector<Row> convolution_rows();
std::vector<Row> composite_rows();
std::vector<Row> normalization_rows();
std::vector<Row> loss_rows();
std::vector<Row> creation_rows();
std::vector<Row> random_rows();

}  // namespace adjoint::table
