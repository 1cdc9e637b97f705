// All kernels of one instruction set; see vectors.h.

template <typename F>
RowKernels<typename F::Accumulator> collect_kernels() {
  return {
      accumulate<F>,
      accumulate_strip<F>,
      finish<F>,
      finish_backward<F>,
      differentiate<F>,
      pool_pairs<F>,
      pool_pairs_backward<F>,
      pool_channels<F>,
      find_channel_slopes<F>,
      differentiate_channels<F>
  };
}

RowKernelSet collect_kernel_set() {
  return {
      collect_kernels<Float64>(), collect_kernels<Float32>(), collect_kernels<Float16>(), collect_kernels<BFloat16>()
  };
}
