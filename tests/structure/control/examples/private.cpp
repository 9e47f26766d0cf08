#include <adjoint/right.hpp>
#include <cstdint>

#include "node.hpp"
