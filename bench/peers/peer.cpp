#include "peer.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <regex>
#include <stdexcept>

#include "workloads.hpp"

namespace peers {

namespace {

constexpr const char* kHelp =
    R"(usage: %s [--about | --list | --check] [--workload NAME | --filter REGEX] [--setting NAME] [--threads N]
          [--repetitions K] [--seconds S]
Prints a line of JSON for each workload: the time of an iteration in each of K repetitions, which together take about S
seconds (0: one iteration each), and by how much the resident memory grew at its peak.
  --about     the versions of the libraries instead
  --list      the names of the workloads, and their settings, instead
  --check     instead of times the numbers that five iterations computed, to compare with another library's
)";

struct Arguments {
  std::string mode, workload, filter, setting;
  bool any_setting = true;
  int threads = 1, repetitions = 5;
  double seconds = 0.5;
};

Arguments parse(int argc, char** argv) {
  Arguments result;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> std::string {
      if (++i == argc) throw std::invalid_argument(name + " needs a value");
      return argv[i];
    };
    if (name == "--about" || name == "--list" || name == "--check" || name == "--help") result.mode = name;
    else if (name == "--workload") result.workload = value();
    else if (name == "--filter") result.filter = value();
    else if (name == "--setting") result.setting = value(), result.any_setting = false;
    else if (name == "--threads") result.threads = std::stoi(value());
    else if (name == "--repetitions") result.repetitions = std::stoi(value());
    else if (name == "--seconds") result.seconds = std::stod(value());
    else throw std::invalid_argument("unknown argument " + name + "; see --help");
  }
  if (result.threads < 1 || result.repetitions < 1) throw std::invalid_argument("less than one is too few");
  return result;
}

/// A line "NAME: VALUE kB" of /proc/self/status.
long status_kb(const char* name) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(name, 0) == 0) return std::strtol(line.c_str() + std::strlen(name) + 1, nullptr, 10);
  return 0;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (c == '\n') result += "\\n";
    else if (static_cast<unsigned char>(c) >= ' ') result += c;
  }
  return result + '"';
}

std::string joined(const std::vector<double>& values) {
  std::string result = "[";
  for (const double value : values) {
    char text[32];
    std::snprintf(text, sizeof text, "%.9g", value);
    // JSON has no other numbers.
    result += (result.size() > 1 ? "," : "") + (std::isfinite(value) ? std::string(text) : "null");
  }
  return result + "]";
}

double seconds_of(const std::function<void()>& iterate, std::int64_t iterations) {
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < iterations; ++i) iterate();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The time of one iteration in each repetition, after iterations that are not counted: what is made once, such as an
/// optimizer's state, and what is learnt from repetition, is there then.
std::vector<double> measure(const Work& work, const Arguments& arguments, std::int64_t* iterations) {
  *iterations = 1;
  if (arguments.seconds > 0) {
    std::int64_t warm = 0;
    double spent = 0, last = 0;
    while (warm < 4 || (spent < 0.2 && warm < 1000)) {
      spent += last = seconds_of(work.iterate, 1);
      ++warm;
    }
    const double each = arguments.seconds / arguments.repetitions;
    // The later half knows best how long an iteration takes.
    const std::int64_t some = std::max<std::int64_t>(1, warm / 2);
    const double typical = last < each ? seconds_of(work.iterate, some) / static_cast<double>(some) : last;
    *iterations = std::max<std::int64_t>(1, std::llround(each / typical));
  }
  std::vector<double> times;
  for (int i = 0; i < arguments.repetitions; ++i)
    times.push_back(seconds_of(work.iterate, *iterations) / static_cast<double>(*iterations));
  return times;
}

template <class T>
std::vector<double> weighted(const T* values, std::int64_t count) {
  double squares = 0, sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto value = static_cast<double>(values[i]);
    squares += value * value;
    sum += value * (mixed(99, static_cast<std::uint32_t>(i)) & 1 ? 1 : -1);
  }
  return {std::sqrt(squares), sum};
}

}  // namespace

std::vector<double> numbers_of(const float* values, std::int64_t count) { return weighted(values, count); }
std::vector<double> numbers_of(const double* values, std::int64_t count) { return weighted(values, count); }

int run(int argc, char** argv, const std::function<Peer()>& make_peer) {
  const long start_kb = status_kb("VmRSS");
  try {
    const Arguments arguments = parse(argc, argv);
    if (arguments.mode == "--help") return std::printf(kHelp, argv[0]), 0;
    Peer peer = make_peer();
    peer.set_threads(arguments.threads);
    if (arguments.mode == "--about") {
      // Libraries that may or may not be among those of this program.
      if (void* core = dlsym(RTLD_DEFAULT, "openblas_get_corename"))
        peer.about.emplace_back("OpenBLAS core", reinterpret_cast<const char* (*)()>(core)());
      if (void* config = dlsym(RTLD_DEFAULT, "openblas_get_config"))
        peer.about.emplace_back("OpenBLAS", reinterpret_cast<const char* (*)()>(config)());
      if (void* version = dlsym(RTLD_DEFAULT, "dnnl_version")) {
        const int* numbers = reinterpret_cast<const int* (*)()>(version)();  // the first fields of its result
        peer.about.emplace_back(
            "oneDNN", std::to_string(numbers[0]) + "." + std::to_string(numbers[1]) + "." + std::to_string(numbers[2]));
      }
      std::printf("{\"peer\":%s,\"version\":%s", quoted(peer.name).c_str(), quoted(peer.version).c_str());
      for (const auto& [name, value] : peer.about) std::printf(",%s:%s", quoted(name).c_str(), quoted(value).c_str());
      return std::printf("}\n"), 0;
    }

    bool found = false;
    const std::regex filter(arguments.filter);
    for (const Workload& workload : peer.workloads) {
      if (!arguments.workload.empty() && workload.name != arguments.workload) continue;
      if (!std::regex_search(workload.name, filter)) continue;
      found = true;
      if (arguments.mode == "--list") {
        std::printf("%s", workload.name.c_str());
        for (const std::string& setting : workload.settings) std::printf(" %s", setting.c_str());
        std::printf("\n");
        continue;
      }
      for (const std::string& setting : workload.settings) {
        if (!arguments.any_setting && setting != arguments.setting) continue;
        std::printf("{\"peer\":%s,\"workload\":%s,\"setting\":%s,\"threads\":%d", quoted(peer.name).c_str(),
                    quoted(workload.name).c_str(), quoted(setting).c_str(), arguments.threads);
        const Work work = workload.make(setting);
        if (arguments.mode == "--check") {
          std::string text;
          for (int i = 0; i < 5 && work.check; ++i)
            for (const std::vector<double>& group : work.check()) text += (text.empty() ? "" : ",") + joined(group);
          std::printf(",\"numbers\":[%s]}\n", text.c_str());
        } else {
          std::int64_t iterations = 0;
          const std::vector<double> times = measure(work, arguments, &iterations);
          std::printf(",\"iterations\":%lld,\"seconds\":%s,\"bytes\":%lld,\"start_kb\":%ld,\"peak_growth_kb\":%ld}\n",
                      static_cast<long long>(iterations), joined(times).c_str(), static_cast<long long>(workload.bytes),
                      start_kb, status_kb("VmHWM") - start_kb);
        }
        std::fflush(stdout);
      }
    }
    if (!found) throw std::invalid_argument("no workload has that name; see --list");
    return 0;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "\n%s: %s\n", argv[0], error.what());
    return 1;
  }
}

}  // namespace peers
