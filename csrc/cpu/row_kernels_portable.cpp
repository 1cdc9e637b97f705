// The row kernels for what the compiler targets by itself: SSE2 on x86, NEON on AArch64, anything else in scalars.

#include "row_kernels.h"
#include "sequence.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#define VIDEOSOFT_VECTOR_BYTES 16
#if defined(__aarch64__)
#include <arm_neon.h>
#define VIDEOSOFT_SUBTRACT_PRODUCT(a, b, c) (vfmsq_f32((float32x4_t)(a), (float32x4_t)(b), (float32x4_t)(c)))
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

RowKernelSet get_row_kernels_portable() {
  return collect_kernel_set();
}

} // namespace videosoft
