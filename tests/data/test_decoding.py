"""Frames against another decoder, on real files of many kinds; and files that are no videos."""

import io
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import decord
import numpy as np
import psutil
import pytest
import torch

from videosoft.data.decoding import FrameCountError, ShortVideoError, VideoDecodeError, open_video
from videosoft.errors import InputError

DecodeAll = Callable[[Path], np.ndarray]


def truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def damage(content: bytes) -> bytes:
    """Garbage in the middle of the file, the header and the index left as they are."""
    start = len(content) // 3
    return content[:start] + b"\xff" * 2000 + content[start + 2000 :]


@pytest.mark.parametrize("indices", [[0], [3, 4, 5], [7, 3, 3, 0, 7], [23, 0], list(range(24)), (5, 2)])
def test_frames_come_in_the_order_asked_for(
    tmp_path: Path, write_video: Callable[..., Path], decode_all: DecodeAll, indices: list[int]
) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=24, height=48, width=64, fps=25)
    reference = decode_all(path)
    with open_video(path) as video:
        assert (video.num_frames, video.fps, video.height, video.width) == (24, 25.0, 48, 64)
        frames = video.get_frames(indices)
    assert frames.shape == (len(indices), 48, 64, 3)
    assert np.abs(frames.numpy().astype(int) - reference[list(indices)]).max() <= 2


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        ("mp4", "libx264", {"bf": "3", "x264-params": "open-gop=1"}),
        ("mkv", "libx264", {}),
        ("webm", "libvpx-vp9", {"deadline": "realtime"}),
        ("mp4", "libx265", {"x265-params": "log-level=none:open-gop=0"}),
        ("avi", "mpeg4", {}),
        ("avi", "mpeg4", {"bf": "2"}),
        ("avi", "libx264", {}),
        ("mpg", "mpeg2video", {"bf": "2"}),
        ("ts", "libx264", {}),
        ("wmv", "wmv2", {}),
    ],
)
def test_jumps_land_on_the_right_frame(
    tmp_path: Path,
    write_video: Callable[..., Path],
    decode_all: DecodeAll,
    suffix: str,
    codec: str,
    options: dict[str, str],
) -> None:
    path = write_video(tmp_path / f"a.{suffix}", num_frames=60, height=96, width=128, codec=codec, options=options)
    reference = decode_all(path).astype(int)
    for indices in ([41], [11, 13, 40], [33, 36, 39, 42], [2, 59]):
        with open_video(path) as video:
            frames = video.get_frames(indices)
        # the frame of the reference that is nearest to each, by number
        nearest = [int(np.abs(reference - frame.numpy()).mean(axis=(1, 2, 3)).argmin()) for frame in frames]
        assert nearest == indices


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    [
        "decord_flipping_a_pancake.mkv",
        "decord_video_90.mov",  # rotated by 90 degrees
        "mmaction2_demo__demo_spatiotemporal_det.mp4",
        "torchcodec_av1_video.mkv",
        "torchcodec_h265_video.mp4",
        "torchcodec_sine_stereo_mp2.mpg",
        "torchcodec_test_non_zero_start.mp4",
        "torchcodec_testsrc2_odd_height_and_width_444.mp4",
        "torchvision_R6llTwEh07w.mp4",
        "torchvision_RATRACE_wave_f_nm_np1_fr_goo_37.avi",  # its header promises one frame more than there is
        "torchvision_v_SoccerJuggling_g23_c01.avi",
    ],
)
def test_real_files_decode_as_by_pyav(shared_dir: Path, decode_all: DecodeAll, name: str) -> None:
    path = shared_dir / "data" / "clips" / name
    reference = decode_all(path)
    indices = list(range(0, len(reference), max(1, len(reference) // 12)))
    with open_video(path) as video:
        assert video.num_frames - len(reference) in (0, 1)
        assert (video.height, video.width) == reference.shape[1:3]
        assert video.fps > 1
        frames = video.get_frames(indices[::-1])
    assert np.abs(frames.numpy()[::-1].astype(int) - reference[indices]).mean(axis=(1, 2, 3)).max() <= 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b"not a video at all\n" * 50, "not a readable video"),
        (b"\x00" * 4096, "not a readable video"),
        (truncate, "not a readable video"),
        (damage, "decoding failed"),
    ],
)
def test_broken_files_say_why_and_print_nothing(
    tmp_path: Path,
    write_video: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
    content: bytes | Callable[[bytes], bytes],
    words: str,
) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=60, height=96, width=128)
    path.write_bytes(content(path.read_bytes()) if callable(content) else content)
    capfd.readouterr()
    with pytest.raises(VideoDecodeError) as caught, open_video(path) as video:
        video.get_frames(range(video.num_frames))
    assert caught.value.path == path
    assert words in caught.value.reason
    assert "\n" not in caught.value.reason
    assert "/project/" not in caught.value.reason
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "words"), [("nowhere.mp4", "No such file"), (".", "not a file"), ("a\0b", "null")])
def test_paths_that_are_no_files(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(VideoDecodeError, match=words):
        open_video(tmp_path / name)


@pytest.mark.parametrize("indices", [[], [24], [-1], [0, 99]])
def test_indices_out_of_range(tmp_path: Path, write_video: Callable[..., Path], indices: list[int]) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=24)
    with open_video(path) as video, pytest.raises(VideoDecodeError, match="there are 24"):
        video.get_frames(indices)


