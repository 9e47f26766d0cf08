#pragma once

#include <adjoint/io/state_dict.hpp>
#include <adjoint/tensor.hpp>

#include <memory>
#include <string>
#include <vector>

namespace adjoint::optim {

/// What all optimizers share: the parameters, in one group or several with options of their own, a state of named cells
/// for each of them (moments), and the number of its updates, a cell as well, so that a step whose evaluation fails
/// changes nothing.
///
/// Frozen parameters, which do not require grad, are passed over until they are thawed.
///
/// Small parameters are updated together where the update is elementwise, as those of SGD and Adam are; their values then
/// lie one after another in one memory, and where one is looked at through data(), the next step moves all of them to
/// another one. The numbers are the same.
///
/// An optimizer of one's own derives from this and writes update() as graph code.
class ADJOINT_API Optimizer {
 public:
  virtual ~Optimizer();
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  /// Updates the parameters that require grad and have one; the others stay as they are. Computes everything held and
  /// pending of this thread, and so throws what only values reveal.
  void step();
  /// Clears the gradients: afterwards they are undefined.
  void zero_grad();

  /// The learning rate of a group, counted from 0; throws ValueError when there is none.
  double lr(std::size_t group = 0) const;
  /// Sets the learning rate of all groups, or of one. Throws ValueError unless lr >= 0 and finite, or for a group that
  /// is not there.
  void set_lr(double lr);
  void set_lr(std::size_t group, double lr);
  std::size_t group_count() const noexcept { return lrs_.size(); }
  /// Those of all groups, one group after the other.
  const std::vector<Tensor>& parameters() const noexcept { return parameters_; }

  /// The state, as it is now: "0.step", "0.exp_avg", ... for the parameters by their position in parameters(). Not part
  /// of it are the parameters themselves, which are in their module's state_dict, and the options, learning rates
  /// among them: construct the optimizer as before, and load a scheduler's state, which sets them.
  StateDict state_dict() const;
  /// Throws ValueError, ShapeError or DtypeError for names, shapes or dtypes that are not those of this optimizer's
  /// state_dict(); then nothing has changed.
  void load_state_dict(const StateDict& values);

 protected:
  struct Group {
    std::vector<Tensor> parameters;
    double lr;
  };
  /// Groups that have parameters and options, of which lr is optional: `lr` where it is left out.
  template <class GroupWithOptions>
  static std::vector<Group> with_lr(const std::vector<GroupWithOptions>& groups, double lr) {
    std::vector<Group> result;
    for (const GroupWithOptions& group : groups) result.push_back({group.parameters, group.options.lr.value_or(lr)});
    return result;
  }
  /// `name` begins the errors. The state's cells start as zeros of the parameter's shape and dtype. Throws ValueError
  /// when no parameter requires grad, when one is not a leaf cell, or in two places, and for a bad lr.
  Optimizer(std::string name, std::vector<Group> groups, std::vector<std::string> state_names);
  Optimizer(std::string name, std::vector<Tensor> parameters, double lr, std::vector<std::string> state_names);

  /// The new value of a parameter. Assigns the cells of `state`, in the order of state_names. Called under
  /// no_grad; `shared` is what shared() returned.
  virtual Tensor update(const Tensor& parameter, const Tensor& gradient, std::vector<Tensor>& state,
                        const TensorList& shared) = 0;
  /// What all parameters of one group and dtype that have been updated equally often have in common. `step`, a float64
  /// scalar, is the number of their updates, with this one.
  virtual TensorList shared(const Tensor& step, Dtype dtype);
  /// Whether each element of a parameter's new value and state depends on the elements of its value, gradient and state
  /// at the same place alone. Then parameters of few elements are updated together: `parameter`, `gradient` and `state`
  /// in update() are those of several, one after another in one dim.
  virtual bool is_elementwise() const noexcept { return false; }
  /// In update() and shared(): the group at hand, for `lr(group())`.
  std::size_t group() const noexcept { return group_; }

  /// Throws ValueError naming the option unless `valid`.
  void require(bool valid, const char* option, double value, const char* condition) const;

 private:
  struct Joined;
  // Parameters of one group and dtype that have been updated equally often.
  struct Cohort {
    std::size_t group;
    Tensor step;
    std::vector<std::size_t> members;
    bool is_settled = false;              // whether it is known which of them are updated together
    std::shared_ptr<Joined> joined = {};  // these, the first of the members, if there are any
  };
  void join(Cohort& cohort);
  void part(Cohort& cohort);
  void split_states(const Cohort& cohort, std::vector<std::vector<Tensor>>& states) const;
  void require_lr(double lr) const;
  void require_group(const char* function, std::size_t group) const;

  std::string name_;
  std::vector<Tensor> parameters_;
  std::vector<std::size_t> group_of_;  // for each parameter
  std::vector<double> lrs_;            // for each group
  std::vector<std::string> state_names_;
  std::vector<std::vector<Tensor>> states_;  // for each parameter; empty where they are joined
  std::vector<Cohort> cohorts_;
  std::size_t group_ = 0;
};

}  // namespace adjoint::optim
