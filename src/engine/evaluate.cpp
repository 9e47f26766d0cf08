// Computing a graph: order, execute, commit.
#include "core/parts.hpp"
#include "core/thread_state.hpp"
#include "engine/engine.hpp"
#include "engine/execute.hpp"
#include "engine/explain.hpp"
#include "engine/fuse.hpp"
#include "engine/profiler.hpp"
#include "engine/replay.hpp"
#include "engine/threads.hpp"

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

namespace adjoint::detail {
namespace {

struct Frame {
  Node* node;
  int next;
};

/// The lists of an evaluation. They are kept for the next one of the thread, so that a step of a training allocates
/// none.
struct Workspace {
  std::vector<ThreadState*> locked;
  std::vector<ThreadState*> foreign;  // found while scheduling, and not locked
  std::vector<Frame> stack;
  std::vector<Node*> plan;
  std::vector<Node*> roots;  // used, so that what became of them can be told
  std::vector<Cell*> cells;  // those whose leaves are computed; used
  Steps steps;               // of a plan that is not kept
  Plans plans;
  Groups groups;
  std::vector<int> ready;  // steps that are prepared to be the last

  /// Lets go of the lists of an uncommonly large evaluation.
  void shrink() {
    constexpr std::size_t most = std::size_t{1} << 16;
    if (plan.capacity() <= most) return;
    stack = {};
    plan = {};
    roots = {};
    cells = {};
    steps = {};
    ready = {};
  }
};

// A loop that records and never looks stays bounded.
constexpr std::size_t kMostPending = std::size_t{1} << 17;

/// Calls visit(node) for those that are pending.
template <class Visit>
void compact(ThreadState& state, const Visit& visit) {
  std::lock_guard lock(state.mutex);
  state.pending_is_stale.store(false, std::memory_order_relaxed);
  std::size_t kept = 0;
  for (const ThreadState::Pending& entry : state.pending) {
    if (!entry.node) continue;
    if (entry.node->state() == State::pending) {
      entry.node->pending_index = kept;
      state.pending[kept++] = entry;
      visit(*entry.node);
    } else {
      entry.node->drop_link();
    }
  }
  state.pending.resize(kept);
  state.pending_limit = std::max({std::size_t{1024}, std::min(2 * kept, kMostPending), kept + kept / 16});
}
void compact(ThreadState& state) {
  compact(state, [](Node&) {});
}

/// One evaluation: what it computes, in an order in which every node comes after its inputs.
class Evaluation {
 public:
  explicit Evaluation(ThreadState& state) : state_(state), workspace_(take_workspace(state)) {}
  ~Evaluation();
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

  void plan(Node* const* roots, int count);
  void plan_all();
  void run();
  Explanation explain() const { return describe(plan_, roots_, state_.fuse, fewest_to_recompute()); }
  /// What the first root that failed threw, in the order of recording; or null.
  std::exception_ptr root_error() const;
  /// Why cells kept their old values, if they did.
  std::exception_ptr cell_error() const { return reverted_ ? error_ : nullptr; }

 private:
  static std::unique_ptr<Workspace> take_workspace(ThreadState& state) {
    // The first evaluation has none, nor has one inside of another.
    if (!state.workspace) {
      Switches::checked_defaults();
      return std::make_unique<Workspace>();
    }
    return std::unique_ptr<Workspace>(static_cast<Workspace*>(std::exchange(state.workspace, nullptr)));
  }
  Asked asked() const { return {roots_, state_.pending, fewest_to_recompute()}; }
  std::int64_t fewest_to_recompute() const { return state_.recompute ? state_.fewest_to_recompute : Steps::kNone; }
  void lock(std::vector<ThreadState*> states);
  void unlock();
  void schedule_roots();
  bool schedule(Node* root);
  void unschedule(std::size_t first);
  void schedule_what_is_fed();
  bool is_locked(const Node& node) const {
    return node.owner == &state_ || std::find(locked_.begin(), locked_.end(), node.owner) != locked_.end();
  }
  void run_late_steps(Steps& steps, KeptPlan* kept);
  void run_step(Node* const* nodes, int count, const Repeated& repeated, Groups::Kept* kept = nullptr);
  void add_product(Node* const* nodes, int count);
  void finish_step(Node* const* nodes, int count, bool computed, const Repeated& repeated = {});
  bool finish_closed(Node* const* nodes, const Program& program);
  void compute(Node& node);
  bool reserve_parts() noexcept;
  void give_parts(Cell& cell) noexcept;
  /// Calls `compute` for nodes, under the eyes of the profile if there is one.
  template <class Compute>
  bool noted(Node* const* nodes, int count, const Repeated& repeated, const Compute& compute) {
    return profile_ ? profile_->step(nodes, count, repeated, compute) : compute();
  }
  void forget(Node& node);

