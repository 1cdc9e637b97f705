// SoftPool by rows (row_kernels.h): which rows of the input meet which rows of the output, tile by tile.
//
// A part is what windows never leave: a plane of one channel (contiguous layout) or a sample (channels last). Its rows
// are cut into tiles of columns that fit into the first-level cache. A tile's windows need columns beyond it where
// windows overlap; those are computed twice, once for each tile, so that no tile waits for another and the result does
// not depend on the number of threads.

#pragma once

#include "../geometry.h"
#include "axis.h"
#include "buffer.h"
#include "careful_pooling.h"
#include "row_kernels.h"
#include "strips.h"
#include "tile_kernels.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace videosoft {

// Numbers of one row of a tile, so that two rows of sums stay in a first-level cache of 32 KiB.
constexpr int64_t kRowNumbers = 1024;

template <typename T>
class RowPooling {
 public:
  using A = accumulator_t<T>;

  // Whether the windows are 2 columns wide, 1, 2 or 4 rows of them, and hold every cell.
  static bool pools_pairs(const Geometry& geometry, const Layout& layout) {
    const int64_t num_rows = geometry.kernel[0] * geometry.kernel[1];
    return geometry.kernel[2] == 2 && (num_rows == 1 || num_rows == 2 || num_rows == 4) &&
           Axis(geometry, 0).is_covered() && Axis(geometry, 1).is_covered() && Axis(geometry, 2).is_covered() &&
           (layout.channels > 1 ? layout.channels : geometry.output[2]) >= kWidestVector<A>;
  }

  RowPooling(
      const Geometry& geometry, const Layout& layout, const Softmax<A>& softmax, const RowKernels<A>& kernels, double b
  )
      : geometry_(geometry),
        kernels_(kernels),
        frames_(geometry, 0),
        rows_(geometry, 1),
        columns_(geometry, 2),
        channels_(layout.channels),
        terms_(create_terms(geometry, softmax, b)),
        careful_(geometry, layout, softmax, terms_.largest) {
    const int64_t columns_per_tile = kRowNumbers / channels_ - columns_.kernel;
    windows_per_tile_ = std::min(std::max<int64_t>(columns_per_tile / columns_.stride + 1, 1), columns_.output);
    tiles_per_row_ = divide_up(columns_.output, windows_per_tile_);
    // Even tiles: the last one would otherwise be a sliver.
    windows_per_tile_ = divide_up(columns_.output, tiles_per_row_);
    tiles_per_row_ = divide_up(columns_.output, windows_per_tile_);
    pools_pairs_ = pools_pairs(geometry, layout);
    if (pools_pairs_) {
      // Everything stays in registers: no need for tiles, and memory is best read in its order.
      windows_per_tile_ = columns_.output;
      tiles_per_row_ = 1;
    }
    // The columns of a tile with all the windows it needs and the cells that the last of them owns, and room.
    const int64_t windows = std::min(windows_per_tile_ + columns_.overlap, columns_.output);
    const int64_t span = windows * columns_.stride + columns_.kernel + 2 * columns_.overlap;
    row_length_ = divide_up(span * channels_, kSlack) * kSlack + 2 * kSlack * (columns_.stride + 1);
    const Range last_tile = get_tile_windows(tiles_per_row_ - 1);
    in_strips_ = Strips::suit(geometry, 1) && columns_.get_cells(last_tile).size() * channels_ >= kWidestVector<A>;
    rows_per_strip_ = in_strips_ ? kStripRows : 1;
    strips_ = Strips(rows_.output, rows_per_strip_);
  }

  int64_t num_parts() const {
    return geometry_.batch * geometry_.channels / channels_;
  }

  // Items of work: a strip of windows of one tile (forward), a frame of them (backward).
  int64_t num_forward_items() const {
    return num_parts() * tiles_per_row_ * frames_.output * strips_.count();
  }
  int64_t num_backward_items() const {
    return num_parts() * tiles_per_row_ * frames_.output;
  }

