#pragma once

#include <adjoint/tensor.hpp>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace adjoint {

/// What a computation would do; `std::cout << explain(loss)` prints it.
///
/// The bytes of a step are those of its distinct inputs (what is broadcast counts with its own size) and of the results
/// that it writes to memory; what a program's instructions hand to one another is in neither. flops are 2 m n k for a
/// matrix product, alike for a convolution, and one for each element that is computed elementwise or goes into a
/// reduction, a running sum or a window; moving elements is none.
struct ADJOINT_API Explanation {
  std::int64_t steps = 0;       ///< which compute or copy; showing a value in another shape or order is none
  std::int64_t operations = 0;  ///< recorded ones, in all steps
  std::int64_t bytes_read = 0, bytes_written = 0;
  std::int64_t flops = 0;
  std::string text;
};
ADJOINT_API std::ostream& operator<<(std::ostream& out, const Explanation& explanation);

/// The plan by which looking at these tensors would compute them, together with the held values and cells that the same
/// work feeds; nothing is computed. It is the plan of the calling thread, with its engine::Options and its number of
/// threads. Names of values: %0, %1, ... are computed; in0, in1, ... are there already; numbers of the program stand
/// for themselves.
ADJOINT_API Explanation explain(const std::vector<Tensor>& outputs);
template <class... Tensors>
Explanation explain(const Tensor& first, const Tensors&... rest) {
  return explain(std::vector<Tensor>{first, rest...});
}

}  // namespace adjoint
