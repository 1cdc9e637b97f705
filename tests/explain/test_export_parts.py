"""The parts of an export that touch names and files of others: classes, videos, output folder, maps on disk."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videosoft.errors import InputError
from videosoft.explain import OutputFolder, SaliencyTube, VideoOutcome, read_export, read_saliency, write_saliency
from videosoft.explain.class_names import compare_class_lists, find_class, parse_class
from videosoft.explain.export import OUTPUT_KINDS, ModelOutcome, list_split, list_videos
from videosoft.explain.export.models import label_files
from videosoft.explain.export.output_files import list_suffixes
from videosoft.explain.export.output_folder import JOURNAL_NAME, make_safe_name

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


def test_class_lists_are_matched_by_name() -> None:
    first = ("massaging person's head", "archery", "diving")
    second = ("surfing", "massaging_persons_head", "archery")
    overlap = compare_class_lists(first, second)
    assert overlap.shared == ("massaging person's head", "archery")
    assert overlap.only_first == ("diving",)
    assert overlap.only_second == ("surfing",)
    assert find_class("massaging person's head", second, owner="b") == 1


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
    assert label_files([Path(path) for path in paths]) == labels


def test_videos_are_found_once_and_sorted(tmp_path: Path) -> None:
    for name in ("b/2.mp4", "b/1.MP4", "a/3.webm", "a/notes.txt", "odd.bin", "b/results/deep/2_overlay.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    paths = [tmp_path / "odd.bin", tmp_path, tmp_path / "a" / ".." / "b" / "2.mp4"]
    found = list_videos(paths, exclude=tmp_path / "b" / "results")
    assert [video.path for video in found] == [
        tmp_path / name for name in ("odd.bin", "a/3.webm", "b/1.MP4", "b/2.mp4")
    ]
    assert [(video.video_id, video.label_name) for video in found[1:]] == [("3", "a"), ("1", "b"), ("2", "b")]


def test_missing_videos_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.mp4 does not exist"):
        list_videos([tmp_path / "nowhere.mp4"], exclude=tmp_path / "results")
    with pytest.raises(InputError, match="no video under folder"):
        list_videos([tmp_path], exclude=tmp_path / "results")


def test_the_videos_of_a_split_have_labels_and_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "val" / "playing chess").mkdir(parents=True)
    (tmp_path / "val" / "playing chess" / "abc_000001_000011.mp4").touch()
    rows = ["label,youtube_id,time_start,time_end,split", "playing chess,abc,1,11,val", "diving,xyz,2,12,val"]
    (tmp_path / "val.csv").write_text("\n".join(rows) + "\n")
    there, missing = list_split(tmp_path, "val")
    assert (there.video_id, there.label_name, there.status) == ("abc_000001_000011", "playing chess", "ok")
    assert there.path == tmp_path / "val" / "playing chess" / "abc_000001_000011.mp4"
    assert (missing.video_id, missing.label_name, missing.status) == ("xyz_000002_000012", "diving", "missing")


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


@pytest.mark.parametrize("letters", [[""], ["A", "B"]])
def test_each_kind_of_file_has_its_own_ending(letters: list[str]) -> None:
    suffixes = list_suffixes(OUTPUT_KINDS, letters)
    assert len(set(suffixes.values())) == len(suffixes)
    assert {kind.partition(".")[0] for kind in suffixes} == set(OUTPUT_KINDS)
    assert all("/" not in suffix for suffix in suffixes.values())
    if letters == ["A", "B"]:
        assert (suffixes["npz.B"], suffixes["panels.A-B"]) == (".B.npz", "_A-B.mp4")


SUFFIXES = {"npz": ".npz", "sheet": "_sheet.png"}
HEADER = {"settings": {"method": "a", "options": {"theta": 0.5}}, "checkpoints": [{"checkpoint_hash": "1"}]}


def create_outcome(path: str, status: str = "ok", **values: Any) -> VideoOutcome:
    said = ModelOutcome("A: r3d50", "Archery", 0.5, 0.25, -1.5, None)
    return VideoOutcome(Path(path).stem, path, "Archery", status, models=(said,), **values)


def open_folder(path: Path, **options: bool) -> OutputFolder:
    folder = OutputFolder(path, **options)
    folder.open(HEADER, {"command": ["export"]})
    return folder


def export_video(folder: OutputFolder, path: str) -> VideoOutcome:
    name, files = folder.begin_video(path, Path(path).stem, SUFFIXES)
    for file in files.values():
        (folder.path / file).touch()
    outcome = create_outcome(path, name=name, files=files, warnings=("w",), frames=(1, 3))
    folder.add_video(outcome)
    return outcome


def test_names_never_collide_with_each_other_nor_with_files_of_others(tmp_path: Path) -> None:
    folder = open_folder(tmp_path / "new")
    (tmp_path / "new" / "clip-3_sheet.png").touch()
    names = [folder.begin_video(str(i), name, SUFFIXES)[0] for i, name in enumerate(["clip", "clip", "CLIP-2", "clip"])]
    assert names == ["clip", "clip-2", "CLIP-2-2", "clip-4"]
    assert [folder.begin_video(name, name, SUFFIXES)[0] for name in ("a/b", "a:b")] == ["a_b", "a_b-2"]


def test_overwriting_removes_only_what_the_manifest_lists(tmp_path: Path) -> None:
    output = tmp_path / "results"
    export_video(open_folder(output), "/videos/clip.mp4")
    (output / "notes.txt").write_text("mine")
    (output / "other.npz").write_text("mine too")
    with pytest.raises(InputError, match=r"is not empty; give another one, --resume .* or --overwrite"):
        OutputFolder(output)
    folder = OutputFolder(output, overwrite=True)
    assert (output / "clip.npz").exists()  # nothing is removed before all the checks are done
    folder.open(HEADER, {})
    assert sorted(file.name for file in output.iterdir()) == ["manifest.json", "notes.txt", "other.npz"]
    assert folder.begin_video("/videos/other.mp4", "other", SUFFIXES)[0] == "other-2"


@pytest.mark.parametrize("options", [{"overwrite": True}, {"resume": True}])
def test_what_a_killed_run_was_writing_is_removed(tmp_path: Path, options: dict[str, bool]) -> None:
    folder = open_folder(tmp_path)
    export_video(folder, "/videos/clip.mp4")
    _, files = folder.begin_video("/videos/[other].mp4", "[other]", SUFFIXES)
    left = [".unfinished-123-manifest.json", *(f".unfinished-77-{name}" for name in files.values())]
    foreign = [".unfinished-123-notes.txt", f".unfinished-mine-{files['npz']}", f"unfinished-77-{files['npz']}"]
    for name in (*left, *foreign):
        (tmp_path / name).touch()
    open_folder(tmp_path, **options)
    present = {file.name for file in tmp_path.iterdir()}
    assert present & {*left, *foreign} == set(foreign)


HOSTILE = [{"files": {"npz": name}} for name in ("../precious", "/etc/passwd", "..", "", "a\\b", 7)]


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (None, r"has no manifest\.json"),
        ("[]", "is not a manifest of this tool"),
        ("{", "is not a manifest of this tool"),
        ({"format_version": 2}, "is not a manifest of this tool"),
        ({"format_version": 1, "videos": []}, "which an earlier version wrote: export anew"),
        ({"format_version": 3, "videos": []}, "has format_version 3, newer than 2"),
        ({"format_version": 2, "videos": [{"files": {}}]}, "is not a manifest of this tool"),
        *[({"format_version": 2, "videos": [entry]}, "which is not a plain file name") for entry in HOSTILE],
    ],
)
def test_foreign_and_tampered_folders_are_not_touched(tmp_path: Path, manifest: Any, message: str) -> None:
    output = tmp_path / "results"
    output.mkdir()
    (output / "notes.txt").touch()
    (tmp_path / "precious").touch()
    if isinstance(manifest, dict):
        whole = create_outcome("/a.mp4").to_json()
        entries = manifest.get("videos", [])
        manifest = (
            {**manifest, "videos": [{**whole, **entry} if entry["files"] else entry for entry in entries]}
            if ("videos" in manifest)
            else manifest
        )
    if manifest is not None:
        (output / "manifest.json").write_text(manifest if isinstance(manifest, str) else json.dumps(manifest))
    for options in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(InputError, match=message):
            OutputFolder(output, **options)
    with pytest.raises(InputError, match=message):
        read_export(output)
    assert (tmp_path / "precious").exists()


def test_a_folder_among_the_files_is_not_removed(tmp_path: Path) -> None:
    outcome = export_video(open_folder(tmp_path), "/videos/clip.mp4")
    (tmp_path / outcome.files["npz"]).unlink()
    (tmp_path / outcome.files["npz"]).mkdir()
    with pytest.raises(InputError, match=r"'clip\.npz', which is a folder"):
        OutputFolder(tmp_path, overwrite=True)


def test_a_file_for_a_folder_and_both_ways_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; give a folder"):
        OutputFolder(tmp_path / "file")
    with pytest.raises(InputError, match="either resumed or overwritten"):
        OutputFolder(tmp_path, overwrite=True, resume=True)


def test_the_manifest_is_true_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results"
    folder = OutputFolder(path)
    assert not (tmp_path / "deep").exists()
    states = []
    folder.open(HEADER, {})
    steps = [lambda: None, *[lambda i=i: export_video(folder, f"/v/{i}.mp4") for i in range(40)], folder.close]
    for step in steps:
        step()
        saved = read_export(path)
        states.append((saved.complete, len(saved.videos)))
    assert states == [(False, i) for i in range(41)] + [(True, 40)]
    assert not (path / JOURNAL_NAME).exists()
    assert json.loads((path / "manifest.json").read_text())["videos"][7]["path"] == "/v/7.mp4"


def test_a_large_export_does_not_write_its_manifest_for_every_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from videosoft.explain.export import output_folder

    sizes: list[int] = []
    monkeypatch.setattr(output_folder, "write_json", lambda path, content: sizes.append(len(content["videos"])))
    folder = open_folder(tmp_path)
    for i in range(1000):
        folder.add_video(create_outcome(f"/v/{i}.mp4"))
    assert sum(sizes) < 15 * 1000


def test_outcomes_are_read_back_as_they_were(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    outcome = export_video(folder, "/videos/clip.mp4")
    saved = read_export(tmp_path)
    assert saved.videos == (outcome,)
    assert saved.videos[0].models[0].residual is None
    assert saved.manifest["settings"] == HEADER["settings"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"path": 3}, "path is 3"),
        ({"status": ["ok"]}, "status is "),
        ({"fps": "fast"}, "fps is 'fast'"),
        ({"frames": ["a"]}, "frames must be numbers"),
        ({"warnings": [1]}, "warnings texts"),
        ({"models": [{**vars(ModelOutcome("A", "x", 0.5, 0.5, 0.0, None)), "logit": "x"}]}, "logit is 'x'"),
    ],
)
def test_values_of_another_type_are_refused_by_name(changes: dict[str, Any], named: str) -> None:
    values = json.loads(json.dumps(create_outcome("/v/a.mp4").to_json()))
    assert VideoOutcome.from_json({**values, "fps": 25}, source="m").fps == 25
    with pytest.raises(InputError, match=f"m is not a manifest of this tool: .*{named}"):
        VideoOutcome.from_json({**values, **changes}, source="m")


def test_resuming_returns_what_is_finished_and_clears_what_is_not(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    finished = [export_video(folder, f"/videos/{name}.mp4") for name in ("a", "b", "c")]
    folder.add_video(create_outcome("/videos/d.mp4", "unreadable", reason="torn"))
    _, begun = folder.begin_video("/videos/e.mp4", "e", SUFFIXES)
    (tmp_path / begun["sheet"]).touch()  # killed while it wrote this
    (tmp_path / "mine_sheet.png").touch()
    (tmp_path / finished[1].files["npz"]).unlink()  # somebody took a file away
    with (tmp_path / JOURNAL_NAME).open("a") as journal:
        journal.write('{"video": {"video_id": "torn')
    again = OutputFolder(tmp_path, resume=True)
    assert (tmp_path / begun["sheet"]).exists()  # nothing is removed before all the checks are done
    assert again.open(HEADER, {"command": ["again"]}) == {one.path: one for one in (finished[0], finished[2])}
    names = {file.name for file in tmp_path.iterdir()}
    assert names == {"manifest.json", "a.npz", "a_sheet.png", "c.npz", "c_sheet.png", "mine_sheet.png"}
    assert [run["command"] for run in read_export(tmp_path).manifest["runs"]] == [["export"], ["again"]]
    assert again.begin_video("/videos/e.mp4", "e", SUFFIXES)[0] == "e"
    assert again.begin_video("/other/a.mp4", "a", SUFFIXES)[0] == "a-2"


def test_resuming_an_empty_folder_begins(tmp_path: Path) -> None:
    assert OutputFolder(tmp_path / "new", resume=True).open(HEADER, {}) == {}
    assert not read_export(tmp_path / "new").complete


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"settings": {"method": "b", "options": {"theta": 0.5}}}, 'method was "a", now "b"'),
        ({"settings": {"method": "a", "options": {"theta": 0.6}}}, r"options\.theta was 0\.5, now 0\.6"),
        ({"settings": {"method": "a", "options": {}}}, r"options\.theta was 0\.5, now null"),
        ({"checkpoints": [{"checkpoint_hash": "2"}]}, r'checkpoints\[0\]\.checkpoint_hash was "1", now "2"'),
        ({"checkpoints": [{"checkpoint_hash": "1"}, {"checkpoint_hash": "2"}]}, "checkpoints was"),
    ],
)
def test_other_settings_are_not_resumed(tmp_path: Path, header: dict[str, Any], message: str) -> None:
    export_video(open_folder(tmp_path), "/videos/clip.mp4")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(InputError, match=message):
        OutputFolder(tmp_path, resume=True).open({**HEADER, **header}, {})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_number_about_the_whole_is_computed_once(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    assert folder.note_once("scale_limit", lambda: 2.5) == 2.5
    again = open_folder(tmp_path, resume=True)
    assert again.note_once("scale_limit", lambda: 7.0) == 2.5


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


def write_example(path: Path, tube: SaliencyTube = TUBE) -> None:
    write_saliency(
        path,
        tube,
        frames=(3, 5, 7, 9),
        target_name="Archery 射",
        video_id="clip",
        checkpoint_hash="ab",
        versus_name="Diving",
        method_options={"theta": 0.5},
    )


@pytest.mark.parametrize("name", ["a.npz", "a.zarr.zip"])
def test_files_keep_the_signed_map(tmp_path: Path, name: str) -> None:
    write_example(tmp_path / name)
    saved = read_saliency(tmp_path / name)
    np.testing.assert_array_equal(saved.map, TUBE.map.numpy())
    np.testing.assert_array_equal(saved.tube, TUBE.tube.numpy())
    assert saved.tube.dtype == saved.map.dtype == np.float32
    np.testing.assert_array_equal(saved.frames, [3, 5, 7, 9])
    assert (saved.target, saved.target_name, saved.layer, saved.method) == (2, "Archery 射", "layer4", "saliency_tubes")
    assert (saved.logit, saved.residual, saved.video_id, saved.checkpoint_hash) == (1.5, 1e-7, "clip", "ab")
    assert (saved.unit, saved.versus, saved.versus_name, saved.method_options) == (
        "logits",
        -1,
        "Diving",
        '{"theta": 0.5}',
    )
    assert [file.name for file in tmp_path.iterdir()] == [name]
    write_example(tmp_path / name, replace(TUBE, residual=None, versus=1))
    assert np.isnan(read_saliency(tmp_path / name).residual)
    assert read_saliency(tmp_path / name).versus == 1


def test_npz_has_the_agreed_keys_and_no_pickle(tmp_path: Path) -> None:
    write_example(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as archive:
        assert {"map", "tube", "frames", "target", "layer", "method", "residual"} <= set(archive.files)
        assert int(archive["format_version"]) == 2


def test_maps_of_the_first_format_are_read(tmp_path: Path) -> None:
    write_example(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as archive:
        content = {key: archive[key] for key in archive.files}
    old = {
        key: value for key, value in content.items() if key not in ("unit", "versus", "versus_name", "method_options")
    }
    np.savez(tmp_path / "old.npz", **{**old, "format_version": np.int64(1)})
    assert read_saliency(tmp_path / "old.npz").unit == "logits"


@pytest.mark.parametrize("suffix", [".npz", ".zarr.zip"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a saliency file"),
        (b"not a zip", "is not a saliency file"),
        ({"format_version": np.array([object()])}, "is not a saliency file"),
        ({"format_version": np.int64(1), "map": np.zeros(1)}, "is not a saliency file"),
        ({"format_version": np.int64(3)}, "has format_version 3, this version of videosoft reads up to 2"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: Any, message: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.savez(tmp_path / "a.npz", **content)
        if suffix != ".npz":
            (tmp_path / "a.npz").rename(path)
            message = "is not a saliency file"
    with pytest.raises(InputError, match=message):
        read_saliency(path)
