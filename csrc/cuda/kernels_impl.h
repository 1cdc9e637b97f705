// The choice of a kernel: patches for the common windows where rows or channels are whole vectors, and kernels for any
// window else. Included by kernels_<type>.cu and relu_kernels_<type>.cu.

#pragma once

#include "backward_cells.h"
#include "backward_patches.h"
#include "backward_tiles.h"
#include "forward.h"
#include "kernels.h"
#include "tiling.h"

#if defined(__CUDACC__)
#include "launch.h"
#else
#include <cuda_rehearsal.h>
#endif

#include <cstdint>
#include <limits>

namespace videosoft {

// Where 32-bit indices end. The rehearsal lets them end early, to run the others too.
#if !defined(VIDEOSOFT_LARGEST_INDEX)
#define VIDEOSOFT_LARGEST_INDEX std::numeric_limits<int32_t>::max()
#endif
constexpr int64_t kLargestIndex = VIDEOSOFT_LARGEST_INDEX;

using PairWindow2d = StaticWindow<false, 2, 2, 0>;
using PairWindow3d = StaticWindow<true, 2, 2, 0>;
using StemWindow2d = StaticWindow<false, 3, 2, 1>;
using StemWindow3d = StaticWindow<true, 3, 2, 1>;

template <typename T>
constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));

template <typename T, typename Window, bool kChannelsLast>
using SeparatePatchOf = SeparatePatch<T, Window, kChannelsLast, kChannelsLast ? kVector<T> : 4>;

template <typename T, typename Window, bool kChannelsLast>
struct OverlappingPatch {
  using Type = ContiguousPatch<T, Window, 2, 4>;
};
template <typename T, typename Window>
struct OverlappingPatch<T, Window, true> {
  using Type = ChannelsLastPatch<T, Window, 1, 4, kVector<T>>;
};

// Windows that do not reach along T: frames are samples (channels last) or planes of their own.
inline Geometry fold_frames(const Geometry& geometry) {
  Geometry folded = geometry;
  if (geometry.kernel[0] == 1 && geometry.stride[0] == 1) {
    folded.batch *= geometry.input[0];
    folded.input[0] = 1;
    folded.output[0] = 1;
  }
  return folded;
}

template <typename T>
bool is_aligned(const T* numbers) {
  return reinterpret_cast<uintptr_t>(numbers) % kVectorBytes == 0;
}

inline int64_t count_parts(const Geometry& geometry, bool channels_last) {
  return channels_last ? geometry.batch : geometry.batch * geometry.channels;
}

// Whether an index of 32 bits finds everything in a part, with room for what windows reach beyond it.
inline bool has_small_parts(const Geometry& geometry, bool channels_last) {
  int64_t reach = channels_last ? geometry.channels : 1;
  for (int dim = 0; dim < 3; ++dim) {
    const int64_t span = (geometry.output[dim] + 1) * geometry.stride[dim] + geometry.kernel[dim];
    reach *= std::max(span, geometry.input[dim]);
    if (reach > kLargestIndex) {
      return false;
    }
  }
  return true;
}

template <typename Patch>
bool has_whole_vectors(const Geometry& geometry, int64_t stride) {
  if (Patch::kChannelsLast) {
    return geometry.channels % Patch::kLanes == 0;
  }
  return geometry.output[2] % Patch::kWindows == 0 && geometry.output[2] * stride == geometry.input[2];
}

inline bool covers_input(const Geometry& geometry) {
  for (int dim = 0; dim < 3; ++dim) {
    if (geometry.output[dim] * geometry.stride[dim] != geometry.input[dim]) {
      return false;
    }
  }
  return true;
}

// What every launch is made of.
template <typename T, template <typename, typename> class Activation>
struct Launch {
  Pooling pooling;
  SoftmaxTerms<accumulator_t<T>> terms;
  const T* grad_output; // null in the forward
  const T* input;
  T* result;
  Scaling<accumulator_t<T>> scaling;
  int64_t parts_per_channel;
  Stream stream;

  Launch(
      const Pooling& asked,
      const Scaling<accumulator_t<T>>& scaling_,
      const T* grad_output_,
      const T* input_,
      T* result_,
      void* stream_
  )
      : pooling(asked),
        terms(asked.temperature, asked.geometry.num_cells(), asked.exact_gradient, kLargestExponent<T>),
        grad_output(grad_output_),
        input(input_),
        result(result_),
        scaling(scaling_),
        stream(static_cast<Stream>(stream_)) {
    pooling.geometry = fold_frames(asked.geometry);
    parts_per_channel = asked.geometry.input[0] / pooling.geometry.input[0];
  }

  const Geometry& geometry() const {
    return pooling.geometry;
  }
  int64_t num_parts() const {
    return count_parts(geometry(), pooling.channels_last);
  }
  bool is_all_aligned() const {
    return is_aligned(grad_output) && is_aligned(input) && is_aligned(result) && is_aligned(scaling.scale) &&
           is_aligned(scaling.shift);
  }

