"""Batch norm, ReLU and SoftPool3d in as few passes over memory as their gradients allow."""

import torch
from torch import nn

from videosoft.layers.softpool import SoftPool3d
from videosoft.ops import softpool_relu3d


def normalize_relu_pool(input: torch.Tensor, norm: nn.Module, relu: nn.ReLU, pool: nn.Module) -> torch.Tensor:
    """``pool(relu(norm(input)))``, by one operator in evaluation and two in training, where ``pool`` is a SoftPool3d.

    The modules stay where they are in a network, so that its state dict is the same with and without this. In
    evaluation a batch norm is a scale and a shift of each channel, which the operator takes along; not so if the norm's
    own weights want a gradient. The modules themselves are called, one after the other, if somebody listens to them by
    a hook or if one of them was replaced by something else.
    """
    if type(pool) is not SoftPool3d or any(map(_has_hooks, (norm, relu, pool))):
        return pool(relu(norm(input)))
    scale, shift = _find_factors(norm, input.dtype)
    if scale is None:
        input = norm(input)
    return softpool_relu3d(
        input,
        pool.kernel_size,
        pool.stride,
        pool.padding,
        scale=scale,
        shift=shift,
        ceil_mode=pool.ceil_mode,
        temperature=pool.temperature,
        gradient=pool.gradient,
    )


def _find_factors(norm: nn.Module, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor] | tuple[None, None]:
    """The scale and the shift that ``norm`` comes to, or None if it is more than that."""
    if type(norm) not in (nn.BatchNorm3d, nn.SyncBatchNorm) or norm.training:
        return None, None
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return None, None
    if torch.is_grad_enabled() and any(parameter.requires_grad for parameter in norm.parameters()):
        return None, None
    # Half types would round what every cell is multiplied with.
    factors_dtype = torch.float64 if dtype == torch.float64 else torch.float32
    scale = torch.rsqrt(variance.to(factors_dtype) + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.to(factors_dtype)
    shift = -mean.to(factors_dtype) * scale
    if norm.bias is not None:
        shift = shift + norm.bias.to(factors_dtype)
    return scale.detach(), shift.detach()


def _has_hooks(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
