// What is done to a cell before it is pooled: nothing, or max(0, scale x + shift) with a scale and a shift for each
// channel. It is done in the type of the sums whenever a cell is taken from memory or its register, so that it is never
// stored; the backward finds it anew.
//
// `find` gives a thread what it needs for the kCount channels it works on; kernels of Identity carry nothing of it.

#pragma once

#include "device.h"

#include <cmath>

namespace videosoft {

template <typename A, typename Index>
struct Identity {
  static constexpr bool kIsIdentity = true;

  struct Channels {
    VIDEOSOFT_DEVICE A apply(A x, int = 0) const {
      return x;
    }
    VIDEOSOFT_DEVICE A chain(A, A gradient, int = 0) const {
      return gradient;
    }
  };

  template <int kCount>
  VIDEOSOFT_DEVICE Channels find(int64_t, Index) const {
    return {};
  }
};

// NaN stays NaN.
VIDEOSOFT_DEVICE float rectify(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float rectified;
  asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(rectified) : "f"(x));
  return rectified;
#else
  return x <= 0 ? 0.0f : x;
#endif
}
VIDEOSOFT_DEVICE double rectify(double x) {
  return x <= 0 ? 0.0 : x;
}

template <typename A, typename Index>
struct ScaledRelu {
  static constexpr bool kIsIdentity = false;
  const A* scale; // null: 1 everywhere, and shift 0
  const A* shift;
  // Where channels lie within a part both are 1.
  Divisor<Index> parts_per_channel;
  Divisor<Index> num_channels;

  // `lane` is the channel after the first one; a single channel is that of every lane.
  template <int kCount>
  struct Channels {
    A scales[kCount];
    A shifts[kCount];

    VIDEOSOFT_DEVICE A apply(A x, int lane = 0) const {
      const int at = kCount == 1 ? 0 : lane;
      return rectify(std::fma(x, scales[at], shifts[at]));
    }

    // The derivative with respect to the stored cell, from the one with respect to what `apply` made of it; as PyTorch
    // has it, 0 at 0.
    VIDEOSOFT_DEVICE A chain(A applied, A gradient, int lane = 0) const {
      return applied <= 0 ? A(0) : gradient * scales[kCount == 1 ? 0 : lane];
    }
  };

  // `channel` is the first one within the part.
  template <int kCount>
  VIDEOSOFT_DEVICE Channels<kCount> find(int64_t part, Index channel) const {
    Channels<kCount> found;
    if (scale == nullptr) {
      VIDEOSOFT_UNROLL
      for (int i = 0; i < kCount; ++i) {
        found.scales[i] = A(1);
        found.shifts[i] = A(0);
      }
      return found;
    }
    Index at = static_cast<Index>(part);
    parts_per_channel.split(at);
    const Index first = num_channels.split(at) + channel;
    load_numbers(scale + first, found.scales);
    load_numbers(shift + first, found.shifts);
    return found;
  }
};

} // namespace videosoft
