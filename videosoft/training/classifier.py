"""The Lightning module: a thin coat around a network of videosoft.models."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR
from torchmetrics import MeanMetric

from videosoft.data import (
    ClipBatch,
    PackedBatch,
    Preprocessing,
    augment_batch_pixels,
    mix_batch,
    normalize_clip,
    unpack_views,
)
from videosoft.errors import InputError
from videosoft.evaluation import average_views
from videosoft.models import (
    HeadPolicy,
    Inflation,
    LoadedModel,
    NetworkSize,
    PretrainedReport,
    create_checkpoint_card,
    create_model,
    measure_size,
)
from videosoft.training.datamodule import KineticsDataModule
from videosoft.training.fully_sharded import FullyShardedStrategy
from videosoft.training.log_steps import is_logged
from videosoft.training.optimization import (
    ParameterKind,
    check_optimizer,
    check_parameter_groups,
    group_parameters,
    scale_learning_rate,
)
from videosoft.training.pretrained import start_from_pretrained
from videosoft.training.schedules import ScheduleConfig, create_schedule, follow_schedule
from videosoft.training.step_loss import average_over_processes, keep_buffers
from videosoft.training.validation_metrics import ValidationMetrics
from videosoft.training.weight_averaging import check_weight_averaging

CompileMode = Literal["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]


@dataclass
class NetworkConfig:
    """Which network to build; the data says how many classes.

    Args:
        name: one of ``videosoft.models.list_models()``.
        pool: the kind of the network's pooling; docs/models.md says where each has it. "max" is as published.
        pool_kernel: null keeps the stem pool's window; 2 is the published swap, SoftPool(2, 2) without padding.
        width: factor on every number of channels.
        options: further arguments of that network's builder, such as dropout.
        pretrained: file of weights to start from; a resumed training and a test do not need it any more.
        pretrained_head: "strict" wants a classifier of the same classes, "by_name" takes the rows of those that are,
            "fresh" none.
        pretrained_classes: file with the names of the pretrained classes (one a line, or JSON), where the weights carry
            none.
        pretrained_partial: take what fits of the weights, though not everything does.
        pretrained_inflation: how 2-D kernels of an ImageNet ResNet-50 become 3-D ones.
    """

    name: str = "r3d50"
    pool: Literal["soft", "max", "avg"] = "max"
    pool_kernel: int | None = None
    width: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    pretrained: str | None = None
    pretrained_head: HeadPolicy = "strict"
    pretrained_classes: str | None = None
    pretrained_partial: bool = False
    pretrained_inflation: Inflation = "average"

    def __post_init__(self) -> None:
        if own := sorted({"name", "num_classes", "pool", "pool_kernel", "width"} & set(self.options)):
            raise InputError(f"network.options holds {', '.join(own)}: set network.{own[0]} instead.")

    def to_model_kwargs(self) -> dict[str, Any]:
        """The arguments of ``create_model`` besides the name and the number of classes."""
        return {"pool": self.pool, "pool_kernel": self.pool_kernel, "width": self.width, **self.options}

    def load_pretrained(
        self, network: nn.Module, class_names: Sequence[str], *, check_only: bool = False
    ) -> PretrainedReport | None:
        """Give ``network`` the weights to start from, if any are named."""
        if self.pretrained is None:
            return None
        return start_from_pretrained(
            network,
            self.pretrained,
            class_names=class_names,
            head=self.pretrained_head,
            classes=self.pretrained_classes,
            partial=self.pretrained_partial,
            inflation=self.pretrained_inflation,
            check_only=check_only,
        )


class VideoClassifier(L.LightningModule):
    """Trains and evaluates a network on clips of a :class:`KineticsDataModule`.

    Clips stay uint8 until they are on the device; they are normalised here, by the data's mean and std.

    Args:
        network: which network to build.
        optimizer: a torch optimiser, given the network's parameters.
        schedule: how the learning rate moves.
        label_smoothing: share of the target spread over all classes, in [0, 1).
        undecayed: what the optimiser's weight decay spares: parameters of normalisation layers, biases of the others.
        reference_batch_size: clips a step that the optimiser's learning rate is meant for; the rate is multiplied by
            the clips of a step over all devices and accumulated batches, and divided by this. Null: left as it is.
        memory_format: of the network's weights and input.
        compile_mode: of torch.compile, which the network then goes through in a fit. Null: not compiled.

    Attributes:
        recipe: the resolved config, as plain types, which every checkpoint carries; set by the command line.
        run_details: what every checkpoint's card says besides, see :func:`videosoft.training.recipe_card.describe_run`.
        step_loss: the loss of the batch that was trained on last, over the clips of all processes; None without any.
        is_resumed: the network's weights will come out of a checkpoint, so that no pretrained ones are needed.
    """

    def __init__(
        self,
        network: NetworkConfig,
        optimizer: OptimizerCallable = torch.optim.SGD,
        schedule: ScheduleConfig = ScheduleConfig(),  # noqa: B008  (frozen)
        label_smoothing: float = 0.0,
        undecayed: tuple[ParameterKind, ...] = (),
        reference_batch_size: int | None = None,
        memory_format: Literal["contiguous_format", "channels_last_3d"] = "contiguous_format",
        compile_mode: CompileMode | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise InputError(f"model.label_smoothing={label_smoothing}: must lie in [0, 1).")
        if reference_batch_size is not None and reference_batch_size < 1:
            raise InputError(f"model.reference_batch_size={reference_batch_size}: must be at least 1, or null.")
        self.network_config = network
        self.optimizer = optimizer
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.undecayed = undecayed
        self.reference_batch_size = reference_batch_size
        self.memory_format: torch.memory_format = getattr(torch, memory_format)
        self.compile_mode = compile_mode
        self.network: nn.Module | None = None
        self.class_names: tuple[str, ...] = ()
        self.recipe: dict[str, Any] = {}
        self.is_resumed = False
        self.preprocessing: Preprocessing | None = None
        self.step_loss: Tensor | None = None
        self.run_details: dict[str, Any] = {}
        self._is_sharded = False

    @classmethod
    def from_loaded(cls, loaded: LoadedModel) -> "VideoClassifier":
        """Wrap a checkpoint's network for evaluation, without any config."""
        kwargs = dict(loaded.metadata["model"]["kwargs"])
        known = {key: kwargs.pop(key) for key in ("pool", "pool_kernel", "width") if key in kwargs}
        classifier = cls(NetworkConfig(name=loaded.metadata["model"]["name"], options=kwargs, **known))
        classifier.use_loaded(loaded)
        return classifier

    def use_loaded(self, loaded: LoadedModel) -> None:
        """Take over a checkpoint's network instead of building a fresh one."""
        self._use_network(loaded.network, loaded.class_names, Preprocessing.from_dict(loaded.preprocessing))

    def check_network(self, data: KineticsDataModule) -> None:
        """See that the network can be built, takes clips of this data and pretrained weights, without arithmetic.

        Raises:
            InputError: it cannot, the weights do not fit, or the data has a single class.
        """
        config, size = self.network_config, data.preprocessing
        if len(data.class_names) < 2:
            raise InputError(f"{data.root} has one class ({data.class_names[0]}): a classifier needs at least two.")
        try:
            with torch.device("meta"):
                network = create_model(config.name, num_classes=len(data.class_names), **config.to_model_kwargs())
                clip = torch.empty(1, 3, size.num_frames, size.crop, size.crop)
                network.eval()(clip)
                if data.batch_size == 1:
                    network.train()(clip)  # a map of 1 x 1 x 1 of a single clip is nothing for batch norm
        except InputError:
            raise
        except (RuntimeError, TypeError, ValueError) as error:
            raise InputError(
                f"{config.name} with {config.to_model_kwargs()} does not take clips of {size.num_frames} x "
                f"{size.crop} x {size.crop} in batches of {data.batch_size}: {error}"
            ) from error
        if not self.is_resumed:
            config.load_pretrained(network, data.class_names, check_only=True)

    def configure_model(self) -> None:
        if self.network is not None:
            return
        data = self._datamodule
        config = self.network_config
        network = create_model(config.name, num_classes=len(data.class_names), **config.to_model_kwargs())
        if not self.is_resumed and (report := config.load_pretrained(network, data.class_names)):
            rank_zero_info(str(report))
        if self.compile_mode is not None:
            # In place: a wrapper around the network would change the names in every checkpoint.
            network.compile(mode=self.compile_mode)
        self._use_network(network, data.class_names, data.preprocessing)
        if isinstance(self.trainer.strategy, FullyShardedStrategy):
            _ = self.network_size  # counted while the network is whole
            self.trainer.strategy.shard(network)
            self._is_sharded = True

    def forward(self, video: Tensor) -> Tensor:
        """uint8 clips (N, 3, T, H, W) -> logits (N, K)."""
        assert self.network is not None
        return self.network(self.normalize(video))

    def normalize(self, video: Tensor) -> Tensor:
        """uint8 clips (N, 3, T, H, W) -> the network's input, in its memory format."""
        assert self.preprocessing is not None
        mean, std = self.preprocessing.mean, self.preprocessing.std
        return normalize_clip(video, mean, std, memory_format=self.memory_format)

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor | None:
        self.step_loss = None
        label = batch["label"]
        num_clips = len(label) if self.has_enough_clips(batch) else 0
        if not num_clips:
            if self.trainer.world_size == 1:
                return None
            # The other processes wait for this one in every layer's gradients.
            logits = self._run_stand_ins()
            losses = 0 * logits.sum(1)
        else:
            video = self.finish_clips(batch)
            if len(video) > len(label):  # several clips of each video
                label = label.repeat_interleave(len(video) // len(label))
            logits, target = self._train_on(video, label, seed=batch["samples"][0]["seed"])
            losses = F.cross_entropy(logits, target, label_smoothing=self.label_smoothing, reduction="none")
            num_clips = len(label)
            self.train_top1.update((logits.argmax(1) == label).float())
        loss, self.step_loss = average_over_processes(self.trainer, losses, num_clips)
        # A call of Lightning's log takes as long as all our callbacks: only where a logger or the epoch's end wants it.
        num_steps = self.trainer.global_step + 1
        if is_logged(self.trainer, num_steps) or self.trainer.is_last_batch or num_steps == self.trainer.max_steps:
            # Not in the progress bar, which would fetch it from the device at every step.
            self.log("train/loss", self.step_loss, batch_size=max(num_clips, 1))
        return loss

    def on_train_epoch_end(self) -> None:
        # Not in the step: the epoch's last batch may have no usable clip.
        self.log("train/top1", self.train_top1, on_step=False, on_epoch=True, prog_bar=True)

    def has_enough_clips(self, batch: ClipBatch) -> bool:
        """Whether a training batch is trained on; the failure log lists what it lacks.

        A single clip that broken videos leave gives batch norm nothing to normalise by.
        """
        num_clips = len(batch["label"])
        return num_clips > 1 or (num_clips == 1 and not (batch["failures"] and self._has_batch_norm))

    def finish_clips(self, batch: ClipBatch) -> Tensor:
        """A training batch's clips, uint8 (N, C, T, H, W), with what the workers have left to the device done."""
        assert self.preprocessing is not None
        video, augmentation = batch["video"], self._datamodule.augmentation
        if augmentation.pixels_on_device and augmentation.changes_pixels:
            seeds = [sample["pixel_seeds"] for sample in batch["samples"]]
            augment_batch_pixels(video, augmentation, seeds, mean=self.preprocessing.mean)
        return video.flatten(0, 1) if video.ndim == 6 else video  # (B, R, C, T, H, W): several clips of each video

    def _run_stand_ins(self) -> Tensor:
        """The network's answers to two grey clips, which leave no trace in batch norm's running statistics."""
        assert self.network is not None
        assert self.preprocessing is not None
        size = self.preprocessing
        with keep_buffers(self.network):
            return self.network(torch.zeros(2, 3, size.num_frames, size.crop, size.crop, device=self.device))

    def _train_on(self, video: Tensor, label: Tensor, *, seed: int) -> tuple[Tensor, Tensor]:
        """Logits, and what they should be: the labels, or their shares where clips are mixed."""
        augmentation = self._datamodule.augmentation
        if not augmentation.mixes_batches:
            return self(video), label
        assert self.network is not None
        clips = self.normalize(video)
        generator = torch.Generator().manual_seed(seed)
        mixed, shares = mix_batch(clips, label, len(self.class_names), augmentation, generator)
        return self.network(mixed), shares

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> Tensor | None:
        """The logits (N, K) of a batch; None of one without a usable video, or one that counts in another process."""
        if not len(batch["label"]):
            if self._is_sharded:  # the other processes wait for this one's part of the weights
                self._run_stand_ins()
            return None
        logits = self(batch["video"].squeeze(1))  # (N, 1, 3, T, H, W): one view a video
        if not self._datamodule.is_counted("val", batch_idx):
            return None
        self.validation_metrics.update(logits, batch["label"])
        return logits

    def on_validation_epoch_end(self) -> None:
        # Not in the step: a process without a usable video must log them, too.
        for name, metric in self.validation_metrics.named_metrics().items():
            self.log(name, metric, on_step=False, on_epoch=True, prog_bar=name == "val/1x1_top1")

    def test_step(self, batch: PackedBatch, batch_idx: int) -> dict[str, Any]:
        """``{"rows": [...]}``: one row a video for the predictions table, broken videos included."""
        root = self._datamodule.root.absolute()
        rows = [_create_row(sample, root) for sample in batch["failures"]]
        if not len(batch["label"]):
            return {"rows": rows}
        num_videos, num_views = len(batch["video"]), len(batch["video"][0])
        # Cut out here, on the device: up to it travel the frames, which views share.
        logits = torch.cat([self(views) for views in unpack_views(batch["video"], self._datamodule.batch_size)])
        probabilities, mean_logits = average_views(logits.view(num_videos, num_views, -1).float())
        for sample, p, z in zip(batch["samples"], probabilities.cpu(), mean_logits.cpu(), strict=True):
            row = _create_row(sample, root)
            row.update(prediction=int(p.argmax()), probabilities=p.numpy(), logits=z.numpy(), num_views=int(num_views))
            rows.append(row)
        return {"rows": rows}

    def predict_step(self, batch: PackedBatch, batch_idx: int) -> dict[str, Any]:
        return self.test_step(batch, batch_idx)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        try:
            optimizer = self.optimizer(group_parameters(self, self.undecayed))
        except (ValueError, TypeError, RuntimeError) as error:
            raise InputError(f"model.optimizer: {error}") from error
        check_optimizer(optimizer, self.trainer)
        if self.reference_batch_size is not None:
            batch_size = self._datamodule.count_batch_clips()
            scale_learning_rate(optimizer, self.trainer, batch_size=batch_size, reference=self.reference_batch_size)
        if math.isinf(self.trainer.estimated_stepping_batches):
            raise InputError("the training has no end: set trainer.max_epochs or trainer.max_steps.")
        num_steps = int(self.trainer.estimated_stepping_batches)
        steps_per_epoch = math.ceil(self.trainer.num_training_batches / self.trainer.accumulate_grad_batches)
        num_epochs = num_steps / max(1, steps_per_epoch)
        schedule = create_schedule(optimizer, self.schedule, num_steps=num_steps, num_epochs=num_epochs)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_start(self) -> None:
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, LambdaLR) and (rates := follow_schedule(config.scheduler)):
                rank_zero_info(
                    f"learning rate {rates[0]:.4g} of the checkpoint, {rates[1]:.4g} from here on: the training has "
                    "another length than when it began"
                )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.trainer.state.fn != TrainerFn.FITTING:
            return
        check_weight_averaging(checkpoint, self.trainer)
        check_parameter_groups(checkpoint, group_parameters(self, self.undecayed))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["videosoft"] = self.create_card()

    def create_card(self) -> dict[str, Any]:
        """What a checkpoint keeps under the key ``videosoft``."""
        assert self.preprocessing is not None
        return create_checkpoint_card(
            model_name=self.network_config.name,
            model_kwargs=self.network_config.to_model_kwargs(),
            class_names=self.class_names,
            preprocessing=self.preprocessing.to_dict(),
            data=self._datamodule.describe_data(),
            recipe=self.recipe,
            details=self.run_details,
        )

    @cached_property
    def network_size(self) -> NetworkSize:
        """Counted once, by whoever asks first."""
        assert self.network is not None
        assert self.preprocessing is not None
        clips = self.preprocessing
        return measure_size(self.network, (clips.num_frames, clips.crop, clips.crop))

    def _use_network(self, network: nn.Module, class_names: tuple[str, ...], preprocessing: Preprocessing) -> None:
        self.network = network.to(memory_format=self.memory_format)
        self.class_names = class_names
        self.preprocessing = preprocessing
        self._has_batch_norm = any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())
        self.train_top1 = MeanMetric(nan_strategy="disable")
        self.validation_metrics = ValidationMetrics()

    @property
    def _datamodule(self) -> KineticsDataModule:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, KineticsDataModule):
            raise InputError("VideoClassifier reads class names and preprocessing from a KineticsDataModule: pass one.")
        return data


def _create_row(sample: dict[str, Any], root: Path) -> dict[str, Any]:
    row = {key: sample[key] for key in ("video_id", "group_id", "label_name", "label", "status")}
    path = Path(sample["path"])
    if path.is_absolute():  # relative to the root, so that tables of two machines can be compared
        path = path.relative_to(root)
    return {**row, "path": path.as_posix(), "prediction": None, "probabilities": None, "logits": None, "num_views": 0}
