#pragma once

#include <adjoint/dtype.hpp>
#include <adjoint/error.hpp>
#include <adjoint/scalar.hpp>
#include <adjoint/shape.hpp>

#include <initializer_list>
#include <iosfwd>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace adjoint {

namespace detail {
class Node;
class Cell;
struct Access;
}  // namespace detail

/// The dims of a reduction: one, `sum(x, -1)`, or several, `sum(x, {0, 2})`; none, `{}`, means all of them.
class DimArg {
 public:
  template <class T, class = std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>>
  DimArg(T dim) : dims_{static_cast<std::int64_t>(dim)} {}
  DimArg(std::initializer_list<std::int64_t> dims) : dims_(dims) {}
  DimArg(const Dims& dims) : dims_(dims) {}
  const Dims& dims() const noexcept { return dims_; }

 private:
  Dims dims_;
};

/// A range of positions, as Python's start:stop:step. Negative positions count from the end; step may be negative.
struct Slice {
  Slice() = default;
  Slice(std::optional<std::int64_t> start_, std::optional<std::int64_t> stop_ = {}, std::int64_t step_ = 1)
      : start(start_), stop(stop_), step(step_) {}
  std::optional<std::int64_t> start, stop;
  std::int64_t step = 1;
};
/// In an index: a new dim of size 1.
struct NoneType {};
inline constexpr NoneType None{};
/// In an index: as many full slices as are needed.
struct EllipsisType {};
inline constexpr EllipsisType Ellipsis{};

class Index;

/// A handle on a node of the computation graph: an operation, its inputs, and, once computed, its value. Recording an
/// operation checks shapes and dtypes at once and computes nothing; a look (`item`, `data`, `to_vector`, printing,
/// `eval`) computes. Values never change: there are no views that alias.
///
/// A parameter, a module's buffer, and a leaf that requires grad are *cells*, named places for a value that every
/// handle copied from them sees. Assignments (`+=`, and names ending in `_`) assign a cell; on any other Tensor they
/// rebind that one handle. On a leaf that requires grad they need a NoGradGuard, and else throw AutogradError.
///
/// A default-constructed Tensor is undefined; every use of one but defined(), assignment and destruction throws
/// ValueError. Handles may be copied and destroyed on any thread.
class ADJOINT_API Tensor {
 public:
  Tensor() noexcept : node_(nullptr), cell_(nullptr) {}
  Tensor(const Tensor& other) noexcept;
  Tensor(Tensor&& other) noexcept : node_(other.node_), cell_(other.cell_) {
    other.node_ = nullptr;
    other.cell_ = nullptr;
  }
  ~Tensor() {
    if (defined()) release();
  }
  Tensor& operator=(const Tensor& other) & noexcept { return *this = Tensor(other); }
  Tensor& operator=(Tensor&& other) & noexcept {
    Tensor taken(std::move(other));
    std::swap(node_, taken.node_);
    std::swap(cell_, taken.cell_);
    return *this;
  }

  bool defined() const noexcept { return node_ != nullptr || cell_ != nullptr; }
  /// Whether this is a handle on a cell.
  bool is_cell() const noexcept { return cell_ != nullptr; }
  /// Whether both are handles on one cell, or on one node of the graph (or undefined).
  bool is_same(const Tensor& other) const noexcept { return node_ == other.node_ && cell_ == other.cell_; }
  const Shape& shape() const;
  Dtype dtype() const;
  /// The number of dims.
  int dim() const { return shape().size(); }
  /// The size of one dim; negative dims count from the end. Throws ShapeError when out of range.
  std::int64_t size(std::int64_t dim) const;
  std::int64_t numel() const { return adjoint::numel(shape()); }

  // -- looks: these compute ---------------------------------------------------------------------------------------

  /// The value of a tensor with one element. Throws ValueError for more, or none; DtypeError when T is an integer
  /// type and the dtype floating, and otherwise converts.
  template <class T>
  T item() const {
    const Scalar value = item_scalar(dtype_of<T>());
    if constexpr (std::is_same_v<T, bool>) return value.to_double() != 0;
    else if constexpr (std::is_floating_point_v<T>) return static_cast<T>(value.to_double());
    else return static_cast<T>(value.to_int64());
  }
  /// The elements in row-major order, valid as long as this handle keeps its value. Throws DtypeError when T is not
  /// the tensor's dtype.
  template <class T>
  const T* data() const& {
    return static_cast<const T*>(data_pointer(dtype_of<T>()));
  }
  template <class T>
  const T* data() const&& = delete;  // the elements would be gone with this temporary
  /// The elements in row-major order, copied. Throws DtypeError when T is not the tensor's dtype.
  template <class T>
  std::vector<T> to_vector() const {
    std::vector<T> values(static_cast<std::size_t>(numel()));
    const T* from = data<T>();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = from[i];
    return values;
  }
  /// Whether the value has been computed.
  bool is_computed() const;

