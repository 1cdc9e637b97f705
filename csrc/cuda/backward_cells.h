// The backward where the windows around a cell are too many for shared memory: each thread one cell, and every window
// that holds it found anew.

#pragma once

#include "softmax.h"

namespace videosoft {

template <typename T, typename Index, typename Activation>
struct DifferentiateCells {
  using A = accumulator_t<T>;
  static constexpr int kBlocksAtOnce = 4;
  SoftmaxTerms<A> terms;
  Shape<Index> shape;
  DynamicWindow<Index> window;
  Divisor<Index> input_channels;
  Divisor<Index> input_sizes[3];
  const T* grad_output;
  const T* input;
  T* grad_input;
  Activation activation;

  VIDEOSOFT_DEVICE void operator()(Index item) const {
    const Index at = item;
    const Index channel = input_channels.split(item);
    const Index cell_w = input_sizes[2].split(item);
    const Index cell_h = input_sizes[1].split(item);
    const Index cell_t = input_sizes[0].split(item);
    const T* from = input + item * shape.input_part + channel;
    const T* upstream = grad_output + item * shape.output_part + channel;
    const Range<Index> frames = find_windows(window, shape, 0, Range<Index>{cell_t, cell_t + 1});
    const Range<Index> rows = find_windows(window, shape, 1, Range<Index>{cell_h, cell_h + 1});
    const Range<Index> columns = find_windows(window, shape, 2, Range<Index>{cell_w, cell_w + 1});
    const auto active = activation.template find<1>(item, channel);
    const auto find_cell = [&] { return active.apply(static_cast<A>(input[at])); };
    A sum = 0;
    for (Index t = frames.begin; t < frames.end; ++t) {
      for (Index h = rows.begin; h < rows.end; ++h) {
        for (Index w = columns.begin; w < columns.end; ++w) {
          const CarefulWindow<A> found(terms.careful, active, from, shape, find_cells(window, shape, t, h, w));
          const Slope<A> slope = found.find_slope(static_cast<A>(upstream[shape.find_output(t, h, w)]));
          sum += differentiate_carefully(terms, find_cell(), found.centre, slope);
        }
      }
    }
    grad_input[at] = static_cast<T>(active.chain(find_cell(), sum));
  }
};

} // namespace videosoft
