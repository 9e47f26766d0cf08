// Cells whose values lie in one memory.
#pragma once

#include "core/node.hpp"

#include <cstdint>
#include <vector>

namespace adjoint::detail {

/// Cells of one dtype whose values are the parts, one after another, of a vector that is the value of another cell, the
/// whole. They get new values with it: without a new node where those are written over the old ones. Who assigns one of
/// them otherwise takes it out, until the whole has its next value.
class Parts {
 public:
  /// `whole`, a cell's, holds the cells' values already, or will.
  Parts(std::vector<Tensor> cells, Cell& whole);
  ~Parts() { whole_->parts = nullptr; }
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  const std::vector<Tensor>& cells() const noexcept { return cells_; }
  /// Whether all cells have the values that they had from the whole.
  bool are_current() const noexcept;
  /// Whether a value of the whole lies in memory that nobody else uses but for the parts, and these only by their
  /// cells.
  bool are_alone_in(const Node& whole) const noexcept;
  /// Gives the cells the parts of a computed value, if they do not lie there already. Throws std::bad_alloc, and then
  /// nothing has changed.
  void follow(const Node& whole);

 private:
  std::vector<Tensor> cells_;
  Cell* whole_;
  const Storage* storage_ = nullptr;     // where the parts are
  std::vector<std::uint64_t> versions_;  // of the cells' leaves that show them
  std::vector<Node*> leaves_;            // those to come
};

}  // namespace adjoint::detail
