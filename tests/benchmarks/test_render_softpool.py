"""What README and docs say about speed is what the committed measurements render to, and nothing else."""

import json
from pathlib import Path
from typing import Any

import matplotlib.image
import pytest
import render_softpool
from PIL import Image
from result_pages import find_results, hash_file, read_record, replace_block

from videosoft.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
PATHS = find_results("softpool")


def create_record(**changes: Any) -> dict[str, Any]:
    common = {"pooling": "3d", "shape": [2, 4, 4, 6, 6], "kernel_size": [1, 3, 3], "stride": [1, 2, 2]}
    common |= {"padding": [0, 1, 1], "layout": "contiguous", "dtype": "float32", "pass": "forward_backward"}
    times = {"median_ms": 12.34, "lower_quartile_ms": 1.0, "upper_quartile_ms": 234.5}
    empty = dict.fromkeys(times)
    record = {
        "format_version": 1,
        "command": "python benchmarks/bench_softpool.py",
        "date": "2026-01-02 03:04 UTC",
        "quick": False,
        "rounds": 15,
        "load_average": {"start": 0.1, "end": 2.0},
        "device": {"type": "cpu", "name": "Some Processor", "threads": 2},
        "versions": {"videosoft": "1", "torch": "2", "python": "3", "compiler": None, "revision": None},
        "rows": [
            {**common, "operation": "softpool", "data": "normal", "error": None, **times},
            {**common, "operation": "softpool", "data": "large", "error": None, **times, "median_ms": 0.5},
            {**common, "operation": "avg_pool", "data": "normal", "error": "SomeError: not here", **empty},
            {**common, "operation": "copy", "data": "normal", "error": None, **times, "median_ms": 6.17},
        ],
        "small": [],
    }
    return record | changes


def test_readme_and_document_show_the_committed_measurements() -> None:
    assert PATHS
    records = [read_record(path, render_softpool.SCRIPT, render_softpool.FORMAT_VERSION) for path in PATHS]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    hint = "run `python benchmarks/render_softpool.py`"
    assert readme == replace_block(
        readme, render_softpool.render_block(records), render_softpool.BEGIN, render_softpool.END, "README.md"
    ), hint
    document = (ROOT / render_softpool.DOCUMENT).read_text(encoding="utf-8")
    assert document == render_softpool.render_document(records), hint


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_the_chart_is_of_the_committed_measurements(path: Path) -> None:
    chart = ROOT / render_softpool.name_chart(read_record(path, render_softpool.SCRIPT, render_softpool.FORMAT_VERSION))
    assert Image.open(chart).info["Source"] == hash_file(path)


def test_what_was_not_measured_stays_empty() -> None:
    row = next(line for line in render_softpool.render_block([create_record()]).splitlines() if "stride 1x2x2" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["2x4x4x6x6, window 1x3x3, stride 1x2x2, padding 0x1x1", "contiguous"]
    assert cells[2:] == ["12.3", "0.50", "", "", "", "", "", "6.17"]


def test_the_document_has_quartiles_ratios_and_reasons() -> None:
    document = render_softpool.render_document([create_record()])
    row = next(line for line in document.splitlines() if "12.3" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[3:5] == ["12.3 (1.00, 234)", "0.50 (1.00, 234)"]
    assert cells[-2:] == ["", "2.00"]
    assert "- avg_pool, float32: `SomeError: not here`" in document


def test_the_chart_knows_its_source(tmp_path: Path) -> None:
    chart = tmp_path / "chart.png"
    render_softpool.draw_chart(create_record(), chart, "abc")
    assert Image.open(chart).info["Source"] == "abc"
    assert matplotlib.image.imread(chart).std() > 0.05


def test_a_quick_run_is_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "speed.json"
    path.write_text(json.dumps(create_record(quick=True)))
    with pytest.raises(InputError, match="--quick"):
        read_record(path, render_softpool.SCRIPT, render_softpool.FORMAT_VERSION)


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"format_version": 0}'])
def test_other_files_are_refused_by_name(content: str, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(InputError, match="is no result"):
        read_record(path, render_softpool.SCRIPT, render_softpool.FORMAT_VERSION)


def test_the_marks_must_be_there() -> None:
    with pytest.raises(InputError, match="softpool-speed:begin"):
        replace_block("no marks", "block", render_softpool.BEGIN, render_softpool.END, "README.md")
