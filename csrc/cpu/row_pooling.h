// SoftPool by rows (row_kernels.h): which rows of the input meet which rows of the output, tile by tile.
//
// A part is what windows never leave: a plane of one channel (contiguous layout) or a sample (channels last). Its rows
// are cut into tiles of columns that fit into the first-level cache. A tile's windows need columns beyond it where
// windows overlap; those are computed twice, once for each tile, so that no tile waits for another and the result does
// not depend on the number of threads.

#pragma once

#include "../geometry.h"
#include "row_kernels.h"
#include "tile_kernels.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <vector>

namespace videosoft {

// Numbers of one row of a tile, so that two rows of sums stay in a first-level cache of 32 KiB.
constexpr int64_t kRowNumbers = 1024;

inline int64_t divide_up(int64_t value, int64_t by) {
  return (value + by - 1) / by;
}

// Zeros, aligned to the widest vector: accesses that cross cache lines cost twice.
template <typename A>
class Buffer {
 public:
  explicit Buffer(int64_t size) : numbers_(static_cast<A*>(::operator new(size * sizeof(A), std::align_val_t{64}))) {
    std::fill(numbers_.get(), numbers_.get() + size, A(0));
  }

  A* data() {
    return numbers_.get();
  }

 private:
  struct Free {
    void operator()(A* numbers) const {
      ::operator delete(numbers, std::align_val_t{64});
    }
  };
  std::unique_ptr<A, Free> numbers_;
};

struct Range {
  int64_t begin;
  int64_t end;

  int64_t size() const {
    return end - begin;
  }
};

// The windows and cells of one dimension.
struct Axis {
  int64_t input;
  int64_t output;
  int64_t kernel;
  int64_t stride;
  int64_t padding;
  int64_t overlap; // windows before one that may share cells with it

  Axis(const Geometry& geometry, int dim)
      : input(geometry.input[dim]),
        output(geometry.output[dim]),
        kernel(geometry.kernel[dim]),
        stride(geometry.stride[dim]),
        padding(geometry.padding[dim]),
        overlap(divide_up(kernel, stride) - 1) {
  }

  // Whether every cell is in exactly one window.
  bool is_covered() const {
    return kernel == stride && padding == 0 && output * stride == input;
  }

  int64_t get_start(int64_t window) const {
    return window * stride - padding;
  }

  // The cells of windows [begin, end) that exist.
  Range get_cells(Range windows) const {
    return {std::max<int64_t>(get_start(windows.begin), 0), std::min(get_start(windows.end - 1) + kernel, input)};
  }

  // The windows that hold one of the cells.
  Range get_windows(Range cells) const {
    const int64_t first = divide_up(std::max<int64_t>(cells.begin + padding - kernel + 1, 0), stride);
    return {first, std::min((cells.end - 1 + padding) / stride + 1, output)};
  }

  // Every cell belongs to the last window that starts at or before it; cells before the first window's to the first.
  Range get_owned(Range windows) const {
    const auto clip = [this](int64_t cell) { return std::min(std::max<int64_t>(cell, 0), input); };
    return {
        windows.begin == 0 ? 0 : clip(get_start(windows.begin)),
        windows.end == output ? input : clip(get_start(windows.end))
    };
  }

  // The windows, from `windows` back, that hold cells owned by them.
  Range add_overlap(Range windows) const {
    return {std::max<int64_t>(windows.begin - overlap, 0), windows.end};
  }
};

template <typename T>
class RowPooling {
 public:
  using A = accumulator_t<T>;

