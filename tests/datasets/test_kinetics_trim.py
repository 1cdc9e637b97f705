"""Clips cut out of full-length videos: the very frames of the annotated seconds."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from encode import EncodeSettings, EncodeTask, SourceError, encode_video
from kinetics_tools import list_files, run_prepare
from trim import read_segments

from videosoft.errors import InputError

HEADER = "label,youtube_id,time_start,time_end,split\n"
SETTINGS = EncodeSettings(64, preset="ultrafast", crf=8)


def write_numbered(path: Path, *, seconds: int = 12, fps: int = 10, first_ms: int = 0, codec: str = "libx264") -> Path:
    """Frames with their number in stripes, one a binary digit; B-frames and sparse key frames make jumps hard."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"g": "37", "bf": "3", "crf": "4"} if codec == "libx264" else {"g": "37", "qscale": "1"}
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        if codec == "libx264":
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(seconds * fps):
            stripes = np.repeat([255 * (index >> digit & 1) for digit in range(8)], 8).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(
                np.broadcast_to(stripes[None, :, None], (64, 64, 3)).copy(), format="rgb24"
            )
            if codec == "libx264":
                frame.pts, frame.time_base = first_ms + index * 1000 // fps, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_numbers(path: Path) -> tuple[list[int], list[float]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    stripes = [frame.to_ndarray(format="gray").mean(0).reshape(8, 8).mean(1) > 127 for frame in frames]
    numbers = [int(digits @ (1 << np.arange(8))) for digits in stripes]
    return numbers, [float(frame.time) for frame in frames]


@pytest.mark.parametrize(
    ("name", "codec", "first_ms"),
    [("a.mp4", "libx264", 0), ("a.mkv", "libx264", 0), ("a.mkv", "libx264", 3000), ("a.avi", "mpeg4", 0)],
)
@pytest.mark.parametrize(("start", "end"), [(0, 3), (4, 7), (5, 12), (9, 30)])
def test_the_very_frames(tmp_path: Path, name: str, codec: str, first_ms: int, start: int, end: int) -> None:
    source = write_numbered(tmp_path / name, codec=codec, first_ms=first_ms)
    count = encode_video(EncodeTask(source, tmp_path / "out.mp4", start, end), SETTINGS)
    numbers, times = read_numbers(tmp_path / "out.mp4")
    expected = list(range(start * 10, min(end, 12) * 10))
    assert numbers == expected
    assert count == len(expected)
    assert times == pytest.approx([index / 10 for index in range(len(expected))], abs=2e-3)


def test_seconds_beyond_the_end_are_told(tmp_path: Path) -> None:
    source = write_numbered(tmp_path / "a.mp4", seconds=3)
    with pytest.raises(SourceError, match="no frame between seconds 5 and 8"):
        encode_video(EncodeTask(source, tmp_path / "out.mp4", 5, 8), SETTINGS)


def test_the_command_cuts_what_is_there_and_lists_the_rest(tmp_path: Path) -> None:
    write_numbered(tmp_path / "in" / "some folder" / "-abc.mkv")
    write_numbered(tmp_path / "in" / "short.mp4", seconds=3)
    (tmp_path / "train.csv").write_text(
        HEADER
        + "mountain climber (exercise),-abc,2,5,train\n"
        + "archery,-abc,6,11,train\n"
        + "archery,gone,0,10,train\n"
        + "archery,short,100,110,train\n"
    )
    command = [
        "trim",
        "--input",
        tmp_path / "in",
        "--annotations",
        tmp_path / "train.csv",
        "--output",
        tmp_path / "out",
    ]
    result = run_prepare(*command, "--short_side", 64, "--preset", "ultrafast", "--crf", 8)
    assert result.returncode == 0, result.stderr
    assert "3 videos, 0 were there, 2 encoded, 1 could not be" in result.stdout
    assert "1 have no source video" in result.stdout
    assert list_files(tmp_path / "out") == {
        "train/mountain climber (exercise)/-abc_000002_000005.mp4",
        "train/archery/-abc_000006_000011.mp4",
        "trim_report.csv",
        "encoding.json",
    }
    assert read_numbers(tmp_path / "out" / "train/archery/-abc_000006_000011.mp4")[0] == list(range(60, 110))
    report = (tmp_path / "out" / "trim_report.csv").read_text()
    assert "short.mp4,no frame between seconds 100 and 110" in report
    assert "train/archery/gone_000000_000010.mp4,no source video" in report
    again = run_prepare(*command, "--short_side", 64, "--preset", "ultrafast", "--crf", 8)
    assert "3 videos, 2 were there, 0 encoded" in again.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column label"),
        (HEADER, "no line below the header"),
        ("label,youtube_id,time_start,split\na,b,0,train\n", "no column time_end"),
        (HEADER + "a,b,0,10,train\n../../etc,b,0,10,train\n", ":3: label has a path separator"),
        (HEADER + "a,..,0,10,train\n", ":2: youtube_id is empty or a path of its own"),
        (HEADER + "a,b,0,10,\n", ":2: split is empty"),
        (HEADER + "a,b,10,10,train\n", ":2: expected whole seconds"),
        (HEADER + "a,b,x,10,train\n", ":2: expected whole seconds"),
        (HEADER + "a,b,0.5,10,train\n", ":2: expected whole seconds"),
        (HEADER + "a,b,0,10.25,train\n", ":2: expected whole seconds"),
        (HEADER + "a,b,0\n", ":2:"),
        (HEADER + "a,b,0,inf,train\n", ":2: expected whole seconds"),
        (HEADER + "a,b,0,10,train\na,b,0,10,train\n", ":3: train/a/b_000000_000010.mp4 comes a second time"),
    ],
)
def test_wrong_annotations_are_named_by_their_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "train.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_segments(path)
    assert words in str(caught.value)


def test_no_source_at_all_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "train.csv").write_text(HEADER + "a,b,0,10,train\n")
    command = [
        "trim",
        "--input",
        tmp_path / "in",
        "--annotations",
        tmp_path / "train.csv",
        "--output",
        tmp_path / "out",
    ]
    result = run_prepare(*command)
    assert result.returncode == 2
    assert "none of the 1 clips has a video" in result.stderr
    assert "Traceback" not in result.stderr
