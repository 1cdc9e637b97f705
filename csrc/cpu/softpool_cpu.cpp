// The CPU kernels of softpool_forward and softpool_backward: layouts, threads, dtypes. The arithmetic is in
// row_pooling.h and tile_kernels.h.

#include "../geometry.h"
#include "channel_pooling.h"
#include "huge_pages.h"
#include "row_kernels.h"
#include "row_pooling.h"
#include "tile_kernels.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/MemoryFormat.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace videosoft {
namespace {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Input cells that make a thread worth waking.
constexpr int64_t kCellsPerThread = 1 << 15;

// Dense in the order N, T, H, W, C. A tensor that is also contiguous (one channel, one cell) counts as contiguous.
bool is_channels_last(const Tensor& tensor) {
  if (tensor.dim() < 4 || tensor.is_contiguous()) {
    return false;
  }
  int64_t expected = 1;
  const auto follows = [&](int64_t dim) {
    const bool fits = tensor.size(dim) == 1 || tensor.stride(dim) == expected;
    expected *= tensor.size(dim);
    return fits;
  };
  bool fits = follows(1);
  for (int64_t dim = tensor.dim() - 1; dim >= 2; --dim) {
    fits = fits && follows(dim);
  }
  return fits && follows(0);
}

MemoryFormat choose_memory_format(const Tensor& input, bool channels_last) {
  if (!channels_last) {
    return MemoryFormat::Contiguous;
  }
  return input.dim() == 4 ? MemoryFormat::ChannelsLast : MemoryFormat::ChannelsLast3d;
}

Tensor create_output(const Tensor& like, const std::vector<int64_t>& size, MemoryFormat format) {
  Tensor output = torch::stable::empty(size, like.scalar_type(), std::nullopt, like.device(), std::nullopt, format);
  ask_for_huge_pages(output.mutable_data_ptr(), output.numel() * static_cast<int64_t>(like.element_size()));
  return output;
}

template <typename Body>
void dispatch(ScalarType dtype, Body&& body) {
  switch (dtype) {
    case ScalarType::Double:
      return body(double());
    case ScalarType::Float:
      return body(float());
    case ScalarType::Half:
      return body(torch::headeronly::Half());
    case ScalarType::BFloat16:
      return body(torch::headeronly::BFloat16());
    default:
      STD_TORCH_CHECK(false, "softpool: input must be float64, float32, float16 or bfloat16, got dtype ", dtype);
  }
}

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
  const Tensor source = torch::stable::contiguous(input, format);
  std::vector<int64_t> size{geometry.batch, geometry.channels};
  size.insert(size.end(), geometry.output.end() - static_cast<int64_t>(kernel_size.size()), geometry.output.end());
  Tensor output = create_output(input, size, format);
  if (output.numel() == 0) {
    return output;
  }
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
  STD_TORCH_CHECK(
      grad_output.dim() == input.dim() && grad_output.size(0) == geometry.batch &&
          grad_output.size(1) == geometry.channels &&
          grad_output.numel() == geometry.batch * geometry.channels * geometry.num_output(),
      "softpool: grad_output must have the size of the output"
  );
  STD_TORCH_CHECK(
      grad_output.scalar_type() == input.scalar_type(), "softpool: grad_output must have the dtype of input"
  );
  const bool channels_last = is_channels_last(input);
  const MemoryFormat format = choose_memory_format(input, channels_last);
  const Tensor source = torch::stable::contiguous(input, format);
  const Tensor gradient = torch::stable::contiguous(grad_output, format);
  std::vector<int64_t> size;
  for (int64_t dim = 0; dim < input.dim(); ++dim) {
    size.push_back(input.size(dim));
  }
  Tensor grad_input = create_output(input, size, format);
  if (grad_input.numel() == 0) {
    return grad_input;
  }
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
