#include "nn/registry.hpp"

#include <adjoint/autograd.hpp>
#include <adjoint/nn/parameter.hpp>

#include <utility>

namespace adjoint::nn {

namespace detail {

namespace {

Tensor new_cell(const Tensor& value, bool requires_grad) {
  return value.defined() ? value.detach().requires_grad_(requires_grad) : Tensor();
}

}  // namespace

OwnedCell::OwnedCell(Kind kind) : OwnedCell(kind, Tensor(), false) {}

OwnedCell::OwnedCell(Kind kind, const Tensor& value, bool requires_grad) : Tensor(new_cell(value, requires_grad)) {
  registry::add(this, kind == Kind::parameter ? registry::Kind::parameter : registry::Kind::buffer);
}

OwnedCell::OwnedCell(OwnedCell&& other) noexcept : Tensor(std::move(other)) { registry::move(&other, this); }

OwnedCell::~OwnedCell() { registry::remove(this); }

void OwnedCell::assign(const Tensor& value, bool requires_grad) {
  if (&value == this) return;
  if (!defined() || !value.defined()) {
    Tensor::operator=(new_cell(value, requires_grad));
    return;
  }
  const NoGradGuard no_grad;
  set_(value.detach());
}

void OwnedCell::assign(OwnedCell&& other) {
  if (defined()) assign(other, requires_grad());
  else if (&other != this) Tensor::operator=(std::move(other));
}

void OwnedCell::convert(Dtype dtype) {
  if (!defined() || this->dtype() == dtype) return;
  Tensor::operator=(new_cell(detach().to(dtype), requires_grad()));
}

}  // namespace detail

void Buffer::update(const Tensor& value) const {
  Tensor handle = *this;
  handle.set_(value.detach());
}

}  // namespace adjoint::nn
