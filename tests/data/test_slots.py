"""Frames in memory that is used again: never while somebody still has them, in whatever process."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from videosoft.data import PackedViews, collate_clips
from videosoft.data.guard import DecodeCrashError, GuardedLoader
from videosoft.data.packed_views import ViewLayout

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

# More than a slot has at first, so that it grows.
SHAPE = (3, 4, 200, 150)


def create_frames(number: int) -> Tensor:
    """Frames that tell a number: uint8 (3, 4, 200, 150), channels last."""
    return torch.full((*SHAPE[1:], 3), number % 251, dtype=torch.uint8).permute(3, 0, 1, 2)


def load(request: Any) -> tuple[dict[str, Any], Tensor | list[Tensor] | None]:
    if request == "crash":
        os._exit(1)
    if request == "none":
        return {}, None
    if isinstance(request, list):
        return {}, [create_frames(number).permute(1, 2, 3, 0) for number in request]
    return {"number": request}, create_frames(request)


@pytest.fixture
def loader() -> Iterator[GuardedLoader]:
    with GuardedLoader(load, 60.0) as loader:
        yield loader


def take(loader: GuardedLoader, number: int) -> Tensor:
    values, frames = loader(number)
    assert values == {"number": number}
    assert frames is not None
    assert torch.equal(frames, create_frames(number))
    return frames


def test_memory_is_used_again_once_nobody_has_it(loader: GuardedLoader) -> None:
    first = take(loader, 1)
    address = first.data_ptr()
    second = take(loader, 2)
    assert second.data_ptr() != address
    rest = first[1:, 2]  # a view keeps the memory as the tensor does
    del first
    assert take(loader, 3).data_ptr() not in (address, second.data_ptr())
    assert torch.equal(rest, create_frames(1)[1:, 2])
    del rest
    assert take(loader, 4).data_ptr() == address
    assert torch.equal(second, create_frames(2))


def test_what_is_kept_stays_as_it_is(loader: GuardedLoader) -> None:
    kept = [take(loader, number) for number in range(20)]
    loader.close()
    kept += [take(loader, number) for number in range(20, 40)]
    assert all(torch.equal(frames, create_frames(number)) for number, frames in enumerate(kept))


def test_frames_of_one_call_lie_one_behind_the_other(loader: GuardedLoader) -> None:
    loaded = loader.load_many([7, "none", "crash", 8, "crash", 9])
    assert [type(each) for each in loaded] == [tuple, tuple, DecodeCrashError, tuple, DecodeCrashError, tuple]
    frames = [each[1] for each in loaded if isinstance(each, tuple) and each[1] is not None]
    assert [int(each.unique()) for each in frames] == [7, 8, 9]
    assert [each.storage_offset() for each in frames] == [0, frames[0].numel(), 2 * frames[0].numel()]
    assert loader.load_many([]) == []


def test_parts_are_put_together(loader: GuardedLoader) -> None:
    _, frames = loader([1, 2, 3])
    assert frames is not None
    assert torch.equal(frames, torch.cat([create_frames(number).permute(1, 2, 3, 0) for number in (1, 2, 3)]))


def test_a_forked_copy_does_not_free_what_its_parent_has(loader: GuardedLoader) -> None:
    first = take(loader, 1)
    if (pid := os.fork()) == 0:
        try:
            del first
            loader(5)  # by a child and memory of its own; nothing of torch's threads survives a fork
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    second = take(loader, 2)
    assert torch.equal(first, create_frames(1))
    assert torch.equal(second, create_frames(2))


class Numbers(Dataset[dict[str, Any]]):
    """Samples as a data set of videos gives them; every ninth is broken, and every seventh crashes the decoder."""

    def __init__(self, *, packed: bool) -> None:
        self.packed = packed
        self.guard = GuardedLoader(load, 60.0)

    def __len__(self) -> int:
        return 40

    def __getitems__(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        loaded = self.guard.load_many(["crash" if number % 7 == 3 else number for number in numbers])
        samples = []
        for number, each in zip(numbers, loaded, strict=True):
            video: Any = None if isinstance(each, Exception) or number % 9 == 4 else each[1]
            if video is not None and self.packed:
                video = PackedViews(video.permute(1, 2, 3, 0), ViewLayout([[0, 1], [2, 3]], [(0, 0), (50, 40)], 100))
            samples.append({"video_id": str(number), "label": number, "video": video})
        return samples


def check_batch(batch: Any) -> list[int]:
    """The numbers in a batch, broken ones included."""
    assert type(batch) is dict
    numbers = [int(sample["video_id"]) for sample in batch["samples"]]
    assert batch["label"].tolist() == numbers
    assert len(batch["video"]) == len(numbers)
    for video, number in zip(batch["video"], numbers, strict=True):
        frames = video.frames.permute(3, 0, 1, 2) if isinstance(video, PackedViews) else video
        assert torch.equal(frames, create_frames(number))
        if isinstance(video, PackedViews):
            assert video.unpack().shape == (4, 3, 2, 100, 100)
    return numbers + [int(sample["video_id"]) for sample in batch["failures"]]


def count_slots() -> int:
    """Files in memory that this process has open."""
    links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum("memfd:videosoft" in str(link) for link in links)


@pytest.mark.parametrize(
    ("packed", "num_workers", "method"),
    [
        (False, 0, None),
        (False, 2, "fork"),
        (True, 2, "fork"),
        pytest.param(False, 2, "spawn", marks=pytest.mark.slow),
    ],
)
def test_batches_of_workers(packed: bool, num_workers: int, method: str | None) -> None:
    dataset = Numbers(packed=packed)
    loader = DataLoader(
        dataset,
        batch_size=4,
        num_workers=num_workers,
        multiprocessing_context=method,
        persistent_workers=num_workers > 0,
        collate_fn=collate_clips,
    )
    kept = list(loader)  # all at once: more than slots are kept for
    for _ in range(2):
        assert sorted(number for batch in loader for number in check_batch(batch)) == list(range(40))
        check_batch(next(iter(loader)))  # what was prepared beyond it is given up
    assert sorted(number for batch in kept for number in check_batch(batch)) == list(range(40))
    if sys.platform == "linux":
        del kept
        num_slots = count_slots()
        for batch in loader:
            check_batch(batch)
        del batch
        assert count_slots() <= num_slots
    dataset.guard.close()


def test_a_batch_of_one_load_is_not_copied() -> None:
    dataset = Numbers(packed=False)
    samples = dataset.__getitems__([1, 3, 5, 6])  # of which 3 crashes
    batch = collate_clips(samples)
    assert batch["video"].data_ptr() == samples[0]["video"].data_ptr()
    assert check_batch(batch) == [1, 5, 6, 3]
    dataset.guard.close()
