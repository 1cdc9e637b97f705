// Vectors of one instruction set, of VIDEOSOFT_VECTOR_BYTES each, in the vector extension that GCC and Clang share.
//
// Included once by each row_kernels_<set>.cpp, under that set's compiler target, in an unnamed namespace: a function
// compiled for one instruction set must never be linked into the code of another. No standard headers here, and no
// lambdas: they do not take the target over.

#define VIDEOSOFT_INLINE inline __attribute__((always_inline))

template <typename A>
struct VectorTypes;

template <>
struct VectorTypes<float> {
  typedef float Numbers __attribute__((vector_size(VIDEOSOFT_VECTOR_BYTES)));
  typedef int32_t Bits __attribute__((vector_size(VIDEOSOFT_VECTOR_BYTES)));
  typedef uint32_t UnsignedBits __attribute__((vector_size(VIDEOSOFT_VECTOR_BYTES)));
  typedef uint16_t HalfBits __attribute__((vector_size(VIDEOSOFT_VECTOR_BYTES / 2)));
  using BitsElement = int32_t;
};

template <>
struct VectorTypes<double> {
  typedef double Numbers __attribute__((vector_size(VIDEOSOFT_VECTOR_BYTES)));
  typedef int64_t Bits __attribute__((vector_size(VIDEOSOFT_VECTOR_BYTES)));
  typedef uint64_t UnsignedBits __attribute__((vector_size(VIDEOSOFT_VECTOR_BYTES)));
  using BitsElement = int64_t;
};

template <typename A>
using Numbers = typename VectorTypes<A>::Numbers;
template <typename A>
using Bits = typename VectorTypes<A>::Bits;
template <typename A>
using UnsignedBits = typename VectorTypes<A>::UnsignedBits;
using HalfBits = VectorTypes<float>::HalfBits;

template <typename A>
constexpr int64_t kWidth = VIDEOSOFT_VECTOR_BYTES / static_cast<int64_t>(sizeof(A));

template <typename V>
VIDEOSOFT_INLINE V load_vector(const void* from) {
  V vector;
  __builtin_memcpy(&vector, from, sizeof(V));
  return vector;
}

template <typename V>
VIDEOSOFT_INLINE void store_vector(void* to, V vector) {
  __builtin_memcpy(to, &vector, sizeof(V));
}

#if !defined(VIDEOSOFT_IS_ANY_SET)
template <typename V>
VIDEOSOFT_INLINE bool is_any_set(V mask) {
  uint64_t words[sizeof(V) / sizeof(uint64_t)];
  __builtin_memcpy(words, &mask, sizeof(V));
  uint64_t any = 0;
  for (uint64_t word : words) {
    any |= word;
  }
  return any != 0;
}
#define VIDEOSOFT_IS_ANY_SET(mask) is_any_set(mask)
#endif

template <typename A>
VIDEOSOFT_INLINE Numbers<A> broadcast(A value) {
  return Numbers<A>{} + value;
}

#if defined(__clang__)
template <typename V, int... I>
VIDEOSOFT_INLINE V take_evens(V first, V second, Sequence<I...>) {
  return __builtin_shufflevector(first, second, (2 * I)...);
}
template <typename V, int... I>
VIDEOSOFT_INLINE V take_odds(V first, V second, Sequence<I...>) {
  return __builtin_shufflevector(first, second, (2 * I + 1)...);
}
template <typename V, int... I>
VIDEOSOFT_INLINE V interleave_lower_halves(V first, V second, Sequence<I...>) {
  return __builtin_shufflevector(first, second, (I / 2 + I % 2 * int(sizeof...(I)))...);
}
template <typename V, int... I>
VIDEOSOFT_INLINE V interleave_upper_halves(V first, V second, Sequence<I...>) {
  constexpr int kLanes = sizeof...(I);
  return __builtin_shufflevector(first, second, (kLanes / 2 + I / 2 + I % 2 * kLanes)...);
}
#else
template <typename V, int... I>
VIDEOSOFT_INLINE V take_evens(V first, V second, Sequence<I...>) {
  using Mask = decltype(first < second);
  return __builtin_shuffle(first, second, Mask{(2 * I)...});
}
template <typename V, int... I>
VIDEOSOFT_INLINE V take_odds(V first, V second, Sequence<I...>) {
  using Mask = decltype(first < second);
  return __builtin_shuffle(first, second, Mask{(2 * I + 1)...});
}
template <typename V, int... I>
VIDEOSOFT_INLINE V interleave_lower_halves(V first, V second, Sequence<I...>) {
  using Mask = decltype(first < second);
  return __builtin_shuffle(first, second, Mask{(I / 2 + I % 2 * int(sizeof...(I)))...});
}
template <typename V, int... I>
VIDEOSOFT_INLINE V interleave_upper_halves(V first, V second, Sequence<I...>) {
  constexpr int kLanes = sizeof...(I);
  using Mask = decltype(first < second);
  return __builtin_shuffle(first, second, Mask{(kLanes / 2 + I / 2 + I % 2 * kLanes)...});
}
#endif

