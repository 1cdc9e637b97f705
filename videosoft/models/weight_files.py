"""Files of weights: those of ``torch.save``, read without running any code of theirs, and safetensors."""

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from videosoft.errors import InputError, first_line

CARD_KEY = "videosoft"
NETWORK_PREFIX = "network."
SAFETENSORS_SUFFIX = ".safetensors"


def read_weight_file(path: str | Path) -> dict[str, Any]:
    """Read a file of weights; by its suffix it is safetensors, or else of ``torch.save`` (read with ``weights_only``).

    A safetensors file that videosoft wrote reads like its checkpoint: ``{"videosoft": card, "state_dict": ...}``, the
    names in it with the prefix ``network.``; any other is a dict of its tensors.

    Raises:
        InputError: when there is no such file, or it is something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint {path} does not exist or is not a file.")
    return _read_safetensors(path) if path.suffix == SAFETENSORS_SUFFIX else _read_torch_file(path)


def write_weight_file(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write what :func:`videosoft.models.export_weights` gives, as safetensors where the suffix says so.

    safetensors have the card as JSON in their metadata, under ``videosoft``, and the network's own names of weights.
    """
    path = Path(path)
    if path.suffix != SAFETENSORS_SUFFIX:
        torch.save(dict(content), path)
        return
    # Copies: the format refuses tensors that share their memory or have gaps in it.
    tensors = {
        key.removeprefix(NETWORK_PREFIX): value.clone(memory_format=torch.contiguous_format)
        for key, value in content["state_dict"].items()
    }
    save_file(tensors, path, metadata={"format": "pt", CARD_KEY: json.dumps(content[CARD_KEY])})


def _read_torch_file(path: Path) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Not torch's words, which say how to load the file all the same.
        raise InputError(f"{path} is not a checkpoint that can be read safely: {_explain_unpickling(error)}") from None
    except Exception as error:  # a damaged or foreign file makes the reader fail in any way there is
        raise InputError(f"{path} is not a checkpoint that can be read: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, not a checkpoint dictionary.")
    return content


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # OSError, SafetensorError, and what torch makes of an unknown type
        raise InputError(f"{path} cannot be read as safetensors: {first_line(error)}") from error
    if CARD_KEY not in metadata:
        return tensors
    try:
        card = json.loads(metadata[CARD_KEY])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: its metadata {CARD_KEY!r} is not JSON: {first_line(error)}") from error
    return {CARD_KEY: card, "state_dict": {NETWORK_PREFIX + key: value for key, value in tensors.items()}}


def _explain_unpickling(error: pickle.UnpicklingError) -> str:
    if named := re.search(r"\bGLOBAL (\S{1,100})", str(error)):
        return f"it could run code, by {named[1]}, and is not loaded. A checkpoint has tensors and plain values only."
    return "it is damaged, no file of weights, or has things in it that could run code. It is not loaded."
