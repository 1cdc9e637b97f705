"""Class Feature Pyramids: from a class back to the kernels that matter to it, and from these to theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.explain.layer_trace import LayerTrace, trace_layers
from videosoft.explain.layers import find_linear_head, get_feature_layer
from videosoft.explain.methods.method import MapBatch, Needs, SaliencyMethod
from videosoft.explain.methods.registry import register_method
from videosoft.explain.targets import ClassScore, Target, resolve_targets, score_logits

__all__ = ["ClassFeaturePyramid", "ClassFeaturePyramids", "PyramidLevel", "compute_contributions"]


@dataclass(frozen=True)
class PyramidLevel:
    """The kernels of one layer that were selected: ``units`` (U,), their ``maps`` (U, t, h, w), and their parents.

    ``edges`` (P, U) is true where unit u was selected for parent p, the p-th unit of the level above; at the first
    level there is one parent, the class.
    """

    layer: str
    num_channels: int
    units: Tensor
    maps: Tensor
    edges: Tensor


@dataclass(frozen=True)
class ClassFeaturePyramid:
    """The tree of one clip: class -> kernels of the last layer -> kernels of the layer before -> ..., in ``levels``.

    A kernel that was selected for several parents stands in its level once (docs/decisions/0021).
    """

    levels: tuple[PyramidLevel, ...]

    def compute_node_map(self, level: int, unit: int) -> Tensor:
        """Return the tube of a kernel on the grid of the level below: the sum of its children's maps, (t, h, w).

        Raises InputError when the unit was not selected at that level, or there is no level below.
        """
        if not 0 <= level < len(self.levels) - 1:
            raise InputError(f"level {level} has no level below: there are {len(self.levels)}, from 0")
        parent = torch.nonzero(self.levels[level].units == unit).flatten()
        if not len(parent):
            raise InputError(f"unit {unit} of {self.levels[level].layer!r} was not selected")
        below = self.levels[level + 1]
        return below.maps[below.edges[parent[0]]].sum(dim=0)


@register_method
@dataclass(frozen=True)
class ClassFeaturePyramids(SaliencyMethod):
    """The kernels that matter to a class, followed back from the last feature map to ``layer``, and their activations.

    Of a list p of numbers, one a kernel, those are selected whose min-max normalised value reaches ``theta``.

    mode "published", of a network with a linear head, through its convolutions:
    class step: p = W[c], min-max over the whole head matrix; back-step from a selected kernel i:
    p_j = mean(w_ij) * mean(A_j), of the convolution's true input A, among the channels of i's group;
    map: sum_j n_j A_j, n_j in proportion to the number of paths that end at kernel j, as many in all as kernels were
    selected for the class.

    mode "exact", of any network, by autograd from block to block: class step: p_i = sum_cells A_i dy/dA_i; back-step:
    p_j = sum_cells a_j d(sum_cells G_i A_i)/da_j with G_i = dy/dA_i along the selected paths, among the channels that
    i depends on; map: cells * sum_j a_j G_j. Its mean is what the selected paths add to the score, in logits; with
    theta = 0 it is the Saliency Tube of that layer. ``residual`` is what the other paths and the biases make up.

    At ``layer`` = the last feature map nothing is followed back, and "published" is the SoftPool paper's figure S4,
    with theta = .55.

    Source: Stergiou et al., Class Feature Pyramids for Video Explanation, ICCV workshops 2019. Differs from the
    authors' code as docs/decisions/0021-class-feature-pyramids.md says: no division by sum(p), which flips the order
    where it is negative; groups; each tube from its own layer. Where no weight of the class reaches ``theta`` the map
    is zero and says so.

    Args:
        mode: "published" or "exact".
        theta: 0 to 1; the authors' are .55 for r3d-50 and .6 to .65 for others.
    """

    mode: Literal["published", "exact"] = "published"
    theta: float = 0.55

    name: ClassVar[str] = "class_feature_pyramids"
    needs: ClassVar[Needs] = "one forward (mode=exact: many short backwards)"
    place: ClassVar[Literal["layer", "input"]] = "layer"
    unit: ClassVar[str] = "activation"

    def __post_init__(self) -> None:
        if not 0 <= self.theta <= 1:
            raise InputError(f"theta must lie in 0..1, got {self.theta}")

    def compute_maps(self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str) -> MapBatch:
        maps, logits, scores, pyramids = self._build(network, clips, targets, layer)
        warnings = [self._warn(pyramid) for pyramid in pyramids]
        if self.mode == "published":
            return MapBatch(maps, logits, scores, warnings=warnings)
        missed = (score_logits(logits, scores).double() - maps.mean(dim=(1, 2, 3))).abs()
        return MapBatch(maps, logits, scores, missed.tolist(), warnings, unit="logits")

    def build_pyramids(
        self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None = None, layer: str | None = None
    ) -> list[ClassFeaturePyramid]:
        """Return the tree of each clip; the arguments and errors are those of calling the method."""
        return self._build(network, clips, targets, layer or get_feature_layer(network))[3]

    def _build(
        self, network: nn.Module, clips: Tensor, targets: Sequence[Target] | None, layer: str
    ) -> tuple[Tensor, Tensor, list[ClassScore], list[ClassFeaturePyramid]]:
        trace = trace_layers(network, clips, layer, with_graph=self.mode == "exact")
        scores = resolve_targets(trace.logits, targets)
        # A layer behind the last feature map, or of a network that names none, is where the pyramid begins and ends.
        top = str(getattr(network, "feature_layer", layer))
        features = trace.find_output(top)
        if features is None:
            top, features = layer, trace.origin
        if self.mode == "exact":
            maps, levels = self._step_exactly(trace, features, scores, (top, layer))
        else:
            maps, levels = self._step_as_published(network, trace, features, scores, (top, layer))
        pyramids = [ClassFeaturePyramid(tuple(clip_levels)) for clip_levels in zip(*levels, strict=True)]
        return maps, trace.logits.detach(), scores, pyramids

    def _step_as_published(
        self,
        network: nn.Module,
        trace: LayerTrace,
        features: Tensor,
        scores: Sequence[ClassScore],
        names: tuple[str, str],
    ) -> tuple[Tensor, list[list[PyramidLevel]]]:
        """Return the maps (N, t, h, w), and the levels from the class back, each a list over clips."""
        classifier = find_linear_head(network, num_classes=trace.logits.shape[1])
        if classifier is None or classifier.in_features != features.shape[1]:
            raise InputError(
                'class_feature_pyramids in mode "published" reads the weights of a linear head on the last feature '
                f"map, which {type(network).__name__} does not have (or does not name as classifier_layer): take "
                "mode=exact"
            )
        is_selected = self._select_by_weights(classifier, scores)  # (N, C)
        num_selected = is_selected.sum(dim=1, keepdim=True)
        num_paths = is_selected.double()
        levels = [_collect_level(names[0], features, is_selected[:, None], is_selected)]
        for call in trace.find_convolutions(features):
            assert isinstance(call.module, nn.Conv3d)
            kernel_means, is_connected = _get_kernel_means(call.module)  # (C_out, C_in)
            products = kernel_means * call.input.mean(dim=(2, 3, 4))[:, None]  # (N, C_out, C_in)
            edges = _reach(products, is_connected.expand_as(products), self.theta) & is_selected[..., None]
            num_paths = torch.einsum("ni,nij->nj", num_paths, edges.double())
            # Of many levels they leave any number's range.
            num_paths = num_paths * num_selected / num_paths.sum(dim=1, keepdim=True).clamp(min=1)
            parents, is_selected = is_selected, edges.any(dim=1)
            name = trace.name_tensor(call.input) or f"input of {call.name}"
            levels.append(_collect_level(name, call.input, edges, is_selected, parents))
        return torch.einsum("nc,ncthw->nthw", num_paths, trace.origin.double()), levels

    def _step_exactly(
        self, trace: LayerTrace, features: Tensor, scores: Sequence[ClassScore], names: tuple[str, str]
    ) -> tuple[Tensor, list[list[PyramidLevel]]]:
        """Return the maps (N, t, h, w), and the levels from the class back, each a list over clips."""
        values = score_logits(trace.logits, scores).sum()
        gradient = None
        if values.requires_grad:
            (gradient,) = torch.autograd.grad(values, features, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise InputError("the scores do not depend on the layer: name one that lies on the way to the logits")
        contributions = (features * gradient).sum(dim=(2, 3, 4)).detach()  # (N, C)
        is_selected = _reach(contributions, torch.ones_like(contributions, dtype=torch.bool), self.theta)
        field = gradient * is_selected[:, :, None, None, None]
        levels = [_collect_level(names[0], _scale(features, field), is_selected[:, None], is_selected)]
        activation = features
        for below in trace.find_levels(features):
            parents = is_selected
            edges, field = self._step_back(activation, below, field, parents)
            is_selected, activation = edges.any(dim=1), below
            name = names[1] if below is trace.origin else trace.name_tensor(below) or f"level {len(levels)}"
            levels.append(_collect_level(name, _scale(below, field), edges, is_selected, parents))
        return _scale(activation, field).sum(dim=1, dtype=torch.float64), levels

    def _step_back(self, outputs: Tensor, inputs: Tensor, field: Tensor, is_selected: Tensor) -> tuple[Tensor, Tensor]:
        """Return which inputs each selected unit's contribution comes from (N, C, J), and the gradient along these."""
        edges = torch.zeros(*outputs.shape[:2], inputs.shape[1], dtype=torch.bool, device=inputs.device)
        next_field = torch.zeros_like(inputs, requires_grad=False)
        for units in _list_units(is_selected):
            gradient = _compute_unit_gradient(outputs, inputs, field, units)
            contributions = (inputs.detach() * gradient).sum(dim=(2, 3, 4))
            is_connected = (gradient != 0).flatten(2).any(dim=2)
            chosen = _reach(contributions, is_connected, self.theta)  # (N, J)
            for n, unit in units:
                edges[n, unit] = chosen[n]
            next_field += gradient * chosen[:, :, None, None, None]
        return edges, next_field

    def _select_by_weights(self, classifier: nn.Linear, scores: Sequence[ClassScore]) -> Tensor:
        """Return which channels (N, C) are selected for each clip's class."""
        matrix = classifier.weight.detach()
        rows = []
        for score in scores:
            # Of a difference: all classes against the other one.
            head = matrix if score.versus is None else matrix - matrix[score.versus]
            lowest, highest = head.min(), head.max()
            scale = torch.where(highest > lowest, highest - lowest, 1.0)
            rows.append((head[score.index] - lowest) / scale >= self.theta)
        return torch.stack(rows)

    def _warn(self, pyramid: ClassFeaturePyramid) -> tuple[str, ...]:
        counts = [(level.layer, len(level.units), level.num_channels) for level in pyramid.levels]
        if counts[0][1] == 0:
            return (f"empty: no weight of the class reaches theta = {self.theta:g}",)
        if counts[-1][1] == 0:
            return (f"empty: nothing behind {counts[0][0]} contributes to what was selected there",)
        return ()


