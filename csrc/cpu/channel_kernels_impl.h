// The kernels of row_kernels.h for strips: windows of 3 rows with stride 2. In channels-last layout lanes are channels,
// and everything but the sums of the column that two windows share stays in registers. Included once by each
// row_kernels_<set>.cpp; see vectors.h.

// Sums of a vector of columns or channels over the cells of kRows windows, one below the other.
template <typename F, int kRows, bool kScaled>
struct StripSums {
  using A = typename F::Accumulator;

  Numbers<A> total[kRows];
  Numbers<A> moment[kRows];

  VIDEOSOFT_INLINE void clear() {
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      total[row] = Numbers<A>{};
      moment[row] = Numbers<A>{};
    }
  }
  VIDEOSOFT_INLINE void load(const A* from) {
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      total[row] = load_vector<Numbers<A>>(from + 2 * row * kWidth<A>);
      moment[row] = load_vector<Numbers<A>>(from + (2 * row + 1) * kWidth<A>);
    }
  }
  VIDEOSOFT_INLINE void store(A* to) const {
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      store_vector(to + 2 * row * kWidth<A>, total[row]);
      store_vector(to + (2 * row + 1) * kWidth<A>, moment[row]);
    }
  }
  VIDEOSOFT_INLINE void add(const StripSums& other) {
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      total[row] += other.total[row];
      moment[row] += other.moment[row];
    }
  }

  // A cell of the windows in row `row` and, where the cell is between two rows, in the next.
  VIDEOSOFT_INLINE void add_cell(
      const typename F::Stored* cell,
      int64_t prefetch_distance,
      Numbers<A> temperature,
      int row,
      int next_row,
      Magnitude<A>& magnitude
  ) {
    const Numbers<A> values = F::load(cell);
    VIDEOSOFT_PREFETCH(cell + prefetch_distance);
    magnitude.see(values);
    const Numbers<A> power = exponential(kScaled ? values * temperature : values);
    if (row == next_row) {
      total[row] += power;
      moment[row] += power * values;
    } else {
      const Numbers<A> product = power * values;
      if (row >= 0) {
        total[row] += power;
        moment[row] += product;
      }
      if (next_row < kRows) {
        total[next_row] += power;
        moment[next_row] += product;
      }
    }
  }

  // The cells of one column: `column` is the one in the middle of the first window.
  VIDEOSOFT_INLINE void add_column(
      const RowStrip& strip, const typename F::Stored* column, Numbers<A> temperature, Magnitude<A>& magnitude
  ) {
    const int64_t ahead = strip.prefetch_distance;
    for (int64_t frame = 0; frame < strip.frames; ++frame, column += strip.frame_stride) {
      if (strip.has_row_before) {
        add_cell(column - strip.row_stride, ahead, temperature, -1, 0, magnitude);
      }
#pragma GCC unroll 4
      for (int row = 0; row < kRows; ++row) {
        add_cell(column + 2 * row * strip.row_stride, ahead, temperature, row, row, magnitude);
        if (row < kRows - 1 || strip.has_row_after) {
          add_cell(column + (2 * row + 1) * strip.row_stride, ahead, temperature, row, row + 1, magnitude);
        }
      }
    }
  }
};

template <typename F, int kRows, bool kScaled>
VIDEOSOFT_INLINE bool accumulate_strip_as(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const typename F::Stored* input,
    const RowStrip& strip,
    int64_t length,
    typename F::Accumulator* total,
    typename F::Accumulator* moment,
    int64_t sum_stride
) {
  using A = typename F::Accumulator;
  const Numbers<A> temperature = broadcast(terms.temperature);
  Magnitude<A> magnitude;
  for (int64_t at = 0; at < length; at = step_on<A>(at, length)) {
    StripSums<F, kRows, kScaled> sums;
    sums.clear();
    sums.add_column(strip, input + at, temperature, magnitude);
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      store_vector(total + row * sum_stride + at, sums.total[row]);
      store_vector(moment + row * sum_stride + at, sums.moment[row]);
    }
  }
  return magnitude.is_at_most(terms.largest);
}

template <typename F>
bool accumulate_strip(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const void* input,
    const RowStrip& strip,
    int64_t length,
    typename F::Accumulator* total,
    typename F::Accumulator* moment,
    int64_t sum_stride
) {
  const auto* from = static_cast<const typename F::Stored*>(input);
  switch (strip.rows) {
    case 4:
      return terms.temperature == 1
                 ? accumulate_strip_as<F, 4, false>(terms, from, strip, length, total, moment, sum_stride)
                 : accumulate_strip_as<F, 4, true>(terms, from, strip, length, total, moment, sum_stride);
    case 2:
      return accumulate_strip_as<F, 2, true>(terms, from, strip, length, total, moment, sum_stride);
    default:
      return accumulate_strip_as<F, 1, true>(terms, from, strip, length, total, moment, sum_stride);
  }
}

