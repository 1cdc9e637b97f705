// The kernels of row_kernels.h, in terms of the vectors of one instruction set. Included once by each
// row_kernels_<set>.cpp; see vectors.h.
//
// Vectors run over a row from its start; the last one ends at the row's end and may overlap the one before, which
// computes the same numbers twice. Rows shorter than a vector go through a buffer.

// Into the second-level cache: rows often lie powers of two apart and drive each other out of the first.
#define VIDEOSOFT_PREFETCH(at) __builtin_prefetch(at, 0, 2)

// Numbers i, i + kStep, i + 2 kStep, ... of `from`; kStep 0 takes `step`.
template <int kStep, typename A>
VIDEOSOFT_INLINE Numbers<A> load_strided(const A* from, int64_t step) {
  if constexpr (kStep == 1) {
    return load_vector<Numbers<A>>(from);
  } else if constexpr (kStep == 2) {
    return take_evens(load_vector<Numbers<A>>(from), load_vector<Numbers<A>>(from + kWidth<A>), CountTo<kWidth<A>>{});
  } else {
    Numbers<A> values{};
    for (int64_t lane = 0; lane < kWidth<A>; ++lane) {
      values[lane] = from[lane * step];
    }
    return values;
  }
}

// The next vector of a row: kWidth further on, but for the last, which ends at the row's end.
template <typename A>
VIDEOSOFT_INLINE int64_t step_on(int64_t at, int64_t length) {
  const int64_t next = at + kWidth<A>;
  return next < length && next > length - kWidth<A> ? length - kWidth<A> : next;
}

template <typename F>
VIDEOSOFT_INLINE void store_some(typename F::Stored* to, Numbers<typename F::Accumulator> values, int64_t count) {
  if (count >= kWidth<typename F::Accumulator>) {
    F::store(to, values);
    return;
  }
  typename F::Stored stored[kWidth<typename F::Accumulator>];
  F::store(stored, values);
  for (int64_t lane = 0; lane < count; ++lane) {
    to[lane] = stored[lane];
  }
}

// The first `count` numbers of a row and zeros, in a buffer of one vector.
template <typename F>
VIDEOSOFT_INLINE void copy_some(const typename F::Stored* from, int64_t count, typename F::Stored* buffer) {
  for (int64_t lane = 0; lane < kWidth<typename F::Accumulator>; ++lane) {
    buffer[lane] = lane < count ? from[lane] : typename F::Stored{};
  }
}

template <typename F, bool kScaled>
VIDEOSOFT_INLINE bool accumulate_scaled(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const typename F::Stored* input,
    const RowBlock& block,
    typename F::Accumulator* total,
    typename F::Accumulator* moment
) {
  using A = typename F::Accumulator;
  const bool is_short = block.length < kWidth<A>;
  const Numbers<A> temperature = broadcast(terms.temperature);
  Magnitude<A> magnitude;
  for (int64_t at = 0; at < block.length; at = step_on<A>(at, block.length)) {
    Numbers<A> total_here{};
    Numbers<A> moment_here{};
    const typename F::Stored* frame = input + at;
    for (int64_t t = 0; t < block.frames; ++t, frame += block.frame_stride) {
      const typename F::Stored* row = frame;
      for (int64_t h = 0; h < block.rows; ++h, row += block.row_stride) {
        Numbers<A> values;
        if (__builtin_expect(is_short, false)) {
          typename F::Stored buffer[kWidth<A>];
          copy_some<F>(row, block.length, buffer);
          values = F::load(buffer);
        } else {
          values = F::load(row);
        }
        VIDEOSOFT_PREFETCH(row + kPrefetchDistance<typename F::Stored>);
        magnitude.see(values);
        const Numbers<A> powers = exponential(kScaled ? values * temperature : values);
        total_here += powers;
        moment_here += powers * values;
      }
    }
    store_some<Plain<A>>(total + at, total_here, block.length);
    store_some<Plain<A>>(moment + at, moment_here, block.length);
  }
  return magnitude.is_at_most(terms.largest);
}

