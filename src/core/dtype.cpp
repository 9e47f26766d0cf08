#include <adjoint/dtype.hpp>

#include <ostream>

namespace adjoint {

const char* name_of(Dtype dtype) noexcept {
  constexpr const char* names[] = {"float32", "float64", "int64", "int32", "uint8", "bool"};
  return names[static_cast<int>(dtype)];
}

std::ostream& operator<<(std::ostream& out, Dtype dtype) { return out << name_of(dtype); }

}  // namespace adjoint
