"""Checkpoints of untrained networks and videos of noise, for the tests of the saliency tools."""

from pathlib import Path

import av
import numpy as np
import torch

from videosoft.data import Preprocessing
from videosoft.models import create_checkpoint_card, create_model

CLASSES = ("Archery", "Basketball Dunk", "Billiards")
PREPROCESSING = Preprocessing(num_frames=8, sampling_stride=2, short_side=36, crop=32)


def write_checkpoint(
    path: Path,
    *,
    seed: int = 0,
    class_names: tuple[str, ...] = CLASSES,
    pool: str = "soft",
    preprocessing: Preprocessing = PREPROCESSING,
    fill: float | None = None,
) -> Path:
    torch.manual_seed(seed)
    kwargs = {"width": 0.125, "pool": pool}
    network = create_model("r3d50", num_classes=len(class_names), **kwargs)
    if fill is not None:
        torch.nn.init.constant_(network.get_submodule(network.classifier_layer).weight, fill)
    card = create_checkpoint_card(
        model_name="r3d50",
        model_kwargs=kwargs,
        class_names=class_names,
        preprocessing=preprocessing.to_dict(),
        data={},
    )
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    torch.save({"videosoft": card, "state_dict": state}, path)
    return path


def write_video(path: Path, num_frames: int = 20) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(num_frames)
    with av.open(str(path), "w", format="mp4") as container:
        # x264's mb-tree reads beyond frames that small: one file in a hundred would differ.
        stream = container.add_stream("libx264", rate=25, options={"x264-params": "mbtree=0"})
        stream.pix_fmt, stream.width, stream.height = "yuv420p", 64, 48
        for _ in range(num_frames):
            picture = np.kron(rng.integers(0, 255, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path
