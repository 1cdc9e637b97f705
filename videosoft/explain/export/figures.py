"""What is said of one video, and the figure that says it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from videosoft.explain.export.explaining import ExplainedVideo
from videosoft.explain.export.models import ExplainedModel
from videosoft.explain.export.outcomes import ModelOutcome, VideoOutcome
from videosoft.explain.rendering import ClipFigure, Scale, TubePanel, scale_tubes
from videosoft.explain.tube import SaliencyTube

__all__ = ["create_figure", "describe_video"]


def describe_video(models: Sequence[ExplainedModel], explained: ExplainedVideo) -> VideoOutcome:
    """Return all that is to be said of an explained video, no file of which is written yet."""
    names = models[0].class_names
    first = explained.tubes[0]
    return VideoOutcome(
        video_id=explained.video.video_id,
        path=str(explained.video.path),
        label=explained.video.label_name,
        status="ok",
        target=names[first.target],
        versus="" if first.versus is None else names[first.versus],
        models=tuple(_describe_model(model, tube) for model, tube in zip(models, explained.tubes, strict=True)),
        warnings=_collect_warnings(models, explained.tubes),
        frames=explained.frame_indices,
        num_video_frames=explained.num_video_frames,
        fps=explained.fps if 0 < explained.fps < float("inf") else 0.0,
        clip_hash=explained.clip_hash,
    )


def create_figure(
    outcome: VideoOutcome,
    models: Sequence[ExplainedModel],
    tubes: Sequence[npt.NDArray[np.float32]],
    grids: Sequence[tuple[str, tuple[int, ...]]],
    frames: npt.NDArray[np.uint8],
    *,
    method: str,
    unit: str,
    scale: Scale,
    limit: float | None,
    positive_only: bool,
) -> ClipFigure:
    """Return the figure of a video: its panels are the models' tubes and, of two, their difference.

    ``grids`` has for each model the layer's name and the shape of its native map; the scale is that of
    :func:`videosoft.explain.rendering.scale_tubes`.
    """
    score = "difference" if outcome.versus else "logit"
    drawn, color_scale = scale_tubes(tubes, scale, unit=unit, limit=limit, positive_only=positive_only)
    panels = [
        TubePanel(
            title=model.title,
            lines=(
                model.file_label,
                f"predicts {said.prediction} ({said.probability:.2f})",
                f"target {said.target_probability:.2f}, {score} {said.logit:+.2f}",
            ),
            tube=tube,
        )
        for model, said, tube in zip(models, outcome.models, drawn, strict=False)
    ]
    if len(drawn) > len(models):
        panels.append(TubePanel("A \N{MINUS SIGN} B", ("red: more evidence in A", "blue: more in B"), drawn[-1]))
    layers = [f"{layer} (native map {' × '.join(map(str, shape))})" for layer, shape in grids]
    if len(set(layers)) > 1:
        layers = [f"{model.letter} {layer}" for model, layer in zip(models, layers, strict=True)]
    first, last = outcome.frames[0], outcome.frames[-1]
    parts = [
        f"target class: {outcome.target}" + (f" against {outcome.versus}" if outcome.versus else ""),
        method,
        "layer: " + ", ".join(dict.fromkeys(layers)),
        f"frames {first}–{last} of {outcome.num_video_frames}",
    ]
    if positive_only:
        parts.insert(2, "negative values not drawn")
    return ClipFigure(
        title=outcome.video_id,
        subtitle="   ·   ".join(parts),
        warning="; ".join(outcome.warnings) or None,
        frames=frames,
        frame_indices=outcome.frames,
        fps=outcome.clip_fps,
        panels=tuple(panels),
        scale=color_scale,
    )


def _describe_model(model: ExplainedModel, tube: SaliencyTube) -> ModelOutcome:
    probabilities = tube.probabilities
    return ModelOutcome(
        model=model.title,
        prediction=model.class_names[tube.prediction],
        probability=float(probabilities[tube.prediction]),
        target_probability=float(probabilities[tube.target]),
        logit=tube.logit,
        residual=tube.residual,
    )


def _collect_warnings(models: Sequence[ExplainedModel], tubes: Sequence[SaliencyTube]) -> tuple[str, ...]:
    """Return what a reader of the figure must know, each thing once if it holds for all models."""
    by_text: dict[str, list[str]] = {}
    for model, tube in zip(models, tubes, strict=True):
        for warning in tube.warnings:
            by_text.setdefault(warning, []).append(model.letter)
    return tuple(
        text if len(letters) == len(models) else f"{', '.join(letters)}: {text}" for text, letters in by_text.items()
    )
