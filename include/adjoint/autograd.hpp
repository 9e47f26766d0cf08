#pragma once

#include <adjoint/tensor.hpp>

#include <memory>
#include <vector>

namespace adjoint {

/// Whether operations recorded by this thread are differentiable.
ADJOINT_API bool is_grad_enabled() noexcept;

/// While it lives, operations recorded by this thread are not differentiable, and cells may be assigned.
class ADJOINT_API NoGradGuard {
 public:
  NoGradGuard() noexcept;
  ~NoGradGuard();
  NoGradGuard(const NoGradGuard&) = delete;
  NoGradGuard& operator=(const NoGradGuard&) = delete;

 private:
  bool before_;
};

/// Undoes a NoGradGuard for a while.
class ADJOINT_API EnableGradGuard {
 public:
  EnableGradGuard() noexcept;
  ~EnableGradGuard();
  EnableGradGuard(const EnableGradGuard&) = delete;
  EnableGradGuard& operator=(const EnableGradGuard&) = delete;

 private:
  bool before_;
};

/// While it lives, this thread computes each operation as it records it, so that a debugger stops on the line that
/// fails. Random numbers are the same.
class ADJOINT_API EagerGuard {
 public:
  EagerGuard() noexcept;
  ~EagerGuard();
  EagerGuard(const EagerGuard&) = delete;
  EagerGuard& operator=(const EagerGuard&) = delete;

 private:
  bool before_;
};

namespace detail {
/// Computes everything held and pending of this thread; what an optimizer's step ends with.
ADJOINT_API void eval_pending();

/// The elements of several tensors of one dtype, each row-major, one after another in one dim. Not differentiable.
ADJOINT_API Tensor joined(TensorSpan tensors);

class Parts;

/// Cells of one dtype that get their values together, as the parts of one tensor, and lie one after another in its
/// memory. A cell that is assigned by itself has a memory of its own until the next set_().
class ADJOINT_API JoinedCells {
 public:
  explicit JoinedCells(std::vector<Tensor> cells);
  ~JoinedCells();
  JoinedCells(const JoinedCells&) = delete;
  JoinedCells& operator=(const JoinedCells&) = delete;

  const std::vector<Tensor>& cells() const noexcept;
  /// Their values, as joined() makes them.
  Tensor value() const;
  /// The cells' new values, which they have when the next evaluation has computed them.
  void set_(const Tensor& value);

 private:
  Tensor whole_;  // a cell
  std::unique_ptr<Parts> parts_;
};

struct ThreadState;

/// While it lives, what this thread records belongs to the module of this name, within those of the scopes around it;
/// errors that only values reveal then name the path.
class ADJOINT_API ModuleScope {
 public:
  /// `name` outlives the scope; null or empty for a module without one.
  explicit ModuleScope(const char* name) noexcept;
  ~ModuleScope();
  ModuleScope(const ModuleScope&) = delete;
  ModuleScope& operator=(const ModuleScope&) = delete;

 private:
  friend struct ThreadState;
  const char* name_;
  const ModuleScope* outer_;
};
}  // namespace detail

namespace autograd {

struct GradOptions {
  /// One for each output, of its shape; may be empty, or hold undefined entries, for outputs of one element (then 1).
  std::vector<Tensor> grad_outputs = {};
  /// Keep the derivative links below the outputs for another pass. Default: create_graph.
  std::optional<bool> retain_graph = {};
  /// Make the gradients differentiable.
  bool create_graph = false;
  /// Return undefined Tensors for inputs that the outputs do not depend on, instead of throwing AutogradError.
  bool allow_unused = false;
};

/// The gradients of the outputs' sum (weighted by grad_outputs) with respect to each input, a leaf or any other tensor
/// of the graph. No leaf's grad() is touched. Throws AutogradError as Tensor::backward does.
ADJOINT_API std::vector<Tensor> grad(const std::vector<Tensor>& outputs, const std::vector<Tensor>& inputs,
                                     const GradOptions& options = {});

}  // namespace autograd

/// The same value, through which no gradient flows.
inline Tensor stop_gradient(const Tensor& x) { return x.detach(); }

}  // namespace adjoint
