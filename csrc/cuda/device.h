// What kernels need of the device, written so that the same functions also compile for the host, where the tests run
// them serially (tests/cuda_rehearsal).

#pragma once

#include "../softmax_constants.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if defined(__CUDACC__)
#define VIDEOSOFT_DEVICE __host__ __device__ __forceinline__
#define VIDEOSOFT_UNROLL _Pragma("unroll")
#define VIDEOSOFT_NO_UNROLL _Pragma("unroll 1")
#else
#define VIDEOSOFT_DEVICE inline
#define VIDEOSOFT_UNROLL
#define VIDEOSOFT_NO_UNROLL
#endif

namespace videosoft {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;

// Neighbouring numbers that move through memory together.
template <typename T, int kCount>
struct alignas(sizeof(T) * kCount) Pack {
  T numbers[kCount];
};

// A vector register moves at most this much.
constexpr int kVectorBytes = 16;

// kCount numbers in as few accesses as there can be; `from` is aligned to a vector, or to all of them if they are less.
template <int kCount, typename T>
VIDEOSOFT_DEVICE void load_numbers(const T* from, T (&numbers)[kCount]) {
  constexpr int kFit = kVectorBytes / static_cast<int>(sizeof(T));
  constexpr int kPack = kCount < kFit ? kCount : kFit;
  static_assert(kCount % kPack == 0, "a row of numbers must be whole vectors");
  VIDEOSOFT_UNROLL
  for (int at = 0; at < kCount; at += kPack) {
    const auto pack = *reinterpret_cast<const Pack<T, kPack>*>(from + at);
    VIDEOSOFT_UNROLL
    for (int i = 0; i < kPack; ++i) {
      numbers[at + i] = pack.numbers[i];
    }
  }
}

template <int kCount, typename T>
VIDEOSOFT_DEVICE void store_numbers(T* to, const T (&numbers)[kCount]) {
  constexpr int kFit = kVectorBytes / static_cast<int>(sizeof(T));
  constexpr int kPack = kCount < kFit ? kCount : kFit;
  static_assert(kCount % kPack == 0, "a row of numbers must be whole vectors");
  VIDEOSOFT_UNROLL
  for (int at = 0; at < kCount; at += kPack) {
    Pack<T, kPack> pack;
    VIDEOSOFT_UNROLL
    for (int i = 0; i < kPack; ++i) {
      pack.numbers[i] = numbers[at + i];
    }
    *reinterpret_cast<Pack<T, kPack>*>(to + at) = pack;
  }
}

// Numbers as they lie in registers, for loads that only some threads do: choosing between halves of registers would
// cost instructions.
template <typename T, int kCount>
struct RawNumbers {
  static constexpr int kWords = kCount * static_cast<int>(sizeof(T)) / 4;
  static_assert(kWords * 4 == kCount * static_cast<int>(sizeof(T)), "numbers must fill registers");
  uint32_t words[kWords] = {};

  VIDEOSOFT_DEVICE void load(const T* from) {
    load_numbers(reinterpret_cast<const uint32_t*>(from), words);
  }

  VIDEOSOFT_DEVICE float get(int i) const {
    if constexpr (std::is_same<T, Half>::value) {
      const uint16_t bits = static_cast<uint16_t>(words[i / 2] >> (i % 2 * 16));
      Half half;
      std::memcpy(&half, &bits, sizeof(half));
      return half;
    } else {
      constexpr bool kIsShort = std::is_same<T, BFloat16>::value;
      const uint32_t bits = !kIsShort ? words[i] : i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xffff0000u;
      float number;
      std::memcpy(&number, &bits, sizeof(number));
      return number;
    }
  }
};

// 2^x within 2 units in the last place; x below -126 may give 0.
VIDEOSOFT_DEVICE float exponentiate_base2(float x) {
#if defined(__CUDA_ARCH__)
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  return power;
#else
  return std::exp2(x);
#endif
}

// Quotients of sums whose size is known to be moderate. Half types round away what the fast division loses.
template <typename T>
struct Quotient {
  template <typename A>
  static VIDEOSOFT_DEVICE A divide(A numerator, A denominator) {
#if defined(__CUDA_ARCH__)
    return __fdividef(numerator, denominator);
#else
    return numerator / denominator;
#endif
  }
};
template <>
struct Quotient<float> {
  static VIDEOSOFT_DEVICE float divide(float numerator, float denominator) {
    return numerator / denominator;
  }
};
template <>
struct Quotient<double> {
  static VIDEOSOFT_DEVICE double divide(double numerator, double denominator) {
    return numerator / denominator;
  }
};

// Division by a number that is the same for a whole launch: a multiplication, for dividends below 2^31.
template <typename Index>
class Divisor;

template <>
class Divisor<int32_t> {
 public:
  Divisor() = default;
  explicit Divisor(int64_t divisor) : divisor_(static_cast<uint32_t>(divisor)) {
    while ((uint64_t{1} << shift_) < static_cast<uint64_t>(divisor)) {
      ++shift_;
    }
    const uint64_t excess = (uint64_t{1} << shift_) - static_cast<uint64_t>(divisor);
    multiplier_ = static_cast<uint32_t>((excess << 32) / static_cast<uint64_t>(divisor) + 1);
  }

  // Divides `number` and returns the remainder.
  VIDEOSOFT_DEVICE int32_t split(int32_t& number) const {
    const uint32_t dividend = static_cast<uint32_t>(number);
#if defined(__CUDA_ARCH__)
    const uint32_t high = __umulhi(dividend, multiplier_);
#else
    const uint32_t high = static_cast<uint32_t>((uint64_t{dividend} * multiplier_) >> 32);
#endif
    const uint32_t quotient = (high + dividend) >> shift_;
    number = static_cast<int32_t>(quotient);
    return static_cast<int32_t>(dividend - quotient * divisor_);
  }

 private:
  uint32_t divisor_ = 1;
  uint32_t multiplier_ = 1;
  uint32_t shift_ = 0;
};

template <>
class Divisor<int64_t> {
 public:
  Divisor() = default;
  explicit Divisor(int64_t divisor) : divisor_(divisor) {
  }

  VIDEOSOFT_DEVICE int64_t split(int64_t& number) const {
    const int64_t quotient = number / divisor_;
    const int64_t remainder = number - quotient * divisor_;
    number = quotient;
    return remainder;
  }

 private:
  int64_t divisor_ = 1;
};

} // namespace videosoft
