"""Every video is counted once, in the batches of a single process, and all processes take equally many steps."""

from collections.abc import Collection

import pytest
from torch.utils.data import DataLoader

from videosoft.data import EvaluationSampler
from videosoft.errors import InputError


def list_batches(
    num_videos: int, batch_size: int, rank: int, world_size: int, done: Collection[int] = ()
) -> tuple[list[list[int]], int]:
    """What a DataLoader makes of a process's share, and how many of these batches count."""
    sampler = EvaluationSampler(num_videos, batch_size, rank=rank, world_size=world_size, done=done)
    loader = DataLoader(range(num_videos), batch_size=sampler.batch_size, sampler=sampler, collate_fn=list)  # type: ignore[arg-type]
    return list(loader), sampler.num_counted_batches


@pytest.mark.parametrize("num_videos", [1, 2, 7, 8, 9, 31, 32, 33, 100])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 8])
def test_each_video_is_counted_once(num_videos: int, batch_size: int, world_size: int) -> None:
    if num_videos < world_size:
        with pytest.raises(InputError, match=f"{num_videos} videos cannot be dealt out to {world_size} processes"):
            EvaluationSampler(num_videos, batch_size, world_size=world_size)
        return
    shares = [list_batches(num_videos, batch_size, rank, world_size) for rank in range(world_size)]
    counted = [batch for batches, num_counted in shares for batch in batches[:num_counted]]
    assert sorted(video for batch in counted for video in batch) == list(range(num_videos))
    assert len({len(batches) for batches, _ in shares}) == 1
    assert all(num_counted >= 1 for _, num_counted in shares)
    assert max(map(len, counted)) <= batch_size
    whole, _ = list_batches(num_videos, batch_size, 0, 1)
    if len(whole) >= world_size and batch_size * world_size <= num_videos:
        assert sorted(counted) == whole


def test_repeated_batches_are_those_that_do_not_count() -> None:
    assert list_batches(7, 2, 0, 3) == ([[0, 1], [6]], 2)
    assert list_batches(7, 2, 1, 3) == ([[2, 3], [2, 3]], 1)
    assert list_batches(7, 2, 2, 3) == ([[4, 5], [4, 5]], 1)


@pytest.mark.parametrize("num_done", [0, 1, 2, 3, 8, 15, 16, 17])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("from_the_end", [False, True])
def test_batches_that_are_done_are_left_out(num_done: int, world_size: int, from_the_end: bool) -> None:
    videos = list(range(17))
    done = set(videos[len(videos) - num_done :] if from_the_end else videos[:num_done])
    shares = [list_batches(17, 2, rank, world_size, done) for rank in range(world_size)]
    whole, _ = list_batches(17, 2, 0, 1)
    counted = [batch for batches, num_counted in shares for batch in batches[:num_counted]]
    assert sorted(counted) == ([batch for batch in whole if not done.issuperset(batch)] or [[16]])
    assert len({len(batches) for batches, _ in shares}) == 1
    assert all(batch in whole for batches, _ in shares for batch in batches)
