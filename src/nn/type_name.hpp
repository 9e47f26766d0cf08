#pragma once

#include <string>
#include <typeinfo>

namespace adjoint::nn {

/// "Block" of "(anonymous namespace)::Block<float>".
std::string type_name(const std::type_info& type);

}  // namespace adjoint::nn
