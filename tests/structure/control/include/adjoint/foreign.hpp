#pragma once

#include <omp.h>
#include <nlohmann/json.hpp>
