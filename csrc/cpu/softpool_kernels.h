// SoftPool on tiles of lanes. This file has no include of its own: softpool_cpu.cpp includes it once per instruction
// set, inside a namespace each.
//
// A tile is a run of output cells that lie side by side in memory: cells of one row (contiguous layout) or channels of
// one position (channels last). Cell i of the window is then a strided run of the input, loaded into a buffer of lanes
// with -inf where the input ends: -inf has weight 0, which is just what padding means. All arithmetic runs over lanes.

constexpr int kLanes = 32;
constexpr int kBlock = 16; // lanes are filled up to a multiple of this
constexpr int64_t kMaxStoredCells = 64; // larger windows are read again instead of kept

template <typename T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};
template <typename T>
using accumulator_t = typename Accumulator<T>::type;

// The softmax's constants. Centred values are scale * (x - max), temperature is b / scale; scale is 1 unless b is tiny:
// then b (x - max) does not underflow for far cells, and V of them could overflow the sum without the scale.
template <typename A>
struct Softmax {
  A temperature;
  A scale;
  A inverse_scale;
  A lowest; // centred values below this have weight 0
  bool exact_gradient;

  Softmax(double b, int64_t num_cells, bool exact) : exact_gradient(exact) {
    constexpr double kLargest = std::numeric_limits<A>::max();
    double factor = 1.0;
    if (b < 0x1p-100) {
      while (factor * 2 * num_cells > 1.0) {
        factor /= 2;
      }
    }
    scale = static_cast<A>(factor);
    inverse_scale = static_cast<A>(1 / factor);
    const double scaled = std::min(b / factor, kLargest);
    temperature = static_cast<A>(scaled);
    lowest = static_cast<A>(scaled > 0 ? std::max(kSmallestExponent<A> / scaled, -kLargest) : -kLargest);
  }
};

// Where the lanes of a tile lie; offsets are in elements from the plane (contiguous) or the sample (channels last).
struct Tile {
  bool channels_last;
  int64_t channels; // of the tensor; 1 in the contiguous layout, where a plane is one channel
  int64_t first_channel; // of the tile
  int64_t position[3]; // of the output cell of lane 0
  int lanes;
  int64_t step; // elements of the input between two lanes

  int64_t output_offset(const Geometry& geometry) const {
    const int64_t cell = (position[0] * geometry.output[1] + position[1]) * geometry.output[2] + position[2];
    return cell * channels + first_channel;
  }
};

// Calls visit(cell, first, last) for each cell of the window that any lane has inside the input: lane l of
// [first, last) is `step` elements from lane l - 1, and lane 0 would lie in spatial cell `cell`.
template <typename Visit>
inline void visit_cells(const Geometry& geometry, const Tile& tile, Visit&& visit) {
  int64_t begin[3];
  int64_t end[3];
  for (int dim = 0; dim < 3; ++dim) {
    const int64_t start = tile.position[dim] * geometry.stride[dim] - geometry.padding[dim];
    begin[dim] = std::max<int64_t>(start, 0);
    end[dim] = std::min(start + geometry.kernel[dim], geometry.input[dim]);
  }
  const int64_t start = tile.position[2] * geometry.stride[2] - geometry.padding[2];
  for (int64_t t = begin[0]; t < end[0]; ++t) {
    for (int64_t h = begin[1]; h < end[1]; ++h) {
      const int64_t row = (t * geometry.input[1] + h) * geometry.input[2];
      if (tile.channels_last) {
        for (int64_t w = begin[2]; w < end[2]; ++w) {
          visit(row + w, 0, tile.lanes);
        }
        continue;
      }
      for (int64_t w = start; w < start + geometry.kernel[2]; ++w) {
        const int64_t first = w < 0 ? (-w + tile.step - 1) / tile.step : 0;
        const int64_t room = w < geometry.input[2] ? (geometry.input[2] - 1 - w) / tile.step + 1 : 0;
        const int64_t last = std::min<int64_t>(room, tile.lanes);
        if (first < last) {
          visit(row + w, static_cast<int>(first), static_cast<int>(last));
        }
      }
    }
  }
}

