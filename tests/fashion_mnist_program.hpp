// For the tests of programs on Fashion-MNIST: a small data set of its format, and running a program as a user does.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

/// A directory that is gone after the test.
struct Directory {
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "adjoint_XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~Directory() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
  std::filesystem::path path;
};

inline void write_gzip(const std::string& path, const std::string& bytes) {
  const gzFile file = gzopen(path.c_str(), "wb1");
  REQUIRE(file != nullptr);
  REQUIRE(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size()));
  REQUIRE(gzclose(file) == Z_OK);
}

inline void append_size(std::string& bytes, std::uint32_t size) {
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(size >> shift & 0xff);
}

/// Images of class k have noise, and bright rows 2 k and 2 k + 1.
inline void write_part(const Directory& directory, const std::string& part, std::uint32_t count) {
  std::mt19937 random(count);
  std::string images{0, 0, 8, 3}, labels{0, 0, 8, 1};
  for (std::uint32_t size : {count, 28u, 28u}) append_size(images, size);
  append_size(labels, count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t label = i % 10;
    labels += static_cast<char>(label);
    for (std::uint32_t pixel = 0; pixel < 28 * 28; ++pixel)
      images += static_cast<char>(random() % 64 + (pixel / 28 / 2 == label ? 128 : 0));
  }
  write_gzip(directory / (part + "-images-idx3-ubyte.gz"), images);
  write_gzip(directory / (part + "-labels-idx1-ubyte.gz"), labels);
}

struct DataSet : Directory {
  DataSet() {
    write_part(*this, "train", 600);
    write_part(*this, "t10k", 100);
  }
};

struct Outcome {
  int status;  // the exit status, or 128 + the signal that ended it
  std::string out, err;
};

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

struct Program {
  std::string path;

  /// Runs it; `watch` sees its output after each read and may signal it.
  Outcome operator()(const std::vector<std::string>& arguments, bool terminal = false,
                     const std::function<void(pid_t, const std::string&)>& watch = {}) const;
};

inline Outcome Program::operator()(const std::vector<std::string>& arguments, bool terminal,
                                   const std::function<void(pid_t, const std::string&)>& watch) const {
  const Directory directory;
  const std::string errors = directory / "stderr";
  int ends[2] = {-1, -1};
  if (!terminal) REQUIRE(pipe(ends) == 0);
  const pid_t child = terminal ? forkpty(&ends[0], nullptr, nullptr, nullptr) : fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    if (!terminal) {
      dup2(ends[1], STDOUT_FILENO);
      close(ends[0]);
      close(ends[1]);
    }
    dup2(open(errors.c_str(), O_WRONLY | O_CREAT, 0600), STDERR_FILENO);
    std::vector<const char*> argv = {path.c_str()};
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    argv.push_back(nullptr);
    execv(argv[0], const_cast<char**>(argv.data()));
    _exit(127);
  }
  if (!terminal) close(ends[1]);
  Outcome outcome{};
  char buffer[4096];
  // A terminal's end shows as an error: the other side is gone.
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;) {
    outcome.out.append(buffer, static_cast<std::size_t>(got));
    if (watch) watch(child, outcome.out);
  }
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.err = read_file(errors);
  return outcome;
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// The program fails before it trains, and says why.
inline void check_refused(const Program& run, const std::vector<std::string>& arguments, const std::string& part) {
  const Outcome outcome = run(arguments);
  CAPTURE(part);
  CAPTURE(outcome.out);
  CAPTURE(outcome.err);
  CHECK(outcome.status == 1);
  CHECK(contains(outcome.err, part));
  CHECK_FALSE(contains(outcome.out, "epoch 1/"));
}
