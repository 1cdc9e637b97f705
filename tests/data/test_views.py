"""Views and clips against frames decoded by PyAV, each frame read once, a few at a time."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from videosoft.data import Preprocessing, ShortVideoError, load_views, open_video
from videosoft.data.augmentation import Augmentation, augment_clip
from videosoft.data.decoding import FrameCountError
from videosoft.data.sampling import sample_test_clips, sample_training_clips
from videosoft.data.views import load_clips
from videosoft.errors import InputError

DecodeAll = Callable[[Path], np.ndarray]

SAMPLINGS = {
    "stride": Preprocessing(4, 3, 32, 28),
    "rate": Preprocessing(4, None, 32, 28, sampling_fps=10.0),
    "dense": Preprocessing(4, 3, 32, 28, sampling="dense"),
    "segments": Preprocessing(4, None, 32, 28, sampling="segments"),
}


class CountingReader:
    """A reader that knows the times of its frames (each second gap is longer), and notes what it is asked for."""

    def __init__(self, path: str | Path) -> None:
        self._reader = open_video(path)
        self.path, self.num_frames, self.fps = Path(path), self._reader.num_frames, self._reader.fps
        self.requests: list[list[int]] = []

    @property
    def frame_times(self) -> np.ndarray:
        gaps = np.where(np.arange(self.num_frames - 1) % 2, 0.06, 0.02)
        return np.r_[0.0, np.cumsum(gaps)]

    def get_frames(self, indices: Sequence[int]) -> Tensor:
        if max(indices) >= self._reader.num_frames:
            num_promised, self.num_frames = self.num_frames, self._reader.num_frames
            raise FrameCountError(self.path, self.num_frames, num_promised)
        self.requests.append(list(indices))
        return self._reader.get_frames(indices)

    def __enter__(self) -> "CountingReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._reader.close()


@pytest.fixture
def readers() -> list[CountingReader]:
    return []


@pytest.fixture
def open_counting(readers: list[CountingReader]) -> Callable[[str | Path], CountingReader]:
    def open_reader(path: str | Path) -> CountingReader:
        readers.append(CountingReader(path))
        return readers[-1]

    return open_reader


@pytest.fixture
def path(tmp_path: Path, write_video: Callable[..., Path]) -> Path:
    return write_video(tmp_path / "a.mp4", num_frames=60, height=48, width=64)


@pytest.mark.parametrize("name", SAMPLINGS)
@pytest.mark.parametrize(("num_clips", "num_crops"), [(1, 1), (5, 3), (10, 3), (2, 2)])
def test_views_of_any_sampling(
    path: Path, decode_all: DecodeAll, readers: Any, open_counting: Any, name: str, num_clips: int, num_crops: int
) -> None:
    preprocessing = SAMPLINGS[name]
    views = load_views(path, preprocessing, num_clips, num_crops, open_reader=open_counting)
    (reader,) = readers
    clips = sample_test_clips(60, preprocessing, num_clips, reader.frame_times)
    assert views.frames == [clip for clip in clips for _ in range(num_crops)]
    # 48 x 64 becomes 32 x 42
    resized = [Image.fromarray(frame).resize((42, 32), Image.Resampling.BILINEAR) for frame in decode_all(path)]
    lefts = {1: [7], 2: [0, 14], 3: [0, 7, 14]}[num_crops]
    expected = np.stack(
        [np.stack([np.asarray(resized[i])[2:30, left : left + 28] for i in clip]) for clip in clips for left in lefts]
    )
    assert views.video.shape == (num_clips * num_crops, 3, 4, 28, 28)
    assert views.video.permute(0, 2, 3, 4, 1).is_contiguous()
    assert np.abs(views.video.permute(0, 2, 3, 4, 1).numpy().astype(int) - expected).max() <= 3
    assert [index for request in reader.requests for index in request] == sorted({i for clip in clips for i in clip})


@pytest.mark.parametrize("name", ["stride", "rate"])
def test_windows_cover_the_video(path: Path, open_counting: Any, readers: Any, name: str) -> None:
    views = load_views(path, SAMPLINGS[name], "windows", 1, open_reader=open_counting)
    clips = sample_test_clips(60, SAMPLINGS[name], "windows", readers[0].frame_times)
    assert views.frames == clips
    assert views.video.shape == (len(clips), 3, 4, 28, 28)
    assert clips[0][0] == 0
    assert max(clips[-1]) >= 57


def test_frames_of_a_large_video_are_read_a_few_at_a_time(
    path: Path, open_counting: Any, readers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocessing = Preprocessing(8, 1, 32, 28)
    whole = load_views(path, preprocessing, 10, 3, open_reader=open_counting)
    monkeypatch.setattr("videosoft.data.views._CHUNK_BYTES", 5 * 48 * 64 * 3 + 100)
    pieces = load_views(path, preprocessing, 10, 3, open_reader=open_counting)
    assert [len(request) for request in readers[0].requests] == [16, 44]
    assert [len(request) for request in readers[1].requests] == [16, 5, 5, 5, 5, 5, 5, 5, 5, 4]
    assert torch.equal(whole.video, pieces.video)


@pytest.mark.parametrize("name", SAMPLINGS)
@pytest.mark.parametrize("num_repeats", [1, 3])
def test_repeated_clips_come_from_one_decode(
    path: Path, decode_all: DecodeAll, readers: Any, open_counting: Any, name: str, num_repeats: int
) -> None:
    settings = Augmentation(brightness=0.4, erasing_probability=0.5)
    state = torch.get_rng_state()
    loaded = [
        load_clips(
            path,
            SAMPLINGS[name],
            settings,
            torch.Generator().manual_seed(seed),
            num_repeats=num_repeats,
            open_reader=open_counting,
        )
        for seed in (5, 5, 6)
    ]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(loaded[0].video, loaded[1].video)
    assert not torch.equal(loaded[0].video, loaded[2].video)
    clips = loaded[0]
    assert clips.video.shape == (num_repeats, 3, 4, 28, 28)
    assert clips.video.permute(0, 2, 3, 4, 1).is_contiguous()
    assert all(len(reader.requests) == 1 for reader in readers)
    assert readers[0].requests[0] == sorted({index for clip in clips.frames for index in clip})
    # The same by hand, draw by draw.
    generator = torch.Generator().manual_seed(5)
    frames = torch.from_numpy(decode_all(path))
    assert clips.frames == sample_training_clips(60, SAMPLINGS[name], num_repeats, generator, readers[0].frame_times)
    for video, indices in zip(clips.video, clips.frames, strict=True):
        expected = augment_clip(frames[indices], settings, 28, generator)
        assert (video.permute(1, 2, 3, 0).int() - expected.int()).abs().max() <= 3


def test_clips_of_classes_that_are_not_mirrored(path: Path) -> None:
    # Red grows from left to right.
    generator = torch.Generator().manual_seed(0)
    settings = Augmentation(no_flip_classes=("left",))
    for label_name, directions in (("left", {True}), ("jump", {True, False})):
        clips = load_clips(path, SAMPLINGS["stride"], settings, generator, num_repeats=20, label_name=label_name)
        columns = clips.video[:, 0].float().mean(dim=(1, 2))
        assert {bool(x) for x in columns[:, -6:].mean(dim=1) > columns[:, :6].mean(dim=1)} == directions


def test_mean_is_the_colour_of_erased_boxes(path: Path) -> None:
    preprocessing = Preprocessing(4, 3, 32, 28, mean=(1.0, 0.0, 1.0))
    settings = Augmentation(erasing_probability=1.0, erasing_scale=(0.3, 0.3))
    (clip,) = load_clips(path, preprocessing, settings, torch.Generator().manual_seed(0)).video
    erased = (clip[0] == 255) & (clip[1] == 0) & (clip[2] == 255)
    assert 0.25 < float(erased.float().mean()) < 0.35


@pytest.mark.parametrize("name", ["stride", "rate"])
def test_short_videos(tmp_path: Path, write_video: Callable[..., Path], open_counting: Any, name: str) -> None:
    path = write_video(tmp_path / "short.mp4", num_frames=7)
    preprocessing = SAMPLINGS[name]
    generator = torch.Generator().manual_seed(0)
    for load in (
        lambda **options: load_views(path, preprocessing, 2, 3, open_reader=open_counting, **options),
        lambda **options: load_clips(
            path, preprocessing, Augmentation(), generator, num_repeats=6, open_reader=open_counting, **options
        ),
    ):
        with pytest.raises(ShortVideoError, match=r"7 frames, but a clip spans (10|9)"):
            load()
        views = load(short_videos="loop")
        # The frames are at 0, 0.02, 0.08, 0.1, 0.16, 0.18 and 0.24 s: 0, 0.1 and 0.2 s are wanted, then again.
        assert views.frames == [{"stride": [0, 3, 6, 0], "rate": [0, 3, 5, 0]}[name]] * 6
        assert views.video.shape == (6, 3, 4, 28, 28)
        assert views.repeats_frames
    windows = load_views(path, preprocessing, "windows", 1, short_videos="loop", open_reader=open_counting)
    assert len(windows.frames) == 1
    assert windows.repeats_frames


def test_a_filled_last_window_is_no_repeat(path: Path) -> None:
    """60 frames make three windows of 8, every third, of which the last one is filled up with four of its own."""
    windows = load_views(path, Preprocessing(8, 3, 32, 28), "windows", 1)
    assert [len(set(frames)) for frames in windows.frames] == [8, 8, 4]
    assert not windows.repeats_frames


# One frame too many is noticed only by clips that want the last one.
@pytest.mark.parametrize(("name", "num_promised"), [(name, 80) for name in SAMPLINGS] + [("stride", 61)])
def test_a_file_that_promises_too_many_frames(path: Path, readers: Any, name: str, num_promised: int) -> None:
    def open_promising(path: str | Path) -> CountingReader:
        readers.append(CountingReader(path))
        readers[-1].num_frames = num_promised
        return readers[-1]

    views = load_views(path, SAMPLINGS[name], 3, 1, open_reader=open_promising)
    assert views.num_video_frames == 60
    assert views.frames == sample_test_clips(60, SAMPLINGS[name], 3, readers[0].frame_times)
    assert torch.equal(views.video, load_views(path, SAMPLINGS[name], 3, 1, open_reader=CountingReader).video)
    loaded = [
        load_clips(
            path,
            SAMPLINGS[name],
            Augmentation(),
            torch.Generator().manual_seed(1),
            num_repeats=12,
            open_reader=open_promising,
        )
        for _ in range(2)
    ]
    assert max(max(clip) for clip in loaded[0].frames) < 60
    assert loaded[0].frames == loaded[1].frames
    assert torch.equal(loaded[0].video, loaded[1].video)


def test_a_file_that_turns_out_to_be_too_short(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    class PromisingReader(CountingReader):
        def __init__(self, path: str | Path) -> None:
            super().__init__(path)
            self.num_frames = 10

    path = write_video(tmp_path / "short.mp4", num_frames=7)
    with pytest.raises(ShortVideoError, match="7 frames, but a clip spans 10"):
        load_views(path, SAMPLINGS["stride"], 1, 1, open_reader=PromisingReader)


@pytest.mark.parametrize("name", ["dense", "segments"])
def test_short_videos_of_samplings_that_repeat_frames(
    tmp_path: Path, write_video: Callable[..., Path], name: str
) -> None:
    path = write_video(tmp_path / "short.mp4", num_frames=3)
    assert load_views(path, SAMPLINGS[name], 2, 1).video.shape == (2, 3, 4, 28, 28)


@pytest.mark.parametrize("options", [{"num_clips": 0}, {"num_clips": -1}, {"num_crops": 0}, {"num_crops": -2}])
@pytest.mark.parametrize("short_videos", ["skip", "loop"])
def test_no_views_are_refused(path: Path, options: dict[str, int], short_videos: Any) -> None:
    with pytest.raises(InputError, match="num_clips and num_crops must be at least 1"):
        load_views(path, SAMPLINGS["stride"], **({"num_clips": 1, "num_crops": 1} | options), short_videos=short_videos)
    with pytest.raises(InputError, match="num_repeats must be at least 1"):
        load_clips(path, SAMPLINGS["stride"], Augmentation(), torch.Generator(), num_repeats=0)
