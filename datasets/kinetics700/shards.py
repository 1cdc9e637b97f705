"""One piece of work cut into n shards, for an array of jobs: each job takes every n-th item of the sorted list."""

import argparse
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from videosoft.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The shard ``index`` (from 0) of ``count``."""

    index: int = 0
    count: int = 1

    @property
    def suffix(self) -> str:
        """What the names of this shard's reports end with: nothing where there is one shard only."""
        return "" if self.count == 1 else f"_shard_{self.index}_of_{self.count}"


def parse_shard(text: str) -> Shard:
    """Read ``i/n`` with 0 <= i < n."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 0 <= int(match[1]) < int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not i/n with 0 <= i < n, such as 0/8")
    return Shard(int(match[1]), int(match[2]))


def find_default_shard(environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard of a task of a SLURM array (``sbatch --array=0-7``); the only one outside of an array.

    Raises:
        InputError: the numbers of the array have gaps, so that they say nothing about shards.
    """
    if "SLURM_ARRAY_TASK_ID" not in environment or "SLURM_ARRAY_TASK_COUNT" not in environment:
        return Shard()
    names = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_MAX")
    try:
        task, count, first = (int(environment.get(name, "0")) for name in names[:3])
        last = int(environment.get(names[3], first + count - 1))
    except ValueError:
        task, count, first, last = -1, 0, 0, 0
    if not first <= task <= last or last - first + 1 != count:
        found = ", ".join(f"{name}={environment.get(name)}" for name in names)
        raise InputError(
            f"cannot tell the shard from {found}: the array has gaps; submit it as --array=0-N or give --shard i/n"
        )
    return Shard(task - first, count)


def select_shard(items: Iterable[T], shard: Shard) -> list[T]:
    """The items of a shard; the same list must be given to all of them, in the same order."""
    return list(items)[shard.index :: shard.count]


def add_shard_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--shard",
        type=parse_shard,
        default=None,
        metavar="i/n",
        help="do the i-th of n parts of the work, i from 0 (default: the task of a SLURM array, else everything)",
    )
