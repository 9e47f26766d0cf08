// Heap allocations of training steps. This program puts functions of its own in the place of malloc and its relatives
// and of mmap, and tells by return address who called: the math libraries, whose allocations inside of a call are
// reported, or anything else, which is ours. A sanitizer has such functions itself, so there this test is not built.
#include <adjoint/adjoint.hpp>

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../bench/models.hpp"

namespace ad = adjoint;
namespace nn = adjoint::nn;
using ad::Tensor;

// -- counting ---------------------------------------------------------------------------------------------------------

namespace {

/// Whose code an address lies in. The system's libraries allocate for their callers.
enum class Owner { ours, system, math };

struct Range {
  std::uintptr_t begin, end;
  Owner owner;
};
constexpr int kMostRanges = 256;
Range ranges[kMostRanges];
int range_count = 0;

int add_ranges(dl_phdr_info* object, std::size_t, void*) {
  const auto is_one_of = [&](std::initializer_list<const char*> names) {
    return std::any_of(names.begin(), names.end(),
                       [&](const char* name) { return std::strstr(object->dlpi_name, name) != nullptr; });
  };
  const Owner owner = is_one_of({"/libdnnl", "blas", "/libgomp", "/libgfortran", "/libquadmath"}) ? Owner::math
                      : is_one_of({"/libc.so", "/libstdc++", "/libgcc_s", "/ld-linux", "/libm.so", "linux-vdso"})
                          ? Owner::system
                          : Owner::ours;
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_X) || range_count == kMostRanges) continue;
    const std::uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
    ranges[range_count++] = {begin, begin + segment.p_memsz, owner};
  }
  return 0;
}

Owner owner_of(std::uintptr_t address) {
  for (int i = 0; i < range_count; ++i)
    if (address >= ranges[i].begin && address < ranges[i].end) return ranges[i].owner;
  return Owner::ours;
}

/// A place that allocates: the return addresses from there on.
struct Site {
  static constexpr int kDepth = 24;
  std::uintptr_t frames[kDepth];
  int depth;
  Owner owner;
  const char* function;
  std::int64_t count, bytes;
};
constexpr int kMostSites = 4096;
Site sites[kMostSites];
int site_count = 0;
std::atomic<bool> counting{false};
std::atomic_flag sites_are_taken = ATOMIC_FLAG_INIT;
thread_local bool inside = false;  // of the counting itself

struct Walk {
  std::uintptr_t first;  // where the allocating function returns to
  bool begun;
  Site site;
};

_Unwind_Reason_Code take_frame(_Unwind_Context* context, void* argument) {
  Walk& walk = *static_cast<Walk*>(argument);
  const std::uintptr_t address = _Unwind_GetIP(context);
  walk.begun = walk.begun || address == walk.first;
  if (!walk.begun) return _URC_NO_REASON;
  // The first that is not the system's has allocated.
  const Owner owner = owner_of(address);
  if (walk.site.depth == 0 && owner == Owner::system) return _URC_NO_REASON;
  if (walk.site.depth == 0) walk.site.owner = owner;
  walk.site.frames[walk.site.depth++] = address;
  return walk.site.depth == Site::kDepth ? _URC_END_OF_STACK : _URC_NO_REASON;
}

void count(const char* function, std::size_t bytes, void* return_address) {
  if (!counting.load(std::memory_order_relaxed) || inside) return;
  inside = true;
  Walk walk{reinterpret_cast<std::uintptr_t>(return_address), false, {}};
  walk.site.function = function;
  walk.site.count = 1;
  walk.site.bytes = static_cast<std::int64_t>(bytes);
  _Unwind_Backtrace(take_frame, &walk);
  const Site& site = walk.site;
  while (sites_are_taken.test_and_set(std::memory_order_acquire)) {
  }
  Site* found = std::find_if(sites, sites + site_count, [&](const Site& other) {
    return other.function == site.function && other.depth == site.depth &&
           std::equal(site.frames, site.frames + site.depth, other.frames);
  });
  if (found != sites + site_count) {
    ++found->count;
    found->bytes += site.bytes;
  } else if (site_count < kMostSites) {
    sites[site_count++] = site;
  } else {
    ++sites[0].count;  // whose it is no longer matters
  }
  sites_are_taken.clear(std::memory_order_release);
  inside = false;
}

}  // namespace

