// The backward of windows that cover the input side by side: a thread reads the cells of its windows once and writes
// their gradients, which nobody else does.

#pragma once

#include "forward.h"

namespace videosoft {

template <typename T, typename Window, typename Patch, typename Activation>
struct DifferentiateSeparatePatches {
  using A = accumulator_t<T>;
  static constexpr int kBlocksAtOnce =
      (Patch::kSegments * Patch::kLength > 32 ? 3 : 5) - (Activation::kIsIdentity ? 0 : 1);
  SoftmaxTerms<A> terms;
  Shape<int32_t> shape;
  PatchGrid<Patch> grid;
  const T* grad_output;
  const T* input;
  T* grad_input;
  Activation activation;

  VIDEOSOFT_DEVICE void operator()(int32_t item) const {
    const PatchPlace place = grid.locate(item);
    const T* from = input + place.part * shape.input_part;
    const T* upstream = grad_output + place.part * shape.output_part;
    T* to = grad_input + place.part * shape.input_part;
    T gradients[Patch::kLanes];
    load_numbers(upstream + shape.find_output(place.t, place.h, place.w) + place.channel, gradients);
    const Patch patch(from + place.channel, shape, place.t, place.h, place.w);
    const auto active = activation.template find<Patch::kChannels>(place.part, place.channel);
    WindowSums<A> sums[Patch::kLanes];
    patch.sum(terms, active, sums);
    Slope<A> slopes[Patch::kLanes];
    unsigned careful = 0;
    VIDEOSOFT_UNROLL
    for (int lane = 0; lane < Patch::kLanes; ++lane) {
      const A gradient = static_cast<A>(gradients[lane]);
      slopes[lane] = find_slope<T>(terms, sums[lane], gradient);
      careful |= sums[lane].is_moderate(terms) & is_moderate(terms, gradient) ? 0u : 1u << lane;
    }
    VIDEOSOFT_UNROLL
    for (int segment = 0; segment < Patch::kSegments; ++segment) {
      T found[Patch::kLength];
      VIDEOSOFT_UNROLL
      for (int i = 0; i < Patch::kLength; ++i) {
        const int lane = i / Patch::kPerLane;
        const A cell = patch.apply(active, segment, i);
        found[i] = static_cast<T>(active.chain(cell, differentiate<T>(terms, cell, slopes[lane]), lane));
      }
      store_numbers(to + Patch::find_segment(shape, segment, place.t, place.h, place.w) + place.channel, found);
    }
    if (careful != 0) {
      VIDEOSOFT_NO_UNROLL
      for (int lane = 0; lane < Patch::kLanes; ++lane) {
        if ((careful >> lane & 1) != 0) {
          differentiate_lane(place, lane, upstream, from, to);
        }
      }
    }
  }

 private:
  VIDEOSOFT_DEVICE void differentiate_lane(
      const PatchPlace& place, int lane, const T* upstream, const T* from, T* to
  ) const {
    const LanePlace<Patch::kChannelsLast, int32_t> here(place.w, place.channel, lane);
    const Box<int32_t> cells = find_cells(Window(), shape, place.t, place.h, here.w);
    const auto active = activation.template find<1>(place.part, here.channel);
    const CarefulWindow<A> window(terms.careful, active, from + here.channel, shape, cells);
    const T gradient = upstream[shape.find_output(place.t, place.h, here.w) + here.channel];
    const Slope<A> slope = window.find_slope(static_cast<A>(gradient));
    for_cells(shape, cells, [&](int32_t cell) {
      const A x = active.apply(static_cast<A>(from[cell + here.channel]));
      const A gradient_of_cell = active.chain(x, differentiate_carefully(terms, x, window.centre, slope));
      to[cell + here.channel] = static_cast<T>(gradient_of_cell);
    });
  }
};

} // namespace videosoft
