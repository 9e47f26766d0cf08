// The graph: nodes, and cells.
//
// A node is an operation, its inputs, and, once computed, its value. It is counted twice, as shared_ptr and weak_ptr
// count:
//   uses   keep the value: handles and cells, nodes that are still to be computed from it, and nodes whose derivative
//          reads it. When the last use goes the value is freed; a node that was never computed lets go of its inputs.
//   links  keep the node: all uses together hold one, and so does each node that is differentiated through it.
// A node that is not computed uses all its inputs, as their reader. A computed one lets go of them, unless it may be
// differentiated: then it uses those whose values a derivative names: its own, or the input's that reads its own result
// (which the input itself cannot use: that would be a cycle). It links the others.
// A pending node is held when it has other uses than its readers': a handle's, or a cell's.
// A value without uses is gone for good: uses never rise again from zero.
//
// A node that was recorded within a checkpoint is marked: a derivative does not use, but link it, and the node uses its
// own inputs, if they are not marked, until it is let go of: so it can be recorded again (autodiff/recomputed.hpp).
//
// All of this is iterative: a chain of a million nodes is freed without recursion.
#pragma once

#include "core/counter.hpp"
#include "core/operation.hpp"
#include "core/pool.hpp"
#include "core/storage.hpp"
#include "core/thread_state.hpp"

#include <adjoint/tensor.hpp>

#include <atomic>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

namespace adjoint::detail {

/// Where a computed value lies: a strided array in a storage, or, for one element, in the node itself.
struct Value {
  void* data = nullptr;
  Storage* storage = nullptr;  // counted; null for an inline value
  Strides strides;             // in elements
};

enum class State : std::uint8_t {
  pending,
  computed,
  failed,   // its computation threw; looking at it throws again
  dropped,  // nothing can read the value any more
};

/// Whether the evaluation that is under way computes a node.
enum class Schedule : std::uint8_t {
  none,
  planned,
  used,  // planned, and the evaluation has a use of it until it is computed
};

/// What few nodes have.
struct Rare {
  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* block, std::size_t bytes) noexcept { pool_free(block, bytes); }

  struct Delete {
    [[gnu::noinline]] void operator()(Rare* rare) const noexcept;
  };

  std::exception_ptr error;       // of a failed node
  PoolString module_path;         // where an operation that can fail was recorded
  Storage* contiguous = nullptr;  // a row-major copy made for data<T>(), so that a look changes no strides
};

class Node {
 public:
  static constexpr int kInlineInputs = 3;
  static constexpr std::size_t kAttributeBytes = 40;

  /// A node without inputs, with one use (and the link of all uses).
  static Node* make(const Operation& operation, const Shape& shape, Dtype dtype) {
    return ::new (pool_allocate(sizeof(Node))) Node(operation, shape, dtype);
  }
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // -- counting
  /// Only for one who knows of a use, or holds the owner's lock and knows of a pending one.
  void add_use() noexcept { add_to(uses_, 1); }
  /// A use, unless there is none left.
  bool try_add_use() noexcept {
    return add_unless(uses_, [](std::int64_t counts) { return uses_of(counts) <= 0; });
  }
  void drop_use() noexcept { drop_uses(1); }
  void add_link() noexcept { add_to(links_, 1); }
  void drop_link() noexcept {
    if (take_from(links_, 1) == 1) {
      dying_ = true;
      settle(this);
    }
  }
  std::int32_t uses() const noexcept { return uses_of(uses_.load(std::memory_order_acquire)); }
  /// How often pending nodes read this one.
  std::int32_t readers() const noexcept { return readers_of(uses_.load(std::memory_order_acquire)); }
  bool is_held() const noexcept {
    const std::int64_t counts = uses_.load(std::memory_order_acquire);
    return uses_of(counts) > readers_of(counts);
  }