  // -- differentiation --------------------------------------------------------------------------------------------

  bool requires_grad() const;
  /// Whether nothing that this tensor was computed from is differentiated through it.
  bool is_leaf() const;
  /// Makes this handle a leaf cell that requires grad (or does not). Throws AutogradError for integer and bool
  /// dtypes and for tensors that are not leaves.
  Tensor& requires_grad_(bool requires_grad = true) &;
  Tensor requires_grad_(bool requires_grad = true) &&;
  /// The accumulated gradient; undefined when backward() never reached this leaf.
  Tensor grad() const;
  /// Replaces the accumulated gradient; an undefined one clears it. Throws AutogradError unless this is a cell,
  /// ShapeError and DtypeError when they differ from this tensor's.
  void set_grad(const Tensor& gradient) const;
  /// A Tensor of the same value through which no gradient flows, and which is no cell.
  Tensor detach() const;
  /// Accumulates the gradients of this tensor with respect to the leaves into their grad(). `gradient`, of this
  /// tensor's shape, may be left out for one element (then 1). Afterwards the derivative links below this tensor are
  /// dropped, unless `retain_graph` (default: create_graph). With `create_graph` the gradients are differentiable.
  /// Throws AutogradError when nothing requires grad, for a non-scalar without `gradient`, or through a graph that an
  /// earlier backward() released.
  void backward(const Tensor& gradient = {}, std::optional<bool> retain_graph = {}, bool create_graph = false) const;

  // -- assignment -------------------------------------------------------------------------------------------------

  /// Gives a cell a new value (of its shape and dtype); rebinds any other handle.
  Tensor& set_(const Tensor& value) &;
  Tensor& add_(const Tensor& other) &;
  Tensor& sub_(const Tensor& other) &;
  Tensor& mul_(const Tensor& other) &;
  Tensor& div_(const Tensor& other) &;
  Tensor& add_(Scalar other) &;
  Tensor& sub_(Scalar other) &;
  Tensor& mul_(Scalar other) &;
  Tensor& div_(Scalar other) &;
  Tensor& fill_(Scalar value) &;
  Tensor& zero_() & { return fill_(0); }
  Tensor& operator+=(const Tensor& other) & { return add_(other); }
  Tensor& operator-=(const Tensor& other) & { return sub_(other); }
  Tensor& operator*=(const Tensor& other) & { return mul_(other); }
  Tensor& operator/=(const Tensor& other) & { return div_(other); }
  Tensor& operator+=(Scalar other) & { return add_(other); }
  Tensor& operator-=(Scalar other) & { return sub_(other); }
  Tensor& operator*=(Scalar other) & { return mul_(other); }
  Tensor& operator/=(Scalar other) & { return div_(other); }

  // -- the operations that read best as methods; see ops/ -----------------------------------------------------------

  /// The elements that an index selects, as in PyTorch and NumPy: `x.index({0, Slice(1, 3), None, Ellipsis})`. An index
  /// tensor (int64 or int32, negative positions count from the end) selects positions of one dim; several broadcast
  /// together and select elements. A mask (bool) of the shape of the dims that it stands for selects where it holds;
  /// it is computed here, since the result's shape depends on it. What tensors select lies in the place of their dims,
  /// or first, if other entries than integers stand between them. Throws ShapeError for too many entries, index tensors
  /// that do not broadcast, or a mask of another shape, DtypeError for other dtypes, ValueError for an integer out of
  /// range or a step of 0, and, when computed, for an index out of range.
  Tensor index(std::initializer_list<Index> entries) const;
  template <class... Entries>
  Tensor index(const Index& first, const Entries&... rest) const;
  Tensor operator[](const Index& entry) const;

  Tensor to(Dtype dtype) const;
  Tensor reshape(const Shape& shape) const;
  Tensor view(const Shape& shape) const;
  Tensor flatten(std::int64_t start_dim = 0, std::int64_t end_dim = -1) const;
  Tensor permute(const Dims& dims) const;
  Tensor transpose(std::int64_t dim0, std::int64_t dim1) const;
  Tensor t() const;
  Tensor unsqueeze(std::int64_t dim) const;
  Tensor squeeze() const;
  Tensor squeeze(std::int64_t dim) const;
  Tensor expand(const Shape& shape) const;
  Tensor matmul(const Tensor& other) const;
  Tensor sum() const;
  Tensor sum(const DimArg& dims, bool keepdim = false) const;
  Tensor mean() const;
  Tensor mean(const DimArg& dims, bool keepdim = false) const;
  Tensor argmax(std::optional<std::int64_t> dim = {}, bool keepdim = false) const;

