// Modules: plain structs of parameters, buffers and other modules.
//
//   struct Block : ad::nn::Module<Block> {
//     ad::nn::Linear up{64, 256}, down{256, 64};
//     void members(ad::nn::Members& m) { m("up", up)("down", down); }
//     ad::Tensor forward(const ad::Tensor& x) const { return x + down(ad::gelu(up(x))); }
//   };
//
// A member that members() forgets is an error at first use. Copies are independent networks; an assignment sets the
// values of the cells that are there, so that an optimizer stays attached; a move takes the cells along.
#pragma once

#include <adjoint/autograd.hpp>
#include <adjoint/io/state_dict.hpp>
#include <adjoint/nn/parameter.hpp>

#include <atomic>
#include <iosfwd>
#include <string>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace adjoint::nn {

class ModuleBase;

namespace detail {

/// Where one named member lies: exactly one of the three is set.
struct Member {
  std::string name;
  Parameter* parameter;
  Buffer* buffer;
  ModuleBase* module;
};

class CallScope;

template <class T, class = void>
struct IsRange : std::false_type {};
template <class T>
struct IsRange<T, std::void_t<decltype(std::begin(std::declval<T&>())), decltype(std::end(std::declval<T&>()))>>
    : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};

}  // namespace detail

/// What a module's members() names its members to.
class ADJOINT_API Members {
 public:
  /// Names a Parameter, a Buffer, a module, or a range (std::vector, std::array ...) or std::optional of such; the
  /// entries of a range are named "name.0", "name.1", ... Throws ValueError for a name that is empty or has a dot.
  template <class T>
  Members& operator()(const std::string& name, T& member) {
    check_name(name);
    visit(name, member);
    return *this;
  }

 private:
  friend class ModuleBase;
  Members() = default;

  template <class T>
  void visit(const std::string& name, T& member) {
    using M = std::remove_const_t<T>;
    // members() may be const; what it names is not changed by naming it.
    M& object = const_cast<M&>(member);
    if constexpr (std::is_base_of_v<Parameter, M>) list_.push_back({name, &object, nullptr, nullptr});
    else if constexpr (std::is_base_of_v<Buffer, M>) list_.push_back({name, nullptr, &object, nullptr});
    else if constexpr (std::is_base_of_v<ModuleBase, M>) list_.push_back({name, nullptr, nullptr, &object});
    else if constexpr (detail::IsOptional<M>::value) {
      if (object) visit(name, *object);
    } else if constexpr (detail::IsRange<M>::value) {
      std::size_t i = 0;
      for (auto& entry : object) visit(name + "." + std::to_string(i++), entry);
    } else {
      static_assert(!std::is_base_of_v<Tensor, M>,
                    "adjoint: a member Tensor is an nn::Parameter (trained) or an nn::Buffer (not trained)");
      static_assert(std::is_base_of_v<Tensor, M>,
                    "adjoint: members() names parameters, buffers, modules, and ranges or optionals of them");
    }
  }
  static void check_name(const std::string& name);

  std::vector<detail::Member> list_;
};

/// What all modules can do. A module of one's own derives from Module.
///
/// Every use first checks, once for each object, that members() names each parameter, buffer and module that lies
/// inside the object, that no name occurs twice, and that the object's class is the one that it told Module; otherwise
/// it throws ValueError. (Elements of a std::vector lie elsewhere: hold them in an nn::ModuleList, which is noticed.)
/// Threads may use one const module at the same time.
class ADJOINT_API ModuleBase {
 public:
  using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
  using NamedModules = std::vector<std::pair<std::string, ModuleBase*>>;

  virtual ~ModuleBase();

  /// Handles on the cells of the parameters, here and in all modules below, in the order of members(). Undefined ones
  /// are left out.
  std::vector<Tensor> parameters() const;
  /// With names as "layers.0.weight".
  NamedTensors named_parameters() const;
  std::vector<Tensor> buffers() const;
  NamedTensors named_buffers() const;
  /// The modules directly below.
  NamedModules named_children();
  /// This module, under the name "", and all below.
  NamedModules named_modules();
  /// The number of values in all parameters, frozen ones among them.
  std::int64_t parameter_count() const;

  /// Sets the mode of this module and all below; some layers, such as Dropout, differ in training and evaluation.
  /// Modules start in training mode. A copy has the mode of the original, an assignment keeps the mode.
  void train(bool mode = true);
  void eval() { train(false); }
  bool is_training() const noexcept { return training_; }

  /// Clears the gradients of all parameters: afterwards they are undefined.
  void zero_grad();
  /// Freezes (false) or thaws all parameters, here and below: frozen ones get no gradient, optimizers pass over them,
  /// and they stay in the state_dict; copies of the module are frozen alike. What is recorded afterwards counts.
  /// Buffers such as the running statistics of BatchNorm go by the mode, train() or eval(), alone.
  void requires_grad_(bool requires_grad = true);
  /// Converts floating parameters and buffers to float32 or float64 (else DtypeError), into new cells without
  /// gradients: construct optimizers afterwards.
  void to(Dtype dtype);

