// Initial values. Each function sets the value of a cell, such as a Parameter, whatever the grad mode, and rebinds any
// other handle; it returns its argument. The dtype is floating, else DtypeError.
#pragma once

#include <adjoint/random.hpp>
#include <adjoint/tensor.hpp>

namespace adjoint::nn::init {

/// The side of a weight [out, in, ...] whose number of connections the variance is kept for: fan_in, in times the
/// sizes of the further dims, for the forward pass; fan_out for the backward pass.
enum class FanMode : std::uint8_t { fan_in, fan_out };
enum class Nonlinearity : std::uint8_t { linear, sigmoid, tanh, relu, leaky_relu, selu };

/// What a nonlinearity's input is to be scaled by: 1 for linear and sigmoid, 5/3 for tanh, sqrt 2 for relu,
/// sqrt(2 / (1 + slope^2)) for leaky_relu, 3/4 for selu.
ADJOINT_API double calculate_gain(Nonlinearity nonlinearity, double slope = 0.01);

ADJOINT_API Tensor& zeros_(Tensor& x);
ADJOINT_API Tensor& ones_(Tensor& x);
ADJOINT_API Tensor& constant_(Tensor& x, Scalar value);
/// Uniform on [low, high). Throws ValueError unless low <= high and both are finite.
ADJOINT_API Tensor& uniform_(Tensor& x, double low = 0, double high = 1, Generator& generator = default_generator());
/// Throws ValueError unless deviation >= 0 and both are finite.
ADJOINT_API Tensor& normal_(Tensor& x, double mean = 0, double deviation = 1,
                            Generator& generator = default_generator());

// Of the following x has at least two dims, else ShapeError.

/// Uniform on +-gain sqrt(3 / fan), gain = calculate_gain(nonlinearity, a) (He et al. 2015).
ADJOINT_API Tensor& kaiming_uniform_(Tensor& x, double a = 0, FanMode mode = FanMode::fan_in,
                                     Nonlinearity nonlinearity = Nonlinearity::leaky_relu,
                                     Generator& generator = default_generator());
/// Normal with deviation gain / sqrt(fan), gain = calculate_gain(nonlinearity, a) (He et al. 2015).
ADJOINT_API Tensor& kaiming_normal_(Tensor& x, double a = 0, FanMode mode = FanMode::fan_in,
                                    Nonlinearity nonlinearity = Nonlinearity::leaky_relu,
                                    Generator& generator = default_generator());
/// Uniform on +-gain sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010).
ADJOINT_API Tensor& xavier_uniform_(Tensor& x, double gain = 1, Generator& generator = default_generator());
/// Normal with deviation gain sqrt(2 / (fan_in + fan_out)) (Glorot & Bengio 2010).
ADJOINT_API Tensor& xavier_normal_(Tensor& x, double gain = 1, Generator& generator = default_generator());

}  // namespace adjoint::nn::init