  template <typename Index>
  using ActivationOf = Activation<accumulator_t<T>, Index>;

  template <typename Index>
  ActivationOf<Index> create_activation() const {
    if constexpr (ActivationOf<Index>::kIsIdentity) {
      return {};
    } else {
      const bool is_last = pooling.channels_last;
      return {
          scaling.scale,
          scaling.shift,
          Divisor<Index>(is_last ? 1 : parts_per_channel),
          Divisor<Index>(is_last ? 1 : geometry().channels)
      };
    }
  }

  template <typename Window, typename Patch>
  bool fits_patches() const {
    return Window::fits(geometry()) && Patch::kChannelsLast == pooling.channels_last && is_all_aligned() &&
           has_whole_vectors<Patch>(geometry(), Window::stride(2)) &&
           has_small_parts(geometry(), pooling.channels_last);
  }
};

// The kernels for patches return false where they do not fit.

template <typename Window, bool kChannelsLast, typename T, template <typename, typename> class Activation>
bool pool_separate_patches(const Launch<T, Activation>& launch) {
  using Patch = SeparatePatchOf<T, Window, kChannelsLast>;
  if (!launch.template fits_patches<Window, Patch>() || !covers_input(launch.geometry())) {
    return false;
  }
  const Shape<int32_t> shape(launch.geometry(), kChannelsLast);
  const PatchGrid<Patch> grid(launch.geometry(), shape, launch.num_parts());
  if (grid.num_items() > kLargestIndex) {
    return false;
  }
  if (launch.grad_output == nullptr) {
    const PoolSeparatePatches<T, Window, Patch, Activation<accumulator_t<T>, int32_t>> kernel{
        launch.terms, shape, grid, launch.input, launch.result, launch.template create_activation<int32_t>()
    };
    launch_items<int32_t>(kernel, grid.num_items(), launch.stream);
  } else {
    const DifferentiateSeparatePatches<T, Window, Patch, Activation<accumulator_t<T>, int32_t>> kernel{
        launch.terms,
        shape,
        grid,
        launch.grad_output,
        launch.input,
        launch.result,
        launch.template create_activation<int32_t>()
    };
    launch_items<int32_t>(kernel, grid.num_items(), launch.stream);
  }
  return true;
}

template <typename Window, bool kChannelsLast, typename T, template <typename, typename> class Activation>
bool pool_overlapping_patches(const Launch<T, Activation>& launch) {
  using Patch = typename OverlappingPatch<T, Window, kChannelsLast>::Type;
  if (!launch.template fits_patches<Window, Patch>()) {
    return false;
  }
  const Shape<int32_t> shape(launch.geometry(), kChannelsLast);
  const PatchGrid<Patch> grid(launch.geometry(), shape, launch.num_parts());
  if (grid.num_items() > kLargestIndex) {
    return false;
  }
  const PoolPatches<T, Window, Patch, Activation<accumulator_t<T>, int32_t>> kernel{
      launch.terms, shape, grid, launch.input, launch.result, launch.template create_activation<int32_t>()
  };
  launch_items<int32_t>(kernel, grid.num_items(), launch.stream);
  return true;
}

template <typename Window, typename Patch, typename Index, typename T, template <typename, typename> class Activation>
bool launch_tiled(const Launch<T, Activation>& launch, bool has_whole_rows) {
  using A = accumulator_t<T>;
  const TileSizes sizes = choose_tiles(
      launch.geometry(),
      launch.pooling.channels_last,
      has_whole_rows,
      kVector<T>,
      launch.num_parts(),
      [](int64_t capacity) { return SlopeStore<A>::count_bytes(capacity) <= kSharedBytes; }
  );
  if (sizes.num_blocks == 0 || sizes.num_blocks > kLargestIndex) {
    return false;
  }
  const DifferentiateTiles<T, Window, Patch, Index, Activation<A, Index>> kernel{
      launch.terms,
      Shape<Index>(launch.geometry(), launch.pooling.channels_last),
      Window::create(launch.geometry()),
      create_tiling<Index>(sizes),
      launch.grad_output,
      launch.input,
      launch.result,
      launch.template create_activation<Index>()
  };
  launch_tiles<Index>(kernel, SlopeStore<A>::count_bytes(sizes.capacity()), launch.stream);
  return true;
}

template <typename Window, bool kChannelsLast, typename T, template <typename, typename> class Activation>
bool differentiate_overlapping_patches(const Launch<T, Activation>& launch) {
  using Patch = typename OverlappingPatch<T, Window, kChannelsLast>::Type;
  return launch.template fits_patches<Window, Patch>() && launch_tiled<Window, Patch, int32_t>(launch, !kChannelsLast);
}

template <typename Index>
void fill_divisors(
    int64_t channels, const std::array<int64_t, 3>& size, Divisor<Index>& by_channels, Divisor<Index> (&by_size)[3]
) {
  by_channels = Divisor<Index>(channels);
  for (int dim = 0; dim < 3; ++dim) {
    by_size[dim] = Divisor<Index>(size[dim]);
  }
}

