// What a step reads, writes and computes: for explain() and the profiler.
#pragma once

#include "engine/fusible.hpp"

#include <cstdint>

namespace adjoint::detail {

struct Cost {
  std::int64_t bytes_read = 0, bytes_written = 0, flops = 0;

  bool is_free() const noexcept { return bytes_read == 0 && bytes_written == 0 && flops == 0; }
  Cost& operator+=(const Cost& other) noexcept {
    bytes_read += other.bytes_read;
    bytes_written += other.bytes_written;
    flops += other.flops;
    return *this;
  }
};

/// Of pending nodes that are computed together, or of one. It is known where what they read from others lies. Numbers
/// the nodes by their marks. `repeated`: those whose values are for the others alone.
Cost cost_of(Node* const* nodes, int count, const Repeated& repeated);

}  // namespace adjoint::detail
