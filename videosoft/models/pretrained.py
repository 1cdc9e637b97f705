"""Weights from elsewhere: Hara's 3D ResNets, pytorchvideo's zoo, and our own checkpoints."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.models.checkpoint import CARD_KEY, NETWORK_PREFIX, load_state_strictly, read_torch_file


@dataclass(frozen=True)
class PretrainedReport:
    """Where weights came from (``"videosoft"``, ``"hara"``, ``"pytorchvideo"`` or ``"state_dict"``) and how many."""

    source: str
    num_tensors: int


def load_pretrained(model: nn.Module, path: str | Path) -> PretrainedReport:
    """Load published weights into ``model``, whose architecture, width and number of classes must be theirs.

    Understood are Hara's files (``state_dict`` with the prefix ``module.``), pytorchvideo's (``model_state``), our own
    (``state_dict`` with the prefix ``network.``) and bare state dicts. Files are read with ``weights_only=True``.

    Raises:
        InputError: when the file cannot be read, or its tensors do not all fit.
    """
    source, state = _extract_state(read_torch_file(path), path)
    load_state_strictly(model, state, source=str(path))
    return PretrainedReport(source=source, num_tensors=len(state))


def _extract_state(content: dict[str, Any], path: str | Path) -> tuple[str, dict[str, Tensor]]:
    if CARD_KEY in content:
        source, state, prefix = "videosoft", content.get("state_dict"), NETWORK_PREFIX
    elif "model_state" in content:
        source, state, prefix = "pytorchvideo", content["model_state"], ""
    elif "state_dict" in content:
        # Hara trained under DataParallel, which puts its own name before every other.
        source, state, prefix = "hara", content["state_dict"], "module."
    else:
        source, state, prefix = "state_dict", content, ""
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(
            f"{path} holds no weights: expected Hara's layout (key 'state_dict'), pytorchvideo's (key 'model_state'), "
            f"a videosoft checkpoint or a bare state dict; found the keys {sorted(map(str, content))[:8]}."
        )
    return source, {str(key).removeprefix(prefix): value for key, value in state.items()}
