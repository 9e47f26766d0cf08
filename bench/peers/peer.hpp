// What the programs of this directory have in common: their command line, how they measure, and what they print.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace peers {

/// Numbers that all programs must agree about, to within a small part of each group's largest.
using Numbers = std::vector<std::vector<double>>;

/// The size of a tensor's elements, and their sum with weights that tell positions and signs apart.
std::vector<double> numbers_of(const float* values, std::int64_t count);
std::vector<double> numbers_of(const double* values, std::int64_t count);

struct Work {
  /// One iteration; this is what is timed. It has computed everything when it returns.
  std::function<void()> iterate;
  /// One iteration, and what it computed.
  std::function<Numbers()> check;
};

struct Workload {
  std::string name;
  std::function<Work(const std::string& setting)> make;
  /// What is read and written at the least, of bare calls what is so beside them; 0 when that is not what limits it.
  std::int64_t bytes = 0;
  /// Ways in which a user of the library might do it, each measured by itself.
  std::vector<std::string> settings = {""};
};

struct Peer {
  std::string name, version;
  /// How the library was built, and with what.
  std::vector<std::pair<std::string, std::string>> about;
  std::function<void(int threads)> set_threads;
  std::vector<Workload> workloads;
};

/// What main() returns. `--help` tells the arguments.
int run(int argc, char** argv, const std::function<Peer()>& make_peer);

}  // namespace peers
