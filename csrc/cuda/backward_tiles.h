// The backward of windows that may overlap, or leave cells out: gathered, so that nobody writes what another does and
// the same input gives the same bits.
//
// A block owns a tile: the windows [begin, end) of rows and columns with the cells [begin * stride, end * stride), for
// some channels. It walks along T. In each step it finds the slopes of the windows that the step's cells need and that
// it has not found yet, keeps them in shared memory, and after a barrier gathers them for the step's cells. Windows
// beyond the tile are found again by the neighbour. The slots for frames of windows are used in turn; there is one
// step's more of them than a step reads, so that one barrier a step is enough.

#pragma once

#include "forward.h"

namespace videosoft {

// The tiles of a launch; sizes of tiles are in windows.
template <typename Index>
struct Tiling {
  Index frames; // steps of a block
  Index rows;
  Index columns;
  Index channels;
  Index slots; // frames of windows in shared memory, of reach_rows x reach_columns each
  Index reach_rows;
  Index reach_columns;
  Divisor<Index> num_channel_tiles;
  Divisor<Index> num_column_tiles;
  Divisor<Index> num_row_tiles;
  Divisor<Index> num_frame_tiles;
  Index num_blocks;

  VIDEOSOFT_DEVICE Index capacity() const {
    return slots * reach_rows * reach_columns * channels;
  }
};

template <typename Index>
struct Tile {
  int64_t part;
  Range<Index> frames; // steps, windows along T
  Range<Index> cell_rows;
  Range<Index> cell_columns;
  Range<Index> rows; // windows that hold one of the cells
  Range<Index> columns;
  Range<Index> channels;
};

// Shared memory, as arrays of slopes, offsets and marks.
template <typename A>
struct SlopeStore {
  A* slopes;
  A* offsets;
  uint8_t* is_careful;

  VIDEOSOFT_DEVICE SlopeStore(void* memory, int64_t capacity)
      : slopes(static_cast<A*>(memory)),
        offsets(slopes + capacity),
        is_careful(reinterpret_cast<uint8_t*>(offsets + capacity)) {
  }

  static constexpr int64_t count_bytes(int64_t capacity) {
    return capacity * (2 * static_cast<int64_t>(sizeof(A)) + 1);
  }
};

template <typename T, typename Window, typename Patch, typename Index, typename Activation>
struct DifferentiateTiles {
  using A = accumulator_t<T>;
  static constexpr int kBlocksAtOnce = 4;
  SoftmaxTerms<A> terms;
  Shape<Index> shape;
  Window window;
  Tiling<Index> tiling;
  const T* grad_output;
  const T* input;
  T* grad_input;
  Activation activation;

  VIDEOSOFT_DEVICE Tile<Index> locate(Index block) const {
    Tile<Index> tile;
    tile.channels.begin = tiling.num_channel_tiles.split(block) * tiling.channels;
    tile.channels.end = get_least(tile.channels.begin + tiling.channels, shape.channels);
    const Index column = tiling.num_column_tiles.split(block) * tiling.columns;
    const Index row = tiling.num_row_tiles.split(block) * tiling.rows;
    const Index frame = tiling.num_frame_tiles.split(block) * tiling.frames;
    tile.part = block;
    tile.frames = {frame, get_least(frame + tiling.frames, shape.output[0])};
    tile.cell_rows = find_own_cells(1, {row, get_least(row + tiling.rows, shape.output[1])});
    tile.cell_columns = find_own_cells(2, {column, get_least(column + tiling.columns, shape.output[2])});
    tile.rows = find_windows(window, shape, 1, tile.cell_rows);
    tile.columns = find_windows(window, shape, 2, tile.cell_columns);
    return tile;
  }

  // Before the barrier. True if this thread met a window that is not moderate.
  VIDEOSOFT_DEVICE bool find_slopes(
      const Tile<Index>& tile, Index step, int thread, int num_threads, void* memory
  ) const {
    const SlopeStore<A> store(memory, tiling.capacity());
    const Range<Index> cells = find_own_cells(0, {step, step + 1});
    if (cells.size() <= 0) {
      return false;
    }
    Range<Index> frames = find_windows(window, shape, 0, cells);
    if (step > tile.frames.begin) {
      const Range<Index> found = find_windows(window, shape, 0, find_own_cells(0, {step - 1, step}));
      frames.begin = get_greatest(frames.begin, found.end);
    }
    bool met_careful = false;
    for (Index t = frames.begin; t < frames.end; ++t) {
      if constexpr (Window::kIsStatic) {
        met_careful |= find_slopes_by_patches(tile, t, thread, num_threads, store);
      } else {
        met_careful |= find_slopes_by_windows(tile, t, thread, num_threads, store);
      }
    }
    return met_careful;
  }

