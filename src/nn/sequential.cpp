#include "nn/type_name.hpp"

#include <adjoint/nn/sequential.hpp>

#include <string>
#include <typeinfo>
#include <utility>

namespace adjoint::nn {

Sequential::Sequential(const Sequential& other) : Module(other) {
  modules_.reserve(other.size());
  for (const auto& module : other.modules_) modules_.push_back(module->clone());
}

Sequential& Sequential::operator=(const Sequential& other) {
  if (this == &other) return *this;
  Module::operator=(other);
  if (!same_structure(other)) {
    modules_ = std::move(Sequential(other).modules_);
    return *this;
  }
  for (std::size_t i = 0; i < size(); ++i)
    if (!modules_[i]->assign(*other.modules_[i])) modules_[i] = other.modules_[i]->clone();
  return *this;
}

bool Sequential::same_structure(const Sequential& other) const {
  if (size() != other.size()) return false;
  for (std::size_t i = 0; i < size(); ++i) {
    ModuleBase &mine = modules_[i]->module(), &its = other.modules_[i]->module();
    if (typeid(mine) != typeid(its)) return false;
  }
  const StateDict mine = state_dict(), its = other.state_dict();
  if (mine.size() != its.size()) return false;
  for (auto a = mine.begin(), b = its.begin(); a != mine.end(); ++a, ++b)
    if (a->first != b->first || a->second.shape() != b->second.shape() || a->second.dtype() != b->second.dtype())
      return false;
  return true;
}

void Sequential::members(Members& m) {
  for (std::size_t i = 0; i < size(); ++i) m(std::to_string(i), modules_[i]->module());
}

Tensor Sequential::forward(const Tensor& x) const {
  Tensor y = x;
  for (const auto& module : modules_) y = module->call(y);
  return y;
}

ModuleBase& Sequential::operator[](std::size_t i) { return const_cast<ModuleBase&>(std::as_const(*this)[i]); }

const ModuleBase& Sequential::operator[](std::size_t i) const {
  if (i >= size())
    throw ValueError("Sequential: no module " + std::to_string(i) + "; there are " + std::to_string(size()));
  return modules_[i]->module();
}

void Sequential::throw_type(std::size_t i, const std::type_info& wanted) const {
  const ModuleBase& module = (*this)[i];
  throw ValueError("Sequential: module " + std::to_string(i) + " is " + type_name(typeid(module)) + ", not " +
                   type_name(wanted));
}

}  // namespace adjoint::nn
