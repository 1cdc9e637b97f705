// What the operators call: kernels for one way of storing numbers, compiled in one file each.

#pragma once

#include "../geometry.h"

namespace videosoft {

struct Pooling {
  Geometry geometry;
  bool channels_last;
  double temperature;
  bool exact_gradient;
};

// Tensors are dense in the layout that Pooling names, and not empty. `stream` is a cudaStream_t.
template <typename T>
void pool(const Pooling& pooling, const T* input, T* output, void* stream);

template <typename T>
void differentiate(const Pooling& pooling, const T* grad_output, const T* input, T* grad_input, void* stream);

} // namespace videosoft
