// Where the parameters, buffers and modules of the process lie, in the order of their addresses: what a module asks
// to find those inside of itself that its members() forgot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace adjoint::nn::registry {

enum class Kind : std::uint8_t { parameter, buffer, module };

/// An OwnedCell or a ModuleBase.
struct Entry {
  const void* object;
  Kind kind;
};

/// No effect when the object is known.
void add(const void* object, Kind kind);
/// `to` takes the place of `from`, which is forgotten. Allocates nothing.
void move(const void* from, const void* to) noexcept;
void remove(const void* object) noexcept;
/// The objects in [begin, begin + size), in order.
std::vector<Entry> inside(const void* begin, std::size_t size);

}  // namespace adjoint::nn::registry
