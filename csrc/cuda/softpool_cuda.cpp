// The CUDA kernels of softpool_forward and softpool_backward, on the schemas of ../softpool.cpp: device, stream,
// layouts and dtypes. Memory is allocated for the output alone, unless a tensor is not dense and must be copied first;
// nothing waits for the GPU.

#include "../tensors.h"
#include "kernels.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>

// The rehearsal on the host (tests/cuda_rehearsal) takes the place of the CPU's kernels.
#if !defined(VIDEOSOFT_DISPATCH_KEY)
#define VIDEOSOFT_DISPATCH_KEY CUDA
#endif

namespace videosoft {
namespace {

#if defined(VIDEOSOFT_REHEARSAL)
struct OnDevice {
  explicit OnDevice(const Tensor&) {
  }
  void* stream = nullptr;
};
#else
// Makes the tensor's device the current one, as long as this lives; `stream` is the one that PyTorch uses there.
struct OnDevice {
  explicit OnDevice(const Tensor& tensor) : guard(tensor.get_device_index()) {
    STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  }
  torch::stable::accelerator::DeviceGuard guard;
  void* stream = nullptr;
};
#endif

Tensor softpool_forward(
    const Tensor& input,
    const std::vector<int64_t>& kernel_size,
    const std::vector<int64_t>& stride,
    const std::vector<int64_t>& padding,
    bool ceil_mode,
    double temperature,
    bool exact_gradient
) {
  const Geometry geometry = create_geometry(input, kernel_size, stride, padding, ceil_mode);
  const bool channels_last = is_channels_last(input);
  const MemoryFormat format = choose_memory_format(input, channels_last);
  const OnDevice device(input);
  const Tensor source = make_dense(input, channels_last, format);
  Tensor output = create_output(input, get_output_size(geometry, input.dim()), format);
  if (output.numel() == 0) {
    return output;
  }
  dispatch(input.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    pool(
        Pooling{geometry, channels_last, temperature, exact_gradient},
        static_cast<const T*>(source.const_data_ptr()),
        static_cast<T*>(output.mutable_data_ptr()),
        device.stream
    );
  });
  return output;
}

Tensor softpool_backward(
    const Tensor& grad_output,
    const Tensor& input,
    const std::vector<int64_t>& kernel_size,
    const std::vector<int64_t>& stride,
    const std::vector<int64_t>& padding,
    bool ceil_mode,
    double temperature,
    bool exact_gradient
) {
  const Geometry geometry = create_geometry(input, kernel_size, stride, padding, ceil_mode);
  check_grad_output(grad_output, input, geometry);
  const bool channels_last = is_channels_last(input);
  const MemoryFormat format = choose_memory_format(input, channels_last);
  const OnDevice device(input);
  const Tensor source = make_dense(input, channels_last, format);
  const Tensor gradient = make_dense(grad_output, channels_last, format);
  Tensor grad_input = create_output(input, get_size(input), format);
  if (grad_input.numel() == 0) {
    return grad_input;
  }
  dispatch(input.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    differentiate(
        Pooling{geometry, channels_last, temperature, exact_gradient},
        static_cast<const T*>(gradient.const_data_ptr()),
        static_cast<const T*>(source.const_data_ptr()),
        static_cast<T*>(grad_input.mutable_data_ptr()),
        device.stream
    );
  });
  return grad_input;
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(videosoft, VIDEOSOFT_DISPATCH_KEY, library) {
  library.impl("softpool_forward", TORCH_BOX(&softpool_forward));
  library.impl("softpool_backward", TORCH_BOX(&softpool_backward));
}

} // namespace videosoft
