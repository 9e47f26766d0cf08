#include "kernels/tables.hpp"

#include <cstdlib>
#include <cstring>

namespace adjoint::kernels {

const Table* table(const char* name) noexcept {
  if (std::strcmp(name, "baseline") == 0) return &baseline_table();
#if defined(__x86_64__)
  // These ask for the operating system's support too.
  if (std::strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return &avx2_table();
  if (std::strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    return &avx512_table();
#endif
  return nullptr;
}

const Table& table() noexcept {
  static const Table* const chosen = [] {
    const char* wanted = std::getenv("ADJOINT_ISA");
    for (const char* name : {wanted, "avx512", "avx2"})
      if (const Table* found = name ? table(name) : nullptr) return found;
    return &baseline_table();
  }();
  return *chosen;
}

}  // namespace adjoint::kernels
