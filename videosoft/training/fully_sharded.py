"""Fully sharded data parallel training (FSDP2), with checkpoints that are those of a single process.

docs/decisions/0024-sharded-trainings-whole-checkpoints.md says why.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed
from jsonargparse.typing import PositiveInt
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, ParallelStrategy, StrategyRegistry
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer

from videosoft.errors import InputError

STRATEGY_NAME = "fsdp2"

_PRECISIONS = ("32-true", "bf16-mixed")


class FullyShardedStrategy(ModelParallelStrategy):
    """``trainer.strategy: fsdp2``: weights, gradients and the optimiser's state are spread over all processes.

    Lightning's strategy for FSDP2 with all processes in its data-parallel dimension. Checkpoints are whole, in the
    very format of a single process. Outside of a fit nothing is sharded: each process holds the network, and has as
    many batches as it has videos.

    Args:
        unit_size: parameters that are gathered, used and given up together are at least so many.
    """

    strategy_name = STRATEGY_NAME

    def __init__(self, unit_size: PositiveInt = 1_000_000) -> None:
        super().__init__(save_distributed_checkpoint=False)
        self._unit_size = unit_size

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def setup_environment(self) -> None:
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()

    def setup(self, trainer: L.Trainer) -> None:
        super().setup(trainer)
        # FSDP2 (torch 2.14) fails there: tensors of inference mode have no version counter.
        trainer.fit_loop.epoch_loop.val_loop.inference_mode = False

    def shard(self, network: nn.Module) -> None:
        """Spread the parameters of a network over the processes, in place; each keeps its part."""
        if self._layer_sync is not None:
            self._layer_sync.apply(network)
        # FSDP2 takes no other weights; the input keeps its memory format.
        network.to(memory_format=torch.contiguous_format)
        mesh = self.device_mesh["data_parallel"]
        for module in find_units(network, self._unit_size):
            # Also the whole network, which would else lie there in full until the backward pass, if one comes.
            fully_shard(module, mesh=mesh, reshard_after_forward=True)

    def on_validation_start(self) -> None:
        """Let all processes validate with the buffers that checkpoints hold, those of the first one."""
        assert self.lightning_module is not None
        for buffer in self.lightning_module.buffers():
            torch.distributed.broadcast(buffer, src=0)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The optimiser's state, whole, in the first process; an empty one in the others."""
        state = apply_to_collection(optimizer.state_dict(), DTensor, self._gather)
        return state if self.is_global_zero else {}

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        return super(ParallelStrategy, self).load_checkpoint(checkpoint_path, weights_only=weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        assert self.lightning_module is not None
        options = StateDictOptions(full_state_dict=True, strict=strict)
        set_model_state_dict(self.lightning_module, checkpoint["state_dict"], options=options)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            sharded = {
                index: {name: _shard_like(value, parameters[index]) for name, value in values.items()}
                for index, values in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": sharded})

    def _gather(self, value: DTensor) -> Tensor | None:
        whole = value.full_tensor()
        return whole.cpu() if self.is_global_zero else None


StrategyRegistry.register(STRATEGY_NAME, FullyShardedStrategy, description="fully sharded data parallel (FSDP2)")


def find_units(network: nn.Module, unit_size: int) -> list[nn.Module]:
    """The modules to shard, inner ones first, the network itself last.

    A module is one of them when at least ``unit_size`` of its parameters are in no other one. Containers that have no
    ``forward``, such as ``ModuleList``, cannot be.
    """
    units: list[nn.Module] = []

    def visit(module: nn.Module) -> int:
        num_left = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        num_left += sum(visit(child) for child in module.children())
        if module is network or (num_left >= unit_size and _has_forward(module)):
            units.append(module)
            return 0
        return num_left

    visit(network)
    return units


def check_sharding(trainer: L.Trainer, *, compile_mode: str | None) -> None:
    """See that a sharded training is asked for nothing that it cannot do.

    Raises:
        InputError: it is, or the strategy is another one that shards.
    """
    strategy, here = trainer.strategy, f"trainer.strategy: {STRATEGY_NAME}"
    if not isinstance(strategy, FullyShardedStrategy):
        if isinstance(strategy, FSDPStrategy | ModelParallelStrategy):
            raise InputError(
                f"trainer.strategy: {type(strategy).__name__} shards by other means, with checkpoints of its own: "
                f"use {here}."
            )
        return
    if trainer.precision not in _PRECISIONS:
        raise InputError(f"trainer.precision: {trainer.precision} with {here}: choose {' or '.join(_PRECISIONS)}.")
    if compile_mode is not None:
        raise InputError(f"model.compile_mode with {here}: leave it out, or use trainer.strategy: ddp.")
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    if averaging := [item for item in callbacks if isinstance(item, WeightAveraging)]:
        raise InputError(
            f"trainer.callbacks: {type(averaging[0]).__name__} copies the whole network, of which each process has "
            f"only a part with {here}: leave it out, or use trainer.strategy: ddp."
        )


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def _shard_like(value: Any, parameter: Tensor) -> Any:
    """This process's part of a whole tensor that belongs to a parameter, element by element; others as they are."""
    if not isinstance(value, Tensor) or not isinstance(parameter, DTensor) or value.shape != parameter.shape:
        return value
    # Every process has read the same file: nothing need be sent.
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)