template <typename F>
bool accumulate(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const void* input,
    const RowBlock& block,
    typename F::Accumulator* total,
    typename F::Accumulator* moment
) {
  const auto* from = static_cast<const typename F::Stored*>(input);
  if (terms.temperature == 1) {
    return accumulate_scaled<F, false>(terms, from, block, total, moment);
  }
  return accumulate_scaled<F, true>(terms, from, block, total, moment);
}

// The sum over each window of the numbers of columns. In the contiguous layout lanes are neighbouring windows.
template <int kStep, typename A>
VIDEOSOFT_INLINE Numbers<A> sum_window(const ColumnWindows& windows, const A* columns) {
  if (kStep == 2 && windows.kernel == 3) {
    const Numbers<A> first = load_vector<Numbers<A>>(columns);
    const Numbers<A> second = load_vector<Numbers<A>>(columns + kWidth<A>);
    return take_evens(first, second, CountTo<kWidth<A>>{}) + take_odds(first, second, CountTo<kWidth<A>>{}) +
           load_strided<2>(columns + 2, 2);
  }
  Numbers<A> sum{};
  for (int64_t cell = 0; cell < windows.kernel; ++cell) {
    sum += load_strided<kStep>(columns + cell, windows.stride);
  }
  return sum;
}

// In the other, of neighbouring channels.
template <typename A>
VIDEOSOFT_INLINE Numbers<A> sum_window_channels(const ColumnWindows& windows, const A* columns) {
  Numbers<A> sum{};
  for (int64_t cell = 0; cell < windows.kernel; ++cell) {
    sum += load_vector<Numbers<A>>(columns + cell * windows.channels);
  }
  return sum;
}

template <typename F, int kStep>
VIDEOSOFT_INLINE void finish_contiguous(
    const ColumnWindows& windows,
    const typename F::Accumulator* total,
    const typename F::Accumulator* moment,
    typename F::Stored* output
) {
  using A = typename F::Accumulator;
  for (int64_t at = 0; at < windows.count; at = step_on<A>(at, windows.count)) {
    const int64_t column = at * windows.stride;
    const Numbers<A> sum = sum_window<kStep>(windows, total + column);
    store_some<F>(output + at, sum_window<kStep>(windows, moment + column) / sum, windows.count);
  }
}

template <typename F>
void finish(
    const ColumnWindows& windows,
    const typename F::Accumulator* total,
    const typename F::Accumulator* moment,
    void* output
) {
  using A = typename F::Accumulator;
  auto* to = static_cast<typename F::Stored*>(output);
  if (windows.channels > 1) {
    for (int64_t window = 0; window < windows.count; ++window) {
      const int64_t column = window * windows.stride * windows.channels;
      for (int64_t at = 0; at < windows.channels; at = step_on<A>(at, windows.channels)) {
        const Numbers<A> sum = sum_window_channels(windows, total + column + at);
        const Numbers<A> mean = sum_window_channels(windows, moment + column + at) / sum;
        store_some<F>(to + window * windows.channels + at, mean, windows.channels);
      }
    }
  } else if (windows.stride == 1) {
    finish_contiguous<F, 1>(windows, total, moment, to);
  } else if (windows.stride == 2) {
    finish_contiguous<F, 2>(windows, total, moment, to);
  } else {
    finish_contiguous<F, 0>(windows, total, moment, to);
  }
}

template <typename F>
VIDEOSOFT_INLINE Numbers<typename F::Accumulator> load_some(const typename F::Stored* from, int64_t count) {
  if (count >= kWidth<typename F::Accumulator>) {
    return F::load(from);
  }
  typename F::Stored buffer[kWidth<typename F::Accumulator>];
  copy_some<F>(from, count, buffer);
  return F::load(buffer);
}

// Slope and offset of the windows whose sums are given.
template <typename F>
VIDEOSOFT_INLINE void store_slopes(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const typename F::Stored* grad_output,
    Numbers<typename F::Accumulator> total,
    Numbers<typename F::Accumulator> moment,
    int64_t count,
    Magnitude<typename F::Accumulator>& magnitude,
    typename F::Accumulator* slope,
    typename F::Accumulator* offset
) {
  using A = typename F::Accumulator;
  const Numbers<A> gradient = load_some<F>(grad_output, count);
  magnitude.see(gradient);
  const Numbers<A> inverse = 1 / total;
  const Numbers<A> here = gradient * inverse;
  store_some<Plain<A>>(slope, here, count);
  store_some<Plain<A>>(offset, terms.temperature * (moment * inverse) * here, count);
}

