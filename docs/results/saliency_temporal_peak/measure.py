#!/usr/bin/env python3
"""Why do the tubes of r3d50's layer1 peak in the first frame? Change one thing at a time and count where they peak.

  python docs/results/saliency_temporal_peak/measure.py --ckpt_path A.ckpt --data.root data/demo --output peaks.json

On the demo set's middle clips. Changed are the clip (mirrored in time, with the class that it shows then; one frame
held still), the padding in time (replicated, not zero), the weights (drawn anew), and the time steps that the
strided shortcuts of layer2 to layer4 take (the odd ones, not the even ones).
"""

import argparse
import copy
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from videosoft import __version__
from videosoft.atomic_files import write_json
from videosoft.data import Preprocessing, load_views, normalize_clip
from videosoft.explain import create_method
from videosoft.explain.scores import find_temporal_peak, randomize_weights
from videosoft.explain.targets import Target
from videosoft.models import load_checkpoint

LAYER = "layer1"
OPPOSITES = (
    ("moving left", "moving right"),
    ("moving up", "moving down"),
    ("growing", "shrinking"),
    ("turning clockwise", "turning anticlockwise"),
)
NUM_DRAWS = 3


class ReplicateInTime(nn.Module):
    """A convolution whose padding in time repeats the outermost step."""

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        inner = self.convolution
        time, height, width = inner.padding
        x = functional.pad(x, (0, 0, 0, 0, time, time), mode="replicate")
        return functional.conv3d(x, inner.weight, inner.bias, inner.stride, (0, height, width))


class TakeOddSteps(nn.Module):
    """A 1x1x1 convolution with stride 2 that takes the steps 1, 3, ... of an even number instead of 0, 2, ..."""

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x.roll(-1, dims=2)) if x.shape[2] > 1 else self.convolution(x)


def replicate_in_time(network: nn.Module) -> nn.Module:
    changed = copy.deepcopy(network)
    for parent in list(changed.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv3d) and child.padding[0]:
                setattr(parent, name, ReplicateInTime(child))
    return changed


def take_odd_steps(network: nn.Module) -> nn.Module:
    changed = copy.deepcopy(network)
    for stage in ("layer2", "layer3", "layer4"):
        shortcut = changed.get_submodule(f"{stage}.0.downsample")
        shortcut[0] = TakeOddSteps(shortcut[0])
    return changed


def list_cases(network: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield the name of each case, its network, and what is done to the clip."""
    yield "as it is", network, ""
    yield "clip mirrored in time", network, "mirrored"
    yield "middle frame held still", network, "still"
    yield "replicated padding in time", replicate_in_time(network), ""
    for seed in range(NUM_DRAWS):
        fresh = randomize_weights(network, seed).eval()
        yield f"fresh weights {seed}", fresh, ""
        yield f"fresh weights {seed}, replicated padding in time", replicate_in_time(fresh), ""
        yield f"fresh weights {seed}, shortcuts take odd steps", take_odd_steps(fresh), ""


def count_peaks(network: nn.Module, clips: Tensor, targets: list[int]) -> dict[str, object]:
    """How many tubes peak in the first frame, and the mean share of positive evidence by time step of the layer."""
    method = create_method("saliency_tubes")
    peaks, shares = [], []
    for start in range(0, len(clips), 32):
        chosen = [Target(target) for target in targets[start : start + 32]]
        for saliency in method(network, clips[start : start + 32], chosen, LAYER):
            peaks.append(find_temporal_peak(saliency.tube.numpy()))
            by_step = saliency.map.double().clamp(min=0).sum(dim=(1, 2))
            shares.append((by_step / by_step.sum()).numpy())
    return {
        "first_frame": int(np.sum(np.array(peaks) == 0)),
        "clips": len(peaks),
        "mean_share_by_step": np.nanmean(shares, axis=0).round(3).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True)
    parser.add_argument("--data.root", dest="root", type=Path, required=True)
    parser.add_argument("--max_videos", type=int, default=128)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    loaded = load_checkpoint(args.ckpt_path)
    network = loaded.network.eval()
    preprocessing = Preprocessing.from_dict(loaded.preprocessing)
    opposites = {**dict(OPPOSITES), **{second: first for first, second in OPPOSITES}}
    paths = sorted((args.root / "val").rglob("*.mp4"), key=lambda path: path.stem)[: args.max_videos]
    labels = [path.parent.name for path in paths]
    clips = torch.cat(
        [
            normalize_clip(
                load_views(path, preprocessing, num_clips=1, num_crops=1).video, preprocessing.mean, preprocessing.std
            )
            for path in tqdm(paths, unit="video")
        ]
    )
    middle = clips.shape[2] // 2
    changed = {
        "": (clips, labels),
        "mirrored": (clips.flip(2), [opposites[label] for label in labels]),
        "still": (clips[:, :, middle : middle + 1].expand_as(clips).contiguous(), labels),
    }
    cases = {}
    for name, case_network, change in tqdm(list(list_cases(network)), unit="case"):
        case_clips, case_labels = changed[change]
        targets = [loaded.class_names.index(label) for label in case_labels]
        cases[name] = count_peaks(case_network, case_clips, targets)
    write_json(
        args.output,
        {
            "format_version": 1,
            "checkpoint": {"file": args.ckpt_path.name, "checkpoint_hash": loaded.metadata["checkpoint_hash"]},
            "layer": LAYER,
            "method": "saliency_tubes",
            "cases": cases,
            "versions": {"videosoft": __version__, "torch": str(torch.__version__)},
        },
    )
    print(json.dumps(cases, indent=2))


if __name__ == "__main__":
    main()
