"""Videos in, tubes out: decoded once, shown to one or two models, nothing drawn and nothing written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from videosoft.data import normalize_clip
from videosoft.errors import InputError
from videosoft.explain.clips import Clip, ClipLoader, NoClipError, hash_frames
from videosoft.explain.export.models import ExplainedModel
from videosoft.explain.export.target_policy import TargetMissingError, TargetPolicy
from videosoft.explain.export.video_list import ListedVideo
from videosoft.explain.methods import SaliencyMethod
from videosoft.explain.methods.method import NotFiniteError
from videosoft.explain.targets import ClassAgainstItselfError, Target
from videosoft.explain.tube import SaliencyTube

__all__ = ["ExplainedVideo", "Explainer", "FailedVideo"]


@dataclass(frozen=True)
class ExplainedVideo:
    """One clip of a video with each model's tube.

    ``frames`` (T, H, W, 3) are the uint8 pixels that all models saw, ``frame_indices`` their places in the video,
    ``clip_hash`` the SHA-256 of their bytes.
    """

    video: ListedVideo
    frames: Tensor
    frame_indices: tuple[int, ...]
    num_video_frames: int
    fps: float
    clip_hash: str
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
        with ClipLoader(self.models[0].preprocessing) as loader:
            for start in range(0, len(videos), self.batch_size):
                yield from self._explain_batch(videos[start : start + self.batch_size], loader)

    def reload(self, videos: Sequence[ListedVideo]) -> Iterator[Tensor | FailedVideo]:
        """Yield the frames (T, H, W, 3) of each video once more, as :meth:`explain` showed them to the models."""
        with ClipLoader(self.models[0].preprocessing) as loader:
            for video in videos:
                loaded = _load(video, loader)
                yield loaded if isinstance(loaded, FailedVideo) else loaded.get_frames()

    def _explain_batch(
        self, videos: Sequence[ListedVideo], loader: ClipLoader
    ) -> Iterator[ExplainedVideo | FailedVideo]:
        begun = [self._begin(video, loader) for video in videos]
        asked = [one for one in begun if isinstance(one, _AskedVideo)]
        for number, (model, layer) in enumerate(zip(self.models, self.layers, strict=True)):
            if number:
                self._choose_targets(model, asked)
            self._ask(model, layer, [one for one in asked if one.failure is None])
        for one in begun:
            yield one if isinstance(one, FailedVideo) else one.finish()

    def _begin(self, video: ListedVideo, loader: ClipLoader) -> "_AskedVideo | FailedVideo":
        try:
            target = self.policy.choose_first(video)
        except TargetMissingError as error:
            return FailedVideo(video, "target_missing", str(error))
        clip = _load(video, loader)
        return clip if isinstance(clip, FailedVideo) else _AskedVideo(video, clip, target)

    def _choose_targets(self, model: ExplainedModel, asked: "Sequence[_AskedVideo]") -> None:
        """Choose what a model after the first is asked, by what the first one answered."""
        for one in asked:
            if one.failure is None:
                try:
                    one.target = self.policy.choose_next(model, one.tubes[0])
                except TargetMissingError as error:
                    one.failure = FailedVideo(one.video, "target_missing", str(error))

    def _ask(self, model: ExplainedModel, layer: str | None, asked: "Sequence[_AskedVideo]") -> None:
        """Run one model over the clips, and give each video its tube, or the reason why it has none."""
        while asked:
            pixels = torch.cat([one.clip.pixels for one in asked]).to(self.device)  # (N, 3, T, H, W), uint8
            clips = normalize_clip(pixels, model.preprocessing.mean, model.preprocessing.std)
            try:
                tubes = self.method(model.loaded.network, clips, [one.target for one in asked], layer)
            except NotFiniteError as error:
                names = ", ".join(str(asked[number].video.path) for number in error.clips)
                raise InputError(f"{error} ({model.path}, {names})") from error
            except ClassAgainstItselfError as error:
                # Known only when the network has run: the others are explained once more without these.
                reason = f"the class that {model.path} is asked about is the one to compare it with"
                for number in error.clips:
                    asked[number].failure = FailedVideo(asked[number].video, "target_missing", reason)
                asked = [one for one in asked if one.failure is None]
                continue
            for one, tube in zip(asked, tubes, strict=True):
                one.tubes.append(tube)
            return


@dataclass
class _AskedVideo:
    """A video on its way through the models: what the next one is asked, and what those before have answered."""

    video: ListedVideo
    clip: Clip
    target: Target
    tubes: list[SaliencyTube] = field(default_factory=list)
    failure: FailedVideo | None = None

    def finish(self) -> ExplainedVideo | FailedVideo:
        if self.failure is not None:
            return self.failure
        frames = self.clip.get_frames()
        return ExplainedVideo(
            video=self.video,
            frames=frames,
            frame_indices=self.clip.frames,
            num_video_frames=self.clip.num_video_frames,
            fps=self.clip.fps,
            clip_hash=hash_frames(frames),
            tubes=tuple(self.tubes),
        )


def _load(video: ListedVideo, loader: ClipLoader) -> Clip | FailedVideo:
    if video.status != "ok":
        return FailedVideo(video, video.status, video.reason or "the list says so")
    try:
        return loader(video.path)
    except NoClipError as error:
        return FailedVideo(video, error.status, error.reason)
