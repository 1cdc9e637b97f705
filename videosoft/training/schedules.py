"""Learning-rate schedules, as a factor on the optimiser's own rate, stepped once per optimiser step."""

import math
from dataclasses import dataclass, field
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from videosoft.errors import InputError


@dataclass(frozen=True)
class ScheduleConfig:
    """How the learning rate moves over a run.

    Args:
        kind: ``"multistep"`` multiplies by ``gamma`` at each of ``milestones``; ``"cosine"`` falls to
            ``final_factor`` along half a cosine.
        warmup_epochs: linear rise from ``warmup_factor`` to where the steps or the cosine begin; fractions of an epoch
            are allowed.
        warmup_factor: where the rise begins.
        milestones: epochs, for ``"multistep"``.
        gamma: factor at each milestone, for ``"multistep"``.
        final_factor: where the cosine ends, for ``"cosine"``.
        cosine_after_warmup: the cosine begins with 1 at the warmup's end. Otherwise it spans the whole run, and the
            warmup leads into it, as in PySlowFast's recipes.
    """

    kind: Literal["multistep", "cosine"] = "cosine"
    warmup_epochs: float = 0.0
    warmup_factor: float = 0.01
    milestones: list[int] = field(default_factory=list)
    gamma: float = 0.1
    final_factor: float = 0.0
    cosine_after_warmup: bool = True

    def __post_init__(self) -> None:
        if self.warmup_epochs < 0:
            raise InputError(f"schedule.warmup_epochs={self.warmup_epochs}: must be 0 or more.")
        if self.kind == "multistep" and not self.milestones:
            raise InputError("schedule.milestones is empty: a multistep schedule needs the epochs of its steps.")
        if sorted(self.milestones) != list(self.milestones):
            raise InputError(f"schedule.milestones={self.milestones}: must be in ascending order.")


def compute_rate_factor(config: ScheduleConfig, epoch: float, num_epochs: float) -> float:
    """Factor on the base learning rate at a point of the run, both given in (fractions of) epochs."""
    if epoch < config.warmup_epochs:
        summit = _compute_unwarmed_factor(config, config.warmup_epochs, num_epochs)
        return config.warmup_factor + (summit - config.warmup_factor) * epoch / config.warmup_epochs
    return _compute_unwarmed_factor(config, epoch, num_epochs)


def _compute_unwarmed_factor(config: ScheduleConfig, epoch: float, num_epochs: float) -> float:
    if config.kind == "multistep":
        return config.gamma ** sum(epoch >= milestone for milestone in config.milestones)
    start = config.warmup_epochs if config.cosine_after_warmup else 0.0
    progress = (epoch - start) / max(num_epochs - start, 1e-9)
    return config.final_factor + (1 - config.final_factor) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def follow_schedule(schedule: LambdaLR) -> tuple[float, float] | None:
    """Give the optimiser the rates that the schedule has for its present step.

    A checkpoint brings the rates of the schedule that it was written under; one over more epochs has others.

    Returns:
        The first rate before and after, or None where the rates were those already.
    """
    groups = schedule.optimizer.param_groups
    before = [group["lr"] for group in groups]
    for group, base, compute_factor in zip(groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
        group["lr"] = base * compute_factor(schedule.last_epoch)
    after = [group["lr"] for group in groups]
    return (float(before[0]), float(after[0])) if after != before else None


def create_schedule(optimizer: Optimizer, config: ScheduleConfig, *, num_steps: int, num_epochs: float) -> LambdaLR:
    """The schedule as a torch scheduler to be stepped after each of ``num_steps`` optimiser steps."""
    return LambdaLR(optimizer, lambda step: compute_rate_factor(config, step * num_epochs / num_steps, num_epochs))
