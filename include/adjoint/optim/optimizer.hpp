#pragma once

#include <adjoint/io/state_dict.hpp>
#include <adjoint/tensor.hpp>

#include <string>
#include <vector>

namespace adjoint::optim {

/// What all optimizers share: the parameters, a state of named cells for each of them (moments), and the number of its
/// updates, a cell as well, so that a step whose evaluation fails changes nothing.
///
/// An optimizer of one's own derives from this and writes update() as graph code.
class ADJOINT_API Optimizer {
 public:
  virtual ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Updates the parameters that have a gradient; the others stay as they are. Computes everything held and pending of
  /// this thread, and so throws what only values reveal.
  void step();
  /// Clears the gradients: afterwards they are undefined.
  void zero_grad();

  double lr() const noexcept { return lr_; }
  /// Throws ValueError unless lr >= 0 and finite.
  void set_lr(double lr);
  const std::vector<Tensor>& parameters() const noexcept { return parameters_; }

  /// The state, as it is now: "0.step", "0.exp_avg", ... for the parameters by their position. Options such as the
  /// learning rate are not part of it.
  StateDict state_dict() const;
  /// Throws ValueError, ShapeError or DtypeError for names, shapes or dtypes that are not those of this optimizer's
  /// state_dict(); then nothing has changed.
  void load_state_dict(const StateDict& values);

 protected:
  /// `name` begins the errors. The state's cells start as zeros of the parameter's shape and dtype. Throws ValueError
  /// when there are no parameters, when one does not require grad or is not a leaf, and for a bad lr.
  Optimizer(std::string name, std::vector<Tensor> parameters, double lr, std::vector<std::string> state_names);

  /// The new value of a parameter. Assigns the cells of `state`, in the order of state_names. Called under
  /// no_grad; `shared` is what shared() returned.
  virtual Tensor update(const Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& state,
                        const std::vector<Tensor>& shared) = 0;
  /// What all parameters of one dtype that have been updated equally often have in common. `step`, a float64 scalar,
  /// is the number of their updates, with this one.
  virtual std::vector<Tensor> shared(const Tensor& step, Dtype dtype);

  /// Throws ValueError naming the option unless `valid`.
  void require(bool valid, const char* option, double value, const char* condition) const;

 private:
  // Parameters of one dtype that have been updated equally often.
  struct Group {
    Tensor step;
    std::vector<std::size_t> members;
  };

  std::string name_;
  std::vector<Tensor> parameters_;
  double lr_;
  std::vector<std::string> state_names_;
  std::vector<std::vector<Tensor>> states_;  // for each parameter
  std::vector<Group> groups_;
};

}  // namespace adjoint::optim
