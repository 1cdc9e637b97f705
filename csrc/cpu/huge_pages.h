// Large results in huge pages.
//
// The C library maps large blocks afresh for every call, and the system clears and enters them page by page when they
// are first written: 51 MB in pages of 4 KiB cost 22 to 30 ms where the pooling itself takes 5, in pages of 2 MiB 6.5
// (AMD EPYC, one thread). A kernel writes every byte of its result, so nothing is wasted.

#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <torch/csrc/stable/tensor.h>

#include <cstdint>

namespace videosoft {

// Asks for huge pages, where the system grants them on request; what it answers does not matter.
inline void ask_for_huge_pages([[maybe_unused]] torch::stable::Tensor& result) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr int64_t kSmallest = int64_t{1} << 22;
  constexpr uintptr_t kPage = 1 << 16; // the largest that Linux has, on any processor
  const int64_t num_bytes = result.numel() * static_cast<int64_t>(result.element_size());
  if (num_bytes < kSmallest) {
    return;
  }
  const auto begin = reinterpret_cast<uintptr_t>(result.mutable_data_ptr());
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage;
  const uintptr_t last = (begin + static_cast<uintptr_t>(num_bytes)) / kPage * kPage;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
}

} // namespace videosoft