def compute_contributions(module: nn.Module, input: Tensor, units: Sequence[int]) -> Tensor:
    """Return what each input channel adds to the mean response of each of a module's output ``units``: (N, U, C_in).

    c_ij = sum over cells of a_j * d(mean z_i)/da_j. For a convolution, of any stride, padding and groups, the sum over
    j is mean(z_i) less the bias; ``module`` must be in eval mode.
    """
    input = input.detach().requires_grad_()
    with torch.enable_grad():
        output = module(input)
    field = torch.full_like(output, 1 / output[0, 0].numel())
    contributions = []
    for unit in units:
        gradient = _compute_unit_gradient(output, input, field, [(n, unit) for n in range(len(input))])
        contributions.append((input.detach() * gradient).sum(dim=(2, 3, 4)))
    return torch.stack(contributions, dim=1)


def _compute_unit_gradient(outputs: Tensor, inputs: Tensor, field: Tensor, units: Sequence[tuple[int, int]]) -> Tensor:
    """Return d(sum over cells of G_i z_i)/da, (N, C_in, t, h, w), for an output channel i a clip; 0 for other clips."""
    chosen = torch.zeros_like(field)
    for n, unit in units:
        chosen[n, unit] = field[n, unit]
    (gradient,) = torch.autograd.grad(outputs, inputs, chosen, retain_graph=True, allow_unused=True)
    return torch.zeros_like(inputs) if gradient is None else gradient


