"""The parts of an export that touch names and files of others: targets, videos, output folder, npz."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videosoft.errors import InputError
from videosoft.explain import SaliencyTube, read_saliency, write_saliency
from videosoft.explain.class_names import parse_class
from videosoft.explain.export import _label_files
from videosoft.explain.output_folder import OutputFolder, make_safe_name
from videosoft.explain.video_files import find_videos

CLASSES = ("Archery", "basketball dunk", "7", "Billiards")


@pytest.mark.parametrize(
    ("target", "name"), [("Archery", "Archery"), ("0", "Archery"), ("3", "Billiards"), ("7", "7"), ("2", "7")]
)
def test_target_is_a_name_or_an_index(target: str, name: str) -> None:
    assert parse_class(target, CLASSES, owner="a.ckpt") == name


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("archery", r"class 'archery' is not among the 4 classes of a\.ckpt; did you mean 'Archery'"),
        ("Biliards", r"did you mean 'Billiards'"),
        ("zzz", r"it has Archery, basketball dunk"),
        ("4", r"target 4 is out of range: a\.ckpt has classes 0\.\.3"),
        ("-1", r"out of range"),
        ("--5", r"not among"),
        ("1.5", r"not among"),
        ("", r"not among"),
    ],
)
def test_unknown_targets_are_named(target: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_class(target, CLASSES, owner="a.ckpt")


@pytest.mark.parametrize(
    ("paths", "labels"),
    [
        (["a/one.ckpt"], ["one.ckpt"]),
        (["a/one.ckpt", "b/two.ckpt"], ["one.ckpt", "two.ckpt"]),
        (["runs/a/last.ckpt", "runs/b/last.ckpt"], ["a/last.ckpt", "b/last.ckpt"]),
        (["/r/a/v0/ck/last.ckpt", "/r/b/v0/ck/last.ckpt"], ["a/…/last.ckpt", "b/…/last.ckpt"]),
        (["same.ckpt", "same.ckpt"], ["same.ckpt", "same.ckpt"]),
    ],
)
def test_checkpoints_of_one_name_are_told_apart_by_their_folders(paths: list[str], labels: list[str]) -> None:
    assert _label_files([Path(path) for path in paths]) == labels


def test_videos_are_found_once_and_sorted(tmp_path: Path) -> None:
    for name in ("b/2.mp4", "b/1.MP4", "a/3.webm", "a/notes.txt", "odd.bin", "b/results/deep/2_overlay.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    paths = [tmp_path / "odd.bin", tmp_path, tmp_path / "a" / ".." / "b" / "2.mp4"]
    found = find_videos(paths, exclude=tmp_path / "b" / "results")
    assert found == [tmp_path / name for name in ("odd.bin", "a/3.webm", "b/1.MP4", "b/2.mp4")]


def test_missing_videos_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.mp4 does not exist"):
        find_videos([tmp_path / "nowhere.mp4"], exclude=tmp_path / "results")
    with pytest.raises(InputError, match="no video under folder"):
        find_videos([tmp_path], exclude=tmp_path / "results")


@pytest.mark.parametrize(
    "text", ["../../etc/passwd", "..", ".", "", ".hidden", "a/b\\c", "x" * 500, "射" * 200, "a\0b\n", "\udcff", "-rf"]
)
def test_safe_names_stay_in_the_folder(tmp_path: Path, text: str) -> None:
    name = make_safe_name(text)
    file = tmp_path / f"{name}_overlay.mp4"
    file.touch()
    assert list(tmp_path.iterdir()) == [file]
    assert not name.startswith(".")
    assert name


def test_plain_ids_keep_their_name() -> None:
    assert make_safe_name("v_Archery_g08_c01.final-2") == "v_Archery_g08_c01.final-2"


def test_names_never_collide(tmp_path: Path) -> None:
    (tmp_path / "clip-3.A.npz").touch()
    folder = OutputFolder(tmp_path / "new", overwrite=False)
    folder.open({})
    assert [folder.reserve_name(name) for name in ("clip", "clip", "CLIP-2", "a/b", "a:b")] == [
        "clip",
        "clip-2",
        "CLIP-2-2",
        "a_b",
        "a_b-2",
    ]


def finish_export(path: Path) -> None:
    folder = OutputFolder(path, overwrite=False)
    folder.open({"tool": "export_saliency"})
    (path / "clip.npz").touch()
    folder.add_video({"video_id": "clip", "files": ["clip.npz"]})
    folder.close()


def test_overwriting_removes_only_what_the_manifest_lists(tmp_path: Path) -> None:
    output = tmp_path / "results"
    finish_export(output)
    (output / "notes.txt").write_text("mine")
    (output / "other.npz").write_text("mine too")
    with pytest.raises(InputError, match="is not empty; give another one, or --overwrite"):
        OutputFolder(output, overwrite=False)
    folder = OutputFolder(output, overwrite=True)
    assert (output / "clip.npz").exists()  # nothing is removed before all the checks are done
    folder.open({})
    assert sorted(file.name for file in output.iterdir()) == ["manifest.json", "notes.txt", "other.npz"]
    assert folder.reserve_name("other") == "other-2"


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, "it has no manifest.json"),
        ("[]", "is not a manifest of this tool"),
        ("{", "is not a manifest of this tool"),
        ({"format_version": 1}, "is not a manifest of this tool"),
        ({"format_version": 2, "videos": []}, "has format_version 2, newer than 1"),
        ({"format_version": 1, "videos": [{"files": ["../precious"]}]}, r"'\.\./precious', which is not a plain file"),
        ({"format_version": 1, "videos": [{"files": ["/etc/passwd"]}]}, "not a plain file name"),
        ({"format_version": 1, "videos": [{"files": [".."]}]}, "not a plain file name"),
        ({"format_version": 1, "videos": [{"files": [7]}]}, "not a plain file name"),
        ({"format_version": 1, "videos": [{"files": ["folder"]}]}, "'folder', which is a folder"),
    ],
)
def test_foreign_and_tampered_folders_are_not_overwritten(tmp_path: Path, manifest: Any, message: str) -> None:
    output = tmp_path / "results"
    (output / "folder").mkdir(parents=True)
    (tmp_path / "precious").touch()
    if manifest is not None:
        text = manifest if isinstance(manifest, str) else json.dumps(manifest)
        (output / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=message):
        OutputFolder(output, overwrite=True)
    assert (tmp_path / "precious").exists()


def test_the_manifest_is_true_at_every_moment(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "deep" / "results", overwrite=False)
    assert not (tmp_path / "deep").exists()
    states = []
    folder.open({"tool": "export_saliency"})
    for step in (lambda: None, lambda: folder.add_video({"video_id": "a", "files": []}), folder.close):
        step()
        manifest = json.loads((tmp_path / "deep" / "results" / "manifest.json").read_text())
        states.append((manifest["complete"], len(manifest["videos"]), manifest["format_version"]))
    assert states == [(False, 0, 1), (False, 1, 1), (True, 1, 1)]


TUBE = SaliencyTube(
    map=torch.randn(1, 2, 2),
    tube=torch.randn(4, 8, 8),
    target=2,
    logit=1.5,
    residual=1e-7,
    layer="layer4",
    method="saliency_tubes",
    logits=torch.zeros(3),
)


def write_example(path: Path) -> None:
    write_saliency(path, TUBE, frames=(3, 5, 7, 9), target_name="Archery", video_id="clip", checkpoint_hash="ab")


def test_npz_keeps_the_signed_map(tmp_path: Path) -> None:
    write_example(tmp_path / "a.npz")
    saved = read_saliency(tmp_path / "a.npz")
    np.testing.assert_array_equal(saved.map, TUBE.map.numpy())
    np.testing.assert_array_equal(saved.tube, TUBE.tube.numpy())
    assert saved.tube.dtype == np.float32
    np.testing.assert_array_equal(saved.frames, [3, 5, 7, 9])
    assert (saved.target, saved.target_name, saved.layer, saved.method) == (2, "Archery", "layer4", "saliency_tubes")
    assert (saved.logit, saved.residual, saved.video_id, saved.checkpoint_hash) == (1.5, 1e-7, "clip", "ab")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert {"map", "tube", "frames", "target", "layer", "method", "residual"} <= set(archive.files)
    assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a saliency npz file"),
        (b"not a zip", "is not a saliency npz file"),
        ({"format_version": np.array([object()])}, "is not a saliency npz file"),
        ({"format_version": np.int64(1), "map": np.zeros(1)}, "is not a saliency npz file"),
        ({"format_version": np.int64(2)}, "has format_version 2, this version of videosoft reads up to 1"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "a.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(path, **content)
    with pytest.raises(InputError, match=message):
        read_saliency(path)
