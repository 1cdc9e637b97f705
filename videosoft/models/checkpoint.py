"""Checkpoints that carry what rebuilds their network and its preprocessing."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videosoft._version import __version__
from videosoft.errors import InputError
from videosoft.models.registry import create_model
from videosoft.models.weight_files import CARD_KEY, NETWORK_PREFIX, read_weight_file

CHECKPOINT_FORMAT_VERSION = 1


@dataclass(frozen=True)
class LoadedModel:
    """A network ready for evaluation, with the names of its classes and the preprocessing that it was trained with.

    Attributes:
        network: in eval mode, float32; a normalised clip (N, 3, T, H, W) gives logits (N, len(class_names)).
        class_names: name of each logit.
        preprocessing: ``num_frames``, ``sampling_stride``, ``short_side``, ``crop``, ``mean`` and ``std``
            (of pixels on the 0..1 scale).
        metadata: ``checkpoint_hash`` (sha256 of the file), ``model``, ``data``, ``recipe`` (the resolved
            config it was trained with), ``versions``, ``is_resumable`` (it holds the optimiser's state too).
    """

    network: nn.Module
    class_names: tuple[str, ...]
    preprocessing: dict[str, Any]
    metadata: dict[str, Any]


def create_checkpoint_card(
    *,
    model_name: str,
    model_kwargs: Mapping[str, Any],
    class_names: tuple[str, ...],
    preprocessing: Mapping[str, Any],
    data: Mapping[str, Any],
    recipe: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a checkpoint keeps under the key ``videosoft``: all that :func:`load_checkpoint` needs, in plain types.

    ``details`` are further facts about the run: its network's ``size``, ``git`` revisions, more ``versions``.
    """
    details = dict(details or {})
    versions = {"videosoft": __version__, "torch": str(torch.__version__), "python": platform.python_version()}
    return {
        "format_version": CHECKPOINT_FORMAT_VERSION,
        "model": {"name": model_name, "kwargs": dict(model_kwargs)},
        "class_names": list(class_names),
        "preprocessing": dict(preprocessing),
        "data": dict(data),
        "recipe": dict(recipe or {}),
        **details,
        "versions": {**versions, **details.get("versions", {})},
    }


def load_checkpoint(path: str | Path) -> LoadedModel:
    """Rebuild the network of a checkpoint that ``lightning fit`` wrote, without Lightning and without any config.

    What ``tools/export_weights.py`` makes of one is read as well, safetensors too.

    Raises:
        InputError: when the file is missing or damaged, was not written by videosoft, is of a newer format, or its
            weights do not fit the network that it names.
    """
    content = read_weight_file(path)
    card = _check_card(content, path)
    model, class_names = card["model"], card["class_names"]
    try:
        network = create_model(str(model.get("name")), num_classes=len(class_names), **model["kwargs"])
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} names a network that cannot be built: {error}") from error
    state = {
        key.removeprefix(NETWORK_PREFIX): value
        for key, value in content["state_dict"].items()
        if key.startswith(NETWORK_PREFIX)
    }
    load_state_strictly(network, state, source=str(path))
    return LoadedModel(
        network=network.eval(),
        class_names=tuple(class_names),
        preprocessing=dict(card["preprocessing"]),
        metadata={
            "checkpoint_hash": hash_file(path),
            "model": model,
            "data": card.get("data", {}),
            "recipe": card.get("recipe", {}),
            "versions": card.get("versions", {}),
            "is_resumable": "optimizer_states" in content,
        },
    )


def _check_card(content: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """The card of a checkpoint, once it and the weights beside it are known to be what :func:`load_checkpoint` takes.

    Raises:
        InputError: there is none, it is of a newer format, or it is damaged.
    """
    card = content.get(CARD_KEY)
    if not isinstance(card, dict):
        raise InputError(
            f"{path} has no key {CARD_KEY!r}: it was not written by `lightning fit` of videosoft. "
            "Weights of others are loaded into a network of yours by videosoft.models.load_pretrained(model, path)."
        )
    version = card.get("format_version")
    if not isinstance(version, int) or version > CHECKPOINT_FORMAT_VERSION:
        raise InputError(
            f"{path} has format_version {version!r}, this videosoft ({__version__}) reads up to "
            f"{CHECKPOINT_FORMAT_VERSION}: update videosoft."
        )
    missing = [key for key in ("model", "class_names", "preprocessing") if key not in card]
    if missing or "state_dict" not in content:
        raise InputError(f"{path} is damaged: it lacks {', '.join(missing or ['state_dict'])}.")
    model, class_names, preprocessing = card["model"], card["class_names"], card["preprocessing"]
    damages = {
        "its model entry is not {name, kwargs}": not isinstance(model, dict)
        or not isinstance(model.get("kwargs"), dict)
        or bool({"name", "num_classes"} & set(model["kwargs"])),
        "its class names are not a list of different names": not isinstance(class_names, list)
        or not all(isinstance(name, str) for name in class_names)
        or len(set(class_names)) < len(class_names),
        "its preprocessing is not a mapping": not isinstance(preprocessing, dict),
        "its state_dict is not a mapping of names to tensors": not isinstance(content["state_dict"], dict)
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content["state_dict"].items()),
    }
    if found := [damage for damage, is_there in damages.items() if is_there]:
        raise InputError(f"{path} is damaged: {'; '.join(found)}.")
    return card


def load_state_strictly(network: nn.Module, state: Mapping[str, Tensor], *, source: str) -> None:
    """Load a state dict whose names and shapes must all fit; half-precision weights become the network's type.

    Raises:
        InputError: naming how many tensors are missing, unexpected or of another shape, and the first of each.
    """
    expected = network.state_dict()
    problems = []
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    reshaped = [key for key in expected if key in state and expected[key].shape != state[key].shape]
    if missing:
        problems.append(f"{len(missing)} of {len(expected)} tensors are missing (first: {missing[0]})")
    if unexpected:
        problems.append(f"{len(unexpected)} tensors are not of this network (first: {unexpected[0]})")
    if reshaped:
        key = reshaped[0]
        problems.append(
            f"{len(reshaped)} have another shape (first: {key} is {tuple(state[key].shape)} there, "
            f"{tuple(expected[key].shape)} here)"
        )
    if problems:
        head = f"{getattr(network, 'classifier_layer', '')}."
        only_head = reshaped and not missing and not unexpected and all(key.startswith(head) for key in reshaped)
        advice = (
            "Only the classifier differs: the number of classes is another."
            if only_head
            else "It belongs to another architecture, width or number of classes."
        )
        raise InputError(f"the weights of {source} do not fit the network: {'; '.join(problems)}. {advice}")
    network.load_state_dict(dict(state))


def export_weights(path: str | Path, *, dtype: torch.dtype = torch.float16) -> dict[str, Any]:
    """The part of a checkpoint that :func:`load_checkpoint` reads, its floating-point weights in ``dtype``.

    Raises:
        InputError: when the checkpoint cannot be used, see :func:`load_checkpoint`, or a weight overflows in ``dtype``.
    """
    load_checkpoint(path)
    content = read_weight_file(path)
    state = {
        key: value.to(dtype) if value.is_floating_point() else value
        for key, value in content["state_dict"].items()
        if key.startswith(NETWORK_PREFIX)
    }
    for key, value in state.items():
        if not value.isfinite().all() and content["state_dict"][key].isfinite().all():
            raise InputError(f"{path}: {key} does not fit into {dtype}: export to bfloat16 or float32.")
    return {CARD_KEY: content[CARD_KEY], "state_dict": state}


def hash_file(path: str | Path) -> str:
    """sha256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
