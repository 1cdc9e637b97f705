"""A map-style dataset of labelled videos in the Kinetics layout."""

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict

import torch
from torch import Tensor
from torch.utils.data import Dataset

from videosoft.data.annotations import AnnotationFormat, list_synonyms, read_annotations
from videosoft.data.augmentation import Augmentation
from videosoft.data.coverage import Coverage, compute_coverage
from videosoft.data.decoding import (
    DecoderName,
    ShortVideoError,
    VideoDecodeError,
    VideoReader,
    check_decoder,
    open_video,
)
from videosoft.data.guard import GuardedLoader, Loaded, load_here
from videosoft.data.litdata_source import LitDataSource
from videosoft.data.packed_views import PackedViews
from videosoft.data.preprocessing import Preprocessing
from videosoft.data.records import VideoRecord, describe_replacement
from videosoft.data.samplers import ClipDraw
from videosoft.data.sampling import NumClips, check_windows
from videosoft.data.views import ShortVideos, load_clips, load_view_frames
from videosoft.errors import InputError

VideoStorage = Literal["files", "litdata"]
SampleStatus = Literal["ok", "missing", "unreadable", "too_short"]


class VideoSample(TypedDict):
    """One video of the list, its clips as uint8; ``video`` is None unless the status is ok.  ``seed`` drew the clips.

    ``pixel_seeds`` are for :func:`augment_batch_pixels`, where the augmentation has ``pixels_on_device``.
    ``repeats_frames`` says that a clip has frames of the video several times.

    In training (C, T, H, W), or (R, C, T, H, W) with R = ``num_repeats`` clips of more than one; else (V, C, T, H, W),
    or the same packed, where the data set has ``packed_views``.
    """

    video_id: str
    group_id: str
    path: str
    label_name: str
    label: int
    status: SampleStatus
    reason: str
    seed: int
    pixel_seeds: list[int]
    repeats_frames: bool
    video: Tensor | PackedViews | None


