// The CUDA kernels of softpool_forward, softpool_backward and the same after ReLU, on the schemas of ../softpool.cpp:
// device, stream, layouts and dtypes. Memory is allocated for the output alone, unless a tensor is not dense and must
// be copied first; nothing waits for the GPU.

#include "../tensors.h"
#include "kernels.h"

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>

#include <optional>
#include <type_traits>

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

// A dense copy of `factors` if they are not dense; `name` is the argument's.
std::optional<Tensor> check_factors(const std::optional<Tensor>& factors, const Tensor& input, const char* name) {
  if (!factors) {
    return std::nullopt;
  }
  const bool is_double = input.scalar_type() == ScalarType::Double;
  STD_TORCH_CHECK(
      factors->dim() == 1 && factors->size(0) == input.size(1), "softpool: ", name, " must have one entry a channel"
  );
  STD_TORCH_CHECK(
      factors->scalar_type() == (is_double ? ScalarType::Double : ScalarType::Float),
      "softpool: ",
      name,
      " must be float32, or float64 with an input of that dtype"
  );
  STD_TORCH_CHECK(factors->device() == input.device(), "softpool: ", name, " must be on the device of input");
  return make_dense(*factors, false, MemoryFormat::Contiguous);
}

// Scale and shift as long as the kernels need them.
class Factors {
 public:
  Factors(const std::optional<Tensor>& scale, const std::optional<Tensor>& shift, const Tensor& input)
      : scale_(check_factors(scale, input, "scale")), shift_(check_factors(shift, input, "shift")) {
    STD_TORCH_CHECK(scale_.has_value() == shift_.has_value(), "softpool: scale and shift must be given together");
  }

  template <typename A>
  Scaling<A> get() const {
    if (!scale_) {
      return {};
    }
    return {static_cast<const A*>(scale_->const_data_ptr()), static_cast<const A*>(shift_->const_data_ptr())};
  }

 private:
  std::optional<Tensor> scale_;
  std::optional<Tensor> shift_;
};

// Calls launch(Pooling, input, output, stream) with the tensors' numbers.
template <typename Launch>
Tensor run_forward(
    const Tensor& input,
    const Geometry& geometry,
    double temperature,
    bool exact_gradient,
    const OnDevice& device,
    Launch&& launch
) {
  const bool channels_last = is_channels_last(input);
  const MemoryFormat format = choose_memory_format(input, channels_last);
  const Tensor source = make_dense(input, channels_last, format);
  Tensor output = create_output(input, get_output_size(geometry, input.dim()), format);
  if (output.numel() == 0) {
    return output;
  }
  dispatch(input.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    launch(
        Pooling{geometry, channels_last, temperature, exact_gradient},
        static_cast<const T*>(source.const_data_ptr()),
        static_cast<T*>(output.mutable_data_ptr()),
        device.stream
    );
  });
  return output;
}

// Calls launch(Pooling, grad_output, input, grad_input, stream) with the tensors' numbers.
template <typename Launch>
Tensor run_backward(
    const Tensor& grad_output,
    const Tensor& input,
    const Geometry& geometry,
    double temperature,
    bool exact_gradient,
    const OnDevice& device,
    Launch&& launch
) {
  check_grad_output(grad_output, input, geometry);
  const bool channels_last = is_channels_last(input);
  const MemoryFormat format = choose_memory_format(input, channels_last);
  const Tensor source = make_dense(input, channels_last, format);
  const Tensor gradient = make_dense(grad_output, channels_last, format);
  Tensor grad_input = create_output(input, get_size(input), format);
  if (grad_input.numel() == 0) {
    return grad_input;
  }
  dispatch(input.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    launch(
        Pooling{geometry, channels_last, temperature, exact_gradient},
        static_cast<const T*>(gradient.const_data_ptr()),
        static_cast<const T*>(source.const_data_ptr()),
        static_cast<T*>(grad_input.mutable_data_ptr()),
        device.stream
    );
  });
  return grad_input;
}

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
  const OnDevice device(input);
  return run_forward(
      input,
      geometry,
      temperature,
      exact_gradient,
      device,
      [](const Pooling& pooling, const auto* from, auto* to, void* stream) { pool(pooling, from, to, stream); }
  );
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
  const OnDevice device(input);
  return run_backward(
      grad_output,
      input,
      geometry,
      temperature,
      exact_gradient,
      device,
      [](const Pooling& pooling, const auto* upstream, const auto* from, auto* to, void* stream) {
        differentiate(pooling, upstream, from, to, stream);
      }
  );
}

Tensor softpool_relu_forward(
    const Tensor& input,
    const std::optional<Tensor>& scale,
    const std::optional<Tensor>& shift,
    const std::vector<int64_t>& kernel_size,
    const std::vector<int64_t>& stride,
    const std::vector<int64_t>& padding,
    bool ceil_mode,
    double temperature,
    bool exact_gradient
) {
  const Geometry geometry = create_geometry(input, kernel_size, stride, padding, ceil_mode);
  const OnDevice device(input);
  const Factors factors(scale, shift, input);
  return run_forward(
      input,
      geometry,
      temperature,
      exact_gradient,
      device,
      [&](const Pooling& pooling, const auto* from, auto* to, void* stream) {
        using T = std::remove_pointer_t<decltype(to)>;
        pool_relu<T>(pooling, factors.get<accumulator_t<T>>(), from, to, stream);
      }
  );
}

Tensor softpool_relu_backward(
    const Tensor& grad_output,
    const Tensor& input,
    const std::optional<Tensor>& scale,
    const std::optional<Tensor>& shift,
    const std::vector<int64_t>& kernel_size,
    const std::vector<int64_t>& stride,
    const std::vector<int64_t>& padding,
    bool ceil_mode,
    double temperature,
    bool exact_gradient
) {
  const Geometry geometry = create_geometry(input, kernel_size, stride, padding, ceil_mode);
  const OnDevice device(input);
  const Factors factors(scale, shift, input);
  return run_backward(
      grad_output,
      input,
      geometry,
      temperature,
      exact_gradient,
      device,
      [&](const Pooling& pooling, const auto* upstream, const auto* from, auto* to, void* stream) {
        using T = std::remove_pointer_t<decltype(to)>;
        differentiate_relu<T>(pooling, factors.get<accumulator_t<T>>(), upstream, from, to, stream);
      }
  );
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(videosoft, VIDEOSOFT_DISPATCH_KEY, library) {
  library.impl("softpool_forward", TORCH_BOX(&softpool_forward));
  library.impl("softpool_backward", TORCH_BOX(&softpool_backward));
  library.impl("softpool_relu_forward", TORCH_BOX(&softpool_relu_forward));
  library.impl("softpool_relu_backward", TORCH_BOX(&softpool_relu_backward));
}

} // namespace videosoft