  // After it. `has_careful`: whether some window in shared memory may be careful.
  VIDEOSOFT_DEVICE void differentiate_cells(
      const Tile<Index>& tile, Index step, bool has_careful, int thread, int num_threads, void* memory
  ) const {
    const SlopeStore<A> store(memory, tiling.capacity());
    const Range<Index> frames = find_own_cells(0, {step, step + 1});
    if constexpr (Window::kIsStatic) {
      if (!has_careful) {
        for (Index t = frames.begin; t < frames.end; ++t) {
          if constexpr (Patch::kChannelsLast) {
            gather_channels(tile, t, thread, num_threads, store);
          } else {
            gather_columns(tile, t, thread, num_threads, store);
          }
        }
        return;
      }
    }
    const Index num_channels = tile.channels.size();
    const Index num_columns = tile.cell_columns.size();
    const Index num_cells = frames.size() * tile.cell_rows.size() * num_columns * num_channels;
    VIDEOSOFT_NO_UNROLL
    for (Index item = thread; item < num_cells; item += num_threads) {
      const Index channel = item % num_channels;
      const Index column = item / num_channels % num_columns;
      const Index row = item / num_channels / num_columns % tile.cell_rows.size();
      const Index frame = item / num_channels / num_columns / tile.cell_rows.size();
      differentiate_cell(
          tile,
          frames.begin + frame,
          tile.cell_rows.begin + row,
          tile.cell_columns.begin + column,
          tile.channels.begin + channel,
          store
      );
    }
  }

 private:
  // The last windows own the rest of the cells as well.
  VIDEOSOFT_DEVICE Range<Index> find_own_cells(int dim, Range<Index> windows) const {
    const Index length = shape.input[dim];
    const Index begin = get_least<Index>(windows.begin * window.stride(dim), length);
    const Index end = get_least<Index>(windows.end * window.stride(dim), length);
    return {begin, windows.end == shape.output[dim] ? length : end};
  }

  VIDEOSOFT_DEVICE Index find_slot(const Tile<Index>& tile, Index t, Index h, Index w, Index channel) const {
    const Index row = t % tiling.slots * tiling.reach_rows + (h - tile.rows.begin);
    return (row * tiling.reach_columns + (w - tile.columns.begin)) * tiling.channels + (channel - tile.channels.begin);
  }

  template <typename Active>
  VIDEOSOFT_DEVICE Slope<A> find_slope_carefully(
      const Active& active, Index t, Index h, Index w, const T* from, A gradient
  ) const {
    const Box<Index> cells = find_cells(window, shape, t, h, w);
    return CarefulWindow<A>(terms.careful, active, from, shape, cells).find_slope(gradient);
  }

  VIDEOSOFT_DEVICE bool find_slopes_by_windows(
      const Tile<Index>& tile, Index t, int thread, int num_threads, const SlopeStore<A>& store
  ) const {
    const Index num_channels = tile.channels.size();
    const Index num_columns = tile.columns.size();
    const Index num_windows = tile.rows.size() * num_columns * num_channels;
    bool met_careful = false;
    VIDEOSOFT_NO_UNROLL
    for (Index item = thread; item < num_windows; item += num_threads) {
      const Index channel = tile.channels.begin + item % num_channels;
      const Index w = tile.columns.begin + item / num_channels % num_columns;
      const Index h = tile.rows.begin + item / num_channels / num_columns;
      const T* from = input + tile.part * shape.input_part + channel;
      const T* upstream = grad_output + tile.part * shape.output_part + channel;
      const A gradient = static_cast<A>(upstream[shape.find_output(t, h, w)]);
      const auto active = activation.template find<1>(tile.part, channel);
      const WindowSums<A> sums = sum_window<T>(terms, active, from, shape, find_cells(window, shape, t, h, w));
      const bool is_careful = !(sums.is_moderate(terms) & is_moderate(terms, gradient));
      const Slope<A> slope =
          is_careful ? find_slope_carefully(active, t, h, w, from, gradient) : find_slope<T>(terms, sums, gradient);
      const Index slot = find_slot(tile, t, h, w, channel);
      store.slopes[slot] = slope.slope;
      store.offsets[slot] = slope.offset;
      store.is_careful[slot] = is_careful;
      met_careful |= is_careful;
    }
    return met_careful;
  }

