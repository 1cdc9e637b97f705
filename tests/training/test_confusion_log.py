"""What a validation took for what, counted and kept."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix

from videosoft.training import NetworkConfig, VideoClassifier
from videosoft.training.callbacks import ConfusionLog
from videosoft.training.loggers import TolerantLogger


class PictureLogger(TolerantLogger):
    """Remembers what it is shown."""

    name, version = "pictures", 0

    def __init__(self) -> None:
        self.shown: list[tuple[str, np.ndarray, int]] = []

    def log_picture(self, key: str, picture: np.ndarray, step: int) -> None:
        self.shown.append((key, picture, step))

    def log_stills(self, *args: object) -> None: ...


def run_validation(trainer: Any, logits: torch.Tensor, labels: torch.Tensor) -> None:
    classifier = VideoClassifier(NetworkConfig())
    classifier.class_names = tuple(f"class {i}" for i in range(logits.shape[1]))
    callback = ConfusionLog()
    callback.on_validation_epoch_start(trainer, classifier)
    callback.on_validation_batch_end(trainer, classifier, None, {}, 0)  # type: ignore[typeddict-item]
    for number, (some_logits, some_labels) in enumerate(zip(logits.split(7), labels.split(7), strict=True)):
        batch: Any = {"label": some_labels}
        callback.on_validation_batch_end(trainer, classifier, some_logits, batch, number)
    callback.on_validation_epoch_end(trainer, classifier)


def create_trainer(folder: Path, logger: TolerantLogger, **changes: Any) -> Any:
    values = {
        "sanity_checking": False,
        "is_global_zero": True,
        "global_step": 8,
        "current_epoch": 2,
        "log_dir": str(folder),
        "loggers": [logger],
        "strategy": SimpleNamespace(reduce=lambda counts, reduce_op: counts),
    }
    return SimpleNamespace(**{**values, **changes})


def create_outputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 4, generator=generator), torch.randint(4, (40,), generator=generator)


def test_counts_are_those_of_scikit_learn(tmp_path: Path) -> None:
    logger = PictureLogger()
    logits, labels = create_outputs()
    run_validation(create_trainer(tmp_path, logger), logits, labels)
    with (tmp_path / "validation" / "confusion_matrix.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    expected = confusion_matrix(labels.numpy(), logits.numpy().argmax(1))
    assert [[int(count) for count in row[1:]] for row in rows] == expected.tolist()
    ((key, picture, step),) = logger.shown
    assert (key, step) == ("val/confusion_matrix", 7)
    written = Image.open(tmp_path / "validation" / "confusion_matrix.png").convert("RGB")
    assert np.array_equal(picture, np.asarray(written))


@pytest.mark.parametrize("changes", [{"sanity_checking": True}, {"is_global_zero": False}])
def test_nothing_is_left(changes: dict[str, bool], tmp_path: Path) -> None:
    logger = PictureLogger()
    run_validation(create_trainer(tmp_path, logger, **changes), *create_outputs())
    assert not logger.shown
    assert not list(tmp_path.iterdir())


def test_without_a_usable_video_nothing_is_drawn(tmp_path: Path) -> None:
    run_validation(create_trainer(tmp_path, PictureLogger()), torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert not list(tmp_path.iterdir())
