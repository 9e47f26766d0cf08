#pragma once

#include <adjoint/tensor.hpp>

namespace adjoint {

/// A stream of random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
/// Recording a random operation reserves a range of the stream, so the numbers do not depend on when, or whether,
/// anything is computed. Not to be used by two threads at once.
class ADJOINT_API Generator {
 public:
  explicit Generator(std::uint64_t seed = 0) noexcept : seed_(seed) {}
  void manual_seed(std::uint64_t seed) noexcept { *this = Generator(seed); }
  std::uint64_t seed() const noexcept { return seed_; }
  /// The position of the next number.
  std::uint64_t offset() const noexcept { return offset_; }
  void set_offset(std::uint64_t offset) noexcept { offset_ = offset; }
  /// Reserves `count` numbers and returns the first one's position.
  std::uint64_t reserve(std::uint64_t count) noexcept { return (offset_ += count) - count; }

 private:
  std::uint64_t seed_, offset_ = 0;
};

/// The generator of the calling thread. Every thread starts with seed 0; give each its own by manual_seed().
ADJOINT_API Generator& default_generator() noexcept;
/// Restarts the calling thread's generator.
ADJOINT_API void manual_seed(std::uint64_t seed) noexcept;

/// Uniform on [0, 1). float32 or float64, else DtypeError.
ADJOINT_API Tensor rand(const Shape& shape, Dtype dtype = float32, Generator& generator = default_generator());
/// Standard normal. float32 or float64, else DtypeError.
ADJOINT_API Tensor randn(const Shape& shape, Dtype dtype = float32, Generator& generator = default_generator());
/// Integers, uniform on [low, high). Throws ValueError unless low < high.
ADJOINT_API Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape, Dtype dtype = int64,
                           Generator& generator = default_generator());
/// 1 with the given probabilities, else 0; of the probabilities' shape and dtype (floating, else DtypeError).
ADJOINT_API Tensor bernoulli(const Tensor& probabilities, Generator& generator = default_generator());
/// A permutation of 0 .. n-1, int64. Throws ValueError when n < 0.
ADJOINT_API Tensor randperm(std::int64_t n, Generator& generator = default_generator());

}  // namespace adjoint
