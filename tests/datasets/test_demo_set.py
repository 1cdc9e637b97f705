"""The demo set on disk, as a user of the command sees it: layout, boxes, same pixels for the same seed, refusals."""

import csv
import hashlib
import json
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import decord
import numpy as np
import pyarrow.parquet as pq
import pytest
import scenes
from rendering import render_scene

from videosoft.data import read_annotations

COUNTS = {"train": 24, "val": 17}
RunPrepare = Callable[..., "subprocess.CompletedProcess[str]"]


def decode(path: Path) -> np.ndarray:
    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(range(len(reader))).asnumpy()


def hash_videos(root: Path) -> dict[str, str]:
    """Digest of all decoded pixels by path within the set."""
    videos = sorted(root.rglob("*.mp4"))
    return {str(path.relative_to(root)): hashlib.sha256(decode(path).tobytes()).hexdigest() for path in videos}


@pytest.mark.parametrize("split", COUNTS)
def test_files_and_csv_are_in_kinetics_layout(demo_set: Path, split: str) -> None:
    with (demo_set / f"{split}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == COUNTS[split]
    assert list(rows[0]) == ["label", "youtube_id", "time_start", "time_end", "split"]
    stems = [f"{row['youtube_id']}_{int(row['time_start']):06d}_{int(row['time_end']):06d}" for row in rows]
    listed = {f"{row['label']}/{stem}.mp4" for row, stem in zip(rows, stems, strict=True)}
    assert listed == {str(path.relative_to(demo_set / split)) for path in (demo_set / split).rglob("*.*")}
    counts = Counter(row["label"] for row in rows)
    assert set(counts) == set(scenes.ACTIONS)
    assert max(counts.values()) - min(counts.values()) <= 1
    annotations = read_annotations(demo_set, split)
    assert len(annotations.records) == COUNTS[split]
    assert all(record.status == "ok" for record in annotations.records)


def test_videos_decode_and_no_two_are_alike(demo_set: Path) -> None:
    paths = sorted(demo_set.rglob("*.mp4"))
    for path in paths:
        frames = decode(path)
        assert frames.shape == (scenes.NUM_FRAMES, scenes.FRAME_SIZE, scenes.FRAME_SIZE, 3)
        assert abs(decord.VideoReader(str(path)).get_avg_fps() - scenes.FPS) < 1e-6
    assert len({path.stem for path in paths}) == len(paths) == sum(COUNTS.values())
    assert len(set(hash_videos(demo_set).values())) == len(paths)


def test_boxes_file_follows_the_object_in_the_files(demo_set: Path) -> None:
    table = pq.read_table(demo_set / "boxes.parquet")
    assert table.column_names == ["video_id", "frame", "x0", "y0", "x1", "y1"]
    assert table.schema.metadata[b"format_version"] == b"1"
    columns = {name: table[name].to_numpy() for name in table.column_names}
    paths = {path.stem: path for path in demo_set.rglob("*.mp4")}
    assert set(columns["video_id"]) == set(paths)
    for video_id, path in paths.items():
        rows = columns["video_id"] == video_id
        assert columns["frame"][rows].tolist() == list(range(scenes.NUM_FRAMES))
        boxes = np.stack([columns[name][rows] for name in ("x0", "y0", "x1", "y1")], 1)
        split, index = video_id.split("_")[0].split("-")[1:]
        background, _ = render_scene(scenes.draw_scene(0, split, int(index)), with_object=False)
        difference = np.abs(decode(path).astype(float) - background).mean(-1)
        for pixels, (x0, y0, x1, y1) in zip(difference, boxes, strict=True):
            inside = np.zeros(pixels.shape, bool)
            inside[y0:y1, x0:x1] = True
            assert pixels[inside].mean() > 3 * pixels[~inside].mean()


def test_same_seed_gives_same_pixels_whatever_the_number_of_processes(
    demo_set: Path, run_prepare: RunPrepare, tmp_path: Path
) -> None:
    for seed in (0, 1):
        arguments = ["--seed", seed, "--num_train", 24, "--num_val", 17, "--num_workers", 0]
        assert run_prepare("--output", tmp_path / str(seed), *arguments).returncode == 0
    expected = hash_videos(demo_set)
    assert hash_videos(tmp_path / "0") == expected
    assert not set(hash_videos(tmp_path / "1").values()) & set(expected.values())
    assert (tmp_path / "0" / "boxes.parquet").read_bytes() == (demo_set / "boxes.parquet").read_bytes()


def test_a_shorter_set_is_the_beginning_of_a_longer_one(
    demo_set: Path, run_prepare: RunPrepare, tmp_path: Path
) -> None:
    assert run_prepare("--output", tmp_path / "set", "--num_train", 8, "--num_val", 8).returncode == 0
    assert hash_videos(tmp_path / "set").items() <= hash_videos(demo_set).items()


def test_info_tells_how_the_set_was_made(demo_set: Path) -> None:
    info = json.loads((demo_set / "info.json").read_text())
    assert info["format_version"] == 1
    assert info["classes"] == list(scenes.ACTIONS)
    assert info["settings"]["seed"] == 0
    assert "--num_train 24" in info["command"]


def test_a_finished_set_is_left_as_it_is(demo_set: Path, run_prepare: RunPrepare) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo_set.rglob("*")}
    result = run_prepare("--output", demo_set, "--num_train", 24, "--num_val", 17)
    assert result.returncode == 0
    assert "already there" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in demo_set.rglob("*")} == before


