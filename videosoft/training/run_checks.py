"""What can be known to fail before the first step, found before the run has a folder."""

import math
from collections.abc import Callable, Mapping, Sized
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from torch import nn

from videosoft.data import TrainingSampler
from videosoft.errors import InputError
from videosoft.training.classifier import VideoClassifier
from videosoft.training.datamodule import KineticsDataModule


def check_training(trainer: L.Trainer, classifier: VideoClassifier, data: KineticsDataModule) -> None:
    """See that a training has an end, steps, and an optimiser.

    Raises:
        InputError: it has not; it shall overfit batches; a step takes no batch, or more than an epoch has; or
            validations never come.
    """
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval"):
        value = getattr(trainer, name)
        if isinstance(value, int | float) and value <= 0:
            raise InputError(f"trainer.{name}={value}: must be more than 0.")
    if trainer.max_epochs == 0 or trainer.max_steps == 0:
        name = "max_epochs" if trainer.max_epochs == 0 else "max_steps"
        raise InputError(f"trainer.{name}=0 trains nothing: set at least 1, or leave it out.")
    if trainer.max_epochs == -1 and trainer.max_steps == -1:
        raise InputError("the training has no end: set trainer.max_epochs or trainer.max_steps.")
    if trainer.limit_train_batches == 0:
        raise InputError("trainer.limit_train_batches=0 trains nothing: set more, or leave it out.")
    if trainer.overfit_batches > 0:  # type: ignore[attr-defined]  # set without a declaration
        raise InputError(
            "trainer.overfit_batches: training clips are drawn anew in every epoch. To see whether a network can learn "
            "a few videos by heart, list only these in the training CSV."
        )
    try:
        optimizer = classifier.optimizer([nn.Parameter(torch.zeros(1))])
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"model.optimizer: {error}") from error
    if not math.isfinite(rate := float(optimizer.param_groups[0]["lr"])):
        raise InputError(f"model.optimizer: the learning rate is {rate}; it must be a finite number.")
    num_videos = len(data.get_dataset("train"))
    sampler = TrainingSampler(
        num_videos, data.batch_size // data.num_repeats, seed=0, rank=0, world_size=trainer.world_size
    )
    num_batches, num_accumulated = len(sampler), trainer.accumulate_grad_batches
    epoch = (
        f"an epoch has {num_batches} ({num_videos} videos, {data.batch_size} clips a batch, "
        f"{trainer.world_size} process{'es' if trainer.world_size > 1 else ''})"
    )
    if num_accumulated > num_batches:
        raise InputError(f"trainer.accumulate_grad_batches={num_accumulated} batches make a step, and {epoch}.")
    interval = trainer.val_check_interval
    if isinstance(interval, int) and trainer.check_val_every_n_epoch is not None and interval > num_batches:
        raise InputError(
            f"trainer.val_check_interval={interval} batches lie between validations, and {epoch}: choose fewer, or "
            "count over epochs with trainer.check_val_every_n_epoch=null."
        )


_PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


def check_precision(trainer: L.Trainer) -> None:
    """See that weights are float32, which clips become on the device.

    Raises:
        InputError: they would be of another type.
    """
    if trainer.precision not in _PRECISIONS:
        raise InputError(
            f"trainer.precision: {trainer.precision} is not known here, weights stay float32: choose "
            f"{', '.join(_PRECISIONS[:-1])} or {_PRECISIONS[-1]}."
        )


# Verb -> the roles that it reads, and Lightning's names of their limits.
_LIMITED: dict[str, tuple[tuple[Literal["train", "val", "test"], str], ...]] = {
    "fit": (("train", "limit_train_batches"), ("val", "limit_val_batches")),
    "validate": (("val", "limit_val_batches"),),
    "test": (("test", "limit_test_batches"),),
    "predict": (("test", "limit_predict_batches"),),
}


def check_limits(trainer: L.Trainer, data: KineticsDataModule, verb: str) -> None:
    """See that a share of an epoch's batches that a run is limited to is one batch at least.

    Raises:
        InputError: it is none.
    """
    data.trainer = trainer  # whose processes share the batches
    loaders: dict[str, Callable[[], Sized]] = {
        "train": lambda: data.create_training_loader(epoch=0),
        "val": data.val_dataloader,
        "test": data.test_dataloader,
    }
    for role, name in _LIMITED[verb]:
        limit = getattr(trainer, name)
        if not isinstance(limit, float) or limit in (0.0, 1.0):
            continue
        num_batches = len(loaders[role]())
        if num_batches and int(limit * num_batches) == 0:
            raise InputError(
                f"trainer.{name}={limit} of {num_batches} batches is none: set at least "
                f"{math.ceil(1e4 / num_batches) / 1e4:g}, or a whole number of batches."
            )


# What a checkpoint's optimiser and schedule bring along, so that a config that says otherwise would say so in vain.
_FIXED = ("optimizer", "schedule", "label_smoothing")


def check_same_recipe(trained: Mapping[str, Any], configured: Mapping[str, Any], *, source: Path) -> None:
    """See that a training goes on with the optimiser, schedule and loss that it began with.

    Keys that only one of the two recipes has, of another version of videosoft, are left out.

    Raises:
        InputError: naming what differs.
    """
    then, now = (_flatten(recipe.get("model")) for recipe in (trained, configured))
    differing = [key for key in then if key.split(".")[0] in _FIXED and key in now and then[key] != now[key]]
    if differing:
        raise InputError(
            f"{source} is of another recipe: "
            + ", ".join(f"model.{key} {then[key]!r}, not {now[key]!r}" for key in differing)
            + ". A training goes on with what it began with (config.yaml in its run's folder); a new one begins from "
            "its weights with --model.network.pretrained."
        )


def _flatten(section: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(section, Mapping):
        return {prefix: section} if prefix else {}
    return {
        name: value
        for key, content in section.items()
        for name, value in _flatten(content, f"{prefix}.{key}" if prefix else str(key)).items()
    }
