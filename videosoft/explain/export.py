"""Saliency of one checkpoint, or of two side by side, over many videos: maps, videos, contact sheets, a manifest."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from videosoft import __version__
from videosoft.data import ClipViews, Preprocessing, ShortVideoError, VideoDecodeError, load_views, normalize_clip
from videosoft.errors import InputError
from videosoft.explain.class_names import find_class, parse_class
from videosoft.explain.methods import create_method
from videosoft.explain.output_folder import OutputFolder
from videosoft.explain.rendering import ClipFigure, TubePanel, clean_text, write_contact_sheet, write_overlay_video
from videosoft.explain.saliency_files import write_saliency
from videosoft.explain.targets import Target
from videosoft.explain.tube import SaliencyTube
from videosoft.explain.video_files import find_videos
from videosoft.models import LoadedModel, load_checkpoint

__all__ = ["ModelOutcome", "SaliencyExport", "VideoOutcome"]

# What two checkpoints must share to be shown the same frames; mean and std may differ.
FRAME_SETTINGS = ("num_frames", "sampling_stride", "sampling_fps", "sampling", "short_side", "crop")
DEFAULT_FPS = 25.0


@dataclass(frozen=True)
class ModelOutcome:
    """What one model said about one video: its own prediction, and the target class with the map's residual."""

    model: str
    prediction: str
    probability: float
    target_probability: float
    logit: float
    residual: float | None


@dataclass(frozen=True)
class VideoOutcome:
    """One video of an export: ``status`` is ok, unreadable, too_short or target_missing; else than ok has a reason."""

    video_id: str
    path: str
    status: str
    reason: str
    target: str
    models: tuple[ModelOutcome, ...]
    warnings: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True)
class _Model:
    """A loaded checkpoint and what the figures call it; ``letter`` is A or B in a comparison, else empty."""

    letter: str
    title: str
    file_label: str
    path: Path
    loaded: LoadedModel
    preprocessing: Preprocessing


