// Layouts, sizes and dtypes of the tensors that the kernels of every device take and give.

#pragma once

#include "geometry.h"

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/MemoryFormat.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace videosoft {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Dense in the order N, T, H, W, C. A tensor that is also contiguous (one channel, one cell) counts as contiguous.
inline bool is_channels_last(const Tensor& tensor) {
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

inline MemoryFormat choose_memory_format(const Tensor& input, bool channels_last) {
  if (!channels_last) {
    return MemoryFormat::Contiguous;
  }
  return input.dim() == 4 ? MemoryFormat::ChannelsLast : MemoryFormat::ChannelsLast3d;
}

// The numbers of a tensor side by side in the order of the format. PyTorch is asked only where a copy is needed: every
// call through its dispatcher costs time, which small inputs feel.
inline Tensor make_dense(const Tensor& tensor, bool channels_last, MemoryFormat format) {
  const bool is_dense = channels_last ? is_channels_last(tensor) : tensor.is_contiguous();
  return is_dense ? tensor : torch::stable::contiguous(tensor, format);
}

inline Tensor create_output(const Tensor& like, const std::vector<int64_t>& size, MemoryFormat format) {
  return torch::stable::empty(size, like.scalar_type(), std::nullopt, like.device(), std::nullopt, format);
}

template <typename Body>
inline void dispatch(ScalarType dtype, Body&& body) {
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

inline std::vector<int64_t> get_size(const Tensor& tensor) {
  std::vector<int64_t> size;
  for (int64_t dim = 0; dim < tensor.dim(); ++dim) {
    size.push_back(tensor.size(dim));
  }
  return size;
}

inline std::vector<int64_t> get_output_size(const Geometry& geometry, int64_t num_dims) {
  std::vector<int64_t> size{geometry.batch, geometry.channels};
  size.insert(size.end(), geometry.output.end() - (num_dims - 2), geometry.output.end());
  return size;
}

inline void check_grad_output(const Tensor& grad_output, const Tensor& input, const Geometry& geometry) {
  STD_TORCH_CHECK(
      grad_output.dim() == input.dim() && grad_output.size(0) == geometry.batch &&
          grad_output.size(1) == geometry.channels &&
          grad_output.numel() == geometry.batch * geometry.channels * geometry.num_output(),
      "softpool: grad_output must have the size of the output"
  );
  STD_TORCH_CHECK(
      grad_output.scalar_type() == input.scalar_type(), "softpool: grad_output must have the dtype of input"
  );
}

} // namespace videosoft