  VIDEOSOFT_DEVICE bool find_slopes_by_patches(
      const Tile<Index>& tile, Index t, int thread, int num_threads, const SlopeStore<A>& store
  ) const {
    constexpr int kChannels = Patch::kChannelsLast ? Patch::kLanes : 1;
    const Index num_channels = tile.channels.size() / kChannels;
    const Index num_columns = (tile.columns.size() + Patch::kWindows - 1) / Patch::kWindows;
    const Index num_rows = (tile.rows.size() + Patch::kRows - 1) / Patch::kRows;
    const T* part = input + tile.part * shape.input_part;
    const T* upstream = grad_output + tile.part * shape.output_part;
    bool met_careful = false;
    VIDEOSOFT_NO_UNROLL
    for (Index item = thread; item < num_rows * num_columns * num_channels; item += num_threads) {
      const Index channel = tile.channels.begin + item % num_channels * kChannels;
      const Index first_w = tile.columns.begin + item / num_channels % num_columns * Patch::kWindows;
      const Index first_h = tile.rows.begin + item / num_channels / num_columns * Patch::kRows;
      Patch::sum(
          terms,
          activation.template find<Patch::kChannels>(tile.part, channel),
          part + channel,
          shape,
          t,
          first_h,
          first_w,
          tile.columns.end,
          [&](int row, Index w, const WindowSums<A>(&sums)[Patch::kLanes]) {
            const Index h = first_h + row;
            if (h < tile.rows.end) {
              const T* from = upstream + shape.find_output(t, h, w) + channel;
              met_careful |=
                  store_slopes(tile, part, from, t, h, w, channel, sums, store, find_slot(tile, t, h, w, channel));
            }
          }
      );
    }
    return met_careful;
  }

  VIDEOSOFT_DEVICE bool store_slopes(
      const Tile<Index>& tile,
      const T* part,
      const T* upstream,
      Index t,
      Index h,
      Index w,
      Index channel,
      const WindowSums<A> (&sums)[Patch::kLanes],
      const SlopeStore<A>& store,
      Index slot
  ) const {
    T gradients[Patch::kLanes];
    load_numbers(upstream, gradients);
    A slopes[Patch::kLanes];
    A offsets[Patch::kLanes];
    uint8_t marks[Patch::kLanes];
    bool met_careful = false;
    VIDEOSOFT_UNROLL
    for (int lane = 0; lane < Patch::kLanes; ++lane) {
      const A gradient = static_cast<A>(gradients[lane]);
      const Slope<A> slope = find_slope<T>(terms, sums[lane], gradient);
      slopes[lane] = slope.slope;
      offsets[lane] = slope.offset;
      marks[lane] = !(sums[lane].is_moderate(terms) & is_moderate(terms, gradient));
      met_careful |= marks[lane] != 0;
    }
    store_numbers(store.slopes + slot, slopes);
    store_numbers(store.offsets + slot, offsets);
    store_numbers(store.is_careful + slot, marks);
    if (met_careful) {
      VIDEOSOFT_NO_UNROLL
      for (int lane = 0; lane < Patch::kLanes; ++lane) {
        if (store.is_careful[slot + lane] != 0) {
          const LanePlace<Patch::kChannelsLast, Index> here(w, channel, lane);
          const A gradient = static_cast<A>(upstream[lane]);
          const auto active = activation.template find<1>(tile.part, here.channel);
          const Slope<A> slope = find_slope_carefully(active, t, h, here.w, part + here.channel, gradient);
          store.slopes[slot + lane] = slope.slope;
          store.offsets[slot + lane] = slope.offset;
        }
      }
    }
    return met_careful;
  }

  // Whether cell `offset` of the stretch of cells that belongs to a window is in that window, and in the next one.
  static VIDEOSOFT_DEVICE constexpr bool is_in_own(int offset) {
    return offset < Window::kernel(2) - Window::padding(2);
  }
  static VIDEOSOFT_DEVICE constexpr bool is_in_next(int offset) {
    return offset >= Window::stride(2) - Window::padding(2);
  }

