"""tools/export_saliency.py from checkpoint and video files to results, and every way to give it wrong input."""

import importlib.util
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from saliency_assets import CLASSES, write_checkpoint, write_video
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from videosoft.data import Preprocessing
from videosoft.errors import run_command
from videosoft.explain import SaliencyMethod, VideoOutcome, clips, read_export, read_saliency
from videosoft.explain.export import OUTPUT_KINDS, output_files
from videosoft.explain.export.output_folder import JOURNAL_NAME
from videosoft.explain.rendering import SCALES

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools" / "export_saliency.py"
FRAMES = tuple(range(2, 18, 2))  # the middle 15 of the 20 frames of write_video, every second one


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("export_saliency", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints a, b and variants of them; videos good, empty, truncated, text and short."""
    folder = tmp_path_factory.mktemp("assets")
    write_checkpoint(folder / "a.ckpt", seed=1)
    reordered = (CLASSES[2], "Diving", CLASSES[0])
    other_colours = Preprocessing(8, 2, 36, 32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    write_checkpoint(folder / "b.ckpt", seed=2, class_names=reordered, pool="max", preprocessing=other_colours)
    write_checkpoint(folder / "larger.ckpt", preprocessing=Preprocessing(8, 2, 48, 40))
    write_checkpoint(folder / "nan.ckpt", fill=float("nan"))
    (folder / "text.ckpt").write_text("not a checkpoint")
    good = write_video(folder / "videos" / "Archery" / "clip $x_1$.mp4")
    write_video(folder / "videos" / "Billiards" / "other.mp4", 24)
    write_video(folder / "bad" / "short.mp4", 10)
    (folder / "bad" / "empty.mp4").touch()
    (folder / "bad" / "text.mp4").write_text("not a video")
    (folder / "bad" / "truncated.mp4").write_bytes(good.read_bytes()[:700])
    (folder / "none").mkdir()
    return folder


def run_tool(*arguments: object) -> int:
    return run_command(lambda: load_tool().main([str(argument) for argument in arguments]))


def read_manifest(output: Path) -> dict[str, Any]:
    return json.loads((output / "manifest.json").read_text())


def test_one_checkpoint_end_to_end(assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "deep" / "results"
    code = run_tool(
        "--ckpt_path", assets / "a.ckpt", "--videos", assets / "videos", "--output", output, "--target", "label"
    )
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert sorted(file.name for file in output.iterdir()) == [
        "clip__x_1_.npz",
        "clip__x_1__frames.jpg",
        "clip__x_1__overlay.mp4",
        "clip__x_1__sheet.png",
        "manifest.json",
        "other.npz",
        "other_frames.jpg",
        "other_overlay.mp4",
        "other_sheet.png",
    ]
    saved = read_saliency(output / "clip__x_1_.npz")
    assert (saved.target, saved.target_name, saved.layer) == (0, "Archery", "layer4")
    assert saved.map.shape == (1, 1, 1)
    assert saved.tube.shape == (8, 32, 32)
    assert tuple(saved.frames) == FRAMES
    assert saved.residual < 1e-5
    assert read_saliency(output / "other.npz").target_name == "Billiards"
    with av.open(str(output / "clip__x_1__overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == 8
        assert float(container.streams.video[0].average_rate) == pytest.approx(12.5)
    with Image.open(output / "clip__x_1__sheet.png") as image:
        assert image.width > 1000

    manifest = read_manifest(output)
    assert manifest["complete"] is True
    assert [video["status"] for video in manifest["videos"]] == ["ok", "ok"]
    files = [name for video in manifest["videos"] for name in video["files"].values()]
    assert sorted([*files, "manifest.json"]) == sorted(file.name for file in output.iterdir())
    assert len(manifest["checkpoints"][0]["checkpoint_hash"]) == 64
    for words in ("clip $x_1$: target Archery", "logit residual", "one map for the whole clip: T' = 1", str(output)):
        assert words in printed.out
    assert "2 of 2 videos explained" in printed.out


def test_two_checkpoints_are_matched_by_class_name(assets: Path, tmp_path: Path) -> None:
    """B has the classes in another order, other colours, and one class that A lacks."""
    arguments = ["--videos", assets / "videos" / "Archery", "--target", "0"]
    assert (
        run_tool(
            "--ckpt_path", assets / "a.ckpt", "--compare", assets / "b.ckpt", *arguments, "--output", tmp_path / "ab"
        )
        == 0
    )
    arguments += ["--outputs", "npz"]
    assert run_tool("--ckpt_path", assets / "a.ckpt", *arguments, "--output", tmp_path / "a") == 0
    arguments += ["--target", "Archery"]
    assert run_tool("--ckpt_path", assets / "b.ckpt", *arguments, "--output", tmp_path / "b") == 0

    both = {letter: read_saliency(tmp_path / "ab" / f"clip__x_1_.{letter}.npz") for letter in "AB"}
    assert (both["A"].target, both["B"].target) == (0, 2)
    assert both["A"].target_name == both["B"].target_name == "Archery"
    for letter in "AB":  # each is what it is alone: own normalisation, own index
        alone = read_saliency(tmp_path / letter.lower() / "clip__x_1_.npz")
        np.testing.assert_allclose(both[letter].tube, alone.tube, atol=1e-6)
        assert both[letter].logit == pytest.approx(alone.logit, abs=1e-6)
        assert both[letter].checkpoint_hash == alone.checkpoint_hash
    assert both["A"].checkpoint_hash != both["B"].checkpoint_hash
    manifest = read_manifest(tmp_path / "ab")
    assert [checkpoint["letter"] for checkpoint in manifest["checkpoints"]] == ["A", "B"]
    assert [model["model"] for model in manifest["videos"][0]["models"]] == ["A: r3d50 soft", "B: r3d50 max"]


def test_a_comparison_decodes_each_video_once_and_runs_each_model_once(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, real = tmp_path / "decoded.txt", clips.load_views

    def load(path: Path, *arguments: Any, **options: Any) -> Any:
        with decoded.open("a") as file:  # in the process that decodes
            file.write(f"{path.name}\n")
        return real(path, *arguments, **options)

    monkeypatch.setattr(clips, "load_views", load)
    num_clips: dict[nn.Module, int] = {}

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if hasattr(module, "feature_layer"):
            num_clips[module] = num_clips.get(module, 0) + len(inputs[0])

    handle = register_module_forward_pre_hook(count)
    try:
        code = run_tool(
            *("--ckpt_path", assets / "a.ckpt", "--compare", assets / "b.ckpt", "--target", "Archery"),
            *("--videos", assets / "videos", "--outputs", "npz", "frames", "--output", tmp_path / "ab"),
        )
    finally:
        handle.remove()
    assert code == 0
    assert sorted(decoded.read_text().splitlines()) == ["clip $x_1$.mp4", "other.mp4"]
    assert list(num_clips.values()) == [2, 2]


def test_bad_videos_are_listed_and_the_others_go_on(
    assets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run_tool(
        "--ckpt_path",
        assets / "a.ckpt",
        "--videos",
        assets / "bad",
        assets / "videos" / "Billiards",
        "--output",
        tmp_path,
    )
    printed = capsys.readouterr()
    assert code == 0, printed.err
    statuses = {video["video_id"]: video["status"] for video in read_manifest(tmp_path)["videos"]}
    assert statuses == {
        "empty": "unreadable",
        "short": "too_short",
        "text": "unreadable",
        "truncated": "unreadable",
        "other": "ok",
    }
    assert all(video["reason"] for video in read_manifest(tmp_path)["videos"] if video["status"] != "ok")
    assert "1 of 5 videos explained" in printed.out
    assert "too_short" in printed.out
    assert "10 frames, a clip spans 15" in printed.out


def test_overwriting_replaces_an_earlier_export(assets: Path, tmp_path: Path) -> None:
    arguments = ["--ckpt_path", assets / "a.ckpt", "--videos", assets / "videos", "--output", tmp_path / "results"]
    assert run_tool(*arguments) == 0
    (tmp_path / "results" / "notes.txt").write_text("mine")
    assert run_tool(*arguments) == 2
    assert run_tool(*arguments, "--overwrite", "--max_videos", "1") == 0
    assert sorted(file.name for file in (tmp_path / "results").iterdir()) == [
        "clip__x_1_.npz",
        "clip__x_1__frames.jpg",
        "clip__x_1__overlay.mp4",
        "clip__x_1__sheet.png",
        "manifest.json",
        "notes.txt",
    ]


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ({"--ckpt_path": "nowhere.ckpt"}, ["nowhere.ckpt"]),
        ({"--ckpt_path": "text.ckpt"}, ["text.ckpt is not a checkpoint"]),
        ({"--ckpt_path": "videos"}, ["is not a file"]),
        ({"--compare": "nowhere.ckpt"}, ["nowhere.ckpt"]),
        ({"--compare": "larger.ckpt"}, ["cannot be shown the same frames", "short_side is 36", "48 in the second"]),
        ({"--ckpt_path": "nan.ckpt"}, ["is not finite"]),
        ({"--videos": "nowhere.mp4"}, ["nowhere.mp4 does not exist"]),
        ({"--videos": "none"}, ["no video under folder"]),
        ({"--videos": "bad"}, ["no video could be explained", "manifest.json"]),
        ({"--target": "Archry"}, ["class 'Archry' is not among the 3 classes of", "did you mean 'Archery'?"]),
        ({"--target": "3"}, ["target 3 is out of range", "has classes 0..2"]),
        (
            {"--target": "label", "--videos": "bad"},
            ["no label is a class of all models", "bad/empty.mp4: class 'bad' is not among"],
        ),
        ({"--compare": "b.ckpt", "--target": "1"}, ["class 'Basketball Dunk' is not among", "b.ckpt"]),
        ({"--output": "text.ckpt"}, ["text.ckpt is a file; give a folder"]),
        ({"--output": "text.ckpt/sub"}, ["text.ckpt"]),
        ({"--output": "videos"}, ["is not empty; give another one, --resume"]),
        ({"--output": "videos", "--resume": None}, ["holds no export: it has no manifest.json"]),
        ({"--layer": "layr4"}, ["layer 'layr4' is not in", "nearest: layer4", "--list_layers shows all"]),
        ({"--layer": "fc"}, ["layer 'fc' does not put out one 5-D tensor"]),
        ({"--compare": "b.ckpt", "--compare_layer": "x"}, ["layer 'x' is not in", "b.ckpt"]),
        ({"--method": "gradcam"}, ["no saliency method 'gradcam'; did you mean grad_cam"]),
        ({"--method_options": "per_step=true"}, ["method 'saliency_tubes' has no option 'per_step'"]),
        ({"--method": "rise", "--layer": "layer4"}, ["method 'rise' looks at the clip itself: leave the layer out"]),
        ({"--versus": "Diving"}, ["class 'Diving' is not among the 3 classes"]),
        ({"--target": "Archery", "--versus": "0"}, ["class 'Archery' cannot be told apart from itself"]),
        ({"--scale": "fixed"}, ["the scale 'fixed' needs a scale_limit"]),
        ({"--scale_limit": "2"}, ["no other scale takes one"]),
        ({"--scale_quantile": "0"}, ["scale_quantile must lie in (0, 1]"]),
        ({"--output": "videos", "--overwrite": None}, ["it has no manifest.json; give another folder"]),
        ({"--device": "cuda"}, ["device cuda was asked for"]),
    ],
)
def test_wrong_input_ends_in_one_message(
    assets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: dict[str, str | None],
    messages: list[str],
) -> None:
    if arguments.get("--device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    before = sorted(assets.rglob("*"))
    given: dict[str, str | None] = {"--ckpt_path": "a.ckpt", "--videos": "videos", **arguments}
    command: list[object] = []
    for option, value in given.items():
        command.append(option)
        if value is not None:
            command.append(assets / value if option in ("--ckpt_path", "--compare", "--videos", "--output") else value)
    if "--output" not in given:
        command += ["--output", tmp_path / "results"]
    assert run_tool(*command) == 2
    error = capsys.readouterr().err
    error_line = error[error.rindex("error: ") :]
    for message in messages:
        assert message in error_line
    assert "Traceback" not in error
    assert sorted(assets.rglob("*")) == before
    if "--videos" not in arguments and arguments.get("--ckpt_path") != "nan.ckpt":
        assert not (tmp_path / "results").exists()


def count_clips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of clips of each call of a method from now on."""
    calls: list[int] = []
    real = SaliencyMethod.__call__

    def count(self: SaliencyMethod, network: Any, clips: torch.Tensor, *arguments: Any) -> Any:
        calls.append(len(clips))
        return real(self, network, clips, *arguments)

    monkeypatch.setattr(SaliencyMethod, "__call__", count)
    return calls


def interrupt_at(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Ctrl-C at the n-th contact sheet."""
    real, calls = output_files.write_contact_sheet, []

    def write(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == number:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setitem(output_files._PICTURES, "sheet", ("_sheet.png", write))


@pytest.fixture(scope="module")
def many(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of five videos in Kinetics layout, one of them missing and one torn."""
    root = tmp_path_factory.mktemp("many")
    rows = ["label,youtube_id,time_start,time_end,split"]
    for number, label in enumerate(("Archery", "Billiards", "Archery", "Diving", "Billiards")):
        rows.append(f"{label},clip{number},0,1,val")
        if number != 2:
            write_video(root / "val" / label / f"clip{number}_000000_000001.mp4", 20 + number)
    (root / "val" / "Billiards" / "clip4_000000_000001.mp4").write_text("torn")
    (root / "val.csv").write_text("\n".join(rows) + "\n")
    return root


def get_statuses(outcomes: tuple[VideoOutcome, ...]) -> dict[str, str]:
    return {outcome.video_id.partition("_")[0]: outcome.status for outcome in outcomes}


def test_a_split_is_explained_and_resumed_without_doing_anything_twice(
    assets: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--ckpt_path", assets / "a.ckpt", "--data.root", many, "--output", tmp_path / "out"]
    arguments += ["--outputs", "npz", "sheet", "--batch_size", 1]
    interrupt_at(monkeypatch, 2)
    assert run_tool(*arguments) == 130
    saved = read_export(tmp_path / "out")
    assert not saved.complete
    assert get_statuses(saved.videos) == {"clip0": "ok"}
    present = {file.name for file in (tmp_path / "out").iterdir()} - {JOURNAL_NAME}
    assert present == {*saved.videos[0].files.values(), "manifest.json"}  # of the second one nothing is left
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("clip0*")}

    monkeypatch.undo()
    calls = count_clips(monkeypatch)
    assert run_tool(*arguments, "--resume") == 0
    assert calls == [1, 1]  # clips 1 and 3; the first is finished, the others cannot be read
    saved = read_export(tmp_path / "out")
    assert saved.complete
    expected = {"clip0": "ok", "clip1": "ok", "clip2": "missing", "clip3": "ok", "clip4": "unreadable"}
    assert get_statuses(saved.videos) == expected
    assert {file.name: file.stat().st_mtime_ns for file in (tmp_path / "out").glob("clip0*")} == before
    assert len(saved.manifest["runs"]) == 2
    assert "3 of 5 videos explained" in capsys.readouterr().out

    whole = tmp_path / "whole"
    assert run_tool(*arguments[:4], "--output", whole, "--outputs", "npz", "--batch_size", 4) == 0
    for one, same in zip(saved.videos, read_export(whole).videos, strict=True):
        assert (one.clip_hash, one.target, one.label) == (same.clip_hash, same.target, same.label)
        if one.status == "ok":
            maps = [read_saliency(folder / one.files["npz"]).tube for folder in (tmp_path / "out", whole)]
            np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)

    # Nothing left: nothing is computed, and the failures are tried once more.
    calls.clear()
    assert run_tool(*arguments, "--resume") == 0
    assert calls == []
    assert run_tool(*arguments, "--resume", "--layer", "layer3") == 2
    assert 'layer was null, now "layer3"' in capsys.readouterr().err


def test_labels_that_a_model_lacks_are_reported(
    assets: Path, many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A knows Archery, Basketball Dunk, Billiards; B Billiards, Diving, Archery."""
    arguments = ["--ckpt_path", assets / "a.ckpt", "--compare", assets / "b.ckpt", "--data.root", many]
    arguments += ["--target", "label", "--outputs", "npz", "--output", tmp_path / "out"]
    assert run_tool(*arguments) == 0
    printed = capsys.readouterr().out
    assert "2 classes are in both checkpoints" in printed
    assert "only in A: Basketball Dunk" in printed
    assert "only in B: Diving" in printed
    saved = read_export(tmp_path / "out")
    assert saved.manifest["classes"] == {"num_shared": 2, "only_A": ["Basketball Dunk"], "only_B": ["Diving"]}
    assert get_statuses(saved.videos)["clip3"] == "target_missing"
    assert get_statuses(saved.videos)["clip0"] == "ok"
    (reason,) = [video.reason for video in saved.videos if video.status == "target_missing"]
    assert "a.ckpt has no class 'Diving'" in reason


def test_a_prediction_that_b_lacks_is_reported(assets: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    names = ("Diving", "Surfing", "Rowing")
    write_checkpoint(tmp_path / "c.ckpt", seed=3, class_names=names)
    arguments = ["--ckpt_path", assets / "a.ckpt", "--compare", tmp_path / "c.ckpt", "--videos", assets / "videos"]
    assert run_tool(*arguments, "--output", tmp_path / "out") == 2
    outcomes = read_export(tmp_path / "out").videos
    assert {outcome.status for outcome in outcomes} == {"target_missing"}


def test_a_prediction_against_itself_costs_the_video(assets: Path, tmp_path: Path) -> None:
    """Which video is predicted to be of the class that all are set against is known only when the network has run."""
    arguments = ["--ckpt_path", assets / "a.ckpt", "--compare", assets / "b.ckpt", "--videos", assets / "videos"]
    arguments += ["--outputs", "npz", "--target", "Archery"]
    assert run_tool(*arguments, "--output", tmp_path / "plain") == 0
    predicted = {video.video_id: video.models[0].prediction for video in read_export(tmp_path / "plain").videos}
    arguments = ["--ckpt_path", assets / "a.ckpt", "--videos", assets / "videos", "--outputs", "npz"]
    assert len(predicted) == 2
    for versus in CLASSES:
        output = tmp_path / versus
        same = [name for name, prediction in predicted.items() if prediction == versus]
        assert run_tool(*arguments, "--versus", versus, "--output", output) == (2 if len(same) == 2 else 0)
        outcomes = {video.video_id: video for video in read_export(output).videos}
        assert [name for name in predicted if outcomes[name].status == "target_missing"] == same
        assert all(outcomes[name].versus == versus for name in set(predicted) - set(same))
        assert all("a.ckpt" in outcomes[name].reason for name in same)


@pytest.mark.parametrize("compare", [False, True])
def test_all_kinds_of_files(assets: Path, tmp_path: Path, compare: bool) -> None:
    arguments = ["--ckpt_path", assets / "a.ckpt", "--videos", assets / "videos" / "Archery", "--output", tmp_path]
    arguments += ["--outputs", *OUTPUT_KINDS, "--layer", "layer2", "--versus", "runner_up"]
    arguments += ["--compare", assets / "b.ckpt", "--target", "Archery", "--versus", "2"] if compare else []
    assert run_tool(*arguments) == 0
    (outcome,) = read_export(tmp_path).videos
    panels = ["panels.frames", *(["panels.A", "panels.B", "panels.A-B"] if compare else ["panels.map"])]
    of_models = [
        f"{kind}.{letter}" if letter else kind
        for kind in ("npz", "zarr", "glb", "ply")
        for letter in (("A", "B") if compare else ("",))
    ]
    # Whether A says much less of the class than B, the rounding of the resized frames can decide.
    absent = set()
    if compare:
        a, b = (read_saliency(tmp_path / outcome.files[f"npz.{letter}"]).tube for letter in "AB")
        scale = max(np.abs(tube).max() for tube in (a, b, a - b))
        absent = {f"ply.{letter}" for letter, tube in (("A", a), ("B", b)) if np.abs(tube).max() <= scale / 2}
    assert set(outcome.files) == {"overlay", "gif", "sheet", "frames", "slices", "tube", *panels, *of_models} - absent
    for kind in ("ply.A", "ply.B"):
        assert (f"no {kind}: the tube reaches half of the scale nowhere" in outcome.warnings) == (kind in absent)
    assert {*outcome.files.values(), "manifest.json"} == {file.name for file in tmp_path.iterdir()}
    for kind, name in outcome.files.items():
        path = tmp_path / name
        if path.suffix == ".mp4":
            with av.open(str(path)) as container:
                assert len(list(container.decode(video=0))) == 8
        elif path.suffix in (".png", ".gif"):
            with Image.open(path) as image:
                assert image.size[0] > 200
        elif kind.startswith("zarr"):
            np.testing.assert_array_equal(
                read_saliency(path).tube, read_saliency(tmp_path / outcome.files[kind.replace("zarr", "npz")]).tube
            )
        assert path.stat().st_size > 100
    saved = read_saliency(tmp_path / outcome.files[of_models[0]])
    assert saved.map.shape == (2, 4, 4)
    assert saved.versus_name == outcome.versus != ""
    assert len(outcome.clip_hash) == 64


def test_the_scale_of_a_data_set(
    assets: Path, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All maps first, then all pictures on the quantile of |M|; interrupted while drawing, and resumed."""
    limits: list[float] = []
    real = output_files.write_contact_sheet

    def note(path: Path, figure: Any) -> None:
        limits.append(figure.scale.limit)
        if len(limits) == 2:
            raise KeyboardInterrupt
        real(path, figure)

    monkeypatch.setitem(output_files._PICTURES, "sheet", ("_sheet.png", note))
    calls = count_clips(monkeypatch)
    arguments = ["--ckpt_path", assets / "a.ckpt", "--data.root", many, "--output", tmp_path, "--outputs", "sheet"]
    arguments += ["--layer", "layer2", "--scale", "dataset", "--scale_quantile", "0.9"]
    assert run_tool(*arguments) == 130
    statuses = get_statuses(read_export(tmp_path).videos)
    assert [statuses[f"clip{i}"] for i in (0, 1, 3)] == ["ok", "mapped", "mapped"]
    assert sum(calls) == 3
    assert run_tool(*arguments, "--resume") == 0
    assert sum(calls) == 3  # no map is made twice
    saved = read_export(tmp_path)
    assert saved.complete
    assert [get_statuses(saved.videos)[f"clip{i}"] for i in (0, 1, 3)] == ["ok"] * 3
    tubes = [read_saliency(tmp_path / video.files["npz"]).tube for video in saved.videos if video.status == "ok"]
    expected = np.quantile(np.abs(np.concatenate([tube.ravel() for tube in tubes])), 0.9)
    assert limits == [pytest.approx(expected, rel=0.05)] * 4
    assert saved.manifest["scale_limit"] == limits[0]
    assert all(set(video.files) == {"npz", "sheet"} for video in saved.videos if video.status == "ok")
    assert "3 of 5 videos explained" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--method", "class_feature_pyramids", "--layer", "layer3"],
        ["--method", "class_feature_pyramids", "--method_options", "theta=1"],
        ["--method", "grad_cam", "--method_options", "per_step=true", "--scale", "rank"],
        ["--method", "rise", "--method_options", "num_masks=4", "grid=[2,2,2]", "--scale", "map"],
        ["--scale", "fixed", "--scale_limit", "0.5", "--positive_only"],
    ],
)
def test_methods_and_scales_from_the_command_line(assets: Path, tmp_path: Path, arguments: list[str]) -> None:
    video = assets / "videos" / "Archery"
    assert run_tool("--ckpt_path", assets / "a.ckpt", "--videos", video, "--output", tmp_path, *arguments) == 0
    (outcome,) = read_export(tmp_path).videos
    saved = read_saliency(tmp_path / outcome.files["npz"])
    assert np.isfinite(saved.tube).all()
    settings = read_export(tmp_path).manifest["settings"]
    assert settings["method"] == saved.method
    assert json.loads(saved.method_options) == settings["method_options"]
    if "theta=1" in arguments and not saved.tube.any():
        assert any("empty" in warning for warning in outcome.warnings)


