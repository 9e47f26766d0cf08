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
  ~Parts();
  Parts(const Parts&) = delete;
  Parts& operator=(const Parts&) = delete;

  const std::vector<Tensor>& cells() const noexcept { return cells_; }
  /// Whether all cells have the values that they had from the whole.
  bool are_current() const noexcept;
  /// Whether a value of the whole lies in memory that nobody else uses but for the parts, and these only by their
  /// cells.
  bool are_alone_in(const Node& whole) const noexcept;
  /// The whole is about to be assigned: its next value will be the cells', but for those that are assigned themselves
  /// until then.
  void expect() noexcept;
  /// Makes the nodes that follow() may need, unless a value of the whole is about to be written over the one before.
  /// Throws std::bad_alloc.
  void reserve(const Node& whole);
  /// Gives the cells the parts of a computed value, if they do not lie there already. Needs no memory after reserve(),
  /// else it throws std::bad_alloc, and nothing has changed then.
  void follow(const Node& whole);

 private:
  bool lie_in(const Node& whole) const noexcept { return storage_ && whole.value.storage == storage_ && are_current(); }

  std::vector<Tensor> cells_;
  Cell* whole_;
  const Storage* storage_ = nullptr;     // where the parts are
  std::vector<std::uint64_t> versions_;  // of the cells' leaves that show them
  std::vector<std::uint64_t> expected_;  // of their leaves when the whole was assigned
  std::vector<Node*> leaves_;            // made beforehand
};

}  // namespace adjoint::detail
