"""The benchmark of SoftPool after ReLU: all that it compares is there, and wrong numbers are not timed."""

import json
import sys
from pathlib import Path

import bench_fused
import pytest
import torch
from softpool_peers import Pooling

from videosoft.errors import InputError

POOLINGS = (
    Pooling("3d_1x3x3", (32, 64, 16, 12, 12), (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    Pooling("3d_2", (32, 64, 16, 8, 8), (2, 2, 2), (2, 2, 2), (0, 0, 0)),
)


def run(monkeypatch: pytest.MonkeyPatch, output: Path) -> None:
    monkeypatch.setattr(bench_fused, "POOLINGS", POOLINGS)
    monkeypatch.setattr(sys, "argv", ["bench_fused.py", "--device", "cpu", "--quick", "--output", str(output)])
    bench_fused.main()


def test_a_run_compares_everything_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "new" / "fused.json"
    run(monkeypatch, output)
    record = json.loads(output.read_text())
    assert record["device"]["type"] == "cpu"
    assert record["versions"]["torch"] == torch.__version__
    assert record["left_out"] == 0
    # Two layouts and dtypes; ReLU in two passes, batch norm in evaluation and in training in one each.
    assert len(record["ratios"]) == 2 * 2 * 2 * 4
    assert len(record["rows"]) == 2 * len(record["ratios"])
    assert all(row["median_ms"] > 0 and row["error"] is None for row in record["rows"])
    medians = {row["operation"]: row["median_ms"] for row in record["rows"][:2]}
    expected = medians["separate"] / medians["fused"]
    assert record["ratios"][0]["name"] == "3d_1x3x3 contiguous float32 relu forward"
    assert record["ratios"][0]["separate_over_fused"] == pytest.approx(expected, rel=1e-3)


def test_results_are_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "fused.json"
    output.write_text("kept")
    with pytest.raises(InputError, match="--force"):
        run(monkeypatch, output)
    assert output.read_text() == "kept"


def test_wrong_numbers_are_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_fused, "softpool_relu3d", bench_fused.softpool3d)
    output = tmp_path / "fused.json"
    with pytest.raises(InputError, match="the fused form is wrong"):
        run(monkeypatch, output)
    assert not output.exists()
