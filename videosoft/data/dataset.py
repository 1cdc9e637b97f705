"""A map-style dataset of labelled videos in the Kinetics layout."""

from pathlib import Path
from typing import Literal, TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset

from videosoft.data.annotations import VideoRecord, read_annotations
from videosoft.data.decoding import ShortVideoError, VideoDecodeError, open_video
from videosoft.data.preprocessing import Preprocessing
from videosoft.data.samplers import ClipDraw
from videosoft.data.sampling import loop_clip, sample_random_clip
from videosoft.data.transforms import random_horizontal_flip, random_resized_crop
from videosoft.data.views import ShortVideos, load_views
from videosoft.errors import InputError

SampleStatus = Literal["ok", "missing", "unreadable", "too_short"]


class VideoSample(TypedDict):
    """One video of the list: ``video`` is uint8, (C, T, H, W) in training, else (V, C, T, H, W); None unless ok."""

    video_id: str
    group_id: str
    path: str
    label_name: str
    label: int
    status: SampleStatus
    reason: str
    video: Tensor | None


class KineticsDataset(Dataset[VideoSample]):
    """The videos of a split, each as a random clip (training) or as clips x crops spread evenly (testing).

    In training a clip starts at a random frame, is cut out at random (area a fraction ``random_scale`` of the frame)
    and, with ``horizontal_flip``, mirrored half of the time; all draws are torch's.  Videos are decoded in the process
    that asks for the sample, and closed at once.  A file that is missing, unreadable or too short is never replaced by
    another: its sample says so by ``status`` and ``reason`` (docs/decisions/0007-short-and-broken-videos.md).

    Args:
        root: folder with ``<split>.csv`` and ``<split>/<label>/<id>_<start>_<end>.mp4``; see :func:`read_annotations`.
        split: train, val or test (or a synonym that the folder is named by).
        preprocessing: frames, stride and pixels of a clip.
        annotations: the CSV, if it is not ``<root>/<split>.csv``.
        class_names: label names in the order of the labels; None: those found, sorted.
        training: random clips instead of evenly spread ones.
        num_clips: clips of a video in testing.
        num_crops: crops of a clip in testing.
        random_scale: smallest and largest area of the random crop, as a fraction of the frame.
        random_ratio: smallest and largest width / height of the random crop.
        horizontal_flip: mirror at random in training; not for classes that tell left from right.
        short_videos: what to do with a video shorter than a clip: "skip" it, or "loop" its frames.

    Raises:
        InputError: nothing to read, or a list that is wrong; see :func:`read_annotations`.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        preprocessing: Preprocessing,
        annotations: str | Path | None = None,
        class_names: list[str] | tuple[str, ...] | None = None,
        training: bool = False,
        num_clips: int = 1,
        num_crops: int = 1,
        random_scale: tuple[float, float] = (0.25, 1.0),
        random_ratio: tuple[float, float] = (3 / 4, 4 / 3),
        horizontal_flip: bool = True,
        short_videos: ShortVideos = "skip",
    ) -> None:
        if num_clips < 1 or num_crops < 1:
            raise InputError(f"num_clips and num_crops must be at least 1, got {num_clips} x {num_crops}")
        if len(random_scale) != 2 or not 0 < random_scale[0] <= random_scale[1] <= 1:
            raise InputError(f"random_scale must be two fractions 0 < smallest <= largest <= 1, got {random_scale}")
        if len(random_ratio) != 2 or not 0 < random_ratio[0] <= random_ratio[1]:
            raise InputError(f"random_ratio must be two ratios 0 < smallest <= largest, got {random_ratio}")
        if short_videos not in ("skip", "loop"):
            raise InputError(f'short_videos must be "skip" or "loop", got {short_videos!r}')
        listed = read_annotations(root, split, annotations=annotations, class_names=class_names)
        self.records = listed.records
        self.class_names = listed.class_names
        self.manifest_hash = listed.manifest_hash
        self.preprocessing = preprocessing
        self.training = training
        self.num_clips = num_clips
        self.num_crops = num_crops
        self.random_scale = (random_scale[0], random_scale[1])
        self.random_ratio = (random_ratio[0], random_ratio[1])
        self.horizontal_flip = horizontal_flip
        self.short_videos: ShortVideos = short_videos

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: int | ClipDraw) -> VideoSample:
        index, seed = draw if isinstance(draw, ClipDraw) else ClipDraw(draw, int(torch.randint(2**62, ())))
        record = self.records[index]
        if record.status == "missing":
            return _create_sample(record, "missing", record.reason, None)
        try:
            if self.training:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed)
                    video = self._load_random_clip(record.path)
            else:
                video = load_views(
                    record.path, self.preprocessing, self.num_clips, self.num_crops, short_videos=self.short_videos
                ).video
        except VideoDecodeError as error:
            return _create_sample(record, "unreadable", error.reason, None)
        except ShortVideoError as error:
            return _create_sample(record, "too_short", error.reason, None)
        return _create_sample(record, "ok", "", video)

    def coverage(self) -> dict[str, int]:
        """How many videos the list names, and how many of them have a file."""
        return {
            "num_listed": len(self.records),
            "num_found": sum(record.status == "ok" for record in self.records),
        }

    def _load_random_clip(self, path: Path) -> Tensor:
        with open_video(path) as video:
            if video.num_frames >= self.preprocessing.clip_span:
                indices = sample_random_clip(video.num_frames, self.preprocessing)
            elif self.short_videos == "loop":
                indices = loop_clip(video.num_frames, self.preprocessing)
            else:
                raise ShortVideoError(path, video.num_frames, self.preprocessing.clip_span)
            frames = video.get_frames(indices)  # (T, H, W, C)
        frames = random_resized_crop(frames, self.preprocessing.crop, self.random_scale, self.random_ratio)
        if self.horizontal_flip:
            frames = random_horizontal_flip(frames)
        return frames.permute(3, 0, 1, 2)  # (C, T, H, W)


def _create_sample(record: VideoRecord, status: SampleStatus, reason: str, video: Tensor | None) -> VideoSample:
    return {
        "video_id": record.video_id,
        "group_id": record.group_id,
        "path": str(record.path),
        "label_name": record.label_name,
        "label": record.label,
        "status": status,
        "reason": reason,
        "video": video,
    }
