#include <adjoint/gradcheck.hpp>

#include <adjoint/autograd.hpp>
#include <adjoint/ops.hpp>
#include <adjoint/random.hpp>

#include <cmath>
#include <cstdio>
#include <ostream>

namespace adjoint {

std::ostream& operator<<(std::ostream& out, const GradcheckResult& result) {
  return out << (result ? "derivatives agree with central differences" : result.message());
}

namespace detail {
namespace {

/// What is varied: an input of the function, or a parameter of the module.
struct Variable {
  std::string name;
  std::size_t position;
  bool is_parameter;
  Tensor value;  // a constant
};

class Checker {
 public:
  Checker(const char* operation, const FunctionRef& f, const Tensors& inputs, const Tensors& parameters,
          const std::vector<std::string>& names, const GradcheckOptions& options)
      : operation_(operation), f_(f), inputs_(inputs), parameters_(parameters), options_(options) {
    if (!(options.eps > 0 && options.atol >= 0 && options.rtol >= 0))
      throw ValueError(std::string(operation) + ": eps must be positive, atol and rtol not negative");
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (is_floating(inputs[i].dtype())) add({"input " + std::to_string(i), i, false, inputs[i].detach()});
    for (std::size_t i = 0; i < parameters.size(); ++i)
      add({"parameter '" + names[i] + "'", i, true, parameters[i].detach()});
    if (variables_.empty()) throw ValueError(std::string(operation) + ": no input is of a floating dtype");
  }

  GradcheckResult run() {
    for (Tensor& input : inputs_) input = input.detach();
    const Tensors outputs = values(f_(inputs_));
    const Tensors again = values(f_(inputs_));
    for (std::size_t k = 0; k < outputs.size(); ++k)
      if (!all(outputs[k] == again[k] || (isnan(outputs[k]) && isnan(again[k]))).item<bool>())
        return GradcheckResult(std::string(operation_) + ": the function gives other values when it is called again");
    for (const Variable& variable : variables_) {
      for (std::size_t k = 0; k < outputs.size(); ++k) {
        if (!is_floating(outputs[k].dtype())) continue;
        const std::vector<double> reverse = reverse_jacobian(variable, k);
        const std::vector<double> forward = variable.is_parameter ? reverse : forward_jacobian(variable, k);
        const std::vector<double> numerical = numerical_jacobian(variable, k);
        for (const auto& [mode, analytical] : {std::pair{"reverse", &reverse}, std::pair{"forward", &forward}}) {
          const std::string text = compare(variable, outputs[k], k, mode, *analytical, numerical);
          if (!text.empty()) return GradcheckResult(text);
        }
      }
    }
    return {};
  }

 private:
  void add(Variable variable) {
    if (variable.value.dtype() != float64)
      throw DtypeError(std::string(operation_) + ": " + variable.name + " of shape " +
                       to_string(variable.value.shape()) +
                       " has dtype float32; central differences need float64 (use .to(float64))");
    variables_.push_back(std::move(variable));
  }

  static Tensors values(const Tensors& outputs) {
    Tensors result;
    for (const Tensor& output : outputs) result.push_back(output.detach());
    eval(result);
    return result;
  }

  /// Output k with one variable replaced.
  Tensor output_at(const Variable& variable, std::size_t k, const Tensor& value) {
    if (!variable.is_parameter) {
      Tensors inputs = inputs_;
      inputs[variable.position] = value;
      return f_(inputs)[k];
    }
    Tensor parameter = parameters_[variable.position];
    const NoGradGuard no_grad;
    parameter.set_(value);
    const Tensor output = f_(inputs_)[k];
    parameter.set_(variable.value);
    return output;
  }

  // All Jacobians are [elements of the output][elements of the variable].

  std::vector<double> numerical_jacobian(const Variable& variable, std::size_t k) {
    const NoGradGuard no_grad;
    std::vector<double> at = variable.value.to_vector<double>(), jacobian;
    std::size_t rows = 0;
    for (std::size_t j = 0; j < at.size(); ++j) {
      const auto value_at = [&](double x) {
        const double before = at[j];
        at[j] = x;
        const Tensor moved = from_blob(at.data(), variable.value.shape());
        at[j] = before;
        return output_at(variable, k, moved).to(float64).to_vector<double>();
      };
      const std::vector<double> above = value_at(at[j] + options_.eps), below = value_at(at[j] - options_.eps);
      rows = above.size();
      jacobian.resize(rows * at.size());
      for (std::size_t i = 0; i < rows; ++i) jacobian[i * at.size() + j] = (above[i] - below[i]) / (2 * options_.eps);
    }
    return jacobian;
  }

