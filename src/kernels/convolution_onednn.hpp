// oneDNN's convolutions: float32, channels-last. The one place, with matmul.cpp, where oneDNN is called; it compiles
// with oneDNN 2.6 and 3.x.
#pragma once

#include "kernels/kernels.hpp"

#include <cstddef>

namespace adjoint::kernels::onednn {

/// The bytes of scratch that a convolution needs; -1 where oneDNN has no implementation of it.
std::ptrdiff_t scratch(ConvolutionKind kind, const Convolution& sizes);
/// Computes it; false when oneDNN failed and nothing may be relied on.
bool convolution(ConvolutionKind kind, const Convolution& sizes, const float* a, const float* b, float* result,
                 void* scratch);

}  // namespace adjoint::kernels::onednn
