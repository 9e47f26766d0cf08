// The plan of an evaluation in words, before it is computed.
#pragma once

#include "engine/fuse.hpp"

#include <adjoint/explain.hpp>

#include <vector>

namespace adjoint::detail {

/// Where the values of planned nodes will lie: while it lives they have values without elements.
class Layouts {
 public:
  explicit Layouts(const std::vector<Node*>& plan);
  ~Layouts() { clear(); }
  Layouts(const Layouts&) = delete;
  Layouts& operator=(const Layouts&) = delete;

 private:
  void clear() noexcept;

  const std::vector<Node*>& plan_;
};

/// Describes a plan for `roots` that was just scheduled. `fuse`: it is cut into steps.
Explanation describe(const std::vector<Node*>& plan, const std::vector<Node*>& roots, bool fuse,
                     std::int64_t fewest_to_recompute);

}  // namespace adjoint::detail
