// SoftPool in channels-last layout with windows of 3 x 3 (and any number of frames) and stride 2: which strips of
// windows meet which cells.
//
// A part is a sample, or a block of its channels where those are many. Its rows of windows are taken in strips, as long
// as the row, so that memory is read in its order, and several rows high, so that the row between two of them is
// exponentiated once.

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

// More channels would carry more from column to column than a first-level cache holds.
constexpr int64_t kChannelsPerBlock = 512;

template <typename T>
class ChannelPooling {
 public:
  using A = accumulator_t<T>;

  static bool suits(const Geometry& geometry, const Layout& layout) {
    return layout.channels >= kWidestVector<A> && Strips::suit(geometry, 1) && Strips::suit(geometry, 2);
  }

  ChannelPooling(
      const Geometry& geometry, const Layout& layout, const Softmax<A>& softmax, const RowKernels<A>& kernels, double b
  )
      : geometry_(geometry),
        kernels_(kernels),
        frames_(geometry, 0),
        rows_(geometry, 1),
        columns_(geometry, 2),
        channels_(layout.channels),
        num_blocks_(divide_up(channels_, kChannelsPerBlock)),
        channels_per_block_(divide_up(channels_, num_blocks_)),
        // Rows of cells are streams that the processor must follow, in each of the frames.
        strips_(rows_.output, frames_.kernel == 1 ? kStripRows : kStripRows / 2),
        terms_(create_terms(geometry, softmax, b)),
        careful_(geometry, layout, softmax, terms_.largest) {
  }

  // Items of work: a strip (forward), a frame of windows (backward).
  int64_t num_forward_items() const {
    return num_parts() * frames_.output * strips_.count();
  }
  int64_t num_backward_items() const {
    return num_parts() * frames_.output;
  }

  void pool(const T* input, T* output, int64_t begin, int64_t end) const {
    Buffer<A> carry(carry_length());
    for (int64_t item = begin; item < end; ++item) {
      const int64_t frame = item / strips_.count() % frames_.output;
      const int64_t part = item / strips_.count() / frames_.output;
      const Range rows = strips_.get_rows(item % strips_.count());
      const Range channels = get_channels(part);
      const T* sample = input + get_sample(part) * geometry_.num_input() * channels_;
      T* sample_output = output + get_sample(part) * geometry_.num_output() * channels_;
      const bool is_moderate = kernels_.pool_channels(
          terms_,
          sample + get_middle_cell(frame, rows.begin) + channels.begin,
          create_strip(frame, rows, channels),
          carry.data(),
          sample_output + get_output_cell(frame, rows.begin) + channels.begin
      );
      if (!is_moderate) {
        for (int64_t row = rows.begin; row < rows.end; ++row) {
          careful_.pool(sample, frame, row, {0, columns_.output}, channels, sample_output);
        }
      }
    }
  }

  void pool_backward(const T* grad_output, const T* input, T* grad_input, int64_t begin, int64_t end) const {
    BackwardState state(*this);
    for (int64_t item = begin; item < end; ++item) {
      const int64_t frame = item % frames_.output;
      const int64_t part = item / frames_.output;
      state.channels = get_channels(part);
      state.input = input + get_sample(part) * geometry_.num_input() * channels_;
      state.grad_output = grad_output + get_sample(part) * geometry_.num_output() * channels_;
      state.grad_input = grad_input + get_sample(part) * geometry_.num_input() * channels_;
      if (item == begin || frame == 0) {
        for (int64_t before = std::max<int64_t>(frame - frames_.overlap, 0); before < frame; ++before) {
          for (int64_t strip = 0; strip < strips_.count(); ++strip) {
            find_slopes(state, before, strip);
          }
        }
      }
      differentiate_frame(state, frame);
    }
  }

 private:
  // What a thread keeps while it walks through the frames of a part.
  struct BackwardState {
    Range channels{};
    const T* input = nullptr;
    const T* grad_output = nullptr;
    T* grad_input = nullptr;
    int64_t ring_frames;
    int64_t ring_rows;
    int64_t columns;
    Buffer<A> carry;
    Buffer<A> slopes; // of the rows of windows that the next rows of cells need
    Buffer<A> offsets;
    std::vector<char> moderate;       // by row of windows
    std::vector<char> careful;        // by block of owned rows of the frame
    std::vector<const A*> slope_rows; // those that hold one row of cells
    std::vector<const A*> offset_rows;

    explicit BackwardState(const ChannelPooling& pooling)
        : ring_frames(std::min(pooling.frames_.overlap + 1, pooling.frames_.output)),
          ring_rows(ring_frames > 1 ? pooling.rows_.output : std::min(2 * kStripRows, pooling.rows_.output)),
          columns(pooling.columns_.output),
          carry(pooling.carry_length()),
          slopes(ring_frames * ring_rows * columns * pooling.channels_per_block_),
          offsets(ring_frames * ring_rows * columns * pooling.channels_per_block_),
          moderate(ring_frames * pooling.rows_.output),
          careful(pooling.rows_.output) {
    }