// How numbers are stored: load gives a vector of the accumulator's type, store rounds one to nearest even. What store
// makes of a NaN means nothing: sums with NaN are for the careful way.

template <typename A>
struct Plain {
  using Accumulator = A;
  using Stored = A;
  static VIDEOSOFT_INLINE Numbers<A> load(const A* from) {
    return load_vector<Numbers<A>>(from);
  }
  static VIDEOSOFT_INLINE void store(A* to, Numbers<A> values) {
    store_vector(to, values);
  }
};
using Float64 = Plain<double>;
using Float32 = Plain<float>;

struct BFloat16 {
  using Accumulator = float;
  using Stored = uint16_t;
  static VIDEOSOFT_INLINE Numbers<float> load(const uint16_t* from) {
#if defined(VIDEOSOFT_BFLOAT16_LOAD)
    return VIDEOSOFT_BFLOAT16_LOAD(from);
#else
    const auto wide = __builtin_convertvector(load_vector<HalfBits>(from), UnsignedBits<float>);
    return (Numbers<float>)(wide << 16);
#endif
  }
  static VIDEOSOFT_INLINE void store(uint16_t* to, Numbers<float> values) {
    const auto bits = (UnsignedBits<float>)values;
    const UnsignedBits<float> rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    store_vector(to, __builtin_convertvector(rounded, HalfBits));
  }
};

