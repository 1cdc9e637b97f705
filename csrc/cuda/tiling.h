// The sizes of the backward's tiles (backward_tiles.h), chosen on the host.

#pragma once

#include "backward_tiles.h"

#include <algorithm>
#include <cstdint>
#include <limits>

namespace videosoft {

// Channels of a tile: with half types a quarter of a kilobyte and less would leave memory's lines half used.
constexpr int64_t kTileChannels = 32;
// Windows of a tile's rows and columns, at most: more would leave too few blocks to hide what each waits for.
constexpr int64_t kTileWindows = 1024;
// Blocks that are enough for any GPU; with fewer, blocks walk along T less far.
constexpr int64_t kEnoughBlocks = 1024;
// Frames at the start of a walk are found twice, by two blocks.
constexpr int64_t kFewestFrames = 4;

struct TileSizes {
  int64_t windows[3];
  int64_t channels;
  int64_t slots;
  int64_t reach[3];       // windows that the cells of a tile need, at most; along T that is `slots`
  int64_t num_tiles[4];   // T, H, W, channels
  int64_t num_blocks = 0; // 0: not even the smallest tile fits

  int64_t capacity() const {
    return slots * reach[1] * reach[2] * channels;
  }
};

// How many windows hold one of the cells of `windows` windows that follow each other, at most.
inline int64_t count_reach(const Geometry& geometry, int dim, int64_t windows) {
  const int64_t stride = geometry.stride[dim];
  return std::min(geometry.output[dim], windows + (geometry.kernel[dim] - 1 + stride - 1) / stride);
}

// `has_whole_rows`: a tile must hold whole rows. `vector`: channels that must not be parted.
template <typename Fits>
TileSizes choose_tiles(
    const Geometry& geometry, bool channels_last, bool has_whole_rows, int64_t vector, int64_t num_parts, Fits&& fits
) {
  const auto divide_up = [](int64_t value, int64_t by) { return (value + by - 1) / by; };
  TileSizes sizes{};
  sizes.channels = channels_last ? std::min(geometry.channels, std::max(kTileChannels, vector)) : 1;
  sizes.slots = count_reach(geometry, 0, 2);
  sizes.windows[0] = geometry.output[0];
  sizes.windows[1] = 1;
  sizes.windows[2] = has_whole_rows ? geometry.output[2] : 1;
  const auto fits_with = [&](int64_t rows, int64_t columns) {
    const int64_t reach[2] = {count_reach(geometry, 1, rows), count_reach(geometry, 2, columns)};
    int64_t capacity = 1;
    for (const int64_t factor : {sizes.slots, reach[0], reach[1], sizes.channels}) {
      capacity *= factor;
      if (!fits(capacity)) {
        return false;
      }
    }
    return true;
  };
  if (!fits_with(sizes.windows[1], sizes.windows[2])) {
    return sizes;
  }
  // The more square, the fewer windows are found twice.
  for (;;) {
    const int64_t rows = std::min(sizes.windows[1] + 1, geometry.output[1]);
    const int64_t columns = std::min(sizes.windows[2] + 1, geometry.output[2]);
    const auto grows_to = [&](int64_t h, int64_t w) {
      return (h > sizes.windows[1] || w > sizes.windows[2]) && h * w <= kTileWindows && fits_with(h, w);
    };
    const bool wide_first = sizes.windows[2] <= sizes.windows[1];
    if (wide_first && grows_to(sizes.windows[1], columns)) {
      sizes.windows[2] = columns;
    } else if (grows_to(rows, sizes.windows[2])) {
      sizes.windows[1] = rows;
    } else if (grows_to(sizes.windows[1], columns)) {
      sizes.windows[2] = columns;
    } else {
      break;
    }
  }
  for (int dim = 1; dim < 3; ++dim) {
    // Even tiles: the last one would otherwise be a sliver.
    sizes.windows[dim] = divide_up(geometry.output[dim], divide_up(geometry.output[dim], sizes.windows[dim]));
    sizes.num_tiles[dim] = divide_up(geometry.output[dim], sizes.windows[dim]);
    sizes.reach[dim] = count_reach(geometry, dim, sizes.windows[dim]);
  }
  const int64_t channels = channels_last ? geometry.channels : 1;
  sizes.num_tiles[3] = divide_up(channels, sizes.channels);
  const int64_t blocks = num_parts * sizes.num_tiles[1] * sizes.num_tiles[2] * sizes.num_tiles[3];
  while (blocks * divide_up(geometry.output[0], sizes.windows[0]) < kEnoughBlocks &&
         sizes.windows[0] >= 2 * kFewestFrames) {
    sizes.windows[0] = divide_up(sizes.windows[0], 2);
  }
  sizes.num_tiles[0] = divide_up(geometry.output[0], sizes.windows[0]);
  sizes.num_blocks = blocks * sizes.num_tiles[0];
  return sizes;
}

template <typename Index>
Tiling<Index> create_tiling(const TileSizes& sizes) {
  Tiling<Index> tiling;
  tiling.frames = static_cast<Index>(sizes.windows[0]);
  tiling.rows = static_cast<Index>(sizes.windows[1]);
  tiling.columns = static_cast<Index>(sizes.windows[2]);
  tiling.channels = static_cast<Index>(sizes.channels);
  tiling.slots = static_cast<Index>(sizes.slots);
  tiling.reach_rows = static_cast<Index>(sizes.reach[1]);
  tiling.reach_columns = static_cast<Index>(sizes.reach[2]);
  tiling.num_frame_tiles = Divisor<Index>(sizes.num_tiles[0]);
  tiling.num_row_tiles = Divisor<Index>(sizes.num_tiles[1]);
  tiling.num_column_tiles = Divisor<Index>(sizes.num_tiles[2]);
  tiling.num_channel_tiles = Divisor<Index>(sizes.num_tiles[3]);
  tiling.num_blocks = static_cast<Index>(sizes.num_blocks);
  return tiling;
}

} // namespace videosoft
