// What evaluations tell the profile that is running.
#pragma once

#include "core/node.hpp"
#include "engine/cost.hpp"

#include <adjoint/profiler.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace adjoint::detail {

/// The part of a profile that one host thread writes. It outlives the thread and the evaluation.
class ThreadProfile {
 public:
  struct Event {
    enum class Kind : std::uint8_t { evaluation, planning, step } kind = Kind::step;
    std::int64_t begin = 0, end = 0;  // nanoseconds since the start
    std::int64_t operations = 0, live_bytes = 0;
    Cost cost;
    static constexpr int kMostNames = 8;
    const char* names[kMostNames] = {};  // of the first operations
    Dtype dtype = float32;
    Shape shape, inputs[2];  // of the last result; of the first inputs, when the step is one operation
    int input_count = 0;
    bool replayed = false;
    std::string module;
  };

  ThreadProfile(int id, std::chrono::steady_clock::time_point start) : id_(id), start_(start) { reserve(); }
  ThreadProfile(const ThreadProfile&) = delete;
  ThreadProfile& operator=(const ThreadProfile&) = delete;

  /// That of the calling thread; null, as nearly always, when no profile is running.
  static std::shared_ptr<ThreadProfile> running() noexcept { return is_running() ? find() : nullptr; }
  static bool is_running() noexcept { return is_running_.load(std::memory_order_relaxed); }

  std::int64_t now() const noexcept {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start_).count();
  }
  /// Calls `compute` for nodes that are pending. Where it returns false, nothing was computed, and nothing is noted;
  /// nor is what costs nothing.
  template <class Compute>
  bool step(Node* const* nodes, int count, const Repeated& repeated, const Compute& compute) {
    Event event;
    const bool known = describe(nodes, count, repeated, event);
    event.begin = now();
    const bool computed = compute();
    event.end = now();
    event.live_bytes = Storage::live_bytes();
    if (computed && known) add(std::move(event));
    return computed;
  }
  /// An evaluation that ends now, and how long its planning took.
  void evaluation(std::int64_t begin, std::int64_t planned, std::size_t operations, bool replayed) noexcept;

  int id() const noexcept { return id_; }
  /// Calls body(event) for each.
  template <class Body>
  void for_each(const Body& body) const {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < count_; ++i) body((*chunks_[i / kChunk])[i % kChunk]);
  }

 private:
  static constexpr std::size_t kChunk = 4096;
  using Chunk = std::array<Event, kChunk>;

  static std::shared_ptr<ThreadProfile> find() noexcept;
  /// False for what costs nothing.
  static bool describe(Node* const* nodes, int count, const Repeated& repeated, Event& event) noexcept;
  void add(Event&& event) noexcept;
  void reserve() { chunks_.push_back(std::make_unique<Chunk>()); }

  friend class adjoint::profiler::Profile;
  static inline std::atomic<bool> is_running_{false};

  const int id_;
  const std::chrono::steady_clock::time_point start_;
  mutable std::mutex mutex_;  // the thread adds, another one may write the file
  std::size_t count_ = 0;
  std::vector<std::unique_ptr<Chunk>> chunks_;
};

}  // namespace adjoint::detail
