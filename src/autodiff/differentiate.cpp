#include "autodiff/differentiate.hpp"

#include "autodiff/recomputed.hpp"
#include "core/thread_state.hpp"
#include "engine/engine.hpp"
#include "engine/execute.hpp"
#include "ops/common.hpp"
#include "ops/movement.hpp"

#include <adjoint/autograd.hpp>

#include <algorithm>
#include <mutex>
#include <utility>

namespace adjoint::detail {
namespace {

/// The same value, and derivative, in a node of its own.
const Operation kIdentity{"identity", Family::linear, execute_alias,
                          0,          false,          1,
                          {},         nullptr,        [](const Recorded&, int, const Tensor& g) { return g; }};

void accumulate(Tensor& sum, Tensor part) { sum = sum.defined() ? sum + part : std::move(part); }

/// What there is of each node: mostly nothing.
template <class T>
class ByNode {
 public:
  explicit ByNode(std::size_t nodes) : nodes_(nodes) {}
  void add(int node, T value) {
    if (last_.empty()) last_.assign(nodes_, kNone);
    const int entry = static_cast<int>(entries_.size());
    entries_.push_back({std::move(value), std::exchange(last_[static_cast<std::size_t>(node)], entry)});
  }
  /// In the order in which they were added.
  List<T> take(int node) {
    List<T> values;
    if (last_.empty()) return values;
    for (int at = last_[static_cast<std::size_t>(node)]; at != kNone;
         at = entries_[static_cast<std::size_t>(at)].before)
      values.push_back(std::move(entries_[static_cast<std::size_t>(at)].value));
    std::reverse(values.begin(), values.end());
    return values;
  }

