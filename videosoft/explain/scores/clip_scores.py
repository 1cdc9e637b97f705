"""All scores of one clip."""

import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain.class_names import match_class
from videosoft.explain.clips import Clip
from videosoft.explain.methods import SaliencyMethod
from videosoft.explain.saliency_files import SavedSaliency
from videosoft.explain.scores.baselines import Baseline, create_baseline
from videosoft.explain.scores.faithfulness import compute_area, compute_deletion_curves, compute_insertion_curves
from videosoft.explain.scores.localization import measure_energy_in_box, play_pointing_game
from videosoft.explain.scores.maps import Map, check_map
from videosoft.explain.scores.names import (
    BOX,
    CENTRE_PRIOR,
    EVEN_MAP,
    MOTION,
    RANDOM_MAP,
    name_at_grid,
    name_fresh_weights,
)
from videosoft.explain.scores.randomization import list_cascade, randomize_weights
from videosoft.explain.scores.references import compute_motion_map, create_centre_prior, see_at_grid
from videosoft.explain.scores.similarity import compute_rank_correlation, compute_top_iou
from videosoft.explain.scores.subjects import Subject
from videosoft.explain.scores.table import Curve, Score
from videosoft.explain.scores.temporal import count_effective_frames, find_temporal_peak, measure_drift
from videosoft.explain.targets import Target
from videosoft.explain.tube import SaliencyTube, upsample_map

__all__ = ["ClipScorer", "Randomization"]

Randomization = Literal["cascade", "whole", "none"]

# Networks with all weights drawn anew, over which the scores of such a map are averaged: one may be lucky.
NUM_DRAWS = 3


@dataclass(frozen=True)
class ClipScores:
    """The scores of one clip, the curves of insertion and deletion, and each subject's native grid (t, h, w)."""

    scores: tuple[Score, ...]
    curves: tuple[Curve, ...]
    grids: dict[str, tuple[int, int, int]]


