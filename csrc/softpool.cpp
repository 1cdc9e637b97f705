// The operators' schemas, one for all devices. Kernels register themselves per device: cpu/, cuda/. Those with ReLU
// have kernels in cuda/ alone; elsewhere videosoft/ops/_relu_registration.py composes them of the others.
//
// Only the stable ABI of LibTorch is used, and no Python: one library serves every Python and every torch >= 2.10.
// The number of spatial dimensions is the length of kernel_size; input is always batched: (N, C, ...).
// exact_gradient does not change the forward; it is there for autograd, which hands it on to the backward.

#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY(videosoft, library) {
  library.def(
      "softpool_forward(Tensor input, int[] kernel_size, int[] stride, int[] padding, bool ceil_mode, "
      "float temperature, bool exact_gradient) -> Tensor"
  );
  library.def(
      "softpool_backward(Tensor grad_output, Tensor input, int[] kernel_size, int[] stride, int[] padding, "
      "bool ceil_mode, float temperature, bool exact_gradient) -> Tensor"
  );
  // Of max(0, scale x + shift), with scale and shift of every channel, or neither; float for half types.
  library.def(
      "softpool_relu_forward(Tensor input, Tensor? scale, Tensor? shift, int[] kernel_size, int[] stride, "
      "int[] padding, bool ceil_mode, float temperature, bool exact_gradient) -> Tensor"
  );
  library.def(
      "softpool_relu_backward(Tensor grad_output, Tensor input, Tensor? scale, Tensor? shift, int[] kernel_size, "
      "int[] stride, int[] padding, bool ceil_mode, float temperature, bool exact_gradient) -> Tensor"
  );
}
