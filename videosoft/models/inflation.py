"""ImageNet's ResNet-50 as the beginning of a 3-D one: 2-D kernels spread over time."""

import re
from collections.abc import Iterable, Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from videosoft.errors import InputError

Inflation = Literal["average", "centre"]

# torchvision's name of a part of ResNet-50 -> pytorchvideo's. Hara's names are torchvision's.
_PYTORCHVIDEO_NAMES = {
    r"^conv1\.": "blocks.0.conv.",
    r"^bn1\.": "blocks.0.norm.",
    r"^fc\.": "blocks.5.proj.",
    r"^layer(\d)\.(\d+)\.downsample\.0\.": r"blocks.\1.res_blocks.\2.branch1_conv.",
    r"^layer(\d)\.(\d+)\.downsample\.1\.": r"blocks.\1.res_blocks.\2.branch1_norm.",
    r"^layer(\d)\.(\d+)\.conv1\.": r"blocks.\1.res_blocks.\2.branch2.conv_a.",
    r"^layer(\d)\.(\d+)\.conv2\.": r"blocks.\1.res_blocks.\2.branch2.conv_b.",
    r"^layer(\d)\.(\d+)\.conv3\.": r"blocks.\1.res_blocks.\2.branch2.conv_c.",
    r"^layer(\d)\.(\d+)\.bn1\.": r"blocks.\1.res_blocks.\2.branch2.norm_a.",
    r"^layer(\d)\.(\d+)\.bn2\.": r"blocks.\1.res_blocks.\2.branch2.norm_b.",
    r"^layer(\d)\.(\d+)\.bn3\.": r"blocks.\1.res_blocks.\2.branch2.norm_c.",
}


def is_image_resnet(state: Mapping[str, Tensor]) -> bool:
    """Whether these are weights of torchvision's 2-D ResNets."""
    return "conv1.weight" in state and state["conv1.weight"].ndim == 4 and "layer1.0.conv1.weight" in state


def rename_for(state: Mapping[str, Tensor], names: Iterable[str]) -> dict[str, Tensor]:
    """The weights under the names of a 3-D network that has ``names``: pytorchvideo's, or torchvision's own."""
    if "blocks.0.conv.weight" not in set(names):
        return dict(state)
    renamed = {}
    for key, value in state.items():
        for pattern, name in _PYTORCHVIDEO_NAMES.items():
            key, count = re.subn(pattern, name, key)
            if count:
                break
        renamed[key] = value
    return renamed


def inflate_kernel(weight: Tensor, num_frames: int, method: Inflation) -> Tensor:
    """A 2-D kernel (O, I, H, W) as a 3-D one (O, I, ``num_frames``, H, W).

    "average" repeats it and divides by ``num_frames``; "centre" puts it into the middle frame, zeros elsewhere. On a
    clip of equal frames both give the 2-D convolution's output, "average" only where no padding in time is touched.
    Source: Carreira & Zisserman, CVPR 2017 ("average").

    Raises:
        InputError: an unknown method.
    """
    if method not in get_args(Inflation):
        raise InputError(f"inflation={method!r}: must be one of {', '.join(map(repr, get_args(Inflation)))}.")
    if method == "average":
        return weight.unsqueeze(2).repeat(1, 1, num_frames, 1, 1) / num_frames
    inflated = torch.zeros(*weight.shape[:2], num_frames, *weight.shape[2:], dtype=weight.dtype)
    inflated[:, :, num_frames // 2] = weight
    return inflated