// What becomes of a window's sums: its output,
template <typename F>
struct StoreMean {
  using A = typename F::Accumulator;

  typename F::Stored* output;
  int64_t row_stride;

  VIDEOSOFT_INLINE void operator()(int row, int64_t place, int64_t, Numbers<A> total, Numbers<A> moment) {
    F::store(output + row * row_stride + place, moment / total);
  }
};

// or what its gradient needs.
template <typename F>
struct StoreSlope {
  using A = typename F::Accumulator;

  const typename F::Stored* grad_output;
  int64_t row_stride;
  A temperature;
  A* slopes;
  A* offsets;
  int64_t slope_row_stride;
  Magnitude<A> magnitude;

  VIDEOSOFT_INLINE void operator()(int row, int64_t place, int64_t slope_place, Numbers<A> total, Numbers<A> moment) {
    const Numbers<A> gradient = F::load(grad_output + row * row_stride + place);
    magnitude.see(gradient);
    const Numbers<A> inverse = 1 / total;
    const Numbers<A> slope = gradient * inverse;
    store_vector(slopes + row * slope_row_stride + slope_place, slope);
    store_vector(offsets + row * slope_row_stride + slope_place, temperature * (moment * inverse) * slope);
  }
};

template <typename F, int kRows, bool kScaled, typename Store>
VIDEOSOFT_INLINE bool pool_strip(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const typename F::Stored* input,
    const ChannelStrip& strip,
    typename F::Accumulator* carry,
    Store& store
) {
  using A = typename F::Accumulator;
  using Sums = StripSums<F, kRows, kScaled>;
  constexpr int64_t kCarried = 2 * kRows * kWidth<A>;
  const Numbers<A> temperature = broadcast(terms.temperature);
  Magnitude<A> magnitude;
  A* carried = carry;
  for (int64_t at = 0; at < strip.channels; at = step_on<A>(at, strip.channels), carried += kCarried) {
    Sums sums;
    sums.clear();
    if (strip.has_column_before) {
      sums.add_column(strip.rows, input - strip.column_stride + at, temperature, magnitude);
    }
    sums.store(carried);
  }
  for (int64_t window = 0; window < strip.columns; ++window) {
    const bool has_shared = window + 1 < strip.columns || strip.has_column_after;
    const typename F::Stored* column = input + 2 * window * strip.column_stride;
    carried = carry;
    for (int64_t at = 0; at < strip.channels; at = step_on<A>(at, strip.channels), carried += kCarried) {
      Sums sums;
      sums.load(carried);
      sums.add_column(strip.rows, column + at, temperature, magnitude);
      if (has_shared) {
        Sums shared;
        shared.clear();
        shared.add_column(strip.rows, column + strip.column_stride + at, temperature, magnitude);
        shared.store(carried);
        sums.add(shared);
      }
      const int64_t place = window * strip.column_stride + at;
      const int64_t place_in_block = window * strip.channels + at;
#pragma GCC unroll 4
      for (int row = 0; row < kRows; ++row) {
        store(row, place, place_in_block, sums.total[row], sums.moment[row]);
      }
    }
  }
  return magnitude.is_at_most(terms.largest);
}

template <typename F, typename Store>
VIDEOSOFT_INLINE bool pool_any_strip(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const typename F::Stored* input,
    const ChannelStrip& strip,
    typename F::Accumulator* carry,
    Store& store
) {
  switch (strip.rows.rows) {
    case 4:
      return terms.temperature == 1 ? pool_strip<F, 4, false>(terms, input, strip, carry, store)
                                    : pool_strip<F, 4, true>(terms, input, strip, carry, store);
    case 2:
      return pool_strip<F, 2, true>(terms, input, strip, carry, store);
    default:
      return pool_strip<F, 1, true>(terms, input, strip, carry, store);
  }
}

template <typename F>
bool pool_channels(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const void* input,
    const ChannelStrip& strip,
    typename F::Accumulator* carry,
    void* output
) {
  StoreMean<F> store{static_cast<typename F::Stored*>(output), strip.output_row_stride};
  return pool_any_strip<F>(terms, static_cast<const typename F::Stored*>(input), strip, carry, store);
}

template <typename F>
bool find_channel_slopes(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const void* input,
    const ChannelStrip& strip,
    typename F::Accumulator* carry,
    const void* grad_output,
    typename F::Accumulator* slopes,
    typename F::Accumulator* offsets
) {
  using A = typename F::Accumulator;
  StoreSlope<F> store{
      static_cast<const typename F::Stored*>(grad_output),
      strip.output_row_stride,
      terms.temperature,
      slopes,
      offsets,
      strip.columns * strip.channels,
      {}
  };
  const bool is_moderate = pool_any_strip<F>(terms, static_cast<const typename F::Stored*>(input), strip, carry, store);
  return is_moderate && store.magnitude.is_at_most(A(kLargestDirect));
}

