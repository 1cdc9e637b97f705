"""Compiled networks and memory formats: the same training, the same checkpoints."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning_runs import run_lightning
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from videosoft.data import Preprocessing
from videosoft.models import LoadedModel, create_model, load_checkpoint
from videosoft.training import NetworkConfig, VideoClassifier

CALLBACKS = [
    {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.5}},
    {"class_path": "videosoft.training.PreciseBatchNorm", "init_args": {"num_batches": 2}},
]


def fit(monkeypatch: pytest.MonkeyPatch, base: Path, folder: Path, **model: object) -> dict[str, torch.Tensor]:
    """Train with further keys of ``model``, and return the weights of the last checkpoint, which must be usable."""
    content = yaml.safe_load(base.read_text())
    content["model"] |= model
    content["run"]["output"] = str(folder)
    content["trainer"] |= {"callbacks": CALLBACKS, "max_epochs": 1, "num_sanity_val_steps": 0}
    folder.mkdir()
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    assert run_lightning(monkeypatch, "fit", "--config", path) == 0
    last = folder / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
    assert run_lightning(monkeypatch, "validate", "--config", path, "--ckpt_path", last) == 0
    load_checkpoint(last)
    return torch.load(last, weights_only=True)["state_dict"]


@pytest.mark.slow
def test_neither_compiling_nor_the_memory_format_changes_a_checkpoint(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = fit(monkeypatch, config, tmp_path / "plain")
    # Its graphs run as they are: inductor would compile for minutes, and round otherwise.
    counter = CompileCounterWithBackend("eager")
    with monkeypatch.context() as patch:
        patch.setattr(torch, "compile", partial(torch.compile, backend=counter))
        compiled = fit(monkeypatch, config, tmp_path / "compiled", compile_mode="default")
    assert counter.frame_count > 0
    assert list(compiled) == list(plain)
    for name, value in plain.items():
        assert torch.equal(value, compiled[name]), name
    channels_last = fit(monkeypatch, config, tmp_path / "channels_last", memory_format="channels_last_3d")
    assert list(channels_last) == list(plain)
    assert all(value.shape == plain[name].shape for name, value in channels_last.items())


@pytest.mark.parametrize("memory_format", ["contiguous_format", "channels_last_3d"])
def test_weights_and_clips_have_the_memory_format(memory_format: Any) -> None:
    torch.manual_seed(0)
    network = create_model("r3d50", num_classes=3, pool="soft", width=0.0625).eval()
    clips = torch.randint(0, 256, (2, 3, 8, 32, 32), dtype=torch.uint8)
    expected = network((clips / 255 - 0.5) / 0.25)
    classifier = VideoClassifier(NetworkConfig(), memory_format=memory_format)
    preprocessing = Preprocessing(
        num_frames=8, sampling_stride=1, short_side=32, crop=32, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
    )
    classifier.use_loaded(LoadedModel(network, ("a", "b", "c"), preprocessing.to_dict(), {}))
    found = [layer.weight for layer in network.modules() if isinstance(layer, nn.Conv3d)]
    network.conv1.register_forward_pre_hook(lambda layer, inputs: found.extend(inputs))
    torch.testing.assert_close(classifier(clips), expected, rtol=1e-3, atol=1e-3)
    assert all(value.is_contiguous(memory_format=getattr(torch, memory_format)) for value in found)
