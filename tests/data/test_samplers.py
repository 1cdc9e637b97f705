"""The order of the training videos: complete, fair to every process, and resumable anywhere."""

import pytest
import torch
from scipy import stats

from videosoft.data.samplers import TrainingSampler
from videosoft.errors import InputError


def take_epoch(sampler: TrainingSampler, epoch: int = 0) -> list[list[tuple[int, int]]]:
    sampler.set_epoch(epoch)
    return [[tuple(draw) for draw in batch] for batch in sampler]


@pytest.mark.parametrize(
    ("num_videos", "batch_size", "world_size", "sizes"),
    [
        (12, 4, 1, [4, 4, 4]),
        (14, 4, 1, [4, 4, 4]),  # the incomplete batch is left out
        (3, 4, 1, [3]),  # unless it is the only one
        (16, 4, 2, [4, 4]),
        (7, 4, 2, [3]),  # equal shares: no process may step alone
        (2, 4, 2, [1]),
        (1, 1, 1, [1]),
    ],
)
def test_batches_of_every_process(num_videos: int, batch_size: int, world_size: int, sizes: list[int]) -> None:
    seen = []
    for rank in range(world_size):
        sampler = TrainingSampler(num_videos, batch_size, seed=3, rank=rank, world_size=world_size)
        batches = take_epoch(sampler)
        assert [len(batch) for batch in batches] == sizes
        assert len(sampler) == len(sizes)
        seen += [index for batch in batches for index, _ in batch]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(num_videos))


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_together_make_the_steps_of_one(world_size: int) -> None:
    alone = take_epoch(TrainingSampler(64, 16, seed=5), epoch=2)
    parts = [
        take_epoch(TrainingSampler(64, 16 // world_size, seed=5, rank=rank, world_size=world_size), epoch=2)
        for rank in range(world_size)
    ]
    assert [[draw for batch in batches for draw in batch] for batches in zip(*parts, strict=True)] == alone


@pytest.mark.parametrize("first_batch", [0, 1, 3, 4])
def test_an_epoch_goes_on_where_it_stopped(first_batch: int) -> None:
    whole = take_epoch(TrainingSampler(40, 10, seed=1), epoch=7)
    sampler = TrainingSampler(40, 10, seed=1)
    sampler.set_epoch(7)
    sampler.first_batch = first_batch
    sampler.set_epoch(7)  # the epoch that runs
    assert [[tuple(draw) for draw in batch] for batch in sampler] == whole[first_batch:]
    sampler.set_epoch(8)
    assert sampler.first_batch == 0


def test_order_and_draws_change_with_the_epoch_and_the_seed() -> None:
    epochs = {
        (seed, epoch): take_epoch(TrainingSampler(50, 50, seed=seed), epoch)[0] for seed in (0, 1) for epoch in (0, 1)
    }
    orders = {tuple(index for index, _ in draws) for draws in epochs.values()}
    seeds = {seed for draws in epochs.values() for _, seed in draws}
    assert len(orders) == 4
    assert len(seeds) == 4 * 50


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    take_epoch(TrainingSampler(10, 2, seed=0))
    assert torch.equal(torch.rand(3), expected)


def test_first_numbers_of_neighbouring_seeds_are_uniform() -> None:
    draws = take_epoch(TrainingSampler(2000, 2000, seed=0))[0]
    numbers = [torch.rand((), generator=torch.Generator().manual_seed(seed)).item() for _, seed in sorted(draws)]
    assert stats.kstest(numbers, "uniform").pvalue > 0.01
    assert abs(stats.pearsonr(numbers[:-1], numbers[1:]).statistic) < 0.06


def test_fewer_videos_than_processes_are_refused() -> None:
    with pytest.raises(InputError, match="3 training videos cannot be dealt out to 4 processes"):
        TrainingSampler(3, 1, seed=0, world_size=4)