  RowPooling(
      const Geometry& geometry, const Layout& layout, const Softmax<A>& softmax, const RowKernels<A>& kernels, double b
  )
      : geometry_(geometry),
        layout_(layout),
        softmax_(softmax),
        kernels_(kernels),
        frames_(geometry, 0),
        rows_(geometry, 1),
        columns_(geometry, 2),
        channels_(layout.channels) {
    terms_.temperature = static_cast<A>(b);
    // One cell a window is a copy, which e x / e is not to the last bit: leave it to the careful way.
    const double largest = b > 0 ? std::min(kLargestExponent / b, kLargestDirect) : kLargestDirect;
    terms_.largest = geometry.num_cells() == 1 ? A(-1) : static_cast<A>(largest);
    terms_.exact_gradient = softmax.exact_gradient;
    const int64_t columns_per_tile = kRowNumbers / channels_ - columns_.kernel;
    windows_per_tile_ = std::min(std::max<int64_t>(columns_per_tile / columns_.stride + 1, 1), columns_.output);
    tiles_per_row_ = divide_up(columns_.output, windows_per_tile_);
    // Even tiles: the last one would otherwise be a sliver.
    windows_per_tile_ = divide_up(columns_.output, tiles_per_row_);
    tiles_per_row_ = divide_up(columns_.output, windows_per_tile_);
    const int64_t num_rows = frames_.kernel * rows_.kernel;
    const int64_t windows_of_last_tile = columns_.output - (tiles_per_row_ - 1) * windows_per_tile_;
    pools_pairs_ = columns_.kernel == 2 && (num_rows == 1 || num_rows == 2 || num_rows == 4) && frames_.is_covered() &&
                   rows_.is_covered() && columns_.is_covered() &&
                   (channels_ > 1 ? channels_ : windows_of_last_tile) >= kWidestVector<A>;
    // The columns of a tile with all the windows it needs and the cells that the last of them owns, and room.
    const int64_t windows = std::min(windows_per_tile_ + columns_.overlap, columns_.output);
    const int64_t span = windows * columns_.stride + columns_.kernel + 2 * columns_.overlap;
    row_length_ = divide_up(span * channels_, kSlack) * kSlack + 2 * kSlack * (columns_.stride + 1);
  }

  int64_t num_parts() const {
    return geometry_.batch * geometry_.channels / channels_;
  }

  // Items of work: a row of windows of one tile (forward), a frame of them (backward).
  int64_t num_forward_items() const {
    return num_parts() * tiles_per_row_ * frames_.output * rows_.output;
  }
  int64_t num_backward_items() const {
    return num_parts() * tiles_per_row_ * frames_.output;
  }