@pytest.mark.real_data
def test_damage_in_the_middle_spares_the_frames_before_it(shared_dir: Path) -> None:
    with open_video(shared_dir / "data" / "clips" / "decord_corrupted.mp4") as video:
        assert video.get_frames([0, 8, 16]).float().std() > 1
        with pytest.raises(VideoDecodeError, match="decoding failed"):
            video.get_frames(range(video.num_frames))


@pytest.mark.real_data
def test_promised_frame_that_does_not_exist_is_the_last_one(shared_dir: Path, decode_all: DecodeAll) -> None:
    path = shared_dir / "data" / "clips" / "torchvision_RATRACE_wave_f_nm_np1_fr_goo_37.avi"
    reference = decode_all(path)
    with open_video(path) as video:
        assert (video.num_frames, len(reference)) == (73, 72)
        assert np.array_equal(video.get_frames([72])[0].numpy(), reference[71])


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview, io.BytesIO])
def test_videos_in_memory(
    tmp_path: Path, write_video: Callable[..., Path], wrap: Callable[[bytes], bytes], decoder: str
) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=24)
    with open_video(path, decoder) as video:
        expected = video.get_frames([3, 20])
    num_fds = psutil.Process().num_fds()
    with open_video(wrap(path.read_bytes()), decoder, name="bucket/a.mp4") as video:
        assert np.array_equal(video.get_frames([3, 20]), expected)
        assert video.frame_times[-1] == pytest.approx(23 / 25, abs=1e-3)
        assert video.path == Path("bucket/a.mp4")
    assert psutil.Process().num_fds() == num_fds


@pytest.mark.parametrize(("content", "words"), [(b"", "empty file"), (b"no video" * 99, "not a readable video")])
def test_broken_videos_in_memory_go_by_their_name(content: bytes, words: str) -> None:
    num_fds = psutil.Process().num_fds()
    with pytest.raises(VideoDecodeError, match=f"^bucket/a.mp4: {words}"):
        open_video(content, name="bucket/a.mp4")
    assert psutil.Process().num_fds() == num_fds


def test_open_files_go_by_their_own_name(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    with write_video(tmp_path / "a.mp4").open("rb") as file, open_video(file) as video:
        assert video.path == tmp_path / "a.mp4"


def test_unknown_decoders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match='decoder must be "decord", "pyav" or "torchcodec", got \'opencv\''):
        open_video(tmp_path / "a.mp4", "opencv")


def test_torchcodec_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(InputError, match=r'decoder="torchcodec" needs .*pip install "videosoft\[torchcodec\]"'):
        open_video(tmp_path / "a.mp4", "torchcodec")


def test_torchcodec_without_ffmpeg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    torchcodec = pytest.importorskip("torchcodec")
    monkeypatch.setattr(torchcodec, "ffmpeg_major_version", None)
    with pytest.raises(InputError, match=r'decoder="torchcodec" needs FFmpeg\'s shared libraries'):
        open_video(tmp_path / "a.mp4", "torchcodec")


@pytest.mark.skipif(sys.platform != "linux", reason="reads the libraries' symbols by Linux's loader")
def test_decord_keeps_its_codecs_to_itself() -> None:
    script = (
        "import ctypes\n"
        "import videosoft.data.decoding\n"
        "print([name for name in ('dav1d_open', 'avcodec_open2') if hasattr(ctypes.CDLL(None), name)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_memory_stays_flat(tmp_path: Path, write_video: Callable[..., Path], decoder: str) -> None:
    path = write_video(tmp_path / "a.mp4", num_frames=60, height=128, width=172)
    process = psutil.Process()
    resident = []
    for _ in range(2):
        for k in range(500):
            with open_video(path, decoder) as video:
                video.get_frames(range(k % 30, k % 30 + 16, 2))
        resident.append(process.memory_info().rss)
    assert resident[1] <= 1.05 * resident[0]


@pytest.mark.parametrize(
    "error",
    [
        VideoDecodeError(Path("a.mp4"), "broken"),
        FrameCountError(Path("a.mp4"), 50, 60),
        ShortVideoError(Path("a.mp4"), 3, 16),
    ],
)
def test_errors_survive_the_way_out_of_a_worker(error: Exception) -> None:
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "a.mp4" in str(error)


def test_decords_bridge_of_others_does_no_harm(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    path = write_video(tmp_path / "video.mp4", num_frames=5)
    with open_video(path) as video:
        expected = video.get_frames([0, 3])
    decord.bridge.set_bridge("torch")
    try:
        with open_video(path) as video:
            assert torch.equal(video.get_frames([0, 3]), expected)
    finally:
        decord.bridge.reset_bridge()
