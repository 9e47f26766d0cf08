#include <adjoint/autograd.hpp>
#include <adjoint/ops.hpp>
#include <adjoint/optim/optimizer.hpp>

#include <algorithm>
#include <cmath>
#include <exception>
#include <sstream>
#include <tuple>
#include <utility>

namespace adjoint::optim {

namespace {

Tensor cell(const Tensor& value) { return value.detach().requires_grad_(false); }

Tensor step_cell(double count) { return cell(full({}, count, float64)); }

// What is worth joining: at least so many parameters, of at most so many elements for itself and for each state that
// has to be updated. Their gradients are copied where a block has parts of several; when they were copied throughout,
// that cost more than the nodes of updates of their own for larger ones.
constexpr std::ptrdiff_t kFewestJoined = 3;
constexpr std::int64_t kMostElements = 1024;
// Parameters of whole lines of the cache come first, so that these, too, begin with a line.
constexpr std::int64_t kLine = 16;

}  // namespace

struct Optimizer::Joined {
  explicit Joined(const std::vector<Tensor>& cells) : parameters(cells) {}
  adjoint::detail::JoinedCells parameters;
  std::vector<Tensor> state;
};

Optimizer::Optimizer(std::string name, std::vector<Tensor> parameters, double lr, std::vector<std::string> state_names)
    : Optimizer(std::move(name), std::vector<Group>{{std::move(parameters), lr}}, std::move(state_names)) {}

Optimizer::Optimizer(std::string name, std::vector<Group> groups, std::vector<std::string> state_names)
    : name_(std::move(name)), state_names_(std::move(state_names)) {
  for (std::size_t g = 0; g < groups.size(); ++g) {
    require_lr(groups[g].lr);
    lrs_.push_back(groups[g].lr);
    for (Tensor& parameter : groups[g].parameters) {
      parameters_.push_back(std::move(parameter));
      group_of_.push_back(g);
    }
  }
  if (parameters_.empty()) throw ValueError(name_ + ": there are no parameters to optimize");
  bool any = false;
  states_.resize(parameters_.size());
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Tensor& parameter = parameters_[i];
    const std::string which = name_ + ": parameter " + std::to_string(i);
    if (!parameter.defined()) throw ValueError(which + " is undefined");
    if (!parameter.is_leaf())
      throw ValueError(which + " of shape " + to_string(parameter.shape()) +
                       " is not a leaf but computed from others; only leaves can be optimized");
    if (!parameter.is_cell())
      throw ValueError(which + " of shape " + to_string(parameter.shape()) +
                       " does not require grad; call requires_grad_() where it is made");
    for (std::size_t j = 0; j < i; ++j)
      if (parameter.is_same(parameters_[j]))
        throw ValueError(which + " of shape " + to_string(parameter.shape()) + " (group " +
                         std::to_string(group_of_[i]) + ") is parameter " + std::to_string(j) + " (group " +
                         std::to_string(group_of_[j]) + ") again; each must be named once");
    any = any || parameter.requires_grad();
    for (std::size_t s = 0; s < state_names_.size(); ++s)
      states_[i].push_back(cell(zeros(parameter.shape(), parameter.dtype())));
  }
  if (!any)
    throw ValueError(name_ + ": none of the " + std::to_string(parameters_.size()) +
                     " parameters requires grad, so there is nothing to optimize; call requires_grad_()");
  for (std::size_t g = 0; g < groups.size(); ++g)
    for (const Dtype dtype : {float32, float64}) {
      Cohort cohort{g, {}, {}};
      for (std::size_t i = 0; i < parameters_.size(); ++i)
        if (group_of_[i] == g && parameters_[i].dtype() == dtype) cohort.members.push_back(i);
      if (cohort.members.empty()) continue;
      cohort.step = step_cell(0);
      cohorts_.push_back(std::move(cohort));
    }
}

Optimizer::~Optimizer() = default;

