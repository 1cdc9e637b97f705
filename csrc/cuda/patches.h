// The sums of a patch of windows that one thread computes, with the exponential of a cell shared by the windows of the
// patch. Lanes are what lies side by side in memory and moves in vectors: neighbouring windows of a row (contiguous
// layout) or neighbouring channels of a window (channels last).

#pragma once

#include "softmax.h"

namespace videosoft {

// kRows windows along H times kLanes along W. Rows are whole vectors, and the windows reach over the left edge of their
// stretch of columns, never over the right one.
template <typename T, typename Window, int kRows_, int kLanes_>
struct ContiguousPatch {
  using A = accumulator_t<T>;
  static constexpr bool kChannelsLast = false;
  static constexpr int kRows = kRows_;
  static constexpr int kWindows = kLanes_;
  static constexpr int kLanes = kLanes_;
  static constexpr int kChannels = 1;

  // Calls emit(row of the patch, first window, sums of the lanes) for the windows before `last` of every row. `active`
  // is the activation of the kChannels channels.
  template <typename Active, typename Emit>
  static VIDEOSOFT_DEVICE void sum(
      const SoftmaxTerms<A>& terms,
      const Active& active,
      const T* input,
      const Shape<int32_t>& shape,
      int32_t t,
      int32_t h,
      int32_t w,
      int32_t,
      Emit&& emit
  ) {
    constexpr int kLeft = Window::padding(2);
    constexpr int kColumns = kWindows * Window::stride(2);
    constexpr int kInputRows = (kRows - 1) * Window::stride(1) + Window::kernel(1);
    static_assert(kLeft >= 1 && Window::kernel(2) <= Window::stride(2) + kLeft, "windows must not reach to the right");
    const int32_t first_row = h * Window::stride(1) - Window::padding(1);
    const int32_t first_column = w * Window::stride(2);
    const bool has_left = first_column > 0;
    WindowSums<A> columns[kRows][kLeft + kColumns];
    VIDEOSOFT_UNROLL
    for (int frame = 0; frame < Window::kernel(0); ++frame) {
      const int32_t cell_t = t * Window::stride(0) - Window::padding(0) + frame;
      if (cell_t < 0 || cell_t >= shape.input[0]) {
        continue;
      }
      // All loads before the first use, so that they are under way together.
      RawNumbers<T, kColumns> cells[kInputRows];
      T left[kInputRows][kLeft] = {};
      VIDEOSOFT_UNROLL
      for (int row = 0; row < kInputRows; ++row) {
        const int32_t cell_h = first_row + row;
        if (cell_h >= 0 && cell_h < shape.input[1]) {
          const T* from = input + shape.find_input(cell_t, cell_h, first_column);
          cells[row].load(from);
          VIDEOSOFT_UNROLL
          for (int column = 0; column < kLeft; ++column) {
            if (has_left) {
              left[row][column] = from[column - kLeft];
            }
          }
        }
      }
      VIDEOSOFT_UNROLL
      for (int row = 0; row < kInputRows; ++row) {
        const int32_t cell_h = first_row + row;
        if (cell_h < 0 || cell_h >= shape.input[1]) {
          continue;
        }
        if (has_left) {
          VIDEOSOFT_UNROLL
          for (int column = 0; column < kLeft; ++column) {
            add_cell(terms, row, active.apply(static_cast<A>(left[row][column])), column, columns);
          }
        }
        VIDEOSOFT_UNROLL
        for (int column = 0; column < kColumns; ++column) {
          add_cell(terms, row, active.apply(cells[row].get(column)), kLeft + column, columns);
        }
      }
    }
    VIDEOSOFT_UNROLL
    for (int row = 0; row < kRows; ++row) {
      WindowSums<A> sums[kLanes];
      VIDEOSOFT_UNROLL
      for (int lane = 0; lane < kLanes; ++lane) {
        VIDEOSOFT_UNROLL
        for (int cell = 0; cell < Window::kernel(2); ++cell) {
          sums[lane].add(columns[row][kLeft - Window::padding(2) + lane * Window::stride(2) + cell]);
        }
      }
      emit(row, w, sums);
    }
  }

