// exp on the range that a softmax with the maximum subtracted needs. No include here: see softpool_kernels.h.

// Exponents below these are dropped by the kernels: weight 0 instead of a subnormal.
template <typename A>
constexpr A kSmallestExponent = A(-700);
template <>
constexpr float kSmallestExponent<float> = -87.0f;

// glibc's exp, not vectorised: float64 is for checks, not for training.
inline double exponentiate(double x) {
  return std::exp(x);
}

// exp(x) for -87.3 <= x <= 0 without branch or table, so that the compiler vectorises it.
// Largest error 1.0 ulp with fused multiply-add and without (every float of the range tried); NaN stays NaN.
// x = n ln 2 + r, |r| <= ln 2 / 2;  exp(r) = 1 + r + r^2 q(r), q of degree 4 fitted for the least relative error (3e-9).
inline float exponentiate(float x) {
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
  // Multiply by 2^n: add n to the exponent's bits. The low bits of `shifted` hold n.
  int32_t bits;
  int32_t exponent;
  std::memcpy(&bits, &p, sizeof(bits));
  std::memcpy(&exponent, &shifted, sizeof(exponent));
  bits = static_cast<int32_t>(static_cast<uint32_t>(bits) + (static_cast<uint32_t>(exponent) << 23));
  float result;
  std::memcpy(&result, &bits, sizeof(result));
  return x == x ? result : x;
}
