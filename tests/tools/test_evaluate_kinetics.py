"""tools/evaluate_kinetics.py and tools/export_weights.py on a small checkpoint and real files."""

import errno
import json
import os
import runpy
import shutil
import signal
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import av
import numpy as np
import pyarrow as pa
import pytest
import torch

from videosoft.data import Preprocessing, load_views, normalize_clip
from videosoft.evaluation import read_predictions, write_predictions
from videosoft.models import create_checkpoint_card, create_model, load_checkpoint
from videosoft.training import VideoClassifier, evaluation_parts
from videosoft.training.callbacks import prediction_writer

TOOLS = Path(__file__).resolve().parents[2] / "tools"
CLASS_NAMES = ("zebra", "ape")  # not sorted: the order is the checkpoint's
RESULTS = ["confusion_matrix.csv", "confusion_matrix.png", "metrics.json", "predictions.parquet", "reliability.png"]
PREPROCESSING = Preprocessing(num_frames=8, sampling_stride=1, short_side=36, crop=32)


def run_tool(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", [str(TOOLS / name), *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOLS / name), run_name="__main__")
    return int(stop.value.code or 0)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    kwargs = {"pool": "soft", "width": 0.0625}
    network = create_model("r3d50", num_classes=2, **kwargs)
    card = create_checkpoint_card(
        model_name="r3d50",
        model_kwargs=kwargs,
        class_names=CLASS_NAMES,
        preprocessing=PREPROCESSING.to_dict(),
        data={},
    )
    path = tmp_path / "a.ckpt"
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "videosoft": card, "optimizer_states": []}, path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Class folders without any CSV: three good videos of different look, a broken one, a short one."""
    generator = np.random.default_rng(0)
    for label, name, num_frames in (("ape", "a", 12), ("ape", "b", 20), ("zebra", "c", 9), ("zebra", "short", 4)):
        path = tmp_path / "data" / "val" / label / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            # x264's mb-tree reads beyond frames that small: one file in a hundred would differ.
            stream = container.add_stream("libx264", rate=25, options={"x264-params": "mbtree=0"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for image in generator.integers(0, 255, (num_frames, 48, 64, 3), dtype=np.uint8):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
    (tmp_path / "data" / "val" / "zebra" / "text.mp4").write_text("this is not a video")
    return tmp_path / "data"


def test_evaluation_equals_a_loop_over_views(
    checkpoint: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--views", "3x3", "--output", output)
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--num_workers", 0, "--batch_size", 4) == 0
    assert "3 of 5 videos" in capsys.readouterr().out
    table = read_predictions(output / "predictions.parquet")
    rows = {row["video_id"]: row for row in table.rows.to_pylist()}
    assert rows["a"]["path"] == "val/ape/a.mp4"
    assert {name: row["status"] for name, row in rows.items()} == {
        **{"a": "ok", "b": "ok", "c": "ok"},
        **{"short": "too_short", "text": "unreadable"},
    }
    network = load_checkpoint(checkpoint).network
    for name, label in (("a", "ape"), ("b", "ape"), ("c", "zebra")):
        views = load_views(root / "val" / label / f"{name}.mp4", PREPROCESSING, 3, 3).video
        with torch.no_grad():
            one_by_one = [
                network(normalize_clip(view[None], PREPROCESSING.mean, PREPROCESSING.std))[0] for view in views
            ]
        expected = torch.stack([torch.softmax(logits, 0) for logits in one_by_one]).mean(0)
        np.testing.assert_allclose(rows[name]["probabilities"], expected.numpy(), atol=1e-5)
        assert rows[name]["prediction"] == int(expected.argmax())
        assert rows[name]["label"] == CLASS_NAMES.index(label)
        assert rows[name]["num_views"] == 9
    metrics = json.loads((output / "metrics.json").read_text())
    correct = [rows[name]["prediction"] == rows[name]["label"] for name in "abc"]
    assert metrics["top1"] == pytest.approx(np.mean(correct))
    assert (metrics["num_videos"], metrics["num_evaluated"], metrics["protocol"]) == (5, 3, "3x3")
    for name in ("confusion_matrix.csv", "confusion_matrix.png", "reliability.png"):
        assert (output / name).is_file()


def test_short_videos_are_looped_on_request(
    checkpoint: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--views", "1x1", "--num_workers", 0)
    code = run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--short_videos", "loop", "--output", tmp_path / "out")
    assert code == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["num_evaluated"] == 4


def test_views_that_exceed_all_videos(
    checkpoint: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "short.txt").write_text("val/zebra/short.mp4 zebra\n")
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--views", "10x3", "--num_workers", 0)
    options = ("--data.annotations", tmp_path / "short.txt", "--output", tmp_path / "out")
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, *options) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: none of the 1 videos could be evaluated (1 too_short)")
    assert "--short_videos loop" in last


@pytest.mark.parametrize("views", ["1x1", "windows"])
def test_a_list_of_its_own_and_another_decoder(
    checkpoint: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: str
) -> None:
    (tmp_path / "two.txt").write_text("val/ape/a.mp4 ape\nval/zebra/c.mp4 zebra\n")
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--views", views, "--num_workers", 0)
    options = ("--data.annotations", tmp_path / "two.txt", "--data.decoder", "pyav", "--output", tmp_path / "out")
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, *options) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["num_videos"], metrics["num_evaluated"], metrics["protocol"]) == (2, 2, views)


def test_results_are_not_overwritten_unless_asked(
    checkpoint: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--views", "1x1", "--num_workers", 0)
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base) == 0
    written = (checkpoint.parent / "evaluation_val_1x1" / "metrics.json").read_bytes()
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base) == 2
    assert "already holds an evaluation: pass --overwrite" in capsys.readouterr().err
    assert (checkpoint.parent / "evaluation_val_1x1" / "metrics.json").read_bytes() == written
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--overwrite") == 0


def stop_at_batch(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException | None = None) -> None:
    """An error, or else Ctrl-C, while the batch of that number is evaluated."""
    test_step = VideoClassifier.test_step

    def step(self: VideoClassifier, batch: Any, batch_idx: int) -> Any:
        if batch_idx == number:
            raise error or KeyboardInterrupt
        return test_step(self, batch, batch_idx)

    monkeypatch.setattr(VideoClassifier, "test_step", step)


def terminate_at_batch(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """SIGTERM while the batch of that number is evaluated."""
    test_step = VideoClassifier.test_step

    def step(self: VideoClassifier, batch: Any, batch_idx: int) -> Any:
        if batch_idx == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return test_step(self, batch, batch_idx)

    monkeypatch.setattr(VideoClassifier, "test_step", step)


@pytest.mark.parametrize("seconds", [0, 60], ids=["a part a batch", "one part at the end"])
def test_an_interrupted_evaluation_goes_on(
    checkpoint: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    seconds: float,
) -> None:
    """The same table as without, bit for bit, and no batch is evaluated twice."""
    monkeypatch.setattr(evaluation_parts, "SECONDS_BETWEEN_PARTS", seconds)
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--views", "2x1", "--num_workers", 0, "--batch_size", 4)
    base = (*base, "--short_videos", "loop", "--output")
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, tmp_path / "whole") == 0
    with monkeypatch.context() as stopped:
        stop_at_batch(stopped, 1)
        assert run_tool(stopped, "evaluate_kinetics.py", *base, tmp_path / "cut") == 130
    assert "the same command, without --overwrite, goes on from here" in capsys.readouterr().err
    assert not (tmp_path / "cut" / "metrics.json").exists()
    with monkeypatch.context() as stopped:
        terminate_at_batch(stopped, 0)
        assert run_tool(stopped, "evaluate_kinetics.py", *base, tmp_path / "cut") == 143
    assert "going on: 2 of 5 videos are evaluated already" in capsys.readouterr().err
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, tmp_path / "cut") == 0
    assert "going on: 4 of 5 videos are evaluated already" in capsys.readouterr().err
    for name in ("whole", "cut"):
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == RESULTS
    assert read_results(tmp_path / "cut") == read_results(tmp_path / "whole")
    assert read_results(tmp_path / "whole")[1]["num_repeated"] == 1


def read_results(folder: Path) -> tuple[pa.Table, dict[str, Any]]:
    """The table, and metrics.json without the command."""
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["command"]
    return read_predictions(folder / "predictions.parquet").rows, metrics


def test_an_evaluation_that_replaces_another_goes_on(
    checkpoint: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the disk was full after the first of the results was written."""
    output = tmp_path / "out"
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--views", "1x1", "--num_workers", 0, "--batch_size", 2)
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--output", tmp_path / "whole") == 0
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--output", output) == 0
    with monkeypatch.context() as stopped:
        stop_at_batch(stopped, 1)
        assert run_tool(stopped, "evaluate_kinetics.py", *base, "--output", output, "--overwrite") == 130
    with monkeypatch.context() as full:
        error = OSError(errno.ENOSPC, "No space left on device")
        full.setattr(prediction_writer, "write_evaluation", Mock(side_effect=error))
        assert run_tool(full, "evaluate_kinetics.py", *base, "--output", output) == 2
    printed = capsys.readouterr().err
    assert "going on: 2 of 5 videos are evaluated already" in printed
    assert "the same command, without --overwrite, goes on from here" in printed
    assert printed.splitlines()[-1].startswith("error: the disk is full")
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--output", output) == 0
    assert "going on: 4 of 5 videos are evaluated already" in capsys.readouterr().err
    assert read_results(output) == read_results(tmp_path / "whole")
    assert sorted(path.name for path in output.iterdir()) == RESULTS