// Libraries find these before the C library's. Its own functions do the work; what they took is freed by its `free`.
#define ADJOINT_TAKES_PLACE __attribute__((visibility("default"), noinline))
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

ADJOINT_TAKES_PLACE void* malloc(std::size_t bytes) {
  count("malloc", bytes, __builtin_return_address(0));
  return __libc_malloc(bytes);
}
ADJOINT_TAKES_PLACE void* calloc(std::size_t number, std::size_t bytes) {
  count("calloc", number * bytes, __builtin_return_address(0));
  return __libc_calloc(number, bytes);
}
ADJOINT_TAKES_PLACE void* realloc(void* block, std::size_t bytes) {
  count("realloc", bytes, __builtin_return_address(0));
  return __libc_realloc(block, bytes);
}
ADJOINT_TAKES_PLACE void* memalign(std::size_t alignment, std::size_t bytes) {
  count("memalign", bytes, __builtin_return_address(0));
  return __libc_memalign(alignment, bytes);
}
ADJOINT_TAKES_PLACE void* aligned_alloc(std::size_t alignment, std::size_t bytes) {
  count("aligned_alloc", bytes, __builtin_return_address(0));
  return __libc_memalign(alignment, bytes);
}
ADJOINT_TAKES_PLACE int posix_memalign(void** block, std::size_t alignment, std::size_t bytes) {
  count("posix_memalign", bytes, __builtin_return_address(0));
  *block = __libc_memalign(alignment, bytes);
  return *block ? 0 : ENOMEM;
}
ADJOINT_TAKES_PLACE void* mmap(void* address, std::size_t bytes, int protection, int flags, int file, off_t offset) {
  count("mmap", bytes, __builtin_return_address(0));
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
}
ADJOINT_TAKES_PLACE void* mmap64(void* address, std::size_t bytes, int protection, int flags, int file,
                                 off64_t offset) {
  count("mmap", bytes, __builtin_return_address(0));
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
}
}

ADJOINT_TAKES_PLACE void* operator new(std::size_t bytes) {
  count("operator new", bytes, __builtin_return_address(0));
  if (void* block = __libc_malloc(bytes)) return block;
  throw std::bad_alloc();
}
ADJOINT_TAKES_PLACE void* operator new(std::size_t bytes, std::align_val_t alignment) {
  count("operator new", bytes, __builtin_return_address(0));
  if (void* block = __libc_memalign(static_cast<std::size_t>(alignment), bytes)) return block;
  throw std::bad_alloc();
}
// The other forms of `new` call these two.
ADJOINT_TAKES_PLACE void operator delete(void* block) noexcept { std::free(block); }
ADJOINT_TAKES_PLACE void operator delete(void* block, std::size_t) noexcept { std::free(block); }
ADJOINT_TAKES_PLACE void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
ADJOINT_TAKES_PLACE void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }

namespace {

std::int64_t total(Owner owner) {
  std::int64_t result = 0;
  for (int i = 0; i < site_count; ++i)
    if (sites[i].owner == owner) result += sites[i].count;
  return result;
}

/// Counts while it lives. What was counted before is forgotten.
class Counting {
 public:
  Counting() {
    if (range_count == 0) dl_iterate_phdr(add_ranges, nullptr);
    site_count = 0;
    counting = true;
  }
  ~Counting() { counting = false; }
  Counting(const Counting&) = delete;
  Counting& operator=(const Counting&) = delete;
};

// -- reporting --------------------------------------------------------------------------------------------------------

std::string output_of(const std::string& command) {
  std::string result;
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return result;
  for (char text[4096]; std::fgets(text, sizeof text, pipe);) result += text;
  pclose(pipe);
  return result;
}

/// The functions from the allocation on, each with its line, as addr2line tells them, those of the standard library
/// left out.
std::string who(const Site& site) {
  std::string result;
  int lines = 0;
  for (int i = 0; i < site.depth && lines < 8; ++i) {
    Dl_info info{};
    if (!dladdr(reinterpret_cast<void*>(site.frames[i]), &info)) continue;
    if (site.owner == Owner::math) {
      const char* name = std::strrchr(info.dli_fname, '/');
      return std::string(name ? name + 1 : info.dli_fname) + ": " + (info.dli_sname ? info.dli_sname : "?");
    }
    if (owner_of(site.frames[i]) != Owner::ours) continue;
    char address[32];
    std::snprintf(address, sizeof address, "%#lx",
                  static_cast<unsigned long>(site.frames[i] - reinterpret_cast<std::uintptr_t>(info.dli_fbase) - 1));
    const std::string file =
        std::strchr(info.dli_fname, '/') ? info.dli_fname : "/proc/" + std::to_string(getpid()) + "/exe";
    const std::string text = output_of("addr2line -Cfips -e '" + file + "' " + address + " 2>/dev/null");
    for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
      std::string line = text.substr(begin, end - begin);
      if (const std::string inlined = " (inlined by) "; line.compare(0, inlined.size(), inlined) == 0)
        line = line.substr(inlined.size());
      // A function, what it is a template of, and its arguments: the name says enough.
      const std::size_t at = line.rfind(" at ");
      std::string name = line.substr(0, std::min(at, line.find('(')));
      if (name.find("std::") != std::string::npos || name.find("gnu_cxx::") != std::string::npos ||
          name.find("operator new") != std::string::npos)
        continue;
      if (line.find("test_allocations.cpp:") != std::string::npos) return result;  // the test itself
      result += (lines++ > 0 ? " < " : "") + name;
      if (at != std::string::npos) result += " " + line.substr(at + 4);
    }
  }
  return result;
}

/// A line for each place, for the number of steps that were counted.
std::string table(int steps) {
  std::map<std::pair<Owner, std::string>, std::pair<std::int64_t, std::int64_t>> of;
  for (int i = 0; i < site_count; ++i) {
    auto& [number, bytes] = of[{sites[i].owner, std::string(sites[i].function) + ": " + who(sites[i])}];
    number += sites[i].count;
    bytes += sites[i].bytes;
  }
  std::vector<std::pair<std::int64_t, std::string>> lines;
  for (const auto& [key, sums] : of) {
    char numbers[96];
    std::snprintf(numbers, sizeof numbers, "  %8.2f  %10.0f B  %s", static_cast<double>(sums.first) / steps,
                  static_cast<double>(sums.second) / steps, key.first == Owner::math ? "inside " : "");
    lines.emplace_back(-sums.first, numbers + key.second);
  }
  std::sort(lines.begin(), lines.end());
  std::string result;
  for (const auto& [number, line] : lines) result += line + "\n";
  return result;
}

// -- training steps ---------------------------------------------------------------------------------------------------

/// The batches of a loader, epoch after epoch.
template <class Loader>
class Batches {
 public:
  explicit Batches(Loader& loader) : loader_(loader) {}
  typename Loader::Batch& next() {
    if (at_) ++*at_;
    if (!at_ || *at_ == loader_.end()) {
      at_.reset();
      at_.emplace(loader_.begin());
    }
    return **at_;
  }

 private:
  Loader& loader_;
  std::optional<typename Loader::Iterator> at_;
};

constexpr int kWarmUp = 12, kSteps = 20;

