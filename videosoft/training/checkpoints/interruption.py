"""Ctrl-C, SIGTERM and SLURM's warning: the step is finished, ``last.ckpt`` written, the run ended."""

import os
import signal
import subprocess
import sys
import threading
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.environments import SLURMEnvironment
from lightning.pytorch.trainer.states import TrainerFn

from videosoft.training.checkpoints.last import LastCheckpoint, is_step_complete


class SaveOnSignal(Checkpoint):
    """End a training where it can go on, when one of its processes is told to end.

    All processes finish their step, write ``last.ckpt`` and end; the first one's exit code is 128 plus the signal's
    number, 130 after Ctrl-C and 143 after SIGTERM. During a validation nothing is written, as the last checkpoint was
    right before it. A second Ctrl-C ends the run at once, with 130 too and nothing written.

    In a SLURM job the signal of ``sbatch --signal`` (SIGUSR1, or what the ``SLURMEnvironment`` in ``trainer.plugins``
    says) ends the run likewise, and then the job is put back into the queue. Lightning's own handlers, which this
    replaces, save and talk to the other processes from within the handler: in the middle of a step.

    Args:
        last: writes the file; it must come before this in the trainer's callbacks.
    """

    def __init__(self, last: LastCheckpoint) -> None:
        self._last = last
        self._signal = 0
        self._is_in_step = False
        self._requeue_signal = 0
        self._handlers: dict[int, Any] = {}

    def on_sanity_check_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._take_over_signals(trainer)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._take_over_signals(trainer)

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        self._is_in_step = True

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._is_in_step = False
        if is_step_complete(trainer, batch_idx) and (number := self._agree(trainer)):
            self._save_and_end(trainer, number)

    def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        is_in_training = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if is_in_training and (number := self._agree(trainer)):
            self._end(trainer, number)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._give_back_signals()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        # A signal to all processes of a job ends the workers that load, too, and the next batch never comes.
        is_workers_end = isinstance(exception, RuntimeError) and "DataLoader worker" in str(exception)
        try:
            if self._signal and is_workers_end and not self._is_in_step and trainer.world_size == 1:
                self._save_and_end(trainer, self._signal)
        finally:
            self._give_back_signals()

    def _take_over_signals(self, trainer: L.Trainer) -> None:
        if self._handlers or threading.current_thread() is not threading.main_thread():
            return
        numbers = [signal.SIGTERM]
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell's way to keep Ctrl-C from what it runs
            numbers.append(signal.SIGINT)
        environment = trainer._accelerator_connector.cluster_environment
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue and environment.requeue_signal:
            self._requeue_signal = environment.requeue_signal
            numbers.append(environment.requeue_signal)
        for number in numbers:
            self._handlers[number] = signal.signal(number, self._handle)

    def _give_back_signals(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = number
        # Workers that the same signal ends must not end the step: torch's own handler would raise their end there.
        if signal.SIGCHLD not in self._handlers and callable(signal.getsignal(signal.SIGCHLD)):
            self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _ignore)
        # Not print(), which may have been interrupted by this.
        os.write(2, f"\n{_name(number)}: finishing the step and saving; Ctrl-C (again) ends the run at once\n".encode())

    def _agree(self, trainer: L.Trainer) -> int:
        """The number of the signal that any of the processes has had, or 0."""
        if trainer.world_size == 1:
            return self._signal
        number = torch.tensor(self._signal, device=trainer.strategy.root_device)
        return int(trainer.strategy.reduce(number, reduce_op="max"))

    def _save_and_end(self, trainer: L.Trainer, number: int) -> None:
        if not self._last.is_saved(trainer):
            self._last.save_after_step(trainer)
        self._end(trainer, number)

    def _end(self, trainer: L.Trainer, number: int) -> None:
        if not trainer.is_global_zero:
            # Lightning kills all processes as soon as one of those that it started has failed.
            raise SystemExit(0)
        print(
            f"\n{_name(number)}: ended after step {trainer.global_step}; "
            f"--ckpt_path {self._last.path.parent.parent} goes on from there",
            file=sys.stderr,
        )
        if number == self._requeue_signal:
            _requeue_job()
        raise SystemExit(128 + number)


def _requeue_job() -> None:
    """Put this SLURM job, or this task of an array, back into the queue."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array is not None else os.environ.get("SLURM_JOB_ID", "")
    try:
        code = subprocess.run(["scontrol", "requeue", job], check=False).returncode
        outcome = "put back into the queue" if code == 0 else f"not put back into the queue (scontrol says {code})"
    except OSError as error:
        outcome = f"not put back into the queue: scontrol cannot be run ({error.strerror})"
    print(f"SLURM job {job}: {outcome}", file=sys.stderr)


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def _ignore(number: int, frame: FrameType | None) -> None:
    pass
