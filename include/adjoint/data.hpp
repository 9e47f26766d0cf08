#pragma once

#include <adjoint/data/dataset.hpp>
#include <adjoint/data/early_stopping.hpp>
#include <adjoint/data/idx.hpp>
#include <adjoint/data/loader.hpp>
#include <adjoint/data/metrics.hpp>
#include <adjoint/data/progress_bar.hpp>
#include <adjoint/data/standardizer.hpp>