  std::vector<double> reverse_jacobian(const Variable& variable, std::size_t k) {
    Tensors inputs = inputs_;
    Tensor x;
    if (variable.is_parameter) {
      x = parameters_[variable.position];
    } else {
      x = inputs[variable.position].detach().requires_grad_();
      inputs[variable.position] = x;
    }
    const EnableGradGuard enable;
    const Tensor output = f_(inputs)[k];
    const std::int64_t rows = output.numel(), columns = x.numel();
    std::vector<double> jacobian(static_cast<std::size_t>(rows * columns), 0.0);
    if (!output.requires_grad()) return jacobian;
    for (std::int64_t i = 0; i < rows; ++i) {
      autograd::GradOptions options;
      options.grad_outputs = {cast(reshape(arange(rows) == i, output.shape()), output.dtype())};
      options.retain_graph = true;
      options.allow_unused = true;
      const Tensor row = autograd::grad({output}, {x}, options)[0];
      if (!row.defined()) continue;
      const std::vector<double> elements = row.to_vector<double>();
      std::copy(elements.begin(), elements.end(), jacobian.begin() + i * columns);
    }
    return jacobian;
  }

  std::vector<double> forward_jacobian(const Variable& variable, std::size_t k) {
    const auto f = [&](const Tensors& x) {
      Tensors inputs = inputs_;
      inputs[variable.position] = x[0];
      return Tensors{f_(inputs)[k]};
    };
    const std::int64_t columns = variable.value.numel();
    std::vector<double> jacobian;
    for (std::int64_t j = 0; j < columns; ++j) {
      const Tensor basis = cast(reshape(arange(columns) == j, variable.value.shape()), float64);
      const std::vector<double> column =
          jvp(FunctionRef(f), {variable.value}, {basis}).second[0].to(float64).to_vector<double>();
      jacobian.resize(column.size() * static_cast<std::size_t>(columns));
      for (std::size_t i = 0; i < column.size(); ++i)
        jacobian[i * static_cast<std::size_t>(columns) + static_cast<std::size_t>(j)] = column[i];
    }
    return jacobian;
  }

  std::string compare(const Variable& variable, const Tensor& output, std::size_t k, const char* mode,
                      const std::vector<double>& analytical, const std::vector<double>& numerical) const {
    const auto columns = static_cast<std::size_t>(variable.value.numel());
    for (std::size_t i = 0; i < numerical.size(); ++i) {
      const double error = std::fabs(analytical[i] - numerical[i]);
      if (error <= options_.atol + options_.rtol * std::fabs(numerical[i])) continue;
      char figures[160];
      std::snprintf(figures, sizeof figures, "%s mode gives %.9g, central differences %.9g (error %.3g)", mode,
                    analytical[i], numerical[i], error);
      return std::string(operation_) + ": the derivative of output " + std::to_string(k) + " at " +
             position(output.shape(), i / columns) + " with respect to " + variable.name + " at " +
             position(variable.value.shape(), i % columns) + ": " + figures;
    }
    return {};
  }

  static std::string position(const Shape& shape, std::size_t flat) {
    Dims at = shape;
    for (int d = shape.size() - 1; d >= 0; --d) {
      at[d] = static_cast<std::int64_t>(flat) % shape[d];
      flat /= static_cast<std::size_t>(shape[d]);
    }
    return to_string(at);
  }

  const char* operation_;
  FunctionRef f_;
  Tensors inputs_, parameters_;
  GradcheckOptions options_;
  std::vector<Variable> variables_;
};

}  // namespace

GradcheckResult gradcheck(const FunctionRef& f, const Tensors& inputs, const Tensors& parameters,
                          const std::vector<std::string>& names, const GradcheckOptions& options) {
  return Checker("gradcheck", f, inputs, parameters, names, options).run();
}

GradcheckResult gradgradcheck(const FunctionRef& f, const Tensors& inputs, const Tensors& parameters,
                              const std::vector<std::string>& names, const GradcheckOptions& options) {
  // The function (x.., g..) -> the gradients of sum(f(x) g), whose derivative by g is the first one's transpose.
  Tensors outputs;
  {
    const NoGradGuard no_grad;
    outputs = f(inputs);
  }
  Generator generator(20260);
  Tensors extended = inputs;
  for (const Tensor& output : outputs) {
    if (is_floating(output.dtype())) extended.push_back(randn(output.shape(), output.dtype(), generator));
  }
  const auto gradient = [&](const Tensors& all) {
    const EnableGradGuard enable;
    Tensors x(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(inputs.size())), wanted;
    for (std::size_t i = 0; i < x.size(); ++i)
      if (is_floating(x[i].dtype())) {
        if (!x[i].requires_grad()) x[i] = x[i].detach().requires_grad_();
        wanted.push_back(x[i]);
      }
    for (const Tensor& parameter : parameters) wanted.push_back(parameter);
    Tensors differentiated;
    autograd::GradOptions grad_options;
    std::size_t next = inputs.size();
    for (const Tensor& output : f(x)) {
      if (!is_floating(output.dtype())) continue;
      const Tensor& g = all[next++];
      if (!output.requires_grad()) continue;
      differentiated.push_back(output);
      grad_options.grad_outputs.push_back(g);
    }
    Tensors gradients(wanted.size());
    if (!differentiated.empty()) {
      grad_options.create_graph = true;
      grad_options.allow_unused = true;
      gradients = autograd::grad(differentiated, wanted, grad_options);
    }
    for (std::size_t i = 0; i < gradients.size(); ++i)
      if (!gradients[i].defined()) gradients[i] = zeros_like(wanted[i]);
    return gradients;
  };
  return Checker("gradgradcheck", gradient, extended, parameters, names, options).run();
}

}  // namespace detail
}  // namespace adjoint
