// Transforms: functions in, functions or tensors out. A function takes Tensors and returns a Tensor. The results of a
// transform are constants unless what the function was given, or what it captured, is itself differentiated; so
// transforms nest: `grad(grad(f))`.
#pragma once

#include <adjoint/tensor.hpp>

#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace adjoint {

namespace detail {

using Tensors = std::vector<Tensor>;

/// A reference to a function of tensors, for the duration of a call.
class FunctionRef {
 public:
  template <class F, class = std::enable_if_t<!std::is_same_v<std::decay_t<F>, FunctionRef>>>
  FunctionRef(const F& function)
      : object_(&function), call_([](const void* object, const Tensors& arguments) {
          return (*static_cast<const F*>(object))(arguments);
        }) {}
  Tensors operator()(const Tensors& arguments) const { return call_(object_, arguments); }

 private:
  const void* object_;
  Tensors (*call_)(const void*, const Tensors&);
};

[[noreturn]] ADJOINT_API void throw_wrong_arity(std::size_t given);

template <class F, std::size_t... I>
decltype(auto) apply_unpacked(const F& f, const Tensors& x, std::index_sequence<I...>) {
  if (x.size() != sizeof...(I)) throw_wrong_arity(x.size());
  return f(x[I]...);
}
/// f(x[0], x[1], ...), or f(x) for a function of a vector.
template <class F>
decltype(auto) apply(const F& f, const Tensors& x) {
  if constexpr (std::is_invocable_v<const F&, const Tensor&>)
    return apply_unpacked(f, x, std::make_index_sequence<1>());
  else if constexpr (std::is_invocable_v<const F&, const Tensor&, const Tensor&>)
    return apply_unpacked(f, x, std::make_index_sequence<2>());
  else if constexpr (std::is_invocable_v<const F&, const Tensor&, const Tensor&, const Tensor&>)
    return apply_unpacked(f, x, std::make_index_sequence<3>());
  else if constexpr (std::is_invocable_v<const F&, const Tensor&, const Tensor&, const Tensor&, const Tensor&>)
    return apply_unpacked(f, x, std::make_index_sequence<4>());
  else {
    static_assert(std::is_invocable_v<const F&, const Tensors&>,
                  "adjoint: the function must take one to four Tensors, or a std::vector<Tensor>");
    return f(x);
  }
}
inline Tensors as_vector(Tensor value) { return {std::move(value)}; }
inline Tensors as_vector(Tensors values) { return values; }

template <class F>
auto as_function(const F& f) {
  return [&f](const Tensors& x) { return as_vector(detail::apply(f, x)); };
}
/// A vector of results as what the function itself returned: one Tensor, or the vector.
template <class Result>
std::decay_t<Result> as_result(Tensors values) {
  if constexpr (std::is_same_v<std::decay_t<Result>, Tensor>) return std::move(values[0]);
  else return values;
}
template <class F>
using ResultOf = std::decay_t<decltype(detail::apply(std::declval<const F&>(), std::declval<const Tensors&>()))>;

/// A function's outputs, and what is needed to differentiate them.
struct Traced {
  Tensors outputs, inputs;
  bool nested;  // the outputs are themselves differentiated
};
ADJOINT_API Traced trace(const char* operation, const FunctionRef& f, const Tensors& primals);
/// The outputs as the caller gets them.
ADJOINT_API Tensors outputs_of(const Traced& traced);

ADJOINT_API std::pair<Tensor, Tensor> value_and_grad(const char* operation, const FunctionRef& f, const Tensor& x);
ADJOINT_API std::pair<Tensors, Tensors> jvp(const FunctionRef& f, const Tensors& primals, const Tensors& tangents);
ADJOINT_API Tensors pull_back(const Traced& traced, const Tensors& cotangents);
ADJOINT_API Tensor hessian(const FunctionRef& f, const Tensor& x);
ADJOINT_API Tensor hvp(const FunctionRef& f, const Tensor& x, const Tensor& v);

/// While it lives, no derivative keeps the values of what this thread records.
class ADJOINT_API CheckpointScope {
 public:
  CheckpointScope();
  ~CheckpointScope();
  CheckpointScope(const CheckpointScope&) = delete;
  CheckpointScope& operator=(const CheckpointScope&) = delete;
  /// Makes a result one that was recorded outside of it.
  void release(Tensor& output) const;
  void release(Tensors& outputs) const {
    for (Tensor& output : outputs) release(output);
  }
  template <class... T>
  void release(std::tuple<T...>& outputs) const {
    std::apply([this](auto&... output) { (release(output), ...); }, outputs);
  }
  template <class A, class B>
  void release(std::pair<A, B>& outputs) const {
    release(outputs.first);
    release(outputs.second);
  }
};

}  // namespace detail

