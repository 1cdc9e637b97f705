// Running kernels on the GPU: one thread an item, or one block a tile.

#pragma once

#include <torch/csrc/stable/macros.h>

#include <cuda_runtime.h>

#include <cstdint>

namespace videosoft {

using Stream = cudaStream_t;

constexpr int kThreads = 128;
// Every GPU since 7.5 gives a block this much.
constexpr int64_t kSharedBytes = 64 * 1024;
// Without being asked for it, this much.
constexpr int64_t kSharedBytesUnasked = 48 * 1024;

template <typename Index, typename Kernel>
__global__ void __launch_bounds__(kThreads, Kernel::kBlocksAtOnce) run_items(
    const __grid_constant__ Kernel kernel, int64_t num_items
) {
  const int64_t item = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (item < num_items) {
    kernel(static_cast<Index>(item));
  }
}

template <typename Index, typename Kernel>
__global__ void __launch_bounds__(kThreads, Kernel::kBlocksAtOnce) run_tiles(const __grid_constant__ Kernel kernel) {
  extern __shared__ __align__(16) unsigned char memory[];
  const int thread = static_cast<int>(threadIdx.x);
  const auto tile = kernel.locate(static_cast<Index>(blockIdx.x));
  Index last_careful = -1;
  for (Index step = tile.frames.begin; step < tile.frames.end; ++step) {
    const bool met_careful = kernel.find_slopes(tile, step, thread, kThreads, memory);
    if (__syncthreads_or(met_careful)) {
      last_careful = step;
    }
    // What a step finds stays in shared memory for as many steps as there are slots, at most.
    const bool has_careful = last_careful >= 0 && step - last_careful < kernel.tiling.slots;
    kernel.differentiate_cells(tile, step, has_careful, thread, kThreads, memory);
  }
}

template <typename Index, typename Kernel>
void launch_items(const Kernel& kernel, int64_t num_items, Stream stream) {
  const int64_t num_blocks = (num_items + kThreads - 1) / kThreads;
  run_items<Index><<<static_cast<unsigned>(num_blocks), kThreads, 0, stream>>>(kernel, num_items);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename Index, typename Kernel>
void launch_tiles(const Kernel& kernel, int64_t num_bytes, Stream stream) {
  if (num_bytes > kSharedBytesUnasked) {
    STD_CUDA_CHECK(cudaFuncSetAttribute(
        run_tiles<Index, Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(num_bytes)
    ));
  }
  const auto num_blocks = static_cast<unsigned>(kernel.tiling.num_blocks);
  run_tiles<Index><<<num_blocks, kThreads, static_cast<size_t>(num_bytes), stream>>>(kernel);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

} // namespace videosoft
