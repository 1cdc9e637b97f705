"""The augmentation benchmark runs and measures every setting, and the docs quote what was measured."""

import json
import re
import sys
from pathlib import Path

import bench_augmentation
import pytest

from videosoft.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_run_measures_every_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "augmentation.json"
    command = ["bench_augmentation.py", "--batch", "2", "--rounds", "1", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", command)
    bench_augmentation.main()
    rows = json.loads(output.read_text())["rows"]
    assert [row["task"] for row in rows] == ["decoding", "cutting and resizing", *bench_augmentation.SETTINGS]
    assert all(row["median_milliseconds"] > 0 for row in rows)
    with pytest.raises(InputError, match="exists already"):
        bench_augmentation.main()


def test_the_docs_quote_the_committed_measurements() -> None:
    record = json.loads((ROOT / "benchmarks" / "results" / "augmentation_cpu.json").read_text())
    measured = {row["task"]: row["median_milliseconds"] for row in record["rows"]}
    quoted = dict(re.findall(r"^\| ([^|]+) \| ([\d.]+) ms \|$", (ROOT / "docs" / "data.md").read_text(), re.MULTILINE))
    assert quoted == {task: f"{milliseconds:.1f}" for task, milliseconds in measured.items()}
