// SoftPool on tiles of lanes, window by window with its maximum subtracted: right for every input, also where rows
// (row_pooling.h) would leave the range of the type, and several times slower.
//
// A tile is a run of output cells that lie side by side in memory: cells of one row (contiguous layout) or channels of
// one position (channels last). All arithmetic runs over its lanes. The input comes in runs: the part of one input row
// under the tile, or the tile's channels of one input cell. A run is converted to the accumulator's type and split into
// `step` phases, so that the i-th cell of all windows is a stretch of neighbouring lanes: with stride 2,
//
//     input   a b c d e f g     ->    phase 0: a c e g    phase 1: b d f
//     window cells 0, 1, 2 of lanes 0, 1, 2:  a c e,  b d f,  c e g
//
// Positions outside the input hold -inf, which has weight 0: just what padding means.

#pragma once

#include "../geometry.h"
#include "../softmax_constants.h"
#include "lane_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace videosoft {

constexpr int kLanes = 32;
constexpr int64_t kMaxStoredCells = 64; // larger windows are read and exponentiated again instead of kept

template <typename A>
struct Softmax {
  SoftmaxConstants<A> constants;
  bool exact_gradient;

  Softmax(double b, int64_t num_cells, bool exact)
      : constants(create_softmax_constants<A>(b, num_cells)), exact_gradient(exact) {
  }
};

inline int64_t round_up(int64_t lanes) {
  return (lanes + kBlock - 1) / kBlock * kBlock;
}

// How tiles and runs lie in memory.
struct Layout {
  bool channels_last;
  int64_t channels; // per cell in memory: 1 in the contiguous layout, where a plane is one channel
  int64_t step;     // positions between two lanes of a run
  int64_t cells_per_run;
  int64_t runs; // per window, at most
  int64_t phases;
  int64_t phase_width;
  std::vector<int64_t> lane_offsets; // where lane 0 of each cell lies in a run

  Layout(const Geometry& geometry, bool channels_last_) : channels_last(channels_last_) {
    channels = channels_last ? geometry.channels : 1;
    step = channels_last ? 1 : geometry.stride[2];
    cells_per_run = channels_last ? 1 : geometry.kernel[2];
    runs = geometry.num_cells() / cells_per_run;
    phases = std::min(step, cells_per_run);
    phase_width = round_up(kLanes + (cells_per_run - 1) / step);
    for (int64_t cell = 0; cell < cells_per_run; ++cell) {
      lane_offsets.push_back(cell % step * phase_width + cell / step);
    }
  }

  int64_t run_size() const {
    return phases * phase_width;
  }
};

struct Tile {
  int64_t position[3];   // of the output cell of lane 0
  int64_t first_channel; // of lane 0; 0 in the contiguous layout
  int lanes;

  int width() const {
    return static_cast<int>(round_up(lanes));
  }
};

struct Cell {
  int64_t t;
  int64_t h;
  int64_t w;
};

// A box of cells in memory: a whole input, or a part of one.
struct Box {
  Cell first;
  Cell size;

  int64_t find(Cell cell) const {
    return ((cell.t - first.t) * size.h + (cell.h - first.h)) * size.w + (cell.w - first.w);
  }
};

// Calls visit(cell, begin, end) for each run under a tile: p of [begin, end) is the cell p columns on (contiguous), or
// channel first_channel + p of the cell (channels last); other p do not exist.
template <typename Visit>
inline void for_runs(const Geometry& geometry, const Layout& layout, const Tile& tile, Visit&& visit) {
  int64_t start[3];
  int64_t first[3];
  int64_t last[3];
  for (int dim = 0; dim < 3; ++dim) {
    start[dim] = tile.position[dim] * geometry.stride[dim] - geometry.padding[dim];
    first[dim] = std::max<int64_t>(start[dim], 0);
    last[dim] = std::min(start[dim] + geometry.kernel[dim], geometry.input[dim]);
  }
  for (int64_t t = first[0]; t < last[0]; ++t) {
    for (int64_t h = first[1]; h < last[1]; ++h) {
      if (layout.channels_last) {
        for (int64_t w = first[2]; w < last[2]; ++w) {
          visit(Cell{t, h, w}, int64_t{0}, int64_t{tile.lanes});
        }
      } else {
        const int64_t span = (tile.lanes - 1) * layout.step + layout.cells_per_run;
        visit(Cell{t, h, start[2]}, first[2] - start[2], std::min(span, geometry.input[2] - start[2]));
      }
    }
  }
}

// The lanes of one phase that exist: position lane * step + phase lies in [begin, end).
struct LaneRange {
  int64_t first;
  int64_t last;

  LaneRange(int64_t begin, int64_t end, int64_t phase, int64_t step)
      : first(begin > phase ? divide_up(begin - phase, step) : 0),
        last(end > phase ? divide_up(end - phase, step) : 0) {
  }

  // A division costs as much as many lanes: avoid it for the common strides.
  static int64_t divide_up(int64_t distance, int64_t step) {
    if (step == 1) {
      return distance;
    }
    return step == 2 ? (distance + 1) / 2 : (distance + step - 1) / step;
  }
};

