// The arithmetic of one window, in two ways (docs/decisions/0008).
//
// The fast way does not subtract the maximum: e = exp(b x), y = sum e x / sum e, and the gradient of a cell is
// e (S (1 + b x) - O) with S = sum g / sum e and O = sum b y g / sum e over the windows that hold it. A window may take
// it if its sums are moderate; unlike on the CPU, where the cells are looked at, far smaller cells do no harm: their e
// is 0. The careful way is right for every input, and taken window by window where the sums are not moderate.

#pragma once

#include "activation.h"
#include "window.h"

#include <algorithm>
#include <limits>
#include <type_traits>

namespace videosoft {

// Largest |b max| of a moderate window. 30 keeps all products in the range of float32; cancellation in the gradient
// costs as many rounding errors of a weight, which float32 has to show and half types have not.
template <typename T>
constexpr double kLargestExponent = std::is_same<T, float>::value ? 8.0 : 30.0;

template <typename A>
struct SoftmaxTerms {
  SoftmaxConstants<A> careful;
  A temperature;
  A exponent;      // of base 2 for float: b log2(e)
  A exponent_rest; // what rounding it lost
  A lowest;        // b x of cells below is so small that e is 0
  A least_total;
  A largest_total;
  A largest_moment;
  A largest_gradient;
  bool exact_gradient;

  SoftmaxTerms(double b, int64_t num_cells, bool exact, double largest_exponent)
      : careful(create_softmax_constants<A>(b, num_cells)), exact_gradient(exact) {
    constexpr double kLargest = std::numeric_limits<A>::max();
    constexpr double kLog2E = 1.4426950408889634;
    const double power = std::is_same<A, float>::value ? b * kLog2E : b;
    temperature = static_cast<A>(b);
    exponent = static_cast<A>(power);
    exponent_rest = power <= kLargest ? static_cast<A>(power - static_cast<double>(exponent)) : A(0);
    lowest = static_cast<A>(b > 0 ? std::max(-200.0 / b, -kLargest) : -kLargest);
    // One cell a window is a copy, which e x / e is not to the last bit.
    const bool is_copy = num_cells == 1;
    least_total = is_copy ? std::numeric_limits<A>::infinity() : static_cast<A>(std::exp(-largest_exponent));
    largest_total = static_cast<A>(std::exp(largest_exponent) * static_cast<double>(num_cells));
    largest_moment = A(1e30);
    largest_gradient = A(4294967296.0);
  }
};

// exp(b x) as it is stored: float needs all its digits, half types do not.
template <typename T>
struct Exponential {
  static VIDEOSOFT_DEVICE float compute(const SoftmaxTerms<float>& terms, float x) {
    return exponentiate_base2(x * terms.exponent);
  }
};
template <>
struct Exponential<float> {
  static VIDEOSOFT_DEVICE float compute(const SoftmaxTerms<float>& terms, float x) {
    constexpr float kLn2 = 0.69314718f;
    const float power = x * terms.exponent;
    const float rest = std::fma(x, terms.exponent_rest, std::fma(x, terms.exponent, -power));
    const float result = exponentiate_base2(power);
    return std::fma(result, rest * kLn2, result);
  }
};
template <>
struct Exponential<double> {
  static VIDEOSOFT_DEVICE double compute(const SoftmaxTerms<double>& terms, double x) {
    return std::exp(x * terms.exponent);
  }
};

template <typename A>
struct WindowSums {
  A total = 0;
  A moment = 0;

  template <typename T>
  VIDEOSOFT_DEVICE void add_cell(const SoftmaxTerms<A>& terms, A x) {
    add_power(Exponential<T>::compute(terms, x), x);
  }

  VIDEOSOFT_DEVICE void add_power(A power, A x) {
    total += power;
    moment += power * x;
  }

  VIDEOSOFT_DEVICE void add(const WindowSums& other) {
    total += other.total;
    moment += other.moment;
  }

