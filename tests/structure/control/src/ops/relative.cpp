#include "core/node.hpp"
#include "../core/node.hpp"
#include "core/nowhere.hpp"
