"""tools/render_saliency_page.py on an export of the export tool, and every way to give it wrong input."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from saliency_assets import CLASSES, write_checkpoint, write_video

from videosoft.errors import InputError, run_command
from videosoft.evaluation import write_predictions
from videosoft.explain.rendering import read_frame_grid

ROOT = Path(__file__).resolve().parents[2]


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_tool(name: str, *arguments: object) -> int:
    return run_command(lambda: load_tool(name).main([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of two checkpoints over a video of a class, one of no class, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("page")
    checkpoints = [write_checkpoint(folder / f"{name}.ckpt", seed=seed) for seed, name in enumerate("ab")]
    write_video(folder / "videos" / "Archery" / "known.mp4")
    write_video(folder / "videos" / "holidays" / "unknown.mp4")
    (folder / "videos" / "Archery" / "empty.mp4").touch()
    for outputs, name in ((("npz", "frames"), "export"), (("npz",), "without_frames")):
        assert not run_tool(
            *("export_saliency", "--ckpt_path", checkpoints[0], "--compare", checkpoints[1]),
            *("--videos", folder / "videos", "--output", folder / name, "--outputs", *outputs),
        )
    return folder


def write_table(path: Path, predicted: dict[str, str]) -> Path:
    """Predictions of ten videos of Archery that A gets right or not, by name; "known" and "unknown" among them."""
    rows: list[dict[str, Any]] = []
    for video_id, name in predicted.items():
        scores = np.full(len(CLASSES), 0.1)
        scores[CLASSES.index(name)] = 0.8
        rows.append(
            {
                **{"video_id": video_id, "group_id": video_id, "path": f"{video_id}.mp4", "status": "ok"},
                **{"label_name": CLASSES[0], "label": 0, "prediction": CLASSES.index(name), "num_views": 1},
                **{"probabilities": scores, "logits": np.log(scores)},
            }
        )
    write_predictions(path, rows, class_names=CLASSES, checkpoint_hash="", protocol="1x1")
    return path


def read_content(page: Path) -> dict[str, Any]:
    match = re.search(r'<script type="application/json" id="content">(.*?)</script>', page.read_text(encoding="utf-8"))
    assert match is not None
    return json.loads(match.group(1))


def test_page_of_an_export(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = folder / "export" / "page.html"
    assert run_tool("render_saliency_page", folder / "export") == 0
    content = read_content(page)
    # A folder that is no class of the checkpoint is no label.
    assert {clip["video_id"]: clip["label"] for clip in content["clips"]} == {"known": "Archery", "unknown": None}
    assert [model["lines"][0] for model in content["models"]] == [str(folder / f"{name}.ckpt") for name in "ab"]
    assert "not shown: 1 unreadable" in page.read_text(encoding="utf-8")
    assert content["clips"][0]["fps"] == 12.5  # 25 a second, every second one
    capsys.readouterr()
    assert run_tool("render_saliency_page", folder / "export") == 2
    assert "exists already" in capsys.readouterr().err
    assert run_tool("render_saliency_page", folder / "export", "--overwrite", "--max_clips", 1) == 0
    assert len(read_content(page)["clips"]) == 1


def test_a_class_may_be_spelled_otherwise(folder: Path, tmp_path: Path) -> None:
    """The same network twice, of which one calls its classes otherwise: both are right about the same videos."""
    respelled = ("(Archery)", "Basketball_Dunk", "Billiard's")
    names = ("Archery", "Basketball Dunk", "Billiards")
    other = write_checkpoint(tmp_path / "respelled.ckpt", class_names=respelled)
    for name in respelled:
        write_video(tmp_path / "videos" / name / "clip.mp4")
    for a, b in ((folder / "a.ckpt", other), (other, folder / "a.ckpt")):
        arguments = ("--compare", b, "--videos", tmp_path / "videos", "--outputs", "npz", "frames", "--target", "label")
        output = tmp_path / a.stem
        assert not run_tool("export_saliency", "--ckpt_path", a, *arguments, "--output", output)
        assert run_tool("render_saliency_page", output) == 0
        clips = read_content(output / "page.html")["clips"]
        assert {clip["label"] for clip in clips} == set(names if b == other else respelled)
        assert sorted(clip["outcome"] for clip in clips) == ["both_right", "both_wrong", "both_wrong"]
        assert all(clip["predictions"][0] == clip["predictions"][1] for clip in clips)


def test_predictions_give_labels_and_figures(folder: Path, tmp_path: Path) -> None:
    ids = ["known", "unknown", *(f"other_{number}" for number in range(8))]
    a = write_table(tmp_path / "a.parquet", dict.fromkeys(ids, CLASSES[0]))
    b = write_table(tmp_path / "b.parquet", {name: CLASSES[i % 2] for i, name in enumerate(ids)})
    page = tmp_path / "page.html"
    assert run_tool("render_saliency_page", folder / "export", "--output", page, "--predictions", a, b) == 0
    content = read_content(page)
    assert [clip["label"] for clip in content["clips"]] == ["Archery"] * 2
    whole, shown = content["statistics"]
    assert whole["counts"] == {"both_right": 5, "only_a": 5, "only_b": 0, "both_wrong": 0, "unlabelled": 0}
    assert whole["accuracies"] == [1.0, 0.5]
    assert whole["p_value"] == pytest.approx(2 / 2**5)
    assert shown["num_labelled"] == 2


def test_wrong_input(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_table(tmp_path / "a.parquet", {"known": CLASSES[0]})
    for arguments, message in [
        ([tmp_path], "holds no export"),
        ([folder / "without_frames"], "exported without frames.*--outputs npz frames"),
        ([folder / "export", "--output", tmp_path / "p.html", "--predictions", table], "give as many --predictions"),
        ([folder / "export", "--output", tmp_path / "p.html", "--predictions", table, "none"], "does not exist"),
        ([folder / "export", "--output", table / "p.html"], "cannot be used"),
    ]:
        assert run_tool("render_saliency_page", *arguments) == 2
        assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "p.html").exists()


def test_frames_of_another_size_are_refused(folder: Path, tmp_path: Path) -> None:
    grid = folder / "export" / "known_frames.jpg"
    assert read_frame_grid(grid, (8, 32, 32)).shape == (8, 32, 32, 3)
    (tmp_path / "text.jpg").write_text("no picture")
    for path, size, message in [
        (grid, (8, 33, 32), "not 8 frames of 32 x 33"),
        (tmp_path / "text.jpg", (8, 32, 32), "not a readable JPEG"),
        (tmp_path / "none.jpg", (8, 32, 32), "not a readable JPEG"),
    ]:
        with pytest.raises(InputError, match=message):
            read_frame_grid(path, size)
