// The row kernels for x86 with AVX-512; called only where the processor has it.

#include "row_kernels.h"

#if defined(VIDEOSOFT_X86_VERSIONS)

#include "sequence.h"

#include <immintrin.h>

#define VIDEOSOFT_VECTOR_BYTES 64
#define VIDEOSOFT_SUBTRACT_PRODUCT(a, b, c) (_mm512_fnmadd_ps((__m512)(b), (__m512)(c), (__m512)(a)))
#define VIDEOSOFT_IS_ANY_SET(mask) (_mm512_test_epi64_mask((__m512i)(mask), (__m512i)(mask)) != 0)
// Every number becomes the upper word of a lane, in one permutation.
#define VIDEOSOFT_BFLOAT16_LOAD(from)                                                                                \
  ((Numbers<float>)_mm512_maskz_permutexvar_epi16(                                                                   \
      0xaaaaaaaa,                                                                                                    \
      _mm512_cvtepu8_epi16(_mm256_setr_epi8(                                                                         \
          0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15 \
      )),                                                                                                            \
      _mm512_castsi256_si512(load_vector<__m256i>(from))                                                             \
  ))
#define VIDEOSOFT_HALF_LOAD(from) ((Numbers<float>)_mm512_cvtph_ps(load_vector<__m256i>(from)))
#define VIDEOSOFT_HALF_STORE(to, values) \
  store_vector(to, _mm512_cvtps_ph((__m512)(values), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))

#if defined(__clang__)
#pragma clang attribute push(                                                                                 \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2"))), apply_to = function \
)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi,bmi2")
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

namespace videosoft {
namespace {
#include "vectors.h"
//
#include "row_kernels_impl.h"
//
#include "channel_kernels_impl.h"
//
#include "collect_kernels_impl.h"
} // namespace

RowKernelSet get_row_kernels_avx512() {
  return collect_kernel_set();
}

} // namespace videosoft

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#endif
