#include "engine/profiler.hpp"

#include "engine/fusible.hpp"

#include <adjoint/error.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace adjoint {

using detail::Node;
using detail::ThreadProfile;
using Event = ThreadProfile::Event;

// -- recording --------------------------------------------------------------------------------------------------------

/// A profile's threads. Threads that still compute when it ends keep what they write to.
class profiler::Profile::Recorder {
 public:
  std::shared_ptr<ThreadProfile> of_thread(int id) {
    const std::lock_guard lock(mutex_);
    for (const auto& thread : threads_)
      if (thread->id() == id) return thread;
    threads_.push_back(std::make_shared<ThreadProfile>(id, start_));
    return threads_.back();
  }
  std::vector<std::shared_ptr<ThreadProfile>> threads() const {
    const std::lock_guard lock(mutex_);
    return threads_;
  }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<ThreadProfile>> threads_;
};

namespace {

using Recorder = profiler::Profile::Recorder;

struct Running {
  std::mutex mutex;
  std::shared_ptr<Recorder> recorder;  // null: none
};
Running& the_running() {
  static Running& running = *new Running;
  return running;
}

}  // namespace

namespace detail {

std::shared_ptr<ThreadProfile> ThreadProfile::find() noexcept try {
  static std::atomic<int> threads{0};
  static thread_local const int id = ++threads;
  std::shared_ptr<Recorder> recorder;
  {
    const std::lock_guard lock(the_running().mutex);
    recorder = the_running().recorder;
  }
  return recorder ? recorder->of_thread(id) : nullptr;
} catch (const std::bad_alloc&) {
  return nullptr;
}

bool ThreadProfile::describe(Node* const* nodes, int count, const Repeated& repeated, Event& event) noexcept try {
  event.cost = cost_of(nodes, count, repeated);
  if (event.cost.is_free()) return false;
  const Node& last = *nodes[count - 1];
  event.operations = count;
  event.shape = last.shape;
  event.dtype = last.dtype;
  int names = 0;
  for (int i = 0; i < count && names < Event::kMostNames; ++i)
    if (count == 1 || !is_movement(fusible_kind(*nodes[i]))) event.names[names++] = nodes[i]->operation->name;
  for (int i = 0; i < count; ++i) event.operations -= count > 1 && is_movement(fusible_kind(*nodes[i]));
  if (count == 1)
    for (; event.input_count < std::min(last.input_count(), 2); ++event.input_count)
      event.inputs[event.input_count] = last.input(event.input_count)->shape;
  for (int i = 0; i < count && event.module.empty(); ++i)
    if (const Rare* rare = nodes[i]->rare_if_any()) event.module = rare->module_path;
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

void ThreadProfile::evaluation(std::int64_t begin, std::int64_t planned, std::size_t operations,
                               bool replayed) noexcept {
  Event event;
  event.begin = begin;
  event.operations = static_cast<std::int64_t>(operations);
  event.replayed = replayed;
  event.live_bytes = Storage::live_bytes();
  event.kind = Event::Kind::planning;
  event.end = planned;
  Event whole = event;
  add(std::move(event));
  whole.kind = Event::Kind::evaluation;
  whole.end = now();
  add(std::move(whole));
}

void ThreadProfile::add(Event&& event) noexcept try {
  const std::lock_guard lock(mutex_);
  if (count_ == chunks_.size() * kChunk) reserve();
  (*chunks_[count_ / kChunk])[count_ % kChunk] = std::move(event);
  ++count_;
} catch (const std::bad_alloc&) {  // then it is not noted
}

}  // namespace detail

// -- writing ----------------------------------------------------------------------------------------------------------

namespace {

/// How many bytes at `at` are one character of UTF-8; 0: none.
int character(const std::string& text, std::size_t at) noexcept {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const unsigned first = byte(at);
  const int length = first < 0x80                    ? 1
                     : first >= 0xC2 && first < 0xE0 ? 2
                     : (first & 0xF0) == 0xE0        ? 3
                     : first >= 0xF0 && first < 0xF5 ? 4
                                                     : 0;
  for (int i = 1; i < length; ++i)
    if ((byte(at + static_cast<std::size_t>(i)) & 0xC0) != 0x80) return 0;
  const unsigned second = byte(at + 1);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool outside = (first == 0xED && second >= 0xA0) || (first == 0xF4 && second >= 0x90);
  return overlong || outside ? 0 : length;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const int length = character(text, at);
    const char c = text[at];
    if (length == 0) {
      result += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      result += {'\\', c};
    } else if (length == 1 && static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
      result += code;
    } else {
      result.append(text, at, static_cast<std::size_t>(length));
    }
    at += static_cast<std::size_t>(std::max(1, length));
  }
  return result + "\"";
}

/// Nanoseconds in the format's microseconds.
std::string microseconds(std::int64_t nanoseconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%lld.%03d", static_cast<long long>(nanoseconds / 1000),
                static_cast<int>(nanoseconds % 1000));
  return text;
}