void Optimizer::require(bool valid, const char* option, double value, const char* condition) const {
  if (valid) return;
  std::ostringstream text;
  text << name_ << ": " << option << " must be " << condition << ", not " << value;
  throw ValueError(text.str());
}

void Optimizer::require_lr(double lr) const {
  require(lr >= 0 && std::isfinite(lr), "lr", lr, "finite and at least 0");
}

void Optimizer::require_group(const char* function, std::size_t group) const {
  if (group >= lrs_.size())
    throw ValueError(name_ + ": " + function + ": there is no group " + std::to_string(group) + "; there are " +
                     std::to_string(lrs_.size()));
}

double Optimizer::lr(std::size_t group) const {
  require_group("lr", group);
  return lrs_[group];
}

void Optimizer::set_lr(double lr) {
  require_lr(lr);
  std::fill(lrs_.begin(), lrs_.end(), lr);
}

void Optimizer::set_lr(std::size_t group, double lr) {
  require_group("set_lr", group);
  require_lr(lr);
  lrs_[group] = lr;
}

TensorList Optimizer::shared(const Tensor&, Dtype) { return {}; }

/// Makes the small parameters of a cohort parts of one, and their states as well.
void Optimizer::join(Cohort& cohort) {
  cohort.is_settled = true;
  if (!is_elementwise()) return;
  const auto most = kMostElements * static_cast<std::int64_t>(1 + state_names_.size());
  std::vector<std::size_t>& members = cohort.members;
  const auto elements = [this](std::size_t i) { return parameters_[i].numel(); };
  const auto is_small = [&](std::size_t i) { return elements(i) > 0 && elements(i) <= most; };
  const auto end = std::stable_partition(members.begin(), members.end(), is_small);
  if (end - members.begin() < kFewestJoined) return;
  std::stable_partition(members.begin(), end, [&](std::size_t i) { return elements(i) % kLine == 0; });
  const std::vector<std::size_t> joined(members.begin(), end);
  std::vector<Tensor> tensors;
  for (const std::size_t i : joined) tensors.push_back(parameters_[i]);
  const auto made = std::make_shared<Joined>(tensors);
  for (std::size_t s = 0; s < state_names_.size(); ++s) {
    for (std::size_t m = 0; m < joined.size(); ++m) tensors[m] = states_[joined[m]][s];
    made->state.push_back(cell(adjoint::detail::joined(tensors)));
  }
  for (const std::size_t i : joined) states_[i].clear();
  cohort.joined = made;
}

/// Puts the states of parameters that are updated together where those of others are.
void Optimizer::split_states(const Cohort& cohort, std::vector<std::vector<Tensor>>& states) const {
  if (!cohort.joined) return;
  std::int64_t offset = 0;
  for (std::size_t m = 0; m < cohort.joined->parameters.cells().size(); ++m) {
    const Tensor& parameter = parameters_[cohort.members[m]];
    for (const Tensor& state : cohort.joined->state)
      states[cohort.members[m]].push_back(reshape(narrow(state, 0, offset, parameter.numel()), parameter.shape()));
    offset += parameter.numel();
  }
}

/// From now on they are updated one by one, until others are joined. The parameters keep their values.
void Optimizer::part(Cohort& cohort) {
  std::vector<std::vector<Tensor>> states = states_;
  split_states(cohort, states);
  if (cohort.joined)
    for (std::size_t m = 0; m < cohort.joined->parameters.cells().size(); ++m)
      for (Tensor& state : states[cohort.members[m]]) state = cell(state);
  states_.swap(states);
  cohort.joined.reset();
  cohort.is_settled = false;
}

