"""Why a network answers what it answers: saliency methods (one file each), their files, and their rendering."""

from videosoft.explain.export import ModelOutcome, SaliencyExport, VideoOutcome
from videosoft.explain.saliency_files import SavedSaliency, read_saliency, write_saliency
from videosoft.explain.saliency_tubes import RESIDUAL_TOLERANCE, compute_saliency_tube, compute_saliency_tubes
from videosoft.explain.tube import SaliencyTube, upsample_map

__all__ = [
    "RESIDUAL_TOLERANCE",
    "ModelOutcome",
    "SaliencyExport",
    "SaliencyTube",
    "SavedSaliency",
    "VideoOutcome",
    "compute_saliency_tube",
    "compute_saliency_tubes",
    "read_saliency",
    "upsample_map",
    "write_saliency",
]