  void pool(const T* input, T* output, int64_t begin, int64_t end) const {
    Buffer<A> sums(2 * rows_per_strip_ * row_length_);
    int64_t padded_tile = -1;
    for (int64_t item = begin; item < end; ++item) {
      const Range rows = strips_.get_rows(item % strips_.count());
      const int64_t frame = item / strips_.count() % frames_.output;
      const int64_t tile = item / strips_.count() / frames_.output;
      const Range windows = get_tile_windows(tile % tiles_per_row_);
      const ColumnWindows column_windows = get_column_windows(windows);
      const T* part = input + tile / tiles_per_row_ * geometry_.num_input() * channels_;
      T* part_output = output + tile / tiles_per_row_ * geometry_.num_output() * channels_;
      bool is_moderate;
      if (pools_pairs_) {
        const T* from =
            part + get_input_cell(frame * frames_.stride, rows.begin * rows_.stride, 2 * windows.begin) * channels_;
        T* to = part_output + get_output_cell(frame, rows.begin, windows.begin) * channels_;
        is_moderate = kernels_.pool_pairs(terms_, from, create_pair_block(windows), column_windows, to);
      } else {
        if (tile != padded_tile) {
          clear_padding(windows, sums.data());
          padded_tile = tile;
        }
        is_moderate = accumulate_rows(part, frame, rows, windows, sums.data());
        for (int64_t row = rows.begin; row < rows.end; ++row) {
          const A* total = sums.data() + (row - rows.begin) * 2 * row_length_;
          T* to = part_output + get_output_cell(frame, row, windows.begin) * channels_;
          kernels_.finish(column_windows, total, total + row_length_, to);
        }
      }
      if (!is_moderate) {
        for (int64_t row = rows.begin; row < rows.end; ++row) {
          careful_.pool(part, frame, row, windows, {0, channels_}, part_output);
        }
      }
    }
  }

