#include <adjoint/io/state_dict.hpp>

#include <algorithm>
#include <string_view>

namespace adjoint {

namespace {

[[noreturn]] void throw_taken(const std::string& name) {
  throw ValueError("StateDict: the name \"" + name + "\" occurs twice");
}

void require_defined(const std::string& name, const Tensor& tensor) {
  if (!tensor.defined()) throw ValueError("StateDict: the tensor \"" + name + "\" is undefined");
}

}  // namespace

StateDict::StateDict(std::vector<value_type> entries) : entries_(std::move(entries)) {
  std::vector<std::string_view> names;
  names.reserve(entries_.size());
  for (const auto& [name, tensor] : entries_) {
    require_defined(name, tensor);
    names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) throw_taken(std::string(*twice));
}

void StateDict::insert(std::string name, const Tensor& tensor) {
  require_defined(name, tensor);
  if (find(name)) throw_taken(name);
  entries_.emplace_back(std::move(name), tensor);
}

const Tensor* StateDict::find(const std::string& name) const noexcept {
  for (const auto& entry : entries_)
    if (entry.first == name) return &entry.second;
  return nullptr;
}

const Tensor& StateDict::at(const std::string& name) const {
  if (const Tensor* tensor = find(name)) return *tensor;
  throw ValueError("StateDict: there is no \"" + name + "\" among the " + std::to_string(size()) + " names");
}

}  // namespace adjoint
