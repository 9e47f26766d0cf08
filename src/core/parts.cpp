#include "core/parts.hpp"

#include <utility>

namespace adjoint::detail {

Parts::Parts(std::vector<Tensor> cells, Cell& whole) : cells_(std::move(cells)), whole_(&whole) {
  for (const Tensor& cell : cells_) versions_.push_back(Access::cell(cell)->current()->version);
  leaves_.reserve(cells_.size());
  whole_->parts = this;
}

bool Parts::are_current() const noexcept {
  for (std::size_t i = 0; i < cells_.size(); ++i)
    if (Access::cell(cells_[i])->current()->version != versions_[i]) return false;
  return true;
}

bool Parts::are_alone_in(const Node& whole) const noexcept {
  const Storage* storage = whole.value.storage;
  if (storage != storage_ || static_cast<std::size_t>(storage->refs()) != cells_.size() + 1) return false;
  for (const Tensor& cell : cells_)
    if (Access::cell(cell)->current()->uses() != 1) return false;
  return are_current();
}

void Parts::follow(const Node& whole) {
  if (whole.value.storage == storage_ && storage_ && are_current()) return;
  try {
    std::int64_t offset = 0;
    const std::int64_t step = whole.value.strides[0];
    for (const Tensor& tensor : cells_) {
      const Shape& shape = tensor.shape();
      Strides strides = row_major_strides(shape);
      for (std::int64_t& stride : strides) stride *= step;
      leaves_.push_back(Access::cell(tensor)->make_leaf(whole.value, offset * step, strides));
      offset += numel(shape);
    }
  } catch (...) {
    for (Node* leaf : leaves_) leaf->drop_use();
    leaves_.clear();
    throw;
  }
  for (std::size_t i = 0; i < cells_.size(); ++i) {
    versions_[i] = leaves_[i]->version;
    Access::cell(cells_[i])->replace(leaves_[i]);
  }
  leaves_.clear();
  storage_ = whole.value.storage;
}

}  // namespace adjoint::detail
