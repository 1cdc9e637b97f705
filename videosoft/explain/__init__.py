"""Why a network answers what it answers: saliency methods (one file each), their files, and their rendering."""

from videosoft.explain.export import ModelOutcome, SaliencyExport, VideoOutcome
from videosoft.explain.layers import LayerOutput, find_layer, get_feature_layer, list_layers
from videosoft.explain.methods import SaliencyMethod, create_method, list_methods
from videosoft.explain.saliency_files import SavedSaliency, read_saliency, write_saliency
from videosoft.explain.targets import Target
from videosoft.explain.tube import SaliencyTube, upsample_map

__all__ = [
    "LayerOutput",
    "ModelOutcome",
    "SaliencyExport",
    "SaliencyMethod",
    "SaliencyTube",
    "SavedSaliency",
    "Target",
    "VideoOutcome",
    "create_method",
    "find_layer",
    "get_feature_layer",
    "list_layers",
    "list_methods",
    "read_saliency",
    "upsample_map",
    "write_saliency",
]