 private:
  template <int kColumns>
  static VIDEOSOFT_DEVICE void add_cell(
      const SoftmaxTerms<A>& terms, int input_row, A x, int column, WindowSums<A> (&columns)[kRows][kColumns]
  ) {
    const A power = Exponential<T>::compute(terms, x);
    VIDEOSOFT_UNROLL
    for (int row = 0; row < kRows; ++row) {
      const int offset = input_row - row * Window::stride(1);
      if (offset >= 0 && offset < Window::kernel(1)) {
        columns[row][column].add_power(power, x);
      }
    }
  }
};

// kRows windows along H times up to kWindows along W, one after the other, of kLanes channels: `input` is the part at
// the first channel.
template <typename T, typename Window, int kRows_, int kWindows_, int kLanes_>
struct ChannelsLastPatch {
  using A = accumulator_t<T>;
  static constexpr bool kChannelsLast = true;
  static constexpr int kRows = kRows_;
  static constexpr int kWindows = kWindows_;
  static constexpr int kLanes = kLanes_;
  static constexpr int kChannels = kLanes_;

  template <typename Active, typename Emit>
  static VIDEOSOFT_DEVICE void sum(
      const SoftmaxTerms<A>& terms,
      const Active& active,
      const T* input,
      const Shape<int32_t>& shape,
      int32_t t,
      int32_t h,
      int32_t w,
      int32_t last,
      Emit&& emit
  ) {
    // A window shares its first columns with the one before, its last with the one after.
    constexpr int kShared = Window::kernel(2) - Window::stride(2);
    constexpr int kOwn = Window::stride(2) - kShared;
    static_assert(kShared >= 0 && kOwn >= 0, "a column must be in at most two windows");
    WindowSums<A> shared[kRows][kLanes];
    int32_t start = w * Window::stride(2) - Window::padding(2);
    VIDEOSOFT_UNROLL
    for (int column = 0; column < kShared; ++column) {
      add_column(terms, active, input, shape, t, h, start + column, shared);
    }
    const int32_t end = get_least(w + kWindows, last);
    VIDEOSOFT_NO_UNROLL
    for (int32_t window = w; window < end; ++window, start += Window::stride(2)) {
      VIDEOSOFT_UNROLL
      for (int column = 0; column < kOwn; ++column) {
        add_column(terms, active, input, shape, t, h, start + kShared + column, shared);
      }
      WindowSums<A> next[kRows][kLanes];
      VIDEOSOFT_UNROLL
      for (int column = 0; column < kShared; ++column) {
        add_column(terms, active, input, shape, t, h, start + Window::stride(2) + column, next);
      }
      VIDEOSOFT_UNROLL
      for (int row = 0; row < kRows; ++row) {
        VIDEOSOFT_UNROLL
        for (int lane = 0; lane < kLanes; ++lane) {
          shared[row][lane].add(next[row][lane]);
        }
        emit(row, window, shared[row]);
        VIDEOSOFT_UNROLL
        for (int lane = 0; lane < kLanes; ++lane) {
          shared[row][lane] = next[row][lane];
        }
      }
    }
  }

 private:
  template <typename Active>
  static VIDEOSOFT_DEVICE void add_column(
      const SoftmaxTerms<A>& terms,
      const Active& active,
      const T* input,
      const Shape<int32_t>& shape,
      int32_t t,
      int32_t h,
      int32_t cell_w,
      WindowSums<A> (&sums)[kRows][kLanes]
  ) {
    constexpr int kInputRows = (kRows - 1) * Window::stride(1) + Window::kernel(1);
    const int32_t first_row = h * Window::stride(1) - Window::padding(1);
    if (cell_w < 0 || cell_w >= shape.input[2]) {
      return;
    }
    VIDEOSOFT_UNROLL
    for (int frame = 0; frame < Window::kernel(0); ++frame) {
      const int32_t cell_t = t * Window::stride(0) - Window::padding(0) + frame;
      if (cell_t < 0 || cell_t >= shape.input[0]) {
        continue;
      }
      RawNumbers<T, kLanes> cells[kInputRows];
      VIDEOSOFT_UNROLL
      for (int row = 0; row < kInputRows; ++row) {
        const int32_t cell_h = first_row + row;
        if (cell_h >= 0 && cell_h < shape.input[1]) {
          cells[row].load(input + shape.find_input(cell_t, cell_h, cell_w));
        }
      }
      VIDEOSOFT_UNROLL
      for (int input_row = 0; input_row < kInputRows; ++input_row) {
        const int32_t cell_h = first_row + input_row;
        if (cell_h < 0 || cell_h >= shape.input[1]) {
          continue;
        }
        VIDEOSOFT_UNROLL
        for (int lane = 0; lane < kLanes; ++lane) {
          const A x = active.apply(cells[input_row].get(lane), lane);
          const A power = Exponential<T>::compute(terms, x);
          VIDEOSOFT_UNROLL
          for (int row = 0; row < kRows; ++row) {
            const int offset = input_row - row * Window::stride(1);
            if (offset >= 0 && offset < Window::kernel(1)) {
              sums[row][lane].add_power(power, x);
            }
          }
        }
      }
    }
  }
};

// Windows that lie side by side and cover the input: every cell is in exactly one of them and stays in a register.
template <typename T, typename Window, bool kChannelsLast_, int kLanes_>
struct SeparatePatch {
  using A = accumulator_t<T>;
  static constexpr bool kChannelsLast = kChannelsLast_;
  static constexpr int kRows = 1;
  static constexpr int kWindows = kChannelsLast ? 1 : kLanes_;
  static constexpr int kLanes = kLanes_;
  static constexpr int kChannels = kChannelsLast ? kLanes_ : 1;
  static constexpr int kCellsAlong = kChannelsLast ? Window::kernel(2) : 1;
  static constexpr int kSegments = Window::kernel(0) * Window::kernel(1) * kCellsAlong;
  static constexpr int kPerLane = kChannelsLast ? 1 : Window::kernel(2);
  static constexpr int kLength = kLanes * kPerLane;

