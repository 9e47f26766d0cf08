#include <adjoint/autograd.hpp>
#include <adjoint/ops.hpp>
#include <adjoint/optim/optimizer.hpp>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

namespace adjoint::optim {

namespace {

Tensor cell(const Tensor& value) { return value.detach().requires_grad_(false); }

Tensor step_cell(double count) { return cell(full({}, count, float64)); }

}  // namespace

Optimizer::Optimizer(std::string name, std::vector<Tensor> parameters, double lr, std::vector<std::string> state_names)
    : name_(std::move(name)), parameters_(std::move(parameters)), lr_(lr), state_names_(std::move(state_names)) {
  set_lr(lr);
  if (parameters_.empty()) throw ValueError(name_ + ": there are no parameters to optimize");
  states_.resize(parameters_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& parameter = parameters_[i];
    const std::string which = name_ + ": parameter " + std::to_string(i);
    if (!parameter.defined()) throw ValueError(which + " is undefined");
    if (!parameter.is_leaf())
      throw ValueError(which + " of shape " + to_string(parameter.shape()) +
                       " is not a leaf but computed from others; only leaves can be optimized");
    if (!parameter.requires_grad())
      throw ValueError(which + " of shape " + to_string(parameter.shape()) +
                       " does not require grad; leave frozen parameters out, or call requires_grad_()");
    for (std::size_t s = 0; s < state_names_.size(); ++s)
      states_[i].push_back(cell(zeros(parameter.shape(), parameter.dtype())));
  }
  for (const Dtype dtype : {float32, float64}) {
    Group group;
    for (std::size_t i = 0; i < parameters_.size(); ++i)
      if (parameters_[i].dtype() == dtype) group.members.push_back(i);
    if (group.members.empty()) continue;
    group.step = step_cell(0);
    groups_.push_back(std::move(group));
  }
}

Optimizer::~Optimizer() = default;

void Optimizer::require(bool valid, const char* option, double value, const char* condition) const {
  if (valid) return;
  std::ostringstream text;
  text << name_ << ": " << option << " must be " << condition << ", not " << value;
  throw ValueError(text.str());
}

void Optimizer::set_lr(double lr) {
  require(lr >= 0 && std::isfinite(lr), "lr", lr, "finite and at least 0");
  lr_ = lr;
}

std::vector<Tensor> Optimizer::shared(const Tensor&, Dtype) { return {}; }

void Optimizer::step() {
  const NoGradGuard no_grad;
  std::vector<Tensor> gradients;
  gradients.reserve(parameters_.size());
  for (const Tensor& parameter : parameters_) gradients.push_back(parameter.grad());

  // Where only some of a group have a gradient, those become a group of their own.
  const auto has_gradient = [&](std::size_t i) { return gradients[i].defined(); };
  for (std::size_t g = 0, count = groups_.size(); g < count; ++g) {
    std::vector<std::size_t>& members = groups_[g].members;
    const auto rest = std::stable_partition(members.begin(), members.end(), has_gradient);
    if (rest == members.begin() || rest == members.end()) continue;
    Group split{cell(groups_[g].step), {rest, members.end()}};
    members.erase(rest, members.end());
    groups_.push_back(std::move(split));
  }

  for (Group& group : groups_) {
    if (!has_gradient(group.members.front())) continue;
    const Tensor step = group.step + 1;
    group.step.set_(step);
    const std::vector<Tensor> common = shared(step, parameters_[group.members.front()].dtype());
    for (const std::size_t i : group.members)
      parameters_[i].set_(update(parameters_[i], gradients[i], states_[i], common));
  }
  gradients.clear();
  adjoint::detail::eval_pending();
}

void Optimizer::zero_grad() {
  for (const Tensor& parameter : parameters_) parameter.set_grad({});
}

StateDict Optimizer::state_dict() const {
  std::vector<Tensor> steps(parameters_.size());
  for (const Group& group : groups_)
    for (const std::size_t i : group.members) steps[i] = group.step.detach();
  std::vector<StateDict::value_type> entries;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::string prefix = std::to_string(i) + ".";
    entries.emplace_back(prefix + "step", steps[i]);
    for (std::size_t s = 0; s < state_names_.size(); ++s)
      entries.emplace_back(prefix + state_names_[s], states_[i][s].detach());
  }
  return StateDict(std::move(entries));
}

void Optimizer::load_state_dict(const StateDict& values) {
  const StateDict mine = state_dict();
  for (const auto& [name, current] : mine) {
    const Tensor* value = values.find(name);
    if (!value) throw ValueError(name_ + ": load_state_dict: \"" + name + "\" is missing");
    if (value->shape() != current.shape())
      throw ShapeError(name_ + ": load_state_dict: \"" + name + "\" has shape " + to_string(value->shape()) +
                       ", the optimizer's has " + to_string(current.shape()));
    if (value->dtype() != current.dtype())
      throw DtypeError(name_ + ": load_state_dict: \"" + name + "\" is " + name_of(value->dtype()) +
                       ", the optimizer's is " + name_of(current.dtype()));
  }
  if (values.size() != mine.size())
    for (const auto& [name, value] : values)
      if (!mine.find(name)) throw ValueError(name_ + ": load_state_dict: \"" + name + "\" is not expected");

  std::vector<Group> groups;
  std::vector<std::pair<Dtype, double>> keys;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::pair<Dtype, double> key(parameters_[i].dtype(), values.at(std::to_string(i) + ".step").item<double>());
    const auto found = std::find(keys.begin(), keys.end(), key);
    const auto index = static_cast<std::size_t>(found - keys.begin());
    if (found == keys.end()) {
      keys.push_back(key);
      groups.push_back({step_cell(key.second), {}});
    }
    groups[index].members.push_back(i);
  }
  groups_ = std::move(groups);
  const NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    for (std::size_t s = 0; s < state_names_.size(); ++s)
      states_[i][s].set_(values.at(std::to_string(i) + "." + state_names_[s]).detach());
}

}  // namespace adjoint::optim
