#include "nn/registry.hpp"

#include <map>
#include <mutex>

namespace adjoint::nn::registry {

namespace {

struct Registry {
  std::mutex mutex;
  std::map<std::uintptr_t, Kind> objects;
};

// Never destroyed: modules may be static objects, too.
Registry& the_registry() {
  static Registry& registry = *new Registry;
  return registry;
}

std::uintptr_t address_of(const void* object) noexcept { return reinterpret_cast<std::uintptr_t>(object); }

}  // namespace

void add(const void* object, Kind kind) {
  Registry& registry = the_registry();
  const std::lock_guard lock(registry.mutex);
  registry.objects.emplace(address_of(object), kind);
}

void move(const void* from, const void* to) noexcept {
  Registry& registry = the_registry();
  const std::lock_guard lock(registry.mutex);
  auto node = registry.objects.extract(address_of(from));
  if (node.empty()) return;  // moved from before
  node.key() = address_of(to);
  registry.objects.insert(std::move(node));
}

void remove(const void* object) noexcept {
  Registry& registry = the_registry();
  const std::lock_guard lock(registry.mutex);
  registry.objects.erase(address_of(object));
}

std::vector<Entry> inside(const void* begin, std::size_t size) {
  Registry& registry = the_registry();
  const std::lock_guard lock(registry.mutex);
  std::vector<Entry> found;
  const auto end = registry.objects.lower_bound(address_of(begin) + size);
  for (auto i = registry.objects.lower_bound(address_of(begin)); i != end; ++i)
    found.push_back({reinterpret_cast<const void*>(i->first), i->second});
  return found;
}

}  // namespace adjoint::nn::registry
