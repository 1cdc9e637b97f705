"""Half precision on a CPU: what runs is what was asked for, its scaler is saved, and weights stay float32."""

import csv
import math
from pathlib import Path

import pytest
import torch
from lightning_runs import run_lightning

from videosoft.models import load_checkpoint


@pytest.mark.parametrize(("precision", "dtype"), [("16-mixed", torch.float16), ("bf16-mixed", torch.bfloat16)])
def test_half_precision_trains_and_goes_on(
    precision: str, dtype: torch.dtype, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    convolve = torch.nn.Conv3d.forward

    def look(self: torch.nn.Conv3d, x: torch.Tensor) -> torch.Tensor:
        result = convolve(self, x)
        seen.add(result.dtype)
        return result

    base = ("fit", "--config", config, "--run.output", tmp_path, "--trainer.precision", precision)
    base += ("--trainer.limit_val_batches", "0", "--trainer.max_steps")
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Conv3d, "forward", look)
        assert run_lightning(patch, *base, "2") == 0
    assert seen == {torch.float32, dtype}  # float32 where the network's size is checked, before the training
    run = tmp_path / "tiny" / "version_0"
    with (run / "metrics.csv").open() as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]
    assert losses
    assert all(map(math.isfinite, losses))
    last = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    assert ("MixedPrecision" in checkpoint) == (precision == "16-mixed")
    assert all(weight.dtype == torch.float32 for weight in load_checkpoint(last).network.parameters())
    if precision == "16-mixed":
        assert run_lightning(monkeypatch, *base, "3", "--ckpt_path", last) == 0


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_clipping_the_gradients_of_a_fused_optimizer_in_half_precision_is_refused(
    precision: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--trainer.precision", precision, "--trainer.gradient_clip_val", "1")
    fused = ("--model.optimizer.init_args.fused", "true")
    code = run_lightning(monkeypatch, "fit", "--config", config, "--run.output", tmp_path, *arguments, *fused)
    assert code == 2
    assert f"with precision {precision} needs SGD without fused: true" in capsys.readouterr().err
