"""Ten thousand clips leave the memory of the process that reads them as it was."""

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from videosoft.data import KineticsDataset, Preprocessing


def find_resident_bytes() -> int:
    """Of this process and those that decode for it."""
    process = psutil.Process()
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


@pytest.mark.slow
def test_ten_thousand_clips_leave_memory_flat(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    for name in ("a", "b", "c"):
        write_video(tmp_path / "train" / "jump" / f"{name}.mp4", num_frames=12)
    preprocessing = Preprocessing(num_frames=4, sampling_stride=1, short_side=32, crop=32)
    dataset = KineticsDataset(tmp_path, "train", preprocessing=preprocessing, training=True)
    sizes = []
    for clip in range(10_000):
        assert dataset[clip % len(dataset)]["status"] == "ok"
        if clip % 1000 == 999:
            sizes.append(find_resident_bytes())
    assert max(sizes[1:]) <= 1.05 * sizes[0]
