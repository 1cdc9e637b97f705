"""Why a network answers what it answers: saliency methods (one file each), their files, and their rendering."""

from videosoft.explain.export import (
    ExplainedVideo,
    Explainer,
    ExportSettings,
    FailedVideo,
    ListedVideo,
    ModelOutcome,
    OutputFolder,
    SaliencyExport,
    SavedExport,
    TargetPolicy,
    VideoOutcome,
    list_split,
    list_videos,
    load_models,
    read_export,
)
from videosoft.explain.layers import LayerOutput, find_layer, get_feature_layer, list_layers
from videosoft.explain.methods import SaliencyMethod, create_method, list_methods
from videosoft.explain.saliency_files import SavedSaliency, read_saliency, write_saliency
from videosoft.explain.targets import Target
from videosoft.explain.tube import SaliencyTube, upsample_map

__all__ = [
    "ExplainedVideo",
    "Explainer",
    "ExportSettings",
    "FailedVideo",
    "LayerOutput",
    "ListedVideo",
    "ModelOutcome",
    "OutputFolder",
    "SaliencyExport",
    "SaliencyMethod",
    "SaliencyTube",
    "SavedExport",
    "SavedSaliency",
    "Target",
    "TargetPolicy",
    "VideoOutcome",
    "create_method",
    "find_layer",
    "get_feature_layer",
    "list_layers",
    "list_methods",
    "list_split",
    "list_videos",
    "load_models",
    "read_export",
    "read_saliency",
    "upsample_map",
    "write_saliency",
]