inline int round_up(int lanes) {
  return (lanes + kBlock - 1) / kBlock * kBlock;
}

template <int64_t kStep, typename T, typename A>
inline void copy_lanes(const T* source, int64_t step, int first, int last, A* __restrict lanes) {
  const int64_t by = kStep ? kStep : step;
  for (int lane = first; lane < last; ++lane) {
    lanes[lane] = static_cast<A>(source[lane * by]);
  }
}

template <typename T, typename A>
inline void load_lanes(const T* source, int64_t step, int first, int last, int width, A fill, A* __restrict lanes) {
  for (int lane = 0; lane < first; ++lane) {
    lanes[lane] = fill;
  }
  if (step == 1) {
    copy_lanes<1>(source, step, first, last, lanes);
  } else if (step == 2) {
    copy_lanes<2>(source, step, first, last, lanes);
  } else {
    copy_lanes<0>(source, step, first, last, lanes);
  }
  for (int lane = last; lane < width; ++lane) {
    lanes[lane] = fill;
  }
}

// Calls body(lane) for all lanes up to width; the inner loop has a constant length, so that it vectorises without rest.
template <typename Body>
inline void for_lanes(int width, Body&& body) {
  for (int block = 0; block < width; block += kBlock) {
    for (int lane = block; lane < block + kBlock; ++lane) {
      body(lane);
    }
  }
}

// One tile's softmax: maximum (NaN wins), sum of exponentials, sum of exponentials times centred values.
template <typename T>
struct TileSoftmax {
  using A = accumulator_t<T>;

  const Geometry& geometry;
  const Softmax<A>& softmax;
  alignas(64) A maximum[kLanes];
  alignas(64) A centre[kLanes];
  alignas(64) A total[kLanes];
  alignas(64) A moment[kLanes];
  alignas(64) A exponential[kLanes];
  alignas(64) A centred[kLanes];
  alignas(64) A stored[kMaxStoredCells][kLanes];
  alignas(64) A scratch[kLanes];

  TileSoftmax(const Geometry& geometry_, const Softmax<A>& softmax_) : geometry(geometry_), softmax(softmax_) {}

  // visit(values, cell, first, last) for each cell; on the first pass values are loaded, later the stored ones serve.
  template <typename Visit>
  void visit_values(const T* input, const Tile& tile, bool load, Visit&& visit) {
    constexpr A kMinusInfinity = -std::numeric_limits<A>::infinity();
    const bool store = geometry.num_cells() <= kMaxStoredCells;
    const int width = round_up(tile.lanes);
    int64_t index = 0;
    visit_cells(geometry, tile, [&](int64_t cell, int first, int last) {
      A* values = store ? stored[index++] : scratch;
      if (load || !store) {
        const T* source = input + cell * tile.channels + tile.first_channel;
        load_lanes(source, tile.step, first, last, width, kMinusInfinity, values);
      }
      visit(values, cell, first, last);
    });
  }

  void exponentiate_cell(const A* __restrict values, int width) {
    const A scale = softmax.scale;
    const A lowest = softmax.lowest;
    const A temperature = softmax.temperature;
    for_lanes(width, [&](int lane) {
      const A distance = values[lane] * scale - centre[lane];
      const A bounded = distance < lowest ? lowest : distance;
      const A power = exponentiate(temperature * bounded);
      centred[lane] = bounded;
      exponential[lane] = distance < lowest ? A(0) : power;
    });
  }

  void compute(const T* input, const Tile& tile) {
    const int width = round_up(tile.lanes);
    for_lanes(width, [&](int lane) {
      maximum[lane] = -std::numeric_limits<A>::infinity();
      total[lane] = 0;
      moment[lane] = 0;
    });
    visit_values(input, tile, true, [&](const A* __restrict values, int64_t, int, int) {
      for_lanes(width, [&](int lane) {
        const A value = values[lane];
        maximum[lane] = (value > maximum[lane]) | (value != value) ? value : maximum[lane];
      });
    });
    for_lanes(width, [&](int lane) {
      centre[lane] = std::abs(maximum[lane]) <= std::numeric_limits<A>::max() ? maximum[lane] * softmax.scale : A(0);
    });
    visit_values(input, tile, false, [&](const A* values, int64_t, int, int) {
      exponentiate_cell(values, width);
      for_lanes(width, [&](int lane) {
        total[lane] += exponential[lane];
        moment[lane] += exponential[lane] * centred[lane];
      });
    });
  }
};