def test_layers_and_methods_are_listed(assets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_tool("--list_layers", "--ckpt_path", assets / "a.ckpt", "--compare", assets / "b.ckpt") == 0
    printed = capsys.readouterr().out
    assert "for a clip of 8 x 32 x 32" in printed
    assert printed.count("layer2") > 10
    assert any(
        line.split() == ["layer3", "Sequential", "128", "x", "1", "x", "2", "x", "2"] for line in printed.splitlines()
    )
    assert run_tool("--list_methods") == 0
    printed = capsys.readouterr().out
    assert "grad_cam: one forward, one backward a clip; looks at any layer; in logits per cell" in printed
    assert "  per_step=False" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--ckpt_path, --output, --videos or --data.root"),
        (["--list_layers"], "--ckpt_path"),
        (["--videos", "a", "--data.root", "b", "--ckpt_path", "c", "--output", "d"], "not allowed with"),
        (["--videos", "a", "--data.split", "b", "--ckpt_path", "c", "--output", "d"], "need --data.root"),
        (["--outputs", "pdf"], "invalid choice"),
        (["--scale", "x"], "invalid choice"),
        (["--batch_size", "0"], "at least 1"),
    ],
)
def test_missing_and_clashing_options_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        run_tool(*arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_choices_are_those_of_the_library() -> None:
    tool = load_tool()
    assert tool.OUTPUTS == OUTPUT_KINDS
    assert tool.SCALES == SCALES


@pytest.mark.parametrize("arguments", [["--max_videos", "0"], ["--max_videos", "x"], ["--device", "tpu"], []])
def test_mistyped_options_are_refused_at_once(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_tool("--ckpt_path", "a.ckpt", "--videos", "x", *(["--output", "y", *arguments] if arguments else []))
    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_help_does_not_import_torch() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = (
        f"import sys, runpy; sys.argv = ['x', '--help']\ntry: runpy.run_path({str(TOOL)!r}, run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "--ckpt_path" in done.stdout


def test_the_script_itself_exits_without_a_traceback(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--ckpt_path", assets / "text.ckpt", "--videos", assets / "videos", "--output", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", [str(TOOL), *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL), run_name="__main__")
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.real_data
def test_a_real_clip_is_explained(shared_dir: Path, assets: Path, tmp_path: Path) -> None:
    folder = shared_dir / "data/ucf101_mini/val/Archery"
    arguments = [
        "--ckpt_path",
        assets / "a.ckpt",
        "--videos",
        folder,
        "--output",
        tmp_path / "out",
        "--max_videos",
        "1",
    ]
    assert run_tool(*arguments) == 0
    assert [video["status"] for video in read_manifest(tmp_path / "out")["videos"]] == ["ok"]
