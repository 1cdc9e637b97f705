"""A map-style dataset of labelled videos in the Kinetics layout."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

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
from videosoft.data.guard import GuardedLoader
from videosoft.data.litdata_source import LitDataSource
from videosoft.data.preprocessing import Preprocessing
from videosoft.data.records import RecordTable, VideoRecord
from videosoft.data.samplers import ClipDraw
from videosoft.data.sampling import NumClips
from videosoft.data.views import ShortVideos, load_clips, load_views
from videosoft.errors import InputError

VideoStorage = Literal["files", "litdata"]
SampleStatus = Literal["ok", "missing", "unreadable", "too_short"]


class VideoSample(TypedDict):
    """One video of the list, its clips as uint8; ``video`` is None unless the status is ok.  ``seed`` drew the clips.

    In training (C, T, H, W), or (R, C, T, H, W) with R = ``num_repeats`` clips of more than one; else (V, C, T, H, W).
    """

    video_id: str
    group_id: str
    path: str
    label_name: str
    label: int
    status: SampleStatus
    reason: str
    seed: int
    video: Tensor | None


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
        short_videos: ShortVideos = "skip",
        decoder: DecoderName = "decord",
        time_limit_seconds: float | None = 60.0,
    ) -> None:
        if (num_clips != "windows" and num_clips < 1) or num_crops < 1:
            raise InputError(f"num_clips and num_crops must be at least 1, got {num_clips} x {num_crops}")
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
        self._is_packed = packed is not None
        self._short_videos = short_videos
        load = _VideoLoad(
            listed.records,
            packed,
            preprocessing,
            augmentation if training else None,
            num_repeats,
            num_clips,
            num_crops,
            short_videos,
            decoder,
        )
        self._load = load if time_limit_seconds is None else GuardedLoader(load, time_limit_seconds)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, draw: int | ClipDraw) -> VideoSample:
        if not isinstance(draw, ClipDraw):
            draw = ClipDraw(draw, int(torch.randint(2**62, ())) if self.training else 0)
        record = self.records[draw.video]
        if record.status != "ok":
            return _create_sample(record, record.status, record.reason, draw.seed, None)
        try:
            _, video = self._load(draw)
        except VideoDecodeError as error:
            # Of files that were there when the list, or the manifest, was made some are gone by now.
            is_gone = not self._is_packed and not record.path.exists()
            return _create_sample(record, "missing" if is_gone else "unreadable", error.reason, draw.seed, None)
        except ShortVideoError as error:
            return _create_sample(record, "too_short", error.reason, draw.seed, None)
        return _create_sample(record, "ok", "", draw.seed, video)

    def coverage(self) -> Coverage:
        """How many videos the list names, how many of them have a file that is known to be long enough, and why not."""
        by_stride = self.preprocessing.sampling == "stride" and self.preprocessing.sampling_stride is not None
        skips = by_stride and self._short_videos == "skip"
        return compute_coverage(self.records.table, clip_span=self.preprocessing.clip_span if skips else None)


@dataclass(frozen=True)
class _VideoLoad:
    """What is done with a video, apart from the data set so that it can run in another process."""

    records: RecordTable
    packed: LitDataSource | None  # None: the videos are files
    preprocessing: Preprocessing
    augmentation: Augmentation | None  # None: evenly spread views
    num_repeats: int
    num_clips: NumClips
    num_crops: int
    short_videos: ShortVideos
    decoder: DecoderName

    def __call__(self, draw: ClipDraw) -> tuple[dict[str, Any], Tensor | None]:
        record = self.records[draw.video]
        open_reader = functools.partial(self._open_video, draw.video)
        if self.augmentation is None:
            views = load_views(
                record.path,
                self.preprocessing,
                self.num_clips,
                self.num_crops,
                short_videos=self.short_videos,
                open_reader=open_reader,
            )
            return {}, views.video
        clips = load_clips(
            record.path,
            self.preprocessing,
            self.augmentation,
            torch.Generator().manual_seed(draw.seed),
            num_repeats=self.num_repeats,
            label_name=record.label_name,
            short_videos=self.short_videos,
            open_reader=open_reader,
        )
        return {}, clips.video if self.num_repeats > 1 else clips.video[0]

    def _open_video(self, index: int, path: str | Path) -> VideoReader:
        if self.packed is None:
            return open_video(path, self.decoder)
        return open_video(self.packed.read_video(index), self.decoder, name=str(path))


def _create_sample(
    record: VideoRecord, status: SampleStatus, reason: str, seed: int, video: Tensor | None
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
        "video": video,
    }
