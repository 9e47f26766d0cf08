#pragma once

#include <adjoint/export.hpp>

#include <memory>
#include <string>

namespace adjoint::profiler {

/// Notes, while it runs, what all threads of the program compute: each evaluation, its planning, each step with its
/// operations, shapes, bytes and flops (as explain() counts them), the module that recorded it where that is known, and
/// the bytes that tensors hold.
///
///     profiler::Profile profile;
///     ...
///     profile.save("trace.json");
///
/// A step is noted before and after it is computed, so that its own time is not changed; it costs about a microsecond
/// more. Nothing is noted twice, and nothing without a Profile.
class ADJOINT_API Profile {
 public:
  /// Starts. Throws ValueError when another one is running.
  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  /// Ends; what was noted is kept.
  void stop() noexcept;
  /// What was noted so far, in Chrome's trace format.
  std::string json() const;
  /// Stops, and writes that to a file, for chrome://tracing or https://ui.perfetto.dev. Throws IoError.
  void save(const std::string& path);

  class Recorder;

 private:
  std::shared_ptr<Recorder> recorder_;
};

}  // namespace adjoint::profiler
