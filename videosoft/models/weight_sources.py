"""Telling whose weights a file holds, by its layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from videosoft.errors import InputError
from videosoft.models.weight_files import CARD_KEY, NETWORK_PREFIX

# What DataParallel, other Lightning modules and torch.compile put before every name.
_WRAPPERS = ("module.", "model.", "_orig_mod.")


def extract_weights(
    content: Mapping[str, Any], path: str | Path
) -> tuple[str, dict[str, Tensor], tuple[str, ...] | None]:
    """Where weights come from, the weights without their wrappers' names, and the names of their classes if known.

    Raises:
        InputError: there are none.
    """
    class_names = None
    if CARD_KEY in content:
        source, state = "videosoft", content.get("state_dict")
        card = content[CARD_KEY]
        class_names = card.get("class_names") if isinstance(card, Mapping) else None
    elif "model_state" in content:
        source, state = "pytorchvideo", content["model_state"]
    elif "state_dict" in content:
        source, state = "hara", content["state_dict"]
    else:
        source, state = "state_dict", content
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items())
    ):
        raise InputError(
            f"{path} holds no weights: expected Hara's layout (key 'state_dict'), pytorchvideo's (key 'model_state'), "
            f"a videosoft checkpoint or a bare state dict; found the keys {sorted(map(str, content))[:8]}."
        )
    if source == "videosoft":
        state = {key: value for key, value in state.items() if key.startswith(NETWORK_PREFIX)}
        prefixes: tuple[str, ...] = (NETWORK_PREFIX,)
    else:
        prefixes = _WRAPPERS
    if source == "hara" and not all(key.startswith("module.") for key in state):
        source = "state_dict"
    for prefix in prefixes:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    is_list_of_names = isinstance(class_names, list) and all(isinstance(name, str) for name in class_names)
    return source, dict(state), tuple(class_names) if class_names and is_list_of_names else None
