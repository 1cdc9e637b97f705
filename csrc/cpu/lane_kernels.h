// The arithmetic of SoftPool over lanes: neighbouring numbers, one of each window of a tile. `width` is a multiple of
// kBlock. Kept apart from everything else so that it can be compiled for several instruction sets.

#pragma once

#include "../softmax_constants.h"

namespace videosoft {

constexpr int kBlock = 16;

// maximum = max(maximum, values); NaN wins.
void update_maximum(int width, const float* values, float* maximum);
void update_maximum(int width, const double* values, double* maximum);

// centred = max(scale * values - centre, lowest), exponential = exp(temperature * centred), or 0 below lowest; both are
// written, and added to total = sum of exponential, moment = sum of exponential * centred.
void exponentiate(
    int width,
    const SoftmaxConstants<float>& constants,
    const float* values,
    const float* centre,
    float* exponential,
    float* centred,
    float* total,
    float* moment
);
void exponentiate(
    int width,
    const SoftmaxConstants<double>& constants,
    const double* values,
    const double* centre,
    double* exponential,
    double* centred,
    double* total,
    double* moment
);

// into += gradient * w (1 + temperature (centred - mean)) with w = exponential * inverse, or gradient * w if not exact.
// The derivative comes first: it is bounded, so that the product overflows only if the true value does.
void add_gradient(
    int width,
    bool exact,
    float temperature,
    const float* gradient,
    const float* inverse,
    const float* mean,
    const float* exponential,
    const float* centred,
    float* into
);
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
);

} // namespace videosoft
