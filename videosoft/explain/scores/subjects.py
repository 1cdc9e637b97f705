"""The trained networks whose maps are scored: A, perhaps B, and further trainings of each with other seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from videosoft.data import Preprocessing, normalize_clip
from videosoft.errors import InputError
from videosoft.explain.export.models import ExplainedModel, check_same_frames, choose_layer, load_models
from videosoft.explain.methods import SaliencyMethod

__all__ = ["Subject", "load_subjects"]


@dataclass(frozen=True)
class Subject:
    """A checkpoint under the name it has in the table: A and B, their further seeds A2, A3, ..., B2, ...

    ``variant`` is A or B. Only the first of each variant is perturbed and randomised; the seeds are there for the noise
    floor. ``layer`` is the one whose map is made, None where the method looks at the clip itself.
    """

    name: str
    model: ExplainedModel
    layer: str | None

    @property
    def variant(self) -> str:
        return self.name[0]

    @property
    def is_first(self) -> bool:
        return len(self.name) == 1

    @property
    def network(self) -> nn.Module:
        return self.model.loaded.network

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.model.class_names

    @property
    def checkpoint_hash(self) -> str:
        return str(self.model.loaded.metadata["checkpoint_hash"])

    @property
    def preprocessing(self) -> Preprocessing:
        return self.model.preprocessing

    def normalize(self, pixels: Tensor) -> Tensor:
        """Return the network's input for uint8 pixels (N, C, T, H, W), on its device."""
        device = next(self.network.parameters()).device
        return normalize_clip(pixels.to(device), self.preprocessing.mean, self.preprocessing.std)


def load_subjects(
    first: Sequence[Path],
    second: Sequence[Path],
    device: torch.device,
    *,
    method: SaliencyMethod,
    layers: tuple[str | None, str | None],
    crop: int | None,
) -> list[Subject]:
    """Load the checkpoints of variant A (``first``, at least one) and B (``second``, perhaps none).

    ``layers`` are those of A and B, None for the feature layer. ``crop`` replaces the checkpoints' own; it must fit
    into their short side.

    Raises InputError for a checkpoint that cannot be used, one that is given twice, checkpoints that see different
    frames, and a layer that a network does not have.
    """
    subjects: list[Subject] = []
    for letter, paths, layer in (("A", first, layers[0]), ("B", second, layers[1])):
        for number, path in enumerate(paths, start=1):
            (model,) = load_models([path], device)
            try:
                preprocessing = model.preprocessing if crop is None else replace(model.preprocessing, crop=crop)
            except InputError as error:
                raise InputError(f"checkpoint {path}: {error}") from error
            model = replace(model, preprocessing=preprocessing)
            name = letter if number == 1 else f"{letter}{number}"
            subjects.append(Subject(name, model, choose_layer(model, method, layer)))
    check_same_frames([subject.model for subject in subjects])
    for place, subject in enumerate(subjects):
        for other in subjects[:place]:
            if other.checkpoint_hash == subject.checkpoint_hash:
                raise InputError(
                    f"{other.model.path} and {subject.model.path} are one checkpoint: compared with itself everything "
                    "agrees; give each once"
                )
    return subjects
