// The CPU kernels of softpool_forward and softpool_backward: layouts, threads, dtypes. The arithmetic is in
// row_pooling.h and tile_kernels.h.

#include "../geometry.h"
#include "../tensors.h"
#include "channel_pooling.h"
#include "huge_pages.h"
#include "row_kernels.h"
#include "row_pooling.h"
#include "tile_kernels.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace videosoft {
namespace {

// Input cells that make a thread worth waking.
constexpr int64_t kCellsPerThread = 1 << 15;

// The fewest items that a thread should get.
int64_t choose_grain_size(int64_t num_cells, int64_t num_items) {
  return std::max<int64_t>(1, kCellsPerThread * num_items / std::max<int64_t>(1, num_cells));
}

const RowKernels<double>& get_kernels_for(double, int64_t row_length) {
  return get_row_kernels(row_length).float64;
}
const RowKernels<float>& get_kernels_for(float, int64_t row_length) {
  return get_row_kernels(row_length).float32;
}
const RowKernels<float>& get_kernels_for(torch::headeronly::Half, int64_t row_length) {
  return get_row_kernels(row_length).float16;
}
const RowKernels<float>& get_kernels_for(torch::headeronly::BFloat16, int64_t row_length) {
  return get_row_kernels(row_length).bfloat16;
}

// Calls body(pooling) with the way that suits the windows and the layout.
template <typename T, typename Body>
void choose_pooling(
    const Geometry& geometry,
    const Layout& layout,
    const Softmax<accumulator_t<T>>& softmax,
    double temperature,
    Body&& body
) {
  const auto& kernels = get_kernels_for(T(0), layout.channels * geometry.input[2]);
  if (ChannelPooling<T>::suits(geometry, layout) && !RowPooling<T>::pools_pairs(geometry, layout)) {
    body(ChannelPooling<T>(geometry, layout, softmax, kernels, temperature));
  } else {
    body(RowPooling<T>(geometry, layout, softmax, kernels, temperature));
  }
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
  const bool channels_last = is_channels_last(input);
  const MemoryFormat format = choose_memory_format(input, channels_last);
  const Tensor source = make_dense(input, channels_last, format);
  Tensor output = create_output(input, get_output_size(geometry, input.dim()), format);
  if (output.numel() == 0) {
    return output;
  }
  ask_for_huge_pages(output);
  dispatch(input.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const Softmax<accumulator_t<T>> softmax(temperature, geometry.num_cells(), exact_gradient);
    const T* from = static_cast<const T*>(source.const_data_ptr());
    T* to = static_cast<T*>(output.mutable_data_ptr());
    const Layout layout(geometry, channels_last);
    choose_pooling<T>(geometry, layout, softmax, temperature, [&](const auto& pooling) {
      const int64_t num_items = pooling.num_forward_items();
      const int64_t grain_size = choose_grain_size(source.numel(), num_items);
      torch::stable::parallel_for(0, num_items, grain_size, [&](int64_t begin, int64_t end) {
        pooling.pool(from, to, begin, end);
      });
    });
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
  const Tensor source = make_dense(input, channels_last, format);
  const Tensor gradient = make_dense(grad_output, channels_last, format);
  Tensor grad_input = create_output(input, get_size(input), format);
  if (grad_input.numel() == 0) {
    return grad_input;
  }
  ask_for_huge_pages(grad_input);
  dispatch(input.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    const Softmax<accumulator_t<T>> softmax(temperature, geometry.num_cells(), exact_gradient);
    const T* from = static_cast<const T*>(source.const_data_ptr());
    const T* upstream = static_cast<const T*>(gradient.const_data_ptr());
    T* to = static_cast<T*>(grad_input.mutable_data_ptr());
    const Layout layout(geometry, channels_last);
    choose_pooling<T>(geometry, layout, softmax, temperature, [&](const auto& pooling) {
      const int64_t num_items = pooling.num_backward_items();
      const int64_t grain_size = choose_grain_size(source.numel(), num_items);
      torch::stable::parallel_for(0, num_items, grain_size, [&](int64_t begin, int64_t end) {
        pooling.pool_backward(upstream, from, to, begin, end);
      });
    });
  });
  return grad_input;
}

} // namespace

STABLE_TORCH_LIBRARY_IMPL(videosoft, CPU, library) {
  library.impl("softpool_forward", TORCH_BOX(&softpool_forward));
  library.impl("softpool_backward", TORCH_BOX(&softpool_backward));
}

} // namespace videosoft