template <typename F, int kStep>
VIDEOSOFT_INLINE bool find_slopes_contiguous(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const ColumnWindows& windows,
    const typename F::Accumulator* total,
    const typename F::Accumulator* moment,
    const typename F::Stored* grad_output,
    typename F::Accumulator* slope,
    typename F::Accumulator* offset
) {
  using A = typename F::Accumulator;
  Magnitude<A> magnitude;
  for (int64_t at = 0; at < windows.count; at = step_on<A>(at, windows.count)) {
    const int64_t column = at * windows.stride;
    const Numbers<A> sum = sum_window<kStep>(windows, total + column);
    const Numbers<A> sum_of_moments = sum_window<kStep>(windows, moment + column);
    store_slopes<F>(terms, grad_output + at, sum, sum_of_moments, windows.count, magnitude, slope + at, offset + at);
  }
  return magnitude.is_at_most(A(kLargestDirect));
}

template <typename F>
VIDEOSOFT_INLINE bool find_slopes_channels(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const ColumnWindows& windows,
    const typename F::Accumulator* total,
    const typename F::Accumulator* moment,
    const typename F::Stored* grad_output,
    typename F::Accumulator* slope,
    typename F::Accumulator* offset
) {
  using A = typename F::Accumulator;
  Magnitude<A> magnitude;
  for (int64_t window = 0; window < windows.count; ++window) {
    const int64_t column = window * windows.stride * windows.channels;
    const int64_t cell = window * windows.channels;
    for (int64_t at = 0; at < windows.channels; at = step_on<A>(at, windows.channels)) {
      const Numbers<A> sum = sum_window_channels(windows, total + column + at);
      const Numbers<A> sum_of_moments = sum_window_channels(windows, moment + column + at);
      store_slopes<F>(
          terms,
          grad_output + cell + at,
          sum,
          sum_of_moments,
          windows.channels,
          magnitude,
          slope + cell + at,
          offset + cell + at
      );
    }
  }
  return magnitude.is_at_most(A(kLargestDirect));
}

// The adjoint of sum_window: columns[w * stride + cell] = sum of values[w] over the windows that hold the column.
// `values` has zeros for the windows that do not exist.
template <int kStep, typename A>
VIDEOSOFT_INLINE void spread_contiguous(
    const ColumnWindows& windows, const A* values, int64_t num_columns, A* columns
) {
  const int64_t step = kStep ? kStep : windows.stride;
  const int64_t count = (num_columns + step - 1) / step;
  for (int64_t at = 0; at < count; at += kWidth<A>) {
    if constexpr (kStep == 2) {
      Numbers<A> even{};
      Numbers<A> odd{};
      for (int64_t cell = 0; cell < windows.kernel; cell += 2) {
        even += load_vector<Numbers<A>>(values + at - cell / 2);
      }
      for (int64_t cell = 1; cell < windows.kernel; cell += 2) {
        odd += load_vector<Numbers<A>>(values + at - cell / 2);
      }
      store_vector(columns + 2 * at, interleave_lower_halves(even, odd, CountTo<kWidth<A>>{}));
      store_vector(columns + 2 * at + kWidth<A>, interleave_upper_halves(even, odd, CountTo<kWidth<A>>{}));
    } else {
      const int64_t lanes = count - at < kWidth<A> ? count - at : kWidth<A>;
      for (int64_t phase = 0; phase < step; ++phase) {
        Numbers<A> sum{};
        for (int64_t cell = phase; cell < windows.kernel; cell += step) {
          sum += load_vector<Numbers<A>>(values + at - cell / step);
        }
        if constexpr (kStep == 1) {
          store_vector(columns + at, sum);
        } else {
          for (int64_t lane = 0; lane < lanes; ++lane) {
            columns[(at + lane) * step + phase] = sum[lane];
          }
        }
      }
    }
  }
}

