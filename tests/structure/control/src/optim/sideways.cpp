#include "nn/tree.hpp"