/// `grad(f)(x, more...)` is the gradient of the scalar f(x, more...) with respect to x, of x's shape; zero where f does
/// not depend on x. Throws AutogradError when f returns more than one element or x is not floating.
template <class F>
auto grad(F f) {
  return [f = std::move(f)](const Tensor& x, const auto&... more) {
    return detail::value_and_grad(
               "grad", [&](const detail::Tensors& in) { return detail::Tensors{f(in[0], more...)}; }, x)
        .second;
  };
}

/// `value_and_grad(f)(x, more...)` is the pair of f(x, more...) and its gradient with respect to x.
template <class F>
auto value_and_grad(F f) {
  return [f = std::move(f)](const Tensor& x, const auto&... more) {
    return detail::value_and_grad(
        "value_and_grad", [&](const detail::Tensors& in) { return detail::Tensors{f(in[0], more...)}; }, x);
  };
}

/// The second part of what vjp returns: cotangents in, the inputs' cotangents out; may be called repeatedly.
class Pullback {
 public:
  explicit Pullback(detail::Traced traced) : traced_(std::move(traced)) {}
  /// For a function of one output. Throws ShapeError or DtypeError unless it is like the output.
  std::vector<Tensor> operator()(const Tensor& cotangent) const { return detail::pull_back(traced_, {cotangent}); }
  std::vector<Tensor> operator()(const std::vector<Tensor>& cotangents) const {
    return detail::pull_back(traced_, cotangents);
  }

 private:
  detail::Traced traced_;
};

/// `auto [y, pullback] = vjp(f, {x1, x2})`: the value of f and its vector-Jacobian product in reverse mode. f takes as
/// many Tensors as there are primals, or their vector, and returns a Tensor or a vector of them.
template <class F>
std::pair<detail::ResultOf<F>, Pullback> vjp(const F& f, const std::vector<Tensor>& primals) {
  detail::Traced traced = detail::trace("vjp", detail::as_function(f), primals);
  auto outputs = detail::as_result<detail::ResultOf<F>>(detail::outputs_of(traced));
  return {std::move(outputs), Pullback(std::move(traced))};
}

/// `auto [y, dy] = jvp(f, {x1, x2}, {t1, t2})`: the value of f and its Jacobian-vector product, in forward mode: no
/// reverse pass is run. Throws ShapeError, DtypeError or ValueError unless the tangents are like the primals.
template <class F>
std::pair<detail::ResultOf<F>, detail::ResultOf<F>> jvp(const F& f, const std::vector<Tensor>& primals,
                                                        const std::vector<Tensor>& tangents) {
  auto [outputs, pushed] = detail::jvp(detail::as_function(f), primals, tangents);
  return {detail::as_result<detail::ResultOf<F>>(std::move(outputs)),
          detail::as_result<detail::ResultOf<F>>(std::move(pushed))};
}

/// `hessian(f)(x)` is the matrix of second derivatives of the scalar f, of shape x.shape + x.shape, by forward over
/// reverse mode: one tangent for each element of x.
template <class F>
auto hessian(F f) {
  return [f = std::move(f)](const Tensor& x) { return detail::hessian(detail::as_function(f), x); };
}

/// `checkpoint(f)(x, more...)` is f(x, more...), of which no intermediate value is kept for the derivatives: they are
/// computed again when those are, from the arguments and what else f reads. So a chain of n segments needs the memory
/// of n arguments and one segment, and each forward computation runs twice. f itself is called once; random numbers,
/// and all bits, are the same (but where f looks at a result and reads it as well, its cotangents may be added up in
/// another order). What is assigned within f, such as batch norm's statistics, is assigned once. The results are kept
/// where a derivative reads them; so are intermediate values for as long as a handle elsewhere holds them, and what is
/// recorded under a NoGradGuard. Checkpoints may lie within each other, and be differentiated in any mode, to any
/// order; what a second derivative reads is kept. f takes anything and returns a Tensor, or a vector, pair or tuple of
/// such.
///
/// A function that is an lvalue, such as a module, is referred to and must live as long as what is returned here.
/// Throws what f throws, and ValueError where more than 255 checkpoints lie within each other.
template <class F>
auto checkpoint(F&& f) {
  return [f = std::tuple<F>(std::forward<F>(f))](const auto&... arguments) {
    const detail::CheckpointScope scope;
    auto outputs = std::get<0>(f)(arguments...);
    scope.release(outputs);
    return outputs;
  };
}

/// The product of the Hessian of the scalar f at x with v (of x's shape), in about four times the time of f.
template <class F>
Tensor hvp(const F& f, const Tensor& x, const Tensor& v) {
  return detail::hvp(detail::as_function(f), x, v);
}

}  // namespace adjoint
