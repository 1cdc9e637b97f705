"""Scores of saliency maps: on the object, faithful, stable, alike? One idea a file."""

from videosoft.explain.scores.baselines import Baseline, create_baseline
from videosoft.explain.scores.boxes import VideoBoxes, create_box_mask, read_boxes
from videosoft.explain.scores.faithfulness import compute_area, compute_deletion_curves, compute_insertion_curves
from videosoft.explain.scores.localization import measure_energy_in_box, play_pointing_game
from videosoft.explain.scores.noise_floor import NoiseFloor, compute_noise_floor
from videosoft.explain.scores.paired import PairedComparison, compare_paired
from videosoft.explain.scores.randomization import list_cascade, randomize_weights
from videosoft.explain.scores.references import compute_motion_map, create_centre_prior, see_at_grid
from videosoft.explain.scores.similarity import compute_rank_correlation, compute_top_iou, order_voxels
from videosoft.explain.scores.temporal import count_effective_frames, find_temporal_peak, measure_drift

__all__ = [
    "Baseline",
    "NoiseFloor",
    "PairedComparison",
    "VideoBoxes",
    "compare_paired",
    "compute_area",
    "compute_deletion_curves",
    "compute_insertion_curves",
    "compute_motion_map",
    "compute_noise_floor",
    "compute_rank_correlation",
    "compute_top_iou",
    "count_effective_frames",
    "create_baseline",
    "create_box_mask",
    "create_centre_prior",
    "find_temporal_peak",
    "list_cascade",
    "measure_drift",
    "measure_energy_in_box",
    "order_voxels",
    "play_pointing_game",
    "randomize_weights",
    "read_boxes",
    "see_at_grid",
]