template <typename A>
VIDEOSOFT_INLINE void spread_channels(const ColumnWindows& windows, const A* values, int64_t num_columns, A* columns) {
  int64_t first = 0; // window that still holds the column
  int64_t last = 0;  // window that does not yet
  for (int64_t column = 0; column < num_columns; ++column) {
    while (first < windows.count && first * windows.stride + windows.kernel <= column) {
      ++first;
    }
    while (last < windows.count && last * windows.stride <= column) {
      ++last;
    }
    for (int64_t at = 0; at < windows.channels; at += kWidth<A>) {
      Numbers<A> sum{};
      for (int64_t window = first; window < last; ++window) {
        sum += load_vector<Numbers<A>>(values + window * windows.channels + at);
      }
      store_vector(columns + column * windows.channels + at, sum);
    }
  }
}

template <typename F>
bool finish_backward(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const ColumnWindows& windows,
    const typename F::Accumulator* total,
    const typename F::Accumulator* moment,
    const void* grad_output,
    int64_t num_columns,
    typename F::Accumulator* scratch,
    int64_t scratch_length,
    typename F::Accumulator* slope,
    typename F::Accumulator* offset
) {
  using A = typename F::Accumulator;
  const auto* gradient = static_cast<const typename F::Stored*>(grad_output);
  if (windows.channels > 1) {
    A* slopes = scratch;
    A* offsets = scratch + scratch_length;
    const bool is_moderate = find_slopes_channels<F>(terms, windows, total, moment, gradient, slopes, offsets);
    spread_channels(windows, slopes, num_columns, slope);
    spread_channels(windows, offsets, num_columns, offset);
    return is_moderate;
  }
  // Zeros on both sides of the windows' numbers stand for windows that do not exist. Those on the right may be left
  // from a longer row.
  const int64_t margin = (windows.kernel - 1) / windows.stride;
  A* slopes = scratch + margin;
  A* offsets = slopes + scratch_length;
  for (int64_t window = windows.count; window < windows.count + margin + 2; ++window) {
    slopes[window] = 0;
    offsets[window] = 0;
  }
  bool is_moderate;
  if (windows.stride == 1) {
    is_moderate = find_slopes_contiguous<F, 1>(terms, windows, total, moment, gradient, slopes, offsets);
  } else if (windows.stride == 2) {
    is_moderate = find_slopes_contiguous<F, 2>(terms, windows, total, moment, gradient, slopes, offsets);
  } else {
    is_moderate = find_slopes_contiguous<F, 0>(terms, windows, total, moment, gradient, slopes, offsets);
  }
  if (windows.stride == 1) {
    spread_contiguous<1>(windows, slopes, num_columns, slope);
    spread_contiguous<1>(windows, offsets, num_columns, offset);
  } else if (windows.stride == 2) {
    spread_contiguous<2>(windows, slopes, num_columns, slope);
    spread_contiguous<2>(windows, offsets, num_columns, offset);
  } else {
    spread_contiguous<0>(windows, slopes, num_columns, slope);
    spread_contiguous<0>(windows, offsets, num_columns, offset);
  }
  return is_moderate;
}

template <typename F, bool kScaled, bool kExact>
VIDEOSOFT_INLINE bool differentiate_as(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const typename F::Stored* input,
    int64_t length,
    const typename F::Accumulator* const* slopes,
    const typename F::Accumulator* const* offsets,
    int64_t count,
    typename F::Stored* grad_input
) {
  using A = typename F::Accumulator;
  const Numbers<A> temperature = broadcast(terms.temperature);
  Magnitude<A> magnitude;
  for (int64_t at = 0; at < length; at = step_on<A>(at, length)) {
    Numbers<A> slope{};
    Numbers<A> offset{};
    for (int64_t row = 0; row < count; ++row) {
      slope += load_vector<Numbers<A>>(slopes[row] + at);
      if constexpr (kExact) {
        offset += load_vector<Numbers<A>>(offsets[row] + at);
      }
    }
    const Numbers<A> values = load_some<F>(input + at, length);
    magnitude.see(values);
    const Numbers<A> scaled = kScaled ? values * temperature : values;
    const Numbers<A> derivative = kExact ? slope + (scaled * slope - offset) : slope;
    store_some<F>(grad_input + at, exponential(scaled) * derivative, length);
  }
  return magnitude.is_at_most(terms.largest);
}

