// The windows and cells of one dimension.

#pragma once

#include "../geometry.h"

#include <algorithm>
#include <cstdint>

namespace videosoft {

inline int64_t divide_up(int64_t value, int64_t by) {
  return (value + by - 1) / by;
}

struct Range {
  int64_t begin;
  int64_t end;

  int64_t size() const {
    return end - begin;
  }
};

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

} // namespace videosoft
