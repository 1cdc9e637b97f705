// The forward: each thread a patch of windows, or one window of one channel where no patch fits.
//
// kBlocksAtOnce is how many blocks a multiprocessor must be able to hold, which limits the registers of a thread: as
// many as there can be without spilling any (benchmarks/results/cuda_resources.json).

#pragma once

#include "patches.h"

namespace videosoft {

// Lane i of the lanes at (t, h, w) and `channel`: a window further along W, or a channel further.
template <bool kChannelsLast, typename Index>
struct LanePlace {
  Index w;
  Index channel;

  VIDEOSOFT_DEVICE LanePlace(Index first_window, Index first_channel, int lane)
      : w(kChannelsLast ? first_window : first_window + lane),
        channel(kChannelsLast ? first_channel + lane : first_channel) {
  }
};

// The lanes' outputs; those of windows that are not moderate once more, carefully. `input` and `output` are the part's.
template <
    bool kChannelsLast,
    typename T,
    typename Activation,
    typename Window,
    int kLanes,
    typename A = accumulator_t<T>>
VIDEOSOFT_DEVICE void store_lanes(
    const SoftmaxTerms<A>& terms,
    const Activation& activation,
    const Window& window,
    const T* input,
    const Shape<int32_t>& shape,
    const PatchPlace& place,
    int32_t h,
    int32_t w,
    const WindowSums<A> (&sums)[kLanes],
    T* output
) {
  T pooled[kLanes];
  unsigned careful = 0;
  VIDEOSOFT_UNROLL
  for (int lane = 0; lane < kLanes; ++lane) {
    pooled[lane] = static_cast<T>(Quotient<T>::divide(sums[lane].moment, sums[lane].total));
    careful |= sums[lane].is_moderate(terms) ? 0u : 1u << lane;
  }
  T* to = output + shape.find_output(place.t, h, w) + place.channel;
  store_numbers(to, pooled);
  if (careful != 0) {
    VIDEOSOFT_NO_UNROLL
    for (int lane = 0; lane < kLanes; ++lane) {
      if ((careful >> lane & 1) != 0) {
        const LanePlace<kChannelsLast, int32_t> here(w, place.channel, lane);
        const Box<int32_t> cells = find_cells(window, shape, place.t, h, here.w);
        const auto active = activation.template find<1>(place.part, here.channel);
        const CarefulWindow<A> found(terms.careful, active, input + here.channel, shape, cells);
        to[lane] = static_cast<T>(found.pool(terms.careful));
      }
    }
  }
}

// Overlapping windows.
template <typename T, typename Window, typename Patch, typename Activation>
struct PoolPatches {
  using A = accumulator_t<T>;
  static constexpr int kBlocksAtOnce = (Window::kernel(0) > 1 ? 5 : 6) - (Activation::kIsIdentity ? 0 : 1);
  SoftmaxTerms<A> terms;
  Shape<int32_t> shape;
  PatchGrid<Patch> grid;
  const T* input;
  T* output;
  Activation activation;

  VIDEOSOFT_DEVICE void operator()(int32_t item) const {
    const PatchPlace place = grid.locate(item);
    const T* from = input + place.part * shape.input_part;
    T* to = output + place.part * shape.output_part;
    Patch::sum(
        terms,
        activation.template find<Patch::kChannels>(place.part, place.channel),
        from + place.channel,
        shape,
        place.t,
        place.h,
        place.w,
        shape.output[2],
        [&](int row, int32_t w, const WindowSums<A>(&sums)[Patch::kLanes]) {
          if (place.h + row < shape.output[1]) {
            store_lanes<Patch::kChannelsLast>(
                terms, activation, Window(), from, shape, place, place.h + row, w, sums, to
            );
          }
        }
    );
  }
};

// Windows that cover the input side by side.
template <typename T, typename Window, typename Patch, typename Activation>
struct PoolSeparatePatches {
  using A = accumulator_t<T>;
  static constexpr int kBlocksAtOnce = Activation::kIsIdentity ? 8 : Patch::kSegments * Patch::kLength > 32 ? 6 : 7;
  SoftmaxTerms<A> terms;
  Shape<int32_t> shape;
  PatchGrid<Patch> grid;
  const T* input;
  T* output;
  Activation activation;

  VIDEOSOFT_DEVICE void operator()(int32_t item) const {
    const PatchPlace place = grid.locate(item);
    const T* from = input + place.part * shape.input_part;
    const Patch patch(from + place.channel, shape, place.t, place.h, place.w);
    WindowSums<A> sums[Patch::kLanes];
    patch.sum(terms, activation.template find<Patch::kChannels>(place.part, place.channel), sums);
    T* to = output + place.part * shape.output_part;
    store_lanes<Patch::kChannelsLast>(terms, activation, Window(), from, shape, place, place.h, place.w, sums, to);
  }
};

// Any window, one channel of one window a thread.
template <typename T, typename Index, typename Activation>
struct PoolWindows {
  using A = accumulator_t<T>;
  static constexpr int kBlocksAtOnce = 8;
  SoftmaxTerms<A> terms;
  Shape<Index> shape;
  DynamicWindow<Index> window;
  Divisor<Index> output_channels;
  Divisor<Index> output_sizes[3];
  const T* input;
  T* output;
  Activation activation;

  VIDEOSOFT_DEVICE void operator()(Index item) const {
    const Index at = item;
    const Index channel = output_channels.split(item);
    const Index w = output_sizes[2].split(item);
    const Index h = output_sizes[1].split(item);
    const Index t = output_sizes[0].split(item);
    const T* from = input + item * shape.input_part + channel;
    const Box<Index> cells = find_cells(window, shape, t, h, w);
    const auto active = activation.template find<1>(item, channel);
    const WindowSums<A> sums = sum_window<T>(terms, active, from, shape, cells);
    const A pooled = sums.is_moderate(terms)
                         ? Quotient<T>::divide(sums.moment, sums.total)
                         : CarefulWindow<A>(terms.careful, active, from, shape, cells).pool(terms.careful);
    output[at] = static_cast<T>(pooled);
  }
};

} // namespace videosoft