template <typename F>
bool differentiate(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const void* input,
    int64_t length,
    const typename F::Accumulator* const* slopes,
    const typename F::Accumulator* const* offsets,
    int64_t count,
    void* grad_input
) {
  const auto* from = static_cast<const typename F::Stored*>(input);
  auto* to = static_cast<typename F::Stored*>(grad_input);
  if (!terms.exact_gradient) {
    return differentiate_as<F, true, false>(terms, from, length, slopes, offsets, count, to);
  }
  if (terms.temperature == 1) {
    return differentiate_as<F, false, true>(terms, from, length, slopes, offsets, count, to);
  }
  return differentiate_as<F, true, true>(terms, from, length, slopes, offsets, count, to);
}

// The cells of kRows x 2 columns for a vector of windows, and their sums.
template <typename F, int kRows, bool kScaled>
struct Pairs {
  using A = typename F::Accumulator;

  Numbers<A> values[kRows][2];
  Numbers<A> powers[kRows][2];
  Numbers<A> total[2];
  Numbers<A> moment[2];

  // `second` is how far the second number of a pair of vectors lies from the first.
  VIDEOSOFT_INLINE void load(
      const SoftmaxTerms<A>& terms,
      const typename F::Stored* input,
      const int64_t* row_offsets,
      int64_t second,
      Magnitude<A>& magnitude
  ) {
    const Numbers<A> temperature = broadcast(terms.temperature);
    for (int half = 0; half < 2; ++half) {
      total[half] = Numbers<A>{};
      moment[half] = Numbers<A>{};
#pragma GCC unroll 4
      for (int row = 0; row < kRows; ++row) {
        const Numbers<A> here = F::load(input + row_offsets[row] + half * second);
        VIDEOSOFT_PREFETCH(input + row_offsets[row] + half * second + kPrefetchDistance<typename F::Stored>);
        const Numbers<A> power = exponential(kScaled ? here * temperature : here);
        magnitude.see(here);
        values[row][half] = here;
        powers[row][half] = power;
        total[half] += power;
        moment[half] += power * here;
      }
    }
  }

  VIDEOSOFT_INLINE void store_gradient(
      const SoftmaxTerms<A>& terms,
      Numbers<A> slope,
      Numbers<A> offset,
      int half,
      const int64_t* row_offsets,
      typename F::Stored* grad_input
  ) const {
    const Numbers<A> scaled_slope = terms.temperature * slope;
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      const Numbers<A> derivative = terms.exact_gradient ? slope + (values[row][half] * scaled_slope - offset) : slope;
      F::store(grad_input + row_offsets[row], powers[row][half] * derivative);
    }
  }
};

