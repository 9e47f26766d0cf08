#pragma once

#include <adjoint/nn/convolution.hpp>
#include <adjoint/nn/init.hpp>
#include <adjoint/nn/layers.hpp>
#include <adjoint/nn/losses.hpp>
#include <adjoint/nn/module.hpp>
#include <adjoint/nn/parameter.hpp>
#include <adjoint/nn/sequential.hpp>