  // Not so if anything is NaN or infinite.
  VIDEOSOFT_DEVICE bool is_moderate(const SoftmaxTerms<A>& terms) const {
    return (total >= terms.least_total) & (total <= terms.largest_total) & (std::fabs(moment) <= terms.largest_moment);
  }
};

// What a cell needs to know of a window: S and O on the fast way; g / sum and the mean of the centred values else.
template <typename A>
struct Slope {
  A slope = 0;
  A offset = 0;
};

template <typename T, typename A = accumulator_t<T>>
VIDEOSOFT_DEVICE Slope<A> find_slope(const SoftmaxTerms<A>& terms, const WindowSums<A>& sums, A gradient) {
  const A inverse = Quotient<T>::divide(A(1), sums.total);
  const A slope = gradient * inverse;
  return {slope, terms.temperature * sums.moment * inverse * slope};
}

template <typename A>
VIDEOSOFT_DEVICE bool is_moderate(const SoftmaxTerms<A>& terms, A gradient) {
  return std::fabs(gradient) <= terms.largest_gradient;
}

// The gradient of a cell whose windows are all moderate; 0 in no window, whatever it holds.
template <typename T, typename A = accumulator_t<T>>
VIDEOSOFT_DEVICE A differentiate(const SoftmaxTerms<A>& terms, A cell, const Slope<A>& slope) {
  const A x = cell < terms.lowest ? terms.lowest : cell;
  const A change = terms.temperature * x * slope.slope - slope.offset;
  const A derivative = terms.exact_gradient ? slope.slope + change : slope.slope;
  const bool is_zero = (slope.slope == 0) & (slope.offset == 0);
  return is_zero ? A(0) : Exponential<T>::compute(terms, x) * derivative;
}

// Sums of one channel over the cells of a window. `active` is the activation of that channel.
template <typename T, typename Active, typename Index, typename A = accumulator_t<T>>
VIDEOSOFT_DEVICE WindowSums<A> sum_window(
    const SoftmaxTerms<A>& terms,
    const Active& active,
    const T* input,
    const Shape<Index>& shape,
    const Box<Index>& cells
) {
  WindowSums<A> sums;
  for_cells(shape, cells, [&](Index cell) {
    sums.template add_cell<T>(terms, active.apply(static_cast<A>(input[cell])));
  });
  return sums;
}

template <typename A>
struct CentredCell {
  A exponential;
  A centred;

  VIDEOSOFT_DEVICE CentredCell(const SoftmaxConstants<A>& constants, A x, A centre) {
    const A distance = x * constants.scale - centre;
    centred = distance < constants.lowest ? constants.lowest : distance;
    exponential = distance < constants.lowest ? A(0) : std::exp(constants.temperature * centred);
  }
};

template <typename A>
VIDEOSOFT_DEVICE bool is_finite(A value) {
  return std::fabs(value) <= std::numeric_limits<A>::max();
}

// The largest cell of a window; NaN wins.
template <typename T, typename Active, typename Index, typename A = accumulator_t<T>>
VIDEOSOFT_DEVICE A
find_maximum(const Active& active, const T* input, const Shape<Index>& shape, const Box<Index>& cells) {
  A maximum = -std::numeric_limits<A>::infinity();
  for_cells(shape, cells, [&](Index cell) {
    const A x = active.apply(static_cast<A>(input[cell]));
    maximum = (x > maximum) | (x != x) ? x : maximum;
  });
  return maximum;
}

template <typename A>
VIDEOSOFT_DEVICE A find_centre(const SoftmaxConstants<A>& constants, A maximum) {
  return is_finite(maximum) ? maximum * constants.scale : A(0);
}

// A window with its maximum subtracted.
template <typename A>
struct CarefulWindow {
  A maximum;
  A centre;
  A total = 0;
  A moment = 0;

  template <typename T, typename Active, typename Index>
  VIDEOSOFT_DEVICE CarefulWindow(
      const SoftmaxConstants<A>& constants,
      const Active& active,
      const T* input,
      const Shape<Index>& shape,
      const Box<Index>& cells
  )
      : maximum(find_maximum(active, input, shape, cells)), centre(find_centre(constants, maximum)) {
    for_cells(shape, cells, [&](Index cell) {
      const CentredCell<A> found(constants, active.apply(static_cast<A>(input[cell])), centre);
      total += found.exponential;
      moment += found.exponential * found.centred;
    });
  }

  VIDEOSOFT_DEVICE A pool(const SoftmaxConstants<A>& constants) const {
    // Between the window's extremes, so no overflow; for a maximum that is NaN or infinite it means nothing.
    return is_finite(maximum) ? (centre + moment / total) * constants.inverse_scale : maximum;
  }

  // g / sum and the mean; NaN poisons all cells of the window, and a window of -inf alone has gradient 0.
  VIDEOSOFT_DEVICE Slope<A> find_slope(A gradient) const {
    const bool is_empty = maximum == -std::numeric_limits<A>::infinity();
    const A poison = is_empty ? A(0) : std::numeric_limits<A>::quiet_NaN();
    const A inverse = is_finite(maximum) ? 1 / total : poison;
    return {gradient * inverse, moment * inverse};
  }
};

// What one careful window adds to the gradient of a cell. The derivative is formed first: it is bounded.
template <typename A>
VIDEOSOFT_DEVICE A differentiate_carefully(const SoftmaxTerms<A>& terms, A x, A centre, const Slope<A>& slope) {
  const CentredCell<A> cell(terms.careful, x, centre);
  const A change = 1 + terms.careful.temperature * (cell.centred - slope.offset);
  return slope.slope * (terms.exact_gradient ? cell.exponential * change : cell.exponential);
}

} // namespace videosoft
