"""Precise batch norm (Wu and Johnson, "Rethinking Batch in BatchNorm", 2021) before every validation, by fvcore."""

from collections.abc import Iterator

import lightning as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.training.classifier import VideoClassifier
from videosoft.training.datamodule import KineticsDataModule


class PreciseBatchNorm(L.Callback):
    """Put the mean and variance over many training clips into the batch norms before each validation of a fit.

    The running statistics lag behind the weights; these are of the very weights that are validated, averaged ones
    included. Clips are those of the epoch's first batches, seen without mixing; the training's own order and random
    numbers are left alone, so that the weights become the same with and without this callback.

    Args:
        num_batches: how many batches, on each device.

    Raises:
        InputError: at the fit's start, when ``num_batches`` is not positive, or a callback that averages weights
            comes after this one; at a validation, when no batch of the training has usable clips enough.
    """

    def __init__(self, num_batches: int = 200) -> None:
        self.num_batches = num_batches

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.num_batches < 1:
            raise InputError(f"PreciseBatchNorm: num_batches={self.num_batches} must be at least 1.")
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if late := [item for item in callbacks[callbacks.index(self) :] if isinstance(item, WeightAveraging)]:
            raise InputError(
                f"trainer.callbacks: list {type(late[0]).__name__} before PreciseBatchNorm, whose statistics should be "
                "of the averaged weights."
            )

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        assert isinstance(pl_module, VideoClassifier)
        network = pl_module.network
        assert network is not None
        for layer in network.modules():
            layer.training = isinstance(layer, nn.modules.batchnorm._BatchNorm)
        # Lightning validates in inference mode, whose tensors no later training step could write to.
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            # With fvcore's hooks on its layers a compiled network would be compiled anew, for minutes.
            torch.compiler.set_stance("force_eager"),
            trainer.precision_plugin.forward_context(),
        ):
            self._update(trainer, network, _iterate_clips(trainer, pl_module))
        network.eval()

    def _update(self, trainer: L.Trainer, network: nn.Module, clips: Iterator[Tensor]) -> None:
        # Here, since fvcore.nn compiles a loss of its own when imported, which prints a warning of torch.jit.
        from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats

        layers = get_bn_modules(network)
        buffers = [(layer.running_mean, layer.running_var) for layer in layers]
        progress = "tqdm" if trainer.is_global_zero and trainer.progress_bar_callback is not None else None
        update_bn_stats(network, clips, self.num_batches, progress=progress)
        for layer, (mean, variance) in zip(layers, buffers, strict=True):
            # Over devices as over batches: E[x] and E[x^2] are averaged.
            square = trainer.strategy.reduce(layer.running_var + layer.running_mean.square(), reduce_op="mean")
            mean.copy_(trainer.strategy.reduce(layer.running_mean, reduce_op="mean"))
            variance.copy_(square - mean.square())
            # Into the old tensors: DDP and compiled networks hold on to them.
            layer.running_mean, layer.running_var = mean, variance


def _iterate_clips(trainer: L.Trainer, pl_module: VideoClassifier) -> Iterator[Tensor]:
    """Normalised training clips without end, from batches that batch norm can do something with."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    assert isinstance(data, KineticsDataModule)
    loader = data.create_training_loader(epoch=trainer.current_epoch)
    while True:
        is_any_enough = False
        for batch in loader:
            if pl_module.has_enough_clips(batch):
                is_any_enough = True
                batch["video"] = batch["video"].to(pl_module.device)
                yield pl_module.normalize(pl_module.finish_clips(batch))
        if not is_any_enough:
            raise InputError(
                "PreciseBatchNorm: no batch of the epoch has clips enough for batch norm, since videos are broken or "
                f"missing: a larger data.batch_size than {data.batch_size} leaves more in each."
            )
