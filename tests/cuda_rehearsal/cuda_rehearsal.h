// In the place of csrc/cuda/launch.h: runs the kernels on the host, thread after thread, so that the operator's tests
// run over the very index arithmetic of the GPU. What it cannot show is what depends on threads at once: barriers that
// are missing, and speed.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

namespace videosoft {

using Stream = void*;

constexpr int kThreads = 64; // fewer than on the GPU, so that small tiles keep several of them busy more than once
// So little that tiles are small, or do not fit at all, where the rehearsal asks for it.
#if !defined(VIDEOSOFT_SHARED_BYTES)
#define VIDEOSOFT_SHARED_BYTES (64 * 1024)
#endif
constexpr int64_t kSharedBytes = VIDEOSOFT_SHARED_BYTES;

// Appends the names of the kernels that ran to the file VIDEOSOFT_REHEARSAL_LOG when the process ends.
inline void note_kernel(const char* name) {
  struct Log {
    std::set<std::string> names;
    ~Log() {
      const char* path = std::getenv("VIDEOSOFT_REHEARSAL_LOG");
      std::FILE* file = path != nullptr ? std::fopen(path, "a") : nullptr;
      if (file != nullptr) {
        for (const std::string& each : names) {
          std::fprintf(file, "%s\n", each.c_str());
        }
        std::fclose(file);
      }
    }
  };
  static Log log;
  log.names.insert(name);
}

template <typename Index, typename Kernel>
void launch_items(const Kernel& kernel, int64_t num_items, Stream) {
  note_kernel(__PRETTY_FUNCTION__);
  for (int64_t item = 0; item < num_items; ++item) {
    kernel(static_cast<Index>(item));
  }
}

template <typename Index, typename Kernel>
void launch_tiles(const Kernel& kernel, int64_t num_bytes, Stream) {
  note_kernel(__PRETTY_FUNCTION__);
  struct alignas(16) Chunk {
    unsigned char bytes[16];
  };
  std::vector<Chunk> memory((num_bytes + 15) / 16);
  for (Index block = 0; block < kernel.tiling.num_blocks; ++block) {
    // All ones is NaN: what is read before it is written shows.
    std::fill_n(memory.data()->bytes, memory.size() * sizeof(Chunk), static_cast<unsigned char>(0xff));
    const auto tile = kernel.locate(block);
    Index last_careful = -1;
    for (Index step = tile.frames.begin; step < tile.frames.end; ++step) {
      bool met_careful = false;
      for (int thread = kThreads - 1; thread >= 0; --thread) {
        met_careful |= kernel.find_slopes(tile, step, thread, kThreads, memory.data());
      }
      last_careful = met_careful ? step : last_careful;
      const bool has_careful = last_careful >= 0 && step - last_careful < kernel.tiling.slots;
      for (int thread = 0; thread < kThreads; ++thread) {
        kernel.differentiate_cells(tile, step, has_careful, thread, kThreads, memory.data());
      }
    }
  }
}

} // namespace videosoft
