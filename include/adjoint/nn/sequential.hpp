#pragma once

#include <adjoint/nn/module.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace adjoint::nn {

namespace detail {

/// A module Tensor -> Tensor whose type is not known.
class AnyModule {
 public:
  virtual ~AnyModule() = default;
  virtual Tensor call(const Tensor& x) const = 0;
  virtual ModuleBase& module() noexcept = 0;
  virtual std::unique_ptr<AnyModule> clone() const = 0;
  /// Assigns a module of the same type; false when the type cannot be assigned.
  virtual bool assign(const AnyModule& other) = 0;
};

template <class M>
class ModuleHolder final : public AnyModule {
 public:
  template <class Argument>
  explicit ModuleHolder(Argument&& module) : module_(std::forward<Argument>(module)) {}
  Tensor call(const Tensor& x) const override { return module_(x); }
  ModuleBase& module() noexcept override { return module_; }
  std::unique_ptr<AnyModule> clone() const override { return std::make_unique<ModuleHolder>(module_); }
  bool assign(const AnyModule& other) override {
    if constexpr (std::is_copy_assignable_v<M>) module_ = static_cast<const ModuleHolder&>(other).module_;
    return std::is_copy_assignable_v<M>;
  }

 private:
  M module_;
};

/// A function Tensor -> Tensor as a module. One that holds parameters is an error at first use: they have no names.
template <class F>
class Function : public Module<Function<F>> {
 public:
  explicit Function(F function) : function_(std::move(function)) {}
  Tensor forward(const Tensor& x) const { return function_(x); }

 private:
  F function_;
};

}  // namespace detail

/// Modules called one after the other, each with the result of the one before: any whose forward() takes a
/// const Tensor& and returns a Tensor, Sequential itself included, and functions such as `ad::gelu`. They are named
/// "0", "1", ... A copy has copies of the modules. An assignment between two of the same structure (types of the
/// modules; names, shapes and dtypes of their cells) sets the values of the existing cells; any other replaces the
/// modules.
class ADJOINT_API Sequential : public Module<Sequential> {
 public:
  Sequential() = default;
  /// The modules are moved or copied in.
  template <class First, class... Rest,
            class = std::enable_if_t<(sizeof...(Rest) > 0) || !std::is_base_of_v<Sequential, std::decay_t<First>>>>
  explicit Sequential(First&& first, Rest&&... rest) {
    modules_.reserve(1 + sizeof...(Rest));
    push_back(std::forward<First>(first));
    (push_back(std::forward<Rest>(rest)), ...);
  }
  Sequential(const Sequential& other);
  Sequential(Sequential&& other) noexcept = default;
  Sequential& operator=(const Sequential& other);

  template <class M>
  void push_back(M&& module) {
    using T = std::decay_t<M>;
    static_assert(std::is_invocable_r_v<Tensor, const T&, const Tensor&>,
                  "adjoint: what Sequential holds takes a const Tensor& and returns a Tensor");
    static_assert(std::is_copy_constructible_v<T>, "adjoint: what Sequential holds can be copied");
    using Held = std::conditional_t<std::is_base_of_v<ModuleBase, T>, T, detail::Function<T>>;
    modules_.push_back(std::make_unique<detail::ModuleHolder<Held>>(std::forward<M>(module)));
  }

  std::size_t size() const noexcept { return modules_.size(); }
  bool empty() const noexcept { return modules_.empty(); }
  /// Throws ValueError when out of range.
  ModuleBase& operator[](std::size_t i);
  const ModuleBase& operator[](std::size_t i) const;
  /// The module at position i as what it is: `net.get<nn::Linear>(0).weight`. Throws ValueError when out of range or
  /// of another type.
  template <class M>
  M& get(std::size_t i) {
    if (M* module = dynamic_cast<M*>(&(*this)[i])) return *module;
    throw_type(i, typeid(M));
  }
  template <class M>
  const M& get(std::size_t i) const {
    if (const M* module = dynamic_cast<const M*>(&(*this)[i])) return *module;
    throw_type(i, typeid(M));
  }

  void members(Members& m);
  /// Returns x itself when there are no modules.
  Tensor forward(const Tensor& x) const;

 private:
  [[noreturn]] void throw_type(std::size_t i, const std::type_info& wanted) const;
  bool same_structure(const Sequential& other) const;

  std::vector<std::unique_ptr<detail::AnyModule>> modules_;
};

/// Modules of one type, named "0", "1", ...; how they are called is up to the owner. Like a std::vector of them, but a
/// module that forgets to name it notices.
template <class M>
class ModuleList : public Module<ModuleList<M>> {
 public:
  ModuleList() = default;
  explicit ModuleList(std::vector<M> modules) : modules_(std::move(modules)) {}

  void push_back(M module) { modules_.push_back(std::move(module)); }
  template <class... Args>
  M& emplace_back(Args&&... args) {
    return modules_.emplace_back(std::forward<Args>(args)...);
  }
  std::size_t size() const noexcept { return modules_.size(); }
  bool empty() const noexcept { return modules_.empty(); }
  M& operator[](std::size_t i) { return modules_[i]; }
  const M& operator[](std::size_t i) const { return modules_[i]; }
  auto begin() noexcept { return modules_.begin(); }
  auto end() noexcept { return modules_.end(); }
  auto begin() const noexcept { return modules_.begin(); }
  auto end() const noexcept { return modules_.end(); }

  void members(Members& m) {
    for (std::size_t i = 0; i < modules_.size(); ++i) m(std::to_string(i), modules_[i]);
  }

 private:
  std::vector<M> modules_;
};

}  // namespace adjoint::nn