template <int64_t kStep, typename T, typename A>
inline void copy_phase(const T* source, int64_t step, LaneRange range, A* __restrict lanes) {
  const int64_t by = kStep ? kStep : step;
  for (int64_t lane = range.first; lane < range.last; ++lane) {
    lanes[lane] = static_cast<A>(source[lane * by]);
  }
}

template <typename T, typename A>
inline void load_run(const T* source, int64_t begin, int64_t end, const Layout& layout, A* __restrict values) {
  for (int64_t phase = 0; phase < layout.phases; ++phase) {
    A* lanes = values + phase * layout.phase_width;
    const LaneRange range(begin, end, phase, layout.step);
    std::fill(lanes, lanes + range.first, -std::numeric_limits<A>::infinity());
    std::fill(lanes + range.last, lanes + layout.phase_width, -std::numeric_limits<A>::infinity());
    if (layout.step == 1) {
      copy_phase<1>(source + phase, 1, range, lanes);
    } else if (layout.step == 2) {
      copy_phase<2>(source + phase, 2, range, lanes);
    } else {
      copy_phase<0>(source + phase, layout.step, range, lanes);
    }
  }
}

// The reverse: adds the phases of a run to the cells they came from.
template <typename A>
inline void add_run(
    const A* __restrict values, int64_t begin, int64_t end, const Layout& layout, A* __restrict target
) {
  if (layout.step == 2 && layout.phases == 2) {
    const A* __restrict odd = values + layout.phase_width;
    int64_t position = begin;
    if (position % 2 != 0 && position < end) {
      target[position] += odd[position / 2];
      ++position;
    }
    for (; position + 1 < end; position += 2) {
      target[position] += values[position / 2];
      target[position + 1] += odd[position / 2];
    }
    if (position < end) {
      target[position] += values[position / 2];
    }
    return;
  }
  for (int64_t phase = 0; phase < layout.phases; ++phase) {
    const A* lanes = values + phase * layout.phase_width;
    const LaneRange range(begin, end, phase, layout.step);
    for (int64_t lane = range.first; lane < range.last; ++lane) {
      target[lane * layout.step + phase] += lanes[lane];
    }
  }
}

template <typename A>
inline bool is_finite(A value) {
  return std::abs(value) <= std::numeric_limits<A>::max();
}

// The softmax of one tile: maximum (NaN wins), sum of exponentials, sum of exponentials times centred values.
template <typename T>
class TileSoftmax {
 public:
  using A = accumulator_t<T>;

  const Geometry& geometry;
  const Layout& layout;
  const Softmax<A>& softmax;
  alignas(64) A maximum[kLanes];
  alignas(64) A centre[kLanes];
  alignas(64) A total[kLanes];
  alignas(64) A moment[kLanes];

  // With keep, exponentials and centred values of each cell are kept for for_cells.
  TileSoftmax(const Geometry& geometry_, const Layout& layout_, const Softmax<A>& softmax_, bool keep)
      : geometry(geometry_),
        layout(layout_),
        softmax(softmax_),
        stores_(geometry.num_cells() <= kMaxStoredCells),
        keeps_(keep && stores_),
        values_(layout.run_size() * (stores_ ? layout.runs : 1)),
        kept_(keeps_ ? 2 * kLanes * geometry.num_cells() : 2 * kLanes) {
  }

  void compute(const T* input, const Tile& tile) {
    const int width = tile.width();
    std::fill_n(maximum, width, -std::numeric_limits<A>::infinity());
    std::fill_n(total, width, A(0));
    std::fill_n(moment, width, A(0));
    for_values(input, tile, true, [&](const A* values, int64_t) { update_maximum(width, values, maximum); });
    for (int lane = 0; lane < width; ++lane) {
      centre[lane] = is_finite(maximum[lane]) ? maximum[lane] * softmax.constants.scale : A(0);
    }
    for_values(input, tile, false, [&](const A* values, int64_t index) {
      A* kept = kept_.data() + (keeps_ ? 2 * kLanes * index : 0);
      exponentiate(width, softmax.constants, values, centre, kept, kept + kLanes, total, moment);
    });
  }

  // After compute: calls visit(exponential, centred, cell of the run) cell by cell, and finish(cell, begin, end) at the
  // end of each run.
  template <typename Visit, typename Finish>
  void for_cells(const T* input, const Tile& tile, Visit&& visit, Finish&& finish) {
    const int width = tile.width();
    alignas(64) A unused[2][kLanes] = {};
    int64_t index = 0;
    int64_t run = 0;
    for_runs(geometry, layout, tile, [&](Cell first, int64_t begin, int64_t end) {
      const A* values = get_run(input, tile, run++, false, first, begin, end);
      for (int64_t cell = 0; cell < layout.cells_per_run; ++cell) {
        A* kept = kept_.data() + (keeps_ ? 2 * kLanes * index++ : 0);
        if (!keeps_) {
          const A* lanes = values + layout.lane_offsets[cell];
          exponentiate(width, softmax.constants, lanes, centre, kept, kept + kLanes, unused[0], unused[1]);
        }
        visit(kept, kept + kLanes, cell);
      }
      finish(first, begin, end);
    });
  }