def test_videos_that_could_not_be_read_are_tried_again(
    checkpoint: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--views", "1x1", "--num_workers", 0, "--batch_size", 2)
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--output", tmp_path / "whole") == 0
    video = root / "val" / "ape" / "b.mp4"
    content = video.read_bytes()
    video.write_bytes(b"")
    with monkeypatch.context() as stopped:
        stop_at_batch(stopped, 2)
        assert run_tool(stopped, "evaluate_kinetics.py", *base, "--output", tmp_path / "cut") == 130
    video.write_bytes(content)
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--output", tmp_path / "cut") == 0
    assert "going on: 3 of 5 videos are evaluated already" in capsys.readouterr().err
    assert read_results(tmp_path / "cut") == read_results(tmp_path / "whole")


def test_an_evaluation_that_did_not_fit_into_memory_goes_on_in_smaller_batches(
    checkpoint: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--views", "1x1", "--num_workers", 0)
    base = (*base, "--output", tmp_path / "out", "--batch_size")
    for number in (0, 1):
        with monkeypatch.context() as stopped:
            stop_at_batch(stopped, number, torch.OutOfMemoryError("CUDA out of memory."))
            assert run_tool(stopped, "evaluate_kinetics.py", *base, 2) == 2
        printed = capsys.readouterr().err
        assert ("is kept" in printed) == (number > 0)
        assert "try one of 1" in printed.splitlines()[-1]
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, 1) == 0
    assert "going on: 2 of 5 videos are evaluated already" in capsys.readouterr().err
    assert read_results(tmp_path / "out")[1]["num_evaluated"] == 3


def test_an_interrupted_evaluation_goes_on_with_its_own_settings(
    checkpoint: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--views", "1x1", "--num_workers", 0, "--output", output)
    with monkeypatch.context() as stopped:
        stop_at_batch(stopped, 1)
        assert run_tool(stopped, "evaluate_kinetics.py", *base, "--batch_size", 2) == 130
    parts = output / "unfinished"
    (part,) = parts.glob("*.parquet")
    capsys.readouterr()

    def expect(message: str) -> None:
        assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--batch_size", 2) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert message in error
        assert "give another --output, or --overwrite to begin anew" in error

    (tmp_path / "copy").symlink_to(root)
    elsewhere = ("--data.root", tmp_path / "copy")  # the same place by another name
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, *elsewhere, "--data.decoder", "pyav") == 2
    assert "begun with other settings (differing: decoder)" in capsys.readouterr().err
    shutil.copytree(root, tmp_path / "smaller")
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--data.root", tmp_path / "smaller") == 2
    assert "begun with other settings (differing: root)" in capsys.readouterr().err
    table = read_predictions(part)
    (parts / "settings.json").rename(tmp_path / "settings.json")
    expect("is not what an evaluation left")
    (tmp_path / "settings.json").rename(parts / "settings.json")
    names = {"class_names": CLASS_NAMES, "checkpoint_hash": table.checkpoint_hash, "protocol": "1x1"}
    write_predictions(part, table.rows.to_pylist(), **{**names, "checkpoint_hash": "of another one"})
    expect("is of another evaluation")
    write_predictions(part, [row | {"video_id": "x"} for row in table.rows.slice(0, 1).to_pylist()], **names)
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--batch_size", 2) == 2
    assert "x was evaluated, but is not in the list of videos" in capsys.readouterr().err
    part.with_suffix(".json").write_text("[]")
    expect("is not what an evaluation left")
    part.write_bytes(b"PAR1")
    expect("is not a readable Parquet file")
    (parts / "settings.json").write_text('{"format_version": 9, "settings": {}}')
    expect("has format_version 9, not 1")
    (parts / "settings.json").write_text("{")
    expect("is not what an evaluation left")
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, "--batch_size", 2, "--overwrite") == 0
    assert sorted(path.name for path in output.iterdir()) == RESULTS


