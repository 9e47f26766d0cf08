// Numbers from PyTorch, in float64; tests/golden/make_golden.py remakes them.
#pragma once

#include <adjoint/io.hpp>
#include <adjoint/tensor.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

inline constexpr double kTolerance = 1e-9;

inline adjoint::StateDict golden(const std::string& name) {
  return adjoint::io::load_safetensors(ADJOINT_SOURCE_DIR "/tests/golden/" + name + ".safetensors");
}

/// The entries whose names begin with the prefix, without it.
inline adjoint::StateDict with_prefix(const adjoint::StateDict& numbers, const std::string& prefix) {
  adjoint::StateDict result;
  for (const auto& [name, tensor] : numbers)
    if (name.compare(0, prefix.size(), prefix) == 0) result.insert(name.substr(prefix.size()), tensor);
  return result;
}

/// The largest difference, relative to the expected values where those are large.
inline double difference(const adjoint::Tensor& actual, const adjoint::Tensor& expected) {
  REQUIRE(actual.shape() == expected.shape());
  REQUIRE(actual.dtype() == adjoint::float64);
  const double *a = actual.data<double>(), *b = expected.data<double>();
  double largest = 0;
  for (std::int64_t i = 0; i < actual.numel(); ++i) {
    const double d = std::abs(a[i] - b[i]) / std::max(1.0, std::abs(b[i]));
    if (!(d <= largest)) largest = d;  // NaN, too
  }
  return largest;
}
