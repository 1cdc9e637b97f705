"""Saliency of one checkpoint, or of two side by side, over many videos: explained, drawn, written, resumed."""

from videosoft.explain.export.explaining import ExplainedVideo, Explainer, FailedVideo
from videosoft.explain.export.exporter import ExportSettings, SaliencyExport
from videosoft.explain.export.figures import create_figure, describe_video
from videosoft.explain.export.models import (
    ExplainedModel,
    choose_layer,
    list_model_layers,
    load_models,
    resolve_device,
)
from videosoft.explain.export.outcomes import ModelOutcome, VideoOutcome
from videosoft.explain.export.output_files import DEFAULT_KINDS, OUTPUT_KINDS, OutputKind
from videosoft.explain.export.output_folder import OutputFolder, SavedExport, read_export
from videosoft.explain.export.target_policy import TargetPolicy
from videosoft.explain.export.video_list import ListedVideo, list_split, list_videos

__all__ = [
    "DEFAULT_KINDS",
    "OUTPUT_KINDS",
    "ExplainedModel",
    "ExplainedVideo",
    "Explainer",
    "ExportSettings",
    "FailedVideo",
    "ListedVideo",
    "ModelOutcome",
    "OutputFolder",
    "OutputKind",
    "SaliencyExport",
    "SavedExport",
    "TargetPolicy",
    "VideoOutcome",
    "choose_layer",
    "create_figure",
    "describe_video",
    "list_model_layers",
    "list_split",
    "list_videos",
    "load_models",
    "read_export",
    "resolve_device",
]
