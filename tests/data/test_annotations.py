"""What is listed, against the files themselves; and every way in which a list can be wrong."""

from collections import Counter
from pathlib import Path

import pyarrow.csv
import pytest

from videosoft.data import AnnotationList, read_annotations
from videosoft.errors import InputError

HEADER = "label,youtube_id,time_start,time_end,split"
GOOD = "archery,abc,1,11,val"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    touch(tmp_path / "val" / "archery" / "abc_000001_000011.mp4")
    return tmp_path


def read_list(root: Path, text: str | bytes, **options: object) -> AnnotationList:
    (root / "val.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_annotations(root, "val", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "num_records"),
    [
        (f"{HEADER}\n{GOOD}\n", 1),
        (f"{HEADER}\r\n{GOOD}\r\n", 1),
        (f"\ufeff{HEADER}\n{GOOD}", 1),
        (f"{HEADER},is_cc\n{GOOD},0\n", 1),
        (f"\n{HEADER}\n\n{GOOD}\n\n", 1),
        ("split,time_end,time_start,youtube_id,label\nval,11,1,abc,archery\n", 1),
        (f'{HEADER}\n"archery","abc",1.0,11.0,val\n', 1),
        (f"{HEADER}\narchery,abc,1,11,validate\n", 1),
        (f"{HEADER}\narchery,abc,1,11,validation\n", 1),
        (f"{HEADER}\n{GOOD}\narchery,other,1,11,train\n", 1),
        (f"{HEADER}\n{GOOD}\narchery,abc,21,31,val\n", 2),
        (f'{HEADER}\n{GOOD}\n"bow, arrow",x,0,10,val\n', 2),
        (f"{HEADER}\n{GOOD}\nmassaging person's head (é),-_x,0,10,val\n", 2),
    ],
)
def test_list_is_read(root: Path, text: str, num_records: int) -> None:
    listed = read_list(root, text)
    assert len(listed.records) == num_records
    first = listed.records[0]
    assert (first.video_id, first.group_id, first.label_name, first.status) == (
        "abc_000001_000011",
        "abc",
        "archery",
        "ok",
    )
    assert first.path == root / "val" / "archery" / "abc_000001_000011.mp4"
    assert all(record.status == "missing" and record.reason for record in listed.records[1:])
    assert all(listed.class_names[record.label] == record.label_name for record in listed.records)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["val.csv", "empty", HEADER]),
        (HEADER, ["val.csv", "no row"]),
        ("label,id,start,end\na,b,0,1\n", ["val.csv", "label,id,start,end", HEADER]),
        (f"{HEADER},label\n{GOOD},archery\n", ["header", "each once"]),
        (f"{HEADER}\narchery,abc,1,11,train\n", ["no row of the split 'val'", "train"]),
        (f"{HEADER}\n{GOOD}\narchery,abc,1,11\n", ["val.csv:3", "4 fields", "5"]),
        (f"{HEADER}\n\n{GOOD}\narchery,x,one,11,val\n", ["val.csv:4", "time_start", "'one'"]),
        (f"{HEADER}\narchery,abc,1,nan,val\n", ["val.csv:2", "time_end", "'nan'"]),
        (f"{HEADER}\narchery,abc,1,inf,val\n", ["val.csv:2", "time_end", "'inf'"]),
        (f"{HEADER}\narchery,abc,1.5,11,val\n", ["val.csv:2", "time_start", "whole seconds"]),
        (f"{HEADER}\narchery,abc,-1,11,val\n", ["val.csv:2", "time_start"]),
        (f"{HEADER}\narchery,abc,11,11,val\n", ["val.csv:2", "time_end (11)", "later"]),
        (f"{HEADER}\n,abc,1,11,val\n", ["val.csv:2", "label", "empty"]),
        (f"{HEADER}\narchery,,1,11,val\n", ["val.csv:2", "youtube_id", "empty"]),
        (f"{HEADER}\n../archery,abc,1,11,val\n", ["val.csv:2", "label", "separator"]),
        (f"{HEADER}\n..,abc,1,11,val\n", ["val.csv:2", "label", "'..'"]),
        (f"{HEADER}\narchery,../../abc,1,11,val\n", ["val.csv:2", "youtube_id", "separator"]),
        (f"{HEADER}\n/etc,abc,1,11,val\n", ["val.csv:2", "label", "separator"]),
        (f"{HEADER}\na\\b,abc,1,11,val\n", ["val.csv:2", "label", "separator"]),
        (f"{HEADER}\n{GOOD}\narch\0ery,abc,1,11,val\n", ["val.csv:3"]),
        (f"{HEADER}\n\x1b[31mred,abc,1,11,val\n", ["val.csv:2", "label", "control", r"\x1b"]),
        (f"{HEADER}\n{'x' * 300},abc,1,11,val\n", ["val.csv:2", "label", "longer"]),
        (f"{HEADER}\n{GOOD}\narchery,z,0,10,val\n{GOOD}\n", ["val.csv:4", "val.csv:2", "abc_000001_000011"]),
        (f'{HEADER}\n"archery,abc,1,11,val\n', ["val.csv:", "not valid CSV"]),
        (f"{HEADER}\n{GOOD}\n".encode() + b"caf\xe9,x,0,10,val\n", ["val.csv:3", "UTF-8", "0xe9"]),
        (f"{HEADER}\n{GOOD}\n".encode("utf-16"), ["val.csv:1", "UTF-8"]),
        (f"{HEADER}\nbowling,x,0,10,val\nbowling,y,0,10,val\n", ["0 of 2", "val/bowling/x_000000_000010.mp4"]),
    ],
)
def test_wrong_list_is_refused_by_name_and_line(root: Path, text: str | bytes, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read_list(root, text)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert message.isprintable()


def test_label_outside_the_class_names_names_the_line_and_the_nearest(root: Path) -> None:
    with pytest.raises(InputError, match=r"val\.csv:3: label 'archrey' .* nearest: 'archery'"):
        read_list(root, f"{HEADER}\n{GOOD}\narchrey,x,0,10,val\n", class_names=["bowling", "archery"])


@pytest.mark.parametrize("class_names", [[], ["archery", "archery"]])
def test_wrong_class_names_are_refused(root: Path, class_names: list[str]) -> None:
    with pytest.raises(InputError, match="class_names"):
        read_list(root, f"{HEADER}\n{GOOD}\n", class_names=class_names)


def test_order_of_the_class_names_is_kept(root: Path) -> None:
    text = f"{HEADER}\n{GOOD}\nbowling,x,0,10,val\n"
    given = read_list(root, text, class_names=["zumba", "bowling", "archery"])
    assert [record.label for record in given.records] == [2, 1]
    found = read_list(root, text)
    assert found.class_names == ("archery", "bowling")
    assert [record.label for record in found.records] == [0, 1]


def test_hash_follows_the_list_and_not_the_files_or_the_order(root: Path) -> None:
    first = read_list(root, f"{HEADER}\n{GOOD}\nbowling,x,0,10,val\n")
    touch(root / "val" / "bowling" / "x_000000_000010.mp4")
    same = read_list(root, f"{HEADER}\nbowling,x,0,10,val\n{GOOD}\n")
    other = read_list(root, f"{HEADER}\n{GOOD}\narchery,x,0,10,val\n")
    assert first.manifest_hash == same.manifest_hash != other.manifest_hash


@pytest.mark.parametrize(
    ("present", "taken"),
    [
        (["avi", "webm", "mkv", "mp4"], "mp4"),
        (["avi", "webm", "mkv"], "mkv"),
        (["avi", "webm"], "webm"),
        (["AVI"], "AVI"),
        (["txt", "part"], None),
    ],
)
@pytest.mark.parametrize("with_list", [True, False])
def test_suffixes_in_order(tmp_path: Path, present: list[str], taken: str | None, with_list: bool) -> None:
    touch(tmp_path / "val" / "bowling" / "b_000000_000010.mp4")
    for suffix in present:
        touch(tmp_path / "val" / "archery" / f"a_000000_000010.{suffix}")
    if with_list:
        (tmp_path / "val.csv").write_text(f"{HEADER}\narchery,a,0,10,val\nbowling,b,0,10,val\n")
    elif taken is None:
        with pytest.raises(InputError, match=r"archery is empty.*\.mp4"):
            read_annotations(tmp_path, "val")
        return
    record = read_annotations(tmp_path, "val").records[0]
    assert (record.status, record.path.suffix) == (("ok", f".{taken}") if taken else ("missing", ".mp4"))


def test_links_are_followed_and_broken_ones_are_missing(root: Path, tmp_path: Path) -> None:
    target = touch(tmp_path / "elsewhere" / "file.mp4")
    (root / "val" / "archery" / "x_000000_000010.mp4").symlink_to(target)
    (root / "val" / "archery" / "y_000000_000010.mp4").symlink_to(tmp_path / "nothing.mp4")
    listed = read_list(root, f"{HEADER}\narchery,x,0,10,val\narchery,y,0,10,val\n")
    assert [record.status for record in listed.records] == ["ok", "missing"]


def test_class_folders_without_a_list(tmp_path: Path) -> None:
    for name in ("surfing/abc_000003_000013.mp4", "archery/v_Archery_g08_c02.avi", "archery/x.webm", ".cache/x.mp4"):
        touch(tmp_path / "train" / name)
    listed = read_annotations(tmp_path, "train")
    assert listed.class_names == ("archery", "surfing")
    assert [(record.video_id, record.group_id, record.label) for record in listed.records] == [
        ("v_Archery_g08_c02", "v_Archery_g08", 0),
        ("x", "x", 0),
        ("abc_000003_000013", "abc", 1),
    ]


@pytest.mark.parametrize(
    ("files", "folders", "words"),
    [
        ([], [], ["neither val.csv nor a folder val/", "<label>"]),
        ([], ["val"], ["no class folders"]),
        (["val/x.mp4"], [], ["no class folders"]),
        (["val/archery/x.mp4"], ["val/bowling"], ["bowling is empty"]),
        (["val/archery/x.mp4", "val/bowling/x.mp4"], [], ["val/archery/x", "val/bowling/x", "once"]),
        (["val/arch\nery/x.mp4"], [], ["control characters", r"arch\nery"]),
        (["val/archery/x\x1b[2J.mp4"], [], ["control characters"]),
    ],
)
def test_wrong_folders_are_refused(tmp_path: Path, files: list[str], folders: list[str], words: list[str]) -> None:
    for name in files:
        touch(tmp_path / name)
    for name in folders:
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        read_annotations(tmp_path, "val")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_file_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "val" / "archery"
    folder.mkdir(parents=True)
    Path(bytes(folder).decode() + "/caf\udce9.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match="not UTF-8"):
        read_annotations(tmp_path, "val")


@pytest.mark.parametrize("split", ["../val", "", "/etc", "..", "a/b"])
def test_split_cannot_leave_the_root(tmp_path: Path, split: str) -> None:
    with pytest.raises(InputError, match="split"):
        read_annotations(tmp_path, split)


@pytest.mark.parametrize("annotations", ["nowhere.csv", "."])
def test_missing_root_and_list_are_named(tmp_path: Path, annotations: str) -> None:
    with pytest.raises(InputError, match=r"nowhere is not a folder.*<label>"):
        read_annotations(tmp_path / "nowhere", "val")
    with pytest.raises(InputError, match=r"annotations .* cannot be read"):
        read_annotations(tmp_path, "val", annotations=tmp_path / annotations)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "num_records", "num_classes"),
    [("k400_validate.csv", 17736, 400), ("activitynet_kinetics-600_val.csv", 30000, 600)],
)
def test_published_lists(shared_dir: Path, tmp_path: Path, name: str, num_records: int, num_classes: int) -> None:
    path = shared_dir / "annotations" / name
    reference = pyarrow.csv.read_csv(path).to_pydict()
    last = {column: values[-1] for column, values in reference.items()}
    file_name = "{}_{:06d}_{:06d}.mp4".format(last["youtube_id"], last["time_start"], last["time_end"])
    touch(tmp_path / "val" / last["label"] / file_name)
    listed = read_annotations(tmp_path, "val", annotations=path)
    assert (len(listed.records), len(listed.class_names)) == (num_records, num_classes)
    assert [record.label_name for record in listed.records] == reference["label"]
    assert [record.group_id for record in listed.records] == reference["youtube_id"]
    assert [record.video_id for record in listed.records if record.status == "ok"] == [file_name.removesuffix(".mp4")]


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "num_videos", "num_groups"), [("train", 440, 90), ("val", 89, 18)])
def test_ucf101_mini(shared_dir: Path, split: str, num_videos: int, num_groups: int) -> None:
    root = shared_dir / "data" / "ucf101_mini"
    listed = read_annotations(root, split)
    assert Counter(record.status for record in listed.records) == {"ok": num_videos}
    assert {record.path for record in listed.records} == set((root / split).glob("*/*.mp4"))
    assert len({record.group_id for record in listed.records}) == num_groups
