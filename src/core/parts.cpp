#include "core/parts.hpp"

#include <utility>

namespace adjoint::detail {

Parts::Parts(std::vector<Tensor> cells, Cell& whole) : cells_(std::move(cells)), whole_(&whole) {
  for (const Tensor& cell : cells_) versions_.push_back(Access::cell(cell)->current()->version);
  expected_ = versions_;
  leaves_.reserve(cells_.size());
  whole_->parts = this;
}

Parts::~Parts() {
  whole_->parts = nullptr;
  for (Node* leaf : leaves_) leaf->drop_use();
}

bool Parts::are_current() const noexcept {
  for (std::size_t i = 0; i < cells_.size(); ++i)
    if (Access::cell(cells_[i])->current()->version != versions_[i]) return false;
  return true;
}

// Who is about to show the value adds a reference before it lets go of a leaf: these are looked at last.
bool Parts::are_alone_in(const Node& whole) const noexcept {
  for (const Tensor& cell : cells_)
    if (Access::cell(cell)->current()->uses() != 1) return false;
  return lie_in(whole) && static_cast<std::size_t>(whole.value.storage->refs()) == cells_.size() + 1;
}

void Parts::expect() noexcept {
  for (std::size_t i = 0; i < cells_.size(); ++i) expected_[i] = Access::cell(cells_[i])->current()->version;
}

void Parts::reserve(const Node& whole) {
  if (lie_in(whole)) return;
  for (std::size_t i = leaves_.size(); i < cells_.size(); ++i)
    leaves_.push_back(Node::make(kLeaf, cells_[i].shape(), cells_[i].dtype()));
}

void Parts::follow(const Node& whole) {
  if (lie_in(whole)) return;
  reserve(whole);
  std::int64_t offset = 0;
  const std::int64_t step = whole.value.strides[0];
  for (std::size_t i = 0; i < cells_.size(); ++i) {
    Cell& cell = *Access::cell(cells_[i]);
    const std::int64_t size = numel(cell.current()->shape);
    if (cell.current()->version == expected_[i]) {
      Strides strides = row_major_strides(cell.current()->shape);
      for (std::int64_t& stride : strides) stride *= step;
      cell.show(leaves_[i], whole.value, offset * step, strides);
      versions_[i] = expected_[i] = cell.current()->version;
    } else {
      leaves_[i]->drop_use();
    }
    offset += size;
  }
  leaves_.clear();
  storage_ = whole.value.storage;
}

}  // namespace adjoint::detail
