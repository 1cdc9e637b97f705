"""A small data set with good and broken videos, and a config for it."""

import csv
from pathlib import Path

import lightning  # noqa: F401 - its log keeps the stderr that it is imported with, which must not be one test's
import pytest
import yaml
from lightning_runs import LABELS, NUM_GOOD, write_video


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes; besides the good videos each split lists a truncated, an empty, a short and a missing one."""
    root = tmp_path_factory.mktemp("data")
    for split in ("train", "val"):
        rows = []
        for label in LABELS:
            for index in range(NUM_GOOD):
                name = f"{label}-{split}-{index}"
                write_video(root / split / label / f"{name}_000000_000001.mp4", 12, rising=label == "brighter")
                rows.append([label, name, 0, 1, split])
        broken = root / split / "darker"
        good = (broken / f"darker-{split}-0_000000_000001.mp4").read_bytes()
        (broken / f"truncated-{split}_000000_000001.mp4").write_bytes(good[: len(good) // 2])
        (broken / f"empty-{split}_000000_000001.mp4").write_bytes(b"")
        write_video(broken / f"short-{split}_000000_000001.mp4", 3, rising=False)
        rows += [["darker", f"{kind}-{split}", 0, 1, split] for kind in ("truncated", "empty", "short", "missing")]
        with (root / f"{split}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["label", "youtube_id", "time_start", "time_end", "split"], *rows])
    return root


@pytest.fixture(scope="session")
def config(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    content = {
        "seed_everything": 1,
        "run": {"wandb": "off"},
        "model": {
            "network": {"name": "r3d50", "pool": "soft", "width": 0.0625},
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.01, "momentum": 0.9}},
        },
        "data": {
            "root": str(root),
            "num_frames": 8,
            "short_side": 32,
            "crop": 32,
            "batch_size": 4,
            "num_workers": 0,
            "augmentation": {"horizontal_flip": False},
            "test_views": "2x3",
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "enable_progress_bar": False, "log_every_n_steps": 1},
    }
    path.write_text(yaml.safe_dump(content))
    return path