def _list_units(is_selected: Tensor) -> list[list[tuple[int, int]]]:
    """Return [(clip, unit), ...] for each backward pass, which takes one unit of each clip that still has one."""
    units = [torch.nonzero(row).flatten().tolist() for row in is_selected]
    return [
        [(n, clip_units[r]) for n, clip_units in enumerate(units) if r < len(clip_units)]
        for r in range(max(map(len, units), default=0))
    ]


def _reach(values: Tensor, is_candidate: Tensor, theta: float) -> Tensor:
    """Return which candidates' values reach theta after min-max normalisation over the last axis's candidates.

    The largest is 1, also where all are equal: a unit with any candidate keeps one at least.
    """
    lowest = values.where(is_candidate, torch.inf).amin(dim=-1, keepdim=True)
    highest = values.where(is_candidate, -torch.inf).amax(dim=-1, keepdim=True)
    span = highest - lowest
    normalized = torch.where(span > 0, (values - lowest) / span, 1.0)
    return is_candidate & (normalized >= theta)


def _get_kernel_means(convolution: nn.Conv3d) -> tuple[Tensor, Tensor]:
    """Return the mean kernel weights (C_out, C_in), 0 outside a kernel's group, and which channels are in it."""
    means = convolution.weight.detach().mean(dim=(2, 3, 4))  # (C_out, C_in / groups)
    num_outputs, num_group_inputs = means.shape
    groups = torch.arange(num_outputs, device=means.device) // (num_outputs // convolution.groups)
    columns = groups[:, None] * num_group_inputs + torch.arange(num_group_inputs, device=means.device)
    dense = means.new_zeros(num_outputs, convolution.in_channels).scatter(1, columns, means)
    is_connected = torch.zeros_like(dense, dtype=torch.bool).scatter(1, columns, True)
    return dense, is_connected


def _scale(activation: Tensor, field: Tensor) -> Tensor:
    return (activation * field).detach() * activation[0, 0].numel()


def _collect_level(
    name: str, unit_maps: Tensor, edges: Tensor, is_selected: Tensor, parents: Tensor | None = None
) -> list[PyramidLevel]:
    """Return the level of each clip: unit_maps is (N, C, t, h, w), edges (N, P, C), parents (N, P) who was selected."""
    levels = []
    for n, row in enumerate(is_selected):
        units = torch.nonzero(row).flatten()
        clip_edges = edges[n] if parents is None else edges[n][parents[n]]
        levels.append(
            PyramidLevel(
                layer=name,
                num_channels=unit_maps.shape[1],
                units=units.cpu(),
                maps=unit_maps[n, units].detach(),
                edges=clip_edges[:, units].cpu(),
            )
        )
    return levels
