// The arithmetic of SoftPool over rows, compiled once for each instruction set and chosen when the library is loaded.
//
// A row is a stretch of memory along the fastest dimensions: columns of `channels` numbers each, channels being 1 in
// the contiguous layout. Kernels see stored numbers (float, Half, ...) and sums of the accumulator's type A.
//
// Rows are pooled without subtracting the window's maximum: every input number x becomes e = exp(b x) once, however
// many windows hold it, and sums of e and e x are separable over T, H and W. That is as exact as the textbook's way
// while |b x| and |x| are moderate, which the kernels check; the caller takes the careful way (tile_kernels.h) where
// not.

#pragma once

#include <cstdint>

namespace videosoft {

// Vectors of any instruction set fit into this many numbers: buffers are that much longer than their content, and what
// lies there may be read and overwritten.
constexpr int64_t kSlack = 64;

// Largest |b x|: exp(30) = 1e13, so that no sum of exponentials and no product with kLargestDirect leaves float32.
constexpr double kLargestExponent = 30.0;
// Largest |x| and |gradient|.
constexpr double kLargestDirect = 4294967296.0;

// Rows of equal length in a tensor: frames x rows of them.
struct RowBlock {
  int64_t frames;
  int64_t frame_stride;
  int64_t rows;
  int64_t row_stride;
  int64_t length;
};

// How the windows of one output row lie on the columns of the sums: window w begins at column w * stride.
struct ColumnWindows {
  int64_t count;
  int64_t kernel;
  int64_t stride;
  int64_t channels;
};

// Rows of windows, at most, that are pooled together, so that the row of cells between two of them is read once.
constexpr int64_t kStripRows = 4;

// Rows (4, 2 or 1) of windows of 3 rows with stride 2. The middle row of each exists.
struct RowStrip {
  int64_t frames; // that exist
  int64_t frame_stride;
  int64_t rows;
  int64_t row_stride;
  bool has_row_before; // above the first window's middle row
  bool has_row_after;  // below the last window's
  int64_t prefetch_distance;
};

// Channels last, windows of 3 columns with stride 2 as well: a strip of them over some of the channels, at least a
// vector. The middle column of each exists.
struct ChannelStrip {
  RowStrip rows;
  int64_t columns;
  int64_t column_stride; // of the output as well
  bool has_column_before;
  bool has_column_after;
  int64_t columns_after; // beyond the last window's middle column
  int64_t output_row_stride;
  int64_t channels;
};

template <typename A>
struct SoftmaxTerms {
  A temperature;
  A largest; // of |x|
  bool exact_gradient;
};

template <typename A>
struct RowKernels {
  // total[i] = sum over the rows of e, moment[i] = sum of e x. False if some |x| is too large, or not a number.
  bool (*accumulate)(const SoftmaxTerms<A>& terms, const void* input, const RowBlock& block, A* total, A* moment);

  // The same for each row of windows in a strip, from its first middle row on: sums lie sum_stride apart. At least a
  // vector long.
  bool (*accumulate_strip)(
      const SoftmaxTerms<A>& terms,
      const void* input,
      const RowStrip& strip,
      int64_t length,
      A* total,
      A* moment,
      int64_t sum_stride
  );

  // output = (sum of moment) / (sum of total) over each window.
  void (*finish)(const ColumnWindows& windows, const A* total, const A* moment, void* output);

  // slope = g / total and offset = b y slope of each window, then summed over the windows of each of `num_columns`
  // columns. `scratch` is twice `scratch_length` long and has begun as zeros. False if some |g| is too large, or not a
  // number.
  bool (*finish_backward)(
      const SoftmaxTerms<A>& terms,
      const ColumnWindows& windows,
      const A* total,
      const A* moment,
      const void* grad_output,
      int64_t num_columns,
      A* scratch,
      int64_t scratch_length,
      A* slope,
      A* offset
  );

  // grad_input = e (S (1 + b x) - O), S and O the sums of `count` rows of slopes and offsets, or e S for the paper's
  // gradient. False as in accumulate.
  bool (*differentiate)(
      const SoftmaxTerms<A>& terms,
      const void* input,
      int64_t length,
      const A* const* slopes,
      const A* const* offsets,
      int64_t count,
      void* grad_input
  );

  // The common window at its fastest: 2 columns with stride 2, nothing outside, 1, 2 or 4 rows of them (block.frames x
  // block.rows), at least a vector of windows (contiguous) or channels. Everything stays in registers.
  bool (*pool_pairs)(
      const SoftmaxTerms<A>& terms, const void* input, const RowBlock& block, const ColumnWindows& windows, void* output
  );
  bool (*pool_pairs_backward)(
      const SoftmaxTerms<A>& terms,
      const void* input,
      const RowBlock& block,
      const ColumnWindows& windows,
      const void* grad_output,
      void* grad_input
  );

  // `input` and `output` are those of the first window, input that of the middle cell in the first frame. `carry` has
  // room for the sums of a column of strip.rows cells, twice, each vector of channels for itself.
  bool (*pool_channels)(
      const SoftmaxTerms<A>& terms, const void* input, const ChannelStrip& strip, A* carry, void* output
  );

  // Slope and offset of each window of the strip, row by row, as in finish_backward but not summed.
  bool (*find_channel_slopes)(
      const SoftmaxTerms<A>& terms,
      const void* input,
      const ChannelStrip& strip,
      A* carry,
      const void* grad_output,
      A* slopes,
      A* offsets
  );

  // differentiate for one row of cells, from the slopes and offsets of `count` rows of windows. Of the strip, its
  // columns and channels count.
  bool (*differentiate_channels)(
      const SoftmaxTerms<A>& terms,
      const void* input,
      const ChannelStrip& strip,
      const A* const* slopes,
      const A* const* offsets,
      int64_t count,
      void* grad_input
  );
};

// The processor's own prefetching stops at pages and is late for short rows: ask for what comes this much later.
template <typename T>
constexpr int64_t kPrefetchDistance = 2048 / static_cast<int64_t>(sizeof(T));

// Numbers of a vector, at most.
template <typename A>
constexpr int64_t kWidestVector = 64 / static_cast<int64_t>(sizeof(A));

// One set of kernels for each way of storing numbers.
struct RowKernelSet {
  RowKernels<double> float64;
  RowKernels<float> float32;
  RowKernels<float> float16;
  RowKernels<float> bfloat16;
};

RowKernelSet get_row_kernels_portable();
#if defined(__x86_64__) && defined(__GNUC__)
#define VIDEOSOFT_X86_VERSIONS
RowKernelSet get_row_kernels_avx2();
RowKernelSet get_row_kernels_avx512();
#endif

// The best set that this processor runs, with shorter vectors for rows below a long one, which would go through a
// buffer. VIDEOSOFT_CPU_ISA=avx512|avx2|portable asks for another.
const RowKernelSet& get_row_kernels(int64_t row_length);

} // namespace videosoft