template <typename T>
inline void pool_tile(TileSoftmax<T>& tile_softmax, const T* input, const Tile& tile, T* output) {
  using A = accumulator_t<T>;
  tile_softmax.compute(input, tile);
  T* target = output + tile.output_offset(tile_softmax.geometry);
  for (int lane = 0; lane < tile.lanes; ++lane) {
    const A maximum = tile_softmax.maximum[lane];
    const A mean = tile_softmax.moment[lane] / tile_softmax.total[lane];
    // Between the window's extremes, so no overflow; for a maximum that is NaN or infinite `mean` means nothing.
    const A value = (tile_softmax.centre[lane] + mean) * tile_softmax.softmax.inverse_scale;
    target[lane] = static_cast<T>(std::abs(maximum) <= std::numeric_limits<A>::max() ? value : maximum);
  }
}

// Adds g * dy/dx of every window of the tile to `sums`, which its thread owns: no atomics, one fixed order. `sums` starts
// at the tile's first channel and holds `sum_channels` of them a cell.
template <typename T>
inline void pool_tile_backward(
    TileSoftmax<T>& tile_softmax,
    const T* grad_output,
    const T* input,
    const Tile& tile,
    accumulator_t<T>* sums,
    int64_t sum_channels) {
  using A = accumulator_t<T>;
  alignas(64) A gradient[kLanes];
  alignas(64) A inverse[kLanes];
  alignas(64) A mean[kLanes];
  alignas(64) A contribution[kLanes];
  const int width = round_up(tile.lanes);
  const Softmax<A>& softmax = tile_softmax.softmax;
  tile_softmax.compute(input, tile);
  load_lanes(
      grad_output + tile.output_offset(tile_softmax.geometry), 1, 0, tile.lanes, width, A(0), gradient);
  for_lanes(width, [&](int lane) {
    const A maximum = tile_softmax.maximum[lane];
    const bool empty = maximum == -std::numeric_limits<A>::infinity();
    const bool finite = std::abs(maximum) <= std::numeric_limits<A>::max();
    const A poison = empty ? A(0) : std::numeric_limits<A>::quiet_NaN();
    inverse[lane] = finite ? 1 / tile_softmax.total[lane] : poison;
    mean[lane] = tile_softmax.moment[lane] * inverse[lane];
  });
  tile_softmax.visit_values(input, tile, false, [&](const A* values, int64_t cell, int first, int last) {
    tile_softmax.exponentiate_cell(values, width);
    const A temperature = softmax.temperature;
    // The derivative first, then g: its size is bounded, so that the product overflows only if the true value does.
    if (softmax.exact_gradient) {
      for_lanes(width, [&](int lane) {
        const A weight = tile_softmax.exponential[lane] * inverse[lane];
        contribution[lane] =
            gradient[lane] * (weight * (1 + temperature * (tile_softmax.centred[lane] - mean[lane])));
      });
    } else {
      for_lanes(width, [&](int lane) {
        contribution[lane] = gradient[lane] * (tile_softmax.exponential[lane] * inverse[lane]);
      });
    }
    A* target = sums + cell * sum_channels;
    if (tile.step == 1) {
      for (int lane = first; lane < last; ++lane) {
        target[lane] += contribution[lane];
      }
    } else {
      for (int lane = first; lane < last; ++lane) {
        target[lane * tile.step] += contribution[lane];
      }
    }
  });
}

