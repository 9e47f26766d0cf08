#pragma once

#include <adjoint/io/safetensors.hpp>
#include <adjoint/io/state_dict.hpp>