  // Contiguous layout: the cells of kWindows windows along W.
  VIDEOSOFT_DEVICE void gather_columns(
      const Tile<Index>& tile, Index t, int thread, int num_threads, const SlopeStore<A>& store
  ) const {
    constexpr int kStride = Window::stride(2);
    constexpr int kWindows = Patch::kWindows;
    const Index num_groups = tile.columns.size() / kWindows;
    const Range<Index> frames = find_windows(window, shape, 0, Range<Index>{t, t + 1});
    VIDEOSOFT_NO_UNROLL
    for (Index item = thread; item < tile.cell_rows.size() * num_groups; item += num_threads) {
      const Index w = tile.columns.begin + item % num_groups * kWindows;
      const Index cell_h = tile.cell_rows.begin + item / num_groups;
      const int64_t at = tile.part * shape.input_part + shape.find_input(t, cell_h, w * kStride);
      T cells[kWindows * kStride];
      load_numbers(input + at, cells);
      Slope<A> sums[kWindows + 1];
      const Range<Index> rows = find_windows(window, shape, 1, Range<Index>{cell_h, cell_h + 1});
      const bool has_next = w + kWindows < tile.columns.end;
      VIDEOSOFT_NO_UNROLL
      for (Index window_t = frames.begin; window_t < frames.end; ++window_t) {
        VIDEOSOFT_NO_UNROLL
        for (Index h = rows.begin; h < rows.end; ++h) {
          const Index slot = find_slot(tile, window_t, h, w, tile.channels.begin);
          add_slopes(store, slot, sums);
          if (has_next) {
            sums[kWindows].slope += store.slopes[slot + kWindows];
            sums[kWindows].offset += store.offsets[slot + kWindows];
          }
        }
      }
      const auto active = activation.template find<1>(tile.part, 0);
      T found[kWindows * kStride];
      VIDEOSOFT_UNROLL
      for (int i = 0; i < kWindows * kStride; ++i) {
        found[i] = differentiate_between(active, 0, cells[i], i % kStride, sums[i / kStride], sums[i / kStride + 1]);
      }
      store_numbers(grad_input + at, found);
    }
  }

  // Channels last: the cells of two windows along W, a vector of channels.
  VIDEOSOFT_DEVICE void gather_channels(
      const Tile<Index>& tile, Index t, int thread, int num_threads, const SlopeStore<A>& store
  ) const {
    constexpr int kStride = Window::stride(2);
    constexpr int kLanes = Patch::kLanes;
    constexpr int kWindows = 2;
    const Index num_channels = tile.channels.size() / kLanes;
    const Index num_groups = (tile.cell_columns.size() + kWindows * kStride - 1) / (kWindows * kStride);
    const Range<Index> frames = find_windows(window, shape, 0, Range<Index>{t, t + 1});
    VIDEOSOFT_NO_UNROLL
    for (Index item = thread; item < tile.cell_rows.size() * num_groups * num_channels; item += num_threads) {
      const Index channel = tile.channels.begin + item % num_channels * kLanes;
      const Index first_w = tile.cell_columns.begin / kStride + item / num_channels % num_groups * kWindows;
      const Index cell_h = tile.cell_rows.begin + item / num_channels / num_groups;
      const Range<Index> rows = find_windows(window, shape, 1, Range<Index>{cell_h, cell_h + 1});
      Slope<A> own[kLanes];
      sum_slopes(tile, frames, rows, first_w, channel, store, own);
      VIDEOSOFT_UNROLL
      for (int i = 0; i < kWindows; ++i) {
        Slope<A> next[kLanes];
        sum_slopes(tile, frames, rows, first_w + i + 1, channel, store, next);
        VIDEOSOFT_UNROLL
        for (int offset = 0; offset < kStride; ++offset) {
          const Index cell_w = (first_w + i) * kStride + offset;
          if (cell_w < tile.cell_columns.end) {
            const int64_t at = tile.part * shape.input_part + shape.find_input(t, cell_h, cell_w) + channel;
            T cells[kLanes];
            load_numbers(input + at, cells);
            const auto active = activation.template find<kLanes>(tile.part, channel);
            T found[kLanes];
            VIDEOSOFT_UNROLL
            for (int lane = 0; lane < kLanes; ++lane) {
              found[lane] = differentiate_between(active, lane, cells[lane], offset, own[lane], next[lane]);
            }
            store_numbers(grad_input + at, found);
          }
        }
        VIDEOSOFT_UNROLL
        for (int lane = 0; lane < kLanes; ++lane) {
          own[lane] = next[lane];
        }
      }
    }
  }

