"""Starting a training from somebody's weights, as a recipe says it."""

from collections.abc import Sequence

from torch import nn

from videosoft.data import read_class_names
from videosoft.errors import InputError
from videosoft.models import HeadPolicy, Inflation, PretrainedReport, load_pretrained


def start_from_pretrained(
    network: nn.Module,
    path: str,
    *,
    class_names: Sequence[str],
    head: HeadPolicy,
    classes: str | None,
    partial: bool,
    inflation: Inflation,
    check_only: bool = False,
) -> PretrainedReport:
    """:func:`videosoft.models.load_pretrained`, with the keys of a recipe in its messages.

    Raises:
        InputError: the weights do not fit, or ``classes`` is no file of names.
    """
    try:
        return load_pretrained(
            network,
            path,
            head=head,
            class_names=class_names,
            source_class_names=None if classes is None else read_class_names(classes),
            allow_partial=partial,
            inflation=inflation,
            check_only=check_only,
        )
    except InputError as error:
        raise InputError(
            f"model.network.pretrained: {error}\n(In a recipe head is model.network.pretrained_head, allow_partial "
            "pretrained_partial, and source_class_names the file pretrained_classes.)"
        ) from error
