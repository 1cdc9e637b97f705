"""The benchmark of saliency methods: each is timed beside its peers, wrong maps are not, and the page shows it."""

import json
import sys
from pathlib import Path

import bench_saliency
import pytest
import render_saliency
import torch
from result_pages import ROOT, find_results, read_record

from videosoft.errors import InputError


def run(monkeypatch: pytest.MonkeyPatch, output: Path) -> None:
    arguments = ["--quick", "--rounds", "2", "--width", "0.0625", "--num_frames", "8", "--crop", "32"]
    arguments += ["--layers", "layer4", "layer3", "--threads", str(torch.get_num_threads()), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["bench_saliency.py", *arguments])
    bench_saliency.main()


def test_each_method_is_timed_beside_its_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, tmp_path / "saliency.json")
    record = json.loads((tmp_path / "saliency.json").read_text())
    times: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in record["rows"]:
        times.setdefault((row["method"], row["layer"]), {})[row["tool"]] = row["times_ms"]
        assert row["samples"] == 2
        assert row["median_ms"] == pytest.approx(sum(row["times_ms"]) / 2, rel=1e-3, abs=1e-3)
        assert row["clips_per_second"] == pytest.approx(2e3 / row["median_ms"], rel=0.02)
    expected = {("grad_cam", layer): {"ours", "torch-cam", "captum", "forward"} for layer in ("layer4", "layer3")}
    expected |= {("grad_cam_plus_plus", layer): {"ours", "torch-cam", "forward"} for layer in ("layer4", "layer3")}
    expected |= {("hires_cam", layer): {"ours", "captum", "forward"} for layer in ("layer4", "layer3")}
    expected |= {(name, "input"): {"ours", "captum"} for name in ("integrated_gradients", "occlusion")}
    expected |= {("cam", "layer4"): {"ours", "torch-cam", "forward"}}
    assert {group: set(tools) for group, tools in times.items()} == expected
    for ratio in record["ratios"]:
        tools = times[ratio["method"], ratio["layer"]]
        rounds = [peer / ours for peer, ours in zip(tools[ratio["peer"]], tools["ours"], strict=True)]
        assert ratio["median"] == pytest.approx(sum(rounds) / 2, rel=0.01)
        assert ratio["lower_quartile"] <= ratio["median"] <= ratio["upper_quartile"]
    assert len(record["ratios"]) == sum(len(tools - {"ours", "forward"}) for tools in expected.values())
    assert record["versions"]["captum"]
    with pytest.raises(InputError, match="--force"):
        run(monkeypatch, tmp_path / "saliency.json")

    with pytest.raises(InputError, match="--quick"):
        read_record(tmp_path / "saliency.json", render_saliency.SCRIPT, render_saliency.FORMAT_VERSION)
    page = render_saliency.render_document([record])
    (row,) = (line for line in page.splitlines() if line.startswith("| `hires_cam` | layer3 |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    rate = next(r for r in record["rows"] if (r["method"], r["layer"], r["tool"]) == ("hires_cam", "layer3", "ours"))
    assert float(cells[2]) == pytest.approx(rate["clips_per_second"], rel=0.01)
    assert (cells[3], cells[6]) == ("", "")  # torch-cam does not have it
    assert float(cells[7].split()[0]) > 0


def test_maps_that_differ_are_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_saliency, "GradCAM", bench_saliency.GradCAMpp)
    with pytest.raises(InputError, match="grad_cam of torch-cam differs from ours"):
        run(monkeypatch, tmp_path / "saliency.json")
    assert not (tmp_path / "saliency.json").exists()


@pytest.mark.skipif(not find_results("saliency"), reason="nothing has been measured yet")
def test_the_page_shows_the_committed_measurements() -> None:
    records = [
        read_record(path, render_saliency.SCRIPT, render_saliency.FORMAT_VERSION) for path in find_results("saliency")
    ]
    page = (ROOT / render_saliency.DOCUMENT).read_text(encoding="utf-8")
    assert page == render_saliency.render_document(records), "run `python benchmarks/render_saliency.py`"