struct Float16 {
  using Accumulator = float;
  using Stored = uint16_t;
  static VIDEOSOFT_INLINE Numbers<float> load(const uint16_t* from) {
#if defined(VIDEOSOFT_HALF_LOAD)
    return VIDEOSOFT_HALF_LOAD(from);
#else
    // Exponent and fraction move up 13 bits; the exponents' bias then differs by 112. Subnormals come out right.
    const auto bits = __builtin_convertvector(load_vector<HalfBits>(from), UnsignedBits<float>);
    const UnsignedBits<float> magnitude = bits & 0x7fff;
    const auto scaled = (UnsignedBits<float>)((Numbers<float>)(magnitude << 13) * 0x1p112f);
    const UnsignedBits<float> special = (magnitude << 13) | 0x7f800000; // infinity and NaN
    const UnsignedBits<float> result = magnitude >= 0x7c00 ? special : scaled;
    return (Numbers<float>)(result | ((bits & 0x8000) << 16));
#endif
  }
  static VIDEOSOFT_INLINE void store(uint16_t* to, Numbers<float> values) {
#if defined(VIDEOSOFT_HALF_STORE)
    VIDEOSOFT_HALF_STORE(to, values);
#else
    const auto bits = (UnsignedBits<float>)values;
    const UnsignedBits<float> magnitude = bits & 0x7fffffff;
    // Normal numbers: round off 13 bits, to even; the carry moves the exponent on, up to infinity.
    const UnsignedBits<float> normal = (magnitude - 0x38000000 + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    // Below 2^-14: adding 1/2 makes the processor round at the last bit of a subnormal.
    const UnsignedBits<float> small = (UnsignedBits<float>)((Numbers<float>)magnitude + 0.5f) - 0x3f000000;
    const UnsignedBits<float> finite = magnitude < 0x38800000 ? small : normal;
    const UnsignedBits<float> large =
        magnitude > 0x7f800000 ? UnsignedBits<float>{} + 0x7e00 : UnsignedBits<float>{} + 0x7c00;
    const UnsignedBits<float> result = magnitude >= 0x47800000 ? large : finite;
    store_vector(to, __builtin_convertvector(result | ((bits >> 16) & 0x8000), HalfBits));
#endif
  }
};

// exp(x) for |x| <= 30, without branch or table: x = n ln 2 + r, |r| <= ln 2 / 2, and a polynomial in r with the least
// relative error (9e-8 and 4e-18 before rounding). The result is off by at most 3.2 ulp (float, every 97th number of
// the range tried) and 1.1 ulp (double). Elsewhere, NaN included, it means nothing. exp(0) is 1.
VIDEOSOFT_INLINE Numbers<float> exponential(Numbers<float> x) {
  constexpr float kInverseLn2 = 1.44269504f;
  constexpr float kRounder = 12582912.0f; // 1.5 * 2^23: adding it rounds to the nearest integer, in the low bits
  const Numbers<float> shifted = x * kInverseLn2 + kRounder;
  const Numbers<float> n = shifted - kRounder;
#if defined(VIDEOSOFT_SUBTRACT_PRODUCT)
  // One rounding, and ln 2 is off by 2e-9: 8e-8 at the ends. Left to itself the compiler may round twice.
  const auto r = (Numbers<float>)VIDEOSOFT_SUBTRACT_PRODUCT(x, n, broadcast(0.693147181f));
#else
  const Numbers<float> r = (x - n * 0.69140625f) - n * 0.0017409306f; // 9 bits: the first product is exact
#endif
  Numbers<float> p = r * 0.008290139533f + 0.04189885349f;
  p = p * r + 0.1666764402f;
  p = p * r + 0.4999914273f;
  p = p * r + 0.9999997036f;
  p = p * r + 1.0f;
  // Multiply by 2^n: add n, the low bits of `shifted`, to the exponent's bits.
  return (Numbers<float>)((UnsignedBits<float>)p + ((UnsignedBits<float>)shifted << 23));
}

VIDEOSOFT_INLINE Numbers<double> exponential(Numbers<double> x) {
  constexpr double kInverseLn2 = 1.4426950408889634;
  constexpr double kLn2High = 0x1.62e42feep-1; // 32 bits: n * kLn2High is exact
  constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
  constexpr double kRounder = 6755399441055744.0; // 1.5 * 2^52
  const Numbers<double> shifted = x * kInverseLn2 + kRounder;
  const Numbers<double> n = shifted - kRounder;
  const Numbers<double> r = (x - n * kLn2High) - n * kLn2Low;
  Numbers<double> q = r * 0x1.ad803396b7244p-26 + 0x1.28ad7c32c9429p-22;
  q = q * r + 0x1.71df24e3f5f65p-19;
  q = q * r + 0x1.a0199a0114f39p-16;
  q = q * r + 0x1.a01a012a8058ep-13;
  q = q * r + 0x1.6c16c1842eccep-10;
  q = q * r + 0x1.1111111127b93p-7;
  q = q * r + 0x1.5555555550863p-5;
  q = q * r + 0x1.55555555554fap-3;
  q = q * r + 0x1.000000000000ap-1;
  const Numbers<double> p = (q * r) * r + r + 1.0;
  return (Numbers<double>)((UnsignedBits<double>)p + ((UnsignedBits<double>)shifted << 52));
}

// The largest magnitude seen, in bits: those of a NaN are above those of every number.
template <typename A>
struct Magnitude {
  static constexpr typename VectorTypes<A>::BitsElement kWithoutSign =
      static_cast<typename VectorTypes<A>::BitsElement>(
          ~(typename VectorTypes<A>::BitsElement(1) << (8 * sizeof(A) - 1))
      );

  Bits<A> largest{};

  VIDEOSOFT_INLINE void see(Numbers<A> values) {
    const Bits<A> magnitude = (Bits<A>)values & kWithoutSign;
    largest = magnitude > largest ? magnitude : largest;
  }

  VIDEOSOFT_INLINE bool is_at_most(A limit) const {
    const Bits<A> bits = (Bits<A>)broadcast(limit);
    return !VIDEOSOFT_IS_ANY_SET(Bits<A>(largest > bits));
  }
};