template <typename Index, typename T, template <typename, typename> class Activation>
void pool_windows(const Launch<T, Activation>& launch) {
  const Shape<Index> shape(launch.geometry(), launch.pooling.channels_last);
  PoolWindows<T, Index, Activation<accumulator_t<T>, Index>> kernel{
      launch.terms,
      shape,
      DynamicWindow<Index>::create(launch.geometry()),
      {},
      {},
      launch.input,
      launch.result,
      launch.template create_activation<Index>()
  };
  fill_divisors(shape.channels, launch.geometry().output, kernel.output_channels, kernel.output_sizes);
  launch_items<Index>(kernel, launch.num_parts() * shape.output_part, launch.stream);
}

template <typename Index, typename T, template <typename, typename> class Activation>
void differentiate_any(const Launch<T, Activation>& launch) {
  if (launch_tiled<DynamicWindow<Index>, SingleWindow, Index>(launch, false)) {
    return;
  }
  const Shape<Index> shape(launch.geometry(), launch.pooling.channels_last);
  DifferentiateCells<T, Index, Activation<accumulator_t<T>, Index>> kernel{
      launch.terms,
      shape,
      DynamicWindow<Index>::create(launch.geometry()),
      {},
      {},
      launch.grad_output,
      launch.input,
      launch.result,
      launch.template create_activation<Index>()
  };
  fill_divisors(shape.channels, launch.geometry().input, kernel.input_channels, kernel.input_sizes);
  launch_items<Index>(kernel, launch.num_parts() * shape.input_part, launch.stream);
}

// float64 is for checks, not for training: it has no patches.
template <typename T>
constexpr bool kHasPatches = !std::is_same<T, double>::value;

template <typename T, template <typename, typename> class Activation>
void pool_all(const Launch<T, Activation>& launch) {
  if constexpr (kHasPatches<T>) {
    if (pool_separate_patches<PairWindow2d, false>(launch) || pool_separate_patches<PairWindow2d, true>(launch) ||
        pool_separate_patches<PairWindow3d, false>(launch) || pool_separate_patches<PairWindow3d, true>(launch) ||
        pool_overlapping_patches<StemWindow2d, false>(launch) || pool_overlapping_patches<StemWindow2d, true>(launch) ||
        pool_overlapping_patches<StemWindow3d, false>(launch) || pool_overlapping_patches<StemWindow3d, true>(launch)) {
      return;
    }
  }
  const bool channels_last = launch.pooling.channels_last;
  const int64_t num_cells = launch.num_parts() * Shape<int64_t>(launch.geometry(), channels_last).output_part;
  if (has_small_parts(launch.geometry(), channels_last) && num_cells <= kLargestIndex) {
    pool_windows<int32_t>(launch);
  } else {
    pool_windows<int64_t>(launch);
  }
}

template <typename T, template <typename, typename> class Activation>
void differentiate_all(const Launch<T, Activation>& launch) {
  if constexpr (kHasPatches<T>) {
    if (pool_separate_patches<PairWindow2d, false>(launch) || pool_separate_patches<PairWindow2d, true>(launch) ||
        pool_separate_patches<PairWindow3d, false>(launch) || pool_separate_patches<PairWindow3d, true>(launch) ||
        differentiate_overlapping_patches<StemWindow2d, false>(launch) ||
        differentiate_overlapping_patches<StemWindow2d, true>(launch) ||
        differentiate_overlapping_patches<StemWindow3d, false>(launch) ||
        differentiate_overlapping_patches<StemWindow3d, true>(launch)) {
      return;
    }
  }
  const bool channels_last = launch.pooling.channels_last;
  const int64_t num_cells = launch.num_parts() * Shape<int64_t>(launch.geometry(), channels_last).input_part;
  if (has_small_parts(launch.geometry(), channels_last) && num_cells <= kLargestIndex) {
    differentiate_any<int32_t>(launch);
  } else {
    differentiate_any<int64_t>(launch);
  }
}

template <typename T>
void pool(const Pooling& pooling, const T* input, T* output, void* stream) {
  pool_all(Launch<T, Identity>(pooling, {}, nullptr, input, output, stream));
}

template <typename T>
void differentiate(const Pooling& pooling, const T* grad_output, const T* input, T* grad_input, void* stream) {
  differentiate_all(Launch<T, Identity>(pooling, {}, grad_output, input, grad_input, stream));
}

template <typename T>
void pool_relu(
    const Pooling& pooling, const Scaling<accumulator_t<T>>& scaling, const T* input, T* output, void* stream
) {
  pool_all(Launch<T, ScaledRelu>(pooling, scaling, nullptr, input, output, stream));
}

template <typename T>
void differentiate_relu(
    const Pooling& pooling,
    const Scaling<accumulator_t<T>>& scaling,
    const T* grad_output,
    const T* input,
    T* grad_input,
    void* stream
) {
  differentiate_all(Launch<T, ScaledRelu>(pooling, scaling, grad_output, input, grad_input, stream));
}

} // namespace videosoft
