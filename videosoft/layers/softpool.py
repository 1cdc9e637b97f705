"""SoftPool as modules."""

from collections.abc import Sequence

import torch
from torch import nn

from videosoft.ops import softpool1d, softpool2d, softpool3d
from videosoft.ops._window import check_gradient, check_temperature, create_window


class _SoftPool(nn.Module):
    """Holds and checks the arguments; wrong ones are refused here and not at the first call."""

    num_dims: int

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        *,
        ceil_mode: bool = False,
        temperature: float = 1.0,
        gradient: str = "exact",
    ) -> None:
        super().__init__()
        create_window(self.num_dims, kernel_size, stride, padding, ceil_mode)
        check_temperature(temperature)
        check_gradient(gradient)
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.temperature = temperature
        self.gradient = gradient

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        if self.ceil_mode:
            text += ", ceil_mode=True"
        if self.temperature != 1.0:
            text += f", temperature={self.temperature}"
        if self.gradient != "exact":
            text += f", gradient={self.gradient!r}"
        return text


class SoftPool1d(_SoftPool):
    """SoftPool of (N, C, L) or (C, L); see :func:`videosoft.ops.softpool3d` for the definition and the arguments."""

    num_dims = 1

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return softpool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            ceil_mode=self.ceil_mode,
            temperature=self.temperature,
            gradient=self.gradient,
        )


class SoftPool2d(_SoftPool):
    """SoftPool of (N, C, H, W) or (C, H, W); see :func:`videosoft.ops.softpool3d` for the definition."""

    num_dims = 2

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return softpool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            ceil_mode=self.ceil_mode,
            temperature=self.temperature,
            gradient=self.gradient,
        )


class SoftPool3d(_SoftPool):
    """SoftPool of (N, C, T, H, W) or (C, T, H, W); see :func:`videosoft.ops.softpool3d` for the definition."""

    num_dims = 3

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return softpool3d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            ceil_mode=self.ceil_mode,
            temperature=self.temperature,
            gradient=self.gradient,
        )
