"""Kill a training in the middle of an epoch, resume it, and see it go on exactly: the same videos, the same draws."""

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import yaml

NUM_VIDEOS, NUM_EPOCHS = 17, 3
KILLED_AT, CHECKPOINT_EVERY = 6, 2  # of 12 steps; 4 an epoch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    rows = [["label", "youtube_id", "time_start", "time_end", "split"]]
    for index in range(NUM_VIDEOS):
        label = ("odd", "even")[index % 2]
        path = root / "train" / label / f"video{index}_000000_000001.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv420p"
            for _ in range(12):
                image = generator.integers(0, 256, (40, 48, 3), dtype=np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        rows.append([label, f"video{index}", "0", "1", "train"])
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def fit(root: Path, folder: Path, *, num_processes: int, num_workers: int, arguments: list[str], kill: bool) -> int:
    """Run `lightning fit` with the recorder; the folder gets the records and the run."""
    folder.mkdir(exist_ok=True)
    callbacks: list[dict[str, object]] = [
        {"class_path": "resume_probe.StepRecorder", "init_args": {"folder": str(folder)}}
    ]
    if kill:
        callbacks.append({"class_path": "resume_probe.KillAtStep", "init_args": {"step": KILLED_AT}})
    config = {
        "seed_everything": 4,
        "run": {"wandb": "off", "checkpoint_every": CHECKPOINT_EVERY},
        "model": {"network": {"name": "r3d50", "pool": "soft", "width": 0.0625}},
        "data": {
            "root": str(root),
            "val_split": "train",
            "num_frames": 4,
            "short_side": 32,
            "crop": 32,
            "batch_size": 4 // num_processes,
            "num_workers": num_workers,
        },
        "trainer": {
            "max_epochs": NUM_EPOCHS,
            "accelerator": "cpu",
            "devices": num_processes,
            "strategy": "ddp" if num_processes > 1 else "auto",
            "enable_progress_bar": False,
            "limit_val_batches": 1,
            "num_sanity_val_steps": 0,
            "callbacks": callbacks,
        },
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "videosoft", "fit", "--config", str(path), "--run.output", str(folder / "runs")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    process = subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        env=environment,
        start_new_session=True,
        stdout=(folder / "log.txt").open("ab"),
        stderr=subprocess.STDOUT,
    )
    code = process.wait(timeout=300)
    if kill:  # what the killed process left behind: its fellow of a distributed run, its workers
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return code


def read_steps(folder: Path, rank: int) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / f"rank{rank}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", params=[1, 2])
def whole(request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path]:
    """The number of processes, and the records of a training of that many that nobody killed."""
    folder = tmp_path_factory.mktemp("whole")
    code = fit(root, folder, num_processes=request.param, num_workers=0, arguments=[], kill=False)
    assert code == 0, (folder / "log.txt").read_text()
    return request.param, folder


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_killed_epoch_goes_on_exactly(root: Path, tmp_path: Path, whole: tuple[int, Path], num_workers: int) -> None:
    num_processes, whole_folder = whole
    how = {"num_processes": num_processes, "num_workers": num_workers}
    cut = tmp_path / "cut"
    assert fit(root, cut, **how, arguments=[], kill=True) == -signal.SIGKILL
    last = cut / "runs" / "config" / "version_0" / "checkpoints" / "last.ckpt"
    resumed = tmp_path / "resumed"
    code = fit(root, resumed, **how, arguments=["--ckpt_path", str(last)], kill=False)
    assert code == 0, (resumed / "log.txt").read_text()
    for rank in range(num_processes):
        expected = read_steps(whole_folder, rank)
        assert len(expected) == NUM_EPOCHS * 4
        assert len({step["pixels"] for step in expected}) == len(expected)
        assert read_steps(cut, rank)[: KILLED_AT - 1] == expected[: KILLED_AT - 1]
        assert read_steps(resumed, rank) == expected[KILLED_AT:]