 private:
  friend struct detail::Access;

  void release() noexcept;
  Scalar item_scalar(Dtype wanted) const;
  const void* data_pointer(Dtype wanted) const;

  // At most one of the two is set; each is a counted reference.
  detail::Node* node_;
  detail::Cell* cell_;
};

/// Tensors one after another, such as a function returns. Its memory is kept for the next list, so that a training step
/// that makes it anew each time asks the system for none; otherwise it is like a std::vector, to which it converts.
class ADJOINT_API TensorList {
 public:
  using value_type = Tensor;

  TensorList() noexcept = default;
  TensorList(std::initializer_list<Tensor> tensors) : TensorList(tensors.begin(), tensors.end()) {}
  TensorList(const Tensor* first, const Tensor* last);
  TensorList(const TensorList& other) : TensorList(other.begin(), other.end()) {}
  TensorList(TensorList&& other) noexcept { swap(other); }
  TensorList& operator=(TensorList other) & noexcept {
    swap(other);
    return *this;
  }
  ~TensorList();

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  Tensor* data() noexcept { return first_; }
  const Tensor* data() const noexcept { return first_; }
  Tensor* begin() noexcept { return first_; }
  const Tensor* begin() const noexcept { return first_; }
  Tensor* end() noexcept { return first_ + size_; }
  const Tensor* end() const noexcept { return first_ + size_; }
  Tensor& operator[](std::size_t i) noexcept { return first_[i]; }
  const Tensor& operator[](std::size_t i) const noexcept { return first_[i]; }
  Tensor& back() noexcept { return first_[size_ - 1]; }
  const Tensor& back() const noexcept { return first_[size_ - 1]; }

  void reserve(std::size_t capacity);
  void push_back(Tensor tensor);

  operator std::vector<Tensor>() const { return {begin(), end()}; }

 private:
  void swap(TensorList& other) noexcept;

  Tensor* first_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;
};

/// Tensors one after another, as an argument: from braces, a TensorList, a std::vector or an array. It refers to them.
class TensorSpan {
 public:
  TensorSpan(std::initializer_list<Tensor> tensors) noexcept : first_(std::data(tensors)), size_(tensors.size()) {}
  template <class List, class = std::enable_if_t<
                            std::is_convertible_v<decltype(std::data(std::declval<const List&>())), const Tensor*>>>
  TensorSpan(const List& tensors) noexcept : first_(std::data(tensors)), size_(std::size(tensors)) {}

  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  const Tensor* begin() const noexcept { return first_; }
  const Tensor* end() const noexcept { return first_ + size_; }
  const Tensor& operator[](std::size_t i) const noexcept { return first_[i]; }

 private:
  const Tensor* first_;
  std::size_t size_;
};

/// One entry of an index: an integer, a Slice, None, Ellipsis, or a Tensor of positions or a mask.
class Index {
 public:
  enum class Kind : std::uint8_t { integer, slice, none, ellipsis, tensor };
  template <class T, class = std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>>
  Index(T position) : kind(Kind::integer), integer(static_cast<std::int64_t>(position)) {}
  Index(const Slice& range) : kind(Kind::slice), slice(range) {}
  Index(NoneType) : kind(Kind::none) {}
  Index(EllipsisType) : kind(Kind::ellipsis) {}
  Index(const Tensor& positions) : kind(Kind::tensor), tensor(positions) {}

  Kind kind;
  std::int64_t integer = 0;
  Slice slice;
  Tensor tensor;
};

template <class... Entries>
Tensor Tensor::index(const Index& first, const Entries&... rest) const {
  return index({first, Index(rest)...});
}
inline Tensor Tensor::operator[](const Index& entry) const { return index({entry}); }

/// Prints as NumPy does: nested brackets, columns aligned, lines of at most 75 characters, summarised beyond 1000
/// elements. An undefined Tensor prints "undefined". Computes.
ADJOINT_API std::ostream& operator<<(std::ostream& out, const Tensor& tensor);
ADJOINT_API std::string to_string(const Tensor& tensor);

/// Computes several tensors together. Throws the first error that their values reveal.
ADJOINT_API void eval(const std::vector<Tensor>& tensors);
ADJOINT_API void eval(const Tensor* tensors, std::size_t count);
template <class... Tensors>
void eval(const Tensor& first, const Tensors&... rest) {
  const Tensor tensors[] = {first, rest...};
  eval(tensors, 1 + sizeof...(rest));
}

}  // namespace adjoint
