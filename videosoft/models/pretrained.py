"""Weights from elsewhere: Hara's 3D ResNets, pytorchvideo's zoo, torchvision's, ImageNet's ResNet-50, and our own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.models.head_rows import HeadPolicy, match_head_rows
from videosoft.models.inflation import Inflation, inflate_kernel, is_image_resnet, rename_for
from videosoft.models.weight_files import read_weight_file
from videosoft.models.weight_sources import extract_weights

Shape = tuple[int, ...]

# Counts the batches that batch norm has seen; older files lack it, and nothing is computed from it.
_COUNTER = "num_batches_tracked"
_NUM_PRINTED = 5


@dataclass(frozen=True)
class PretrainedReport:
    """What :func:`load_pretrained` did; ``str(report)`` is for people.

    Attributes:
        path: of the file.
        source: ``"videosoft"``, ``"hara"``, ``"pytorchvideo"``, ``"imagenet"`` or ``"state_dict"``.
        loaded: names of the network's tensors that have the file's numbers now.
        missing: names of the network's tensors that the file lacks; they stay as they were.
        unexpected: names in the file that the network has no place for.
        reshaped: name -> (shape in the file, shape in the network) of tensors that were inflated, or remapped to other
            classes, or, by a partial load, left out for their shape.
        head: what became of the classifier.
    """

    path: str
    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    reshaped: dict[str, tuple[Shape, Shape]]
    head: str

    def __str__(self) -> str:
        num_tensors = len(self.loaded) + len(self.missing) + len(set(self.reshaped) - set(self.loaded))
        lines = [f"{self.path} ({self.source}): {len(self.loaded)} of {num_tensors} tensors fit; {self.head}"]
        shapes = [f"{name} {_show(there)} -> {_show(here)}" for name, (there, here) in self.reshaped.items()]
        for title, names in (("missing", self.missing), ("unexpected", self.unexpected), ("reshaped", shapes)):
            if names:
                more = f" and {len(names) - _NUM_PRINTED} more" if len(names) > _NUM_PRINTED else ""
                lines.append(f"  {len(names)} {title}: {', '.join(names[:_NUM_PRINTED])}{more}")
        return "\n".join(lines)


def load_pretrained(
    model: nn.Module,
    path: str | Path,
    *,
    head: HeadPolicy = "strict",
    class_names: Sequence[str] | None = None,
    source_class_names: Sequence[str] | None = None,
    allow_partial: bool = False,
    inflation: Inflation = "average",
    check_only: bool = False,
) -> PretrainedReport:
    """Load published weights into ``model``, whose architecture and width must be theirs.

    Understood are Hara's files (``state_dict`` with the prefix ``module.``), pytorchvideo's (``model_state``), our own
    checkpoints and exported weights, torchvision's and other bare state dicts, and safetensors. torchvision's 2-D
    ResNet-50 is inflated into ``r3d50`` and ``slow_r50``. No file's code is run.

    Args:
        model: a network of :func:`videosoft.models.create_model`.
        path: of the file.
        head: "strict": the classifier must be of the same classes, and its rows are put into the network's order where
            both know their names. "by_name": rows of the classes that both know are loaded, others stay as they are.
            "fresh": the classifier stays as it is.
        class_names: names of the network's classes in the order of its logits.
        source_class_names: those of the file; a checkpoint of videosoft carries them itself.
        allow_partial: load what fits, though tensors are missing, unexpected or of another shape.
        inflation: how 2-D kernels become 3-D ones, see :func:`videosoft.models.inflation.inflate_kernel`.
        check_only: leave ``model`` as it is, which may lie on the meta device.

    Raises:
        InputError: the file cannot be read, its tensors do not all fit (unless ``allow_partial``), none of them does,
            or the classes differ in a way that ``head`` does not allow. ``model`` is unchanged then.
    """
    expected = model.state_dict()
    source, state, carried_names = extract_weights(read_weight_file(path), path)
    reshaped: dict[str, tuple[Shape, Shape]] = {}
    if is_image_resnet(state):
        source = "imagenet"
        state = _inflate(rename_for(state, expected), expected, inflation, reshaped)
    classifier = getattr(model, "classifier_layer", None)
    head_keys = [key for key in (f"{classifier}.weight", f"{classifier}.bias") if key in expected]
    matched = match_head_rows(
        head,
        {key: state[key] for key in head_keys if key in state},
        {key: expected[key] for key in head_keys},
        source_class_names or carried_names,
        class_names,
        path=str(path),
    )
    for key, rows in matched.rows.items():
        if rows.shape != state[key].shape:
            reshaped[key] = (tuple(state[key].shape), tuple(rows.shape))
        state[key] = rows

    fitting = {key: state[key] for key in expected if key in state and state[key].shape == expected[key].shape}
    skipped = head_keys if head == "fresh" else []
    wrong_shape = {
        key: (tuple(state[key].shape), tuple(expected[key].shape))
        for key in expected
        if key in state and key not in fitting and key not in skipped
    }
    report = PretrainedReport(
        path=str(path),
        source=source,
        loaded=tuple(key for key in fitting if key not in skipped),
        missing=tuple(key for key in expected if key not in state and key not in skipped),
        unexpected=tuple(key for key in state if key not in expected),
        reshaped={**reshaped, **wrong_shape},
        head=matched.description,
    )
    if not any(not key.endswith(_COUNTER) for key in report.loaded):
        raise InputError(
            f"no tensor of {path} fits the network: it belongs to another architecture or width.\n{report}"
        )
    misfit = [key for key in (*report.missing, *report.unexpected, *wrong_shape) if not key.endswith(_COUNTER)]
    if misfit and not allow_partial:
        raise InputError(_explain_misfit(report, only_head=set(misfit) <= set(head_keys)))
    if not check_only:
        model.load_state_dict({key: fitting[key] for key in report.loaded}, strict=False)
    return report


def _inflate(
    state: dict[str, Tensor],
    expected: Mapping[str, Tensor],
    inflation: Inflation,
    reshaped: dict[str, tuple[Shape, Shape]],
) -> dict[str, Tensor]:
    inflated = {}
    for key, value in state.items():
        target = expected.get(key)
        if target is not None and value.ndim == 4 and target.ndim == 5:
            new = inflate_kernel(value, target.shape[2], inflation)
            if new.shape == target.shape:
                reshaped[key] = (tuple(value.shape), tuple(target.shape))
                value = new
        inflated[key] = value
    return inflated


def _explain_misfit(report: PretrainedReport, *, only_head: bool) -> str:
    if only_head:
        advice = (
            "Only the classifier differs: head='fresh' leaves it as it is, head='by_name' takes the rows of the "
            "classes that both know."
        )
    else:
        advice = "It belongs to another architecture or width; allow_partial=True loads what fits all the same."
    return f"the weights of {report.path} do not all fit the network. {advice}\n{report}"


def _show(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"
