"""tools/score_saliency.py from checkpoints and videos to the table, interrupted and resumed, and its refusals."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from saliency_assets import PREPROCESSING, write_checkpoint, write_video

from videosoft.data import Preprocessing, load_views, normalize_clip
from videosoft.errors import run_command
from videosoft.explain import create_method
from videosoft.explain.scores import compute_area, compute_insertion_curves, create_baseline, measure_energy_in_box
from videosoft.explain.scores.table import ScoreTable, read_scores
from videosoft.explain.targets import Target
from videosoft.models import load_checkpoint

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "score_saliency.py"
CLASSES = ("Archery", "Basketball", "Billiards")
FILES = {"scores.parquet", "curves.parquet", "summary.json", "summary.md"}
FIGURES = {"localization.png", "faithfulness.png", "randomization.png"}


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("score_saliency", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints, and a data root whose split "val" has three good videos and two bad ones, two of them with boxes."""
    folder = tmp_path_factory.mktemp("assets")
    for name, seed in (("a", 1), ("a2", 2), ("b2", 4)):
        write_checkpoint(folder / f"{name}.ckpt", seed=seed, class_names=CLASSES)
    write_checkpoint(folder / "nan.ckpt", seed=-1, class_names=CLASSES, fill=float("nan"))
    reordered = (CLASSES[2], "Diving", CLASSES[0], CLASSES[1])
    write_checkpoint(folder / "b.ckpt", seed=3, class_names=reordered)
    write_checkpoint(folder / "other_classes.ckpt", seed=5, class_names=(CLASSES[0], "Diving"))
    larger = Preprocessing(8, 2, 48, 40)
    write_checkpoint(folder / "larger.ckpt", seed=6, class_names=CLASSES, preprocessing=larger)
    (folder / "text.ckpt").write_text("not a checkpoint")
    root = folder / "data"
    videos = {"one": ("Archery", 20), "two": ("Billiards", 21), "three": ("Archery", 24), "short": ("Basketball", 10)}
    for stem, (label, num_frames) in videos.items():
        write_video(root / "val" / label / f"{stem}.mp4", num_frames)
    (root / "val" / "Basketball" / "broken.mp4").write_text("not a video")
    write_video(folder / "foreign" / "val" / "Juggling" / "four.mp4")
    rows = [(stem, frame, 8 + frame, 10, 30 + frame, 34) for stem in ("one", "two") for frame in range(20)]
    columns = dict(zip(("video_id", "frame", "x0", "y0", "x1", "y1"), zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table(columns).replace_schema_metadata({"format_version": "1"}), root / "boxes.parquet")
    return folder


def run_tool(assets: Path, output: Path, *arguments: object, **options: object) -> int:
    """The cheapest run there is, unless ``options`` say otherwise."""
    given = {
        "ckpt_path": [assets / "a.ckpt"],
        "data.root": assets / "data",
        "output": output,
        "num_steps": 1,
        "randomization": "none",
        **options,
    }
    command = []
    for name, value in given.items():
        command += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return run_command(lambda: load_tool().main([*command, *map(str, arguments)]))


def read_summary(output: Path) -> dict[str, Any]:
    return json.loads((output / "summary.json").read_text())


def assert_equal_tables(first: ScoreTable, second: ScoreTable) -> None:
    assert first.video_ids == second.video_ids
    assert list(first.columns) == list(second.columns)
    for key, column in first.columns.items():
        np.testing.assert_array_equal(column, second.columns[key], err_msg=str(key))


def test_one_checkpoint_end_to_end(assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "deep" / "scores"
    assert run_tool(assets, output, layer="layer1", num_steps=2, randomization="cascade") == 0
    printed = capsys.readouterr()
    assert {file.name for file in output.iterdir()} == FILES | FIGURES
    for name in FIGURES:
        with Image.open(output / name) as image:
            assert image.width > 500
    assert "3 of 5 videos scored" in printed.out
    table, metadata = read_scores(output / "scores.parquet")
    assert sorted(table.video_ids) == ["one", "three", "two"]
    summary = read_summary(output)
    assert {Path(entry["path"]).stem: entry["status"] for entry in summary["skipped"]} == {
        "short": "too_short",
        "broken": "unreadable",
    }
    assert all(entry["reason"] in (output / "summary.md").read_text().replace("\\", "") for entry in summary["skipped"])
    assert metadata["checkpoints"][0]["grid"] == [4, 8, 8]
    assert summary["checkpoints"][0]["layer"] == "layer1"
    assert len(metadata["settings"]["checkpoints"]["A"]) == 64

    # By hand, for one video: the map, its energy in the box, and insertion.
    loaded = load_checkpoint(assets / "a.ckpt")
    views = load_views(assets / "data/val/Archery/one.mp4", PREPROCESSING, 1, 1)
    clip = normalize_clip(views.video, PREPROCESSING.mean, PREPROCESSING.std)
    saliency = create_method("saliency_tubes")(loaded.network, clip, [Target(0)], "layer1")[0]
    mask = np.zeros((8, 32, 32))
    for place, frame in enumerate(range(2, 18, 2)):  # 48 x 64 becomes 36 x 48, of which the middle is cut
        left, right = 0.75 * (8 + frame) - 8, 0.75 * (30 + frame) - 8
        top, bottom = 0.75 * 10 - 2, 0.75 * 34 - 2
        for y, x in np.ndindex(32, 32):
            part_x = max(0, min(x + 1, right) - max(x, left))
            mask[place, y, x] = part_x * max(0, min(y + 1, bottom) - max(y, top))
    row = table.video_ids.index("one")
    energy = measure_energy_in_box(saliency.tube, mask)
    assert table.columns["energy_in_box", "A", "true box"][row] == pytest.approx(energy, rel=1e-5)
    assert table.columns["energy_in_box", "even map", "true box"][row] == pytest.approx(mask.mean())
    curve = compute_insertion_curves(
        loaded.network,
        clip,
        saliency.tube[None],
        torch.tensor([0]),
        create_baseline(clip, "blur"),
        num_steps=2,
        batch_size=1,
    )
    assert table.columns["insertion", "A", "A"][row] == pytest.approx(float(compute_area(curve)), rel=1e-4)
    assert table.columns["probability", "A", ""][row] == pytest.approx(float(saliency.probabilities[0]), rel=1e-5)
    assert table.columns["correct", "A", ""][row] == float(saliency.prediction == 0)
    assert np.isnan(table.columns["energy_in_box", "A", "true box"][table.video_ids.index("three")])  # without boxes
    assert 1 <= table.columns["effective_frames", "A", ""][row] <= 8


def test_two_variants_with_seeds(assets: Path, tmp_path: Path) -> None:
    pair = {"ckpt_path": [assets / "a.ckpt", assets / "a2.ckpt"], "compare": [assets / "b.ckpt", assets / "b2.ckpt"]}
    assert run_tool(assets, tmp_path / "ab", layer="layer1", compare_layer="layer2", **pair) == 0
    table, metadata = read_scores(tmp_path / "ab" / "scores.parquet")
    assert [subject["name"] for subject in metadata["checkpoints"]] == ["A", "A2", "B", "B2"]
    assert [subject["grid"] for subject in metadata["checkpoints"]] == [[4, 8, 8], [4, 8, 8], [2, 4, 4], [2, 4, 4]]
    keys = set(table.columns)
    for judge in "AB":
        for owner in ("A", "B", "random map", "centre prior"):
            assert ("insertion", owner, judge) in keys
            assert ("deletion", owner, judge) in keys
    assert ("insertion", "A2", "A2") not in keys
    assert {(a, b) for score, a, b in keys if score == "top_iou"} == {
        ("A", "A2"),
        ("A", "B"),
        ("A", "B2"),
        ("A2", "B"),
        ("A2", "B2"),
        ("B", "B2"),
    }
    floor = read_summary(tmp_path / "ab")["summaries"]["All clips"]["noise_floors"]["rank_correlation"]
    assert (floor["n"], floor["num_permutations"]) == (3, 3)
    text = (tmp_path / "ab" / "summary.md").read_text()
    assert "Seed noise floor" in text
    assert "Each checkpoint, on the clips that it gets right itself" in text
    seeds = read_summary(tmp_path / "ab")["seeds"]
    assert [checkpoint["name"] for checkpoint in seeds["checkpoints"]] == ["A", "A2", "B", "B2"]
    for checkpoint in seeds["checkpoints"]:
        assert checkpoint["num_correct"] == (table.columns["correct", checkpoint["name"], ""] == 1).sum()
        assert set(checkpoint["energy_in_box"]) == {"even map", "centre prior", "centre prior at its grid"}

    # B has the classes in another order: its scores are those that it has alone.
    assert run_tool(assets, tmp_path / "b", ckpt_path=[assets / "b.ckpt"], layer="layer2") == 0
    alone, _ = read_scores(tmp_path / "b" / "scores.parquet")
    for score, against in (("probability", ""), ("correct", ""), ("drift", ""), ("energy_in_box", "true box")):
        np.testing.assert_allclose(table.columns[score, "B", against], alone.columns[score, "A", against], rtol=1e-5)
    np.testing.assert_allclose(table.columns["insertion", "B", "B"], alone.columns["insertion", "A", "A"], rtol=1e-4)


def test_a_class_may_be_spelled_otherwise(assets: Path, tmp_path: Path) -> None:
    respelled = ("Bil'liards", "Diving", "(Archery)", "Basketball_")
    write_checkpoint(tmp_path / "b.ckpt", seed=3, class_names=respelled)
    for name, path in (("plain", assets / "b.ckpt"), ("respelled", tmp_path / "b.ckpt")):
        assert run_tool(assets, tmp_path / name, compare=path) == 0
    plain, other = (read_scores(tmp_path / name / "scores.parquet")[0] for name in ("plain", "respelled"))
    assert_equal_tables(plain, other)
    assert np.nansum(plain.columns["correct", "B", ""]) > 0  # and there is something to get wrong


def test_an_interrupted_run_goes_on(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from videosoft.explain.scores.clip_scores import ClipScorer

    real, scored = ClipScorer.score, []

    def note_video(self: ClipScorer, video_id: str, *arguments: Any) -> Any:
        scored.append(video_id)
        if interrupted and len(scored) == 2:
            raise KeyboardInterrupt
        return real(self, video_id, *arguments)

    monkeypatch.setattr(ClipScorer, "score", note_video)
    interrupted = True
    assert run_tool(assets, tmp_path / "scores") == 130
    assert [file.name for file in (tmp_path / "scores").iterdir()] == ["progress.jsonl"]
    assert run_tool(assets, tmp_path / "scores", num_steps=2) == 2
    assert "begun with other settings (differing: num_steps)" in capsys.readouterr().err
    interrupted = False
    first = scored[0]
    assert run_tool(assets, tmp_path / "scores") == 0
    assert "1 of 5 videos were scored before" in capsys.readouterr().out
    assert scored.count(first) == 1
    assert len(scored) == 4  # the first, the interrupted one twice, the third
    assert run_tool(assets, tmp_path / "at_once") == 0
    resumed, at_once = (read_scores(tmp_path / name / "scores.parquet")[0] for name in ("scores", "at_once"))
    assert_equal_tables(resumed, at_once)

    capsys.readouterr()
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "scores").iterdir()}
    assert run_tool(assets, tmp_path / "scores") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "scores").iterdir()} == times
    assert run_tool(assets, tmp_path / "scores", max_videos=1) == 2
    assert "holds other results" in capsys.readouterr().err
    (tmp_path / "scores" / "notes.txt").write_text("mine")
    assert run_tool(assets, tmp_path / "scores", "--overwrite", max_videos=1) == 0
    assert read_summary(tmp_path / "scores")["num_videos"] == 1
    assert (tmp_path / "scores" / "notes.txt").read_text() == "mine"


