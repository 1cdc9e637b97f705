"""A bare PyTorch loop that takes turns with Lightning's, within one training on the same batches.

While Lightning asks for its next batch, the bare loop does as many steps on the same ones. The bare network begins as a
copy of Lightning's, so that both end with the same weights where arithmetic is the same from run to run.
"""

import copy
import itertools
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from videosoft.data import ResumableLoader, normalize_clip
from videosoft.errors import InputError
from videosoft.training import KineticsDataModule, VideoClassifier
from videosoft.training.command import VideosoftCLI
from videosoft.training.optimization import group_parameters
from videosoft.training.schedules import create_schedule

NUM_READY_BATCHES = 8
WARMUP_ROUNDS = 1
PRECISIONS = {"32-true": None, "bf16-mixed": torch.bfloat16}


@dataclass(frozen=True)
class Turns:
    """How the two loops take turns.

    Args:
        num_rounds: that count; a ratio of both loops' seconds comes from each.
        steps_a_round: of each loop; a multiple of ``trainer.log_every_n_steps``, so that every round logs as often.
        steps_a_turn: divides them. 1 where both loops wait for each step anyway; on a GPU many, as switching waits.
        reads_videos: whether every turn reads its batches anew, workers from a standing start; else some lie ready.
    """

    num_rounds: int
    steps_a_round: int
    steps_a_turn: int
    reads_videos: bool

    @property
    def num_turns(self) -> int:
        # Lightning does not ask on after its last batch, so that nobody sees the end of the last turn.
        return (WARMUP_ROUNDS + self.num_rounds) * (self.steps_a_round // self.steps_a_turn) + 1

    def sum_rounds(self, seconds: list[float]) -> list[float]:
        """Seconds of turns -> seconds of the rounds that count."""
        size = self.steps_a_round // self.steps_a_turn
        return [sum(seconds[first : first + size]) for first in range(WARMUP_ROUNDS * size, len(seconds), size)]


class BareLoop:
    """What one would write without a framework: no metric, no log, no look at the loss.

    Raises:
        InputError: the recipe asks for something that this loop does not do.
    """

    def __init__(self, cli: VideosoftCLI) -> None:
        classifier, trainer = cli.model, cli.trainer
        check_recipe(cli)
        self.network = copy.deepcopy(classifier.network).train()
        if classifier.compile_mode is not None:
            self.network.compile(mode=classifier.compile_mode)
        self._device = trainer.strategy.root_device
        self._preprocessing, self._memory_format = cli.datamodule.preprocessing, classifier.memory_format
        self._label_smoothing = classifier.label_smoothing
        self._optimizer = classifier.optimizer(group_parameters(self.network, classifier.undecayed))
        for ours, theirs in zip(self._optimizer.param_groups, trainer.optimizers[0].param_groups, strict=True):
            ours["lr"] = theirs["initial_lr"]  # a recipe may scale its rate by the clips of a step
        num_steps = int(trainer.estimated_stepping_batches)
        num_epochs = num_steps / trainer.num_training_batches
        self._schedule = create_schedule(
            self._optimizer, classifier.schedule, num_steps=num_steps, num_epochs=num_epochs
        )
        dtype = PRECISIONS[str(trainer.precision)]
        self._autocast = nullcontext() if dtype is None else torch.autocast(self._device.type, dtype=dtype)

    def step(self, batch: Any) -> None:
        video, label = batch["video"].to(self._device), batch["label"].to(self._device)
        with self._autocast:
            clips = normalize_clip(
                video, self._preprocessing.mean, self._preprocessing.std, memory_format=self._memory_format
            )
            loss = F.cross_entropy(self.network(clips), label, label_smoothing=self._label_smoothing)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        self._schedule.step()

    def has_weights_of(self, classifier: VideoClassifier) -> bool:
        """Whether the other loop, after as many steps, has come to the very same numbers."""
        ours: dict[str, Tensor] = classifier.network.state_dict()
        return all(
            torch.equal(value.to(ours[name].device), ours[name]) for name, value in self.network.state_dict().items()
        )


def check_recipe(cli: VideosoftCLI) -> None:
    trainer, augmentation = cli.trainer, cli.datamodule.augmentation
    wanted = {
        f"trainer.precision {trainer.precision}": str(trainer.precision) not in PRECISIONS,
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches != 1,
        "trainer.gradient_clip_val": bool(trainer.gradient_clip_val),
        "data.num_repeats": cli.datamodule.num_repeats != 1,
        "data.augmentation.pixels_on_device": augmentation.pixels_on_device and augmentation.changes_pixels,
        "mixing of clips in data.augmentation": augmentation.mixes_batches,
    }
    if missing := [name for name, is_wanted in wanted.items() if is_wanted]:
        raise InputError(f"the bare loop does not know {', '.join(missing)}: take a recipe without.")


class TurnsLoader(ResumableLoader):
    """The training's own loader, dealing its batches out in turns; whoever waits for the device pays for it."""

    def __init__(self, loader: ResumableLoader, cli: VideosoftCLI, turns: Turns) -> None:
        vars(self).update(vars(loader))
        self.seconds: dict[str, list[float]] = {"bare": [], "lightning": []}
        self.bare: BareLoop | None = None
        self._cli, self._turns = cli, turns
        self._ready: list[Any] = []
        if not turns.reads_videos:
            self._ready = list(itertools.islice(cli.datamodule.create_training_loader(epoch=0), NUM_READY_BATCHES))

    def __len__(self) -> int:
        return self._turns.num_turns * self._turns.steps_a_turn

    def __iter__(self) -> Iterator[Any]:
        # Not before: only now have the trainer's network and schedule been made.
        self.bare = BareLoop(self._cli)
        for turn in range(self._turns.num_turns):
            # The one loader serves both: its workers have nothing prepared when a turn begins.
            started = self._read_clock()
            for batch in self._deal(turn):
                self.bare.step(batch)
            between = self._read_clock()
            yield from self._deal(turn)
            self.seconds["bare"].append(between - started)
            self.seconds["lightning"].append(self._read_clock() - between)

    def _deal(self, turn: int) -> Iterator[Any]:
        steps = self._turns.steps_a_turn
        if not self._ready:
            yield from itertools.islice(super().__iter__(), steps)
        else:
            for step in range(turn * steps, (turn + 1) * steps):
                yield self._ready[step % len(self._ready)]

    @staticmethod
    def _read_clock() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


class TurnsCLI(VideosoftCLI):
    """`lightning fit`, in turns with the bare loop. ``loader`` has the seconds of both in the end."""

    loader: TurnsLoader

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        super().__init__(VideoClassifier, KineticsDataModule, save_config_callback=None)

    def before_fit(self) -> None:
        create_loader = self.datamodule.train_dataloader

        def create_turns() -> TurnsLoader:
            self.loader = TurnsLoader(create_loader(), self, self._turns)
            return self.loader

        self.datamodule.train_dataloader = create_turns
