"""tools/draw_saliency_figure.py: the picture, its record, and wrong input."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videosoft.errors import run_command

ROOT = Path(__file__).resolve().parents[2]
ASSETS = ROOT / "tests" / "assets"


def run_tool(*arguments: object) -> int:
    spec = importlib.util.spec_from_file_location("draw_saliency_figure", ROOT / "tools" / "draw_saliency_figure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return run_command(lambda: module.main([str(argument) for argument in arguments]))


@pytest.mark.real_data
def test_the_archery_clips_are_drawn(shared_dir: Path, tmp_path: Path) -> None:
    arguments = ["--softpool", ASSETS / "r3d50_softpool_ucf101_mini.ckpt"]
    arguments += ["--original", ASSETS / "r3d50_maxpool_ucf101_mini.ckpt"]
    arguments += ["--videos", shared_dir / "data/ucf101_mini/val/Archery", "--output", tmp_path / "figure.png"]
    assert run_tool(*arguments) == 0
    record = json.loads((tmp_path / "figure.json").read_text())
    assert record["settings"] == {"mode": "published", "theta": 0.55, "layers": ["layer4"] * 2, "target": "label"}
    assert [checkpoint["row"] for checkpoint in record["checkpoints"]] == ["original", "SoftPool"]
    assert [video["target"] for video in record["videos"]] == ["Archery", "Archery"]
    assert str(shared_dir) not in json.dumps(record)
    with Image.open(tmp_path / "figure.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    red = (pixels[..., 0] - pixels[..., 2]) > 60
    for half in np.array_split(red, 2):  # each clip has its map
        assert half.sum() > 1000
    assert run_tool(*arguments) == 2  # nothing is overwritten unasked
    assert run_tool(*arguments, "--overwrite", "--max_videos", 1) == 0


def test_a_count_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--softpool", ASSETS / "r3d50_softpool_demo.ckpt", "--videos", tmp_path, "--max_videos", 0]
    with pytest.raises(SystemExit):
        run_tool(*arguments, "--output", tmp_path / "figure.png")
    assert "--max_videos: must be a whole number of at least 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--output": "figure.pdf"}, "must be a .png file"),
        ({"--output": "nowhere/figure.png"}, "in a folder that exists"),
        ({"--theta": "2"}, "theta must lie in 0..1"),
        ({"--layer": "layr4"}, "nearest: layer4"),
        ({}, "no video could be explained"),
    ],
)
def test_wrong_input_ends_in_one_message(
    tmp_path: Path, changes: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "growing").mkdir()
    (tmp_path / "growing" / "torn \udcff\x1b[31m.mp4").write_text("torn")
    options = {
        "--softpool": str(ASSETS / "r3d50_softpool_demo.ckpt"),
        "--videos": str(tmp_path / "growing"),
        "--output": "figure.png",
        **changes,
    }
    options["--output"] = str(tmp_path / options["--output"])
    assert run_tool(*(part for option in options.items() for part in option)) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "\x1b" not in printed.out
    assert not (tmp_path / "figure.png").exists()