  void pool(const T* input, T* output, int64_t begin, int64_t end) const {
    Buffer<A> sums(2 * row_length_);
    std::optional<TileSoftmax<T>> careful; // rarely needed
    for (int64_t item = begin; item < end;) {
      const int64_t tile = item / (rows_.output * frames_.output);
      const int64_t tile_end = std::min((tile + 1) * rows_.output * frames_.output, end);
      int64_t row = item % rows_.output;
      int64_t frame = item / rows_.output % frames_.output;
      const Range windows = get_tile_windows(tile % tiles_per_row_);
      const ColumnWindows column_windows = get_column_windows(windows);
      const T* part = input + tile / tiles_per_row_ * geometry_.num_input() * channels_;
      T* part_output = output + tile / tiles_per_row_ * geometry_.num_output() * channels_;
      clear_padding(windows, sums.data());
      for (; item < tile_end; ++item) {
        T* to = part_output + get_output_cell(frame, row, windows.begin) * channels_;
        bool is_moderate;
        if (pools_pairs_) {
          const T* from =
              part + get_input_cell(frame * frames_.stride, row * rows_.stride, 2 * windows.begin) * channels_;
          is_moderate = kernels_.pool_pairs(terms_, from, create_pair_block(windows), column_windows, to);
        } else {
          is_moderate = accumulate_row(part, frame, row, windows, sums.data());
          kernels_.finish(column_windows, sums.data(), sums.data() + row_length_, to);
        }
        if (!is_moderate) {
          if (!careful) {
            careful.emplace(geometry_, layout_, softmax_, false);
          }
          pool_carefully(*careful, part, frame, row, windows, part_output);
        }
        if (++row == rows_.output) {
          row = 0;
          ++frame;
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
          for (int64_t row = 0; row < rows_.output; ++row) {
            find_slopes(state, before, row);
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
          ring_rows(ring_frames > 1 ? pooling.rows_.output : std::min(pooling.rows_.overlap + 1, pooling.rows_.output)),
          sums(2 * pooling.row_length_),
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
  const Layout& layout_;
  const Softmax<A>& softmax_;
  const RowKernels<A>& kernels_;
  Axis frames_;
  Axis rows_;
  Axis columns_;
  int64_t channels_;
  SoftmaxTerms<A> terms_{};
  int64_t windows_per_tile_ = 1;
  int64_t tiles_per_row_ = 1;
  int64_t row_length_ = 0;
  bool pools_pairs_ = false;

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

  // Columns outside the input have weight 0. accumulate_row leaves them alone.
  void clear_padding(Range windows, A* sums) const {
    const Range cells = columns_.get_cells(windows);
    const int64_t origin = columns_.get_start(windows.begin);
    for (A* sum : {sums, sums + row_length_}) {
      std::fill(sum, sum + (cells.begin - origin) * channels_, A(0));
      std::fill(sum + (cells.end - origin) * channels_, sum + row_length_, A(0));
    }
  }

  // Sums over the frames and rows of the windows of one output row, for every column.
  bool accumulate_row(const T* part, int64_t frame, int64_t row, Range windows, A* sums) const {
    const Range frames = frames_.get_cells({frame, frame + 1});
    const Range rows = rows_.get_cells({row, row + 1});
    const Range columns = columns_.get_cells(windows);
    const RowBlock block{
        frames.size(),
        rows_.input * columns_.input * channels_,
        rows.size(),
        columns_.input * channels_,
        columns.size() * channels_
    };
    const T* from = part + get_input_cell(frames.begin, rows.begin, columns.begin) * channels_;
    A* to = sums + (columns.begin - columns_.get_start(windows.begin)) * channels_;
    return kernels_.accumulate(terms_, from, block, to, to + row_length_);
  }

  // Only the windows that need it, so that a window's output depends on its own cells alone.
  void pool_carefully(
      TileSoftmax<T>& careful, const T* part, int64_t frame, int64_t row, Range windows, T* output
  ) const {
    const Range cells[2] = {frames_.get_cells({frame, frame + 1}), rows_.get_cells({row, row + 1})};
    const auto is_moderate = [&](int64_t window, int64_t channel) {
      const Range cells_of_window = columns_.get_cells({window, window + 1});
      for (int64_t t = cells[0].begin; t < cells[0].end; ++t) {
        for (int64_t h = cells[1].begin; h < cells[1].end; ++h) {
          for (int64_t w = cells_of_window.begin; w < cells_of_window.end; ++w) {
            const A value = static_cast<A>(part[get_input_cell(t, h, w) * channels_ + channel]);
            if (!(std::abs(value) <= terms_.largest)) {
              return false;
            }
          }
        }
      }
      return true;
    };
    for_tiles(layout_, frame, row, windows.begin, windows.end, 0, channels_, [&](const Tile& tile) {
      T pooled[kLanes];
      pool_tile(careful, part, tile, pooled);
      T* to = output + get_output_cell(frame, row, tile.position[2]) * channels_ + tile.first_channel;
      for (int lane = 0; lane < tile.lanes; ++lane) {
        const int64_t window = tile.position[2] + (layout_.channels_last ? 0 : lane);
        if (!is_moderate(window, layout_.channels_last ? tile.first_channel + lane : 0)) {
          to[lane] = pooled[lane];
        }
      }
    });
  }

  void find_slopes(BackwardState& state, int64_t frame, int64_t row) const {
    const int64_t slot = state.get_ring_slot(frame, row);
    const bool is_input_moderate = accumulate_row(state.input, frame, row, state.windows, state.sums.data());
    const int64_t origin = columns_.get_start(state.windows.begin);
    const bool is_gradient_moderate = kernels_.finish_backward(
        terms_,
        get_column_windows(state.windows),
        state.sums.data(),
        state.sums.data() + row_length_,
        state.grad_output + get_output_cell(frame, row, state.windows.begin) * channels_,
        columns_.get_owned(state.owned_windows).end - origin,
        state.scratch.data(),
        row_length_,
        state.slopes.data() + slot * row_length_,
        state.offsets.data() + slot * row_length_
    );
    state.moderate[frame % state.ring_frames * rows_.output + row] = is_input_moderate && is_gradient_moderate;
  }

  // The gradient of the cells that a frame of windows owns, row by row while they are in the cache.
  void differentiate_frame(BackwardState& state, int64_t frame) const {
    const Range owned_frames = frames_.get_owned({frame, frame + 1});
    const Range owned_columns = columns_.get_owned(state.owned_windows);
    bool is_any_careful = false;
    for (int64_t row = 0; row < rows_.output; ++row) {
      if (pools_pairs_) {
        state.careful[row] = !differentiate_pairs(state, frame, row);
      } else {
        find_slopes(state, frame, row);
        state.careful[row] = !differentiate_rows(state, owned_frames, rows_.get_owned({row, row + 1}), owned_columns);
      }
      is_any_careful |= state.careful[row] != 0;
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
        differentiate_carefully(state, owned_frames, rows_.get_owned({row, end}), owned_columns);
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

  // A box of cells, from all the windows that hold one of them.
  void differentiate_carefully(BackwardState& state, Range frames, Range rows, Range columns) const {
    if (frames.size() == 0 || rows.size() == 0 || columns.size() == 0) {
      return;
    }
    const Range windows[3] = {frames_.get_windows(frames), rows_.get_windows(rows), columns_.get_windows(columns)};
    // Windows reach beyond the cells: their sums do as well, and only the cells' are copied.
    const Range reach[3] = {frames_.get_cells(windows[0]), rows_.get_cells(windows[1]), columns_.get_cells(windows[2])};
    const Box box{
        {std::min(reach[0].begin, frames.begin),
         std::min(reach[1].begin, rows.begin),
         std::min(reach[2].begin, columns.begin)},
        {std::max(reach[0].end, frames.end) - std::min(reach[0].begin, frames.begin),
         std::max(reach[1].end, rows.end) - std::min(reach[1].begin, rows.begin),
         std::max(reach[2].end, columns.end) - std::min(reach[2].begin, columns.begin)}
    };
    TileSoftmax<T> careful(geometry_, layout_, softmax_, true);
    std::vector<A> run_sums(layout_.run_size());
    std::vector<A> sums;
    for (int64_t first = 0; first < channels_; first += kLanes) {
      const int64_t last = std::min(first + kLanes, channels_);
      sums.assign(box.size.t * box.size.h * box.size.w * (last - first), A(0));
      for (int64_t frame = windows[0].begin; frame < windows[0].end; ++frame) {
        for (int64_t row = windows[1].begin; row < windows[1].end; ++row) {
          for_tiles(layout_, frame, row, windows[2].begin, windows[2].end, first, last, [&](const Tile& tile) {
            const int64_t cell = get_output_cell(frame, row, tile.position[2]) * channels_ + tile.first_channel;
            pool_tile_backward(
                careful, state.grad_output + cell, state.input, tile, sums.data(), box, last - first, run_sums.data()
            );
          });
        }
      }
      for (int64_t t = frames.begin; t < frames.end; ++t) {
        for (int64_t h = rows.begin; h < rows.end; ++h) {
          for (int64_t w = columns.begin; w < columns.end; ++w) {
            const A* from = sums.data() + box.find({t, h, w}) * (last - first);
            T* to = state.grad_input + get_input_cell(t, h, w) * channels_ + first;
            for (int64_t channel = 0; channel < last - first; ++channel) {
              to[channel] = static_cast<T>(from[channel]);
            }
          }
        }
      }
    }
  }
};

} // namespace videosoft
