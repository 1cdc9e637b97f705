"""Which videos make which training batch: pure functions of the seed, the epoch and the position."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Sampler

from videosoft.errors import InputError


class ClipDraw(NamedTuple):
    """What a training sample is asked for by: a video's index, and the seed of every random choice about its clips."""

    video: int
    seed: int


class TrainingSampler(Sampler[list[ClipDraw]]):
    """Batches of one epoch in a random order that any process can begin anywhere.

    Each epoch is a permutation of the videos, drawn from (seed, epoch); the clips of a video are drawn from
    (seed, epoch, index).  Nothing else is random, so that an epoch goes on after ``first_batch`` batches as if it had
    never stopped, whatever the number of workers.  The permutation is dealt out in global batches of
    ``batch_size * world_size`` videos, of which rank r takes the r-th part: the same videos make the same steps on one
    process or on several.

    Args:
        num_videos: videos of the data set.
        batch_size: videos of a batch in this process.
        seed: of the order and the draws.
        rank: this process's number.
        world_size: processes that train together.

    Raises:
        InputError: there are fewer videos than processes.
    """

    def __init__(self, num_videos: int, batch_size: int, *, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if num_videos < world_size:
            raise InputError(f"{num_videos} training videos cannot be dealt out to {world_size} processes")
        self.num_videos = num_videos
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.first_batch = 0

    @property
    def global_batch_size(self) -> int:
        """Videos of a batch over all processes."""
        return self.batch_size * self.world_size

    def set_epoch(self, epoch: int) -> None:
        """Begin another epoch; the epoch that runs goes on where it was."""
        if epoch != self.epoch:
            self.epoch = epoch
            self.first_batch = 0

    def __len__(self) -> int:
        """Batches of a whole epoch: the last, incomplete one is left out unless it is the only one.

        A last batch of one clip would leave batch norm nothing to normalise by; every epoch shuffles anew.
        """
        return max(1, self.num_videos // self.global_batch_size)

    def __iter__(self) -> Iterator[list[ClipDraw]]:
        generator = torch.Generator().manual_seed(mix_seeds(self.seed, self.epoch))
        order = torch.randperm(self.num_videos, generator=generator).tolist()
        epoch = self.epoch
        for batch in range(self.first_batch, len(self)):
            start = batch * self.global_batch_size
            share = min(self.batch_size, (self.num_videos - start) // self.world_size)
            start += self.rank * share
            yield [ClipDraw(index, mix_seeds(self.seed, epoch, index)) for index in order[start : start + share]]


def mix_seeds(*numbers: int) -> int:
    """One seed of 63 bits out of several numbers, by NumPy's SeedSequence."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
