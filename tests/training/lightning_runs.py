"""Running the command line in this process, on small videos."""

import sys
from pathlib import Path

import av
import numpy as np
import pytest

from videosoft.cli import main

NUM_GOOD = 4  # videos a class and split
LABELS = ("brighter", "darker")


def write_video(path: Path, num_frames: int, *, rising: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        # x264's mb-tree reads beyond frames that small: one file in a hundred would differ.
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "mbtree=0"})
        stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
        for index in range(num_frames):
            value = 10 * index if rising else 10 * (num_frames - index)
            image = np.full((40, 48, 3), value % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def run_lightning(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["lightning", *map(str, arguments)])
    try:
        return main()
    except SystemExit as stop:  # the argument parser's own errors
        return int(stop.code or 0)
