// Choosing the row kernels for this processor.

#include "row_kernels.h"

#include <cstdlib>
#include <string>

namespace videosoft {
namespace {

RowKernelSet choose_row_kernels(bool is_narrow) {
  // For tests and measurements: every set must give the same numbers, and all run on the newest processors.
  const char* variable = std::getenv("VIDEOSOFT_CPU_ISA");
  const std::string asked = variable == nullptr ? "" : variable;
#if defined(VIDEOSOFT_X86_VERSIONS)
  __builtin_cpu_init();
  const bool has_avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool has_avx512 = has_avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (has_avx512 && !is_narrow && asked != "avx2" && asked != "portable") {
    return get_row_kernels_avx512();
  }
  if (has_avx2 && asked != "portable") {
    return get_row_kernels_avx2();
  }
#endif
  return get_row_kernels_portable();
}

} // namespace

const RowKernelSet& get_row_kernels(int64_t row_length) {
  static const RowKernelSet kernels = choose_row_kernels(false);
  static const RowKernelSet narrow_kernels = choose_row_kernels(true);
  return row_length < kWidestVector<float> ? narrow_kernels : kernels;
}

} // namespace videosoft