std::string name_of_event(const Event& event) {
  if (event.kind == Event::Kind::evaluation) return "evaluation";
  if (event.kind == Event::Kind::planning) return "planning";
  std::string name;
  for (const char* operation : event.names)
    if (operation) name += (name.empty() ? "" : " ") + std::string(operation);
  if (event.operations > Event::kMostNames)
    name += " and " + std::to_string(event.operations - Event::kMostNames) + " more";
  return name;
}

std::string arguments_of(const Event& event) {
  std::string text = "\"operations\":" + std::to_string(event.operations);
  if (event.kind != Event::Kind::step) return text + ",\"replayed\":" + (event.replayed ? "true" : "false");
  text += ",\"result\":" + quoted(name_of(event.dtype) + (" " + to_string(event.shape)));
  for (int i = 0; i < event.input_count; ++i)
    text += ",\"input " + std::to_string(i) + "\":" + quoted(to_string(event.inputs[i]));
  text += ",\"bytes read\":" + std::to_string(event.cost.bytes_read) +
          ",\"bytes written\":" + std::to_string(event.cost.bytes_written) +
          ",\"flops\":" + std::to_string(event.cost.flops);
  if (!event.module.empty()) text += ",\"module\":" + quoted(event.module);
  return text;
}

}  // namespace

namespace profiler {

Profile::Profile() : recorder_(std::make_shared<Recorder>()) {
  const std::lock_guard lock(the_running().mutex);
  if (the_running().recorder) throw ValueError("Profile: another profile is running; it must be stopped first");
  the_running().recorder = recorder_;
  ThreadProfile::is_running_.store(true, std::memory_order_relaxed);
}

Profile::~Profile() { stop(); }

void Profile::stop() noexcept {
  const std::lock_guard lock(the_running().mutex);
  if (the_running().recorder != recorder_) return;
  ThreadProfile::is_running_.store(false, std::memory_order_relaxed);
  the_running().recorder = nullptr;
}

std::string Profile::json() const {
  std::string text =
      "{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n"
      "{\"ph\":\"M\",\"name\":\"process_name\",\"pid\":1,\"args\":{\"name\":\"adjoint\"}}";
  for (const auto& thread : recorder_->threads()) {
    const std::string id = std::to_string(thread->id());
    text += ",\n{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":" + id + ",\"args\":{\"name\":\"thread " + id +
            "\"}}";
    thread->for_each([&](const Event& event) {
      text += ",\n{\"ph\":\"X\",\"cat\":\"adjoint\",\"name\":" + quoted(name_of_event(event)) +
              ",\"pid\":1,\"tid\":" + id + ",\"ts\":" + microseconds(event.begin) +
              ",\"dur\":" + microseconds(event.end - event.begin) + ",\"args\":{" + arguments_of(event) + "}}";
      if (event.kind == Event::Kind::planning) return;
      text += ",\n{\"ph\":\"C\",\"name\":\"memory\",\"pid\":1,\"ts\":" + microseconds(event.end) +
              ",\"args\":{\"live bytes\":" + std::to_string(event.live_bytes) + "}}";
    });
  }
  return text + "\n]}\n";
}

void Profile::save(const std::string& path) {
  stop();
  const std::string text = json();
  const auto check = [&](bool done, const char* what) {
    if (!done) throw IoError(std::string("save: ") + what + " " + path + ": " + std::strerror(errno));
  };
  std::FILE* const file = std::fopen(path.c_str(), "wb");
  check(file != nullptr, "cannot open");
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const int error = errno;
  const bool closed = std::fclose(file) == 0;
  if (!written) errno = error;
  check(written && closed, "cannot write");
}

}  // namespace profiler
}  // namespace adjoint
