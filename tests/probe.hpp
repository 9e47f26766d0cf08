// Operations that tell when they are computed, and threads with little stack.
#pragma once

#include "engine/engine.hpp"

#include <adjoint/adjoint.hpp>

#include <doctest/doctest.h>
#include <pthread.h>

#include <atomic>
#include <exception>
#include <functional>

namespace adjoint::probe {

inline std::atomic<int> executions{0};

inline void execute_counted(detail::Node& node) {
  ++executions;
  const detail::Value& source = node.input(0)->value;
  node.alias_value(source, 0, source.strides);
}
/// x, counting how often that is computed. It can be differentiated.
inline Tensor counted(const Tensor& x) {
  static const detail::Operation operation{"counted",
                                           detail::Family::linear,
                                           execute_counted,
                                           0,
                                           false,
                                           1,
                                           {},
                                           nullptr,
                                           [](const detail::Recorded&, int, const Tensor& g) { return g; }};
  return detail::record(operation, x.shape(), x.dtype(), {x});
}

/// A tensor of shape (2,) whose computation throws ValueError.
inline Tensor failing() { return gather(tensor({1.0f, 2.0f}), 0, tensor({0, 7})); }

/// Runs `body` in a thread with a stack of `kilobytes`, and hands on what it throws.
inline void run_with_stack(std::size_t kilobytes, const std::function<void()>& body) {
  struct Job {
    const std::function<void()>& body;
    std::exception_ptr error;
  } job{body, nullptr};
  pthread_attr_t attributes;
  REQUIRE(pthread_attr_init(&attributes) == 0);
  REQUIRE(pthread_attr_setstacksize(&attributes, kilobytes << 10) == 0);
  pthread_t thread;
  const auto start = [](void* argument) -> void* {
    auto* started = static_cast<Job*>(argument);
    try {
      started->body();
    } catch (...) {
      started->error = std::current_exception();
    }
    return nullptr;
  };
  REQUIRE(pthread_create(&thread, &attributes, start, &job) == 0);
  REQUIRE(pthread_join(thread, nullptr) == 0);
  pthread_attr_destroy(&attributes);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace adjoint::probe