class ClipScorer:
    """Scores the maps that ``method`` makes of the subjects at their layers, and whatever they are held against.

    ``baseline``, ``num_steps`` and ``batch_size`` are those of insertion and deletion; ``randomization`` is "cascade"
    (from the output down, and whole), "whole" or "none".
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        method: SaliencyMethod,
        *,
        baseline: Baseline,
        num_steps: int,
        batch_size: int,
        randomization: Randomization,
    ) -> None:
        self.subjects = subjects
        self._method = method
        self._baseline: Baseline = baseline
        self._num_steps = num_steps
        self._batch_size = batch_size
        # Drawn once: to copy a network for every clip would cost more than all maps.
        self._fresh = {subject.name: _draw_fresh(subject, randomization) for subject in subjects if subject.is_first}

    def predict(self, clip: Clip) -> int:
        """Return the class that the first subject predicts."""
        subject = self.subjects[0]
        with torch.no_grad():
            return int(subject.network(subject.normalize(clip.pixels)).argmax())

    def score(
        self,
        video_id: str,
        clip: Clip,
        targets: Sequence[int],
        label_name: str,
        box_mask: Map | None,
        saved: Mapping[str, SavedSaliency] | None = None,
    ) -> ClipScores:
        """Return all scores of one clip.

        ``targets`` is each subject's index of the class that is explained, ``label_name`` the true class, if it is
        one of the first subject's; ``box_mask`` (T, H, W) is None for a video without boxes. ``saved`` has maps by the
        name of their subject, which are taken as they are; the others are made.
        """
        saved = saved or {}
        inputs = [subject.normalize(clip.pixels) for subject in self.subjects]
        saliencies = [
            _restore(subject, pixels, target, saved[subject.name])
            if subject.name in saved
            else self._explain(subject, subject.network, pixels, target)
            for subject, pixels, target in zip(self.subjects, inputs, targets, strict=True)
        ]
        tubes = {
            s.name: saliency.tube.cpu().double().numpy() for s, saliency in zip(self.subjects, saliencies, strict=True)
        }
        grids = {s.name: _get_size(saliency.map) for s, saliency in zip(self.subjects, saliencies, strict=True)}
        centre_prior = create_centre_prior(_get_size(clip.pixels))
        fresh = self._explain_fresh(inputs, targets)

        scores = _score_predictions(self.subjects, saliencies, label_name)
        if box_mask is not None:
            scores += _score_localization(tubes, grids, fresh, centre_prior, box_mask)
        scores += _score_time(tubes)
        # A still picture has no motion to be aligned with.
        motion = compute_motion_map(clip.pixels[0]) if len(clip.frames) > 1 else np.zeros_like(centre_prior)
        scores += _score_alignment(tubes, grids, motion, centre_prior)
        scores += _score_pairs(tubes)
        scores += _score_freshness(tubes, fresh)
        curves = self._perturb(video_id, inputs, targets, tubes, grids, centre_prior)
        scores += [
            Score(curve.score, curve.map, curve.against, float(compute_area(torch.tensor(curve.probabilities))))
            for curve in curves
        ]
        return ClipScores(tuple(scores), tuple(curves), grids)

    def _explain(self, subject: Subject, network: nn.Module, pixels: Tensor, target: int) -> SaliencyTube:
        return self._method(network, pixels, [Target(target)], subject.layer)[0]

    def _explain_fresh(self, inputs: Sequence[Tensor], targets: Sequence[int]) -> dict[str, dict[str, list[Map]]]:
        """Return the maps of the networks with fresh weights: {subject: {name: maps}}."""
        return {
            subject.name: {
                label: [
                    self._explain(subject, network, pixels, target).tube.cpu().double().numpy() for network in networks
                ]
                for label, networks in self._fresh[subject.name].items()
            }
            for subject, pixels, target in zip(self.subjects, inputs, targets, strict=True)
            if subject.is_first
        }

    def _perturb(
        self,
        video_id: str,
        inputs: Sequence[Tensor],
        targets: Sequence[int],
        tubes: dict[str, Map],
        grids: dict[str, tuple[int, int, int]],
        centre_prior: Map,
    ) -> list[Curve]:
        """Return insertion and deletion of the first subjects' maps on each first subject, and of maps of nobody."""
        firsts = [subject.name for subject in self.subjects if subject.is_first]
        curves = []
        for judge, pixels, target in zip(self.subjects, inputs, targets, strict=True):
            if not judge.is_first:
                continue
            judged = {name: tubes[name] for name in firsts}
            judged[RANDOM_MAP] = _draw_map(video_id, grids[judge.name], _get_size(pixels))
            judged[CENTRE_PRIOR] = centre_prior
            stacked = torch.from_numpy(np.stack(list(judged.values())))
            many = pixels.expand(len(judged), *pixels.shape[1:])
            baselines = create_baseline(pixels, self._baseline).expand_as(many)
            for kind, compute in (("insertion", compute_insertion_curves), ("deletion", compute_deletion_curves)):
                probabilities = compute(
                    judge.network,
                    many,
                    stacked,
                    torch.full((len(judged),), target),
                    baselines,
                    num_steps=self._num_steps,
                    batch_size=self._batch_size,
                )
                curves += [
                    Curve(kind, name, judge.name, tuple(row))
                    for name, row in zip(judged, probabilities.tolist(), strict=True)
                ]
        return curves


def _restore(subject: Subject, pixels: Tensor, target: int, saved: SavedSaliency) -> SaliencyTube:
    """Return a saved map of the subject as the method returned it, with the logits of one more forward pass."""
    native_map, tube, size = np.asarray(saved.map), np.asarray(saved.tube), _get_size(pixels)
    if native_map.ndim != 3 or tube.shape != size or {native_map.dtype.kind, tube.dtype.kind} != {"f"}:
        raise InputError(
            f"the saved map of {saved.video_id!r} is {native_map.shape} of {native_map.dtype}, at the clip's size "
            f"{tube.shape} of {tube.dtype}; expected floats, (t, h, w) and {size}"
        )
    check_map(tube, f"the saved map of {saved.video_id!r}")
    with torch.no_grad():
        logits = subject.network(pixels)[0]
    return SaliencyTube(
        map=torch.from_numpy(native_map),
        tube=torch.from_numpy(tube),
        target=target,
        logit=saved.logit,
        residual=None,
        layer=saved.layer,
        method=saved.method,
        logits=logits,
        unit=saved.unit,
    )


def _draw_fresh(subject: Subject, randomization: Randomization) -> dict[str, list[nn.Module]]:
    """Return the networks with fresh weights by their names: one a step of the cascade, several with all fresh."""
    networks: dict[str, list[nn.Module]] = {}
    if randomization == "cascade":
        cascade = list_cascade(subject.network)
        for depth, layer in enumerate(cascade, start=1):
            network = randomize_weights(subject.network, seed=0, layers=cascade[:depth])
            networks[name_fresh_weights(subject.name, layer)] = [network]
    if randomization != "none":
        whole = [randomize_weights(subject.network, seed=seed) for seed in range(NUM_DRAWS)]
        networks[name_fresh_weights(subject.name)] = whole
    return networks


