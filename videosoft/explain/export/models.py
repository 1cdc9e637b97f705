"""The checkpoints of an export: loaded, named, and fit to be shown the same frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videosoft.data import Preprocessing
from videosoft.errors import InputError
from videosoft.explain.layers import LayerOutput, find_nearest_names, get_feature_layer, list_layers
from videosoft.explain.methods import SaliencyMethod
from videosoft.models import LoadedModel, load_checkpoint

__all__ = [
    "ExplainedModel",
    "check_same_frames",
    "choose_layer",
    "list_model_layers",
    "load_models",
    "resolve_device",
]

# What two checkpoints must share to be shown the same frames; mean and std may differ.
FRAME_SETTINGS = ("num_frames", "sampling_stride", "sampling_fps", "sampling", "short_side", "crop")


@dataclass(frozen=True)
class ExplainedModel:
    """A loaded checkpoint and what figures call it; ``letter`` is A or B in a comparison, else empty."""

    letter: str
    title: str
    file_label: str
    path: Path
    loaded: LoadedModel
    preprocessing: Preprocessing

    @property
    def class_names(self) -> tuple[str, ...]:
        """Its own list, in the order of its logits."""
        return self.loaded.class_names


def resolve_device(device: str) -> torch.device:
    """Return the device that "auto", "cpu" or "cuda" stands for.

    Raises InputError for cuda where there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for, but torch finds no CUDA device here; use auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def load_models(checkpoints: Sequence[Path], device: torch.device) -> list[ExplainedModel]:
    """Load one checkpoint, or two to compare.

    Raises InputError for a missing or foreign checkpoint, and for two that see different frames.
    """
    labels = label_files(checkpoints)
    letters = ["A", "B"] if len(checkpoints) > 1 else [""]
    models = []
    for path, label, letter in zip(checkpoints, labels, letters, strict=True):
        loaded = load_checkpoint(path)
        loaded.network.to(device)
        card: dict[str, Any] = loaded.metadata["model"]
        title = " ".join(str(part) for part in (card["name"], card["kwargs"].get("pool")) if part)
        try:
            preprocessing = Preprocessing.from_dict(loaded.preprocessing)
        except InputError as error:
            raise InputError(f"checkpoint {path}: {error}") from error
        models.append(
            ExplainedModel(letter, f"{letter}: {title}" if letter else title, label, path, loaded, preprocessing)
        )
    check_same_frames(models)
    return models


def check_same_frames(models: Sequence[ExplainedModel]) -> None:
    """Raise InputError for models of which one sees other frames of a video than the first."""
    for model in models[1:]:
        for setting in FRAME_SETTINGS:
            ours, theirs = (getattr(m.preprocessing, setting) for m in (models[0], model))
            if ours != theirs:
                raise InputError(
                    f"{models[0].path} and {model.path} cannot be shown the same frames: {setting} is {ours} in the "
                    f"first and {theirs} in the second; compare checkpoints that share {', '.join(FRAME_SETTINGS)}"
                )


def list_model_layers(model: ExplainedModel) -> list[LayerOutput]:
    """Return the model's layers with a 5-D output, for a clip of its own size."""
    preprocessing = model.preprocessing
    parameter = next(model.loaded.network.parameters())
    clip = torch.zeros(1, 3, preprocessing.num_frames, preprocessing.crop, preprocessing.crop).to(parameter)
    return list_layers(model.loaded.network, clip)


def choose_layer(model: ExplainedModel, method: SaliencyMethod, layer: str | None) -> str | None:
    """Return the layer to look at, ``layer`` or the model's own feature layer; None where the method takes none.

    Raises InputError for a layer that the model does not have (the nearest names are listed), one without a 5-D output
    for its clips, and one named to a method that looks at the clip itself.
    """
    if method.place == "input":
        if layer is not None:
            raise InputError(f"method {method.name!r} looks at the clip itself: leave the layer out")
        return None
    if layer is None:
        return get_feature_layer(model.loaded.network)
    known = {output.name for output in list_model_layers(model)}
    if layer not in known:
        nearest = find_nearest_names(layer, known)
        hint = f"nearest: {', '.join(nearest)}" if nearest else f"for example {', '.join(sorted(known)[:4])}"
        exists = layer in dict(model.loaded.network.named_modules())
        problem = "does not put out one 5-D tensor (N, C, t, h, w)" if exists else f"is not in {model.path}"
        raise InputError(f"layer {layer!r} {problem}; {hint}; --list_layers shows all")
    return layer


def label_files(paths: Sequence[Path]) -> list[str]:
    """Return short names that tell the files apart: runs/a/v0/last.ckpt, runs/b/v0/last.ckpt -> a/…/last.ckpt, ..."""
    names = [path.name for path in paths]
    if len(set(names)) == len(names):
        return names
    # From the file upwards: the first folder that differs.
    for depth, folders in enumerate(zip(*(path.absolute().parent.parts[::-1] for path in paths), strict=False)):
        if len(set(folders)) == len(folders):
            link = "/" if depth == 0 else "/…/"
            return [f"{folder}{link}{name}" for folder, name in zip(folders, names, strict=True)]
    return names