    int64_t get_ring_place(int64_t frame, int64_t row) const {
      return (frame % ring_frames * ring_rows + row % ring_rows) * columns * channels.size();
    }
  };

  const Geometry& geometry_;
  const RowKernels<A>& kernels_;
  Axis frames_;
  Axis rows_;
  Axis columns_;
  int64_t channels_;
  int64_t num_blocks_;
  int64_t channels_per_block_;
  Strips strips_;
  SoftmaxTerms<A> terms_;
  CarefulPooling<T> careful_;

  int64_t num_parts() const {
    return geometry_.batch * num_blocks_;
  }
  // A last vector that overlaps the one before is carried for itself.
  int64_t carry_length() const {
    return 2 * kStripRows * (channels_per_block_ + kSlack);
  }

  int64_t get_sample(int64_t part) const {
    return part / num_blocks_;
  }
  // Two blocks may not overlap: they could belong to two threads.
  Range get_channels(int64_t part) const {
    const int64_t block = part % num_blocks_;
    return {block * channels_ / num_blocks_, (block + 1) * channels_ / num_blocks_};
  }

  // Of the windows in a row: the middle of the first, in the first frame that exists.
  int64_t get_middle_cell(int64_t frame, int64_t row) const {
    const int64_t first_frame = frames_.get_cells({frame, frame + 1}).begin;
    return get_cell(first_frame, rows_.get_start(row) + 1, columns_.get_start(0) + 1);
  }
  int64_t get_cell(int64_t frame, int64_t row, int64_t column) const {
    return ((frame * rows_.input + row) * columns_.input + column) * channels_;
  }
  int64_t get_output_cell(int64_t frame, int64_t row) const {
    return (frame * rows_.output + row) * columns_.output * channels_;
  }

  ChannelStrip create_strip(int64_t frame, Range rows, Range channels) const {
    const int64_t columns_after = columns_.input - columns_.get_start(columns_.output);
    const RowStrip row_strip{
        frames_.get_cells({frame, frame + 1}).size(),
        get_cell(1, 0, 0),
        rows.size(),
        get_cell(0, 1, 0),
        rows_.get_start(rows.begin) >= 0,
        rows_.get_start(rows.end) < rows_.input,
        kPrefetchDistance<T>
    };
    return {
        row_strip,
        columns_.output,
        channels_,
        columns_.get_start(0) >= 0,
        columns_after > 0,
        columns_after,
        get_output_cell(0, 1),
        channels.size()
    };
  }

  void find_slopes(BackwardState& state, int64_t frame, int64_t strip) const {
    const Range rows = strips_.get_rows(strip);
    const int64_t place = state.get_ring_place(frame, rows.begin);
    const bool is_moderate = kernels_.find_channel_slopes(
        terms_,
        state.input + get_middle_cell(frame, rows.begin) + state.channels.begin,
        create_strip(frame, rows, state.channels),
        state.carry.data(),
        state.grad_output + get_output_cell(frame, rows.begin) + state.channels.begin,
        state.slopes.data() + place,
        state.offsets.data() + place
    );
    char* moderate = state.moderate.data() + frame % state.ring_frames * rows_.output;
    std::fill(moderate + rows.begin, moderate + rows.end, is_moderate);
  }

  // The gradient of the cells that a frame of windows owns, strip by strip while they are in the cache.
  void differentiate_frame(BackwardState& state, int64_t frame) const {
    const Range owned_frames = frames_.get_owned({frame, frame + 1});
    for (int64_t strip = 0; strip < strips_.count(); ++strip) {
      find_slopes(state, frame, strip);
      const Range rows = strips_.get_rows(strip);
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        state.careful[row] = !differentiate_rows(state, owned_frames, rows_.get_owned({row, row + 1}));
      }
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
            {0, columns_.input},
            state.channels
        );
      }
      row = end + 1;
    }
  }

  // False if the rows must be done carefully.
  bool differentiate_rows(BackwardState& state, Range frames, Range rows) const {
    const ChannelStrip strip = create_strip(0, {0, 1}, state.channels);
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
            state.slope_rows.push_back(state.slopes.data() + state.get_ring_place(frame, row));
            state.offset_rows.push_back(state.offsets.data() + state.get_ring_place(frame, row));
          }
        }
        const int64_t place = get_cell(t, h, columns_.get_start(0) + 1) + state.channels.begin;
        is_moderate &= kernels_.differentiate_channels(
            terms_,
            state.input + place,
            strip,
            state.slope_rows.data(),
            state.offset_rows.data(),
            static_cast<int64_t>(state.slope_rows.size()),
            state.grad_input + place
        );
      }
    }
    return is_moderate;
  }
};

} // namespace videosoft
