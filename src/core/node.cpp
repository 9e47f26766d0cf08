#include "core/node.hpp"

#include "core/pool.hpp"
#include "core/thread_state.hpp"

#include <new>
#include <utility>

namespace adjoint::detail {
// -- Node -------------------------------------------------------------------------------------------------------------

// Settles a node that lost its last use, or its last link. Most let go of no others.
void Node::settle(Node* node) noexcept {
  if (node->inputs_ || node->cell) settle_all(node);
  else if (node->drop_last_use()) node->free();
}

// And then those that it lets go of. A node is in the list at most once: its last use holds a link until it is settled.
void Node::settle_all(Node* first) noexcept {
  thread_local Node* list = nullptr;
  thread_local bool settling = false;
  first->next_ = list;
  list = first;
  if (settling) return;
  settling = true;
  while (Node* node = list) {
    list = node->next_;
    if (!node->drop_last_use()) continue;
    node->drop_inputs(1);
    if (node->cell) node->cell->drop_link();
    node->free();
  }
  settling = false;
}

// What a node lets go of with its last use. Whether that was its last link, too, or there were no uses any more.
inline bool Node::drop_last_use() noexcept {
  if (dying_) return true;
  const State before = state();
  if (before == State::computed) drop_value();
  else if (before == State::pending) drop_inputs(kReadersUse);  // nobody will compute it
  state_.store(State::dropped, std::memory_order_release);
  return take_from(links_, 1) == 1;
}

inline void Node::free() noexcept {
  this->~Node();
  pool_free(this, sizeof(Node));
}

void Node::discard() noexcept {
  free_inputs();
  free();
}

void Rare::Delete::operator()(Rare* rare) const noexcept { delete rare; }

std::atomic<std::uintptr_t>* Node::allocate_inputs(int count) {
  using Input = std::atomic<std::uintptr_t>;
  return static_cast<Input*>(pool_allocate(static_cast<std::size_t>(count) * sizeof(Input)));
}

// `counts` is what this node's uses of its inputs count as: a reader's, or a derivative's.
void Node::drop_all_inputs(std::int64_t counts) noexcept {
  std::atomic<std::uintptr_t>* inputs = inputs_;
  inputs_ = nullptr;
  for (int i = 0; i < input_count_; ++i) {
    const std::uintptr_t entry = inputs[i].load(std::memory_order_relaxed);
    Node* node = reinterpret_cast<Node*>(entry & ~kUsed);
    if (entry & kUsed) node->drop_uses(counts);
    else node->drop_link();
  }
  if (inputs != inline_inputs_) pool_free(inputs, static_cast<std::size_t>(input_count_) * sizeof(*inputs));
}

// Once the node is no reader any more: what its derivative names stays used.
void Node::drop_what_was_read() noexcept {
  for (int i = 0; i < input_count_; ++i) {
    Node* node = input(i);
    if (keeps_input(i) || node->keeps_own_value()) {
      take_from(node->uses_, kReader);
    } else {
      node->add_link();
      inputs_[i].store(reinterpret_cast<std::uintptr_t>(node), std::memory_order_relaxed);
      node->drop_uses(kReadersUse);
    }
  }
}

void Node::end_reading() noexcept {
  // What is held without a derivative may be so for longer than any graph; then it must not keep what it was made of.
  if (is_marked() && !requires_grad && is_held()) set_checkpoints(0);
  if (!needs_inputs() || operation->family == Family::leaf) drop_inputs(kReadersUse);
  else if (inputs_) drop_what_was_read();
}

void Node::set_computed() noexcept {
  state_.store(State::computed, std::memory_order_release);
  end_reading();
}

void Node::set_failed(std::exception_ptr error) {
  drop_value();  // allocated, perhaps, before the computation failed
  rare().error = std::move(error);
  state_.store(State::failed, std::memory_order_release);
  end_reading();
}

void Node::release(const Operation& by) noexcept {
  if (operation->family == Family::leaf || !requires_grad || released_by) return;
  released_by = &by;
  if (state() != State::pending && !needs_inputs()) drop_inputs(1);
}

Rare& Node::rare() {
  if (!rare_) rare_.reset(new Rare);
  return *rare_;
}

void Node::allocate_value() {
  value.strides = row_major_strides(shape);
  value.storage = nullptr;
  if (adjoint::numel(shape) <= 1) {
    value.data = inline_value_;
  } else {
    value.storage = Storage::allocate(bytes());
    value.data = value.storage->data();
  }
}

void Node::alias_value(const Value& source, std::int64_t offset, const Strides& strides) {
  value.strides = strides;
  if (source.storage) {
    source.storage->add_ref();
    value.storage = source.storage;
    value.data = static_cast<std::byte*>(source.data) + offset * static_cast<std::int64_t>(size_of(dtype));
  } else {  // inline: one element, or none
    std::memcpy(inline_value_, source.data, sizeof inline_value_);
    value.data = inline_value_;
  }
}

void Node::take_value_of(Node* source) {
  if (source->is_computed()) {
    alias_value(source->value, 0, source->value.strides);
    set_computed();
  } else {
    register_pending(*this, &source, 1, ThreadState::get());
  }
}

// -- Cell -------------------------------------------------------------------------------------------------------------

Cell* Cell::make(Node* source, bool requires_grad) {
  auto* cell = new Cell;
  cell->requires_grad_ = requires_grad;
  try {
    cell->current_ = cell->make_leaf(source);
  } catch (...) {
    delete cell;
    throw;
  }
  return cell;
}

void Cell::drop_use() noexcept {
  if (take_from(uses_, 1) != 1) return;
  if (current_) current_->drop_use();
  if (committed_) committed_->drop_use();
  current_ = committed_ = nullptr;
  grad = Tensor();
  drop_link();
}

void Cell::drop_link() noexcept {
  if (take_from(links_, 1) == 1) delete this;
}

void Cell::own(Node& leaf) noexcept {
  leaf.requires_grad = requires_grad_;
  leaf.version = ++version_;
  leaf.cell = this;
  add_link();
}

Node* Cell::make_leaf(Node* source) {
  Node* leaf = Node::make(kLeaf, source->shape, source->dtype);
  own(*leaf);
  leaf->take_value_of(source);
  return leaf;
}

void Cell::show(Node* leaf, const Value& source, std::int64_t offset, const Strides& strides) {
  leaf->alias_value(source, offset, strides);
  own(*leaf);
  leaf->set_computed();
  for (Node* old : {std::exchange(current_, leaf), std::exchange(committed_, nullptr)})
    if (old) old->drop_use();
}

// A pending result that no derivative leads to may be the leaf itself: a node less.
bool Cell::adopt(Node* source) noexcept {
  ThreadState& state = ThreadState::get();
  if (requires_grad_ || source->requires_grad || source->cell || source->owner != &state ||
      source->operation->family == Family::leaf)
    return false;
  const std::lock_guard lock(state.mutex);  // nobody computes it now
  if (source->state() != State::pending || source->schedule != Schedule::none) return false;
  source->version = ++version_;
  source->cell = this;
  source->set_checkpoints(0);
  add_link();
  source->add_use();
  return true;
}

void Cell::assign(Node* source) {
  Node* leaf = adopt(source) ? source : make_leaf(source);
  Node* old = std::exchange(current_, leaf);
  if (leaf->is_computed()) {
    if (committed_) committed_->drop_use();
    committed_ = nullptr;
    old->drop_use();
  } else if (committed_) {
    old->drop_use();  // an assignment that nobody looked at
  } else {
    committed_ = old;
  }
}

void Cell::propose(Node* leaf) noexcept {
  if (leaf == current_ || !is_update(leaf) || (proposed_ && proposed_->version > leaf->version)) return;
  leaf->add_use();
  if (proposed_) proposed_->drop_use();
  proposed_ = leaf;
}

void Cell::commit() noexcept {
  Node* old = nullptr;
  if (current_->is_computed()) old = std::exchange(committed_, nullptr);
  else if (proposed_) old = std::exchange(committed_, std::exchange(proposed_, nullptr));
  if (old) old->drop_use();
  if (Node* unneeded = std::exchange(proposed_, nullptr)) unneeded->drop_use();
}

bool Cell::revert() noexcept {
  if (Node* unneeded = std::exchange(proposed_, nullptr)) unneeded->drop_use();
  if (!committed_ || current_->state() == State::pending) return false;
  std::exchange(current_, std::exchange(committed_, nullptr))->drop_use();
  return true;
}

void Cell::set_requires_grad(bool requires_grad) {
  if (requires_grad == requires_grad_) return;
  requires_grad_ = requires_grad;
  for (Node** value : {&committed_, &current_})
    if (*value) std::exchange(*value, make_leaf(*value))->drop_use();
}

// -- Access -----------------------------------------------------------------------------------------------------------

void Access::throw_undefined(const char* operation) {
  throw ValueError(std::string(operation) +
                   ": an undefined Tensor was used as an operand; it was default-constructed or moved from, or is a "
                   "gradient that no backward() has reached");
}

// -- numbers ----------------------------------------------------------------------------------------------------------

void store_number(Scalar value, Dtype dtype, void* at) noexcept {
  const auto store = [&](auto converted) { std::memcpy(at, &converted, sizeof converted); };
  switch (dtype) {
    case Dtype::float32:
      return store(static_cast<float>(value.to_double()));
    case Dtype::float64:
      return store(value.to_double());
    case Dtype::int64:
      return store(value.to_int64());
    case Dtype::int32:
      return store(static_cast<std::int32_t>(value.to_int64()));
    case Dtype::uint8:
      return store(static_cast<std::uint8_t>(value.to_int64()));
    case Dtype::bool_:
      return store(value.to_double() != 0);
  }
}

Scalar load_number(Dtype dtype, const void* from) noexcept {
  switch (dtype) {
    case Dtype::float32:
      return *static_cast<const float*>(from);
    case Dtype::float64:
      return *static_cast<const double*>(from);
    case Dtype::int64:
      return *static_cast<const std::int64_t*>(from);
    case Dtype::int32:
      return *static_cast<const std::int32_t*>(from);
    case Dtype::uint8:
      return *static_cast<const std::uint8_t*>(from);
    case Dtype::bool_:
      break;
  }
  return *static_cast<const bool*>(from);
}

// -- Recorded ---------------------------------------------------------------------------------------------------------

Tensor Recorded::input(int i) const { return value_of(*node_->input(i)); }
Tensor Recorded::output() const { return value_of(*node_); }
Tensor Recorded::value_of(Node& node) const { return node.is_marked() ? values_->of(node) : Access::share(&node); }
const Shape& Recorded::input_shape(int i) const { return node_->input(i)->shape; }
Dtype Recorded::input_dtype(int i) const { return node_->input(i)->dtype; }
const Shape& Recorded::shape() const { return node_->shape; }
Dtype Recorded::dtype() const { return node_->dtype; }
const Operation* Recorded::input_operation(int i) const { return node_->input(i)->operation; }
std::optional<Scalar> Recorded::number(int i) const {
  const Node& node = *node_->input(i);
  if (node.operation != &kScalar) return {};
  return load_number(node.dtype, node.value.data);
}
const void* Recorded::attribute_bytes() const noexcept { return node_->attribute_bytes(); }

}  // namespace adjoint::detail
