// Which nodes can be computed in groups, and how the shapes of a group's members relate.
#pragma once

#include "core/node.hpp"
#include "engine/memory_order.hpp"

#include <cstdint>

namespace adjoint::detail {

inline constexpr int kMostMembers = 48;
/// A bit for each member of a group.
using MemberBits = std::uint64_t;
inline bool has_bit(MemberBits bits, int member) noexcept { return member < kMostMembers && bits >> member & 1; }

/// Members that other groups compute as well (recompute.cpp): here, their values are for this group alone.
struct Repeated {
  MemberBits again = 0;  // they will be computed once more: the nodes do not belong to this group
  MemberBits left = 0;   // of these: when a derivative asks for them; no group of this evaluation comes after this one
  MemberBits last = 0;   // they have been computed before
  MemberBits unwritten() const noexcept { return again | last; }
};
/// Rows longer than this are reduced in blocks (execute_reduction.cpp), by another step.
inline constexpr std::int64_t kLongestRow = 1 << 16;

enum class Fusible : std::uint8_t {
  none,
  tile,
  reduction,
  columns,
  gather,
  scatter,
  random,
  join,
  same,
  reshape,
  broadcast
};

/// `columns` are reductions over all dims but some that lie behind one another, `gather` and `scatter` such along the
/// last dim with one index for each row.
Fusible fusible_kind(const Node& node) noexcept;
inline bool is_movement(Fusible kind) noexcept {
  return kind == Fusible::same || kind == Fusible::reshape || kind == Fusible::broadcast;
}

inline bool indexes_rows(Fusible kind) noexcept { return kind == Fusible::gather || kind == Fusible::scatter; }

/// The elements of a row: of the last dims.
std::int64_t row_length(const Shape& shape, int row_dims) noexcept;
/// How many last dims of `shape` the array `rows` has one value for, by dims of size 1 in their place; 0: it is not so.
int row_dims_of(const Shape& rows, const Shape& shape) noexcept;
/// The same for an array without those dims.
bool has_value_per_row(const Shape& rows, const Shape& shape, int row_dims) noexcept;
/// How many last dims a reduction goes over; 0: others, too many elements, or a single one.
int reduced_row_dims(const Node& node) noexcept;

/// What a member asks of its group by itself: a shape, and how many dims make a row; 0: it leaves that open. They are
/// the last in memory, and but for columns the last of the shape.
struct Rows {
  const Shape* shape;
  int dims;
  int behind = 0;  // how many dims of the shape come after them
  /// Whether these dims are the last in this order.
  bool are_last(const MemoryOrder& order) const noexcept;
};
/// The dims that a reduction over all others leaves, which is then one of columns; dims = 0: it is not so.
Rows kept_rows(const Node& node) noexcept;
Rows rows_of(const Node& node, Fusible kind) noexcept;

/// Whether a node is one of a group's, which are numbered by their marks.
inline bool is_member(Node* const* nodes, int count, const Node& node) noexcept {
  return node.mark >= 0 && node.mark < count && nodes[node.mark] == &node;
}
/// Which members of a group show an input of it in another form, and so are inputs themselves.
void find_moved(Node* const* nodes, int count, bool* is_moved) noexcept;
/// Which members' values others read, or will read, than those of the group: what is `repeated` is for these alone.
void find_read_outside(Node* const* nodes, int count, const Repeated& repeated, bool* is_read) noexcept;

/// Whether a node is the value that a cell would go back to, and the cell keeps it.
inline bool is_old_value(const Node& node) noexcept { return node.cell && node.cell->goes_back_to(&node); }
/// Whether a node is to be the value of the same cell.
inline bool is_new_value(const Node& node, const Node& old_value) noexcept {
  const Node& leaf = *old_value.cell->current();
  return &leaf == &node || (leaf.operation == &kLeaf && leaf.has_inputs() && leaf.input(0) == &node);
}

}  // namespace adjoint::detail
