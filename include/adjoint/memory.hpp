#pragma once

#include <adjoint/export.hpp>

#include <cstdint>

namespace adjoint::memory {

/// Bytes of tensors' elements, of the whole process.
struct Stats {
  std::int64_t live;    ///< held by tensors now
  std::int64_t peak;    ///< the most that was live since the start, or since reset_peak()
  std::int64_t cached;  ///< freed, and kept for the next tensors
};
ADJOINT_API Stats stats() noexcept;
ADJOINT_API void reset_peak() noexcept;
/// Gives cached memory back to the system.
ADJOINT_API void trim() noexcept;

/// How often activations were copied between row-major and channels-last memory since the start of the process.
/// Convolutions and pooling compute channels-last; a network should convert where it begins, and where it ends or is
/// looked at.
ADJOINT_API std::int64_t layout_conversions() noexcept;

}  // namespace adjoint::memory
