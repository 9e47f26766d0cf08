// backward(), grad(), and the guards.
#include <adjoint/autograd.hpp>

#include "autodiff/differentiate.hpp"
#include "core/thread_state.hpp"
#include "engine/engine.hpp"

#include <adjoint/ops/creation.hpp>
#include <adjoint/ops/elementwise.hpp>

#include <algorithm>
#include <string>
#include <utility>

namespace adjoint {

using namespace detail;

bool is_grad_enabled() noexcept { return ThreadState::get().grad_enabled; }

NoGradGuard::NoGradGuard() noexcept : before_(ThreadState::get().grad_enabled) {
  ThreadState::get().grad_enabled = false;
}
NoGradGuard::~NoGradGuard() { ThreadState::get().grad_enabled = before_; }

EnableGradGuard::EnableGradGuard() noexcept : before_(ThreadState::get().grad_enabled) {
  ThreadState::get().grad_enabled = true;
}
EnableGradGuard::~EnableGradGuard() { ThreadState::get().grad_enabled = before_; }

EagerGuard::EagerGuard() noexcept : before_(ThreadState::get().eager) { ThreadState::get().eager = true; }
EagerGuard::~EagerGuard() { ThreadState::get().eager = before_; }

namespace detail {
void eval_pending() { evaluate_pending(); }

GradMode::GradMode(bool enabled) noexcept : before_(std::exchange(ThreadState::get().grad_enabled, enabled)) {}
GradMode::~GradMode() { ThreadState::get().grad_enabled = before_; }
}  // namespace detail

namespace {

/// The cotangent of an output: what was given, or 1 for a single element.
Tensor checked_cotangent(const char* operation, const Tensor& output, const Tensor& gradient, bool create_graph) {
  const Node* node = Access::node(output, operation);
  if (!node->requires_grad)
    throw AutogradError(std::string(operation) + ": the tensor of shape " + to_string(node->shape) + " and dtype " +
                        name_of(node->dtype) +
                        " does not require grad: nothing that it was computed from does, or it was recorded under a "
                        "NoGradGuard, or detached");
  if (!gradient.defined()) {
    if (numel(node->shape) != 1)
      throw AutogradError(std::string(operation) + ": the tensor of shape " + to_string(node->shape) +
                          " is not a scalar; reduce it, or give a gradient of its shape");
    return ones(node->shape, node->dtype);
  }
  if (gradient.shape() != node->shape)
    throw ShapeError(std::string(operation) + ": the gradient has shape " + to_string(gradient.shape()) +
                     "; it must be " + to_string(node->shape) + ", the tensor's");
  if (gradient.dtype() != node->dtype)
    throw DtypeError(std::string(operation) + ": the gradient has dtype " + name_of(gradient.dtype()) +
                     "; it must be " + name_of(node->dtype) + ", the tensor's");
  return create_graph ? gradient : gradient.detach();
}

}  // namespace

void Tensor::backward(const Tensor& gradient, std::optional<bool> retain_graph, bool create_graph) const {
  const Tensor cotangent = checked_cotangent("backward", *this, gradient, create_graph);
  const DifferentiableGraph graph("backward", {*this});
  List<std::pair<Cell*, int>> cells;  // and where in the graph; several values of one cell may be there
  cells.reserve(16);
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    graph.check_links(i);
    if (node.cell) cells.emplace_back(node.cell, i);
  }
  std::sort(cells.begin(), cells.end());
  cells.erase(std::unique(cells.begin(), cells.end(), [](auto& a, auto& b) { return a.first == b.first; }),
              cells.end());
  std::sort(cells.begin(), cells.end(), [](auto& a, auto& b) { return a.second < b.second; });
  List<Tensor> leaves;
  leaves.reserve(cells.size());
  List<Node*> unfinished;
  for (const auto& [cell, position] : cells) {
    if (!cell->try_add_use()) continue;
    leaves.push_back(Access::take(cell));
    if (const Tensor& grad = cell->grad; grad.defined() && !grad.is_computed())
      unfinished.push_back(Access::node(grad));
  }
  // So that accumulating over micro-batches needs the memory of one.
  if (!unfinished.empty()) evaluate(unfinished.data(), static_cast<int>(unfinished.size()));

  List<char> visited;
  {
    const GradMode mode(create_graph);
    const List<Tensor> gradients = pull_back(graph, {*this}, {cotangent}, leaves, &visited);
    // The last layer's first, as the gradients themselves: what is added up first is computed first.
    for (std::size_t i = leaves.size(); i-- > 0;) {
      if (!gradients[i].defined()) continue;
      const Tensor before = leaves[i].grad();
      leaves[i].set_grad(before.defined() ? before + gradients[i] : gradients[i]);
    }
  }
  if (!retain_graph.value_or(create_graph)) graph.release(visited, *Access::node(*this)->operation);
}

std::vector<Tensor> autograd::grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                                   const GradOptions& options) {
  if (outputs.empty()) throw ValueError("grad: no outputs were given");
  if (!options.grad_outputs.empty() && options.grad_outputs.size() != outputs.size())
    throw ValueError("grad: " + std::to_string(options.grad_outputs.size()) + " grad_outputs for " +
                     std::to_string(outputs.size()) + " outputs; give one for each, or none");
  std::vector<Tensor> cotangents;
  for (std::size_t i = 0; i < outputs.size(); ++i)
    cotangents.push_back(checked_cotangent(
        "grad", outputs[i], options.grad_outputs.empty() ? Tensor() : options.grad_outputs[i], options.create_graph));
  for (std::size_t i = 0; i < inputs.size(); ++i)
    if (const Node* node = Access::node(inputs[i], "grad"); !node->requires_grad)
      throw AutogradError("grad: input " + std::to_string(i) + " of shape " + to_string(node->shape) +
                          " does not require grad");
  const DifferentiableGraph graph("grad", outputs);
  List<char> visited;
  std::vector<Tensor> gradients;
  {
    const GradMode mode(options.create_graph);
    for (Tensor& gradient : pull_back(graph, outputs, cotangents, inputs, &visited))
      gradients.push_back(std::move(gradient));
  }
  for (std::size_t i = 0; i < inputs.size() && !options.allow_unused; ++i)
    if (!gradients[i].defined())
      throw AutogradError("grad: the outputs do not depend on input " + std::to_string(i) + " of shape " +
                          to_string(inputs[i].shape()) + "; pass allow_unused = true to get an undefined gradient");
  if (!options.retain_graph.value_or(options.create_graph))
    graph.release(visited, *Access::node(outputs[0])->operation);
  return gradients;
}

}  // namespace adjoint
