#include "lane_kernels.h"

#include <cmath>
#include <cstdint>
#include <cstring>

// One copy for each instruction set, chosen once when the library is loaded; elsewhere the compiler's default alone.
#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__) && !defined(__clang__)
#define VIDEOSOFT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define VIDEOSOFT_CLONES
#endif

namespace videosoft {
namespace {

// glibc's, not vectorised: float64 is for checks, not for training.
inline double compute_exponential(double x) {
  return std::exp(x);
}

// exp(x) for -87.3 <= x <= 0 without branch or table, so that the compiler vectorises it. Elsewhere, NaN included, the
// result means nothing: a window with such a cell takes its output and its NaN gradients from the maximum.
// Error below 1.1 ulp, with fused multiply-add and without (every seventh float of the range tried).
// x = n ln 2 + r, |r| <= ln 2 / 2;  exp(r) = 1 + r + r^2 q(r), q of degree 4 fitted for the least relative error
// (3e-9).
inline float compute_exponential(float x) {
  constexpr float kInverseLn2 = 1.44269504f;
  constexpr float kLn2High = 0.69140625f; // 9 bits: n * kLn2High is exact
  constexpr float kLn2Low = 0.0017409306f;
  constexpr float kRounder = 12582912.0f; // 1.5 * 2^23: adding it rounds to the nearest integer, in the low bits
  const float shifted = x * kInverseLn2 + kRounder;
  const float n = shifted - kRounder;
  const float r = (x - n * kLn2High) - n * kLn2Low;
  float q = 0.001381454f;
  q = q * r + 0.008368745f;
  q = q * r + 0.04166839f;
  q = q * r + 0.16666521f;
  q = q * r + 0.49999994f;
  const float p = (q * r) * r + r + 1.0f;
  // Multiply by 2^n: add n, the low bits of `shifted`, to the exponent's bits.
  uint32_t bits;
  uint32_t exponent;
  std::memcpy(&bits, &p, sizeof(bits));
  std::memcpy(&exponent, &shifted, sizeof(exponent));
  bits += exponent << 23;
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

template <typename A>
inline __attribute__((always_inline)) void update_maximum_impl(
    int blocks, const A* __restrict values, A* __restrict maximum
) {
  for (int lane = 0; lane < blocks * kBlock; ++lane) {
    const A value = values[lane];
    const A before = maximum[lane];
    maximum[lane] = (value > before) | (value != value) ? value : before;
  }
}

template <typename A>
inline __attribute__((always_inline)) void exponentiate_impl(
    int blocks,
    SoftmaxConstants<A> constants,
    const A* __restrict values,
    const A* __restrict centre,
    A* __restrict exponential,
    A* __restrict centred,
    A* __restrict total,
    A* __restrict moment
) {
  for (int lane = 0; lane < blocks * kBlock; ++lane) {
    const A distance = values[lane] * constants.scale - centre[lane];
    const A bounded = distance < constants.lowest ? constants.lowest : distance;
    const A power = compute_exponential(constants.temperature * bounded);
    const A kept = distance < constants.lowest ? A(0) : power;
    exponential[lane] = kept;
    centred[lane] = bounded;
    total[lane] += kept;
    moment[lane] += kept * bounded;
  }
}

template <typename A>
inline __attribute__((always_inline)) void add_gradient_impl(
    int blocks,
    bool exact,
    A temperature,
    const A* __restrict gradient,
    const A* __restrict inverse,
    const A* __restrict mean,
    const A* __restrict exponential,
    const A* __restrict centred,
    A* __restrict into
) {
  if (!exact) {
    for (int lane = 0; lane < blocks * kBlock; ++lane) {
      into[lane] += gradient[lane] * (exponential[lane] * inverse[lane]);
    }
    return;
  }
  for (int lane = 0; lane < blocks * kBlock; ++lane) {
    const A weight = exponential[lane] * inverse[lane];
    into[lane] += gradient[lane] * (weight * (1 + temperature * (centred[lane] - mean[lane])));
  }
}

} // namespace

VIDEOSOFT_CLONES void update_maximum(int width, const float* values, float* maximum) {
  update_maximum_impl(width / kBlock, values, maximum);
}

void update_maximum(int width, const double* values, double* maximum) {
  update_maximum_impl(width / kBlock, values, maximum);
}

VIDEOSOFT_CLONES void exponentiate(
    int width,
    const SoftmaxConstants<float>& constants,
    const float* values,
    const float* centre,
    float* exponential,
    float* centred,
    float* total,
    float* moment
) {
  exponentiate_impl(width / kBlock, constants, values, centre, exponential, centred, total, moment);
}

void exponentiate(
    int width,
    const SoftmaxConstants<double>& constants,
    const double* values,
    const double* centre,
    double* exponential,
    double* centred,
    double* total,
    double* moment
) {
  exponentiate_impl(width / kBlock, constants, values, centre, exponential, centred, total, moment);
}

VIDEOSOFT_CLONES void add_gradient(
    int width,
    bool exact,
    float temperature,
    const float* gradient,
    const float* inverse,
    const float* mean,
    const float* exponential,
    const float* centred,
    float* into
) {
  add_gradient_impl(width / kBlock, exact, temperature, gradient, inverse, mean, exponential, centred, into);
}

void add_gradient(
    int width,
    bool exact,
    double temperature,
    const double* gradient,
    const double* inverse,
    const double* mean,
    const double* exponential,
    const double* centred,
    double* into
) {
  add_gradient_impl(width / kBlock, exact, temperature, gradient, inverse, mean, exponential, centred, into);
}

} // namespace videosoft
