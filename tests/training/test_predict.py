"""`lightning predict --ckpt_path X --video FILES`: no config, no list, no labels."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_runs import run_lightning, write_video

from videosoft.data import Preprocessing, load_views, normalize_clip
from videosoft.errors import InputError
from videosoft.evaluation import compute_metrics, read_predictions
from videosoft.evaluation.predictions import iterate_predictions
from videosoft.models import create_checkpoint_card, create_model, load_checkpoint
from videosoft.predict_command import takes_video_files
from videosoft.training import predict

CLASS_NAMES = ("archery", "bowling", "\x1b[31mred", "d", "e", "f", "g")
PREPROCESSING = Preprocessing(num_frames=4, sampling_stride=1, short_side=32, crop=32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = create_model("r3d50", num_classes=len(CLASS_NAMES), pool="soft", width=0.0625)
    card = create_checkpoint_card(
        model_name="r3d50",
        model_kwargs={"pool": "soft", "pool_kernel": None, "width": 0.0625},
        class_names=CLASS_NAMES,
        preprocessing=PREPROCESSING.to_dict(),
        data={},
    )
    path = tmp_path_factory.mktemp("checkpoint") / "a.ckpt"
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, "videosoft": card}, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good videos of one stem, one with a hostile name, a broken one, a short one, and a text."""
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "v_Archery_g08_c01.mp4", 12, rising=True)
    write_video(folder / "deep" / "down" / "v_Archery_g08_c01.mp4", 12, rising=False)
    write_video(folder / "deep" / "e\x1b[31mvil.mp4", 12, rising=False)
    write_video(folder / "short.mp4", 3, rising=True)
    (folder / "broken.MKV").write_text("not a video")
    (folder / "notes.txt").write_text("not a video")
    return folder


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_predict(monkeypatch: pytest.MonkeyPatch, checkpoint: Path, *arguments: str | Path) -> int:
    options = ("--ckpt_path", checkpoint, "--num_workers", "0", "--device", "cpu")
    return run_lightning(monkeypatch, "predict", *options, *arguments)