/// Counts steps of a training that has everything: batches from a loader, dropout and batch norm in the network,
/// clipping, a schedule, and the loss looked at. Returns how many allocations of ours there were in kSteps.
template <class Net, class Optimizer, class LossOf>
std::int64_t train(const char* name, Net& net, Optimizer& optimizer, const Tensor& inputs, const Tensor& targets,
                   std::int64_t batch_size, const LossOf& loss_of) {
  using Examples = ad::data::TensorDataset<2>;
  ad::data::DataLoader<Examples> loader(Examples(inputs, targets), [&] {
    ad::data::DataLoaderOptions options;
    options.batch_size = batch_size;
    options.shuffle = true;
    return options;
  }());
  REQUIRE(loader.size() == 8);  // so that epochs end among the steps
  Batches batches(loader);
  ad::optim::CosineAnnealingLR schedule(optimizer, 1000);
  const std::vector<Tensor> parameters = net.parameters();
  ad::memory::trim();  // of what a training before this one has left
  double last = 0;
  const auto step = [&] {
    auto& [x, y] = batches.next();
    optimizer.zero_grad();
    const Tensor loss = loss_of(net(x), y);
    loss.backward();
    ad::optim::clip_grad_norm_(parameters, 1);
    optimizer.step();
    schedule.step();
    last = loss.item<double>();
  };
  for (int i = 0; i < kWarmUp; ++i) step();
  {
    const Counting now;
    for (int i = 0; i < kSteps; ++i) step();
  }
  CHECK(std::isfinite(last));
  std::printf("%s, %d thread(s): %.2f allocations of ours and %.2f inside of the math libraries in a step\n%s", name,
              ad::get_num_threads(), static_cast<double>(total(Owner::ours)) / kSteps,
              static_cast<double>(total(Owner::math)) / kSteps, table(kSteps).c_str());
  std::fflush(stdout);
  return total(Owner::ours);
}

Tensor normal(const ad::Shape& shape) {
  Tensor result = ad::randn(shape);
  ad::eval(result);
  return result;
}
Tensor classes(std::int64_t count, std::int64_t limit) {
  Tensor result = ad::randint(0, limit, {count});
  ad::eval(result);
  return result;
}

ad::optim::SGDOptions momentum() {
  ad::optim::SGDOptions options;
  options.lr = 0.01;
  options.momentum = 0.9;
  return options;
}

nn::Conv2dOptions padded() {
  nn::Conv2dOptions options;
  options.padding = 1;
  return options;
}

Tensor mse(const Tensor& output, const Tensor& target) { return nn::mse_loss(output, target); }
Tensor cross_entropy(const Tensor& output, const Tensor& target) { return nn::cross_entropy(output, target); }

std::int64_t mlp_2_16_16_1() {
  nn::Sequential net(nn::Linear(2, 16), nn::BatchNorm1d(16), nn::ReLU(), nn::Dropout(0.1), nn::Linear(16, 16),
                     nn::ReLU(), nn::Linear(16, 1));
  ad::optim::SGD optimizer(net.parameters(), momentum());
  return train("MLP 2-16-16-1", net, optimizer, normal({256, 2}), normal({256, 1}), 32, mse);
}

std::int64_t mlp_784_256_256_10() {
  nn::Sequential net(nn::Linear(784, 256), nn::BatchNorm1d(256), nn::ReLU(), nn::Dropout(0.1), nn::Linear(256, 256),
                     nn::ReLU(), nn::Linear(256, 10));
  ad::optim::Adam optimizer(net.parameters());
  return train("MLP 784-256-256-10", net, optimizer, normal({512, 784}), classes(512, 10), 64, cross_entropy);
}

std::int64_t mlp_1024() {
  nn::Sequential net(nn::Linear(1024, 1024), nn::BatchNorm1d(1024), nn::ReLU(), nn::Dropout(0.1),
                     nn::Linear(1024, 1024), nn::ReLU(), nn::Linear(1024, 1024));
  ad::optim::Adam optimizer(net.parameters());
  return train("MLP 1024 x 3", net, optimizer, normal({2048, 1024}), classes(2048, 1024), 256, cross_entropy);
}

std::int64_t cnn() {
  nn::Sequential net(nn::Conv2d(1, 32, 3, padded()), nn::BatchNorm2d(32), nn::ReLU(), nn::MaxPool2d(2),
                     nn::Conv2d(32, 64, 3, padded()), nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(),
                     nn::Linear(64 * 7 * 7, 128), nn::ReLU(), nn::Dropout(0.1), nn::Linear(128, 10));
  ad::optim::Adam optimizer(net.parameters());
  return train("CNN", net, optimizer, normal({512, 1, 28, 28}), classes(512, 10), 64, cross_entropy);
}

/// A network between batch norm of the inputs' features and dropout of the outputs: [N, T, features].
template <class Inner>
class Wrapped : public nn::Module<Wrapped<Inner>> {
 public:
  Wrapped(std::int64_t features, Inner inner_) : norm(features), inner(std::move(inner_)), dropout(0.1) {}

