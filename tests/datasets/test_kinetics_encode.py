"""Re-encoded videos against a decoder and a scaler that share no code with the encoder; and sources that are broken."""

import csv
import json
import os
import signal
import struct
import subprocess
import time
from fractions import Fraction
from pathlib import Path

import av
import encode
import numpy as np
import pytest
import torch
from encode import EncodeSettings, EncodeTask, SourceError, encode_video
from kinetics_tools import create_environment, find_files, get_command, kill_with_workers, list_files, run_prepare
from workers import FatalError, run_tasks

FAST = EncodeSettings(short_side=64, preset="ultrafast", crf=12)


def write_video(
    path: Path,
    *,
    num_frames: int = 30,
    height: int = 96,
    width: int = 160,
    codec: str = "libx264",
    times_ms: list[int] | None = None,
    with_sound: bool = False,
    pixel_format: str = "yuv420p",
    pixel_aspect: Fraction | None = None,
) -> Path:
    """A smooth picture whose brightness tells the frame's number, with a bright quarter at the top left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:height, :width]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"g": "250", "crf": "8"} if codec == "libx264" else {})
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        sound = container.add_stream("aac", rate=44100) if with_sound else None
        for index in range(num_frames):
            image = np.stack([columns * 90 // width, rows * 90 // height, np.full_like(rows, 40)], -1) + index * 4
            image[: height // 2, : width // 2] += 40
            frame = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8), format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), format="fltp", layout="mono")
            noise.sample_rate = 44100
            container.mux(sound.encode(noise))
            container.mux(sound.encode(None))
    return path


def rotate_file(path: Path, degrees: int) -> None:
    """Write a rotation (clockwise, for the player to apply) into the track header of an mp4."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    one = 1 << 16
    matrix = [cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30]
    content[start : start + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(bytes(content))


def decode(path: Path) -> tuple[np.ndarray, list[float]]:
    """Upright frames (T, H, W, C) and their times in seconds."""
    frames, times = [], []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames.append(np.rot90(frame.to_ndarray(format="rgb24"), k=frame.rotation // 90))
            times.append(float(frame.time) if frame.time is not None else -1.0)
    return np.stack(frames), times


def resize(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    tensor = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float()
    resized = torch.nn.functional.interpolate(tensor, size, mode="bicubic", antialias=True, align_corners=False)
    return resized.permute(0, 2, 3, 1).numpy()


def compare(source: Path, target: Path) -> float:
    expected, found = decode(source)[0], decode(target)[0]
    assert len(expected) == len(found)
    return float(np.abs(resize(expected, found.shape[1:3]) - found).mean(axis=(1, 2, 3)).max())


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [
        ((96, 160), 64, (64, 106)),
        ((160, 96), 64, (106, 64)),
        ((96, 160), 320, (96, 160)),  # never enlarged
        ((64, 64), 64, (64, 64)),
        ((480, 854), 256, (256, 456)),
        ((98, 130), 96, (96, 128)),
    ],
)
def test_sizes(tmp_path: Path, size: tuple[int, int], short_side: int, expected: tuple[int, int]) -> None:
    source = write_video(tmp_path / "a.mp4", num_frames=6, height=size[0], width=size[1])
    settings = EncodeSettings(short_side, preset="ultrafast", crf=12)
    assert encode_video(EncodeTask(source, tmp_path / "out.mp4"), settings) == 6
    assert decode(tmp_path / "out.mp4")[0].shape[1:3] == expected
    assert compare(source, tmp_path / "out.mp4") < 3


def test_odd_sizes_lose_a_row_and_are_not_enlarged(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", codec="ffv1", num_frames=3, height=63, width=95, pixel_format="yuv444p")
    encode_video(EncodeTask(source, tmp_path / "out.mp4"), EncodeSettings(256, preset="ultrafast"))
    assert decode(tmp_path / "out.mp4")[0].shape[1:3] == (62, 94)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.avi", "mpeg4"), ("a.mkv", "mpeg2video")],
)
def test_what_the_file_is_afterwards(tmp_path: Path, name: str, codec: str) -> None:
    source = write_video(tmp_path / name, codec=codec, num_frames=40, with_sound=name != "a.webm")
    target = tmp_path / "new folder" / "out.mp4"
    encode_video(EncodeTask(source, target), EncodeSettings(64, gop=8, preset="ultrafast", crf=12))
    assert compare(source, target) < 3.5
    with av.open(str(target)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 25)
        packets = [packet for packet in container.demux(stream) if packet.size]
    keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
    assert keys[0] == 0
    assert max(np.diff([*keys, len(packets)])) <= 8
    assert all(packet.pts == packet.dts for packet in packets)  # no B-frames
    content = target.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, degrees: int) -> None:
    source = write_video(tmp_path / "a.mp4")
    upright = decode(source)[0]
    rotate_file(source, degrees)
    encode_video(EncodeTask(source, tmp_path / "out.mp4"), FAST)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert all(frame.rotation == 0 for frame in container.decode(video=0))
    found = decode(tmp_path / "out.mp4")[0]
    expected = resize(np.rot90(upright, k=-degrees // 90, axes=(1, 2)), found.shape[1:3])
    assert np.abs(expected - found).mean() < 3


@pytest.mark.real_data
def test_a_real_rotated_file_stands_upright(shared_dir: Path, tmp_path: Path) -> None:
    source = shared_dir / "data" / "clips" / "decord_video_90.mov"
    encode_video(EncodeTask(source, tmp_path / "out.mp4"), EncodeSettings(256, preset="veryfast", crf=12))
    assert decode(tmp_path / "out.mp4")[0].shape[1:3] == (454, 256)
    assert compare(source, tmp_path / "out.mp4") < 3.5


def test_frames_keep_their_times(tmp_path: Path) -> None:
    times = [0, 40, 80, 500, 520, 530, 1000, 1700, 1740, 2500]
    source = write_video(tmp_path / "a.mkv", num_frames=10, times_ms=times)
    encode_video(EncodeTask(source, tmp_path / "out.mp4"), FAST)
    assert decode(tmp_path / "out.mp4")[1] == pytest.approx([time / 1000 for time in times], abs=1e-3)


def test_times_begin_with_the_first_frame(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", num_frames=5, times_ms=[700, 740, 780, 900, 940])
    encode_video(EncodeTask(source, tmp_path / "out.mp4"), FAST)
    assert decode(tmp_path / "out.mp4")[1] == pytest.approx([0, 0.04, 0.08, 0.2, 0.24], abs=1e-3)


@pytest.mark.parametrize("pixel_aspect", [Fraction(4, 3), Fraction(1, 2)])
def test_pixels_that_are_not_square_stay_so(tmp_path: Path, pixel_aspect: Fraction) -> None:
    source = write_video(tmp_path / "a.mp4", pixel_aspect=pixel_aspect)
    encode_video(EncodeTask(source, tmp_path / "out.mp4"), FAST)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.sample_aspect_ratio, stream.width, stream.height) == (pixel_aspect, 106, 64)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "Invalid data"),
        (b"no video\n" * 100, "Invalid data"),
        (lambda content: content[: len(content) // 2], "Invalid data"),
        (None, "No such file"),
    ],
)
def test_broken_sources_are_told(tmp_path: Path, content: object, words: str) -> None:
    source = write_video(tmp_path / "a.mp4")
    if content is None:
        source.unlink()
    else:
        source.write_bytes(content(source.read_bytes()) if callable(content) else content)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=words):
        encode_video(EncodeTask(source, tmp_path / "out" / "a.mp4"), FAST)
    assert list((tmp_path / "out").iterdir()) == []


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=44100)
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        noise.sample_rate = 44100
        container.mux(sound.encode(noise))
        container.mux(sound.encode(None))
    with pytest.raises(SourceError, match="no video stream"):
        encode_video(EncodeTask(tmp_path / "a.mp4", tmp_path / "out.mp4"), FAST)


def run_encode_command(tmp_path: Path, *arguments: object, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = ["encode", "--input", tmp_path / "in", "--output", tmp_path / "out", "--short_side", 64]
    return run_prepare(*command, "--preset", "ultrafast", "--num_workers", 2, *arguments, **variables)


def test_broken_sources_are_listed_and_cost_no_other(tmp_path: Path) -> None:
    for number in range(4):
        write_video(tmp_path / "in" / "train" / f"class {number % 2}" / f"v{number}_000000_000010.webm", codec="libvpx")
    broken = tmp_path / "in" / "train" / "class 0" / "=v9_000000_000010.mp4"
    broken.write_bytes(b"not a video")
    write_video(tmp_path / "in" / "train" / "class 0" / "v0_000000_000010.mp4", num_frames=3)  # beside the .webm
    result = run_encode_command(tmp_path)
    assert result.returncode == 0, result.stderr
    expected = {f"train/class {number % 2}/v{number}_000000_000010.mp4" for number in range(4)}
    assert list_files(tmp_path / "out") == expected | {"encode_report.csv", "encoding.json"}
    with (tmp_path / "out" / "encode_report.csv").open(newline="") as file:
        rows = {row["source"]: row["reason"] for row in csv.DictReader(file)}
    assert "Invalid data" in rows[str(broken)]
    assert len(rows) == 2
    times = {path: (tmp_path / "out" / path).stat().st_mtime_ns for path in expected}
    again = run_encode_command(tmp_path)
    assert "4 were there, 0 encoded, 1 could not be" in again.stdout
    assert {path: (tmp_path / "out" / path).stat().st_mtime_ns for path in expected} == times


def test_other_settings_are_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "a.mp4", num_frames=3)
    assert run_encode_command(tmp_path).returncode == 0
    other = run_encode_command(tmp_path, "--gop", 30)
    assert other.returncode == 2
    assert "holds videos encoded with" in other.stderr
    assert json.loads((tmp_path / "out" / "encoding.json").read_text())["gop"] == 12


def test_shards_share_the_videos_as_tasks_of_an_array(tmp_path: Path) -> None:
    for number in range(5):
        write_video(tmp_path / "in" / f"v{number}.mp4", num_frames=3)
    for task in ("1", "2"):
        array = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "1"}
        result = run_encode_command(tmp_path, **array)
        assert result.returncode == 0, result.stderr
        assert ("3 videos, 0 were there" if task == "1" else "2 videos, 0 were there") in result.stdout
    assert {path for path in list_files(tmp_path / "out") if path.endswith(".mp4")} == {f"v{n}.mp4" for n in range(5)}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--short_side", 255], "needs an even number"),
        (["--gop", 0], "whole number of at least 1"),
        (["--crf", 99], "--crf"),
        (["--time_limit", 0], "number of seconds above 0"),
        (["--input", "nowhere"], "is not a folder"),
        (["--input", "."], "has no videos"),
    ],
)
def test_wrong_arguments_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[object], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_encode_command(tmp_path, *arguments)
    assert result.returncode == 2
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_full_disk_ends_the_run_and_what_is_done_is_whole(tmp_path: Path) -> None:
    """The limit on a file's size stands in for the disk's end: the same errors, at the same places."""
    write_video(tmp_path / "in" / "a.mp4", num_frames=2)
    write_video(tmp_path / "in" / "b.mp4", num_frames=200, height=256, width=256)
    command = ["encode", "--input", tmp_path / "in", "--output", tmp_path / "out", "--num_workers", 1]
    limited = ["bash", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "bash", *get_command(*command)]
    result = subprocess.run(limited, capture_output=True, text=True, env=create_environment(), timeout=300)
    assert result.returncode == 2
    assert "b.mp4: File too large" in result.stderr
    assert "Traceback" not in result.stderr
    assert list_files(tmp_path / "out") == {"a.mp4", "encoding.json"}
    assert not list((tmp_path / "out").glob(".unfinished*"))
    assert len(decode(tmp_path / "out" / "a.mp4")[0]) == 2
    assert run_prepare(*command).returncode == 0
    assert len(decode(tmp_path / "out" / "b.mp4")[0]) == 200


