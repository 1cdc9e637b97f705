// The geometry of a pooling, brought to three spatial dimensions (T, H, W); missing ones have size, kernel and
// stride 1.

#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <array>
#include <cstdint>
#include <vector>

namespace videosoft {

struct Geometry {
  int64_t batch = 0;
  int64_t channels = 0;
  std::array<int64_t, 3> input{1, 1, 1};
  std::array<int64_t, 3> output{1, 1, 1};
  std::array<int64_t, 3> kernel{1, 1, 1};
  std::array<int64_t, 3> stride{1, 1, 1};
  std::array<int64_t, 3> padding{0, 0, 0};

  int64_t num_input() const {
    return input[0] * input[1] * input[2];
  }
  int64_t num_output() const {
    return output[0] * output[1] * output[2];
  }
  int64_t num_cells() const {
    return kernel[0] * kernel[1] * kernel[2];
  }
};

// PyTorch's rule for the size of a pooling's output: the last window starts inside the input or its left padding.
inline int64_t compute_output_length(int64_t length, int64_t kernel, int64_t stride, int64_t padding, bool ceil_mode) {
  const int64_t spread = length + 2 * padding - kernel + (ceil_mode ? stride - 1 : 0);
  if (spread < 0) {
    return 0;
  }
  int64_t count = spread / stride + 1;
  if (ceil_mode && (count - 1) * stride >= length + padding) {
    --count;
  }
  return count;
}

// Python checks what users give, with kinder words; this guards whoever calls the operators directly.
inline Geometry create_geometry(
    const torch::stable::Tensor& input,
    const std::vector<int64_t>& kernel_size,
    const std::vector<int64_t>& stride,
    const std::vector<int64_t>& padding,
    bool ceil_mode
) {
  const int64_t num_dims = static_cast<int64_t>(kernel_size.size());
  STD_TORCH_CHECK(num_dims >= 1 && num_dims <= 3, "softpool: kernel_size must have 1, 2 or 3 entries, got ", num_dims);
  STD_TORCH_CHECK(
      stride.size() == kernel_size.size() && padding.size() == kernel_size.size(),
      "softpool: kernel_size, stride and padding must have the same length, got ",
      num_dims,
      ", ",
      stride.size(),
      ", ",
      padding.size()
  );
  STD_TORCH_CHECK(
      input.dim() == num_dims + 2,
      "softpool: input must have ",
      num_dims + 2,
      " dimensions for ",
      num_dims,
      "-D pooling, got ",
      input.dim()
  );
  Geometry geometry;
  geometry.batch = input.size(0);
  geometry.channels = input.size(1);
  for (int64_t dim = 0; dim < num_dims; ++dim) {
    const int64_t at = 3 - num_dims + dim;
    const int64_t length = input.size(dim + 2);
    STD_TORCH_CHECK(
        kernel_size[dim] >= 1 && stride[dim] >= 1 && padding[dim] >= 0 && 2 * padding[dim] <= kernel_size[dim],
        "softpool: dimension ",
        dim,
        " has kernel_size ",
        kernel_size[dim],
        ", stride ",
        stride[dim],
        ", padding ",
        padding[dim],
        "; kernel_size and stride must be positive, padding at most half of kernel_size"
    );
    geometry.input[at] = length;
    geometry.kernel[at] = kernel_size[dim];
    geometry.stride[at] = stride[dim];
    geometry.padding[at] = padding[dim];
    geometry.output[at] = compute_output_length(length, kernel_size[dim], stride[dim], padding[dim], ceil_mode);
    STD_TORCH_CHECK(
        length >= 1 && geometry.output[at] >= 1,
        "softpool: input size ",
        length,
        " of dimension ",
        dim,
        " is too small for kernel_size ",
        kernel_size[dim],
        " with padding ",
        padding[dim]
    );
  }
  return geometry;
}

} // namespace videosoft
