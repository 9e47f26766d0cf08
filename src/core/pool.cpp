#include "core/pool.hpp"

namespace adjoint::detail {

void* Pool::allocate_from_system(std::size_t bytes) { return ::operator new (bytes, std::align_val_t{64}); }
void Pool::free_to_system(void* block) noexcept { ::operator delete (block, std::align_val_t{64}); }

// Empties the lists when their thread ends; blocks freed even later (by objects of static lifetime) are not kept.
struct Pool::Emptying {
  ~Emptying() {
    Pool& pool = of_thread;
    pool.bytes_ = kMostBytes;
    for (Block*& first : pool.first_)
      while (Block* block = first) {
        first = block->next;
        free_to_system(block);
      }
  }
};

void Pool::empty_at_end_of_thread() {
  thread_local Emptying emptying;
  static_cast<void>(emptying);
}

}  // namespace adjoint::detail
