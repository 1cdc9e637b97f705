"""SoftPool written straight from its definition, cell by cell in Python floats, and the cases the tests run it on."""

import itertools
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

import videosoft.ops

SOFTPOOLS = {1: videosoft.ops.softpool1d, 2: videosoft.ops.softpool2d, 3: videosoft.ops.softpool3d}
MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}

# Allowed |difference| to float64: absolute + relative * |expected|. Half types accumulate in float32, so that what is
# left is the rounding of the result (2^-11 and 2^-8); float32 adds the rounding of up to a few hundred terms.
TOLERANCES = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 1e-5, "atol": 1e-5},
    torch.float16: {"rtol": 1e-3, "atol": 1e-3},
    torch.bfloat16: {"rtol": 8e-3, "atol": 8e-3},
}


@dataclass(frozen=True)
class Case:
    """An input's spatial size and a window."""

    size: tuple[int, ...]
    kernel_size: int | tuple[int, ...]
    stride: int | tuple[int, ...] | None = None
    padding: int | tuple[int, ...] = 0
    ceil_mode: bool = False

    @property
    def num_dims(self) -> int:
        return len(self.size)

    def __str__(self) -> str:
        text = f"{self.size}-k{self.kernel_size}-s{self.stride}-p{self.padding}{'-ceil' if self.ceil_mode else ''}"
        return text.replace(" ", "")

    def softpool(self, input: torch.Tensor, **options: object) -> torch.Tensor:
        pool = SOFTPOOLS[self.num_dims]
        return pool(input, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode, **options)

    def output_size(self) -> tuple[int, ...]:
        pool = MAX_POOLS[self.num_dims]
        output = pool(torch.zeros(1, 1, *self.size), self.kernel_size, self.stride, self.padding, 1, self.ceil_mode)
        return tuple(output.shape[2:])

    def expand(self, value: int | tuple[int, ...]) -> tuple[int, ...]:
        return value if isinstance(value, tuple) else (value,) * self.num_dims


CASES = [
    Case((16,), 2),
    Case((17,), 3, 2, 1),
    Case((9,), 4, 1, 2, ceil_mode=True),
    Case((70,), 3, 3, 1, ceil_mode=True),
    Case((8, 6), 2),
    Case((7, 9), 3, 2, 1),
    Case((7, 5), (3, 2), (2, 3), (1, 0), ceil_mode=True),
    Case((5, 4), (5, 4)),  # one window
    Case((12, 13), 9, 2, 4),  # more cells than the kernels keep
    Case((4, 6, 6), 2),
    Case((5, 7, 6), 3, 2, 1),
    Case((5, 7, 6), 3, 2, 1, ceil_mode=True),
    Case((3, 8, 9), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Case((5, 7, 6), 2, 3, ceil_mode=True),  # cells between the windows
    Case((4, 5, 6), 3, 1, 1),  # every cell in many windows
    Case((1, 1, 1), 1),
    Case((1, 1, 1), 3, 2, 1),  # windows mostly outside
    Case((2, 3, 75), (1, 2, 3), (1, 1, 2), (0, 0, 1)),  # rows longer than a tile
]

LAYOUTS = ["contiguous", "channels_last", "strided", "expanded", "transposed"]


def lay_out(input: torch.Tensor, layout: str) -> torch.Tensor:
    """The same shape and dtype in another layout; "expanded" repeats the first sample."""
    if layout == "channels_last":
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        # 1-D has no such memory format: channels innermost all the same.
        if input.dim() not in formats:
            return input.transpose(1, -1).contiguous().transpose(1, -1)
        return input.contiguous(memory_format=formats[input.dim()])
    if layout == "strided":
        return torch.stack([input, -input], dim=-1).flatten(-2)[..., ::2]
    if layout == "expanded":
        return input[:1].expand_as(input)
    if layout == "transposed":
        return input.transpose(0, -1).contiguous().transpose(0, -1)
    return input.contiguous()


def pool_by_definition(
    input: torch.Tensor, case: Case, temperature: float = 1.0, grad_output: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Output, exact gradient and paper's gradient of (N, C, ...), in float64."""
    values = input.double()
    output = torch.zeros(*input.shape[:2], *case.output_size(), dtype=torch.float64)
    gradients = torch.ones_like(output) if grad_output is None else grad_output.double()
    exact, paper = torch.zeros_like(values), torch.zeros_like(values)
    kernel = case.expand(case.kernel_size)
    stride = case.expand(case.kernel_size if case.stride is None else case.stride)
    padding = case.expand(case.padding)
    for index in itertools.product(*(range(length) for length in output.shape)):
        ranges = [
            range(max(0, o * s - p), min(length, o * s - p + k))
            for o, k, s, p, length in zip(index[2:], kernel, stride, padding, case.size, strict=True)
        ]
        cells = [(*index[:2], *cell) for cell in itertools.product(*ranges)]
        x = [values[cell].item() for cell in cells]
        largest = max(x)
        e = [math.exp(temperature * (value - largest)) for value in x]
        w = [entry / math.fsum(e) for entry in e]
        y = math.fsum(weight * value for weight, value in zip(w, x, strict=True))
        output[index] = y
        for cell, weight, value in zip(cells, w, x, strict=True):
            exact[cell] += gradients[index] * weight * (1 + temperature * (value - y))
            paper[cell] += gradients[index] * weight
    return output, exact, paper