@pytest.mark.slow
def test_a_killed_run_is_taken_up_again(tmp_path: Path) -> None:
    for number in range(30):
        write_video(tmp_path / "in" / f"v{number:02d}.mp4", num_frames=60, height=240, width=320)
    command = ["encode", "--input", tmp_path / "in", "--output", tmp_path / "out", "--num_workers", 2]
    process = subprocess.Popen(get_command(*command), env=create_environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 150
    while len(find_files(tmp_path / "out", "v*.mp4")) < 3:
        assert time.monotonic() < deadline
    kill_with_workers(process)
    done = find_files(tmp_path / "out", "v*.mp4")
    assert 3 <= len(done) < 30
    assert all(len(decode(path)[0]) == 60 for path in done)
    times = {path: path.stat().st_mtime_ns for path in done}
    assert run_prepare(*command).returncode == 0
    assert len(find_files(tmp_path / "out", "v*.mp4")) == 30
    assert {path: path.stat().st_mtime_ns for path in done} == times


def misbehave(task: str) -> str:
    """What a decoder may do to its process."""
    if task == "hang":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif task == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif task == "leave":
        os._exit(3)
    elif task == "disk":
        raise FatalError("disk full")
    elif task == "mistake":
        raise KeyError("mistake")
    return task.upper()


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [1, 3])
def test_a_hang_or_a_crash_costs_one_task(num_workers: int) -> None:
    tasks = ["a", "hang", "b", "crash", "c", "leave", "d"]
    lost: list[str] = []
    outcomes = run_tasks(
        misbehave, tasks, num_workers=num_workers, time_limit_seconds=5, on_lost=lambda task, _: lost.append(task)
    )
    found = {outcome.task: outcome.result or outcome.reason for outcome in outcomes}
    assert found == {
        "a": "A",
        "b": "B",
        "c": "C",
        "d": "D",
        "hang": "not done after 5 seconds",
        "crash": "its process ended by SIGSEGV",
        "leave": "its process ended with exit code 3",
    }
    assert sorted(lost) == ["crash", "hang", "leave"]


