"""The data benchmark runs, counts what it says, and its page shows what was measured."""

import json
import sys
from pathlib import Path

import bench_data
import matplotlib.image
import pytest
import render_data
from PIL import Image
from result_pages import hash_file, read_record

from videosoft.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_quick_run_measures_every_contender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "data.json"
    monkeypatch.setattr(sys, "argv", ["bench_data.py", "--quick", "--workers", "0", "--output", str(output)])
    bench_data.main()
    record = json.loads(output.read_text())
    assert record["quick"]
    found = {(row["data"], row["task"], row["contender"]) for row in record["rows"]}
    assert found == {(f"gop{size}", *key) for size in bench_data.GROUP_SIZES for key in render_data.TITLES}
    assert all(row["median_per_second"] > 0 and row["num_videos"] == 4 for row in record["rows"])
    with pytest.raises(InputError, match="--quick"):
        read_record(output, render_data.SCRIPT, render_data.FORMAT_VERSION)
    with pytest.raises(InputError, match="exists already"):
        bench_data.main()


def test_document_and_chart_show_the_committed_measurements() -> None:
    record = read_record(render_data.RESULTS, render_data.SCRIPT, render_data.FORMAT_VERSION)
    hint = "run `python benchmarks/render_data.py`"
    assert (ROOT / render_data.DOCUMENT).read_text(encoding="utf-8") == render_data.render_document(record), hint
    with Image.open(ROOT / render_data.CHART) as chart:
        assert chart.info["Source"] == hash_file(render_data.RESULTS), hint
    assert matplotlib.image.imread(ROOT / render_data.CHART).std() > 0