class KineticsDataset(Dataset[VideoSample]):
    """The videos of a split, each as random clips (training) or as clips x crops spread evenly (testing).

    Every random choice about a training clip comes from the seed of the :class:`ClipDraw` that asks for it; asked for
    by a plain index, the seed is drawn from torch's generator.  Videos are decoded in a process of their own beside the
    one that asks, so that a decoder that hangs or crashes costs one video.  A file that is missing, unreadable or too
    short is never replaced by another: its sample says so by ``status`` and ``reason``
    (docs/decisions/0007-short-and-broken-videos.md).

    Args:
        root: folder with ``<split>.csv`` and ``<split>/<label>/<id>_<start>_<end>.mp4``; see :func:`read_annotations`.
        split: train, val or test (or a synonym that the folder is named by).
        preprocessing: frames, sampling and pixels of a clip.
        source: "litdata" where ``<root>/<split>`` holds the chunks of ``prepare.py optimize``: a folder, or an address
            such as s3://bucket/kinetics700.
        annotations: the list of videos, if it is not ``<root>/<split>.csv``; a manifest is one too.
        annotation_format: of the list, where its content does not tell.
        class_names: label names in the order of the labels; None: those found, sorted.
        training: random clips instead of evenly spread ones.
        augmentation: the random changes to a training clip.
        num_repeats: training clips of a video from one decode (repeated augmentation).
        num_clips: clips of a video in testing; "windows": as many as cover it.
        num_crops: crops of a clip in testing.
        packed_views: give the views of a test video as the frames that they share, to be cut out on the device by
            :func:`unpack_views`.
        short_videos: what to do with a video shorter than a clip: "skip" it, or "loop" its frames.
        decoder: the library that decodes.
        time_limit_seconds: that a video may take; None: no limit, and decoding in the process that asks.

    Raises:
        InputError: nothing to read, a list that is wrong (see :func:`read_annotations`), or an argument that is.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        *,
        preprocessing: Preprocessing,
        source: VideoStorage = "files",
        annotations: str | Path | None = None,
        annotation_format: AnnotationFormat | None = None,
        class_names: list[str] | tuple[str, ...] | None = None,
        training: bool = False,
        augmentation: Augmentation = Augmentation(),  # noqa: B008  (frozen)
        num_repeats: int = 1,
        num_clips: NumClips = 1,
        num_crops: int = 1,
        packed_views: bool = False,
        short_videos: ShortVideos = "skip",
        decoder: DecoderName = "decord",
        time_limit_seconds: float | None = 60.0,
    ) -> None:
        if (num_clips != "windows" and num_clips < 1) or num_crops < 1:
            raise InputError(f"num_clips and num_crops must be at least 1, got {num_clips} x {num_crops}")
        check_windows(num_clips, preprocessing)
        if num_repeats < 1:
            raise InputError(f"num_repeats must be at least 1, got {num_repeats}")
        if short_videos not in ("skip", "loop"):
            raise InputError(f'short_videos must be "skip" or "loop", got {short_videos!r}')
        check_decoder(decoder)
        packed = None
        if source == "litdata":
            if annotations is not None or annotation_format is not None:
                raise InputError("annotations are packed with the videos in LitData chunks: leave them out")
            packed = LitDataSource(f"{root}/{split}")
            if packed.split not in list_synonyms(split):
                raise InputError(
                    f"{root}/{split} holds the split {packed.split!r}: pack {split!r} there, or name it so"
                )
            listed = packed.list_videos(class_names)
        elif source == "files":
            listed = read_annotations(
                root, split, annotations=annotations, annotation_format=annotation_format, class_names=class_names
            )
        else:
            raise InputError(f'source must be "files" or "litdata", got {source!r}')
        if training:
            augmentation.check_fit(preprocessing.crop, listed.class_names)
        self.records = listed.records
        self.class_names = listed.class_names
        self.renamed = listed.renamed
        self.manifest_hash = listed.manifest_hash
        self.preprocessing = preprocessing
        self.training = training
        self.packed_views = packed_views
        self._are_files = packed is None
        self._short_videos = short_videos
        self._load = _VideoLoad(
            packed,
            preprocessing,
            augmentation if training else None,
            num_repeats,
            num_clips,
            num_crops,
            short_videos,
            decoder,
        )
        self._guard = None if time_limit_seconds is None else GuardedLoader(self._load, time_limit_seconds)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: int | ClipDraw) -> VideoSample:
        [sample] = self.__getitems__([draw])
        return sample

    def __getitems__(self, draws: Sequence[int | ClipDraw]) -> list[VideoSample]:
        """Several samples; a DataLoader asks for a batch by this."""
        seeded = [draw if isinstance(draw, ClipDraw) else ClipDraw(draw, self._draw_seed()) for draw in draws]
        records = [self.records[draw.video] for draw in seeded]
        requests = [
            _Request(str(record.path), record.label_name, record.num_bytes, draw.video, draw.seed)
            for record, draw in zip(records, seeded, strict=True)
            if record.status == "ok"
        ]
        loaded = iter(load_here(self._load, requests) if self._guard is None else self._guard.load_many(requests))
        return [
            self._create_sample(record, draw.seed, next(loaded))
            if record.status == "ok"
            else _describe_sample(record, record.status, record.reason, draw.seed, None)
            for record, draw in zip(records, seeded, strict=True)
        ]

    def _draw_seed(self) -> int:
        return int(torch.randint(2**62, ())) if self.training else 0

    def _create_sample(self, record: VideoRecord, seed: int, loaded: Loaded | Exception) -> VideoSample:
        match loaded:
            case VideoDecodeError():
                # Of files that were there when the list, or the manifest, was made some are gone by now.
                is_gone = self._are_files and not record.path.exists()
                return _describe_sample(record, "missing" if is_gone else "unreadable", loaded.reason, seed, None)
            case ShortVideoError():
                return _describe_sample(record, "too_short", loaded.reason, seed, None)
            case Exception():
                raise loaded
        values, frames = loaded
        video: Tensor | PackedViews | None = frames
        if not self.training:
            assert frames is not None
            packed = PackedViews(frames, values["layout"])
            video = packed if self.packed_views else packed.unpack()
        return {
            **_describe_sample(record, "ok", "", seed, video),
            "pixel_seeds": values.get("pixel_seeds", []),
            "repeats_frames": values["repeats_frames"],
        }

    def coverage(self) -> Coverage:
        """How many videos the list names, how many of them have a file that is known to be long enough, and why not."""
        by_stride = self.preprocessing.sampling == "stride" and self.preprocessing.sampling_stride is not None
        clip_span = self.preprocessing.clip_span if by_stride else None
        return compute_coverage(self.records.table, clip_span=clip_span, short_videos=self._short_videos)


class _Request(NamedTuple):
    """A video to load, with all that is said of it in the list and drawn for it."""

    path: str
    label_name: str
    num_bytes: int | None  # of the file when the manifest was made
    video: int
    seed: int


@dataclass(frozen=True)
class _VideoLoad:
    """What is done with a video, apart from the data set so that it can run in another process."""

    packed: LitDataSource | None  # None: the videos are files
    preprocessing: Preprocessing
    augmentation: Augmentation | None  # None: evenly spread views
    num_repeats: int
    num_clips: NumClips
    num_crops: int
    short_videos: ShortVideos
    decoder: DecoderName

    def __call__(self, request: _Request) -> tuple[dict[str, Any], Tensor | list[Tensor] | None]:
        """A training clip, or clips; or the frames of a test video's views, with their ``layout``."""
        path = Path(request.path)
        open_reader = functools.partial(self._open_video, request)
        if self.augmentation is None:
            views = load_view_frames(
                path,
                self.preprocessing,
                self.num_clips,
                self.num_crops,
                short_videos=self.short_videos,
                open_reader=open_reader,
            )
            return {"layout": views.layout, "repeats_frames": views.repeats_frames}, views.parts
        clips = load_clips(
            path,
            self.preprocessing,
            self.augmentation,
            torch.Generator().manual_seed(request.seed),
            num_repeats=self.num_repeats,
            label_name=request.label_name,
            short_videos=self.short_videos,
            open_reader=open_reader,
        )
        values = {"pixel_seeds": clips.pixel_seeds, "repeats_frames": clips.repeats_frames}
        return values, clips.video if self.num_repeats > 1 else clips.video[0]

    def _open_video(self, request: _Request, path: str | Path) -> VideoReader:
        if self.packed is not None:
            return open_video(self.packed.read_video(request.video), self.decoder, name=str(path))
        with contextlib.suppress(OSError):  # who opens it will say what is wrong
            if reason := describe_replacement(request.num_bytes, Path(path).stat().st_size):
                raise VideoDecodeError(Path(path), reason)
        return open_video(path, self.decoder)


def _describe_sample(
    record: VideoRecord, status: SampleStatus, reason: str, seed: int, video: Tensor | PackedViews | None
) -> VideoSample:
    return {
        "video_id": record.video_id,
        "group_id": record.group_id,
        "path": str(record.path),
        "label_name": record.label_name,
        "label": record.label,
        "status": status,
        "reason": reason,
        "seed": seed,
        "pixel_seeds": [],
        "repeats_frames": False,
        "video": video,
    }