 private:
  bool stores_;
  bool keeps_;
  std::vector<A> values_; // the phases of one run, or of all of a window's
  std::vector<A> kept_;   // exponentials and centred values of one cell, or of all

  const A* get_run(const T* input, const Tile& tile, int64_t run, bool load, Cell first, int64_t begin, int64_t end) {
    A* values = values_.data() + (stores_ ? run * layout.run_size() : 0);
    if (load || !stores_) {
      const Box all{{0, 0, 0}, {geometry.input[0], geometry.input[1], geometry.input[2]}};
      load_run(input + all.find(first) * layout.channels + tile.first_channel, begin, end, layout, values);
    }
    return values;
  }

  template <typename Visit>
  void for_values(const T* input, const Tile& tile, bool load, Visit&& visit) {
    int64_t index = 0;
    int64_t run = 0;
    for_runs(geometry, layout, tile, [&](Cell first, int64_t begin, int64_t end) {
      const A* values = get_run(input, tile, run++, load, first, begin, end);
      for (int64_t cell = 0; cell < layout.cells_per_run; ++cell) {
        visit(values + layout.lane_offsets[cell], index++);
      }
    });
  }
};

template <typename T>
inline void pool_tile(TileSoftmax<T>& tile_softmax, const T* input, const Tile& tile, T* output) {
  using A = accumulator_t<T>;
  tile_softmax.compute(input, tile);
  for (int lane = 0; lane < tile.lanes; ++lane) {
    const A maximum = tile_softmax.maximum[lane];
    const A mean = tile_softmax.moment[lane] / tile_softmax.total[lane];
    // Between the window's extremes, so no overflow; for a maximum that is NaN or infinite `mean` means nothing.
    const A value = (tile_softmax.centre[lane] + mean) * tile_softmax.softmax.constants.inverse_scale;
    output[lane] = static_cast<T>(is_finite(maximum) ? value : maximum);
  }
}

// Adds g * dy/dx of every window of the tile to `sums`, in one fixed order. `sums` holds the cells of `box` with
// `sum_channels` channels each, beginning with the tile's first.
template <typename T>
inline void pool_tile_backward(
    TileSoftmax<T>& tile_softmax,
    const T* grad_output,
    const T* input,
    const Tile& tile,
    accumulator_t<T>* sums,
    const Box& box,
    int64_t sum_channels,
    accumulator_t<T>* run_sums
) {
  using A = accumulator_t<T>;
  alignas(64) A gradient[kLanes] = {};
  alignas(64) A inverse[kLanes];
  alignas(64) A mean[kLanes];
  const int width = tile.width();
  const Layout& layout = tile_softmax.layout;
  const A temperature = tile_softmax.softmax.constants.temperature;
  const bool exact = tile_softmax.softmax.exact_gradient;
  tile_softmax.compute(input, tile);
  for (int lane = 0; lane < tile.lanes; ++lane) {
    gradient[lane] = static_cast<A>(grad_output[lane]);
  }
  for (int lane = 0; lane < width; ++lane) {
    const A maximum = tile_softmax.maximum[lane];
    const bool empty = maximum == -std::numeric_limits<A>::infinity();
    const A poison = empty ? A(0) : std::numeric_limits<A>::quiet_NaN();
    inverse[lane] = is_finite(maximum) ? 1 / tile_softmax.total[lane] : poison;
    mean[lane] = tile_softmax.moment[lane] * inverse[lane];
  }
  std::fill_n(run_sums, layout.run_size(), A(0));
  tile_softmax.for_cells(
      input,
      tile,
      [&](const A* exponential, const A* centred, int64_t cell) {
        A* into = run_sums + layout.lane_offsets[cell];
        add_gradient(width, exact, temperature, gradient, inverse, mean, exponential, centred, into);
      },
      [&](Cell first, int64_t begin, int64_t end) {
        add_run(run_sums, begin, end, layout, sums + box.find(first) * sum_channels);
        std::fill_n(run_sums, layout.run_size(), A(0));
      }
  );
}

// Calls body(tile) for the tiles of windows [begin, end) of one output row, restricted to channels
// [first_channel, last_channel).
template <typename Body>
inline void for_tiles(
    const Layout& layout,
    int64_t frame,
    int64_t row,
    int64_t begin,
    int64_t end,
    int64_t first_channel,
    int64_t last_channel,
    Body&& body
) {
  Tile tile{{frame, row, begin}, first_channel, 0};
  for (int64_t w = begin; w < end; w += layout.channels_last ? 1 : kLanes) {
    tile.position[2] = w;
    if (!layout.channels_last) {
      tile.lanes = static_cast<int>(std::min<int64_t>(kLanes, end - w));
      body(tile);
      continue;
    }
    for (int64_t channel = first_channel; channel < last_channel; channel += kLanes) {
      tile.first_channel = channel;
      tile.lanes = static_cast<int>(std::min<int64_t>(kLanes, last_channel - channel));
      body(tile);
    }
  }
}

} // namespace videosoft
