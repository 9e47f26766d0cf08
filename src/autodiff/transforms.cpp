#include <adjoint/transforms.hpp>

#include "autodiff/differentiate.hpp"
#include "core/thread_state.hpp"
#include "engine/engine.hpp"

#include <adjoint/autograd.hpp>
#include <adjoint/ops.hpp>

#include <algorithm>
#include <limits>
#include <mutex>
#include <string>

namespace adjoint::detail {
namespace {

/// Whether the outputs depend on something, other than the given starts, that is differentiated.
bool depends_on_others(const DifferentiableGraph& graph, const Tensors& starts) {
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    bool ends_here = node.operation->family == Family::leaf;
    if (!ends_here) {
      ends_here = true;
      for (int k = 0; k < node.input_count() && node.has_inputs(); ++k)
        ends_here &= !DifferentiableGraph::differentiates(node, k);
    }
    if (!ends_here) continue;
    const auto is_this = [&](const Tensor& start) { return Access::node(start) == &node; };
    if (std::none_of(starts.begin(), starts.end(), is_this)) return true;
  }
  return false;
}

void check_like(const char* operation, const char* what, std::size_t i, const Tensor& given, const Tensor& wanted) {
  Access::node(given, operation);
  if (given.shape() != wanted.shape())
    throw ShapeError(std::string(operation) + ": " + what + " " + std::to_string(i) + " has shape " +
                     to_string(given.shape()) + "; it must be " + to_string(wanted.shape()));
  if (given.dtype() != wanted.dtype())
    throw DtypeError(std::string(operation) + ": " + what + " " + std::to_string(i) + " has dtype " +
                     name_of(given.dtype()) + "; it must be " + name_of(wanted.dtype()));
}

const Tensor& checked_scalar(const char* operation, const Tensors& outputs) {
  if (outputs.size() != 1 || outputs[0].numel() != 1)
    throw AutogradError(std::string(operation) + ": the function returned a tensor of shape " +
                        (outputs.empty() ? "?" : to_string(outputs[0].shape())) + "; it must return a single element");
  if (!is_floating(outputs[0].dtype()))
    throw AutogradError(std::string(operation) + ": the function returned dtype " + name_of(outputs[0].dtype()) +
                        "; it must be float32 or float64");
  return outputs[0];
}

Tensor or_zeros(const Tensor& x, const Tensor& like) { return x.defined() ? x : zeros_like(like); }

/// The gradient of a traced scalar, differentiable.
Tensor differentiable_gradient(const char* operation, const Traced& traced) {
  const Tensor& y = checked_scalar(operation, traced.outputs);
  const EnableGradGuard enable;
  const DifferentiableGraph graph(operation, traced.outputs);
  return or_zeros(pull_back(graph, traced.outputs, {ones_like(y)}, traced.inputs)[0], traced.inputs[0]);
}

Tensor pushed(const char* operation, const Tensor& gradient, const Traced& traced, const Tensor& v) {
  const GradMode mode(traced.nested);
  const DifferentiableGraph graph(operation, {gradient});
  return or_zeros(push_forward(graph, {gradient}, traced.inputs, {v})[0], traced.inputs[0]);
}

}  // namespace

void throw_wrong_arity(std::size_t given) {
  throw ValueError("the function does not take " + std::to_string(given) + " tensors, as many as were given");
}

Traced trace(const char* operation, const FunctionRef& f, const Tensors& primals) {
  Traced traced;
  for (const Tensor& primal : primals) traced.inputs.push_back(fork(operation, primal));
  const EnableGradGuard enable;
  traced.outputs = f(traced.inputs);
  for (Tensor& output : traced.outputs) output = snapshot(output);
  const DifferentiableGraph graph(operation, traced.outputs);
  traced.nested = depends_on_others(graph, traced.inputs);
  return traced;
}

Tensors outputs_of(const Traced& traced) {
  Tensors outputs;
  for (const Tensor& output : traced.outputs) outputs.push_back(traced.nested ? output : output.detach());
  return outputs;
}

