// Memory for sums.

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

namespace videosoft {

// Zeros, aligned to the widest vector: accesses that cross cache lines cost twice.
template <typename A>
class Buffer {
 public:
  explicit Buffer(int64_t size) : numbers_(static_cast<A*>(::operator new(size * sizeof(A), std::align_val_t{64}))) {
    std::fill(numbers_.get(), numbers_.get() + size, A(0));
  }

  A* data() {
    return numbers_.get();
  }

 private:
  struct Free {
    void operator()(A* numbers) const {
      ::operator delete(numbers, std::align_val_t{64});
    }
  };
  std::unique_ptr<A, Free> numbers_;
};

} // namespace videosoft
