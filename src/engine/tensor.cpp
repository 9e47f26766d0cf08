// The members of Tensor that look at values, and those that assign.
#include "core/thread_state.hpp"
#include "engine/engine.hpp"
#include "engine/execute.hpp"
#include "engine/threads.hpp"

#include <adjoint/autograd.hpp>
#include <adjoint/ops/creation.hpp>
#include <adjoint/ops/elementwise.hpp>

#include <mutex>
#include <string>
#include <utility>

namespace adjoint {

using namespace detail;

// -- the handle -------------------------------------------------------------------------------------------------------

Tensor::Tensor(const Tensor& other) noexcept : node_(other.node_), cell_(other.cell_) {
  if (node_) node_->add_use();
  if (cell_) cell_->add_use();
}

void Tensor::release() noexcept {
  if (node_) node_->drop_use();
  else cell_->drop_use();
}

const Shape& Tensor::shape() const { return Access::node(*this, "shape")->shape; }
Dtype Tensor::dtype() const { return Access::node(*this, "dtype")->dtype; }
bool Tensor::is_computed() const { return Access::node(*this, "is_computed")->is_computed(); }

std::int64_t Tensor::size(std::int64_t dim) const {
  const Shape& sizes = shape();
  if (dim < -sizes.size() || dim >= sizes.size())
    throw ShapeError("size: dim " + std::to_string(dim) + " is out of range for shape " + to_string(sizes));
  return sizes[static_cast<int>(dim < 0 ? dim + sizes.size() : dim)];
}

// -- looks ------------------------------------------------------------------------------------------------------------

Scalar Tensor::item_scalar(Dtype wanted) const {
  const Node* node = Access::node(*this, "item");
  if (adjoint::numel(node->shape) != 1)
    throw ValueError("item: the tensor of shape " + to_string(node->shape) + " has " +
                     std::to_string(adjoint::numel(node->shape)) + " elements; it must have exactly one");
  if (is_integral(wanted) && is_floating(node->dtype))
    throw DtypeError(std::string("item: the tensor has dtype ") + name_of(node->dtype) + ", and " + name_of(wanted) +
                     " was asked for; ask for a floating type, or cast");
  node = evaluated(*this, "item");
  return load_number(node->dtype, node->value.data);
}

const void* Tensor::data_pointer(Dtype wanted) const {
  const Node* typed = Access::node(*this, "data");
  if (typed->dtype != wanted)
    throw DtypeError(std::string("data: the tensor of shape ") + to_string(typed->shape) + " has dtype " +
                     name_of(typed->dtype) + ", and " + name_of(wanted) + " was asked for");
  Node* node = evaluated(*this, "data");
  // A copy in row-major order may have to be made, once, by one of several threads.
  static std::mutex& mutex = *new std::mutex;
  const std::lock_guard lock(mutex);
  const TeamLease lease;
  const void* data = row_major_data(*node);
  if (node->value.storage && data == node->value.data) node->value.storage->set_exposed();
  return data;
}

void eval(const Tensor* tensors, std::size_t count) {
  List<Node*> nodes;
  nodes.reserve(count);
  for (std::size_t i = 0; i < count; ++i) nodes.push_back(Access::node(tensors[i], "eval"));
  evaluate(nodes.data(), static_cast<int>(nodes.size()));
}
void eval(const std::vector<Tensor>& tensors) { eval(tensors.data(), tensors.size()); }

// -- leaves -----------------------------------------------------------------------------------------------------------

Tensor Tensor::detach() const { return detached(*this); }

bool Tensor::requires_grad() const { return Access::node(*this, "requires_grad")->requires_grad; }

bool Tensor::is_leaf() const {
  const Node* node = Access::node(*this, "is_leaf");
  return !node->requires_grad || node->operation->family == Family::leaf;
}

Tensor& Tensor::requires_grad_(bool requires_grad) & {
  Node* node = Access::node(*this, "requires_grad_");
  if (requires_grad && !is_floating(node->dtype))
    throw AutogradError("requires_grad_: the tensor of shape " + to_string(node->shape) + " has dtype " +
                        name_of(node->dtype) + "; only float32 and float64 have gradients");
  if (cell_) {
    cell_->set_requires_grad(requires_grad);
    return *this;
  }
  if (!is_leaf()) {
    if (requires_grad) return *this;
    throw AutogradError(std::string("requires_grad_: the tensor of shape ") + to_string(node->shape) +
                        " is the result of '" + node->operation->name +
                        "', not a leaf; use detach() for a tensor that does not require grad");
  }
  return *this = Access::take(Cell::make(node, requires_grad));
}

Tensor Tensor::requires_grad_(bool requires_grad) && {
  this->requires_grad_(requires_grad);  // this names an lvalue
  return std::move(*this);
}

Tensor Tensor::grad() const {
  Access::node(*this, "grad");
  return cell_ ? cell_->grad : Tensor();
}

void Tensor::set_grad(const Tensor& gradient) const {
  const Node* node = Access::node(*this, "set_grad");
  if (!cell_)
    throw AutogradError("set_grad: the tensor of shape " + to_string(node->shape) +
                        " is not a leaf that requires grad, and so has no gradient to set");
  if (gradient.defined()) {
    if (gradient.shape() != node->shape)
      throw ShapeError("set_grad: the gradient has shape " + to_string(gradient.shape()) + "; it must be " +
                       to_string(node->shape) + ", the tensor's");
    if (gradient.dtype() != node->dtype)
      throw DtypeError(std::string("set_grad: the gradient has dtype ") + name_of(gradient.dtype()) + "; it must be " +
                       name_of(node->dtype) + ", the tensor's");
  }
  cell_->grad = gradient.defined() ? snapshot(gradient) : Tensor();
}

// -- assignment -------------------------------------------------------------------------------------------------------

namespace {

/// Assigns a cell, or rebinds a handle.
Tensor& assign(Tensor& target, const char* operation, const Tensor& value) {
  bound_pending(ThreadState::get());
  Cell* cell = Access::cell(target);
  if (!cell) return target = value;
  const Node* node = cell->current();
  if (value.shape() != node->shape)
    throw ShapeError(std::string(operation) + ": the new value has shape " + to_string(value.shape()) +
                     ", and the cell " + to_string(node->shape) + "; they must be equal");
  if (is_floating(value.dtype()) != is_floating(node->dtype) || (value.dtype() == bool_) != (node->dtype == bool_))
    throw DtypeError(std::string(operation) + ": the new value has dtype " + name_of(value.dtype()) +
                     ", and the cell " + name_of(node->dtype) + "; a cell keeps its dtype");
  if (value.dtype() == node->dtype) {
    const Node& source = *Access::node(value);
    const bool copied = source.is_computed() && is_small_part(source);  // as detach() does
    cell->assign(Access::node(copied ? detached(value) : value));
  } else {
    const NoGradGuard no_grad;
    cell->assign(Access::node(cast(value, node->dtype)));
  }
  if (ThreadState::get().eager) eval(target);
  return target;
}

/// Throws when a leaf that requires grad would be assigned in grad mode.
void check_assignable(const Tensor& target, const char* operation) {
  const Node* node = Access::node(target, operation);
  if (Access::cell(target) && node->requires_grad && is_grad_enabled())
    throw AutogradError(std::string(operation) + ": the tensor of shape " + to_string(node->shape) +
                        " is a leaf that requires grad; assigning it is no differentiable operation. Do it under a "
                        "NoGradGuard");
}

template <class Operand>
Tensor& update(Tensor& target, const char* operation, const Operand& other,
               Tensor (*function)(const Tensor&, Operand)) {
  check_assignable(target, operation);
  return assign(target, operation, function(target, other));
}
template <class Operand>
Tensor& update(Tensor& target, const char* operation, const Operand& other,
               Tensor (*function)(const Tensor&, const Operand&)) {
  check_assignable(target, operation);
  return assign(target, operation, function(target, other));
}

}  // namespace

Tensor& Tensor::set_(const Tensor& value) & {
  if (!defined()) return *this = value;
  check_assignable(*this, "set_");
  return assign(*this, "set_", value);
}
Tensor& Tensor::add_(const Tensor& other) & { return update<Tensor>(*this, "add_", other, &add); }
Tensor& Tensor::sub_(const Tensor& other) & { return update<Tensor>(*this, "sub_", other, &sub); }
Tensor& Tensor::mul_(const Tensor& other) & { return update<Tensor>(*this, "mul_", other, &mul); }
Tensor& Tensor::div_(const Tensor& other) & { return update<Tensor>(*this, "div_", other, &div); }
Tensor& Tensor::add_(Scalar other) & { return update<Scalar>(*this, "add_", other, &add); }
Tensor& Tensor::sub_(Scalar other) & { return update<Scalar>(*this, "sub_", other, &sub); }
Tensor& Tensor::mul_(Scalar other) & { return update<Scalar>(*this, "mul_", other, &mul); }
Tensor& Tensor::div_(Scalar other) & { return update<Scalar>(*this, "div_", other, &div); }
Tensor& Tensor::fill_(Scalar value) & {
  check_assignable(*this, "fill_");
  return assign(*this, "fill_", full_like(*this, value));
}

}  // namespace adjoint