@pytest.mark.parametrize(("task", "words"), [("disk", "disk full"), ("mistake", "KeyError: 'mistake' .mistake.")])
def test_what_every_task_would_meet_ends_the_run(task: str, words: str) -> None:
    with pytest.raises(FatalError, match=words):
        list(run_tasks(misbehave, ["a", task, "b"], num_workers=1))


def test_a_source_that_cannot_be_encoded_in_time_is_listed(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "a.mp4", num_frames=3)
    os.mkfifo(tmp_path / "in" / "b.mp4")  # nobody ever writes to it: opening it hangs
    result = run_encode_command(tmp_path, "--time_limit", 4)
    assert result.returncode == 0, result.stderr
    assert "not done after 4 seconds" in (tmp_path / "out" / "encode_report.csv").read_text()
    assert list_files(tmp_path / "out") == {"a.mp4", "encode_report.csv", "encoding.json"}
    assert not list((tmp_path / "out").glob(".unfinished*"))


def test_interrupted_run_says_so_and_leaves_nothing_unfinished(tmp_path: Path) -> None:
    os.makedirs(tmp_path / "in")  # noqa: PTH103
    os.mkfifo(tmp_path / "in" / "a.mp4")
    write_video(tmp_path / "in" / "b.mp4", num_frames=3)
    command = ["encode", "--input", tmp_path / "in", "--output", tmp_path / "out", "--num_workers", 2]
    process = subprocess.Popen(get_command(*command), env=create_environment(), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "b.mp4").exists():
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert errors.endswith("interrupted\n")
    assert "Traceback" not in errors
    assert list_files(tmp_path / "out") == {"b.mp4", "encoding.json"}


