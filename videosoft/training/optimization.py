"""What of a recipe concerns the optimiser: which parameters decay, and a learning rate that fits the batch."""

from collections.abc import Collection
from typing import Any, Literal

import lightning as L
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.utilities import rank_zero_info
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from videosoft.errors import InputError

ParameterKind = Literal["norms", "biases"]

NORM_LAYERS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def group_parameters(module: nn.Module, undecayed: Collection[ParameterKind]) -> list[dict[str, Any]]:
    """The trainable parameters as an optimiser takes them: those that it should not decay are a group of their own.

    Args:
        module: whose parameters.
        undecayed: ``"norms"`` are weights and biases of normalisation layers, ``"biases"`` those of all other layers.

    Returns:
        One group, or two, the second with ``weight_decay`` 0; a parameter that layers share is there once.
    """
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    seen: set[nn.Parameter] = set()
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            if parameter in seen or not parameter.requires_grad:
                continue
            seen.add(parameter)
            kind = "norms" if isinstance(layer, NORM_LAYERS) else "biases" if name == "bias" else None
            (spared if kind in undecayed else decayed).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def scale_learning_rate(optimizer: Optimizer, trainer: L.Trainer, *, batch_size: int, reference: int) -> None:
    """Multiply the learning rates by clips a step / ``reference``, and say so (Goyal et al., 2017).

    A step has ``batch_size`` clips times the accumulated batches times the devices. To be called before the schedule
    is made, which takes the rates that it finds for the base rates.
    """
    num_accumulated, num_devices = trainer.accumulate_grad_batches, trainer.world_size
    num_clips = batch_size * num_accumulated * num_devices
    before = float(optimizer.param_groups[0]["lr"])
    for group in optimizer.param_groups:
        group["lr"] *= num_clips / reference
    rank_zero_info(
        f"learning rate {before:g} x {num_clips} / {reference} = {before * num_clips / reference:g}: a step has "
        f"{num_clips} clips ({batch_size} a batch x {num_accumulated} accumulated x {num_devices} devices), and the "
        f"rate is meant for {reference}"
    )


def check_optimizer(optimizer: Optimizer, trainer: L.Trainer) -> None:
    """Refuse what would only come to light in the first step, in the middle of torch.

    Raises:
        InputError: SyncBatchNorm on a CPU; a fused optimiser that is to clip gradients in half precision.
    """
    if trainer.strategy.root_device.type == "cpu" and any(
        isinstance(layer, nn.SyncBatchNorm) for layer in trainer.lightning_module.modules()
    ):
        raise InputError("trainer.sync_batchnorm: true needs GPUs, torch has no SyncBatchNorm for CPUs.")
    precision = trainer.precision_plugin
    if (
        trainer.gradient_clip_val
        and isinstance(precision, MixedPrecision)
        and getattr(optimizer, "_step_supports_amp_scaling", False)
    ):
        raise InputError(
            f"trainer.gradient_clip_val with precision {trainer.precision} needs {type(optimizer).__name__} without "
            "fused: true, which unscales the gradients where nobody can clip them."
        )


def check_parameter_groups(checkpoint: dict[str, Any], groups: list[dict[str, Any]]) -> None:
    """See that a checkpoint's optimiser has the groups that a resumed training would have.

    Raises:
        InputError: it has others, because ``model.undecayed`` differs.
    """
    sizes = [len(group["params"]) for group in groups]
    for state in checkpoint.get("optimizer_states", []):
        found = [len(group["params"]) for group in state["param_groups"]]
        if found != sizes:
            raise InputError(
                f"the checkpoint's optimiser has groups of {found} parameters, this training's has {sizes}: resume "
                "with the model.undecayed that it was trained with (config.yaml in its run's folder)."
            )
