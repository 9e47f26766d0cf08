#pragma once

#include <adjoint/ops/composite.hpp>
#include <adjoint/ops/contraction.hpp>
#include <adjoint/ops/convolution.hpp>
#include <adjoint/ops/creation.hpp>
#include <adjoint/ops/elementwise.hpp>
#include <adjoint/ops/indexing.hpp>
#include <adjoint/ops/movement.hpp>
#include <adjoint/ops/normalization.hpp>
#include <adjoint/ops/reduction.hpp>
#include <adjoint/ops/sorting.hpp>
