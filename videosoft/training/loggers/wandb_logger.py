"""Weights & Biases: online, or a folder that `wandb sync` uploads later."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from videosoft.errors import InputError
from videosoft.training.loggers.tolerant import Picture, TolerantLogger

_SECONDS_FOR_AN_OPTIONAL_START = 20


class RunWandbLogger(TolerantLogger, WandbLogger):
    """A run of Weights & Biases in ``run_dir``.

    Args:
        name: of the run.
        run_dir: its folder is ``<run_dir>/wandb/``.
        mode: null leaves it to wandb and its environment variable WANDB_MODE.
        is_required: whether a run without wandb is an error, rather than a warning.

    Raises:
        InputError: from ``experiment``, which is the start, when wandb is required and cannot begin.
    """

    def __init__(
        self, name: str, run_dir: Path, *, mode: Literal["online", "offline"] | None, is_required: bool
    ) -> None:
        super().__init__(
            project="videosoft",
            name=name,
            save_dir=str(run_dir),
            mode=mode,
            # A machine with a key may have no way out: what nobody asked for must not hold up the training for long.
            settings=wandb.Settings(silent=True, init_timeout=90 if is_required else _SECONDS_FOR_AN_OPTIONAL_START),
        )
        # Lightning passes it on, and wandb warns that it has no effect.
        self._wandb_init.pop("anonymous", None)
        self._experiment: Any = None
        self._run_dir = run_dir
        self._is_required = is_required

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._start()
        return self._experiment

    def _start(self) -> None:
        """Begin the run as asked; if nobody insists on it, offline instead of online, or not at all."""
        fallbacks = [] if self._is_required else ["offline"] if self._wandb_init["mode"] == "online" else []
        for mode in (self._wandb_init["mode"], *fallbacks):
            self._wandb_init["mode"] = mode
            try:
                self._run_dir.mkdir(parents=True, exist_ok=True)
                run = super().experiment
            except Exception as error:  # of wandb, its service, the network, the disk
                if self._is_required:
                    raise InputError(f"wandb cannot begin: {error}. --run.wandb off goes without it.") from error
                rank_zero_info(f"warning: wandb cannot begin{' online' if mode == 'online' else ''}: {error}")
                continue
            if not run.offline and run.url:
                rank_zero_info(f"wandb: {run.url}")
            return
        rank_zero_info("warning: the run goes on without wandb.")
        self._has_failed = True
        self._experiment = DummyExperiment()

    @rank_zero_only
    def log_picture(self, key: str, picture: Picture, step: int) -> None:
        self._attempt(self.log_image, key, [picture], step, file_type=["jpg"])

    @rank_zero_only
    def log_stills(
        self, key: str, stills: Sequence[Picture], captions: Sequence[str], sheet: Picture, step: int
    ) -> None:
        # Not a table of wandb, which keeps its pictures in the user's home: `wandb sync` of a folder that was moved to
        # another machine would miss them.
        file_types = ["jpg"] * len(stills)
        self._attempt(self.log_image, key, list(stills), step, caption=list(captions), file_type=file_types)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        super().finalize(status)
        run = self._experiment
        if run is None or self._has_failed:
            return
        # Here, not when Python ends: a second fit in this process would join the run.
        self._attempt(run.finish, 0 if status == "success" else 1)
        if run.offline:
            rank_zero_info(f"wandb: `wandb sync {Path(run.settings.sync_dir)}` uploads this run")


def has_wandb_key() -> bool:
    """Whether wandb knows whom to log as, without asking anybody."""
    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.Error as error:
        rank_zero_info(f"warning: wandb: {error}")
        return False
