"""Whether the data is there, can be decoded, and fits the checkpoint."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from tqdm import tqdm

from videosoft.data import KineticsDataset, describe_coverage
from videosoft.data.coverage import find_empty_classes
from videosoft.training.doctor.findings import Finding

# Below this share of the listed videos a result is hard to compare with anybody else's.
_GOOD_COVERAGE = 0.95
_FAILURES_SHOWN = 3


@dataclass(frozen=True)
class DecodeRate:
    """Clips a second that one process prepares, how many of the videos tried could be used, and why others not."""

    clips_per_second: float
    num_tried: int
    num_usable: int
    failures: tuple[str, ...] = ()


def check_coverage(role: str, dataset: KineticsDataset) -> Iterator[Finding]:
    """How many of the listed videos have a file, and whether every class has one."""
    coverage = dataset.coverage()
    share = coverage.num_usable / coverage.num_listed
    yield Finding(
        "ok" if share >= _GOOD_COVERAGE else "warn",
        f"{role} videos",
        f"{describe_coverage(coverage)}, {share:.1%}, of {len(dataset.class_names)} classes",
    )
    for listed, taken in dataset.renamed.items():
        yield Finding("note", f"{role} classes", f"{listed!r} in the list is taken for {taken!r}")
    if without := find_empty_classes(dataset.records.table, dataset.class_names):
        yield Finding(
            "warn",
            f"{role} classes",
            f"{len(without)} of {len(dataset.class_names)} classes have no video: {', '.join(without[:5])}"
            + (", ..." if len(without) > 5 else ""),
        )


def measure_decode_rate(dataset: KineticsDataset, num_videos: int) -> DecodeRate:
    """Load ``num_videos`` videos, evenly spread over the list, in this process."""
    num_tried = min(num_videos, len(dataset))
    indices = [index * len(dataset) // num_tried for index in range(num_tried)]
    failures = []
    started = time.perf_counter()
    for index in tqdm(indices, desc="decoding", unit="video", leave=False):
        sample = dataset[index]
        if sample["status"] != "ok":
            failures.append(f"{sample['path']}: {sample['reason']}")
    num_usable = num_tried - len(failures)
    return DecodeRate(num_usable / (time.perf_counter() - started), num_tried, num_usable, tuple(failures))


def judge_decoding(rate: DecodeRate) -> Finding:
    """Whether the videos tried could be used."""
    broken = rate.num_tried - rate.num_usable
    shown = "".join(f"; {failure}" for failure in rate.failures[:_FAILURES_SHOWN])
    if not rate.num_usable:
        return Finding("FAIL", "decoding", f"none of {rate.num_tried} training videos could be used{shown}")
    return Finding(
        "warn" if broken else "ok",
        "decoding",
        f"{rate.clips_per_second:.1f} clips/s in one process; "
        f"{rate.num_usable} of {rate.num_tried} videos could be used{shown}",
    )