def _score_predictions(subjects: Sequence[Subject], saliencies: Sequence[SaliencyTube], label_name: str) -> list[Score]:
    """Return whether each subject predicts the true class, and the probability of the class that is explained."""
    scores = []
    # The name of a folder need not be a class: then nobody knows.
    is_known = match_class(label_name, subjects[0].class_names) is not None
    for subject, saliency in zip(subjects, saliencies, strict=True):
        true_class = match_class(label_name, subject.class_names)
        is_right = float(saliency.prediction == true_class) if is_known else float("nan")
        probability = float(saliency.probabilities[saliency.target])
        scores += [Score("correct", subject.name, "", is_right), Score("probability", subject.name, "", probability)]
    return scores


def _score_localization(
    tubes: dict[str, Map],
    grids: dict[str, tuple[int, int, int]],
    fresh: dict[str, dict[str, list[Map]]],
    centre_prior: Map,
    box_mask: Map,
) -> list[Score]:
    """Return energy in the box and the pointing game of all maps, and of the references that they must beat."""
    judged: dict[str, list[Map]] = {name: [tube] for name, tube in tubes.items()}
    judged[EVEN_MAP] = [np.ones_like(box_mask)]
    judged[CENTRE_PRIOR] = [centre_prior]
    for name in fresh:
        judged[name_at_grid(CENTRE_PRIOR, name)] = [see_at_grid(centre_prior, grids[name])]
        judged[name_at_grid(BOX, name)] = [see_at_grid(box_mask, grids[name])]
        whole = fresh[name].get(name_fresh_weights(name))
        if whole is not None:
            judged[name_fresh_weights(name)] = whole
    scores = []
    for name, maps in judged.items():
        energy = _average([measure_energy_in_box(map_, box_mask) for map_ in maps])
        pointing = _average([play_pointing_game(map_, box_mask) for map_ in maps])
        scores += [Score("energy_in_box", name, BOX, energy), Score("pointing_game", name, BOX, pointing)]
    return scores


def _score_time(tubes: Mapping[str, Map]) -> list[Score]:
    """Return where in time each map has its evidence."""
    scores = []
    for name, tube in tubes.items():
        scores += [
            Score("effective_frames", name, "", count_effective_frames(tube)),
            Score("temporal_peak", name, "", find_temporal_peak(tube)),
            Score("drift", name, "", measure_drift(tube)),
        ]
    return scores


def _score_alignment(
    tubes: Mapping[str, Map], grids: Mapping[str, tuple[int, int, int]], motion: Map, centre_prior: Map
) -> list[Score]:
    """Return how alike each map is to what knows nothing of its network."""
    scores = []
    for name, tube in tubes.items():
        at_grid = see_at_grid(motion, grids[name])
        scores.append(Score("rank_correlation", name, MOTION, compute_rank_correlation(tube, at_grid)))
        scores.append(Score("rank_correlation", name, CENTRE_PRIOR, compute_rank_correlation(tube, centre_prior)))
    return scores


def _score_pairs(tubes: Mapping[str, Map]) -> list[Score]:
    """Return how alike the maps of each two subjects are."""
    scores = []
    for name, other in itertools.combinations(tubes, 2):
        pair = tubes[name], tubes[other]
        scores.append(Score("rank_correlation", name, other, compute_rank_correlation(*pair)))
        scores.append(Score("top_iou", name, other, compute_top_iou(*pair)))
    return scores


def _score_freshness(tubes: Mapping[str, Map], fresh: Mapping[str, Mapping[str, Sequence[Map]]]) -> list[Score]:
    """Return how alike each map is to those of its network with fresh weights, on average over the draws."""
    scores = []
    for owner, fresh_maps in fresh.items():
        for label, maps in fresh_maps.items():
            value = _average([compute_rank_correlation(tubes[owner], fresh_map) for fresh_map in maps])
            scores.append(Score("rank_correlation", owner, label, value))
    return scores


def _draw_map(video_id: str, grid: tuple[int, int, int], size: tuple[int, int, int]) -> Map:
    """Return a map of white noise on the grid, resampled as maps are; it depends on the video's name alone."""
    values = np.random.default_rng(zlib.crc32(video_id.encode())).normal(size=grid)
    return upsample_map(torch.from_numpy(values), size).double().numpy()


def _get_size(tensor: Tensor) -> tuple[int, int, int]:
    """Return the last three axes: time, height, width."""
    num_frames, height, width = tensor.shape[-3:]
    return num_frames, height, width


def _average(values: Sequence[float]) -> float:
    """Return the mean of those that are defined, NaN when none is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
