// Windows over one part of a tensor. A part is what windows never leave: a plane of one channel (contiguous layout) or
// a sample with its channels innermost (channels last). Positions are in the order T, H, W.

#pragma once

#include "../geometry.h"
#include "device.h"

namespace videosoft {

// kSize cells, kStride apart, kPadding before the first: along H and W, and along T if kHasFrames.
template <bool kHasFrames, int kSize, int kStride, int kPadding>
struct StaticWindow {
  static constexpr bool kIsStatic = true;

  static VIDEOSOFT_DEVICE constexpr int kernel(int dim) {
    return dim == 0 && !kHasFrames ? 1 : kSize;
  }
  static VIDEOSOFT_DEVICE constexpr int stride(int dim) {
    return dim == 0 && !kHasFrames ? 1 : kStride;
  }
  static VIDEOSOFT_DEVICE constexpr int padding(int dim) {
    return dim == 0 && !kHasFrames ? 0 : kPadding;
  }

  static StaticWindow create(const Geometry&) {
    return {};
  }

  static bool fits(const Geometry& geometry) {
    for (int dim = 0; dim < 3; ++dim) {
      if (geometry.kernel[dim] != kernel(dim) || geometry.stride[dim] != stride(dim) ||
          geometry.padding[dim] != padding(dim)) {
        return false;
      }
    }
    return true;
  }
};

template <typename Index>
struct DynamicWindow {
  static constexpr bool kIsStatic = false;
  Index kernels[3];
  Index strides[3];
  Index paddings[3];

  VIDEOSOFT_DEVICE Index kernel(int dim) const {
    return kernels[dim];
  }
  VIDEOSOFT_DEVICE Index stride(int dim) const {
    return strides[dim];
  }
  VIDEOSOFT_DEVICE Index padding(int dim) const {
    return paddings[dim];
  }

  static DynamicWindow create(const Geometry& geometry) {
    DynamicWindow window;
    for (int dim = 0; dim < 3; ++dim) {
      window.kernels[dim] = static_cast<Index>(geometry.kernel[dim]);
      window.strides[dim] = static_cast<Index>(geometry.stride[dim]);
      window.paddings[dim] = static_cast<Index>(geometry.padding[dim]);
    }
    return window;
  }
};

template <typename Index>
struct Range {
  Index begin;
  Index end;

  VIDEOSOFT_DEVICE Index size() const {
    return end - begin;
  }
};

template <typename Index>
struct Box {
  Range<Index> ranges[3];
};

// How a part lies in memory. `channels` is 1 in the contiguous layout.
template <typename Index>
struct Shape {
  Index input[3];
  Index output[3];
  Index channels;
  int64_t input_part;
  int64_t output_part;

  Shape(const Geometry& geometry, bool channels_last)
      : channels(channels_last ? static_cast<Index>(geometry.channels) : 1),
        input_part(geometry.num_input() * channels),
        output_part(geometry.num_output() * channels) {
    for (int dim = 0; dim < 3; ++dim) {
      input[dim] = static_cast<Index>(geometry.input[dim]);
      output[dim] = static_cast<Index>(geometry.output[dim]);
    }
  }

  VIDEOSOFT_DEVICE Index find_input(Index t, Index h, Index w) const {
    return ((t * input[1] + h) * input[2] + w) * channels;
  }
  VIDEOSOFT_DEVICE Index find_output(Index t, Index h, Index w) const {
    return ((t * output[1] + h) * output[2] + w) * channels;
  }
};

template <typename Index>
VIDEOSOFT_DEVICE Index get_least(Index a, Index b) {
  return a < b ? a : b;
}
template <typename Index>
VIDEOSOFT_DEVICE Index get_greatest(Index a, Index b) {
  return a < b ? b : a;
}

// The cells of a window that exist.
template <typename Window, typename Index>
VIDEOSOFT_DEVICE Range<Index> find_cells(const Window& window, const Shape<Index>& shape, int dim, Index output) {
  const Index start = output * window.stride(dim) - window.padding(dim);
  return {get_greatest<Index>(start, 0), get_least<Index>(start + window.kernel(dim), shape.input[dim])};
}

template <typename Window, typename Index>
VIDEOSOFT_DEVICE Box<Index> find_cells(const Window& window, const Shape<Index>& shape, Index t, Index h, Index w) {
  return {{find_cells(window, shape, 0, t), find_cells(window, shape, 1, h), find_cells(window, shape, 2, w)}};
}

// The windows that hold one of the cells [begin, end), which are not none; empty if there is no such window.
template <typename Window, typename Index>
VIDEOSOFT_DEVICE Range<Index> find_windows(
    const Window& window, const Shape<Index>& shape, int dim, Range<Index> cells
) {
  const Index stride = window.stride(dim);
  const Index first = cells.begin + window.padding(dim) - window.kernel(dim) + stride;
  const Index last = (cells.end - 1 + window.padding(dim)) / stride + 1;
  return {first < stride ? 0 : first / stride, get_least<Index>(last, shape.output[dim])};
}

// Calls visit(offset of the cell in the part) for the cells of a box, row by row.
template <typename Index, typename Visit>
VIDEOSOFT_DEVICE void for_cells(const Shape<Index>& shape, const Box<Index>& box, Visit&& visit) {
  VIDEOSOFT_NO_UNROLL
  for (Index t = box.ranges[0].begin; t < box.ranges[0].end; ++t) {
    VIDEOSOFT_NO_UNROLL
    for (Index h = box.ranges[1].begin; h < box.ranges[1].end; ++h) {
      VIDEOSOFT_NO_UNROLL
      for (Index w = box.ranges[2].begin; w < box.ranges[2].end; ++w) {
        visit(shape.find_input(t, h, w));
      }
    }
  }
}

} // namespace videosoft