def test_a_class_that_one_model_lacks_costs_the_video(assets: Path, tmp_path: Path) -> None:
    options = {"compare": [assets / "other_classes.ckpt"], "num_steps": 1}
    assert run_tool(assets, tmp_path, **options) == 0
    statuses = {Path(entry["path"]).stem: entry["status"] for entry in read_summary(tmp_path)["skipped"]}
    assert statuses == {"two": "target_missing", "short": "too_short", "broken": "unreadable"}
    table, _ = read_scores(tmp_path / "scores.parquet")
    assert sorted(table.video_ids) == ["one", "three"]


@pytest.mark.parametrize("target", ["prediction", "2", "Billiards"])
def test_other_targets_than_the_label(assets: Path, tmp_path: Path, target: str) -> None:
    assert run_tool(assets, tmp_path, target=target, num_steps=1, max_videos=1) == 0
    table, _ = read_scores(tmp_path / "scores.parquet")
    network = load_checkpoint(assets / "a.ckpt").network
    path = next((assets / "data/val").rglob(f"{table.video_ids[0]}.mp4"))
    pixels = load_views(path, PREPROCESSING, 1, 1).video
    with torch.no_grad():
        probabilities = network(normalize_clip(pixels, PREPROCESSING.mean, PREPROCESSING.std)).softmax(1)[0]
    expected = probabilities.max() if target == "prediction" else probabilities[2]
    assert table.columns["probability", "A", ""][0] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "messages"),
    [
        ({"ckpt_path": ["nowhere.ckpt"]}, ["nowhere.ckpt"]),
        ({"ckpt_path": ["text.ckpt"]}, ["text.ckpt is not a checkpoint"]),
        ({"ckpt_path": ["a.ckpt", "a.ckpt"]}, ["are one checkpoint"]),
        ({"ckpt_path": ["nan.ckpt"]}, ["is not finite", ".mp4)"]),
        ({"compare": ["larger.ckpt"]}, ["cannot be shown the same frames: short_side is 36"]),
        ({"layer": "layer9"}, ["layer 'layer9' is not in", "layer4"]),
        ({"layer": "fc"}, ["layer 'fc' does not put out one 5-D tensor"]),
        ({"method_options": "steps=3"}, ["method 'saliency_tubes' has no option 'steps'"]),
        ({"method": "saliency_tube"}, ["no saliency method 'saliency_tube'", "did you mean saliency_tubes"]),
        ({"target": "Archry"}, ["did you mean 'Archery'?"]),
        ({"target": "3"}, ["target 3 is out of range"]),
        ({"crop": 40}, ["a.ckpt: crop (40) must not exceed short_side (36)"]),
        ({"data.root": "nowhere"}, ["nowhere"]),
        ({"data.root": "foreign"}, ["Juggling"]),
        ({"data.split": "train"}, ["neither train.csv nor a folder train/"]),
        ({"boxes": "text.ckpt"}, ["text.ckpt is not a readable Parquet file"]),
        ({"boxes": "nowhere.parquet"}, ["nowhere.parquet"]),
        ({"output": "text.ckpt"}, ["text.ckpt"]),
        ({"device": "cuda"}, ["device cuda was asked for"]),
    ],
)
def test_wrong_input_ends_in_one_message(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], messages: list[str]
) -> None:
    if "device" in options and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    paths = {"ckpt_path", "compare", "data.root", "boxes", "output"}
    for name in paths & set(options):
        value = options[name]
        options = {**options, name: [assets / file for file in value] if isinstance(value, list) else assets / value}
    assert run_tool(assets, options.pop("output", tmp_path / "out"), **options) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for message in messages:
        assert message in error[error.rindex("error: ") :]


