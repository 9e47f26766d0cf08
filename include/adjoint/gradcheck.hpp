// Checks of derivatives against central differences, for tests: `CHECK(gradcheck(f, {x}))`.
#pragma once

#include <adjoint/transforms.hpp>

#include <iosfwd>
#include <string>
#include <type_traits>

namespace adjoint {

struct GradcheckOptions {
  double eps = 1e-6;   ///< half of the difference's step
  double atol = 1e-5;  ///< accepted: |analytical - numerical| <= atol + rtol |numerical|
  double rtol = 1e-3;
};

/// Whether derivatives agree, and if not, where and by how much.
class ADJOINT_API GradcheckResult {
 public:
  GradcheckResult() = default;
  explicit GradcheckResult(std::string disagreement) : message_(std::move(disagreement)) {}
  explicit operator bool() const noexcept { return message_.empty(); }
  /// Empty when they agree.
  const std::string& message() const noexcept { return message_; }

 private:
  std::string message_;
};
ADJOINT_API std::ostream& operator<<(std::ostream& out, const GradcheckResult& result);

namespace detail {

ADJOINT_API GradcheckResult gradcheck(const FunctionRef& f, const Tensors& inputs, const Tensors& parameters,
                                      const std::vector<std::string>& names, const GradcheckOptions& options);
ADJOINT_API GradcheckResult gradgradcheck(const FunctionRef& f, const Tensors& inputs, const Tensors& parameters,
                                          const std::vector<std::string>& names, const GradcheckOptions& options);

template <class F, class = void>
struct HasNamedParameters : std::false_type {};
template <class F>
struct HasNamedParameters<F, std::void_t<decltype(std::declval<const F&>().named_parameters())>> : std::true_type {};

template <class F>
void collect_parameters(const F& f, Tensors* parameters, std::vector<std::string>* names) {
  if constexpr (HasNamedParameters<F>::value)
    for (const auto& [name, parameter] : f.named_parameters())
      if (parameter.requires_grad()) {
        parameters->push_back(parameter);
        names->push_back(name);
      }
}

}  // namespace detail

/// Compares the Jacobian of f at the inputs, by reverse and by forward mode, with central differences, element by
/// element. f takes as many Tensors as there are inputs, or their vector, and returns a Tensor or a vector of them; or
/// it is a module, whose parameters are then checked as well. Inputs of integer and bool dtype are handed on as they
/// are. Throws DtypeError for float32 inputs and parameters, in which differences say nothing, and ValueError when
/// there is nothing to check.
template <class F>
GradcheckResult gradcheck(const F& f, const std::vector<Tensor>& inputs, const GradcheckOptions& options = {}) {
  detail::Tensors parameters;
  std::vector<std::string> names;
  detail::collect_parameters(f, &parameters, &names);
  return detail::gradcheck(detail::as_function(f), inputs, parameters, names, options);
}

/// The same for the second derivatives: checks the function (x, g) -> J(x)^T g, with fixed random g.
template <class F>
GradcheckResult gradgradcheck(const F& f, const std::vector<Tensor>& inputs, const GradcheckOptions& options = {}) {
  detail::Tensors parameters;
  std::vector<std::string> names;
  detail::collect_parameters(f, &parameters, &names);
  return detail::gradgradcheck(detail::as_function(f), inputs, parameters, names, options);
}

}  // namespace adjoint