  void pool_backward(const T* grad_output, const T* input, T* grad_input, int64_t begin, int64_t end) const {
    BackwardState state(*this);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t frame = item % frames_.output;
      const int64_t tile = item / frames_.output;
      const int64_t part = tile / tiles_per_row_;
      state.owned_windows = get_tile_windows(tile % tiles_per_row_);
      state.windows = columns_.add_overlap(state.owned_windows);
      state.input = input + part * geometry_.num_input() * channels_;
      state.grad_output = grad_output + part * geometry_.num_output() * channels_;
      state.grad_input = grad_input + part * geometry_.num_input() * channels_;
      if (item == begin || frame == 0) {
        clear_padding(state.windows, state.sums.data());
        for (int64_t before = std::max<int64_t>(frame - frames_.overlap, 0); before < frame; ++before) {
          for (int64_t strip = 0; strip < strips_.count(); ++strip) {
            find_slopes(state, before, strips_.get_rows(strip));
          }
        }
      }
      differentiate_frame(state, frame);
    }
  }

 private:
  // What a thread keeps while it walks through the frames of a tile.
  struct BackwardState {
    Range owned_windows{};
    Range windows{};
    const T* input = nullptr;
    const T* grad_output = nullptr;
    T* grad_input = nullptr;
    int64_t ring_frames;
    int64_t ring_rows;
    Buffer<A> sums;
    Buffer<A> scratch;
    Buffer<A> slopes; // of the output rows that the next input rows need, summed over the windows of a column
    Buffer<A> offsets;
    std::vector<char> moderate;       // by output row
    std::vector<char> careful;        // by block of owned rows of the frame
    std::vector<const A*> slope_rows; // those that hold one input row
    std::vector<const A*> offset_rows;

    explicit BackwardState(const RowPooling& pooling)
        : ring_frames(std::min(pooling.frames_.overlap + 1, pooling.frames_.output)),
          ring_rows(
              ring_frames > 1 ? pooling.rows_.output
                              : std::min(pooling.rows_.overlap + pooling.rows_per_strip_, pooling.rows_.output)
          ),
          sums(2 * pooling.rows_per_strip_ * pooling.row_length_),
          scratch(2 * pooling.row_length_),
          slopes(ring_frames * ring_rows * pooling.row_length_),
          offsets(ring_frames * ring_rows * pooling.row_length_),
          moderate(ring_frames * pooling.rows_.output),
          careful(pooling.rows_.output) {
    }

    int64_t get_ring_slot(int64_t frame, int64_t row) const {
      return frame % ring_frames * ring_rows + row % ring_rows;
    }
  };

  const Geometry& geometry_;
  const RowKernels<A>& kernels_;
  Axis frames_;
  Axis rows_;
  Axis columns_;
  int64_t channels_;
  SoftmaxTerms<A> terms_;
  CarefulPooling<T> careful_;
  int64_t windows_per_tile_ = 1;
  int64_t tiles_per_row_ = 1;
  int64_t row_length_ = 0;
  bool pools_pairs_ = false;
  bool in_strips_ = false;
  int64_t rows_per_strip_ = 1;
  Strips strips_{1, 1};

  Range get_tile_windows(int64_t tile) const {
    const int64_t first = tile * windows_per_tile_;
    return {first, std::min(first + windows_per_tile_, columns_.output)};
  }

  ColumnWindows get_column_windows(Range windows) const {
    return {windows.size(), columns_.kernel, columns_.stride, channels_};
  }

  int64_t get_input_cell(int64_t frame, int64_t row, int64_t column) const {
    return (frame * rows_.input + row) * columns_.input + column;
  }
  int64_t get_output_cell(int64_t frame, int64_t row, int64_t window) const {
    return (frame * rows_.output + row) * columns_.output + window;
  }

  // Columns outside the input have weight 0. accumulate_rows leaves them alone.
  void clear_padding(Range windows, A* sums) const {
    const Range cells = columns_.get_cells(windows);
    const int64_t origin = columns_.get_start(windows.begin);
    for (int64_t row = 0; row < 2 * rows_per_strip_; ++row) {
      A* sum = sums + row * row_length_;
      std::fill(sum, sum + (cells.begin - origin) * channels_, A(0));
      std::fill(sum + (cells.end - origin) * channels_, sum + row_length_, A(0));
    }
  }

  // Sums over the frames and rows of the windows of each row in a strip, for every column.
  bool accumulate_rows(const T* part, int64_t frame, Range rows, Range windows, A* sums) const {
    const Range frames = frames_.get_cells({frame, frame + 1});
    const Range columns = columns_.get_cells(windows);
    const int64_t frame_stride = rows_.input * columns_.input * channels_;
    const int64_t row_stride = columns_.input * channels_;
    const int64_t length = columns.size() * channels_;
    A* to = sums + (columns.begin - columns_.get_start(windows.begin)) * channels_;
    if (in_strips_) {
      const RowStrip strip{
          frames.size(),
          frame_stride,
          rows.size(),
          row_stride,
          rows_.get_start(rows.begin) >= 0,
          rows_.get_start(rows.end) < rows_.input,
          2 * kStripRows * row_stride // the next strip
      };
      const T* from = part + get_input_cell(frames.begin, rows_.get_start(rows.begin) + 1, columns.begin) * channels_;
      return kernels_.accumulate_strip(terms_, from, strip, length, to, to + row_length_, 2 * row_length_);
    }
    const Range cells = rows_.get_cells(rows);
    const RowBlock block{frames.size(), frame_stride, cells.size(), row_stride, length};
    const T* from = part + get_input_cell(frames.begin, cells.begin, columns.begin) * channels_;
    return kernels_.accumulate(terms_, from, block, to, to + row_length_);
  }

  void find_slopes(BackwardState& state, int64_t frame, Range rows) const {
    const bool is_input_moderate = accumulate_rows(state.input, frame, rows, state.windows, state.sums.data());
    const int64_t origin = columns_.get_start(state.windows.begin);
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const int64_t place = state.get_ring_slot(frame, row) * row_length_;
      const A* total = state.sums.data() + (row - rows.begin) * 2 * row_length_;
      const bool is_gradient_moderate = kernels_.finish_backward(
          terms_,
          get_column_windows(state.windows),
          total,
          total + row_length_,
          state.grad_output + get_output_cell(frame, row, state.windows.begin) * channels_,
          columns_.get_owned(state.owned_windows).end - origin,
          state.scratch.data(),
          row_length_,
          state.slopes.data() + place,
          state.offsets.data() + place
      );
      state.moderate[frame % state.ring_frames * rows_.output + row] = is_input_moderate && is_gradient_moderate;
    }
  }

  // The gradient of the cells that a frame of windows owns, row by row while they are in the cache.
  void differentiate_frame(BackwardState& state, int64_t frame) const {
    const Range owned_frames = frames_.get_owned({frame, frame + 1});
    const Range owned_columns = columns_.get_owned(state.owned_windows);
    bool is_any_careful = false;
    for (int64_t strip = 0; strip < strips_.count(); ++strip) {
      const Range rows = strips_.get_rows(strip);
      if (!pools_pairs_) {
        find_slopes(state, frame, rows);
      }
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        state.careful[row] =
            pools_pairs_ ? !differentiate_pairs(state, frame, row)
                         : !differentiate_rows(state, owned_frames, rows_.get_owned({row, row + 1}), owned_columns);
        is_any_careful |= state.careful[row] != 0;
      }
    }
    if (!is_any_careful) {
      return;
    }
    for (int64_t row = 0; row < rows_.output;) {
      int64_t end = row;
      while (end < rows_.output && state.careful[end]) {
        ++end;
      }
      if (end > row) {
        careful_.differentiate(
            state.grad_output,
            state.input,
            state.grad_input,
            owned_frames,
            rows_.get_owned({row, end}),
            owned_columns,
            {0, channels_}
        );
      }
      row = end + 1;
    }
  }

  RowBlock create_pair_block(Range windows) const {
    return {
        frames_.kernel,
        rows_.input * columns_.input * channels_,
        rows_.kernel,
        columns_.input * channels_,
        2 * windows.size() * channels_
    };
  }

  bool differentiate_pairs(BackwardState& state, int64_t frame, int64_t row) const {
    const Range windows = state.owned_windows;
    const int64_t cell = get_input_cell(frame * frames_.stride, row * rows_.stride, 2 * windows.begin) * channels_;
    return kernels_.pool_pairs_backward(
        terms_,
        state.input + cell,
        create_pair_block(windows),
        get_column_windows(windows),
        state.grad_output + get_output_cell(frame, row, windows.begin) * channels_,
        state.grad_input + cell
    );
  }

  // False if the block must be done carefully.
  bool differentiate_rows(BackwardState& state, Range frames, Range rows, Range columns) const {
    if (frames.size() == 0 || rows.size() == 0 || columns.size() == 0) {
      return true;
    }
    const int64_t origin = columns_.get_start(state.windows.begin);
    bool is_moderate = true;
    for (int64_t t = frames.begin; t < frames.end; ++t) {
      const Range window_frames = frames_.get_windows({t, t + 1});
      for (int64_t h = rows.begin; h < rows.end; ++h) {
        const Range window_rows = rows_.get_windows({h, h + 1});
        state.slope_rows.clear();
        state.offset_rows.clear();
        for (int64_t frame = window_frames.begin; frame < window_frames.end; ++frame) {
          for (int64_t row = window_rows.begin; row < window_rows.end; ++row) {
            if (!state.moderate[frame % state.ring_frames * rows_.output + row]) {
              return false;
            }
            const int64_t at = state.get_ring_slot(frame, row) * row_length_ + (columns.begin - origin) * channels_;
            state.slope_rows.push_back(state.slopes.data() + at);
            state.offset_rows.push_back(state.offsets.data() + at);
          }
        }
        const int64_t cell = get_input_cell(t, h, columns.begin) * channels_;
        is_moderate &= kernels_.differentiate(
            terms_,
            state.input + cell,
            columns.size() * channels_,
            state.slope_rows.data(),
            state.offset_rows.data(),
            static_cast<int64_t>(state.slope_rows.size()),
            state.grad_input + cell
        );
      }
    }
    return is_moderate;
  }
};

} // namespace videosoft
