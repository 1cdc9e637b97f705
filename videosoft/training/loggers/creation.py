"""Which loggers a run has."""

import os
from pathlib import Path
from typing import Literal

from lightning.pytorch.loggers import Logger

from videosoft.errors import InputError
from videosoft.training.loggers.metrics_csv import MetricsCsvLogger

WandbChoice = Literal["auto", "online", "offline", "off"]


def create_csv_logger(output: str, name: str, version: str | None) -> MetricsCsvLogger:
    """The logger whose ``log_dir`` is the run's folder: ``OUTPUT/NAME/VERSION``, or the next free ``version_N``."""
    return MetricsCsvLogger(save_dir=output, name=name, version=version)


def create_loggers(csv_logger: MetricsCsvLogger, *, wandb: WandbChoice, tensorboard: bool) -> list[Logger]:
    """The CSV logger, which comes first because the first one's folder is the run's, and those that were asked for.

    ``wandb="auto"`` is online where a key is configured, else offline, unless WANDB_MODE says otherwise; it goes
    without where wandb does not work.

    Raises:
        InputError: wandb is to be online, and there is no key.
    """
    run_dir = Path(csv_logger.log_dir)
    loggers: list[Logger] = [csv_logger]
    if tensorboard:
        from videosoft.training.loggers.tensorboard_logger import RunTensorBoardLogger

        loggers.append(
            RunTensorBoardLogger(
                csv_logger.save_dir,
                name=csv_logger.name,
                version=run_dir.name,
                sub_dir="tensorboard",
                default_hp_metric=False,
            )
        )
    if wandb != "off":
        # Here, not at the top: importing wandb takes a second.
        from videosoft.training.loggers.wandb_logger import RunWandbLogger, has_wandb_key

        mode: Literal["online", "offline"] | None
        if wandb == "auto":
            mode = None if "WANDB_MODE" in os.environ else "online" if has_wandb_key() else "offline"
        elif wandb == "online" and not has_wandb_key():
            raise InputError(
                "run.wandb=online: no key of wandb is configured; `wandb login`, or choose offline or auto."
            )
        else:
            mode = wandb
        name = f"{csv_logger.name}/{run_dir.name}"
        loggers.append(RunWandbLogger(name, run_dir, mode=mode, is_required=wandb != "auto"))
    return loggers
