"""The clips that a network gets most wrong: which they are, and what is kept of them."""

import csv
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from videosoft.training import NetworkConfig, VideoClassifier
from videosoft.training.callbacks import HardClips
from videosoft.training.callbacks.hardest_clips import HardestClips
from videosoft.training.loggers import TolerantLogger

CLASS_NAMES = ("archery", "=cmd()", "\x1b[31m<b>red</b>\u202e")


def create_samples(labels: torch.Tensor, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"video_id": f"v{i}", "path": f"/data/v{i}.mp4", "label_name": CLASS_NAMES[label]}
        for i, label in enumerate(labels.tolist(), start=first)
    ]


@pytest.mark.parametrize("num_clips", [1, 3, 7, 100])
@pytest.mark.parametrize("batch_size", [1, 4, 20])
def test_the_hardest_of_all_batches_are_kept(num_clips: int, batch_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20, 3, generator=generator)
    labels = torch.randint(3, (20,), generator=generator)
    clips = torch.randint(256, (20, 3, 5, 2, 2), generator=generator, dtype=torch.uint8)
    samples = create_samples(labels)
    hardest = HardestClips(num_clips)
    for start in range(0, 20, batch_size):
        part = slice(start, start + batch_size)
        hardest.add(logits[part], labels[part], clips[part], samples[part])

    probabilities = np.exp(logits.double().numpy())
    probabilities /= probabilities.sum(1, keepdims=True)
    of_label = probabilities[np.arange(20), labels.numpy()]
    expected = np.argsort(of_label)[:num_clips]
    found = hardest.list()
    assert [clip.video_id for clip in found] == [f"v{i}" for i in expected]
    assert [clip.loss for clip in found] == pytest.approx(list(-np.log(of_label[expected])), rel=1e-5)
    assert [clip.label_probability for clip in found] == pytest.approx(list(of_label[expected]), rel=1e-5)
    assert [clip.prediction for clip in found] == list(probabilities[expected].argmax(1))
    assert [clip.probability for clip in found] == pytest.approx(list(probabilities[expected].max(1)), rel=1e-5)
    for clip, index in zip(found, expected, strict=True):
        assert np.array_equal(clip.still, clips[index, :, 2].permute(1, 2, 0).numpy())


def test_a_loss_that_is_not_a_number_is_the_hardest() -> None:
    logits = torch.tensor([[9.0, 0.0, 0.0], [math.nan, 0.0, 0.0], [0.0, 9.0, 0.0]])
    labels = torch.zeros(3, dtype=torch.int64)
    hardest = HardestClips(2)
    hardest.add(logits, labels, torch.zeros(3, 3, 1, 2, 2, dtype=torch.uint8), create_samples(labels))
    assert [clip.video_id for clip in hardest.list()] == ["v1", "v2"]


class PictureLogger(TolerantLogger):
    """Remembers what it is shown."""

    name, version = "pictures", 0

    def __init__(self) -> None:
        self.shown: list[tuple[str, list[Any], list[str], np.ndarray, int]] = []

    def log_picture(self, key: str, picture: np.ndarray, step: int) -> None: ...

    def log_stills(self, key: str, stills: Any, captions: Any, sheet: np.ndarray, step: int) -> None:
        self.shown.append((key, list(stills), list(captions), sheet, step))


def create_trainer(folder: Path, logger: TolerantLogger) -> Any:
    return SimpleNamespace(
        sanity_checking=False, world_size=1, global_step=8, current_epoch=2, log_dir=str(folder), loggers=[logger]
    )


def create_classifier() -> VideoClassifier:
    classifier = VideoClassifier(NetworkConfig())
    classifier.class_names = CLASS_NAMES
    return classifier


def run_validation(trainer: Any, callback: HardClips, classifier: VideoClassifier) -> None:
    labels = torch.tensor([0, 1, 2, 2])
    logits = torch.tensor([[4.0, 0.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 1.0], [0.0, 5.0, 0.0]])
    clips = torch.arange(4 * 3 * 3 * 16 * 16).remainder(251).to(torch.uint8).view(4, 1, 3, 3, 16, 16)
    batch: Any = {"label": labels, "video": clips, "samples": create_samples(labels), "failures": []}
    callback.on_validation_epoch_start(trainer, classifier)
    callback.on_validation_batch_end(trainer, classifier, None, batch, 0)  # without a usable video
    callback.on_validation_batch_end(trainer, classifier, logits, batch, 0)
    callback.on_validation_epoch_end(trainer, classifier)


def test_files_and_loggers_have_them_without_formulas_and_escape_codes(tmp_path: Path) -> None:
    logger, classifier, callback = PictureLogger(), create_classifier(), HardClips(3)
    trainer = create_trainer(tmp_path, logger)
    run_validation(trainer, callback, classifier)
    run_validation(trainer, callback, classifier)  # the second takes the first one's place
    with (tmp_path / "validation" / "hard_clips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["video_id"] for row in rows] == ["v3", "v1", "v2"]
    escaped = "\\x1b[31m<b>red</b>\\u202e"
    assert [row["label_name"] for row in rows] == [escaped, "'=cmd()", escaped]
    assert rows[0]["prediction_name"] == "'=cmd()"
    assert float(rows[0]["loss"]) == pytest.approx(math.log(2 + math.exp(5)), rel=1e-4)
    assert rows[0]["path"] == "/data/v3.mp4"
    assert Image.open(tmp_path / "validation" / "hard_clips.png").size[0] > 800
    (_, (key, stills, captions, sheet, step)) = logger.shown
    assert (key, step, len(stills), len(captions)) == ("val/hard_clips", 7, 3, 3)
    assert stills[0].shape == (16, 16, 3)
    assert sheet.dtype == np.uint8
    assert captions[0] == f"v3: {escaped} (0.01), taken for =cmd() (0.99), loss 5.01"


def test_a_folder_that_cannot_be_written_costs_a_warning(tmp_path: Path) -> None:
    (tmp_path / "validation").touch()
    logger = PictureLogger()
    run_validation(create_trainer(tmp_path, logger), HardClips(2), create_classifier())
    assert len(logger.shown) == 1


def test_a_sanity_check_leaves_nothing(tmp_path: Path) -> None:
    logger = PictureLogger()
    trainer = create_trainer(tmp_path, logger)
    trainer.sanity_checking = True
    run_validation(trainer, HardClips(2), create_classifier())
    assert not logger.shown
    assert not list(tmp_path.iterdir())