  // -- structure
  /// Uses inputs, and calls visit(input) for each. To be called before the node is seen by anybody else.
  template <class Visit>
  void set_inputs(Node* const* inputs, int count, const Visit& visit) {
    inputs_ = count <= kInlineInputs ? inline_inputs_ : allocate_inputs(count);
    input_count_ = count;
    for (int i = 0; i < count; ++i) {
      add_to(inputs[i]->uses_, kReadersUse);
      inputs_[i].store(reinterpret_cast<std::uintptr_t>(inputs[i]) | kUsed, std::memory_order_relaxed);
      visit(*inputs[i]);
    }
  }
  int input_count() const noexcept { return input_count_; }
  Node* input(int i) const noexcept {
    return reinterpret_cast<Node*>(inputs_[i].load(std::memory_order_relaxed) & ~kUsed);
  }
  /// Whether the node has let go of its inputs.
  bool has_inputs() const noexcept { return inputs_ != nullptr; }
  const void* attribute_bytes() const noexcept { return attributes_; }
  template <class T>
  const T& attributes() const noexcept {
    return *static_cast<const T*>(attribute_bytes());
  }
  void set_attribute_bytes(const void* from, std::size_t bytes) noexcept { std::memcpy(attributes_, from, bytes); }

  // -- life
  State state() const noexcept { return state_.load(std::memory_order_acquire); }
  bool is_computed() const noexcept { return state() == State::computed; }
  /// Whether the derivative reads the node's own value, and may still be asked for.
  bool keeps_own_value() const noexcept { return (reads_later() & kReadsOutput) != 0 && !is_marked(); }
  /// The same for the value of an input, which the node may also need to be recorded again.
  bool keeps_input(int i) const noexcept {
    const bool read = i < kInlineInputs && (reads_later() >> i & 1);
    return (read || is_marked()) && !input(i)->is_marked();
  }
  /// What the derivative reads, as far as it may still be asked for.
  std::uint8_t reads_later() const noexcept { return requires_grad && !released_by ? reads : std::uint8_t{0}; }
  /// In how many checkpoints, one inside of the other, the node was recorded; its value is to be computed again where a
  /// derivative reads it. 0: not marked.
  int checkpoints() const noexcept { return checkpoints_.load(std::memory_order_relaxed); }
  bool is_marked() const noexcept { return checkpoints() != 0; }
  void set_checkpoints(int count) noexcept {
    checkpoints_.store(static_cast<std::uint8_t>(count), std::memory_order_relaxed);
  }
  /// After `value` was set: lets go of what only the computation needed.
  void set_computed() noexcept;
  void set_failed(std::exception_ptr error);
  // The same in parts, for nodes on no derivative's way that are computed together.
  /// Drops some of the uses of pending nodes that read this one.
  void drop_reads(int count) noexcept {
    if (count > 0 && uses_of(take_from(uses_, count * kReadersUse)) == count) settle(this);
  }
  /// Lets go of nothing: others did, or do, that for the node.
  void set_computed_alone() noexcept {
    free_inputs();
    state_.store(State::computed, std::memory_order_release);
  }
  /// Frees a node whose uses are all of such.
  void discard() noexcept;
  /// Whether but one knows of the node beside all who use it.
  bool has_one_more_link() const noexcept { return links_.load(std::memory_order_acquire) == 2; }
  /// Drops the derivative links; the node remembers who did.
  void release(const Operation& by) noexcept;
  Rare& rare();
  const Rare* rare_if_any() const noexcept { return rare_.get(); }

  /// Of the elements, each once.
  std::size_t bytes() const noexcept { return static_cast<std::size_t>(adjoint::numel(shape)) * size_of(dtype); }
  /// The elements' memory for a result of this node's shape: inline for a single one, else a new storage.
  void allocate_value();
  /// The value of another node, seen through `strides` from `offset` elements on.
  void alias_value(const Value& source, std::int64_t offset, const Strides& strides);
  /// Lets go of a value that was set before its computation came to an end.
  void forget_value() noexcept { drop_value(); }
  /// For a new node: its value is `source`'s, now, or when that is computed.
  void take_value_of(Node* source);

 private:
  // What every evaluation and every count touches comes first, in the first two lines of the cache.
  // Uses in the lower half of the count; in the upper one, those of them that are a pending node's.
  std::atomic<std::int64_t> uses_{1};
  std::atomic<std::int32_t> links_{1};
  std::atomic<State> state_{State::pending};
  bool dying_ = false;
  std::atomic<std::uint8_t> checkpoints_{0};
  std::int32_t input_count_ = 0;

