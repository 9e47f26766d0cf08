#include "autodiff/recomputed.hpp"

#include "autodiff/differentiate.hpp"
#include "core/thread_state.hpp"
#include "engine/engine.hpp"
#include "engine/execute.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace adjoint::detail {
namespace {

/// The first input; not before the second is computed.
const Operation kAfter{"after",
                       Family::elementwise,
                       execute_after,
                       0,
                       false,
                       1,
                       {},
                       [](const Recorded&, int, const Tensor& t) { return t; }};

/// While it lives, what is recorded is marked as within so many checkpoints.
class RecordingAgain {
 public:
  explicit RecordingAgain(int checkpoints) noexcept
      : state_(ThreadState::get()),
        checkpoints_(std::exchange(state_.checkpoints, static_cast<std::uint8_t>(checkpoints))),
        records_again_(std::exchange(state_.records_again, true)) {}
  ~RecordingAgain() {
    state_.checkpoints = checkpoints_;
    state_.records_again = records_again_;
  }
  RecordingAgain(const RecordingAgain&) = delete;
  RecordingAgain& operator=(const RecordingAgain&) = delete;

 private:
  ThreadState& state_;
  const std::uint8_t checkpoints_;
  const bool records_again_;
};

}  // namespace

// The value itself, where it will be there; else an undefined Tensor. What somebody holds is kept anyway, and whoever
// differentiates by it must find it. In forward mode, and within the checkpoint itself, all is computed together.
Tensor RecomputedValues::shared(Node& node) const noexcept {
  const auto is_held = [&] { return node.uses() - node.readers() > (again_.count(&node) != 0 ? 1 : 0); };  // not by us
  const bool may_share =
      !node.is_marked() || pass_ == Pass::forward || node.checkpoints() <= ThreadState::get().checkpoints || is_held();
  return may_share && node.try_add_use() ? Access::take(&node) : Tensor();
}

Tensor RecomputedValues::of(Node& node) {
  Tensor value = shared(node);
  for (Node* at = &node; !value.defined(); value = shared(*at)) at = Access::node(recorded_again(*at));
  return value;
}

const Tensor* RecomputedValues::find(const Node* node) const {
  const auto found = again_.find(node);
  return found != again_.end() && found->second.defined() ? &found->second : nullptr;
}

// Depth first, with a stack of our own.
const Tensor& RecomputedValues::recorded_again(Node& node) {
  List<Node*> stack(1, &node);
  std::vector<Tensor> inputs;
  while (!stack.empty()) {
    Node& at = *stack.back();
    const std::size_t before = stack.size();
    if (!find(&at)) {
      if (!at.has_inputs() && at.input_count() > 0)
        throw AutogradError(std::string("the result of '") + at.operation->name + "' of shape " + to_string(at.shape) +
                            " within a checkpoint cannot be computed again: what it was made of was let go of by an "
                            "earlier backward(); pass retain_graph = true to that one");
      inputs.clear();
      for (int i = 0; i < at.input_count(); ++i) {
        const Tensor* again = find(at.input(i));
        inputs.push_back(again ? *again : shared(*at.input(i)));
        if (!inputs.back().defined()) stack.push_back(at.input(i));
      }
      if (stack.size() > before) continue;
      record_again(at, inputs);
    }
    stack.pop_back();
  }
  return *find(&node);
}

void RecomputedValues::record_again(const Node& node, std::vector<Tensor>& inputs) {
  // What reads a value that was recorded again waits with that. A rule looks at numbers, so they stay what they are.
  const auto waits = [&](int i) { return find(node.input(i)) != nullptr; };
  int first = 0, waiting = 0;
  for (int i = node.input_count(); i-- > 0;) {
    waiting += waits(i);
    if (node.input(i)->operation != &kScalar) first = i;
  }
  if (waiting == 0 && node.input_count() > 0 && node.input(first)->operation != &kScalar)
    inputs[static_cast<std::size_t>(first)] = ordered(inputs[static_cast<std::size_t>(first)]);
  const ThreadState& state = ThreadState::get();
  const RecordingAgain recording(std::max<int>(state.checkpoints, node.checkpoints() - 1));
  const GradMode mode(state.grad_enabled && node.requires_grad);  // what was a constant is one again
  Tensor again = detail::record_again(node, inputs);
  if (const Rare* rare = node.rare_if_any(); rare && !rare->module_path.empty())
    Access::node(again)->rare().module_path = rare->module_path;
  again_[Access::node(again)];  // not recorded again yet
  again_[&node] = std::move(again);
}

Tensor RecomputedValues::ordered(const Tensor& x) {
  if (!after_) return x;
  const Node& node = *Access::node(x);
  Tensor& after = ordered_[&node];
  if (!after.defined()) after = record(kAfter, node.shape, node.dtype, {x, *after_});
  return after;
}

void RecomputedValues::erase(const Node* node) {
  for (auto found = again_.find(node); found != again_.end();) {
    const Tensor again = std::move(found->second);
    again_.erase(found);
    found = again.defined() ? again_.find(Access::node(again)) : again_.end();
  }
}

}  // namespace adjoint::detail