// Calls body(tile) for the tiles of output rows [begin, end) of one plane (contiguous) or one sample (channels last),
// restricted to channels [first_channel, last_channel).
template <typename Body>
inline void for_tiles(
    const Geometry& geometry,
    bool channels_last,
    int64_t first_channel,
    int64_t last_channel,
    int64_t begin,
    int64_t end,
    Body&& body) {
  Tile tile{};
  tile.channels_last = channels_last;
  tile.channels = channels_last ? geometry.channels : 1;
  tile.step = channels_last ? 1 : geometry.stride[2];
  for (int64_t row = begin; row < end; ++row) {
    tile.position[0] = row / geometry.output[1];
    tile.position[1] = row % geometry.output[1];
    for (int64_t w = 0; w < geometry.output[2]; w += channels_last ? 1 : kLanes) {
      tile.position[2] = w;
      if (!channels_last) {
        tile.lanes = static_cast<int>(std::min<int64_t>(kLanes, geometry.output[2] - w));
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
}

// Rows [begin, end) of the output, counted over all planes (contiguous) or samples (channels last).
template <typename T>
void pool_rows(
    const T* input,
    T* output,
    const Geometry& geometry,
    const Softmax<accumulator_t<T>>& softmax,
    bool channels_last,
    int64_t begin,
    int64_t end) {
  TileSoftmax<T> tile_softmax(geometry, softmax);
  const int64_t num_rows = geometry.output[0] * geometry.output[1];
  const int64_t channels = channels_last ? geometry.channels : 1;
  for (int64_t row = begin; row < end;) {
    const int64_t part = row / num_rows;
    const int64_t stop = std::min(end, (part + 1) * num_rows);
    const T* source = input + part * channels * geometry.num_input();
    T* target = output + part * channels * geometry.num_output();
    for_tiles(
        geometry, channels_last, 0, channels, row - part * num_rows, stop - part * num_rows, [&](const Tile& tile) {
          pool_tile(tile_softmax, source, tile, target);
        });
    row = stop;
  }
}

// Parts [begin, end) of the gradient: a part is one plane (contiguous) or kLanes channels of a sample (channels last),
// which one thread owns as a whole.
template <typename T>
void pool_parts_backward(
    const T* grad_output,
    const T* input,
    T* grad_input,
    const Geometry& geometry,
    const Softmax<accumulator_t<T>>& softmax,
    bool channels_last,
    int64_t begin,
    int64_t end) {
  using A = accumulator_t<T>;
  TileSoftmax<T> tile_softmax(geometry, softmax);
  const int64_t num_rows = geometry.output[0] * geometry.output[1];
  const int64_t channels = channels_last ? geometry.channels : 1;
  const int64_t parts_per_sample = (channels + kLanes - 1) / kLanes;
  std::vector<A> sums;
  for (int64_t part = begin; part < end; ++part) {
    const int64_t sample = part / parts_per_sample;
    const int64_t first = part % parts_per_sample * kLanes;
    const int64_t last = std::min(first + kLanes, channels);
    const T* source = input + sample * channels * geometry.num_input();
    const T* gradient = grad_output + sample * channels * geometry.num_output();
    T* target = grad_input + sample * channels * geometry.num_input() + first;
    // The part's cells in memory: one run in the contiguous layout, a run of channels a cell in the other.
    const int64_t num_runs = channels_last ? geometry.num_input() : 1;
    const int64_t run = channels_last ? last - first : geometry.num_input();
    if constexpr (std::is_same_v<T, A>) {
      for (int64_t at = 0; at < num_runs; ++at) {
        std::fill_n(target + at * channels, run, A(0));
      }
      for_tiles(geometry, channels_last, first, last, 0, num_rows, [&](const Tile& tile) {
        pool_tile_backward(tile_softmax, gradient, source, tile, target, channels);
      });
    } else {
      // Windows that overlap add up in float32, in a copy of the part's cells.
      sums.assign(geometry.num_input() * (last - first), A(0));
      for_tiles(geometry, channels_last, first, last, 0, num_rows, [&](const Tile& tile) {
        pool_tile_backward(tile_softmax, gradient, source, tile, sums.data(), last - first);
      });
      for (int64_t at = 0; at < num_runs; ++at) {
        for (int64_t cell = 0; cell < run; ++cell) {
          target[at * channels + cell] = static_cast<T>(sums[at * run + cell]);
        }
      }
    }
  }
}