std::pair<Tensor, Tensor> value_and_grad(const char* operation, const FunctionRef& f, const Tensor& x) {
  const Traced traced = trace(operation, f, {x});
  const Tensor& y = checked_scalar(operation, traced.outputs);
  const GradMode mode(traced.nested);
  const DifferentiableGraph graph(operation, traced.outputs);
  const Tensor gradient = pull_back(graph, traced.outputs, {ones_like(y)}, traced.inputs)[0];
  return {outputs_of(traced)[0], or_zeros(gradient, x)};
}

Tensors pull_back(const Traced& traced, const Tensors& cotangents) {
  if (cotangents.size() != traced.outputs.size())
    throw ValueError("vjp: " + std::to_string(cotangents.size()) + " cotangents for " +
                     std::to_string(traced.outputs.size()) + " outputs");
  bool nested = traced.nested;
  for (std::size_t i = 0; i < cotangents.size(); ++i) {
    check_like("vjp", "cotangent", i, cotangents[i], traced.outputs[i]);
    nested |= cotangents[i].requires_grad();
  }
  const GradMode mode(nested);
  const DifferentiableGraph graph("vjp", traced.outputs);
  const List<Tensor> pulled = pull_back(graph, traced.outputs, cotangents, traced.inputs);
  Tensors results;
  for (std::size_t i = 0; i < pulled.size(); ++i) results.push_back(or_zeros(pulled[i], traced.inputs[i]));
  return results;
}

std::pair<Tensors, Tensors> jvp(const FunctionRef& f, const Tensors& primals, const Tensors& tangents) {
  if (primals.size() != tangents.size())
    throw ValueError("jvp: " + std::to_string(tangents.size()) + " tangents for " + std::to_string(primals.size()) +
                     " primals");
  bool nested = false;
  for (std::size_t i = 0; i < primals.size(); ++i) {
    check_like("jvp", "tangent", i, tangents[i], primals[i]);
    nested |= tangents[i].requires_grad();
  }
  const Traced traced = trace("jvp", f, primals);
  const GradMode mode(traced.nested || nested);
  const DifferentiableGraph graph("jvp", traced.outputs);
  const List<Tensor> pushed = push_forward(graph, traced.outputs, traced.inputs, tangents);
  Tensors results;
  for (std::size_t i = 0; i < pushed.size(); ++i) results.push_back(or_zeros(pushed[i], traced.outputs[i]));
  return {outputs_of(traced), results};
}

Tensor hessian(const FunctionRef& f, const Tensor& x) {
  const Traced traced = trace("hessian", f, {x});
  const Tensor gradient = differentiable_gradient("hessian", traced);
  Tensors rows;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const Tensor basis = cast(reshape(arange(x.numel()) == i, x.shape()), x.dtype());
    rows.push_back(pushed("hessian", gradient, traced, basis));
  }
  Shape shape = x.shape();
  for (std::int64_t size : x.shape()) shape.push_back(size);
  if (rows.empty()) return zeros(shape, x.dtype());
  return reshape(stack(rows), shape);
}

Tensor hvp(const FunctionRef& f, const Tensor& x, const Tensor& v) {
  check_like("hvp", "vector", 0, v, x);
  const Traced traced = trace("hvp", f, {x});
  return pushed("hvp", differentiable_gradient("hvp", traced), traced, v);
}

// -- checkpoint -------------------------------------------------------------------------------------------------------

CheckpointScope::CheckpointScope() {
  ThreadState& state = ThreadState::get();
  if (state.checkpoints == std::numeric_limits<decltype(state.checkpoints)>::max())
    throw ValueError("checkpoint: more than 255 lie within each other");
  ++state.checkpoints;
}
CheckpointScope::~CheckpointScope() { --ThreadState::get().checkpoints; }

void CheckpointScope::release(Tensor& output) const {
  if (!output.defined()) return;
  Node& node = *Access::node(output);
  ThreadState& state = ThreadState::get();
  if (node.checkpoints() < state.checkpoints) return;
  {
    const std::lock_guard lock(node.owner->mutex);
    if (node.state() == State::pending) return node.set_checkpoints(state.checkpoints - 1);
  }
  // What is computed may have let go of others for being marked. Another node, outside, has its value.
  struct Outside {
    ThreadState& of;
    explicit Outside(ThreadState& s) noexcept : of(s) { --of.checkpoints; }
    ~Outside() { ++of.checkpoints; }
  } const outside(state);
  output = released(output);
}

}  // namespace adjoint::detail