 public:
  std::int32_t mark = 0;  // for the evaluation under way: a step's number, and a place in it
  Schedule schedule = Schedule::none;
  bool requires_grad = false;
  std::uint8_t reads = 0;  // what the derivative reads, given which inputs require grad
  const Dtype dtype;
  const Operation* const operation;
  ThreadState* owner = nullptr;   // the thread that recorded it; its lock guards the computation
  std::size_t pending_index = 0;  // in its owner's list

 private:
  // Atomic, because one thread may compute the node while another one differentiates it.
  std::atomic<std::uintptr_t>* inputs_ = nullptr;
  std::atomic<std::uintptr_t> inline_inputs_[kInlineInputs];
  Node* next_ = nullptr;  // in the list of nodes to settle

 public:
  std::uint64_t first_reader = 0, last_reader = 0;  // their numbers in that list; only for the owner
  const Operation* released_by = nullptr;
  Cell* cell = nullptr;  // of a leaf, or of a result that a cell has taken for one: linked

 private:
  std::unique_ptr<Rare, Rare::Delete> rare_;

 public:
  const Shape shape;
  Value value;
  // What follows is touched by few: most nodes stay in four lines.
  std::uint64_t version;  // of a cell's leaf: which of its values

 private:
  Node(const Operation& op, const Shape& s, Dtype d) noexcept : dtype(d), operation(&op), shape(s) {}
  ~Node() = default;
  static std::atomic<std::uintptr_t>* allocate_inputs(int count);
  static void settle(Node* node) noexcept;
  static void settle_all(Node* first) noexcept;
  bool drop_last_use() noexcept;
  void free() noexcept;
  void drop_value() noexcept {
    if (value.storage) value.storage->drop_ref();
    value.data = nullptr;
    value.storage = nullptr;
    if (rare_ && rare_->contiguous) std::exchange(rare_->contiguous, nullptr)->drop_ref();
  }
  void drop_uses(std::int64_t counts) noexcept {
    if (uses_of(take_from(uses_, counts)) == 1) settle(this);
  }
  void drop_inputs(std::int64_t counts) noexcept {
    if (inputs_) drop_all_inputs(counts);
  }
  void drop_all_inputs(std::int64_t counts) noexcept;
  void free_inputs() noexcept {
    if (inputs_ != inline_inputs_ && inputs_)
      pool_free(inputs_, static_cast<std::size_t>(input_count_) * sizeof(*inputs_));
    inputs_ = nullptr;
  }
  /// Whether a computed node needs its inputs. A marked one does even when it is released, while others link it, unless
  /// somebody holds its value.
  bool needs_inputs() const noexcept {
    if (is_marked() && !(released_by && is_held())) return true;
    return requires_grad && !released_by;
  }
  void end_reading() noexcept;
  void drop_what_was_read() noexcept;

  static constexpr std::uintptr_t kUsed = 1;  // the mark of an input that is used, else it is linked
  static constexpr std::int64_t kReader = std::int64_t{1} << 32, kReadersUse = kReader + 1;
  static std::int32_t uses_of(std::int64_t counts) noexcept {
    return static_cast<std::int32_t>(counts & (kReader - 1));
  }
  static std::int32_t readers_of(std::int64_t counts) noexcept { return static_cast<std::int32_t>(counts >> 32); }

  alignas(8) std::byte attributes_[kAttributeBytes];
  alignas(8) std::byte inline_value_[8];
};

class Parts;

/// A named place for a value. Handles use it, its leaves link it (weakly: a graph keeps no cell alive).
class Cell {
 public:
  /// A cell with one use, whose value is that of `source` (used).
  static Cell* make(Node* source, bool requires_grad);
  void add_use() noexcept { add_to(uses_, 1); }
  void drop_use() noexcept;
  void add_link() noexcept { add_to(links_, 1); }
  void drop_link() noexcept;
  /// Whether a handle is left.
  bool is_alive() const noexcept { return uses_.load(std::memory_order_acquire) > 0; }
  /// A use, unless there is none left.
  bool try_add_use() noexcept {
    return add_unless(uses_, [](std::int32_t uses) { return uses <= 0; });
  }