// A row of cells and, for each of its windows, what the gradient needs, in kCount rows (0: any number of them).
template <typename F, int kCount, bool kScaled, bool kExact>
struct ChannelGradient {
  using A = typename F::Accumulator;

  const typename F::Stored* input;
  typename F::Stored* grad_input;
  Numbers<A> temperature;
  const A* const* slope_rows;
  const A* const* offset_rows;
  int64_t count;
  Magnitude<A> magnitude;

  VIDEOSOFT_INLINE void add_slopes(int64_t place, Numbers<A>& slope, Numbers<A>& offset) const {
    const int64_t rows = kCount ? kCount : count;
#pragma GCC unroll 4
    for (int64_t row = 0; row < rows; ++row) {
      slope += load_vector<Numbers<A>>(slope_rows[row] + place);
      if constexpr (kExact) {
        offset += load_vector<Numbers<A>>(offset_rows[row] + place);
      }
    }
  }

  VIDEOSOFT_INLINE void differentiate(int64_t cell, Numbers<A> slope, Numbers<A> offset) {
    const Numbers<A> values = F::load(input + cell);
    magnitude.see(values);
    const Numbers<A> scaled = kScaled ? values * temperature : values;
    const Numbers<A> derivative = kExact ? slope + (scaled * slope - offset) : slope;
    F::store(grad_input + cell, exponential(scaled) * derivative);
  }
};

template <typename F, int kCount, bool kScaled, bool kExact>
VIDEOSOFT_INLINE bool differentiate_channels_as(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const typename F::Stored* input,
    const ChannelStrip& strip,
    const typename F::Accumulator* const* slopes,
    const typename F::Accumulator* const* offsets,
    int64_t count,
    typename F::Stored* grad_input
) {
  using A = typename F::Accumulator;
  ChannelGradient<F, kCount, kScaled, kExact> gradient{
      input, grad_input, broadcast(terms.temperature), slopes, offsets, count, {}
  };
  const int64_t stride = strip.column_stride;
  for (int64_t window = 0; window < strip.columns; ++window) {
    const bool has_before = window > 0 || strip.has_column_before;
    for (int64_t at = 0; at < strip.channels; at = step_on<A>(at, strip.channels)) {
      const int64_t place = window * strip.channels + at;
      const int64_t middle = 2 * window * stride + at;
      Numbers<A> slope{};
      Numbers<A> offset{};
      gradient.add_slopes(place, slope, offset);
      gradient.differentiate(middle, slope, offset);
      if (has_before) {
        if (window > 0) {
          gradient.add_slopes(place - strip.channels, slope, offset);
        }
        gradient.differentiate(middle - stride, slope, offset);
      }
    }
  }
  // The last window's last column, which no other shares, and columns that no window holds.
  int64_t column = 2 * strip.columns - 1;
  for (int64_t left = strip.columns_after; left > 0; --left, ++column) {
    for (int64_t at = 0; at < strip.channels; at = step_on<A>(at, strip.channels)) {
      Numbers<A> slope{};
      Numbers<A> offset{};
      if (left == strip.columns_after) {
        gradient.add_slopes((strip.columns - 1) * strip.channels + at, slope, offset);
      }
      gradient.differentiate(column * stride + at, slope, offset);
    }
  }
  return gradient.magnitude.is_at_most(terms.largest);
}

template <typename F>
bool differentiate_channels(
    const SoftmaxTerms<typename F::Accumulator>& terms,
    const void* input,
    const ChannelStrip& strip,
    const typename F::Accumulator* const* slopes,
    const typename F::Accumulator* const* offsets,
    int64_t count,
    void* grad_input
) {
  const auto* from = static_cast<const typename F::Stored*>(input);
  auto* to = static_cast<typename F::Stored*>(grad_input);
  if (!terms.exact_gradient) {
    return differentiate_channels_as<F, 0, true, false>(terms, from, strip, slopes, offsets, count, to);
  }
  if (terms.temperature != 1) {
    return differentiate_channels_as<F, 0, true, true>(terms, from, strip, slopes, offsets, count, to);
  }
  switch (count) {
    case 1:
      return differentiate_channels_as<F, 1, false, true>(terms, from, strip, slopes, offsets, count, to);
    case 2:
      return differentiate_channels_as<F, 2, false, true>(terms, from, strip, slopes, offsets, count, to);
    default:
      return differentiate_channels_as<F, 0, false, true>(terms, from, strip, slopes, offsets, count, to);
  }
}
