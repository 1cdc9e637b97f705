"""Videos in, tubes out: decoded once, shown to one or two models, nothing drawn and nothing written."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videosoft.data import (
    GuardedLoader,
    Preprocessing,
    ShortVideoError,
    VideoDecodeError,
    load_views,
    normalize_clip,
)
from videosoft.errors import InputError
from videosoft.explain.export.models import ExplainedModel
from videosoft.explain.export.target_policy import TargetMissingError, TargetPolicy
from videosoft.explain.export.video_list import ListedVideo
from videosoft.explain.methods import SaliencyMethod
from videosoft.explain.methods.method import NotFiniteError
from videosoft.explain.targets import ClassAgainstItselfError, Target
from videosoft.explain.tube import SaliencyTube

__all__ = ["ExplainedVideo", "Explainer", "FailedVideo"]

SECONDS_PER_VIDEO = 60.0


@dataclass(frozen=True)
class ExplainedVideo:
    """One clip of a video with each model's tube.

    ``frames`` (T, H, W, 3) are the uint8 pixels that all models saw, ``frame_indices`` their places in the video,
    ``clip_hash`` the SHA-256 of their bytes; ``clips`` (3, T, H, W) is what each model took in, normalised by its own
    mean and std, on its device.
    """

    video: ListedVideo
    frames: Tensor
    frame_indices: tuple[int, ...]
    num_video_frames: int
    fps: float
    clip_hash: str
    clips: tuple[Tensor, ...]
    tubes: tuple[SaliencyTube, ...]


@dataclass(frozen=True)
class FailedVideo:
    """A video of which there is no tube: ``status`` is missing, unreadable, too_short or target_missing."""

    video: ListedVideo
    status: str
    reason: str


@dataclass(frozen=True)
class Explainer:
    """Explains videos by one method: ``layers`` has the layer of each model, None for a method that takes none.

    Each video is decoded once, its middle clip and centre crop, in a process of its own with a time limit; each model
    runs once over a batch of clips (as often as the method needs).
    """

    models: Sequence[ExplainedModel]
    method: SaliencyMethod
    layers: Sequence[str | None]
    policy: TargetPolicy
    device: torch.device
    batch_size: int = 8

    def explain(self, videos: Sequence[ListedVideo]) -> Iterator[ExplainedVideo | FailedVideo]:
        """Yield the outcome of each video, in their order.

        Raises InputError when a map is not finite.
        """
        load = _ClipLoad(self.models[0].preprocessing)
        with GuardedLoader(load, SECONDS_PER_VIDEO) as loader:
            for start in range(0, len(videos), self.batch_size):
                yield from self._explain_batch(videos[start : start + self.batch_size], loader)

    def reload(self, videos: Sequence[ListedVideo]) -> Iterator[Tensor | FailedVideo]:
        """Yield the frames (T, H, W, 3) of each video once more, as :meth:`explain` showed them to the models."""
        with GuardedLoader(_ClipLoad(self.models[0].preprocessing), SECONDS_PER_VIDEO) as loader:
            for video in videos:
                loaded = _load(video, loader)
                yield loaded if isinstance(loaded, FailedVideo) else _get_frames(loaded[1])

    def _explain_batch(
        self, videos: Sequence[ListedVideo], loader: GuardedLoader
    ) -> Iterator[ExplainedVideo | FailedVideo]:
        outcomes: dict[int, ExplainedVideo | FailedVideo] = {}
        loaded: dict[int, tuple[dict[str, Any], Tensor, Target]] = {}
        for place, video in enumerate(videos):
            try:
                target = self.policy.choose_first(video)
            except TargetMissingError as error:
                outcomes[place] = FailedVideo(video, "target_missing", str(error))
                continue
            result = _load(video, loader)
            if isinstance(result, FailedVideo):
                outcomes[place] = result
            else:
                loaded[place] = (*result, target)

        tubes: dict[int, list[SaliencyTube]] = {place: [] for place in loaded}
        clips: dict[int, list[Tensor]] = {place: [] for place in loaded}
        targets = {place: target for place, (_, _, target) in loaded.items()}
        for number, (model, layer) in enumerate(zip(self.models, self.layers, strict=True)):
            if number:
                for place in list(tubes):
                    try:
                        targets[place] = self.policy.choose_next(model, tubes[place][0])
                    except TargetMissingError as error:
                        outcomes[place] = FailedVideo(videos[place], "target_missing", str(error))
                        del tubes[place]
            while tubes:
                places = list(tubes)
                pixels = torch.cat([loaded[place][1] for place in places]).to(self.device)  # (N, 3, T, H, W), uint8
                batch = normalize_clip(pixels, model.preprocessing.mean, model.preprocessing.std)
                try:
                    found = self.method(model.loaded.network, batch, [targets[place] for place in places], layer)
                except NotFiniteError as error:
                    names = ", ".join(str(videos[places[number]].path) for number in error.clips)
                    raise InputError(f"{error} ({model.path}, {names})") from error
                except ClassAgainstItselfError as error:
                    # Known only when the network has run: the others are explained once more without these.
                    for place in (places[number] for number in error.clips):
                        reason = f"the class that {model.path} is asked about is the one to compare it with"
                        outcomes[place] = FailedVideo(videos[place], "target_missing", reason)
                        del tubes[place]
                    continue
                for place, clip, tube in zip(places, batch, found, strict=True):
                    tubes[place].append(tube)
                    clips[place].append(clip)
                break

        for place, video_tubes in tubes.items():
            info, pixels, _ = loaded[place]
            frames = _get_frames(pixels)
            outcomes[place] = ExplainedVideo(
                video=videos[place],
                frames=frames,
                frame_indices=tuple(info["frames"]),
                num_video_frames=info["num_video_frames"],
                fps=info["fps"],
                clip_hash=hashlib.sha256(frames.numpy().tobytes()).hexdigest(),
                clips=tuple(clips[place]),
                tubes=tuple(video_tubes),
            )
        for place in range(len(videos)):
            yield outcomes[place]


@dataclass(frozen=True)
class _ClipLoad:
    """What runs in the process that decodes."""

    preprocessing: Preprocessing

    def __call__(self, path: Path) -> tuple[dict[str, Any], Tensor]:
        views = load_views(path, self.preprocessing, num_clips=1, num_crops=1)
        info = {"frames": views.frames[0], "fps": views.fps, "num_video_frames": views.num_video_frames}
        return info, views.video


def _load(video: ListedVideo, loader: GuardedLoader) -> tuple[dict[str, Any], Tensor] | FailedVideo:
    if video.status != "ok":
        return FailedVideo(video, video.status, video.reason or "the list says so")
    try:
        info, pixels = loader(video.path)
    except VideoDecodeError as error:
        status = "unreadable" if video.path.exists() else "missing"
        return FailedVideo(video, status, error.reason)
    except ShortVideoError as error:
        return FailedVideo(video, "too_short", f"{error.num_frames} frames, a clip spans {error.clip_span}")
    assert pixels is not None
    return info, pixels


def _get_frames(pixels: Tensor) -> Tensor:
    """(1, 3, T, H, W) -> (T, H, W, 3)."""
    return pixels[0].permute(1, 2, 3, 0).contiguous()
