"""The clips of a validation that a network gets most wrong, without keeping all clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class HardClip:
    """A clip as it was judged; ``still`` is its middle frame as the network saw it, uint8 (H, W, 3)."""

    video_id: str
    path: str
    label_name: str
    prediction: int
    probability: float  # of the prediction
    label_probability: float
    loss: float
    still: npt.NDArray[np.uint8]


class HardestClips:
    """The ``num_clips`` clips of the largest loss, -log p(label), among all that were added; NaN is the largest.

    Nothing is fetched from the device before :meth:`list`.
    """

    def __init__(self, num_clips: int) -> None:
        self._num_clips = num_clips
        self._samples: list[tuple[str, str, str]] = []
        self._kept: dict[str, Tensor] = {}

    def add(self, logits: Tensor, labels: Tensor, clips: Tensor, samples: Sequence[dict[str, Any]]) -> None:
        """Add a batch: logits (B, K), labels (B,), uint8 clips (B, 3, T, H, W), and what the clips are."""
        first = len(self._samples)
        self._samples += [(sample["video_id"], sample["path"], sample["label_name"]) for sample in samples]
        logits = logits.float()
        probabilities = logits.softmax(1)
        probability, prediction = probabilities.max(1)
        added = {
            "loss": F.cross_entropy(logits, labels, reduction="none"),
            "prediction": prediction,
            "probability": probability,
            "label_probability": probabilities.gather(1, labels[:, None])[:, 0],
            "sample": torch.arange(first, len(self._samples), device=logits.device),
            "still": clips[:, :, clips.shape[2] // 2],
        }
        if self._kept:
            added = {name: torch.cat([self._kept[name], values]) for name, values in added.items()}
        order = added["loss"].topk(min(self._num_clips, len(added["loss"]))).indices
        self._kept = {name: values[order] for name, values in added.items()}

    def list(self) -> list[HardClip]:
        """The clips, the hardest first."""
        if not self._kept:
            return []
        kept = {name: values.cpu() for name, values in self._kept.items()}
        stills = kept["still"].permute(0, 2, 3, 1).contiguous().numpy()
        clips = []
        for number, sample in enumerate(kept["sample"].tolist()):
            video_id, path, label_name = self._samples[sample]
            clips.append(
                HardClip(
                    video_id=video_id,
                    path=path,
                    label_name=label_name,
                    prediction=int(kept["prediction"][number]),
                    probability=float(kept["probability"][number]),
                    label_probability=float(kept["label_probability"][number]),
                    loss=float(kept["loss"][number]) + 0.0,  # not -0
                    still=stills[number],
                )
            )
        return clips
