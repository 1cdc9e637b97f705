"""Saliency Tubes: where and when in the clip the evidence for a class lies, read off a linear head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain.activations import find_layer, run_with_activation
from videosoft.explain.tube import SaliencyTube, upsample_map

__all__ = ["RESIDUAL_TOLERANCE", "compute_saliency_tube", "compute_saliency_tubes"]

METHOD = "saliency_tubes"

RESIDUAL_TOLERANCE = 1e-3
"""A larger logit residual means that the head is not global average pooling + linear: the caller should warn."""


def compute_saliency_tube(network: nn.Module, clip: Tensor, target: int | None) -> SaliencyTube:
    """Return the tube of class ``target`` for one clip (1, 3, T, H, W); None stands for the network's prediction.

    See :func:`compute_saliency_tubes`.
    """
    if clip.ndim != 5 or clip.shape[0] != 1:
        raise InputError(f"clip must be one clip (1, 3, T, H, W), got {tuple(clip.shape)}")
    return compute_saliency_tubes(network, clip, None if target is None else [[target]])[0][0]


def compute_saliency_tubes(
    network: nn.Module, clips: Tensor, targets: Sequence[Sequence[int]] | None
) -> list[list[SaliencyTube]]:
    """Return one list of tubes a clip, one tube a target, from one forward pass.

    M(t, h, w) = sum_i W[c, i] * A_i(t, h, w), with A the output of ``network.feature_layer`` and W the signed weights
    of ``network.classifier_layer``. The signed map is kept (no ReLU) and resampled trilinearly to the clip's T x H x W.

    Under global average pooling + linear, mean(M) + b_c is the logit: ``residual`` = |mean(M) + b_c - logit| is then
    rounding error; a residual above :data:`RESIDUAL_TOLERANCE` says that the head is another and M a mere proxy.

    ``clips`` is (N, 3, T, H, W), normalised. ``targets[n]`` lists the classes wanted for clip n; None asks for each
    clip's own prediction.

    Raises InputError for a network without the two attributes, a classifier that is not linear, a feature layer whose
    channels are not the classifier's inputs, a target out of range, and a map that is not finite.

    Source: Stergiou et al., Saliency Tubes, ICIP 2019. Differs from the authors' code in what it keeps: the sign
    (there negatives wrap in uint8), the unit, and the clip's own size (there 16 x 224 x 224).
    """
    feature_layer = _get_layer_name(network, "feature_layer")
    classifier_layer = _get_layer_name(network, "classifier_layer")
    classifier = find_layer(network, classifier_layer)
    weight = getattr(classifier, "weight", None)
    if not isinstance(classifier, nn.Linear) or not isinstance(weight, Tensor):
        raise InputError(f"classifier_layer {classifier_layer!r} must be nn.Linear, got {type(classifier).__name__}")

    logits, activation = run_with_activation(network, clips, feature_layer)
    if targets is not None and len(targets) != clips.shape[0]:
        raise InputError(f"targets must hold one list of classes a clip: got {len(targets)} for {clips.shape[0]} clips")
    if activation.shape[1] != classifier.in_features:
        raise InputError(
            f"feature_layer {feature_layer!r} puts out {activation.shape[1]} channels, but classifier_layer "
            f"{classifier_layer!r} takes {classifier.in_features}; the feature layer must feed the classifier"
        )
    if logits.shape[1] != classifier.out_features:
        raise InputError(
            f"{type(network).__name__} returns {logits.shape[1]} logits, but classifier_layer "
            f"{classifier_layer!r} has {classifier.out_features} outputs"
        )
    if targets is None:
        targets = [[int(prediction)] for prediction in logits.argmax(dim=1)]

    for target in {target for clip_targets in targets for target in clip_targets}:
        if not 0 <= target < classifier.out_features:
            raise InputError(f"target {target} is out of range: the network has classes 0..{logits.shape[1] - 1}")

    size = (clips.shape[2], clips.shape[3], clips.shape[4])
    tubes: list[list[SaliencyTube]] = []
    for clip_logits, clip_activation, clip_targets in zip(logits, activation, targets, strict=True):
        tubes.append([])
        for target in clip_targets:
            native_map, logit, residual = _weigh_activation(clip_logits, clip_activation, classifier, target)
            tubes[-1].append(
                SaliencyTube(
                    map=native_map,
                    tube=upsample_map(native_map, size),
                    target=target,
                    logit=logit,
                    residual=residual,
                    layer=feature_layer,
                    method=METHOD,
                    logits=clip_logits,
                )
            )
    return tubes


def _get_layer_name(network: nn.Module, attribute: str) -> str:
    name = getattr(network, attribute, None)
    if not isinstance(name, str):
        raise InputError(
            f"{type(network).__name__} has no attribute {attribute!r} (the dotted name of a layer); "
            "networks from videosoft.models.create_model have it, on your own network set it"
        )
    return name


def _weigh_activation(
    logits: Tensor, activation: Tensor, classifier: nn.Linear, target: int
) -> tuple[Tensor, float, float]:
    """Return (map (t, h, w), logit, residual) of one class on one clip's activation (C, t, h, w)."""
    # float64: the sum runs over up to 2048 channels, and the residual should show the head, not our rounding.
    native_map = torch.einsum("c,cthw->thw", classifier.weight[target].detach().double(), activation.double())
    bias = 0.0 if classifier.bias is None else float(classifier.bias[target].detach())
    logit = float(logits[target])
    residual = abs(float(native_map.mean()) + bias - logit)
    if not (bool(native_map.isfinite().all()) and residual < float("inf")):
        raise InputError(f"the map or the logit of class {target} is not finite: check the network's weights")
    return native_map.float(), logit, residual