BAD_ARGUMENTS = [
    (["--ckpt_path", "{tmp}/none.ckpt"], r"none.ckpt does not exist"),
    (["--ckpt_path", "{tmp}/data/val/zebra/text.mp4"], r"is not a checkpoint"),
    (["--data.root", "{tmp}/none"], r"none is not a folder"),
    (["--data.split", "train"], r"neither train.csv nor a folder train/"),
    (["--views", "ten"], r"views='ten'"),
    (["--output", "{tmp}/a.ckpt"], r"a.ckpt cannot be used"),
    (["--output", "{tmp}/a.ckpt/x"], r"a.ckpt/x cannot be used"),
    (["--accelerator", "abacus"], r"abacus"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_bad_arguments(
    arguments: list[str],
    message: str,
    checkpoint: Path,
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    filled = [argument.format(tmp=tmp_path) for argument in arguments]
    base = ("--ckpt_path", checkpoint, "--data.root", root, "--num_workers", 0, "--output", tmp_path / "out")
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, *filled) == 2
    printed = capsys.readouterr().err
    assert printed.splitlines()[-1].startswith("error: ")
    assert message in printed.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("option", "least"), [("--batch_size", 1), ("--num_workers", 0)])
def test_counts_below_the_least_are_refused_by_the_parser(
    option: str, least: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("--ckpt_path", tmp_path / "none.ckpt", "--data.root", tmp_path)
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, option, least - 1) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("evaluate_kinetics.py: error: ")
    assert f"{option}: must be a whole number of at least {least}" in error


@pytest.mark.parametrize("devices", ["0", "two", "-1", "1.5", ""])
def test_numbers_of_devices_that_are_none(
    devices: str, checkpoint: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ("--ckpt_path", checkpoint, "--data.root", root)
    assert run_tool(monkeypatch, "evaluate_kinetics.py", *base, f"--devices={devices}") == 2
    assert f"{devices!r} is neither a number of devices, at least 1, nor auto" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["small.ckpt", "small.safetensors"])
def test_export_weights_is_small_and_gives_the_same_answers(
    name: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = tmp_path / name
    assert run_tool(monkeypatch, "export_weights.py", "--ckpt_path", checkpoint, "--output", small) == 0
    assert small.stat().st_size < 0.7 * checkpoint.stat().st_size
    a, b = load_checkpoint(checkpoint), load_checkpoint(small)
    assert (a.class_names, a.preprocessing) == (b.class_names, b.preprocessing)
    clip = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(a.network(clip), b.network(clip), rtol=0.02, atol=0.02)
    assert run_tool(monkeypatch, "export_weights.py", "--ckpt_path", checkpoint, "--output", small) == 2
    assert "pass --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "message"), [("a.ckpt/x.ckpt", "output folder {tmp}/a.ckpt cannot be used"), ("folder", "is a folder")]
)
def test_export_weights_to_a_place_that_is_none(
    output: str,
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "a.ckpt").touch()
    (tmp_path / "folder").mkdir()
    arguments = ("--ckpt_path", checkpoint, "--output", tmp_path / output, "--overwrite")
    assert run_tool(monkeypatch, "export_weights.py", *arguments) == 2
    assert message.format(tmp=tmp_path) in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "folder"]
