"""SoftPool in plain PyTorch: the definition that the kernels are held against, and the backend where there is none.

Everything is written with differentiable PyTorch operations, so that autograd, forward-mode and the transforms of
``torch.func`` apply to the backward as well. A loop runs over the V cells of a window, never over the output.
"""

import functools
import itertools
import math
import operator
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from videosoft.ops._window import Window, compute_output_size


class Pooling(NamedTuple):
    """What to compute: the window, the temperature and which of the two gradients."""

    window: Window
    temperature: float
    exact_gradient: bool


def softpool(input: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """SoftPool of a batched input (N, C, ...) with either gradient, differentiable any number of times."""
    # torch.compile refuses functions with a forward mode, which it has no use for.
    function = _SoftPool if torch.compiler.is_compiling() else _DualSoftPool
    return function.apply(input, pooling)


def softpool_forward(input: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """y = sum_i w_i x_i over each window, w = softmax(b x)."""
    found = _WindowSoftmax(input, pooling)
    # With the maximum split off no sum leaves the range of the dtype: y lies between the window's extremes.
    output = (found.maximum * found.scale + found.mean) / found.scale
    return torch.where(torch.isfinite(found.maximum), output, found.maximum).to(input.dtype)


def softpool_backward(grad_output: torch.Tensor, input: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """dL/dx_i = sum over the windows of g * dy/dx_i."""
    found = _WindowSoftmax(input, pooling)
    grad_output = _accumulate(grad_output)
    contributions = (grad_output * found.compute_derivative(cell) for cell in found.cells)
    return _sum_windows(contributions, input.shape, pooling.window).to(input.dtype)


def softpool_jvp(tangent: torch.Tensor, input: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """The change of y along a change of x: sum_i dy/dx_i * t_i over each window."""
    found = _WindowSoftmax(input, pooling)
    tangents = _slice_windows(_accumulate(tangent), pooling.window, fill=0.0)
    terms = (found.compute_derivative(cell) * along for cell, along in zip(found.cells, tangents, strict=True))
    return _add_up(terms).to(input.dtype)


def softpool_backward_backward(
    grad_grad: torch.Tensor, grad_output: torch.Tensor, input: torch.Tensor, pooling: Pooling
) -> torch.Tensor:
    """Derivative of <v, backward(g, x)> with respect to x, for v = ``grad_grad``.

    With u_i = 1 + b (x_i - y), A = sum_i w_i u_i v_i and B = sum_i w_i v_i, every window adds to cell j

        exact:  g b w_j ((1 + u_j) v_j - A - u_j B)        paper:  g b w_j (v_j - B)
    """
    found = _WindowSoftmax(input, pooling)
    directions = _slice_windows(_accumulate(grad_grad), pooling.window, fill=0.0)
    pairs = list(zip(found.cells, directions, strict=True))
    mean_direction = _add_up(found.weigh(cell)[0] * along for cell, along in pairs)
    mean_slope = _add_up(found.compute_derivative(cell) * along for cell, along in pairs)
    factor = _accumulate(grad_output) * pooling.temperature

    def contribute(cell: torch.Tensor, along: torch.Tensor) -> torch.Tensor:
        weight, centred = found.weigh(cell)
        if not pooling.exact_gradient:
            return factor * weight * (along - mean_direction)
        slope = 1 + found.temperature * (centred - found.mean)
        return factor * weight * ((1 + slope) * along - mean_slope - slope * mean_direction)

    contributions = (contribute(cell, along) for cell, along in pairs)
    return _sum_windows(contributions, input.shape, pooling.window).to(input.dtype)


class _SoftPool(torch.autograd.Function):
    """Saves the input alone: the graph of the cells of all windows would hold its size many times over."""

    generate_vmap_rule = True

    @staticmethod
    def forward(input: torch.Tensor, pooling: Pooling) -> torch.Tensor:
        return softpool_forward(input, pooling)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[torch.Tensor, Pooling], output: torch.Tensor) -> None:
        input, ctx.pooling = inputs
        ctx.save_for_backward(input)
        ctx.save_for_forward(input)

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[torch.Tensor, None]:
        (input,) = ctx.saved_tensors
        return softpool_backward(grad_output, input, ctx.pooling), None


class _DualSoftPool(_SoftPool):
    """With forward mode as well."""

    @staticmethod
    def jvp(ctx: Any, tangent: torch.Tensor, _: None) -> torch.Tensor:
        (input,) = ctx.saved_tensors
        return softpool_jvp(tangent, input, ctx.pooling)


class _WindowSoftmax:
    """The softmax over every window at once; ``cells`` holds one tensor of the output's size for each cell of a window.

    Centred values and means are ``scale`` times the true ones and ``temperature`` is b / scale; scale is 1 unless b is
    tiny.
    """

    def __init__(self, input: torch.Tensor, pooling: Pooling) -> None:
        input = _accumulate(input)
        limits = torch.finfo(input.dtype)
        self.cells = _slice_windows(input, pooling.window, fill=-math.inf)
        self.exact_gradient = pooling.exact_gradient

        # b (x - max) underflows for far cells unless b is tiny; then V cells of the largest size could overflow the
        # sum of the centred values, so these are scaled down by a power of two (exact), and b is scaled up.
        self._tiny = pooling.temperature < 2.0**-100
        self.scale = 2.0 ** -math.ceil(math.log2(2 * pooling.window.num_cells)) if self._tiny else 1.0
        self.temperature = min(pooling.temperature / self.scale, limits.max)
        # exp below this is a subnormal at best: weight 0, which also keeps 0 * inf out of the sums.
        smallest_exponent = -87.0 if input.dtype == torch.float32 else -700.0
        self._lowest = -limits.max
        if self.temperature > 0:
            self._lowest = max(smallest_exponent / self.temperature, -limits.max)

        self.maximum = self.cells[0].detach()
        for cell in self.cells[1:]:
            self.maximum = torch.maximum(self.maximum, cell.detach())
        self._centre = torch.where(torch.isfinite(self.maximum), self.maximum, 0.0) * self.scale
        total, moment = torch.zeros_like(self.maximum), torch.zeros_like(self.maximum)
        for cell in self.cells:
            exponential, centred = self._exponentiate(cell)
            total, moment = total + exponential, torch.addcmul(moment, exponential, centred)
        poisoned = torch.isnan(self.maximum) | (self.maximum == math.inf)
        # A window of nothing but -inf has a total of 0: its weights are 0, not 0/0.
        self._inverse = torch.where(poisoned, math.nan, 1 / total.clamp(min=limits.tiny))
        self.mean = moment * self._inverse

    def weigh(self, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The weight w_i and the centred value x_i - max."""
        exponential, centred = self._exponentiate(cell)
        return exponential * self._inverse, centred

    def compute_derivative(self, cell: torch.Tensor) -> torch.Tensor:
        """dy/dx_i: w_i (1 + b (x_i - y)), or the paper's w_i; NaN all over a window that holds NaN or +inf."""
        weight, centred = self.weigh(cell)
        if not self.exact_gradient:
            return weight
        return torch.addcmul(weight, weight, centred - self.mean, value=self.temperature)

    def _exponentiate(self, cell: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """exp(b (x_i - max)), 0 far below the maximum and for -inf; and x_i - max, clamped so that 0 times it is 0."""
        centred = (cell if self.scale == 1 else cell * self.scale) - self._centre
        bounded = centred.clamp(min=self._lowest)
        if self._tiny:
            return torch.where(centred >= self._lowest, torch.exp(self.temperature * bounded), 0.0), bounded
        return torch.exp(centred if self.temperature == 1 else self.temperature * centred), bounded


def _accumulate(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _add_up(terms: Iterable[torch.Tensor]) -> torch.Tensor:
    return functools.reduce(operator.add, terms)


def _slice_windows(tensor: torch.Tensor, window: Window, fill: float) -> list[torch.Tensor]:
    """(N, C, ...) -> V views of the output's size: the i-th cell of every window; ``fill`` outside the input."""
    output_size = compute_output_size(tensor.shape[2:], window)
    padded = F.pad(tensor, _pad_widths(tensor.shape, window), value=fill)
    return [padded[index] for index in _index_cells(output_size, window)]


def _sum_windows(cells: Iterable[torch.Tensor], input_shape: torch.Size, window: Window) -> torch.Tensor:
    """The adjoint of ``_slice_windows``: each input cell is the sum over the windows that hold it."""
    widths = _pad_widths(input_shape, window)
    padded_size = [length + widths[-2 * dim - 2] + widths[-2 * dim - 1] for dim, length in enumerate(input_shape[2:])]
    total: torch.Tensor | None = None
    for index, cell in zip(_index_cells(compute_output_size(input_shape[2:], window), window), cells, strict=True):
        if total is None:
            total = cell.new_zeros(*input_shape[:2], *padded_size)
        total[index] += cell
    assert total is not None  # a window has at least one cell
    return F.pad(total, [-width for width in widths])


def _index_cells(output_size: tuple[int, ...], window: Window) -> list[tuple[Any, ...]]:
    """For each cell of a window, the index that picks it out of a padded tensor for all windows."""
    return [
        (..., *(slice(o, o + (n - 1) * s + 1, s) for o, n, s in zip(offsets, output_size, window.stride, strict=True)))
        for offsets in itertools.product(*(range(size) for size in window.kernel_size))
    ]


def _pad_widths(input_shape: torch.Size, window: Window) -> list[int]:
    """Widths for ``F.pad``, last dimension first, such that the windows end exactly at the edge (negative: cut off)."""
    output_size = compute_output_size(input_shape[2:], window)
    widths: list[int] = []
    for dim in reversed(range(window.num_dims)):
        covered = (output_size[dim] - 1) * window.stride[dim] + window.kernel_size[dim]
        widths += [window.padding[dim], covered - input_shape[2 + dim] - window.padding[dim]]
    return widths
