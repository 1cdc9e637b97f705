"""Stopping and going on in the middle of an epoch."""

from itertools import islice
from typing import Any

import pytest
import torch
from torch.utils.data import Dataset

from videosoft.data.loader import ResumableLoader
from videosoft.data.samplers import ClipDraw, TrainingSampler
from videosoft.errors import InputError

NUM_VIDEOS, BATCH_SIZE = 23, 4
NUM_BATCHES = NUM_VIDEOS // BATCH_SIZE


class DrawnNumbers(Dataset[tuple[int, float]]):
    """Stands for clips: a sample is its index and a number drawn from its seed."""

    def __getitem__(self, draw: ClipDraw) -> tuple[int, float]:
        generator = torch.Generator().manual_seed(draw.seed)
        return draw.video, torch.rand((), generator=generator).item()


def create_loader(
    num_workers: int, *, seed: int = 1, batch_size: int = BATCH_SIZE, draws: dict[str, Any] | None = None
) -> ResumableLoader:
    sampler = TrainingSampler(NUM_VIDEOS, batch_size, seed=seed)
    return ResumableLoader(
        DrawnNumbers(),
        sampler,
        data_hash="abc",
        draws={"augmentation.hue": 0.0, "augmentation.scale": [0.25, 1.0]} if draws is None else draws,
        num_workers=num_workers,
        collate_fn=list,
        persistent_workers=num_workers > 0,
    )


@pytest.mark.parametrize("num_workers_after", [0, 2])
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("num_taken", [1, NUM_BATCHES - 1, NUM_BATCHES, NUM_BATCHES + 2])
def test_goes_on_exactly(num_taken: int, num_workers: int, num_workers_after: int) -> None:
    whole = create_loader(0)
    expected = [batch for _ in range(3) for batch in whole]
    stopped = create_loader(num_workers)
    taken = []
    for epoch in range(3):
        stopped.sampler.set_epoch(epoch)
        taken += list(islice(iter(stopped), num_taken - len(taken)))
        if len(taken) == num_taken:
            break
    resumed = create_loader(num_workers_after)
    resumed.load_state_dict(stopped.state_dict())
    rest = [batch for _ in range(4) for batch in resumed]
    assert (taken + rest)[: 3 * NUM_BATCHES] == expected


def test_epochs_follow_each_other_without_being_told() -> None:
    loader = create_loader(0)
    first, second = list(loader), list(loader)
    assert first != second
    assert len(first) == len(second) == len(loader) == NUM_BATCHES
    assert loader.state_dict()["epoch"] == 2


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_epoch_may_be_told_after_iter(num_workers: int) -> None:
    # Lightning asks for the iterator before it sets the epoch.
    expected = create_loader(0)
    expected.sampler.set_epoch(4)
    loader = create_loader(num_workers)
    batches = iter(loader)
    loader.sampler.set_epoch(4)
    assert list(batches) == list(expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 2}, "seed 2, not 1"),
        ({"batch_size": 8}, "global_batch_size 8, not 4"),
        (
            {"draws": {"augmentation.hue": 0.1, "augmentation.scale": [0.25, 1.0]}},
            r"differ: augmentation\.hue 0\.1, not 0\.0\. ",
        ),
    ],
)
def test_another_order_is_refused(changes: dict[str, Any], message: str) -> None:
    stopped = create_loader(0)
    next(iter(stopped))
    with pytest.raises(InputError, match=message):
        create_loader(0, **changes).load_state_dict(stopped.state_dict())


def test_a_state_that_does_not_tell_of_the_draws_is_taken() -> None:
    stopped = create_loader(0, draws={})
    next(iter(stopped))
    resumed = create_loader(0)
    resumed.load_state_dict(stopped.state_dict())
    assert resumed.sampler.first_batch == 1


def test_another_order_is_allowed_between_epochs() -> None:
    finished = create_loader(0)
    finished.sampler.set_epoch(3)
    taken = list(islice(iter(finished), NUM_BATCHES))  # as Lightning does, which knows the length
    assert len(taken) == NUM_BATCHES
    other = create_loader(0, seed=2)
    other.load_state_dict(finished.state_dict())
    assert (other.sampler.epoch, other.sampler.first_batch) == (4, 0)


def test_waiting_is_counted() -> None:
    loader = create_loader(0)
    assert loader.seconds_waited == 0
    list(loader)
    assert loader.seconds_waited > 0
