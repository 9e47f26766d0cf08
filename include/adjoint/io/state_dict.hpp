#pragma once

#include <adjoint/tensor.hpp>

#include <string>
#include <utility>
#include <vector>

namespace adjoint {

/// Named tensors, in the order in which they were inserted: the state of a module or an optimizer, or the content of a
/// file. No name occurs twice.
class ADJOINT_API StateDict {
 public:
  using value_type = std::pair<std::string, Tensor>;

  StateDict() = default;
  /// Throws ValueError when a name occurs twice or a tensor is undefined.
  explicit StateDict(std::vector<value_type> entries);

  /// Throws ValueError when the name is taken or the tensor undefined.
  void insert(std::string name, const Tensor& tensor);
  /// Null when there is no such name.
  const Tensor* find(const std::string& name) const noexcept;
  /// Throws ValueError when there is no such name.
  const Tensor& at(const std::string& name) const;

  std::size_t size() const noexcept { return entries_.size(); }
  bool empty() const noexcept { return entries_.empty(); }
  std::vector<value_type>::const_iterator begin() const noexcept { return entries_.begin(); }
  std::vector<value_type>::const_iterator end() const noexcept { return entries_.end(); }

 private:
  std::vector<value_type> entries_;
};

}  // namespace adjoint
