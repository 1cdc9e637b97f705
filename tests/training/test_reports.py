"""Callbacks that measure a training: rates, gradients."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from videosoft.training.callbacks import ClipRate, GradientNorm, clip_rate
from videosoft.training.log_steps import is_logged


@pytest.mark.parametrize(
    ("interval", "num_steps", "expected"), [(1, 1, True), (2, 1, False), (2, 4, True), (0, 0, False), (0, 5, False)]
)
def test_logged_steps(interval: int, num_steps: int, expected: bool) -> None:
    trainer: Any = SimpleNamespace(log_every_n_steps=interval)
    assert is_logged(trainer, num_steps) == expected


@pytest.mark.parametrize(("num_videos", "shape"), [(4, (4, 3, 2, 1, 1)), (2, (2, 2, 3, 2, 1, 1))])
def test_clip_rate_counts_all_processes_and_no_validation(
    num_videos: int, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of four clips: of as many videos, or two of each video."""
    batch: Any = {"video": torch.empty(shape, dtype=torch.uint8), "label": torch.zeros(num_videos)}
    now = 100.0
    monkeypatch.setattr(clip_rate.time, "perf_counter", lambda: now)
    logged: list[dict[str, float]] = []
    module: Any = SimpleNamespace(log_dict=lambda rates, **kwargs: logged.append(rates))
    trainer: Any = SimpleNamespace(
        world_size=2,
        log_every_n_steps=2,
        global_step=0,
        sanity_checking=False,
        train_dataloader=None,
        state=SimpleNamespace(fn="fit"),
    )
    monkeypatch.setattr(clip_rate, "_Stretch", lambda waited: StretchAt(waited, now))
    rate = ClipRate()
    rate.on_train_epoch_start(trainer, module)
    for step, (seconds, validation) in enumerate([(1, 0), (1, 7), (3, 0), (1, 0)], start=1):
        now += seconds
        trainer.global_step = step
        rate.on_train_batch_end(trainer, module, None, batch, step)
        rate.on_validation_start(trainer, module)
        now += validation
        rate.on_validation_end(trainer, module)
    assert logged == [{"clips_per_second": 16 / 2}, {"clips_per_second": 16 / 4}]
    assert rate.measure_epoch(trainer) == {"clips_per_second": 32 / 6}


class StretchAt(SimpleNamespace):
    def __init__(self, waited: float, started: float) -> None:
        super().__init__(seconds_waited_before=waited, started=started, num_clips=0)


class Line(L.LightningModule):
    """Loss w x, the gradient of which is x."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1, bias=False)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.layer(batch).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize(("interval", "expected"), [(1, {1: 3.0, 2: 6.0, 3: 9.0, 4: 12.0}), (2, {2: 6.0, 4: 12.0})])
def test_gradient_norm_is_that_before_clipping(interval: int, expected: dict[int, float], tmp_path: Path) -> None:
    logged: dict[int, float] = {}

    class Collector(L.pytorch.loggers.CSVLogger):
        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            if "train/gradient_norm" in metrics:
                logged[int(step or 0) + 1] = metrics["train/gradient_norm"]

    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=Collector(tmp_path),
        callbacks=[GradientNorm()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=interval,
        gradient_clip_val=0.5,
    )
    batches = torch.outer(torch.arange(1.0, 5.0), torch.tensor([1.0, 2.0, 2.0]))
    trainer.fit(Line(), DataLoader(batches, batch_size=1))  # type: ignore[arg-type]
    assert logged == pytest.approx(expected)