  ThreadState& state_;
  std::unique_ptr<Workspace> workspace_;
  std::vector<ThreadState*>& locked_ = workspace_->locked;
  std::vector<ThreadState*>& foreign_ = workspace_->foreign;
  std::vector<Node*>& plan_ = workspace_->plan;
  std::vector<Node*>& roots_ = workspace_->roots;
  std::vector<Cell*>& cells_ = workspace_->cells;
  std::int64_t other_readers_ = 0;  // how often this thread's nodes of the plan are read by others
  KeptPlan* recalled_ = nullptr;    // for the plan, if it did not have to be scheduled
  std::exception_ptr error_;        // the first
  bool failed_ = false;             // some node
  bool reverted_ = false;
  bool once_ = false;  // what was to be computed again may be computed
  const std::shared_ptr<ThreadProfile> profile_ = ThreadProfile::running();  // null: none
  const std::int64_t began_ = profile_ ? profile_->now() : 0;
  std::int64_t planned_ = 0;
  const std::uint64_t replays_ = state_.replays;  // before
};

Evaluation::~Evaluation() {
  unschedule(0);
  for (Cell* cell : cells_) cell->drop_use();
  for (Node* node : roots_) node->drop_use();
  unlock();
  cells_.clear();
  roots_.clear();
  workspace_->shrink();
  if (!state_.workspace) state_.workspace = workspace_.release();
}

std::exception_ptr Evaluation::root_error() const {
  for (const Node* root : roots_)
    if (root->state() == State::failed) return root->rare_if_any()->error;
  return nullptr;
}

// Locks in the order of addresses, so that two evaluations never wait for each other.
void Evaluation::lock(std::vector<ThreadState*> states) {
  std::sort(states.begin(), states.end());
  states.erase(std::unique(states.begin(), states.end()), states.end());
  for (ThreadState* state : states) {
    state->mutex.lock();
    locked_.push_back(state);
  }
}

void Evaluation::unlock() {
  for (ThreadState* state : locked_) state->mutex.unlock();
  locked_.clear();
}

void Evaluation::plan(Node* const* roots, int count) {
  for (int i = 0; i < count; ++i) {
    roots[i]->add_use();
    roots_.push_back(roots[i]);
  }
  // In the order of recording, whatever the order of asking: of the gradients of layers the last layer's comes first,
  // and what it alone reads is free after it.
  const auto recorded = [&](const Node* node) { return node->owner == &state_ ? node->pending_index : 0; };
  const auto is_earlier = [&](auto* a, auto* b) { return recorded(a) < recorded(b); };
  if (!std::is_sorted(roots_.begin(), roots_.end(), is_earlier)) std::sort(roots_.begin(), roots_.end(), is_earlier);
  state_.mutex.lock();
  locked_.push_back(&state_);
  schedule_roots();
}

// All that is held.
void Evaluation::plan_all() {
  state_.mutex.lock();
  locked_.push_back(&state_);
  compact(state_, [this](Node& node) {
    if (node.is_held() && node.try_add_use()) roots_.push_back(&node);
  });
  schedule_roots();
}

void Evaluation::schedule_roots() {
  if (state_.fuse && state_.replay)
    if (KeptPlan* expected = workspace_->plans.expected(); expected && expected->recall(plan_, asked())) {
      recalled_ = expected;
      return;
    }
  for (;;) {
    bool complete = true;
    for (std::size_t i = 0; i < roots_.size() && complete; ++i) complete = schedule(roots_[i]);
    if (complete) break;
    // Part of the graph was recorded by another thread: start again with that one's lock as well.
    unschedule(0);
    other_readers_ = 0;
    std::vector<ThreadState*> states = locked_;
    states.insert(states.end(), foreign_.begin(), foreign_.end());
    foreign_.clear();
    unlock();
    lock(std::move(states));
  }
  schedule_what_is_fed();
}

// Depth first, with a stack of our own. Returns false when a lock is missing; then the plan is of no use.
bool Evaluation::schedule(Node* root) {
  std::vector<Frame>& stack = workspace_->stack;
  std::size_t depth = 0;
  std::int64_t other_readers = other_readers_;
  bool complete = true;
  // Whether a pending node is new to the plan.
  const auto is_new = [&](Node* node) {
    if (is_locked(*node)) return node->schedule == Schedule::none;
    foreign_.push_back(node->owner);
    return complete = false;
  };
  const auto push = [&](Node* node) {
    node->schedule = Schedule::planned;
    if (node->owner == &state_) other_readers += node->readers();
    if (depth == stack.size()) stack.resize(2 * depth + 64);
    stack[depth++] = {node, 0};
  };
  if (root->state() == State::pending && is_new(root)) push(root);
  while (depth > 0) {
    Frame& frame = stack[depth - 1];
    Node* const node = frame.node;
    const int inputs = complete ? node->input_count() : 0;
    Node* next = nullptr;
    int i = frame.next;
    while (!next && i < inputs) {
      Node* input = node->input(i++);
      if (input->state() != State::pending) continue;
      other_readers -= input->owner == &state_;
      if (is_new(input)) next = input;
    }
    frame.next = i;
    if (next) {
      push(next);
    } else {
      plan_.push_back(node);
      --depth;
    }
  }
  other_readers_ = other_readers;
  return complete;
}

// Takes nodes off the plan again.
void Evaluation::unschedule(std::size_t first) {
  for (std::size_t i = first; i < plan_.size(); ++i)
    if (std::exchange(plan_[i]->schedule, Schedule::none) == Schedule::used) plan_[i]->drop_use();
  plan_.resize(first);
}

// Held values and cells of this thread that what is computed anyway feeds: computed now, they let go of it.
void Evaluation::schedule_what_is_fed() {
  // With no other thread's nodes among them, and as many as are pending, there are no others.
  if (locked_.size() == 1 && plan_.size() >= state_.pending.size()) return;
  const std::size_t asked_for = plan_.size();
  if (other_readers_ <= 0) return;
  // Where in the list of pending nodes to look for the others that read nodes of the plan.
  std::uint64_t first = UINT64_MAX, last = 0;
  std::size_t seen = 0;
  const auto find_readers = [&] {
    for (; seen < plan_.size(); ++seen) {
      const Node& node = *plan_[seen];
      if (node.owner != &state_ || !node.first_reader) continue;  // what reads it is not ours to compute
      first = std::min(first, node.first_reader);
      last = std::max(last, node.last_reader);
    }
  };
  find_readers();
  const auto& pending = state_.pending;
  const auto number_less = [](const ThreadState::Pending& entry, std::uint64_t number) {
    return entry.number < number;
  };
  auto at = std::lower_bound(pending.begin(), pending.end(), first, number_less);
  for (; other_readers_ > 0 && at != pending.end() && at->number <= last; ++at) {
    Node* node = at->node;
    if (!node || node->schedule != Schedule::none || node->state() != State::pending) continue;
    if (!node->try_add_use()) continue;  // without ours, another thread might drop it, and its inputs, meanwhile
    bool fed = false;
    for (int k = 0; k < node->input_count() && !fed; ++k) {
      const Node& input = *node->input(k);
      fed = is_locked(input) && input.schedule != Schedule::none;
    }
    const std::size_t before = plan_.size();
    const std::int64_t readers_before = other_readers_;
    if (fed && schedule(node)) {
      node->schedule = Schedule::used;
      find_readers();
    } else {
      other_readers_ = readers_before;
      unschedule(before);  // it also needs what another thread recorded: it can wait
      node->drop_use();
    }
  }
  if (plan_.size() == asked_for) return;
  // What is read by others of the plan is kept by them; with a use of ours it would have to be written to memory.
  for (Node* node : plan_)
    for (int i = 0; i < node->input_count(); ++i)
      if (Node* input = node->input(i); input->schedule == Schedule::used) {
        input->schedule = Schedule::planned;
        input->drop_use();
      }
}

void Evaluation::run() {
  const auto count_cells = [this] {
    return std::count_if(plan_.begin(), plan_.end(), [](const Node* node) { return node->cell != nullptr; });
  };
  cells_.reserve(recalled_ ? recalled_->cells() : static_cast<std::size_t>(count_cells()));
  {
    const TeamLease lease;
    if (plan_.size() == 1 || !state_.fuse) {
      if (profile_) planned_ = profile_->now();
      for (Node* node : plan_) run_step(&node, 1, {});
    } else {
      KeptPlan* kept = recalled_;
      if (kept) {
        workspace_->plans.use_expected();
        ++state_.replays;
      } else if (state_.replay) {
        kept = workspace_->plans.find(plan_, asked(), state_.replays);
      }
      if (!kept) workspace_->steps.build(plan_, fewest_to_recompute());
      if (profile_) planned_ = profile_->now();
      Steps& steps = kept ? kept->steps() : workspace_->steps;
      for (int step = 0; step < steps.size(); ++step)
        if (steps.adds_product(step)) add_product(steps.begin(step), steps.count(step));
        else if (!steps.is_late(step))
          run_step(steps.begin(step), steps.count(step), steps.repeated(step), kept ? &kept->program(step) : nullptr);
      run_late_steps(steps, kept);
    }
  }
  const std::size_t operations = plan_.size();
  plan_.clear();
  for (Cell* cell : cells_) give_parts(*cell);
  for (Cell* cell : cells_) {
    if (error_) reverted_ |= cell->revert();
    else cell->commit();
  }
  if (state_.pending.empty()) state_.pending_limit = 1024;
  state_.live_bytes = Storage::live_bytes();
  if (profile_ && operations > 0) profile_->evaluation(began_, planned_, operations, state_.replays > replays_);
}

// For the cells whose values are parts of another's: nothing can fail any more when that has been written.
bool Evaluation::reserve_parts() noexcept try {
  for (const Cell* cell : cells_)
    if (const Node* whole = cell->parts ? cell->to_come() : nullptr) cell->parts->reserve(*whole);
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

// The cells whose values are parts of this one's get theirs with it.
void Evaluation::give_parts(Cell& cell) noexcept try {
  const Node* whole = cell.parts ? cell.to_commit() : nullptr;
  if (whole && !error_) cell.parts->follow(*whole);
} catch (const std::bad_alloc&) {
  error_ = std::current_exception();
}

// New values of cells, which nothing in this evaluation reads: when all else is computed, and all memory allocated, so
// that nothing can fail any more, they may be written over the old ones.
void Evaluation::run_late_steps(Steps& steps, KeptPlan* kept) {
  Groups& groups = workspace_->groups;
  std::vector<int>& ready = workspace_->ready;  // those that are prepared
  ready.clear();
  const auto run = [&](int step) { run_step(steps.begin(step), steps.count(step), {}); };
  const int leaves = steps.size() - 1;
  for (int step = 0; step < leaves; ++step) {
    if (!steps.is_late(step)) continue;
    Groups::Kept* program = kept ? &kept->program(step) : nullptr;
    if (!failed_ && groups.prepare(steps.begin(step), steps.count(step), program)) ready.push_back(step);
    else run(step);
  }
  if (!failed_ && reserve_parts() && groups.allocate_buffers()) {
    for (std::size_t i = 0; i < ready.size(); ++i) {
      const auto compute = [&] {
        groups.compute_prepared(i);
        return true;
      };
      noted(steps.begin(ready[i]), steps.count(ready[i]), {}, compute);
    }
    for (std::size_t i = 0; i < ready.size(); ++i)
      if (!finish_closed(steps.begin(ready[i]), groups.prepared_program(i)))
        finish_step(steps.begin(ready[i]), steps.count(ready[i]), true);
    groups.forget_prepared();
  } else {
    groups.give_up();
    for (int step : ready) run(step);
  }
  finish_step(steps.begin(leaves), steps.count(leaves), false);
}

// Computes nodes together, and lets go of what only they needed.
void Evaluation::run_step(Node* const* nodes, int count, const Repeated& repeated, Groups::Kept* kept) {
  const Program* program = nullptr;
  const auto compute = [&] { return (program = workspace_->groups.compute(nodes, count, repeated, kept)) != nullptr; };
  const auto is_pending = [](const Node* node) { return node->state() == State::pending; };
  const bool together = count > 1 && (!once_ || std::all_of(nodes, nodes + count, is_pending));
  const bool computed = together && noted(nodes, count, repeated, compute);
  once_ |= repeated.again && !computed;
  if (!computed || !finish_closed(nodes, *program)) finish_step(nodes, count, computed, repeated);
}

void Evaluation::add_product(Node* const* nodes, int count) {
  const auto compute = [&] { return execute_added_product(nodes, count); };
  finish_step(nodes, count, noted(nodes, count, {}, compute));
}

// Where it is known who reads what, a group lets go of all that at once. False: it is not known.
bool Evaluation::finish_closed(Node* const* nodes, const Program& program) {
  if (!program.is_closed() || once_) return false;
  std::vector<ThreadState::Pending>& pending = state_.pending;
  for (int i = 0; i < program.count(); ++i) {
    const Node& node = *nodes[i];
    if (node.owner != &state_ || node.requires_grad || node.is_marked() || node.schedule != Schedule::planned ||
        node.pending_index >= pending.size() || pending[node.pending_index].node != &node ||
        (program.is_interior(i) && !node.has_one_more_link()))
      return false;
  }
  for (int i = 0; i < program.count(); ++i) pending[nodes[i]->pending_index].node = nullptr;
  program.finish(nodes, [this](Node& node) {
    node.schedule = Schedule::none;
    if (node.cell && node.cell->try_add_use()) {
      cells_.push_back(node.cell);
      node.cell->propose(&node);
    }
  });
  while (!pending.empty() && !pending.back().node) pending.pop_back();
  return true;
}

// `computed`: their values are there, else they are computed one by one, those for other groups as well.
void Evaluation::finish_step(Node* const* nodes, int count, bool computed, const Repeated& repeated) {
  const bool plain = computed && !once_ && (repeated.again | repeated.last) == 0;
  for (int i = 0; i < count; ++i) {
    Node* node = nodes[i];
    if (plain && !node->cell && node->schedule == Schedule::planned) {  // as most are
      node->schedule = Schedule::none;
      node->set_computed();
      forget(*node);
      continue;
    }
    if (computed && has_bit(repeated.again, i)) {
      if (has_bit(repeated.left, i)) node->schedule = Schedule::none;
      continue;
    }
    // Computed with another step already; linked since, because nobody may need it till the last one that names it.
    if (once_ && node->state() != State::pending) {
      node->schedule = Schedule::none;
      if (has_bit(repeated.last | repeated.left, i)) node->drop_link();
      continue;
    }
    if (has_bit(repeated.again & ~repeated.left, i)) node->add_link();
    const bool used = std::exchange(node->schedule, Schedule::none) == Schedule::used;
    Cell* cell = node->cell && node->cell->try_add_use() ? node->cell : nullptr;
    if (cell) cells_.push_back(cell);
    if (computed) {
      node->set_computed();
    } else {
      const auto compute_alone = [&] {
        compute(*node);
        return true;
      };
      noted(&node, 1, {}, compute_alone);
      failed_ |= node->state() == State::failed;
    }
    if (cell && node->is_computed()) cell->propose(node);
    if (cell && !error_ && node->state() == State::failed && cell->is_update(node)) error_ = node->rare_if_any()->error;
    forget(*node);
    if (used) node->drop_use();  // and this may have been the last that we see of it
  }
}

// A node whose input failed fails alike. If that was in an earlier evaluation, then this one has not failed.
void Evaluation::compute(Node& node) {
  try {
    for (int i = 0; i < node.input_count(); ++i)
      if (const Node* input = node.input(i); input->state() == State::failed)
        return node.set_failed(input->rare_if_any()->error);
    try {
      node.operation->execute(node);
      node.set_computed();
    } catch (Error& error) {
      if (const Rare* rare = node.rare_if_any()) error.set_module_path(std::string(rare->module_path.c_str()));
      throw;
    }
  } catch (...) {
    if (!error_) error_ = std::current_exception();
    node.set_failed(std::current_exception());
  }
}

// Takes a node off its owner's list.
void Evaluation::forget(Node& node) {
  if (node.owner != &state_) {
    node.owner->pending_is_stale.store(true, std::memory_order_relaxed);
    return;
  }
  std::vector<ThreadState::Pending>& pending = state_.pending;
  if (node.pending_index >= pending.size() || pending[node.pending_index].node != &node) return;
  pending[node.pending_index].node = nullptr;
  while (!pending.empty() && !pending.back().node) pending.pop_back();
  node.drop_link();
}

}  // namespace

// The stored exception belongs to every handle that depends on the failed node; each look gets a copy of its own.
void rethrow(const std::exception_ptr& stored) {
  try {
    std::rethrow_exception(stored);
  } catch (const ShapeError& error) {
    throw ShapeError(error);
  } catch (const DtypeError& error) {
    throw DtypeError(error);
  } catch (const ValueError& error) {
    throw ValueError(error);
  } catch (const AutogradError& error) {
    throw AutogradError(error);
  } catch (const IoError& error) {
    throw IoError(error);
  }
}

void evaluate(Node* const* roots, int count, bool quietly) {
  ThreadState& state = ThreadState::get();
  if (state.pending_is_stale.load(std::memory_order_relaxed)) compact(state);
  Evaluation evaluation(state);
  evaluation.plan(roots, count);
  evaluation.run();
  for (int i = 0; i < count && !quietly; ++i)
    if (roots[i]->state() == State::failed) rethrow(roots[i]->rare_if_any()->error);
  if (evaluation.cell_error()) rethrow(evaluation.cell_error());
}

Explanation explain(Node* const* roots, int count) {
  ThreadState& state = ThreadState::get();
  if (state.pending_is_stale.load(std::memory_order_relaxed)) compact(state);
  Evaluation evaluation(state);
  evaluation.plan(roots, count);
  return evaluation.explain();
}

Node* evaluated(const Tensor& tensor, const char* operation) {
  Node* node = Access::node(tensor, operation);
  if (node->state() == State::pending) evaluate(&node, 1);
  if (node->state() == State::failed) rethrow(node->rare_if_any()->error);
  return node;
}

void evaluate_pending(bool quietly) {
  Evaluation evaluation(ThreadState::get());
  evaluation.plan_all();
  evaluation.run();
  if (const std::exception_ptr error = evaluation.root_error(); error && !quietly) rethrow(error);
  if (evaluation.cell_error()) rethrow(evaluation.cell_error());
}

void bound_pending(ThreadState& state, bool many_bytes) {
  compact(state);
  if (state.pending.size() < kMostPending && !many_bytes) return;
  state.live_bytes = Storage::live_bytes();
  if (!state.pending.empty()) evaluate_pending(true);
}

}  // namespace adjoint::detail
