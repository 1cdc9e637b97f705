"""The comparison of precisions runs, computes in what it says, and writes its page."""

import json
from pathlib import Path

import compare_precision
import pytest
import torch


@pytest.mark.slow
def test_a_short_comparison_has_three_precisions_and_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = compare_precision.measure(torch.device("cpu"), 2)
    first = {name: run["losses"][0] for name, run in record["runs"].items()}
    assert first["bfloat16"] == pytest.approx(first["float32"], rel=0.02)
    assert first["float16"] == pytest.approx(first["float32"], rel=0.005)
    for name, run in record["runs"].items():
        assert run["softpool_dtype"] == name
        assert run["softpool_all_finite"]
        assert run["weights_all_finite"]
    assert record["runs"]["float16"]["scales"][0] == 65536
    monkeypatch.setattr(compare_precision, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    compare_precision.render(record)
    assert "| float16 |" in (tmp_path / compare_precision.DOCUMENT).read_text(encoding="utf-8")
    assert (tmp_path / compare_precision.CHART).stat().st_size > 0


def test_the_square_moves_as_its_label_says() -> None:
    clips, labels = compare_precision.make_batch(0)
    for clip, label in zip(clips, labels.tolist(), strict=True):
        shift = ((0, -2), (0, 2), (-2, 0), (2, 0))[label]
        first, second = (clip[:, index].mean(0) > 2 for index in (0, 1))
        moved = torch.roll(first, shift, dims=(0, 1))
        assert (moved & second).sum() > 0.7 * first.sum()


def test_the_page_shows_the_committed_measurements() -> None:
    record = json.loads((compare_precision.ROOT / "benchmarks" / "results" / "precision_cpu.json").read_text())
    document = (compare_precision.ROOT / compare_precision.DOCUMENT).read_text(encoding="utf-8")
    assert document == compare_precision.format_document(record), (
        "run `python benchmarks/compare_precision.py --render`"
    )
