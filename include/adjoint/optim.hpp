#pragma once

#include <adjoint/optim/adam.hpp>
#include <adjoint/optim/clip_grad.hpp>
#include <adjoint/optim/lr_scheduler.hpp>
#include <adjoint/optim/optimizer.hpp>
#include <adjoint/optim/sgd.hpp>
