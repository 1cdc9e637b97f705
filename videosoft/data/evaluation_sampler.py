"""Which process evaluates which videos, each video counted once."""

import math
from collections.abc import Collection, Iterator
from typing import cast

from torch.utils.data import Dataset, DistributedSampler

from videosoft.errors import InputError


class EvaluationSampler(DistributedSampler[int]):
    """Videos in the order of their list, dealt out to the processes batch by batch.

    Batch i of ``batch_size`` videos goes to process i mod ``world_size``: as long as there is a batch for each process,
    the network sees the very batches that it would see on one process, and its answers are the same bit for bit.
    Where there are fewer videos than that, the batches get smaller.

    A process whose turn it is not in the last round evaluates its first batch again, or another's where it has none, so
    that all take equally many steps, as a network that is spread over the processes needs.  What comes after
    ``num_counted_batches`` must not be counted.  Torch's own DistributedSampler repeats videos, too, but does not tell
    which; it is the base class because Lightning leaves such a sampler as it is.

    Args:
        num_videos: videos of the data set.
        batch_size: most videos of a batch; :attr:`batch_size` is how many it has.
        rank: this process's number.
        world_size: processes that evaluate together.
        done: numbers of videos that need no evaluation. Batches of such alone are left out, the others stay as they
            are. If all are done, the last batch is evaluated again: Lightning ends no test that has no batch.

    Raises:
        InputError: there are fewer videos than processes.
    """

    def __init__(
        self, num_videos: int, batch_size: int, *, rank: int = 0, world_size: int = 1, done: Collection[int] = ()
    ) -> None:
        if num_videos < world_size:
            raise InputError(f"{num_videos} videos cannot be dealt out to {world_size} processes: use fewer devices")
        super().__init__(cast(Dataset, range(num_videos)), num_replicas=world_size, rank=rank, shuffle=False)
        self.batch_size = max(1, min(batch_size, num_videos // world_size))
        batches = [
            range(first, min(first + self.batch_size, num_videos)) for first in range(0, num_videos, self.batch_size)
        ]
        left = [videos for videos in batches if not all(video in done for video in videos)] or batches[-1:]
        own = left[rank::world_size]
        self.num_counted_batches = len(own)
        self._ranges = own + [(own or left)[0]] * (math.ceil(len(left) / world_size) - len(own))

    def __len__(self) -> int:
        return sum(map(len, self._ranges))

    def __iter__(self) -> Iterator[int]:
        for videos in self._ranges:
            yield from videos