def test_a_file_that_lost_its_end_on_the_way_to_the_disk_is_noticed(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=9)
    encode._check_result(path, 9)
    with pytest.raises(OSError, match="10 frames were written, 9 can be read"):
        encode._check_result(path, 10)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(OSError, match=r"cannot be read again|0 can be read"):
        encode._check_result(path, 9)


def test_leftovers_of_long_ago_are_removed(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "a.mp4", num_frames=3)
    (tmp_path / "out").mkdir()
    old, young = tmp_path / "out" / ".unfinished-1-a.mp4", tmp_path / "out" / ".unfinished-2-a.mp4"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert run_encode_command(tmp_path).returncode == 0
    assert (old.exists(), young.exists()) == (False, True)
    assert encode.UNFINISHED_PREFIX == ".unfinished-"


def test_videos_of_others_are_not_taken_for_encoded(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "a.mp4", num_frames=2)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.mp4").write_bytes(b"mine")
    result = run_prepare("encode", "--input", tmp_path / "in", "--output", tmp_path / "out")
    assert result.returncode == 2
    assert "out/a.mp4 was not made here" in result.stderr
    assert list_files(tmp_path / "out") == {"a.mp4"}


def test_the_output_may_not_lie_in_the_input(tmp_path: Path) -> None:
    write_video(tmp_path / "in" / "a.mp4", num_frames=2)
    result = run_prepare("encode", "--input", tmp_path / "in", "--output", tmp_path / "in" / "out")
    assert result.returncode == 2
    assert "lies in --input" in result.stderr
    assert list_files(tmp_path / "in") == {"a.mp4"}
