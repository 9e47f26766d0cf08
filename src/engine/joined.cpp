// Tensors one after another in one memory: joined, and cells that are parts of such.
#include "core/parts.hpp"
#include "engine/engine.hpp"
#include "engine/execute.hpp"

#include <adjoint/autograd.hpp>

#include <utility>

namespace adjoint::detail {

namespace {
const Operation kJoin{"join", Family::non_differentiable, execute_join};
}  // namespace

Tensor joined(TensorSpan tensors) {
  std::int64_t elements = 0;
  for (const Tensor& tensor : tensors) elements += tensor.numel();
  return record(kJoin, {elements}, tensors[0].dtype(), tensors.begin(), static_cast<int>(tensors.size()));
}

JoinedCells::JoinedCells(std::vector<Tensor> cells) {
  whole_ = Access::take(Cell::make(Access::node(joined(cells)), false));
  parts_ = std::make_unique<Parts>(std::move(cells), *Access::cell(whole_));
}
JoinedCells::~JoinedCells() = default;

const std::vector<Tensor>& JoinedCells::cells() const noexcept { return parts_->cells(); }

Tensor JoinedCells::value() const { return parts_->are_current() ? whole_ : joined(cells()); }

void JoinedCells::set_(const Tensor& value) {
  parts_->expect();
  whole_.set_(value);
  if (const Node& whole = *Access::node(whole_); whole.is_computed()) parts_->follow(whole);
}

}  // namespace adjoint::detail