def test_a_folder_is_searched_and_its_good_videos_predicted(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_predict(monkeypatch, checkpoint, "--video", folder, "--views", "2x3", "--batch_size", "4") == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert "broken.MKV: unreadable: " in printed
    assert "short.mp4: too_short: " in printed
    assert "3 of 5 videos predicted (1 unreadable, 1 too_short)" in printed
    assert printed.count("%") == 3 * 5
    table = read_predictions("runs/predict/version_0/predictions.parquet", labels_required=False)
    assert (table.class_names, table.protocol) == (CLASS_NAMES, "2x3")
    assert table.checkpoint_hash == load_checkpoint(checkpoint).metadata["checkpoint_hash"]
    rows = {row["video_id"]: row for row in table.rows.to_pylist()}
    statuses = {name: row["status"] for name, row in rows.items()}
    assert statuses == {
        "broken": "unreadable",
        "deep/down/v_Archery_g08_c01": "ok",
        "e\x1b[31mvil": "ok",
        "short": "too_short",
        "v_Archery_g08_c01": "ok",
    }
    assert {row["label"] for row in rows.values()} == {row["label_name"] for row in rows.values()} == {None}
    assert rows["deep/down/v_Archery_g08_c01"]["group_id"] == "v_Archery_g08"


@torch.inference_mode()
def test_scores_are_the_mean_of_the_views_softmax(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    video = folder / "v_Archery_g08_c01.mp4"
    assert (
        run_predict(monkeypatch, checkpoint, "--video", video, "--views", "3x1", "--top", "2", "--output", "out") == 0
    )
    views = load_views(video, PREPROCESSING, num_clips=3, num_crops=1).video
    logits = load_checkpoint(checkpoint).network(normalize_clip(views, PREPROCESSING.mean, PREPROCESSING.std))
    expected = logits.softmax(1).mean(0).numpy()
    (row,) = read_predictions("out/predictions.parquet", labels_required=False).rows.to_pylist()
    assert np.allclose(row["probabilities"], expected, atol=1e-6)
    assert (row["prediction"], row["num_views"]) == (expected.argmax(), 3)
    lines = capsys.readouterr().out.splitlines()
    first, second = np.argsort(-expected)[:2]
    assert [line.split()[0] for line in lines[1:3]] == [f"{expected[first]:.2%}", f"{expected[second]:.2%}"]
    assert lines[3].startswith("1 of 1 videos predicted")


def test_predictions_without_labels_are_not_evaluated(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = folder / "v_Archery_g08_c01.mp4"
    assert run_predict(monkeypatch, checkpoint, "--video", video, "--views", "1x1", "--output", "out") == 0
    with pytest.raises(InputError, match=r"predictions\.parquet: 1 videos have no label"):
        read_predictions("out/predictions.parquet")
    with pytest.raises(InputError, match="have no label"):
        list(iterate_predictions("out/predictions.parquet"))
    table = read_predictions("out/predictions.parquet", labels_required=False)
    with pytest.raises(InputError, match="cannot be evaluated or compared"):
        compute_metrics(table, command="")


def test_runs_get_folders_of_their_own_and_results_are_kept(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--video", folder / "v_Archery_g08_c01.mp4", "--views", "1x1")
    for number in range(2):
        assert run_predict(monkeypatch, checkpoint, *arguments) == 0
        assert Path(f"runs/predict/version_{number}/predictions.parquet").is_file()
    here = ("--output", "runs/predict/version_0")
    assert run_predict(monkeypatch, checkpoint, *arguments, *here) == 2
    assert "already holds predictions: pass --overwrite" in capsys.readouterr().err
    assert run_predict(monkeypatch, checkpoint, *arguments, *here, "--overwrite") == 0


@pytest.mark.slow
def test_tubes_show_the_class_that_was_predicted(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = folder / "v_Archery_g08_c01.mp4"
    assert run_predict(monkeypatch, checkpoint, "--video", video, "--views", "3x1", "--output", "out", "--tube") == 0
    from videosoft.explain.export import read_export

    (outcome,) = read_export(Path("out/tubes")).videos
    (row,) = read_predictions("out/predictions.parquet", labels_required=False).rows.to_pylist()
    assert outcome.target == CLASS_NAMES[row["prediction"]]
    assert all(Path("out/tubes", name).is_file() for name in outcome.files.values())
    assert any(name.endswith("_overlay.mp4") for name in outcome.files.values())


def test_ctrl_c_keeps_what_is_there(
    checkpoint: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    predict_batch = predict._predict_batch
    calls = 0

    def interrupt(*arguments: Any) -> Iterator[dict[str, Any]]:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return predict_batch(*arguments)

    monkeypatch.setattr(predict, "_predict_batch", interrupt)
    arguments = ("--video", folder, "--views", "1x1", "--batch_size", "1", "--output", "out")
    assert run_predict(monkeypatch, checkpoint, *arguments) == 130
    assert "2 of 5 videos are in out/predictions_partial.parquet" in capsys.readouterr().out
    table = read_predictions("out/predictions_partial.parquet", labels_required=False)
    assert table.rows.num_rows == 2
    assert not Path("out/predictions.parquet").exists()


# Each row: further arguments, what the message must say. {folder} has the videos.
BAD_ARGUMENTS = [
    (["--video", "{folder}/broken.MKV"], r"none of the 1 videos could be predicted \(1 unreadable\)"),
    (["--video", "{folder}/none.mp4"], r"none\.mp4 does not exist"),
    (["--video", "."], r"no video under folder"),
    (["--video", "{folder}", "--views", "10by3"], r"views='10by3'"),
    (["--video", "{folder}", "--config", "r3d50_softpool.yaml"], r"leave out --config"),
    (["--video", "{folder}", "--data.root", "/data"], r"leave out --data\.root"),
    (["--video", "{folder}", "--batch_size", "0"], r"whole number of at least 1"),
    (["--video", "{folder}", "--vews", "1x1"], r"unrecognized arguments: --vews"),
    (["--video", "{folder}", "--output", "{folder}/notes.txt/out"], r"output folder .* cannot be used"),
    (["--video", "{folder}", "--device", "cuda"], r"(?i)cuda"),
    ([], r"arguments are required: --video"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_bad_arguments_end_in_one_clear_message(
    arguments: list[str],
    message: str,
    checkpoint: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("this machine has the device that the case lacks")
    filled = [argument.format(folder=folder) for argument in arguments]
    assert run_predict(monkeypatch, checkpoint, *filled) == 2
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert re.search(message, printed), printed
    assert not list(Path.cwd().rglob("*.parquet"))
    assert not Path("runs").exists()


WHICH = [
    (["--ckpt_path", "a", "--video", "b"], True),
    (["--video=b", "--config", "c"], True),
    (["--help"], True),
    ([], True),
    (["--config", "c", "--ckpt_path", "a"], False),
    (["--config=c", "--help"], False),
    (["--data.root", "d", "--ckpt_path", "a"], False),
]


@pytest.mark.parametrize(("arguments", "expected"), WHICH)
def test_which_predict_is_meant(arguments: list[str], expected: bool) -> None:
    assert takes_video_files(arguments) == expected
