// What the operators call: kernels for one way of storing numbers, compiled in one file each.

#pragma once

#include "../geometry.h"
#include "../softmax_constants.h"

namespace videosoft {

struct Pooling {
  Geometry geometry;
  bool channels_last;
  double temperature;
  bool exact_gradient;
};

// Of every channel, one after the other; null: 1 and 0 everywhere.
template <typename A>
struct Scaling {
  const A* scale = nullptr;
  const A* shift = nullptr;
};

// Tensors are dense in the layout that Pooling names, and not empty. `stream` is a cudaStream_t.
template <typename T>
void pool(const Pooling& pooling, const T* input, T* output, void* stream);

template <typename T>
void differentiate(const Pooling& pooling, const T* grad_output, const T* input, T* grad_input, void* stream);

// The same of max(0, scale x + shift).
template <typename T>
void pool_relu(
    const Pooling& pooling, const Scaling<accumulator_t<T>>& scaling, const T* input, T* output, void* stream
);

template <typename T>
void differentiate_relu(
    const Pooling& pooling,
    const Scaling<accumulator_t<T>>& scaling,
    const T* grad_output,
    const T* input,
    T* grad_input,
    void* stream
);

} // namespace videosoft