def export_maps(assets: Path, output: Path, *arguments: str, letters: str = "a") -> None:
    spec = importlib.util.spec_from_file_location("export_saliency", ROOT / "tools" / "export_saliency.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    paths = [str(assets / f"{letter}.ckpt") for letter in letters]
    command = ["--ckpt_path", paths[0], *(["--compare", paths[1]] if len(paths) > 1 else [])]
    module.main([*command, "--output", str(output), "--outputs", "npz", "--target", "label", *arguments])


def score_export(assets: Path, output: Path, folder: Path, **options: Any) -> int:
    given = {"ckpt_path": [assets / "a.ckpt"], "export": folder, "num_steps": 1, "randomization": "none", **options}
    command = ["--output", str(output)]
    for name, value in given.items():
        command += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return run_command(lambda: load_tool().main(command))


def test_an_export_is_scored_as_its_maps_are(assets: Path, tmp_path: Path) -> None:
    arguments = ["--data.root", str(assets / "data"), "--layer", "layer1", "--compare_layer", "layer2"]
    # One by one, as the scores do it: a batch rounds otherwise, which can turn a ReLU and change a map by per cents.
    export_maps(assets, tmp_path / "export", *arguments, "--batch_size", "1", letters="ab")
    options = {"compare": [assets / "b.ckpt"]}
    boxes = assets / "data" / "boxes.parquet"
    assert score_export(assets, tmp_path / "from_export", tmp_path / "export", boxes=boxes, **options) == 0
    assert run_tool(assets, tmp_path / "direct", layer="layer1", compare_layer="layer2", **options) == 0
    saved, metadata = read_scores(tmp_path / "from_export" / "scores.parquet")
    direct, _ = read_scores(tmp_path / "direct" / "scores.parquet")
    assert {Path(entry["path"]).stem for entry in read_summary(tmp_path / "from_export")["skipped"]} == {
        "short",
        "broken",
    }
    order = [saved.video_ids.index(video_id) for video_id in direct.video_ids]
    assert set(saved.columns) == set(direct.columns)
    for key, column in direct.columns.items():
        np.testing.assert_allclose(saved.columns[key][order], column, rtol=1e-5, atol=1e-5, err_msg=str(key))
    assert [subject["layer"] for subject in metadata["checkpoints"]] == ["layer1", "layer2"]


def test_the_maps_of_an_export_are_not_made_anew(assets: Path, tmp_path: Path) -> None:
    """A map that was turned around scores turned around."""
    export_maps(assets, tmp_path / "export", "--videos", str(assets / "data/val/Archery"), "--layer", "layer1")
    assert score_export(assets, tmp_path / "before", tmp_path / "export") == 0
    for path in (tmp_path / "export").glob("*.npz"):
        with np.load(path) as archive:
            content = dict(archive)
        np.savez(path, **{**content, "tube": -content["tube"]})
    assert score_export(assets, tmp_path / "after", tmp_path / "export") == 0
    before, after = (read_scores(tmp_path / name / "scores.parquet")[0].columns for name in ("before", "after"))
    key = ("rank_correlation", "A", "centre prior")
    np.testing.assert_allclose(after[key], -before[key], atol=1e-6)


def test_exports_that_do_not_fit_are_refused(assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    videos = tmp_path / "videos" / "Archery"
    for name, num_frames in (("one", 20), ("two", 21), ("three", 22)):
        write_video(videos / f"{name}.mp4", num_frames)
    folder = tmp_path / "export"
    export_maps(assets, folder, "--videos", str(videos))

    def refuse(*messages: str, **options: Any) -> None:
        assert score_export(assets, tmp_path / f"refused_{len(messages[0])}", folder, **options) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        for message in messages:
            assert message in error

    refuse("was not made with", "a2.ckpt", ckpt_path=[assets / "a2.ckpt"])
    refuse("was not made with", "give the same 1 checkpoint(s)", compare=[assets / "b.ckpt"])
    refuse("holds no export", export=tmp_path / "videos")

    write_video(videos / "one.mp4", 24)
    (videos / "two.mp4").unlink()
    assert score_export(assets, tmp_path / "scores", folder) == 0
    statuses = {Path(entry["path"]).stem: entry["status"] for entry in read_summary(tmp_path / "scores")["skipped"]}
    assert statuses == {"one": "changed", "two": "missing"}

    capsys.readouterr()
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest.replace(str(videos / "three.mp4"), "/etc/hostname"))
    refuse("the manifest names a file that is no video")
    (folder / "manifest.json").write_text(manifest.replace('"versus": ""', '"versus": "Billiards"'))
    refuse("export without --versus")
    (folder / "manifest.json").write_text(manifest.replace('"npz"', '"sheet"'))
    refuse("has no raw maps: export with --outputs npz")
    (folder / "manifest.json").write_text(manifest)
    (folder / "three.npz").write_bytes(b"PK not a map")
    refuse("three.npz is not a saliency file")


def test_no_video_that_can_be_scored_is_an_error(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    (root / "val" / "Archery").mkdir(parents=True)
    (root / "val" / "Archery" / "empty.mp4").touch()
    assert run_tool(assets, tmp_path / "out", **{"data.root": root}) == 2
    assert "none of the 1 videos could be scored" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--num_steps", "0"],
        ["--crop", "x"],
        ["--baseline", "grey"],
        ["--device", "tpu"],
        ["--export", "folder"],
        ["--compare_layer", "layer1"],
    ],
)
def test_mistyped_options_are_refused_at_once(
    assets: Path, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_tool(assets, tmp_path, *arguments)
    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_help_does_not_import_torch() -> None:
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']\ntry: runpy.run_path({str(TOOL)!r}, run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\nassert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "--ckpt_path" in done.stdout