  nn::BatchNorm1d norm;
  Inner inner;
  nn::Dropout dropout;

  void members(nn::Members& m) { m("norm", norm)("inner", inner)("dropout", dropout); }
  Tensor forward(const Tensor& x) const {
    const Tensor normal = ad::transpose(norm(ad::transpose(x, 1, 2)), 1, 2);
    if constexpr (std::is_same_v<Inner, ad::bench::Lstm>)
      return dropout(ad::transpose(inner(ad::transpose(normal, 0, 1)), 0, 1));
    else return dropout(inner(normal));
  }
};

std::int64_t lstm() {
  Wrapped<ad::bench::Lstm> net(64, {64, 128});
  ad::optim::Adam optimizer(net.parameters());
  return train("LSTM 64-128", net, optimizer, normal({256, 32, 64}), normal({256, 32, 128}), 32, mse);
}

std::int64_t transformer() {
  Wrapped<ad::bench::EncoderLayer> net(128, {128, 4, 512});
  ad::optim::Adam optimizer(net.parameters());
  return train("transformer layer", net, optimizer, normal({128, 64, 128}), normal({128, 64, 128}), 16, mse);
}

/// Keeps the compiler from leaving an allocation out.
void* volatile escaped;

}  // namespace

TEST_CASE("allocations are counted, each once, and attributed") {
  const auto counted = [](auto allocate) {
    const Counting now;
    allocate();
    return total(Owner::ours);
  };
  CHECK(counted([] {}) == 0);
  CHECK(counted([] { std::free(escaped = std::malloc(10)); }) == 1);
  CHECK(counted([] { std::free(escaped = std::calloc(10, 1)); }) == 1);
  CHECK(counted([] { std::free(escaped = std::aligned_alloc(64, 64)); }) == 1);
  CHECK(counted([] { std::free(escaped = std::realloc(std::malloc(10), 1000)); }) == 2);
  CHECK(counted([] {
          void* block = nullptr;
          CHECK(posix_memalign(&block, 64, 64) == 0);
          std::free(escaped = block);
        }) == 1);
  CHECK(counted([] {
          void* block = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
          munmap(escaped = block, 4096);
        }) == 1);
  CHECK(counted([] { ::operator delete(escaped = ::operator new(10)); }) == 1);
  CHECK(counted([] { ::operator delete[](escaped = ::operator new[](10)); }) == 1);
  CHECK(counted([] { ::operator delete(escaped = ::operator new(10, std::nothrow)); }) == 1);
  CHECK(counted([] {
          ::operator delete (escaped = ::operator new (64, std::align_val_t{64}), std::align_val_t{64});
        }) == 1);
  CHECK(counted([] { escaped = std::vector<int>(100).data(); }) == 1);
  CHECK(counted([] { std::free(escaped = strdup("by the C library, for us")); }) == 1);
  // In a part of the library, and told from what a math library does in its own.
  ad::memory::trim();
  CHECK(counted([] { ad::eval(ad::zeros({1 << 20})); }) > 0);
  INFO(table(1));
  CHECK(table(1).find("adjoint::") != std::string::npos);
  // A convolution seen for the first time: oneDNN makes its primitive.
  const Tensor x = normal({1, 3, 9, 9}), weight = normal({5, 3, 3, 3});
  const Counting now;
  ad::eval(ad::conv2d(x, weight));
  CHECK(total(Owner::math) > 0);
}

TEST_CASE("a training step allocates nothing") {
  const auto check = [](std::int64_t (*count)()) {
    for (const int threads : {1, 2}) {
      ad::set_num_threads(threads);
      ad::manual_seed(1);
      CHECK(count() == 0);
    }
    ad::set_num_threads(1);
  };
  SUBCASE("MLP 2-16-16-1") { check(mlp_2_16_16_1); }
  SUBCASE("MLP 784-256-256-10") { check(mlp_784_256_256_10); }
  SUBCASE("MLP 1024 x 3") { check(mlp_1024); }
  SUBCASE("CNN") { check(cnn); }
  SUBCASE("LSTM") { check(lstm); }
  SUBCASE("transformer layer") { check(transformer); }
}