class SaliencyExport:
    """Everything that can be checked before the first video is; then :meth:`run` does the videos one by one.

    ``checkpoints`` holds one path, or two to compare: both then see the same frames and are asked about the same
    class, matched by name in each model's own list. ``target`` is "prediction" (of the first checkpoint), "label" (the
    name of the video's folder), a class name, or an index into the first checkpoint's classes.

    Raises InputError for a missing or foreign checkpoint, checkpoints that see different frames, a target that a
    checkpoint does not know, missing videos, an output folder that must not be written, and a device that is absent.
    """

    def __init__(
        self,
        checkpoints: Sequence[Path],
        video_paths: Sequence[Path],
        output: Path,
        *,
        target: str,
        device: str,
        max_videos: int | None,
        overwrite: bool,
        command: Sequence[str],
    ) -> None:
        self._folder = OutputFolder(output, overwrite=overwrite)
        self.videos = find_videos(video_paths, exclude=output)[:max_videos]
        self._device = _resolve_device(device)
        self._models = _load_models(checkpoints, self._device)
        self._target = target
        self._method = create_method("saliency_tubes")
        self._fixed_targets = self._resolve_targets()
        self._header = {
            "tool": "export_saliency",
            "command": list(command),
            "versions": {"videosoft": __version__, "torch": str(torch.__version__)},
            "checkpoints": [
                {
                    "letter": model.letter,
                    "path": str(model.path),
                    "checkpoint_hash": model.loaded.metadata["checkpoint_hash"],
                    "model": model.loaded.metadata["model"],
                    "preprocessing": model.preprocessing.to_dict(),
                }
                for model in self._models
            ],
            "settings": {
                "method": "saliency_tubes",
                "target": target,
                "device": str(self._device),
                "max_videos": max_videos,
            },
            "num_videos": len(self.videos),
        }

    def run(self) -> Iterator[VideoOutcome]:
        """Yield the outcome of each video once its files and its entry in the manifest are on disk.

        A video that cannot be read, or is shorter than a clip, is an outcome with a reason; the others go on.
        """
        self._folder.open(self._header)
        for path, target_name in zip(self.videos, self._fixed_targets, strict=True):
            try:
                outcome = self._explain_video(path, target_name)
                self._folder.add_video(asdict(outcome))
            except OSError as error:
                raise InputError(f"results cannot be written to {self._folder.path}: {error}") from error
            yield outcome
        self._folder.close()

    def _resolve_targets(self) -> list[str | None]:
        """Return the target class of each video; None where it is the first model's prediction."""
        names: list[str | None]
        if self._target == "prediction":
            return [None] * len(self.videos)
        first = self._models[0]
        if self._target == "label":
            names = [path.absolute().parent.name for path in self.videos]
        else:
            names = [parse_class(self._target, first.loaded.class_names, owner=str(first.path))] * len(self.videos)
        for path, name in dict(zip(self.videos, names, strict=True)).items():
            for model in self._models:
                try:
                    find_class(name or "", model.loaded.class_names, owner=str(model.path))
                except InputError as error:
                    if self._target != "label":
                        raise
                    raise InputError(f"the label of {path} is the name of its folder: {error}") from error
        return names

    def _explain_video(self, path: Path, target_name: str | None) -> VideoOutcome:
        def fail(status: str, reason: str) -> VideoOutcome:
            return VideoOutcome(video_id, str(path), status, reason, target_name or "", (), (), ())

        video_id = path.stem
        try:
            views = load_views(path, self._models[0].preprocessing, num_clips=1, num_crops=1)
        except VideoDecodeError as error:
            return fail("unreadable", error.reason)
        except ShortVideoError as error:
            return fail("too_short", f"{error.num_frames} frames, a clip spans {error.clip_span}")

        saliencies = []
        for model in self._models:
            class_names = model.loaded.class_names
            if target_name is not None and target_name not in class_names:
                return fail(
                    "target_missing", f"{model.path} has no class {target_name!r}, which the first one predicts"
                )
            target = None if target_name is None else class_names.index(target_name)
            pixels = views.video.to(self._device)  # (1, 3, T, H, W), uint8
            clip = normalize_clip(pixels, model.preprocessing.mean, model.preprocessing.std)
            saliency = self._method(model.loaded.network, clip, [Target(target)])[0]
            target_name = class_names[saliency.target]
            saliencies.append(saliency)
        assert target_name is not None
        return self._write_video(path, views, target_name, saliencies)

    def _write_video(
        self, path: Path, views: ClipViews, target_name: str, saliencies: Sequence[SaliencyTube]
    ) -> VideoOutcome:
        outcomes = tuple(
            _describe_outcome(model, saliency) for model, saliency in zip(self._models, saliencies, strict=True)
        )
        warnings = _collect_warnings(self._models, saliencies)
        figure = _create_figure(path.stem, views, target_name, self._models, saliencies, outcomes, warnings)
        name = self._folder.reserve_name(path.stem)
        maps = [f"{name}.{model.letter}.npz" if model.letter else f"{name}.npz" for model in self._models]
        video, sheet = f"{name}_overlay.mp4", f"{name}_sheet.png"
        files = (*maps, video, sheet)
        folder = self._folder.path
        try:
            for file, model, saliency in zip(maps, self._models, saliencies, strict=True):
                write_saliency(
                    folder / file,
                    saliency,
                    frames=figure.frame_indices,
                    target_name=target_name,
                    video_id=clean_text(path.stem),
                    checkpoint_hash=model.loaded.metadata["checkpoint_hash"],
                )
            write_overlay_video(folder / video, figure)
            write_contact_sheet(folder / sheet, figure)
        except BaseException:
            # Also on Ctrl-C: a video is listed with all of its files, or leaves none.
            for file in files:
                (folder / file).unlink(missing_ok=True)
            raise
        return VideoOutcome(path.stem, str(path), "ok", "", target_name, outcomes, warnings, files)


def _resolve_device(device: str) -> torch.device:
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but torch finds no CUDA device here; use auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def _load_models(checkpoints: Sequence[Path], device: torch.device) -> list[_Model]:
    labels = _label_files(checkpoints)
    letters = ["A", "B"] if len(checkpoints) > 1 else [""]
    models = []
    for path, label, letter in zip(checkpoints, labels, letters, strict=True):
        loaded = load_checkpoint(path)
        loaded.network.to(device)
        card: dict[str, Any] = loaded.metadata["model"]
        title = " ".join(str(part) for part in (card["name"], card["kwargs"].get("pool")) if part)
        try:
            preprocessing = Preprocessing.from_dict(loaded.preprocessing)
        except InputError as error:
            raise InputError(f"checkpoint {path}: {error}") from error
        models.append(_Model(letter, f"{letter}: {title}" if letter else title, label, path, loaded, preprocessing))
    for model in models[1:]:
        for setting in FRAME_SETTINGS:
            ours, theirs = (getattr(m.preprocessing, setting) for m in (models[0], model))
            if ours != theirs:
                raise InputError(
                    f"{models[0].path} and {model.path} cannot be shown the same frames: {setting} is {ours} in the "
                    f"first and {theirs} in the second; compare checkpoints that share {', '.join(FRAME_SETTINGS)}"
                )
    return models


