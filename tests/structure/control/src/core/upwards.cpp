#include <adjoint/right.hpp>

#include "node.hpp"
#include "ops/table.hpp"
