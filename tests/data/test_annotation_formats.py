"""Every published format against what its lines say; where files may lie; and how lists are wrong."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from videosoft.data import AnnotationFormat, AnnotationList, read_annotations
from videosoft.data.annotations import detect_format
from videosoft.errors import InputError

KINETICS_JSON = {
    "abc": {
        "annotations": {"label": "testifying", "segment": [84.0, 94.0]},
        "duration": 10.0,
        "subset": "validate",
        "url": "https://www.youtube.com/watch?v=abc",
    },
    "xyz": {"annotations": {"label": "bowling", "segment": [0, 10]}, "subset": "train"},
}
ACTIVITYNET_JSON = {
    "version": "1.3",
    "database": {
        "--0edUL8zmA": {
            "annotations": [
                {"label": "Dodgeball", "segment": [5.4, 11.6]},
                {"label": "Dodgeball", "segment": [12.6, 88.16]},
            ],
            "subset": "validation",
            "duration": "92.166667",
        },
        "unlabelled": {"annotations": [], "subset": "testing"},
    },
}
SOMETHING_JSON = [
    {"id": "78687", "label": "holding a cup next to a plate", "template": "Holding [something] next to [something]"},
    {"id": "42", "label": "moving pen up", "template": "Moving [something] up", "placeholders": ["pen"]},
]
HACS_CSV = """classname,youtube_id,subset,start,end,label
Archery,a2X2hz1G6i8,training,15.5,17.5,1
Archery,NUdji_CqvcY,validation,77.5,79.5,-1
Archery,0O_qMHxBfXg,validation,24.5,26.5,1
Bowling,bbb,validation,4.0,6.0,1
"""
CLASSES = ["Archery", "Bowling"]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def write_list(tmp_path: Path, name: str, content: object) -> Path:
    path = tmp_path / "lists" / name
    path.parent.mkdir(exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(root: Path, annotations: Path, **options: object) -> AnnotationList:
    root.mkdir(exist_ok=True)
    return read_annotations(root, "val", annotations=annotations, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "file", "expected", "found_format"),
    [
        (
            "val.csv",
            "label,youtube_id,split\nbowling,abc,val\n",
            "val/bowling/abc.mp4",
            [("abc", "bowling", "abc")],
            "kinetics_csv",
        ),
        (
            "k.json",
            KINETICS_JSON,
            "val/testifying/abc_000084_000094.mp4",
            [("abc_000084_000094", "testifying", "abc")],
            "activitynet_json",
        ),
        (
            "a.json",
            ACTIVITYNET_JSON,
            "val/Dodgeball/--0edUL8zmA_000005.4_000011.6.mp4",
            [
                ("--0edUL8zmA_000005.4_000011.6", "Dodgeball", "--0edUL8zmA"),
                ("--0edUL8zmA_000012.6_000088.16", "Dodgeball", "--0edUL8zmA"),
            ],
            "activitynet_json",
        ),
        (
            "something-something-v2-validation.json",
            SOMETHING_JSON,
            "42.webm",
            [("78687", "Holding something next to something", "78687"), ("42", "Moving something up", "42")],
            "something_json",
        ),
        (
            "hacs.csv",
            HACS_CSV,
            "Archery/0O_qMHxBfXg_000024.5_000026.5.mp4",
            [("0O_qMHxBfXg_000024.5_000026.5", "Archery", "0O_qMHxBfXg"), ("bbb_000004_000006", "Bowling", "bbb")],
            "hacs_csv",
        ),
        (
            "val.txt",
            "a dir/x y.mp4 1\n\nz.avi 0\n",
            "a dir/x y.mp4",
            [("x y", "Bowling", "x y"), ("z", "Archery", "z")],
            "path_label",
        ),
        (
            "val.txt",
            "x,y.mp4,Bowling alley\nz.WEBM,Archery\n",
            "x,y.mp4",
            [("x,y", "Bowling alley", "x,y"), ("z", "Archery", "z")],
            "path_label",
        ),
        (
            "val.csv",
            "path,label\na/x.mp4,1\n",
            "a/x.mp4",
            [("x", "Bowling", "x")],
            "path_label",
        ),
        (
            "val.tsv",
            "val/x_000001_000011.mkv\tBowling\n",
            "val/x_000001_000011.mkv",
            [("x_000001_000011", "Bowling", "x")],
            "path_label",
        ),
        ("val.txt", "./some/v_x 1\n", "some/v_x.mp4", [("v_x", "Bowling", "v_x")], "path_label"),
        ("val.txt", '"a/x.mp4" 1\n', "a/x.mp4", [("x", "Bowling", "x")], "path_label"),
        (
            "testlist01.txt",
            "Archery/v_Archery_g01_c02.avi\r\n",
            "Archery/v_Archery_g01_c02.avi",
            [("v_Archery_g01_c02", "Archery", "v_Archery_g01")],
            "ucf101",
        ),
        (
            "brush_hair_test_split2.txt",
            "a(1).avi 2 \nb.avi 1 \nc.avi 0 \n",
            "brush_hair/a(1).avi",
            [("a(1)", "brush_hair", "a(1)")],
            "hmdb51",
        ),
    ],
)
def test_formats(
    tmp_path: Path,
    name: str,
    content: object,
    file: str,
    expected: list[tuple[str, str, str]],
    found_format: str,
) -> None:
    path = write_list(tmp_path, name, content)
    touch(tmp_path / "root" / file)
    assert detect_format(path) == found_format
    options = {"class_names": CLASSES} if any(label in CLASSES for _, label, _ in expected) else {}
    if "alley" in str(content):
        options = {}
    for annotation_format in (None, found_format):
        listed = read(tmp_path / "root", path, annotation_format=annotation_format, **options)
        assert [(r.video_id, r.label_name, r.group_id) for r in listed.records] == expected
        assert [r.path for r in listed.records if r.status == "ok"] == [tmp_path / "root" / file]


def test_time_spans_are_kept(tmp_path: Path) -> None:
    touch(tmp_path / "root" / "Archery" / "0O_qMHxBfXg_000024.5_000026.5.mp4")
    table = read(tmp_path / "root", write_list(tmp_path, "hacs.csv", HACS_CSV)).records.table
    assert table.column("time_start").to_pylist() == [24.5, 4.0]
    assert table.column("time_end").to_pylist() == [26.5, 6.0]


def test_ucf101_folder_and_its_groups(tmp_path: Path) -> None:
    write_list(tmp_path, "trainlist01.txt", "Archery/v_Archery_g08_c01.avi 1\nBowling/v_Bowling_g09_c01.avi 2\n")
    write_list(tmp_path, "testlist01.txt", "Archery/v_Archery_g01_c01.avi\n")
    write_list(tmp_path, "classInd.txt", "1 Archery\n2 Bowling\n")
    root = tmp_path / "root"
    for name in ("Archery/v_Archery_g08_c01.avi", "Archery/v_Archery_g01_c01.mp4"):  # one re-encoded
        touch(root / name)
    train = read_annotations(root, "train", annotations=tmp_path / "lists")
    assert [(r.group_id, r.status) for r in train.records] == [("v_Archery_g08", "ok"), ("v_Bowling_g09", "missing")]
    for split in ("test", "val"):
        listed = read_annotations(root, split, annotations=tmp_path / "lists" / "trainlist01.txt")
        assert [r.path.name for r in listed.records] == ["v_Archery_g01_c01.mp4"]
    write_list(tmp_path, "trainlist01.txt", "Archery/v_Archery_g08_c01.avi 2\n")
    with pytest.raises(InputError, match=r"trainlist01\.txt:1: index '2' is 'Bowling'"):
        read_annotations(root, "train", annotations=tmp_path / "lists")
    write_list(tmp_path, "trainlist02.txt", "Archery/v_Archery_g08_c01.avi 1\n")
    with pytest.raises(InputError, match=r"the splits 01, 02; name one of its lists"):
        read_annotations(root, "train", annotations=tmp_path / "lists")


def test_hmdb51_folder(tmp_path: Path) -> None:
    write_list(tmp_path, "wave_test_split1.txt", "a.avi 1 \nb.avi 2 \nc.avi 0 \n")
    write_list(tmp_path, "brush_hair_test_split1.txt", "d.avi 1\n")
    touch(tmp_path / "root" / "brush_hair" / "d.avi")
    listed = read_annotations(tmp_path / "root", "train", annotations=tmp_path / "lists")
    assert [(r.video_id, r.label_name, r.status) for r in listed.records] == [
        ("d", "brush_hair", "ok"),
        ("a", "wave", "missing"),
    ]


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("val/massaging person's head/abc_000001_000011.mp4", True),
        ("val/massaging_person's_head/abc_000001_000011.mp4", True),
        ("val/massaging_persons_head/abc_000001_000011.mkv", True),
        ("val/massaging persons head/abc_000001_000011.webm", True),
        ("validate/massaging_persons_head/abc_000001_000011.avi", True),
        ("validation/massaging person's head/abc.mp4", True),
        ("val/abc_000001_000011.mp4", True),  # as CVDF's archives unpack
        ("validation/abc_000001_000011.mp4", True),
        ("massaging person's head/abc_000001_000011.mp4", True),
        ("massaging_persons_head/abc.mp4", True),
        ("abc_000001_000011.mp4", True),
        ("val/massaging person's head/v_abc.mp4", True),
        ("train/massaging person's head/abc_000001_000011.mp4", False),
        ("val/massaging person's head/abc_000002_000012.mp4", False),
        ("val/massaging person's head/.abc_000001_000011.mp4", False),
        ("val/massaging person's head/abc_000001_000011.mp4.part", False),
    ],
)
def test_where_files_may_lie(tmp_path: Path, file: str, found: bool) -> None:
    text = "label,youtube_id,time_start,time_end,split\nmassaging person's head,abc,1,11,val\nbowling,x,0,10,val\n"
    touch(tmp_path / "val" / "bowling" / "x_000000_000010.mp4")
    touch(tmp_path / file)
    listed = read_annotations(tmp_path, "val", annotations=write_list(tmp_path, "val.csv", text))
    record = listed.records[0]
    assert record.video_id == "abc_000001_000011"
    assert record.label_name == "massaging person's head"
    assert (record.status, record.path) == (
        ("ok", tmp_path / file)
        if found
        else ("missing", tmp_path / "val" / "massaging person's head" / "abc_000001_000011.mp4")
    )


def test_accents_may_be_written_either_way(tmp_path: Path) -> None:
    """Some file systems take names apart: e and an accent instead of one letter."""
    together, apart = "caf\u00e9", "cafe\u0301"
    touch(tmp_path / "val" / apart / "abc_000001_000011.mp4")
    text = f"label,youtube_id,time_start,time_end,split\n{together},abc,1,11,val\n"
    [record] = read_annotations(tmp_path, "val", annotations=write_list(tmp_path, "val.csv", text)).records
    assert (record.status, record.label_name) == ("ok", together)
    folders = read_annotations(tmp_path, "val", class_names=[together], annotation_format="class_folders")
    assert [(record.status, record.label_name) for record in folders.records] == [("ok", together)]


def test_folder_named_exactly_comes_first(tmp_path: Path) -> None:
    for name in ("arm wrestling", "arm_wrestling", "arm'wrestling"):
        touch(tmp_path / "val" / name / "x_000000_000010.mp4")
    for label in ("arm wrestling", "arm_wrestling"):
        text = f"label,youtube_id,time_start,time_end,split\n{label},x,0,10,val\n"
        listed = read_annotations(tmp_path, "val", annotations=write_list(tmp_path, "val.csv", text))
        assert listed.records[0].path == tmp_path / "val" / label / "x_000000_000010.mp4"


def test_file_named_by_its_id_cannot_be_two_segments(tmp_path: Path) -> None:
    text = "label,youtube_id,time_start,time_end,split\na,abc,1,11,val\na,abc,21,31,val\na,x,0,10,val\n"
    touch(tmp_path / "val" / "a" / "abc.mp4")
    touch(tmp_path / "val" / "a" / "x.mp4")
    records = read_annotations(tmp_path, "val", annotations=write_list(tmp_path, "val.csv", text)).records
    assert [record.status for record in records] == ["missing", "missing", "ok"]
    assert "any of 2 listed segments" in records[0].reason


def test_video_in_the_folder_of_another_class_is_not_used(tmp_path: Path) -> None:
    text = "label,youtube_id,time_start,time_end,split\narchery,abc,1,11,val\nbowling,x,0,10,val\n"
    touch(tmp_path / "val" / "bowling" / "abc_000001_000011.mp4")
    touch(tmp_path / "val" / "bowling" / "x_000000_000010.mp4")
    listed = read_annotations(tmp_path, "val", annotations=write_list(tmp_path, "val.csv", text))
    assert (listed.records[0].status, listed.records[1].status) == ("missing", "ok")
    assert "lies in the folder 'bowling'" in listed.records[0].reason
    assert listed.records.table.column("status").to_pylist() == ["mislabelled", "ok"]
    by_path = read(
        tmp_path,
        write_list(
            tmp_path, "val.txt", "val/bowling/abc_000001_000011.mp4,archery\nval/bowling/x_000000_000010.mp4,bowling\n"
        ),
    )
    assert by_path.records.table.column("status").to_pylist() == ["mislabelled", "ok"]


def test_spelling_of_class_names_is_bridged_and_reported(tmp_path: Path) -> None:
    touch(tmp_path / "val" / "massaging_persons_head" / "abc_000001_000011.mp4")
    names = ["bowling", "massaging person's head"]
    listed = read_annotations(tmp_path, "val", class_names=names)
    assert [(r.label, r.label_name) for r in listed.records] == [(1, "massaging person's head")]
    assert listed.renamed == {"massaging_persons_head": "massaging person's head"}
    assert listed.manifest_hash == read_annotations(tmp_path, "val").manifest_hash


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("x.txt", "this is no list\nof videos\n", ["x.txt", "'this is no list'", "kinetics_csv", "something_json"]),
        ("x.bin", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), ["x.bin:1", "UTF-8", "path_label"]),
        ("x.txt", b"\xff\xfea\0 \0b\0", ["x.txt:1", "UTF-8"]),
        ("x.txt", "a.mp4 1\nb\xe9.mp4 1\n".encode("latin-1"), ["UTF-8", "0xe9"]),
        ("x.txt", "a.mp4 1\n../b.mp4 1\n", ["x.txt:2", "'..'"]),
        ("x.txt", "a.mp4 1\nc/../../b.mp4 1\n", ["x.txt:2", "'..'"]),
        ("x.txt", "/etc/b.mp4 1\n", ["x.txt:1", "absolute", "relative to the data root"]),
        ("x.txt", "a\0b.mp4 1\n", ["x.txt:1", "control"]),
        ("x.txt", "a\\b.mp4 1\n", ["x.txt:1", "separator"]),
        ("x.txt", "a//b.mp4 1\n", ["x.txt:1", "empty"]),
        ("x.txt", "a.mp4 1\nb.mp4 Bowling\n", ["x.txt:2", "'Bowling'", "not both"]),
        ("x.txt", "a.mp4 1 5\n", ["x.txt:1", "several numbers", "'1 5'"]),
        ("x.txt", "a.mp4 2\n", ["x.txt:1", "label 2", "0 to 1"]),
        ("x.txt", "a.mp4 -1\n", ["x.txt:1", "label -1"]),
        ("x.txt", "a.mp4 1\nb.mp4\n", ["x.txt:2", "a path and a label"]),
        ("x.txt", "a.mp4 ../up\n", ["x.txt:1", "label", "separator"]),
        ("x.txt", "a/v.mp4 0\nb/v.mp4 1\n", ["x.txt:2", "x.txt:1", "'v'", "once"]),
        ("x.json", "{", ["x.json", "not valid JSON"]),
        ("x.json", "{}", ["x.json", "no row of the split 'val'", "no row at all"]),
        ("x.json", '{"a": 1}', ["x.json", "'a'", "annotations and subset"]),
        ("x.json", '{"database": 3}', ["x.json", "database"]),
        ("x.json", "[" * 100000, ["x.json", "nested too deeply"]),
        ("x.json", '{"a": {"subset": "val"}}', ["'a'", "no annotations"]),
        ("x.json", '{"a": {"subset": "val", "annotations": {"label": "b"}}}', ["'a'", "segment"]),
        ("x.json", '{"a": {"subset": "val", "annotations": {"label": "b", "segment": [3, 1]}}}', ["'a'", "ends (1)"]),
        ("x.json", '{"a": {"subset": "val", "annotations": {"label": "b", "segment": [0, NaN]}}}', ["'a'", "'nan'"]),
        ("x.json", '{"a": {"subset": "val", "annotations": {"label": "b", "segment": [0, true]}}}', ["'True'"]),
        ("x.json", '{"../a": {"subset": "val", "annotations": {"label": "b", "segment": [0, 1]}}}', ["separator"]),
        ("x.json", '{"a": {"subset": "val"}, "a": {"subset": "val"}}', ["x.json", "'a' comes twice"]),
        ("x.json", '{"a": {"subset": "train"}}', ["no row of the split 'val'", "'train'"]),
        ("x.json", '[{"id": "1"}]', ["video 1", "no template"]),
        ("x.json", '[{"template": "a"}]', ["video 1", "id and template"]),
        ("x.json", '[{"id": "../1", "template": "a"}]', ["video 1", "separator"]),
        ("x.csv", HACS_CSV.replace(",1\n", ",2\n"), ["x.csv:4", "1 (positive) or -1 (negative)", "'2'"]),
        ("x.csv", HACS_CSV.replace("26.5", "1.5"), ["x.csv:4", "end (1.5)"]),
        ("x.csv", HACS_CSV.replace("subset,start", "subset,begin"), ["x.csv", "wrong header", "start,end"]),
        ("x.csv", "label,youtube_id,time_start,split\na,b,0,val\n", ["x.csv", "wrong header", "time_end"]),
        ("testlist01.txt", "v_Archery_g01_c01.avi\n", ["testlist01.txt:1", "Class/video.avi"]),
        ("testlist01.txt", "../v_Archery_g01_c01.avi\n", ["testlist01.txt:1", "'..'"]),
        ("a_test_split1.txt", "x.avi 3\n", ["a_test_split1.txt:1", "1 (train), 2 (test) or 0"]),
        ("a_test_split1.txt", "../x.avi 2\n", ["a_test_split1.txt:1", "separator"]),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, name: str, content: object, words: list[str]) -> None:
    touch(tmp_path / "root" / "a.mp4")
    with pytest.raises(InputError) as caught:
        read(tmp_path / "root", write_list(tmp_path, name, content), class_names=CLASSES)
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert message.isprintable()


def test_indices_need_class_names(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.txt:1: the label 1 is an index, for which class_names must be given"):
        read(tmp_path / "root", write_list(tmp_path, "x.txt", "a.mp4 1\n"))


def test_absolute_paths_in_the_root_are_taken(tmp_path: Path) -> None:
    file = touch(tmp_path / "root" / "a" / "x.mp4")
    listed = read(tmp_path / "root", write_list(tmp_path, "x.txt", f"{file} Archery\n"))
    assert listed.records[0].path == file
    with pytest.raises(InputError, match=r"'\.\.'"):
        read(tmp_path / "root", write_list(tmp_path, "x.txt", f"{tmp_path}/root/../x.mp4 Archery\n"))


def test_labels_json_must_know_the_class(tmp_path: Path) -> None:
    path = write_list(tmp_path, "validation.json", SOMETHING_JSON)
    labels = {"Holding something next to something": "41"}
    write_list(tmp_path, "labels.json", labels)
    with pytest.raises(InputError, match=r"video 2: the class 'Moving something up' is not in .*labels\.json"):
        read(tmp_path / "root", path)
    write_list(tmp_path, "labels.json", labels | {"Moving something up": "100"})
    touch(tmp_path / "root" / "42.webm")
    assert [record.status for record in read(tmp_path / "root", path).records] == ["missing", "ok"]


def test_unknown_format_names_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"annotation_format 'coco' is unknown; known formats: kinetics_csv .*hmdb51"):
        read(tmp_path / "root", write_list(tmp_path, "x.txt", ""), annotation_format="coco")
    touch(tmp_path / "root" / "val" / "a" / "x.mp4")
    with pytest.raises(InputError, match=r"annotation_format hacs_csv needs a list"):
        read_annotations(tmp_path / "root", "val", annotation_format="hacs_csv")


@pytest.mark.parametrize("annotation_format", sorted(set(get_args(AnnotationFormat)) - {"class_folders"}))
@pytest.mark.parametrize("name", ["nowhere.csv", "video.mp4", "folder"])
def test_a_format_that_the_list_is_not_in(tmp_path: Path, annotation_format: Any, name: str) -> None:
    (tmp_path / "video.mp4").write_bytes(bytes(range(256)))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=re.escape(str(tmp_path / name))):
        read_annotations(
            tmp_path, "train", annotations=tmp_path / name, annotation_format=annotation_format, class_names=["a"]
        )


def test_class_folders_in_spite_of_a_list(tmp_path: Path) -> None:
    touch(tmp_path / "validate" / "bowling" / "x.mp4")
    (tmp_path / "val.csv").write_text("label,youtube_id,time_start,time_end,split\narchery,y,0,10,val\n")
    listed = read_annotations(tmp_path, "val", annotation_format="class_folders")
    assert [(r.video_id, r.label_name, r.status) for r in listed.records] == [("x", "bowling", "ok")]


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "num_videos", "num_groups"), [("train", 9537, 1818), ("test", 3783, 707)])
def test_published_ucf101(shared_dir: Path, tmp_path: Path, split: str, num_videos: int, num_groups: int) -> None:
    folder = shared_dir / "annotations" / "ucf101"
    lines = [line.split()[0] for line in (folder / f"{split}list01.txt").read_text().splitlines()]
    touch(tmp_path / lines[-1])
    listed = read_annotations(tmp_path, split, annotations=folder)
    assert [str(record.path.relative_to(tmp_path)) for record in listed.records] == lines
    assert [record.label_name for record in listed.records] == [line.split("/")[0] for line in lines]
    assert (len(listed.records), len(listed.class_names)) == (num_videos, 101)
    assert len({record.group_id for record in listed.records}) == num_groups
    assert [record.path for record in listed.records if record.status == "ok"] == [tmp_path / lines[-1]]