  /// The values of all parameters and buffers, as they are now.
  StateDict state_dict() const;
  /// Sets the values of all parameters and buffers. Unless strict, names that only one side has are passed over.
  /// Throws one error that lists all names that are missing or not expected (ValueError), shapes that differ
  /// (ShapeError) and dtypes that differ (DtypeError; ValueError for several kinds); then nothing has changed.
  void load_state_dict(const StateDict& values, bool strict = true);
  /// Writes the state_dict as a safetensors file: complete, or, with IoError, not at all.
  void save(const std::string& path) const;
  /// load_state_dict from a safetensors file. Throws IoError when that cannot be read, and else as load_state_dict.
  void load(const std::string& path, bool strict = true);

  /// Names the members; a module without any leaves it out. A derived class's own hides it.
  void members(Members&) {}
  /// What stands in the parentheses after the type when the module is printed, e.g. "in=784, out=256".
  virtual std::string extra_repr() const { return {}; }

 protected:
  ModuleBase();
  ModuleBase(const ModuleBase& other);
  ModuleBase(ModuleBase&& other) noexcept;
  ModuleBase& operator=(const ModuleBase& other);

 private:
  template <class Derived, class Base>
  friend class Module;
  friend class detail::CallScope;
  friend ADJOINT_API std::string to_string(const ModuleBase& module);

  /// The class that was told to Module, and where the object of that class lies.
  struct Declared {
    const std::type_info* type;
    const void* begin;
    std::size_t size;
  };
  virtual Declared declared() const = 0;
  virtual void visit_members(Members& members) const = 0;

  /// Checks the module, and returns the name that the module above has given it; empty when there is none.
  const char* checked_name() const;
  void ensure_checked() const;
  void check_members(const std::type_info& type) const;
  void adopt_children(const std::vector<detail::Member>& members) const;
  std::vector<detail::Member> checked_members() const;
  void collect_cells(const std::string& prefix, NamedTensors* parameters, NamedTensors* buffers) const;
  void collect_modules(const std::string& prefix, NamedModules& modules);
  void load_values(const StateDict& values, bool strict, const std::string& where);
  std::int64_t print_tree(std::string& text, const std::string& indent) const;

  bool training_ = true;
  // The name that the module above has given; interned, so that it may be set while other threads read it.
  mutable std::atomic<const char*> name_{""};
  // The class as which the object has been checked: while a base class is under construction it is that one.
  mutable std::atomic<const std::type_info*> checked_{nullptr};
};

/// The type with its arguments, the names and shapes of the parameters, and their number, as a tree.
ADJOINT_API std::string to_string(const ModuleBase& module);
ADJOINT_API std::ostream& operator<<(std::ostream& out, const ModuleBase& module);

namespace detail {

/// One call of a module: from entering operator() until it is left.
class CallScope {
 public:
  explicit CallScope(const ModuleBase& module) : name_(module.checked_name()), scope_(name_) {}
  /// Puts the module's name before the path of an error that leaves it.
  void locate(Error& error) const { error.prepend_module(name_); }

 private:
  const char* name_;
  adjoint::detail::ModuleScope scope_;
};

}  // namespace detail

/// The base of a module: `struct Block : Module<Block>`, with a const forward() of any signature, and a members() that
/// names its members. A module that derives from another says so, `struct Gated : Module<Gated, Block>`, and calls
/// `Block::members(m)` in its own members(). Where members() or forward() are private: `friend Module;`.
template <class Derived, class Base = ModuleBase>
class Module : public Base {
  static_assert(std::is_base_of_v<ModuleBase, Base>, "adjoint: the base of a Module is a module");

 public:
  using Base::Base;
  Module() = default;
  Module(const Module&) = default;
  Module(Module&&) noexcept = default;
  Module& operator=(const Module&) = default;
  /// Deleted, which makes derived classes be assigned by copy: so a temporary, too, sets the values of the existing
  /// cells. (Moving a std::vector of modules would replace them.)
  Module& operator=(Module&&) = delete;

  /// Calls forward(). An Error that leaves it begins with the path of the module, e.g. "encoder.0.up: ...".
  template <class... Args, class D = Derived>
  auto operator()(Args&&... args) const -> decltype(std::declval<const D&>().forward(std::forward<Args>(args)...)) {
    const detail::CallScope scope(*this);
    try {
      return static_cast<const Derived&>(*this).forward(std::forward<Args>(args)...);
    } catch (Error& error) {
      scope.locate(error);
      throw;
    }
  }

 private:
  ModuleBase::Declared declared() const override {
    return {&typeid(Derived), static_cast<const Derived*>(this), sizeof(Derived)};
  }
  void visit_members(Members& m) const override {
    // Naming the members changes none of them.
    const_cast<Derived&>(static_cast<const Derived&>(*this)).members(m);
  }
};

}  // namespace adjoint::nn