def _label_files(paths: Sequence[Path]) -> list[str]:
    """Return short names that tell the files apart: runs/a/v0/last.ckpt, runs/b/v0/last.ckpt -> a/…/last.ckpt, ..."""
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return names
    # From the file upwards: the first folder that differs.
    for depth, folders in enumerate(zip(*(path.absolute().parent.parts[::-1] for path in paths), strict=False)):
        if len(set(folders)) == len(folders):
            between = "/…/" if depth > 0 else "/"
            return [f"{folder}{between}{name}" for folder, name in zip(folders, names, strict=True)]
    return names


def _describe_outcome(model: _Model, saliency: SaliencyTube) -> ModelOutcome:
    probabilities = saliency.probabilities
    return ModelOutcome(
        model=model.title,
        prediction=model.loaded.class_names[saliency.prediction],
        probability=float(probabilities[saliency.prediction]),
        target_probability=float(probabilities[saliency.target]),
        logit=saliency.logit,
        residual=saliency.residual,
    )


def _collect_warnings(models: Sequence[_Model], saliencies: Sequence[SaliencyTube]) -> tuple[str, ...]:
    """Return what a reader of the figure must know, each thing once if it holds for all models."""
    by_text: dict[str, list[str]] = {}
    for model, saliency in zip(models, saliencies, strict=True):
        for warning in saliency.warnings:
            by_text.setdefault(warning, []).append(model.letter)
    return tuple(
        text if len(letters) == len(models) else f"{', '.join(letters)}: {text}" for text, letters in by_text.items()
    )


def _create_figure(
    video_id: str,
    views: ClipViews,
    target_name: str,
    models: Sequence[_Model],
    saliencies: Sequence[SaliencyTube],
    outcomes: Sequence[ModelOutcome],
    warnings: Sequence[str],
) -> ClipFigure:
    frame_indices = tuple(views.frames[0])
    tubes = [saliency.tube.cpu().numpy() for saliency in saliencies]
    panels = [
        TubePanel(
            title=model.title,
            lines=(
                model.file_label,
                f"predicts {outcome.prediction} ({outcome.probability:.2f})",
                f"target {outcome.target_probability:.2f}, logit {outcome.logit:+.2f}",
            ),
            tube=tube,
        )
        for model, outcome, tube in zip(models, outcomes, tubes, strict=True)
    ]
    if len(tubes) == 2:
        panels.append(
            TubePanel("A \N{MINUS SIGN} B", ("red: more evidence in A", "blue: more in B"), tubes[0] - tubes[1])
        )
    grids = [" × ".join(str(side) for side in saliency.map.shape) for saliency in saliencies]
    layers = [f"{saliency.layer} (native map {grid})" for saliency, grid in zip(saliencies, grids, strict=True)]
    if len(set(layers)) > 1:
        layers = [f"{model.letter} {layer}" for model, layer in zip(models, layers, strict=True)]
    parts = [
        f"target class: {target_name}",
        "layer: " + ", ".join(dict.fromkeys(layers)),
        f"frames {frame_indices[0]}–{frame_indices[-1]} of {views.num_video_frames}",
    ]
    # Frames that were left out must not speed the world up.
    stride = max(1.0, (frame_indices[-1] - frame_indices[0]) / max(1, len(frame_indices) - 1))
    fps = views.fps / stride if 0 < views.fps < float("inf") else DEFAULT_FPS
    return ClipFigure(
        title=video_id,
        subtitle="   ·   ".join(parts),
        warning="; ".join(warnings) or None,
        frames=views.video[0].permute(1, 2, 3, 0).contiguous().numpy(),
        frame_indices=frame_indices,
        fps=fps,
        panels=tuple(panels),
    )
