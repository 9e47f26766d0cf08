#include <adjoint/nowhere.hpp>

#include "core/node.hpp"
#include "nn/tree.hpp"
