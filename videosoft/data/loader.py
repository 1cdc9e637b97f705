"""Training batches that go on in the middle of an epoch (docs/decisions/0011-resuming-an-epoch.md)."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, Dataset

from videosoft.data.samplers import TrainingSampler
from videosoft.errors import InputError


class ResumableLoader:
    """A DataLoader whose state is how many batches of which epoch were taken.

    The state is the same for every process and every number of workers, since the sampler's batches and all draws are
    functions of the seed, the epoch and the position; batches that workers had prepared but nobody took do not count.
    Lightning leaves the sampler alone, as this is not a DataLoader.

    Args:
        dataset: answers a :class:`~videosoft.data.samplers.ClipDraw`.
        sampler: makes the batches.
        data_hash: tells the list of videos; a state of another one is refused.
        draws: settings that what is drawn for a clip depends on, as plain values; a state of others is refused.
        **options: of torch's DataLoader.

    Attributes:
        seconds_waited: time that whoever asked for batches has spent waiting for them.
    """

    def __init__(
        self,
        dataset: Dataset,
        sampler: TrainingSampler,
        *,
        data_hash: str,
        draws: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.seconds_waited = 0.0
        self._data_hash = data_hash
        self._draws = dict(draws or {})
        self._num_batches = 0
        self._loader: DataLoader = DataLoader(dataset, batch_sampler=sampler, **options)

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Any]:
        # A generator: nothing is prepared before the first batch is asked for, when the epoch is known.
        self._num_batches = self.sampler.first_batch
        batches = _timed(iter(self._loader), self._add_waiting)
        for batch in batches:
            self._num_batches += 1
            yield batch
        self.sampler.set_epoch(self.sampler.epoch + 1)
        self._num_batches = 0

    def state_dict(self) -> dict[str, Any]:
        """Where in which epoch, and of which order."""
        position = {"epoch": self.sampler.epoch, "num_batches": self._num_batches, "num_epoch_batches": len(self)}
        return {**self._describe_order(), **self._draws, **position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken.

        Raises:
            InputError: that was in the middle of an epoch of another order: other videos, another seed, another number
                of videos a step, or other draws.
        """
        epoch, num_batches = int(state["epoch"]), int(state["num_batches"])
        if num_batches == state["num_epoch_batches"]:
            epoch, num_batches = epoch + 1, 0
        # Checkpoints of version 0.1 do not tell of the draws.
        order = self._describe_order() | {name: value for name, value in self._draws.items() if name in state}
        if num_batches and (differing := [name for name in order if state.get(name) != order[name]]):
            raise InputError(
                "the checkpoint stopped in the middle of an epoch, which can only go on as it began; now differ: "
                + ", ".join(f"{name} {order[name]}, not {state.get(name)}" for name in differing)
                + ". Resume with the same data, augmentation, seed, batch size and number of processes."
            )
        self.sampler.set_epoch(epoch)
        self.sampler.first_batch = self._num_batches = num_batches

    def _describe_order(self) -> dict[str, Any]:
        return {
            "seed": self.sampler.seed,
            "num_videos": self.sampler.num_videos,
            "global_batch_size": self.sampler.global_batch_size,
            "data_hash": self._data_hash,
        }

    def _add_waiting(self, seconds: float) -> None:
        self.seconds_waited += seconds


def leave_signals_to_the_trainer(worker_id: int) -> None:
    """A DataLoader's ``worker_init_fn``: Ctrl-C and a scheduler's warning go to all processes and concern only one."""
    for name in ("SIGINT", "SIGUSR1", "SIGUSR2"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _timed(batches: Iterator[Any], add_seconds: Callable[[float], None]) -> Iterator[Any]:
    while True:
        started = time.perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            return
        finally:
            add_seconds(time.perf_counter() - started)
        yield batch
