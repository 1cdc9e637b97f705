// The windows that row kernels leave alone (row_kernels.h: values too large, not finite), by tiles (tile_kernels.h).

#pragma once

#include "axis.h"
#include "row_kernels.h"
#include "tile_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace videosoft {

// What row kernels take, and up to which values.
template <typename A>
SoftmaxTerms<A> create_terms(const Geometry& geometry, const Softmax<A>& softmax, double b) {
  // One cell a window is a copy, which e x / e is not to the last bit: leave it to the careful way.
  const double largest = b > 0 ? std::min(kLargestExponent / b, kLargestDirect) : kLargestDirect;
  return {static_cast<A>(b), geometry.num_cells() == 1 ? A(-1) : static_cast<A>(largest), softmax.exact_gradient};
}

// `input`, `output` and the gradients are those of a part: a plane (contiguous layout) or a sample (channels last).
template <typename T>
class CarefulPooling {
 public:
  using A = accumulator_t<T>;

  // Values up to `largest` are moderate: other ways are as exact.
  CarefulPooling(const Geometry& geometry, const Layout& layout, const Softmax<A>& softmax, A largest)
      : geometry_(geometry),
        layout_(layout),
        softmax_(softmax),
        largest_(largest),
        axes_{Axis(geometry, 0), Axis(geometry, 1), Axis(geometry, 2)} {
  }

  // Only the windows that need it, so that a window's output depends on its own cells alone.
  void pool(const T* input, int64_t frame, int64_t row, Range windows, Range channels, T* output) const {
    TileSoftmax<T> tile_softmax(geometry_, layout_, softmax_, false);
    for_tiles(layout_, frame, row, windows.begin, windows.end, channels.begin, channels.end, [&](const Tile& tile) {
      T pooled[kLanes];
      pool_tile(tile_softmax, input, tile, pooled);
      T* to = output + get_output_cell(frame, row, tile.position[2]) * layout_.channels + tile.first_channel;
      for (int lane = 0; lane < tile.lanes; ++lane) {
        const int64_t window = tile.position[2] + (layout_.channels_last ? 0 : lane);
        const int64_t channel = layout_.channels_last ? tile.first_channel + lane : 0;
        if (!is_moderate(input + channel, frame, row, window)) {
          to[lane] = pooled[lane];
        }
      }
    });
  }

  // A box of cells, from all the windows that hold one of them.
  void differentiate(
      const T* grad_output, const T* input, T* grad_input, Range frames, Range rows, Range columns, Range channels
  ) const {
    const Range cells[3] = {frames, rows, columns};
    Range windows[3];
    Box box;
    int64_t* first[3] = {&box.first.t, &box.first.h, &box.first.w};
    int64_t* size[3] = {&box.size.t, &box.size.h, &box.size.w};
    for (int dim = 0; dim < 3; ++dim) {
      if (cells[dim].size() == 0) {
        return;
      }
      windows[dim] = axes_[dim].get_windows(cells[dim]);
      // Windows reach beyond the cells: their sums do as well, and only the cells' are copied.
      const Range reach = axes_[dim].get_cells(windows[dim]);
      *first[dim] = std::min(reach.begin, cells[dim].begin);
      *size[dim] = std::max(reach.end, cells[dim].end) - *first[dim];
    }
    TileSoftmax<T> tile_softmax(geometry_, layout_, softmax_, true);
    std::vector<A> run_sums(layout_.run_size());
    std::vector<A> sums;
    for (int64_t channel = channels.begin; channel < channels.end; channel += kLanes) {
      const int64_t last = std::min(channel + kLanes, channels.end);
      sums.assign(box.size.t * box.size.h * box.size.w * (last - channel), A(0));
      for (int64_t frame = windows[0].begin; frame < windows[0].end; ++frame) {
        for (int64_t row = windows[1].begin; row < windows[1].end; ++row) {
          for_tiles(layout_, frame, row, windows[2].begin, windows[2].end, channel, last, [&](const Tile& tile) {
            const int64_t cell = get_output_cell(frame, row, tile.position[2]) * layout_.channels + tile.first_channel;
            pool_tile_backward(
                tile_softmax, grad_output + cell, input, tile, sums.data(), box, last - channel, run_sums.data()
            );
          });
        }
      }
      for (int64_t t = frames.begin; t < frames.end; ++t) {
        for (int64_t h = rows.begin; h < rows.end; ++h) {
          for (int64_t w = columns.begin; w < columns.end; ++w) {
            const A* from = sums.data() + box.find({t, h, w}) * (last - channel);
            T* to = grad_input + get_input_cell(t, h, w) * layout_.channels + channel;
            for (int64_t i = 0; i < last - channel; ++i) {
              to[i] = static_cast<T>(from[i]);
            }
          }
        }
      }
    }
  }

 private:
  const Geometry& geometry_;
  const Layout& layout_;
  const Softmax<A>& softmax_;
  A largest_;
  Axis axes_[3];

  int64_t get_input_cell(int64_t frame, int64_t row, int64_t column) const {
    return (frame * axes_[1].input + row) * axes_[2].input + column;
  }
  int64_t get_output_cell(int64_t frame, int64_t row, int64_t window) const {
    return (frame * axes_[1].output + row) * axes_[2].output + window;
  }

  bool is_moderate(const T* input, int64_t frame, int64_t row, int64_t window) const {
    const Range frames = axes_[0].get_cells({frame, frame + 1});
    const Range rows = axes_[1].get_cells({row, row + 1});
    const Range columns = axes_[2].get_cells({window, window + 1});
    for (int64_t t = frames.begin; t < frames.end; ++t) {
      for (int64_t h = rows.begin; h < rows.end; ++h) {
        for (int64_t w = columns.begin; w < columns.end; ++w) {
          const A value = static_cast<A>(input[get_input_cell(t, h, w) * layout_.channels]);
          if (!(std::abs(value) <= largest_)) {
            return false;
          }
        }
      }
    }
    return true;
  }
};

} // namespace videosoft