  VIDEOSOFT_DEVICE void sum_slopes(
      const Tile<Index>& tile,
      Range<Index> frames,
      Range<Index> rows,
      Index w,
      Index channel,
      const SlopeStore<A>& store,
      Slope<A> (&sums)[Patch::kLanes]
  ) const {
    if (w >= tile.columns.end) {
      return;
    }
    VIDEOSOFT_NO_UNROLL
    for (Index t = frames.begin; t < frames.end; ++t) {
      VIDEOSOFT_NO_UNROLL
      for (Index h = rows.begin; h < rows.end; ++h) {
        add_slopes(store, find_slot(tile, t, h, w, channel), sums);
      }
    }
  }

  // Adds neighbouring slopes to the first of `sums`.
  template <int kCount>
  static VIDEOSOFT_DEVICE void add_slopes(const SlopeStore<A>& store, Index slot, Slope<A> (&sums)[kCount]) {
    A slopes[Patch::kLanes];
    A offsets[Patch::kLanes];
    load_numbers(store.slopes + slot, slopes);
    load_numbers(store.offsets + slot, offsets);
    VIDEOSOFT_UNROLL
    for (int lane = 0; lane < Patch::kLanes; ++lane) {
      sums[lane].slope += slopes[lane];
      sums[lane].offset += offsets[lane];
    }
  }

  template <typename Active>
  VIDEOSOFT_DEVICE T differentiate_between(
      const Active& active, int lane, T number, int offset, const Slope<A>& own, const Slope<A>& next
  ) const {
    const A cell = active.apply(static_cast<A>(number), lane);
    Slope<A> slope;
    if (is_in_own(offset)) {
      slope = own;
    }
    if (is_in_next(offset)) {
      slope.slope += next.slope;
      slope.offset += next.offset;
    }
    return static_cast<T>(active.chain(cell, differentiate<T>(terms, cell, slope), lane));
  }

  // One cell, from moderate and careful windows.
  VIDEOSOFT_DEVICE void differentiate_cell(
      const Tile<Index>& tile, Index cell_t, Index cell_h, Index cell_w, Index channel, const SlopeStore<A>& store
  ) const {
    const T* from = input + tile.part * shape.input_part + channel;
    const Index at = shape.find_input(cell_t, cell_h, cell_w);
    const auto active = activation.template find<1>(tile.part, channel);
    const auto find_cell = [&] { return active.apply(static_cast<A>(from[at])); };
    const Range<Index> frames = find_windows(window, shape, 0, Range<Index>{cell_t, cell_t + 1});
    const Range<Index> rows = find_windows(window, shape, 1, Range<Index>{cell_h, cell_h + 1});
    const Range<Index> columns = find_windows(window, shape, 2, Range<Index>{cell_w, cell_w + 1});
    Slope<A> moderate;
    A careful = 0;
    bool is_in_moderate = false;
    VIDEOSOFT_NO_UNROLL
    for (Index t = frames.begin; t < frames.end; ++t) {
      VIDEOSOFT_NO_UNROLL
      for (Index h = rows.begin; h < rows.end; ++h) {
        VIDEOSOFT_NO_UNROLL
        for (Index w = columns.begin; w < columns.end; ++w) {
          const Index slot = find_slot(tile, t, h, w, channel);
          const Slope<A> slope{store.slopes[slot], store.offsets[slot]};
          if (store.is_careful[slot] != 0) {
            const A maximum = find_maximum(active, from, shape, find_cells(window, shape, t, h, w));
            const A centre = find_centre(terms.careful, maximum);
            careful += differentiate_carefully(terms, find_cell(), centre, slope);
          } else {
            moderate.slope += slope.slope;
            moderate.offset += slope.offset;
            is_in_moderate = true;
          }
        }
      }
    }
    const A found = is_in_moderate ? differentiate<T>(terms, find_cell(), moderate) + careful : careful;
    grad_input[tile.part * shape.input_part + channel + at] = static_cast<T>(active.chain(find_cell(), found));
  }
};

} // namespace videosoft