def test_a_demo_set_is_replaced_only_when_asked(run_prepare: RunPrepare, tmp_path: Path) -> None:
    root = tmp_path / "set"
    counts = ["--num_train", 8, "--num_val", 8, "--num_workers", 0]
    assert run_prepare("--output", root, *counts).returncode == 0
    refused = run_prepare("--output", root, "--seed", 1, *counts)
    assert refused.returncode == 2
    assert "--overwrite" in refused.stderr
    (root / "left over.txt").write_text("from before")
    assert run_prepare("--output", root, "--seed", 1, *counts, "--overwrite").returncode == 0
    assert json.loads((root / "info.json").read_text())["settings"]["seed"] == 1
    assert not (root / "left over.txt").exists()
    next(root.rglob("*.mp4")).unlink()
    damaged = run_prepare("--output", root, "--seed", 1, *counts)
    assert damaged.returncode == 2
    assert "lacks 1" in damaged.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_train", 0], "--num_train is 0; at least 8"),
        (["--num_val", -3], "--num_val is -3; at least 8"),
        (["--seed", -1], "--seed is -1"),
        (["--num_workers", -1], "--num_workers is -1"),
    ],
)
def test_wrong_numbers_are_named(run_prepare: RunPrepare, tmp_path: Path, arguments: list, message: str) -> None:
    result = run_prepare("--output", tmp_path / "set", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("info", [None, "{}", "not json", '{"name": "another set", "settings": {}}'])
def test_a_folder_of_something_else_is_never_touched(
    run_prepare: RunPrepare, tmp_path: Path, overwrite: list[str], info: str | None
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    if info is not None:
        (tmp_path / "info.json").write_text(info)
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    result = run_prepare("--output", tmp_path, "--num_train", 8, "--num_val", 8, *overwrite)
    assert result.returncode == 2
    assert "not a demo set" in result.stderr
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(("output", "message"), [("file", "is a file"), ("file/below", "cannot write")])
def test_an_output_that_cannot_be_a_folder_is_named(
    run_prepare: RunPrepare, tmp_path: Path, output: str, message: str
) -> None:
    (tmp_path / "file").write_text("mine")
    result = run_prepare("--output", tmp_path / output)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert (tmp_path / "file").read_text() == "mine"