  T cells[kSegments][kLength];

  static VIDEOSOFT_DEVICE int32_t
  find_segment(const Shape<int32_t>& shape, int segment, int32_t t, int32_t h, int32_t w) {
    const int along = segment % kCellsAlong;
    const int row = segment / kCellsAlong % Window::kernel(1);
    const int frame = segment / kCellsAlong / Window::kernel(1);
    return shape.find_input(t * Window::stride(0) + frame, h * Window::stride(1) + row, w * Window::stride(2) + along);
  }

  // What is pooled of a cell.
  template <typename Active>
  VIDEOSOFT_DEVICE A apply(const Active& active, int segment, int i) const {
    return active.apply(static_cast<A>(cells[segment][i]), i / kPerLane);
  }

  VIDEOSOFT_DEVICE SeparatePatch(const T* input, const Shape<int32_t>& shape, int32_t t, int32_t h, int32_t w) {
    VIDEOSOFT_UNROLL
    for (int segment = 0; segment < kSegments; ++segment) {
      load_numbers(input + find_segment(shape, segment, t, h, w), cells[segment]);
    }
  }

  template <typename Active>
  VIDEOSOFT_DEVICE void sum(const SoftmaxTerms<A>& terms, const Active& active, WindowSums<A> (&sums)[kLanes]) const {
    VIDEOSOFT_UNROLL
    for (int segment = 0; segment < kSegments; ++segment) {
      VIDEOSOFT_UNROLL
      for (int i = 0; i < kLength; ++i) {
        sums[i / kPerLane].template add_cell<T>(terms, apply(active, segment, i));
      }
    }
  }
};

// No patch: one channel of one window, known at run time only.
struct SingleWindow {
  static constexpr bool kChannelsLast = false;
  static constexpr int kRows = 1;
  static constexpr int kWindows = 1;
  static constexpr int kLanes = 1;
  static constexpr int kChannels = 1;
};

// Where the patch of a thread lies.
struct PatchPlace {
  int64_t part;
  int32_t t;
  int32_t h;
  int32_t w;
  int32_t channel;
};

template <typename Patch>
class PatchGrid {
 public:
  explicit PatchGrid(const Geometry& geometry, const Shape<int32_t>& shape, int64_t num_parts) : num_items_(num_parts) {
    const int64_t counts[4] = {
        geometry.output[0],
        divide_up(geometry.output[1], Patch::kRows),
        divide_up(geometry.output[2], Patch::kWindows),
        Patch::kChannelsLast ? shape.channels / Patch::kLanes : 1
    };
    for (int dim = 0; dim < 4; ++dim) {
      divisors_[dim] = Divisor<int32_t>(counts[dim]);
      num_items_ *= counts[dim];
    }
  }

  int64_t num_items() const {
    return num_items_;
  }

  VIDEOSOFT_DEVICE PatchPlace locate(int32_t item) const {
    PatchPlace place;
    place.channel = Patch::kChannelsLast ? divisors_[3].split(item) * Patch::kLanes : 0;
    place.w = divisors_[2].split(item) * Patch::kWindows;
    place.h = divisors_[1].split(item) * Patch::kRows;
    place.t = divisors_[0].split(item);
    place.part = item;
    return place;
  }

 private:
  static int64_t divide_up(int64_t value, int64_t by) {
    return (value + by - 1) / by;
  }

  Divisor<int32_t> divisors_[4];
  int64_t num_items_;
};

} // namespace videosoft