// What has been assigned when something throws is computed: no other assignment may come before it.
void Optimizer::step() try {
  const NoGradGuard no_grad;
  TensorList gradients;
  gradients.reserve(parameters_.size());
  for (const Tensor& parameter : parameters_)
    gradients.push_back(parameter.requires_grad() ? parameter.grad() : Tensor());

  // Where only some of a cohort have a gradient, those become a cohort of their own.
  const auto has_gradient = [&](std::size_t i) { return gradients[i].defined(); };
  for (std::size_t c = 0, count = cohorts_.size(); c < count; ++c) {
    std::vector<std::size_t>& members = cohorts_[c].members;
    const bool first_has = has_gradient(members.front());
    if (std::all_of(members.begin(), members.end(), [&](std::size_t i) { return has_gradient(i) == first_has; }))
      continue;
    part(cohorts_[c]);
    const auto rest = std::stable_partition(members.begin(), members.end(), has_gradient);
    Cohort split{cohorts_[c].group, cell(cohorts_[c].step), {rest, members.end()}};
    members.erase(rest, members.end());
    cohorts_.push_back(std::move(split));
  }

  for (Cohort& cohort : cohorts_) {
    if (!has_gradient(cohort.members.front())) continue;
    group_ = cohort.group;
    const Tensor step = cohort.step + 1;
    cohort.step.set_(step);
    const TensorList common = shared(step, parameters_[cohort.members.front()].dtype());
    if (!cohort.is_settled) join(cohort);
    std::size_t m = 0;
    if (Joined* const joined = cohort.joined.get()) {
      TensorList parts;
      parts.reserve(joined->parameters.cells().size());
      for (; m < joined->parameters.cells().size(); ++m) parts.push_back(gradients[cohort.members[m]]);
      const Tensor gradient = adjoint::detail::joined(parts);
      joined->parameters.set_(update(joined->parameters.value(), gradient, joined->state, common));
    }
    for (; m < cohort.members.size(); ++m) {
      const std::size_t i = cohort.members[m];
      parameters_[i].set_(update(parameters_[i], gradients[i], states_[i], common));
    }
  }
  gradients = {};
  adjoint::detail::eval_pending();
} catch (...) {
  const std::exception_ptr error = std::current_exception();
  try {
    adjoint::detail::eval_pending();
  } catch (...) {  // it has failed for the same reason, or another
  }
  std::rethrow_exception(error);
}

void Optimizer::zero_grad() {
  for (const Tensor& parameter : parameters_) parameter.set_grad({});
}

StateDict Optimizer::state_dict() const {
  std::vector<Tensor> steps(parameters_.size());
  std::vector<std::vector<Tensor>> states = states_;
  for (const Cohort& cohort : cohorts_) {
    for (const std::size_t i : cohort.members) steps[i] = cohort.step.detach();
    split_states(cohort, states);
  }
  std::vector<StateDict::value_type> entries;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::string prefix = std::to_string(i) + ".";
    entries.emplace_back(prefix + "step", steps[i]);
    for (std::size_t s = 0; s < state_names_.size(); ++s)
      entries.emplace_back(prefix + state_names_[s], states[i][s].detach());
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

  std::vector<Cohort> cohorts;
  std::vector<std::tuple<std::size_t, Dtype, double>> keys;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const double step = values.at(std::to_string(i) + ".step").item<double>();
    const std::tuple key(group_of_[i], parameters_[i].dtype(), step);
    const auto found = std::find(keys.begin(), keys.end(), key);
    const auto index = static_cast<std::size_t>(found - keys.begin());
    if (found == keys.end()) {
      keys.push_back(key);
      cohorts.push_back({group_of_[i], step_cell(step), {}});
    }
    cohorts[index].members.push_back(i);
  }
  const NoGradGuard no_grad;
  for (Cohort& cohort : cohorts_) part(cohort);
  cohorts_ = std::move(cohorts);
  for (std::size_t i = 0; i < parameters_.size(); ++i)
    for (std::size_t s = 0; s < state_names_.size(); ++s)
      states_[i][s].set_(values.at(std::to_string(i) + "." + state_names_[s]).detach());
}

}  // namespace adjoint::optim