template <typename F, int kRows, bool kScaled, bool kBackward>
VIDEOSOFT_INLINE bool pool_pairs_as(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const typename F::Stored* input,
    const RowBlock& block,
    const ColumnWindows& windows,
    const typename F::Stored* grad_output,
    typename F::Stored* output // or grad_input
) {
  using A = typename F::Accumulator;
  constexpr int64_t kNumbers = kWidth<A>;
  int64_t row_offsets[kRows];
  for (int row = 0; row < kRows; ++row) {
    row_offsets[row] = row / block.rows * block.frame_stride + row % block.rows * block.row_stride;
  }
  Magnitude<A> magnitude;
  Magnitude<A> gradient_magnitude;
  Pairs<F, kRows, kScaled> pairs;
  const bool is_contiguous = windows.channels == 1;
  const int64_t length = is_contiguous ? windows.count : windows.channels;
  const int64_t num_stretches = is_contiguous ? 1 : windows.count;
  for (int64_t stretch = 0; stretch < num_stretches; ++stretch) {
    for (int64_t at = 0; at < length; at = step_on<A>(at, length)) {
      const int64_t column = is_contiguous ? 2 * at : 2 * stretch * length + at;
      const int64_t window = stretch * length + at;
      const int64_t second = is_contiguous ? kNumbers : length;
      pairs.load(terms, input + column, row_offsets, second, magnitude);
      Numbers<A> total;
      Numbers<A> moment;
      if (is_contiguous) {
        total = take_evens(pairs.total[0], pairs.total[1], CountTo<kNumbers>{}) +
                take_odds(pairs.total[0], pairs.total[1], CountTo<kNumbers>{});
        moment = take_evens(pairs.moment[0], pairs.moment[1], CountTo<kNumbers>{}) +
                 take_odds(pairs.moment[0], pairs.moment[1], CountTo<kNumbers>{});
      } else {
        total = pairs.total[0] + pairs.total[1];
        moment = pairs.moment[0] + pairs.moment[1];
      }
      if constexpr (!kBackward) {
        F::store(output + window, moment / total);
      } else {
        const Numbers<A> gradient = F::load(grad_output + window);
        gradient_magnitude.see(gradient);
        const Numbers<A> inverse = 1 / total;
        const Numbers<A> slope = gradient * inverse;
        const Numbers<A> offset = terms.temperature * (moment * inverse) * slope;
        if (is_contiguous) {
          const Numbers<A> lower_slope = interleave_lower_halves(slope, slope, CountTo<kNumbers>{});
          const Numbers<A> lower_offset = interleave_lower_halves(offset, offset, CountTo<kNumbers>{});
          const Numbers<A> upper_slope = interleave_upper_halves(slope, slope, CountTo<kNumbers>{});
          const Numbers<A> upper_offset = interleave_upper_halves(offset, offset, CountTo<kNumbers>{});
          pairs.store_gradient(terms, lower_slope, lower_offset, 0, row_offsets, output + column);
          pairs.store_gradient(terms, upper_slope, upper_offset, 1, row_offsets, output + column + second);
        } else {
          pairs.store_gradient(terms, slope, offset, 0, row_offsets, output + column);
          pairs.store_gradient(terms, slope, offset, 1, row_offsets, output + column + second);
        }
      }
    }
  }
  return magnitude.is_at_most(terms.largest) && gradient_magnitude.is_at_most(A(kLargestDirect));
}

template <typename F, bool kBackward>
VIDEOSOFT_INLINE bool pool_pairs_with(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const typename F::Stored* input,
    const RowBlock& block,
    const ColumnWindows& windows,
    const typename F::Stored* grad_output,
    typename F::Stored* output
) {
  const bool is_scaled = terms.temperature != 1;
  switch (block.frames * block.rows) {
    case 1:
      return is_scaled ? pool_pairs_as<F, 1, true, kBackward>(terms, input, block, windows, grad_output, output)
                       : pool_pairs_as<F, 1, false, kBackward>(terms, input, block, windows, grad_output, output);
    case 2:
      return is_scaled ? pool_pairs_as<F, 2, true, kBackward>(terms, input, block, windows, grad_output, output)
                       : pool_pairs_as<F, 2, false, kBackward>(terms, input, block, windows, grad_output, output);
    default:
      return is_scaled ? pool_pairs_as<F, 4, true, kBackward>(terms, input, block, windows, grad_output, output)
                       : pool_pairs_as<F, 4, false, kBackward>(terms, input, block, windows, grad_output, output);
  }
}

template <typename F>
bool pool_pairs(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const void* input,
    const RowBlock& block,
    const ColumnWindows& windows,
    void* output
) {
  using T = typename F::Stored;
  return pool_pairs_with<F, false>(
      terms, static_cast<const T*>(input), block, windows, nullptr, static_cast<T*>(output)
  );
}

template <typename F>
bool pool_pairs_backward(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const void* input,
    const RowBlock& block,
    const ColumnWindows& windows,
    const void* grad_output,
    void* grad_input
) {
  using T = typename F::Stored;
  return pool_pairs_with<F, true>(
      terms,
      static_cast<const T*>(input),
      block,
      windows,
      static_cast<const T*>(grad_output),
      static_cast<T*>(grad_input)
  );
}
