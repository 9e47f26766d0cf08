// measure RUNS COMMAND...: runs a command several times, its output discarded, and prints the least of each of
//   its user CPU time and its wall time in milliseconds, and its resident memory in kilobytes at the most.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  double cpu = std::numeric_limits<double>::infinity(), wall = cpu;
  long resident = std::numeric_limits<long>::max();
  for (int run = 0; run < std::atoi(argv[1]); ++run) {
    const auto start = std::chrono::steady_clock::now();
    const pid_t child = fork();
    if (child == 0) {
      dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
      execvp(argv[2], argv + 2);
      _exit(127);
    }
    int status = 0;
    rusage usage{};  // of the child and of the children that it waited for
    if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0) {
      std::fprintf(stderr, "measure: %s failed\n", argv[2]);
      return 1;
    }
    const std::chrono::duration<double, std::milli> elapsed = std::chrono::steady_clock::now() - start;
    cpu = std::min(
        cpu, 1e3 * static_cast<double>(usage.ru_utime.tv_sec) + 1e-3 * static_cast<double>(usage.ru_utime.tv_usec));
    wall = std::min(wall, elapsed.count());
    resident = std::min(resident, usage.ru_maxrss);
  }
  std::printf("%.0f %.1f %ld\n", cpu, wall, resident);
}
