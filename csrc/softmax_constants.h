// What the careful softmax (docs/decisions/0003) needs to know beside the values, the same on every device.

#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace videosoft {

// What sums of stored numbers are held in: float for half types.
template <typename T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};
template <typename T>
using accumulator_t = typename Accumulator<T>::type;

// Centred values are scale * (x - max) and temperature is b / scale; scale is a power of two, 1 unless b is tiny: then
// b (x - max) does not underflow for far cells, and many of them could overflow the sum.
template <typename A>
struct SoftmaxConstants {
  A temperature;
  A scale;
  A inverse_scale;
  A lowest; // centred values below this have weight 0
};

// Exponents below this give weight 0: what is left of exp there is a subnormal.
template <typename A>
constexpr A kSmallestExponent = A(-700);
template <>
constexpr float kSmallestExponent<float> = -87.0f;

template <typename A>
inline SoftmaxConstants<A> create_softmax_constants(double b, int64_t num_cells) {
  constexpr double kLargest = std::numeric_limits<A>::max();
  double scale = 1.0;
  if (b < 0x1p-100) {
    while (scale * 2 * static_cast<double>(num_cells) > 1.0) {
      scale /= 2;
    }
  }
  const double temperature = std::min(b / scale, kLargest);
  const double lowest = temperature > 0 ? std::max(kSmallestExponent<A> / temperature, -kLargest) : -kLargest;
  return {static_cast<A>(temperature), static_cast<A>(scale), static_cast<A>(1 / scale), static_cast<A>(lowest)};
}

} // namespace videosoft
