"""decord, PyAV and torchcodec give the same frames at the same times, on real and on generated files of many kinds."""

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest

from videosoft.data.decoding import DecoderName, FrameCountError, open_video
from videosoft.data.decoding.containers import read_plain_index
from videosoft.data.decoding.pyav_decoder import PyavDecoder
from videosoft.data.decoding.torchcodec_decoder import check_torchcodec
from videosoft.errors import InputError

# Mean absolute difference of a frame in grey levels, and of a time in seconds.
PIXEL_TOLERANCE, TIME_TOLERANCE = 2.0, 1e-3

UNEVEN = np.cumsum(np.random.default_rng(0).integers(10, 200, 60))
OPEN_X264 = {"bf": "3", "x264-params": "open-gop=1:b-adapt=0:scenecut=0:keyint=12:min-keyint=12"}
OPEN_X265 = {"x265-params": "log-level=none:open-gop=1:b-adapt=0:scenecut=0:keyint=12:min-keyint=12:bframes=3"}

# name: how the file is written, whether the index of the MP4 file alone shows that decord's jumps are right
GENERATED: dict[str, tuple[dict[str, Any], bool]] = {
    "h264.mp4": ({"options": {"bf": "3"}}, True),
    "uneven.mp4": ({"times": UNEVEN}, False),
    "uneven.mkv": ({"times": UNEVEN}, False),
    "fragments.mp4": ({"container": {"movflags": "frag_keyframe+empty_moov"}}, False),
    "late.mp4": ({"times": 40 * np.arange(60) + 3000}, False),
    "open_gop.mp4": ({"options": OPEN_X264}, False),
    "open_gop.mkv": ({"options": OPEN_X264}, False),
    "hevc_open_gop.mp4": ({"codec": "libx265", "options": OPEN_X265}, False),
    "hevc.mp4": ({"codec": "libx265", "options": {"x265-params": "log-level=none:open-gop=0:keyint=12"}}, False),
    "mpeg4_b_frames.mp4": ({"codec": "mpeg4", "options": {"bf": "2"}}, False),
    "mpeg4_b_frames.avi": ({"codec": "mpeg4", "options": {"bf": "2"}}, False),
    "vp9.webm": ({"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}, False),
    "av1.mp4": ({"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}}, True),
    "mpeg2.ts": ({"codec": "mpeg2video"}, False),
    "yuv444.mp4": ({"pix_fmt": "yuv444p", "size": (97, 127)}, True),
    "ten_bits.mp4": ({"pix_fmt": "yuv420p10le"}, True),
    "full_range.mp4": ({"pix_fmt": "yuvj420p"}, True),
}

REAL = [
    "decord_flipping_a_pancake.mkv",
    "decord_video_90.mov",
    "mmaction2_demo__demo.mp4",
    "mmaction2_demo__demo_spatiotemporal_det.mp4",
    "torchcodec_av1_video.mkv",
    "torchcodec_h265_video.mp4",
    "torchcodec_nasa_13013.mp4",
    "torchcodec_sine_stereo_mp2.mpg",
    "torchcodec_test_non_zero_start.mp4",
    "torchcodec_testsrc2_odd_height_and_width_444.mp4",
    "torchvision_R6llTwEh07w.mp4",
    "torchvision_v_SoccerJuggling_g23_c01.avi",
]


def find_torchcodec() -> str:
    try:
        check_torchcodec()
    except InputError as error:
        return str(error)
    return ""


@pytest.fixture(params=get_args(DecoderName))
def decoder(request: pytest.FixtureRequest) -> DecoderName:
    if request.param == "torchcodec" and (reason := find_torchcodec()):
        pytest.skip(reason)
    return request.param


def write_frames(
    path: Path,
    *,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (96, 128),
    times: np.ndarray | None = None,
) -> Path:
    """60 frames, of which blue tells the number, with key frames every 12; times in milliseconds."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=25, options={"g": "12"} | (options or {}))
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for index in range(60):
            image = np.stack([columns * 2, rows * 2, np.full_like(rows, 4 * index)], axis=-1).astype(np.uint8)
            left = 2 * index % (width - 16)
            image[8:24, left : left + 16] = 255
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = int(times[index]), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def edit_list(path: Path, change: Callable[[int, int], tuple[int, int]]) -> None:
    """Change the duration (in the movie's unit) and the start (in the track's) of an MP4's one edit."""
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12
    content[at : at + 8] = struct.pack(">II", *change(*struct.unpack(">II", content[at : at + 8])))
    path.write_bytes(content)


def read_reference(path: Path) -> tuple[np.ndarray, list[float | None]]:
    """All frames and their times, by PyAV from the first frame to the last, which shares no code with the readers."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.best("video")))
    images = [np.rot90(frame.to_ndarray(format="rgb24"), k=frame.rotation // 90) for frame in frames]
    return np.stack(images), [frame.time for frame in frames]


def check_against_reference(path: Path, decoder: DecoderName, *, times_are_known: bool = True) -> None:
    reference, times = read_reference(path)
    num_frames = len(reference)
    picks = np.random.default_rng(0)
    some = sorted(picks.choice(num_frames, size=min(6, num_frames), replace=False).tolist())
    middle = num_frames // 2
    for indices in (
        list(range(0, num_frames, max(1, num_frames // 12)))[::-1],
        [num_frames - 1],
        [middle],
        [*some, some[0]],
        list(range(middle, num_frames, 2)),
        list(range(min(30, num_frames))),
    ):
        with open_video(path, decoder) as video:
            assert video.num_frames == num_frames
            frames = video.get_frames(indices).numpy()
            assert (video.height, video.width) == reference.shape[1:3]
            frame_times = video.frame_times
        differences = np.abs(frames.astype(int) - reference[indices]).mean(axis=(1, 2, 3))
        # PyAV leaves frames out on its way, which changes nothing in those that it gives.
        assert differences.max() <= (0 if decoder == "pyav" else PIXEL_TOLERANCE), f"{indices}: {differences.round(1)}"
    assert frame_times.shape == (num_frames,)
    assert frame_times.dtype == np.float64
    assert frame_times[0] == 0
    assert (np.diff(frame_times) > 0).all()
    if times_are_known:
        seconds = np.array(times, dtype=float)
        assert np.abs(frame_times - (seconds - seconds[0])).max() <= TIME_TOLERANCE


# What is asked for one after the other of an open file of 60 frames with key frames every 12, and how often PyAV jumps.
ASKED_IN_TURN = [
    ([[0, 2, 4], [5, 7], [8, 9, 10, 11], [12], [13, 30]], 1),
    ([[3], [4], [33], [34, 35], [59]], 3),
    ([[20, 22], [22], [10, 40], [41, 43], [43]], 5),
    ([[1, 3, 5], list(range(6, 60))], 1),
]


@pytest.mark.parametrize(("asked", "num_jumps"), ASKED_IN_TURN)
@pytest.mark.parametrize("name", ["h264.mp4", "open_gop.mp4", "uneven.mkv", "hevc_open_gop.mp4", "vp9.webm"])
def test_frames_asked_for_in_turn(
    tmp_path: Path,
    decoder: DecoderName,
    name: str,
    asked: list[list[int]],
    num_jumps: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    how, _ = GENERATED[name]
    path = write_frames(tmp_path / name, **how)
    reference, _ = read_reference(path)
    jumps = []
    jump = PyavDecoder._jump

    def jump_and_tell(self: PyavDecoder, time: int) -> None:
        jumps.append(time)
        jump(self, time)

    monkeypatch.setattr(PyavDecoder, "_jump", jump_and_tell)
    if decoder == "pyav":  # which has no need of the slow way
        monkeypatch.delattr("videosoft.data.decoding.reader.decode_in_order")
    with open_video(path, decoder) as video:
        for indices in asked:
            differences = np.abs(video.get_frames(indices).numpy().astype(int) - reference[indices])
            limit = 0 if decoder == "pyav" else PIXEL_TOLERANCE
            assert differences.mean(axis=(1, 2, 3)).max() <= limit
    if decoder == "pyav" and name == "h264.mp4":
        assert len(jumps) == num_jumps


@pytest.mark.parametrize("name", GENERATED)
def test_generated_files(tmp_path: Path, name: str, decoder: DecoderName) -> None:
    how, _ = GENERATED[name]
    check_against_reference(write_frames(tmp_path / name, **how), decoder)


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_files(shared_dir: Path, name: str, decoder: DecoderName) -> None:
    check_against_reference(shared_dir / "data" / "clips" / name, decoder)


@pytest.mark.real_data
def test_files_of_ucf101(shared_dir: Path, decoder: DecoderName) -> None:
    paths = sorted((shared_dir / "data" / "ucf101_mini" / "train").glob("*/*"))
    for path in paths[:: len(paths) // 4]:
        check_against_reference(path, decoder)


@pytest.mark.parametrize(
    "change",
    [
        lambda duration, start: (duration // 2, start),  # the end is cut away
        lambda duration, start: (duration // 2, start + 10000),  # and the beginning
    ],
)
def test_frames_that_an_edit_list_cuts_away_are_not_counted(
    tmp_path: Path, decoder: DecoderName, change: Callable[[int, int], tuple[int, int]]
) -> None:
    path = write_frames(tmp_path / "a.mp4")
    assert read_plain_index(path) is not None
    edit_list(path, change)
    assert len(read_reference(path)[0]) == 30
    assert read_plain_index(path) is None
    check_against_reference(path, decoder)


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_frames_that_do_not_decode_are_taken_off_the_count(tmp_path: Path, decoder: DecoderName, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        images = [av.VideoFrame.from_ndarray(np.full((96, 128, 3), 4 * k, np.uint8), "rgb24") for k in range(60)]
        packets = [packet for image in [*images, None] for packet in stream.encode(image)]
        for packet in packets[:50]:
            file.mux(packet)
        for packet in packets[50:]:
            empty = av.Packet(bytes.fromhex("000001b6504f"))  # a frame that says "not coded"
            empty.pts, empty.dts, empty.time_base, empty.stream = packet.pts, packet.dts, packet.time_base, stream
            file.mux(empty)
    num_frames = len(read_reference(path)[0])
    assert num_frames < 55
    with open_video(path, decoder) as video:
        assert video.num_frames == 60
        assert video.get_frames([10])[0].float().mean() == pytest.approx(40, abs=3)
        with pytest.raises(FrameCountError, match=f"promises 60 frames, but has {num_frames}"):
            video.get_frames([5, 58])
        assert video.num_frames == len(video.frame_times) == num_frames
        assert video.get_frames([num_frames - 1]).shape == (1, 96, 128, 3)


@pytest.mark.parametrize("name", GENERATED)
def test_the_index_of_an_mp4_shows_whether_jumps_are_exact(tmp_path: Path, name: str) -> None:
    how, is_plain = GENERATED[name]
    assert (read_plain_index(write_frames(tmp_path / name, **how)) is not None) == is_plain


def test_a_damaged_index_is_no_plain_one_and_does_no_harm(tmp_path: Path) -> None:
    path = write_frames(tmp_path / "a.mp4", options={"bf": "3"})
    content = path.read_bytes()
    start = content.index(b"moov") - 4
    picks = np.random.default_rng(0)
    num_refused = 0
    for _ in range(500):
        damaged = bytearray(content)
        at = int(picks.integers(start, len(content)))
        damaged[at : at + 4] = picks.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\1"])
        path.write_bytes(damaged)
        num_refused += read_plain_index(path) is None
    assert 50 < num_refused < 500
