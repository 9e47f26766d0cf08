// The differentiator reads the recorded graph and extends it: a gradient, or a tangent, is an ordinary recorded Tensor.
#pragma once

#include "core/node.hpp"
#include "core/pool.hpp"

#include <adjoint/tensor.hpp>

#include <vector>

namespace adjoint::detail {

/// The nodes through which the outputs may be differentiated, each after its inputs. Linked while this lives, so that
/// releasing one does not take another away.
class DifferentiableGraph {
 public:
  /// `operation` is what errors are named after.
  DifferentiableGraph(const char* operation, TensorSpan outputs);
  ~DifferentiableGraph();
  DifferentiableGraph(const DifferentiableGraph&) = delete;
  DifferentiableGraph& operator=(const DifferentiableGraph&) = delete;

  int size() const noexcept { return static_cast<int>(nodes_.size()); }
  Node& node(int i) const noexcept { return *nodes_[static_cast<std::size_t>(i)]; }
  /// The position of a node, or -1.
  int find(const Node* node) const noexcept;
  /// The position of what node i is differentiated by through its k-th input, or -1: not through that one. Asked in
  /// vain of a node whose links were released.
  int input(int i, int k) const noexcept {
    return inputs_[static_cast<std::size_t>(first_input_[static_cast<std::size_t>(i)] + k)];
  }
  static bool differentiates(const Node& node, int input) noexcept {
    return node.input(input)->requires_grad && (node.operation->differentiable >> (input < 7 ? input : 7) & 1);
  }
  /// Throws AutogradError when the links below this node were released, and its own error when its computation failed.
  void check_links(int i) const {
    if (node(i).released_by || node(i).state() == State::failed) throw_no_links(i);
  }
  /// Drops the derivative links of these nodes.
  void release(const List<char>& which, const Operation& by) const noexcept;

 private:
  std::size_t slot(const Node* node) const noexcept;
  void grow();
  [[noreturn]] void throw_no_links(int i) const;

  const char* operation_;
  List<Node*> nodes_;
  List<int> first_input_, inputs_;
  // The nodes' numbers, in the order in which they were met, by address: open addressing, a power of two of entries.
  List<std::pair<const Node*, int>> table_;
  List<int> position_;  // by number
};

/// The cotangents of `targets`, undefined where nothing flows. A target that is a cell stands for every leaf of it.
/// Recorded in the caller's grad mode. `visited`, if any: which nodes it went through.
List<Tensor> pull_back(const DifferentiableGraph& graph, TensorSpan outputs, TensorSpan cotangents, TensorSpan targets,
                       List<char>* visited = nullptr);
/// The tangents of the outputs, undefined where nothing flows, given those of `inputs`.
List<Tensor> push_forward(const DifferentiableGraph& graph, TensorSpan outputs, TensorSpan inputs, TensorSpan tangents);

/// While it lives, grad mode is as given: on for what a pass records only when that is itself differentiated.
class GradMode {
 public:
  explicit GradMode(bool enabled) noexcept;
  ~GradMode();
  GradMode(const GradMode&) = delete;
  GradMode& operator=(const GradMode&) = delete;

 private:
  bool before_;
};

/// The start of a transformed function: a node of its own, with x's value, through which to differentiate.
Tensor fork(const char* operation, const Tensor& x);
/// The end of a checkpointed one: a node of its own, with x's value.
Tensor released(const Tensor& x);

}  // namespace adjoint::detail