  /// The leaf that holds the value now.
  Node* current() const noexcept { return current_; }
  /// A new leaf with the value of `source`; the old one stays until the new one is computed and committed.
  void assign(Node* source);
  /// Whether a leaf is an assignment that is not committed.
  bool is_update(const Node* leaf) const noexcept { return committed_ && leaf->version > committed_->version; }
  /// Whether a leaf holds the value to go back to, and the cell alone keeps it.
  bool goes_back_to(const Node* leaf) const noexcept { return committed_ == leaf; }
  /// During an evaluation: `leaf`, of this cell, was computed (and something uses it).
  void propose(Node* leaf) noexcept;
  /// After an evaluation: what it computed is the cell's value.
  void commit() noexcept;
  /// After a failed evaluation: if it computed the cell's value, or failed to, back to the last one that was committed.
  bool revert() noexcept;
  /// The value, if any, that commit() will make the cell's.
  const Node* to_commit() const noexcept { return current_->is_computed() ? current_ : proposed_; }
  /// What will be that, while the evaluation is under way; null: nothing, or it is not known yet.
  const Node* to_come() const noexcept { return proposed_ ? proposed_ : current_->is_computed() ? nullptr : current_; }
  /// Makes `leaf`, a new one of the cell's shape whose use it takes over, the cell's value, whatever that was: a part
  /// of a computed value, from `offset` elements on.
  void show(Node* leaf, const Value& source, std::int64_t offset, const Strides& strides);
  /// Replaces the leaves by such with the same values that require grad, or do not.
  void set_requires_grad(bool requires_grad);

  static void* operator new(std::size_t bytes) { return pool_allocate(bytes); }
  static void operator delete(void* block, std::size_t bytes) noexcept { pool_free(block, bytes); }

  Tensor grad;
  Parts* parts = nullptr;  // the cells, if any, whose values are parts of this one's (core/parts.hpp)

 private:
  Cell() = default;
  bool adopt(Node* source) noexcept;
  void own(Node& leaf) noexcept;
  Node* make_leaf(Node* source);

  std::atomic<std::int32_t> uses_{1}, links_{1};
  Node* current_ = nullptr;
  Node* committed_ = nullptr;  // while current_ is an assignment that is pending: the value before
  Node* proposed_ = nullptr;   // during an evaluation: the newest that it computed between these two
  std::uint64_t version_ = 0;
  bool requires_grad_ = false;
};

/// The way into a Tensor.
struct Access {
  /// The node that a handle means now. Throws ValueError for an undefined Tensor.
  static Node* node(const Tensor& tensor, const char* operation = "tensor") {
    if (tensor.node_) return tensor.node_;
    if (!tensor.cell_) throw_undefined(operation);
    return tensor.cell_->current();
  }
  static Cell* cell(const Tensor& tensor) noexcept { return tensor.cell_; }
  /// A handle that takes over a use.
  static Tensor take(Node* node) noexcept {
    Tensor tensor;
    tensor.node_ = node;
    return tensor;
  }
  static Tensor take(Cell* cell) noexcept {
    Tensor tensor;
    tensor.cell_ = cell;
    return tensor;
  }
  static Tensor share(Node* node) noexcept {
    node->add_use();
    return take(node);
  }

 private:
  [[noreturn]] static void throw_undefined(const char* operation);
};

/// Writes a number, converted to the dtype, where one element lies.
void store_number(Scalar value, Dtype dtype, void* at) noexcept;
Scalar load_number(Dtype dtype, const void* from) noexcept;

/// Gives a new pending node its inputs, and puts it on the list of the thread that records it, the caller's.
inline void register_pending(Node& node, Node* const* inputs, int count, ThreadState& state) {
  const std::uint64_t number = state.next_number++;
  node.owner = &state;
  node.pending_index = state.pending.size();
  state.pending.emplace_back(&node, number);
  node.add_link();
  if (count == 0) return;
  node.set_inputs(inputs, count, [&state, number](Node& input) {
    if (input.owner != &state) return;
    if (!input.first_reader) input.first_reader = number;
    input.last_reader = number;
  });
}

/// The leaf's operation: its value is its input's, and differentiation ends at it.
extern const Operation kLeaf;
/// A number of the host program; its value is in the node.
extern const Operation kScalar;

}  // namespace adjoint::detail
