#pragma once

#include <adjoint/export.hpp>

namespace adjoint::engine {

/// Parts of the engine that can be switched off, to see what each of them brings or to find out which one a problem
/// comes from. Values are the same, bit for bit, without any of them; time and memory are not.
///
/// The environment variable ADJOINT_ENGINE, read when the process computes for the first time, switches them off from
/// the start: a list such as "no-fusion,no-replay,no-donation,no-recomputation".
struct Options {
  bool fusion = true;    ///< Compute elementwise operations and reductions together, block by block.
  bool replay = true;    ///< Keep the plans of graphs that come again.
  bool donation = true;  ///< Write results over inputs that nobody reads any more, new parameters over the old ones.
  bool recomputation = true;  ///< Compute cheap values again where they are read, instead of keeping them in memory.
};

/// Those of the calling thread. Throws ValueError when ADJOINT_ENGINE holds a word that is not known, as each
/// computation then does.
ADJOINT_API Options options();

/// While it lives, this thread computes with other options: `OptionsGuard guard({.fusion = false})`.
class ADJOINT_API OptionsGuard {
 public:
  explicit OptionsGuard(const Options& options);
  ~OptionsGuard();
  OptionsGuard(const OptionsGuard&) = delete;
  OptionsGuard& operator=(const OptionsGuard&) = delete;

 private:
  Options before_;
};

}  // namespace adjoint::engine
