#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint::nn {

namespace detail {

/// A cell that lies inside a module. The object owns its cell: a copy has a cell of its own with the same value
/// (cheap: values are immutable), an assignment sets the value of the cell that is there (so that an optimizer stays
/// attached), and a move takes the cell along. A process-wide registry knows where these objects lie, so that a module
/// notices one that its members() forgot.
class ADJOINT_API OwnedCell : public Tensor {
 public:
  /// Converts the value, into a new cell: handles on the old one do not follow.
  void convert(Dtype dtype);

 protected:
  enum class Kind : std::uint8_t { parameter, buffer };
  explicit OwnedCell(Kind kind);
  OwnedCell(Kind kind, const Tensor& value, bool requires_grad);
  OwnedCell(OwnedCell&& other) noexcept;
  ~OwnedCell();
  void assign(const Tensor& value, bool requires_grad);
  void assign(OwnedCell&& other);
};

}  // namespace detail

/// A Tensor that a module trains: a leaf cell that requires grad. Usable as any Tensor; a `Tensor` copied from it is a
/// handle on the same cell, a `Parameter` copied from it has a cell of its own with the same value. Assignment sets
/// the value, whatever the grad mode; shape and dtype stay, so it throws ShapeError for another shape, DtypeError for
/// integers and bools. May be undefined: a bias that is left out. Throws AutogradError when made of integers or bools.
///
/// `requires_grad_(false)` freezes it: it gets no gradient any more (one that it has stays until it is cleared), and
/// optimizers pass over it. A copy of a frozen Parameter is frozen, assigned ones stay what they are.
class ADJOINT_API Parameter : public detail::OwnedCell {
 public:
  Parameter() : OwnedCell(Kind::parameter) {}
  Parameter(const Tensor& value) : OwnedCell(Kind::parameter, value, true) {}
  Parameter(const Parameter& other) : OwnedCell(Kind::parameter, other, other.defined() && other.requires_grad()) {}
  Parameter(Parameter&& other) noexcept = default;
  Parameter& operator=(const Tensor& value) & { return assign(value, true), *this; }
  Parameter& operator=(const Parameter& other) & {
    return assign(other, other.defined() && other.requires_grad()), *this;
  }
  Parameter& operator=(Parameter&& other) & { return assign(std::move(other)), *this; }
};

/// A Tensor that belongs to a module's state but is not trained, such as running statistics: a cell that does not
/// require grad, of any dtype. Copies, assignments and moves are those of Parameter.
class ADJOINT_API Buffer : public detail::OwnedCell {
 public:
  Buffer() : OwnedCell(Kind::buffer) {}
  Buffer(const Tensor& value) : OwnedCell(Kind::buffer, value, false) {}
  Buffer(const Buffer& other) : OwnedCell(Kind::buffer, other, false) {}
  Buffer(Buffer&& other) noexcept = default;
  Buffer& operator=(const Tensor& value) & { return assign(value, false), *this; }
  Buffer& operator=(const Buffer& other) & { return assign(other, false), *this; }
  Buffer& operator=(Buffer&& other) & { return assign(std::move(other)), *this; }
  /// Sets the value of the cell through a const buffer: for a forward(), which is const.
  void update(const Tensor& value) const;
};

}  // namespace adjoint::nn
