#include <adjoint/autograd.hpp>
#include <adjoint/ops.hpp>
#include <adjoint/optim/clip_grad.hpp>

#include <cmath>
#include <string>

namespace adjoint::optim {

Tensor clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type) {
  if (!(max_norm >= 0))
    throw ValueError("clip_grad_norm_: max_norm must be at least 0, not " + std::to_string(max_norm));
  if (!(norm_type > 0))
    throw ValueError("clip_grad_norm_: norm_type must be above 0, not " + std::to_string(norm_type));
  const NoGradGuard no_grad;
  TensorList gradients, parts;  // of the norm
  gradients.reserve(parameters.size());
  parts.reserve(parameters.size());
  for (const Tensor& parameter : parameters) {
    const Tensor gradient = parameter.grad();
    gradients.push_back(gradient);
    if (!gradient.defined() || gradient.numel() == 0) continue;
    if (std::isinf(norm_type)) parts.push_back(max(abs(gradient)));
    else if (norm_type == 2) parts.push_back(sum(square(gradient)));
    else parts.push_back(sum(pow(abs(gradient), norm_type)));
  }
  if (parts.empty()) return zeros({});

  Tensor norm;
  if (std::isinf(norm_type)) norm = max(stack(parts));
  else if (norm_type == 2) norm = sqrt(sum(stack(parts)));
  else norm = pow(sum(stack(parts)), 1 / norm_type);
  const Tensor factor = minimum(max_norm / (norm + 1e-6), 1.0);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (gradients[i].defined()) parameters[i].set_grad(gradients[i] * factor.to(gradients[i].dtype()));
  return norm;
}

}  // namespace adjoint::optim