 private:
  static constexpr int kNone = -1;
  struct Entry {
    T value;
    int before;  // the entry of the same node that came before it
  };
  std::size_t nodes_;
  List<Entry> entries_;
  List<int> last_;  // for each node
};

/// What input i's cotangent gains from the result's cotangent g.
Tensor pulled_back(Node& node, int i, const Tensor& g, MarkedValues& values) {
  const Recorded at(node, values);
  const Operation& operation = *node.operation;
  switch (operation.family) {
    case Family::elementwise:
      // A rule that reads nothing is the same for all elements, and so for their sum.
      if (operation.reads[i] == 0) return operation.tangent(at, i, sum_to(g, at.input_shape(i)));
      return sum_to(operation.tangent(at, i, g), at.input_shape(i));
    case Family::reduction:
      return operation.tangent(at, i, expand_reduced(g, at.attributes<ReduceAttributes>().dims, at.input_shape(i)));
    default:
      return operation.pullback(at, i, g);
  }
}

/// The result's tangent, given those of the inputs (undefined where there is none).
Tensor pushed_forward(Node& node, const List<Tensor>& tangents, MarkedValues& values) {
  const Recorded at(node, values);
  const Operation& operation = *node.operation;
  const int count = node.input_count();
  Tensor result;
  switch (operation.family) {
    case Family::elementwise:
      for (int i = 0; i < count; ++i)
        if (const Tensor& t = tangents[static_cast<std::size_t>(i)]; t.defined())
          accumulate(result, operation.tangent(at, i, broadcast_to(t, node.shape)));
      return result;
    case Family::reduction: {
      const std::uint32_t dims = at.attributes<ReduceAttributes>().dims;
      Dims reduced;
      for (int i = 0; i < at.input_shape(0).size(); ++i)
        if (dims >> i & 1) reduced.push_back(i);
      const Tensor weighted = operation.tangent(at, 0, tangents[0]);
      return reshape(reduced.empty() ? weighted : sum(weighted, reduced), node.shape);
    }
    case Family::bilinear:
      for (int i = 0; i < 2; ++i)
        if (const Tensor& t = tangents[static_cast<std::size_t>(i)]; t.defined())
          accumulate(result, record_again(node, i == 0 ? std::vector<Tensor>{t, at.input(1)}
                                                       : std::vector<Tensor>{at.input(0), t}));
      return result;
    default: {
      // Linear in all differentiated inputs together; the others stay as they were recorded.
      std::vector<Tensor> inputs(static_cast<std::size_t>(count));
      for (int i = 0; i < count; ++i) {
        const Tensor& t = tangents[static_cast<std::size_t>(i)];
        inputs[static_cast<std::size_t>(i)] = t.defined() ? t
                                              : operation.differentiable >> std::min(i, 7) & 1
                                                  ? zeros(at.input_shape(i), at.input_dtype(i))
                                                  : at.input(i);
      }
      return record_again(node, inputs);
    }
  }
}

}  // namespace

Tensor fork(const char* operation, const Tensor& x) {
  const Node* node = Access::node(x, operation);
  if (!is_floating(node->dtype))
    throw AutogradError(std::string(operation) + ": the input of shape " + to_string(node->shape) + " has dtype " +
                        name_of(node->dtype) + "; only float32 and float64 can be differentiated");
  const EnableGradGuard enable;
  ThreadState& state = ThreadState::get();
  const bool eager = std::exchange(state.eager, false);  // not computed before it is known to be differentiated
  Tensor result = record(kIdentity, node->shape, node->dtype, {x});
  state.eager = eager;
  Access::node(result)->requires_grad = true;
  if (eager) eval(result);
  return result;
}

Tensor released(const Tensor& x) { return record(kIdentity, x.shape(), x.dtype(), {x}); }

// -- DifferentiableGraph ----------------------------------------------------------------------------------------------

DifferentiableGraph::DifferentiableGraph(const char* operation, TensorSpan outputs)
    : operation_(operation), table_(64) {
  struct Frame {
    Frame(Node* n, int of_node, int first) noexcept
        : node(n), number(of_node), first_input(first), count(n->input_count()) {}
    Node* node;
    int number, first_input, next = 0, count;
  };
  List<Frame> stack;
  // Few nodes need no more than a block of the pool each.
  stack.reserve(32);
  nodes_.reserve(32);
  first_input_.reserve(32);
  position_.reserve(32);
  inputs_.reserve(64);
  const auto finish = [&](Node* node, int number, int first_input) {
    position_[static_cast<std::size_t>(number)] = size();
    first_input_.push_back(first_input);
    nodes_.push_back(node);
  };
  // The node's number.
  const auto enter = [&](Node* node) {
    const std::size_t at = slot(node);
    if (table_[at].first) return table_[at].second;
    const auto number = static_cast<int>(position_.size()), first_input = static_cast<int>(inputs_.size());
    table_[at] = {node, number};
    position_.push_back(-1);
    if (2 * position_.size() > table_.size()) grow();
    node->add_link();
    const bool leads_on = node->operation->family != Family::leaf && !node->released_by && node->has_inputs();
    if (!leads_on) {
      finish(node, number, first_input);
    } else {
      stack.emplace_back(node, number, first_input);
      inputs_.resize(inputs_.size() + static_cast<std::size_t>(node->input_count()), -1);
    }
    return number;
  };
  for (const Tensor& output : outputs) {
    if (Node* node = Access::node(output, operation); node->requires_grad) enter(node);
    while (!stack.empty()) {
      Frame& frame = stack.back();
      if (frame.next == frame.count) {
        finish(frame.node, frame.number, frame.first_input);
        stack.pop_back();
        continue;
      }
      const int k = frame.next++;
      Node* input = frame.node->input(k);
      if (!differentiates(*frame.node, k)) continue;
      const auto at = static_cast<std::size_t>(frame.first_input + k);
      inputs_[at] = enter(input);
    }
  }
  for (int& input : inputs_)
    if (input >= 0) input = position_[static_cast<std::size_t>(input)];
}

DifferentiableGraph::~DifferentiableGraph() {
  for (Node* node : nodes_) node->drop_link();
}

std::size_t DifferentiableGraph::slot(const Node* node) const noexcept {
  const std::size_t mask = table_.size() - 1;
  std::size_t at = (reinterpret_cast<std::uintptr_t>(node) >> 6) * 0x9E3779B97F4A7C15u >> 20 & mask;
  while (table_[at].first && table_[at].first != node) at = (at + 1) & mask;
  return at;
}

void DifferentiableGraph::grow() {
  List<std::pair<const Node*, int>> old(4 * table_.size());
  old.swap(table_);
  for (const auto& entry : old)
    if (entry.first) table_[slot(entry.first)] = entry;
}

int DifferentiableGraph::find(const Node* node) const noexcept {
  const auto& entry = table_[slot(node)];
  return entry.first ? position_[static_cast<std::size_t>(entry.second)] : -1;
}

void DifferentiableGraph::throw_no_links(int i) const {
  const Node& at = node(i);
  if (at.state() == State::failed) rethrow(at.rare_if_any()->error);
  throw AutogradError(std::string(operation_) + ": the graph below the result of '" + at.operation->name +
                      "' of shape " + to_string(at.shape) +
                      " was released by an earlier backward() from the result of '" + at.released_by->name +
                      "'; pass retain_graph = true to that one");
}

void DifferentiableGraph::release(const List<char>& which, const Operation& by) const noexcept {
  ThreadState* owner = nullptr;  // whose lock is held
  std::unique_lock<std::recursive_mutex> lock;
  for (int i = size() - 1; i >= 0; --i) {
    if (!which[static_cast<std::size_t>(i)]) continue;
    Node& at = node(i);
    if (at.owner && at.owner != owner) {
      if (lock) lock.unlock();
      owner = at.owner;
      lock = std::unique_lock(owner->mutex);
    }
    at.release(by);
  }
}

// -- the two modes ----------------------------------------------------------------------------------------------------

List<Tensor> pull_back(const DifferentiableGraph& graph, TensorSpan outputs, TensorSpan cotangents, TensorSpan targets,
                       List<char>* visited) {
  const auto count = static_cast<std::size_t>(graph.size());
  // Which target each node is; of several targets that are the same, the first.
  constexpr int kNone = -1;
  List<int> target_of(count, kNone), same_as(targets.size(), kNone);
  List<std::pair<const Cell*, int>> cells;
  for (std::size_t k = 0; k < targets.size(); ++k) {
    if (const Cell* cell = Access::cell(targets[k])) {
      cells.emplace_back(cell, static_cast<int>(k));
    } else if (const int i = graph.find(Access::node(targets[k])); i >= 0) {
      int& target = target_of[static_cast<std::size_t>(i)];
      if (target == kNone) target = static_cast<int>(k);
      else same_as[k] = target;
    }
  }
  std::sort(cells.begin(), cells.end());
  for (std::size_t c = 1; c < cells.size(); ++c)
    if (cells[c].first == cells[c - 1].first) {
      const int first = same_as[static_cast<std::size_t>(cells[c - 1].second)];
      same_as[static_cast<std::size_t>(cells[c].second)] = first == kNone ? cells[c - 1].second : first;
    }
  for (int i = 0; i < graph.size() && !cells.empty(); ++i) {
    const Node& node = graph.node(i);
    if (!node.cell || node.operation->family != Family::leaf) continue;
    const auto found = std::lower_bound(cells.begin(), cells.end(), std::pair<const Cell*, int>(node.cell, 0));
    if (found != cells.end() && found->first == node.cell) target_of[static_cast<std::size_t>(i)] = found->second;
  }
  List<char> leads(count, 0);
  for (int i = 0; i < graph.size(); ++i) {
    Node& node = graph.node(i);
    auto& lead = leads[static_cast<std::size_t>(i)];
    lead = target_of[static_cast<std::size_t>(i)] != kNone;
    if (node.operation->family == Family::leaf) continue;
    if (!lead) graph.check_links(i);
    if (!node.has_inputs() || node.released_by) continue;
    for (int k = 0; k < node.input_count(); ++k)
      if (const int input = graph.input(i, k); input >= 0) lead |= leads[static_cast<std::size_t>(input)];
  }

  List<Tensor> cotangent(count), results(targets.size());
  // Parts of cotangents that are slices or elements among zeros: added up together, and to what else there is, when a
  // cotangent is asked for.
  ByNode<PutSlice> slices(count);
  ByNode<PutElements> elements(count);
  RecomputedValues values(RecomputedValues::Pass::reverse);
  for (std::size_t k = 0; k < outputs.size(); ++k)
    if (const int i = graph.find(Access::node(outputs[k])); i >= 0)
      accumulate(cotangent[static_cast<std::size_t>(i)], snapshot(cotangents[k]));
  if (visited) visited->assign(count, 0);
  for (int i = graph.size() - 1; i >= 0; --i) {
    Tensor g = std::move(cotangent[static_cast<std::size_t>(i)]);
    if (const List<PutSlice> parts = slices.take(i); !parts.empty()) accumulate(g, sum_of_put_slices(parts));
    for (const PutElements& put : elements.take(i)) g = with_elements(g, put);
    if (!g.defined() || !leads[static_cast<std::size_t>(i)]) continue;
    Node& node = graph.node(i);
    if (const int target = target_of[static_cast<std::size_t>(i)]; target != kNone)
      accumulate(results[static_cast<std::size_t>(target)], g);
    if (node.operation->family == Family::leaf || !node.has_inputs() || node.released_by) continue;
    bool used = false;
    values.begin_after(g);
    for (int k = 0; k < node.input_count(); ++k) {
      const int position = graph.input(i, k);
      if (position < 0) continue;
      const auto input = static_cast<std::size_t>(position);
      if (!leads[input]) continue;
      used = true;
      if (node.operation->family == Family::linear) {
        if (std::optional<PutSlice> put = put_slice(node, g)) {
          slices.add(position, *std::move(put));
          continue;
        }
        if (std::optional<PutElements> put = put_elements(node, g, values)) {
          elements.add(position, *std::move(put));
          continue;
        }
      }
      accumulate(cotangent[input], pulled_back(node, k, g, values));
    }
    values.forget(node);
    if (visited) (*visited)[static_cast<std::size_t>(i)] = used;
  }
  for (std::size_t k = 0; k < targets.size(); ++k)
    if (same_as[k] != kNone) results[k] = results[static_cast<std::size_t>(same_as[k])];
  return results;
}

List<Tensor> push_forward(const DifferentiableGraph& graph, TensorSpan outputs, TensorSpan inputs,
                          TensorSpan tangents) {
  List<Tensor> tangent(static_cast<std::size_t>(graph.size()));
  List<char> given(tangent.size(), 0);
  RecomputedValues values(RecomputedValues::Pass::forward);
  for (std::size_t k = 0; k < inputs.size(); ++k)
    if (const int i = graph.find(Access::node(inputs[k])); i >= 0) {
      accumulate(tangent[static_cast<std::size_t>(i)], snapshot(tangents[k]));
      given[static_cast<std::size_t>(i)] = 1;
    }
  for (int i = 0; i < graph.size(); ++i) {
    Node& node = graph.node(i);
    if (given[static_cast<std::size_t>(i)] || node.operation->family == Family::leaf) continue;
    graph.check_links(i);
    List<Tensor> of_inputs(static_cast<std::size_t>(node.input_count()));
    bool any = false;
    for (int k = 0; k < node.input_count(); ++k)
      if (const int input = graph.input(i, k); input >= 0) {
        of_inputs[static_cast<std::size_t>(k)] = tangent[static_cast<std::size_t>(input)];
        any |= of_inputs[static_cast<std::size_t>(k)].defined();
      }
    if (any) tangent[static_cast<std::size_t>(i)] = pushed_forward(node, of_inputs, values);
  }
  List<Tensor> results;
  for (const Tensor& output : outputs) {
    const int i = graph.find(Access::node(output));
    results.push_back(i >= 0 ? tangent[static_cast<std::size_t>(i)] : Tensor());
  }
  return results;
}

}  // namespace adjoint::detail
