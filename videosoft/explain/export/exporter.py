"""Saliency of one checkpoint, or of two side by side, over many videos: maps, videos, pictures, a manifest."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from videosoft import __version__
from videosoft.errors import InputError
from videosoft.explain.class_names import ClassOverlap, compare_class_lists
from videosoft.explain.export.explaining import ExplainedVideo, Explainer, FailedVideo
from videosoft.explain.export.figures import create_figure, describe_video
from videosoft.explain.export.models import choose_layer, load_models, resolve_device
from videosoft.explain.export.outcomes import VideoOutcome
from videosoft.explain.export.output_files import (
    ARRAY_KINDS,
    DEFAULT_KINDS,
    OUTPUT_KINDS,
    OutputKind,
    list_suffixes,
    write_pictures,
)
from videosoft.explain.export.output_folder import OutputFolder, hash_config
from videosoft.explain.export.target_policy import TargetPolicy
from videosoft.explain.export.video_list import ListedVideo
from videosoft.explain.methods import SaliencyMethod, create_method
from videosoft.explain.rendering import SCALES, Scale, clean_text
from videosoft.explain.saliency_files import SavedSaliency, check_zarr, read_saliency, write_saliency

__all__ = ["ExportSettings", "SaliencyExport"]

# Of each tube as many values, evenly spaced, enter the quantile of a data set.
MAX_VALUES_OF_A_TUBE = 4096


@dataclass(frozen=True)
class ExportSettings:
    """All that decides what an export's files hold, beside the checkpoints and the videos.

    ``layer`` is None for the feature layer of each model; ``compare_layer`` is the second model's where it has another
    name. ``target`` and ``versus`` are those of :class:`TargetPolicy`, ``scale`` and ``positive_only`` those of
    :func:`videosoft.explain.rendering.scale_tubes`: scale "fixed" takes ``scale_limit``, and "dataset" the
    ``scale_quantile`` of |M| over all videos, for which the maps are all made first and npz files are always written.

    Raises InputError for a value that is not allowed.
    """

    method: SaliencyMethod
    layer: str | None = None
    compare_layer: str | None = None
    target: str = "prediction"
    versus: str | None = None
    scale: Scale = "pair"
    scale_limit: float | None = None
    scale_quantile: float = 0.995
    positive_only: bool = False
    outputs: tuple[OutputKind, ...] = DEFAULT_KINDS

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise InputError(f"scale must be one of {', '.join(SCALES)}, got {self.scale!r}")
        if (self.scale == "fixed") != (self.scale_limit is not None):
            raise InputError("the scale 'fixed' needs a scale_limit, and no other scale takes one")
        if self.scale_limit is not None and not 0 < self.scale_limit < float("inf"):
            raise InputError(f"scale_limit must be positive, got {self.scale_limit}")
        if not 0 < self.scale_quantile <= 1:
            raise InputError(f"scale_quantile must lie in (0, 1], got {self.scale_quantile}")
        if not self.outputs or not set(self.outputs) <= set(OUTPUT_KINDS):
            raise InputError(
                f"outputs must be some of {', '.join(OUTPUT_KINDS)}, got {', '.join(self.outputs) or 'none'}"
            )
        if "zarr" in self.outputs:
            check_zarr()

    @property
    def kinds(self) -> tuple[OutputKind, ...]:
        """The outputs, each once, in a fixed order."""
        wanted = {*self.outputs, "npz"} if self.scale == "dataset" else set(self.outputs)
        return tuple(kind for kind in OUTPUT_KINDS if kind in wanted)

    def to_json(self) -> dict[str, Any]:
        """Plain values, the method by its name and options."""
        values = {**asdict(self), "method": self.method.name, "method_options": asdict(self.method)}
        return {**values, "outputs": list(self.kinds)}


class SaliencyExport:
    """Everything that can be checked before the first video is; then :meth:`run` does the videos one by one.

    ``checkpoints`` holds one path, or two to compare: both then see the same frames and are asked about the same
    class, matched by name in each model's own list; ``class_overlap`` says what these lists share.

    Raises InputError for a missing or foreign checkpoint, checkpoints that see different frames, a target or a layer
    that a checkpoint does not have, no videos, and a device that is absent.
    """

    def __init__(
        self,
        checkpoints: Sequence[Path],
        videos: Sequence[ListedVideo],
        folder: OutputFolder,
        settings: ExportSettings | None = None,
        *,
        device: str = "auto",
        batch_size: int = 8,
        command: Sequence[str] = (),
    ) -> None:
        if not videos:
            raise InputError("there is no video to explain")
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        self.settings = settings or ExportSettings(create_method("saliency_tubes"))
        self._folder = folder
        self.videos = list(videos)
        resolved_device = resolve_device(device)
        self._models = load_models(checkpoints, resolved_device)
        self._letters = [model.letter for model in self._models]
        method = self.settings.method
        names = [self.settings.layer, self.settings.compare_layer or self.settings.layer]
        layers = [choose_layer(model, method, name) for model, name in zip(self._models, names, strict=False)]
        policy = TargetPolicy(self._models, self.settings.target, self.settings.versus)
        policy.check_labels(self.videos)
        self._explainer = Explainer(self._models, method, layers, policy, resolved_device, batch_size)
        self.class_overlap: ClassOverlap | None = None
        if len(self._models) == 2:
            self.class_overlap = compare_class_lists(*(model.class_names for model in self._models))
        self._suffixes = list_suffixes(self.settings.kinds, self._letters)
        self._header = self._describe()
        self._run = {
            "command": list(command),
            "versions": {"videosoft": __version__, "torch": str(torch.__version__)},
            "device": str(resolved_device),
            "batch_size": batch_size,
        }

    def run(self) -> Iterator[VideoOutcome]:
        """Yield the outcome of each video once its files and its entry in the manifest are on disk.

        A video that cannot be read, or is shorter than a clip, is an outcome with a reason; the others go on. What a
        resumed export has finished already is yielded as it was, and not computed again. With the scale "dataset" the
        outcomes come as "mapped" first; when all maps are there the pictures are drawn, and they come once more.

        Raises InputError when a resumed export was made with other settings, results cannot be written, or a map is
        not finite.
        """
        finished = self._folder.open(self._header, self._run)
        try:
            yield from self._explain_all(finished)
            if self.settings.scale == "dataset":
                yield from self._draw_all()
            self._folder.close()
        except OSError as error:
            raise InputError(f"results cannot be written to {self._folder.path}: {error}") from error
        except BaseException:
            # Also on Ctrl-C: the manifest then says what is finished.
            self._folder.flush()
            raise

    def _describe(self) -> dict[str, Any]:
        header: dict[str, Any] = {
            "tool": "export_saliency",
            "settings": self.settings.to_json(),
            "checkpoints": [
                {
                    "letter": model.letter,
                    "checkpoint_hash": model.loaded.metadata["checkpoint_hash"],
                    "model": model.loaded.metadata["model"],
                    "class_names": list(model.class_names),
                    "preprocessing": model.preprocessing.to_dict(),
                }
                for model in self._models
            ],
            "checkpoint_paths": [str(model.path) for model in self._models],
            "num_videos": len(self.videos),
        }
        header["config_hash"] = hash_config(header)
        if self.class_overlap is not None:
            header["classes"] = {
                "num_shared": len(self.class_overlap.shared),
                "only_A": list(self.class_overlap.only_first),
                "only_B": list(self.class_overlap.only_second),
            }
        return header

    def _explain_all(self, finished: Mapping[str, VideoOutcome]) -> Iterator[VideoOutcome]:
        """Yield the outcome of each video: finished ones as they are, the others mapped and, if it can be, drawn."""
        explained = self._explainer.explain([video for video in self.videos if str(video.path) not in finished])
        for video in self.videos:
            outcome = finished.get(str(video.path))
            if outcome is None:
                result = next(explained)
                outcome = _describe_failure(result) if isinstance(result, FailedVideo) else self._write_video(result)
                self._folder.add_video(outcome)
            yield outcome

    def _draw_all(self) -> Iterator[VideoOutcome]:
        """Yield each video that was only mapped so far, its pictures drawn; its frames are decoded once more."""
        limit = self._folder.note_once("scale_limit", self._find_limit)
        mapped = [video for video in self.videos if self._folder.videos[str(video.path)].status == "mapped"]
        for video, frames in zip(mapped, self._explainer.reload(mapped), strict=True):
            outcome = self._folder.videos[str(video.path)]
            if isinstance(frames, FailedVideo):
                outcome = replace(outcome, status=frames.status, reason=frames.reason)
            else:
                outcome = self._draw_mapped(outcome, frames.numpy(), limit)
            self._folder.add_video(outcome)
            yield outcome

    def _write_video(self, explained: ExplainedVideo) -> VideoOutcome:
        outcome = describe_video(self._models, explained)
        name, files = self._folder.begin_video(outcome.path, outcome.video_id, self._suffixes)
        arrays, pictures = _split_kinds(files)
        with _removing_unfinished(self._folder.path, files):
            for letter, model, tube in zip(self._letters, self._models, explained.tubes, strict=True):
                for file in (arrays[kind] for kind in arrays if kind.partition(".")[2] == letter):
                    write_saliency(
                        self._folder.path / file,
                        tube,
                        frames=explained.frame_indices,
                        target_name=model.class_names[tube.target],
                        versus_name="" if tube.versus is None else model.class_names[tube.versus],
                        video_id=clean_text(outcome.video_id),
                        checkpoint_hash=model.loaded.metadata["checkpoint_hash"],
                        method_options=asdict(self.settings.method),
                    )
            mapped = replace(outcome, name=name, status="mapped", files=arrays)
            if self.settings.scale == "dataset":
                return mapped
            tubes = [tube.tube.cpu().numpy() for tube in explained.tubes]
            grids = [(tube.layer, tuple(tube.map.shape)) for tube in explained.tubes]
            frames, limit = explained.frames.numpy(), self.settings.scale_limit
            return self._draw(mapped, pictures, tubes, grids, frames, explained.tubes[0].unit, limit)

    def _draw_mapped(self, outcome: VideoOutcome, frames: npt.NDArray[np.uint8], limit: float) -> VideoOutcome:
        saved = self._read_maps(outcome)
        grids = [(one.layer, one.map.shape) for one in saved]
        pictures = _split_kinds({kind: f"{outcome.name}{suffix}" for kind, suffix in self._suffixes.items()})[1]
        with _removing_unfinished(self._folder.path, pictures):
            return self._draw(outcome, pictures, [one.tube for one in saved], grids, frames, saved[0].unit, limit)

    def _draw(
        self,
        outcome: VideoOutcome,
        pictures: Mapping[str, str],
        tubes: Sequence[npt.NDArray[np.float32]],
        grids: Sequence[tuple[str, tuple[int, ...]]],
        frames: npt.NDArray[np.uint8],
        unit: str,
        limit: float | None,
    ) -> VideoOutcome:
        """Write a mapped video's pictures and return it as done."""
        figure = create_figure(
            outcome,
            self._models,
            tubes,
            grids,
            frames,
            method=_describe_method(self.settings.method),
            unit=unit,
            scale=self.settings.scale,
            limit=limit,
            positive_only=self.settings.positive_only,
        )
        absent = write_pictures(self._folder.path, pictures, figure, self._letters)
        files = {**outcome.files, **{kind: file for kind, file in pictures.items() if kind not in absent}}
        warnings = outcome.warnings
        if absent:
            warnings = (*warnings, f"no {', '.join(absent)}: the tube reaches half of the scale nowhere")
        return replace(outcome, status="ok", files=files, warnings=warnings)

    def _find_limit(self) -> float:
        """Return the wanted quantile of |M| over the tubes of all videos and models, 1 where all is zero."""
        values = []
        for outcome in self._folder.videos.values():
            if outcome.status not in ("ok", "mapped"):
                continue
            for saved in self._read_maps(outcome):
                flat = np.abs(saved.tube).ravel()
                values.append(flat[:: max(1, flat.size // MAX_VALUES_OF_A_TUBE)])
        limit = float(np.quantile(np.concatenate(values), self.settings.scale_quantile)) if values else 0.0
        return limit if limit > 0 else 1.0

    def _read_maps(self, outcome: VideoOutcome) -> list[SavedSaliency]:
        kinds = [f"npz.{letter}" if letter else "npz" for letter in self._letters]
        return [read_saliency(self._folder.path / outcome.files[kind]) for kind in kinds]


def _describe_failure(failed: FailedVideo) -> VideoOutcome:
    video = failed.video
    return VideoOutcome(video.video_id, str(video.path), video.label_name, failed.status, failed.reason)


def _describe_method(method: SaliencyMethod) -> str:
    """Return "rise (num_masks 200)": the name, and the options that are not at their defaults."""
    changed = [
        f"{field.name} {getattr(method, field.name)}"
        for field in fields(method)
        if getattr(method, field.name) != field.default
    ]
    return f"{method.name} ({', '.join(changed)})" if changed else method.name


def _split_kinds(files: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the files of arrays and those of pictures."""
    arrays = {kind: file for kind, file in files.items() if kind.partition(".")[0] in ARRAY_KINDS}
    return arrays, {kind: file for kind, file in files.items() if kind not in arrays}


@contextmanager
def _removing_unfinished(folder: Path, files: Mapping[str, str]) -> Iterator[None]:
    """On an error, Ctrl-C too, remove the files: a video is listed with all of its files, or leaves none."""
    try:
        yield
    except BaseException:
        for file in files.values():
            (folder / file).unlink(missing_ok=True)
        raise
