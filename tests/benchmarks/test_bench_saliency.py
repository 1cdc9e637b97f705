"""The benchmark of saliency methods: each is timed beside its peers, and maps that differ are not timed."""

import json
import sys
from pathlib import Path

import bench_saliency
import pytest
import torch

from videosoft.errors import InputError


def run(monkeypatch: pytest.MonkeyPatch, output: Path) -> None:
    arguments = ["--quick", "--rounds", "1", "--width", "0.0625", "--num_frames", "8", "--crop", "32"]
    arguments += ["--layers", "layer4", "layer3", "--threads", str(torch.get_num_threads()), "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["bench_saliency.py", *arguments])
    bench_saliency.main()


def test_each_method_is_timed_beside_its_peers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(monkeypatch, tmp_path / "saliency.json")
    record = json.loads((tmp_path / "saliency.json").read_text())
    tools = {(row["method"], row["layer"]): set() for row in record["rows"]}
    for row in record["rows"]:
        tools[row["method"], row["layer"]].add(row["tool"])
        assert row["error"] is None
        assert row["clips_per_second"] == pytest.approx(2e3 / row["median_ms"], rel=0.02)
    layered = {("grad_cam", layer): {"ours", "torch-cam", "captum"} for layer in ("layer4", "layer3")} | {
        ("grad_cam_plus_plus", layer): {"ours", "torch-cam"} for layer in ("layer4", "layer3")
    }
    layered |= {("hires_cam", layer): {"ours", "captum"} for layer in ("layer4", "layer3")}
    others = {(name, "input"): {"ours", "captum"} for name in ("integrated_gradients", "occlusion")}
    assert tools == layered | others | {("cam", "layer4"): {"ours", "torch-cam"}}
    assert len(record["ratios"]) == sum(len(names) - 1 for names in tools.values())
    assert record["versions"]["captum"]
    with pytest.raises(InputError, match="--force"):
        run(monkeypatch, tmp_path / "saliency.json")


def test_maps_that_differ_are_not_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_saliency, "GradCAM", bench_saliency.GradCAMpp)
    with pytest.raises(InputError, match="grad_cam of torch-cam differs from ours"):
        run(monkeypatch, tmp_path / "saliency.json")
    assert not (tmp_path / "saliency.json").exists()
