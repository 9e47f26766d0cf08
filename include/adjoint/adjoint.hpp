// Everything but <adjoint/xtensor.hpp>, which needs xtensor's headers.
#pragma once

#include <adjoint/autograd.hpp>
#include <adjoint/data.hpp>
#include <adjoint/engine.hpp>
#include <adjoint/explain.hpp>
#include <adjoint/gradcheck.hpp>
#include <adjoint/io.hpp>
#include <adjoint/memory.hpp>
#include <adjoint/nn.hpp>
#include <adjoint/ops.hpp>
#include <adjoint/optim.hpp>
#include <adjoint/profiler.hpp>
#include <adjoint/random.hpp>
#include <adjoint/tensor.hpp>
#include <adjoint/threads.hpp>
#include <adjoint/transforms.hpp>
#include <adjoint/version.hpp>
