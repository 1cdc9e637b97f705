"""Checkpoints rebuild their network; what is not one, or does not fit, is refused by name."""

import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from videosoft.errors import InputError
from videosoft.models import (
    create_checkpoint_card,
    create_model,
    export_weights,
    load_checkpoint,
    load_pretrained,
    write_weight_file,
)

PREPROCESSING = {
    "num_frames": 8,
    "sampling_stride": 2,
    "short_side": 32,
    "crop": 32,
    "mean": [0.4, 0.4, 0.4],
    "std": [0.2, 0.2, 0.2],
}
KWARGS = {"pool": "soft", "pool_kernel": None, "width": 0.0625}


def create_content(network: nn.Module, **changes: Any) -> dict[str, Any]:
    card = create_checkpoint_card(
        model_name="r3d50",
        model_kwargs=KWARGS,
        class_names=("jump", "run"),
        preprocessing=PREPROCESSING,
        data={},
    )
    state = {f"network.{name}": value for name, value in network.state_dict().items()}
    return {"state_dict": state, "videosoft": {**card, **changes}, "optimizer_states": [{"lr": 0.1}], "epoch": 3}


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return create_model("r3d50", num_classes=2, **KWARGS).eval()


@pytest.fixture
def clip() -> torch.Tensor:
    return torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(1))


def test_round_trip(network: nn.Module, clip: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(create_content(network), path)
    loaded = load_checkpoint(path)
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(clip), network(clip), rtol=0, atol=0)
    assert loaded.class_names == ("jump", "run")
    assert loaded.preprocessing == PREPROCESSING
    assert len(loaded.metadata["checkpoint_hash"]) == 64
    assert not loaded.network.training


def test_weights_only_half_precision(network: nn.Module, clip: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(create_content(network), tmp_path / "full.ckpt")
    torch.save(export_weights(tmp_path / "full.ckpt"), path)
    loaded = load_checkpoint(path)
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    with torch.no_grad():
        torch.testing.assert_close(loaded.network(clip), network(clip), rtol=0.05, atol=0.05)
    assert set(torch.load(path, weights_only=True)) == {"state_dict", "videosoft"}


def test_own_checkpoint_as_pretrained_weights(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    torch.save(create_content(network), path)
    other = create_model("r3d50", num_classes=2, **KWARGS)
    assert load_pretrained(other, path).source == "videosoft"
    torch.testing.assert_close(other.fc.weight, network.fc.weight)


def test_pytorchvideo_weights(tmp_path: Path) -> None:
    network = create_model("slow_r50", num_classes=3, width=0.0625)
    torch.save({"model_state": network.state_dict()}, tmp_path / "slow.pyth")
    other = create_model("slow_r50", num_classes=3, width=0.0625)
    assert load_pretrained(other, tmp_path / "slow.pyth").source == "pytorchvideo"
    torch.testing.assert_close(other.blocks[5].proj.weight, network.blocks[5].proj.weight)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_safetensors_carry_the_same_as_a_checkpoint(
    dtype: torch.dtype, network: nn.Module, clip: torch.Tensor, tmp_path: Path
) -> None:
    torch.save(create_content(network), tmp_path / "full.ckpt")
    content = export_weights(tmp_path / "full.ckpt", dtype=dtype)
    for name in ("a.safetensors", "a.ckpt"):
        write_weight_file(tmp_path / name, content)
    one, other = (load_checkpoint(tmp_path / name) for name in ("a.safetensors", "a.ckpt"))
    with torch.no_grad():
        torch.testing.assert_close(one.network(clip), other.network(clip), rtol=0, atol=0)
    assert (one.class_names, one.preprocessing) == (other.class_names, other.preprocessing)
    different = {"checkpoint_hash"}
    assert {k: v for k, v in one.metadata.items() if k not in different} == {
        k: v for k, v in other.metadata.items() if k not in different
    }
    # Others read it without us, under the network's own names.
    tensors = safetensors.torch.load_file(tmp_path / "a.safetensors")
    assert set(tensors) == set(network.state_dict())
    assert tensors["fc.weight"].dtype == dtype


# Each row: what the metadata say under "videosoft", what the message must say.
BAD_METADATA = [
    ("{", r"bad\.safetensors is damaged: its metadata 'videosoft' is not JSON"),
    ("[" * 100_000, r"is not JSON"),
    ("[]", r"no key 'videosoft'"),
    ("null", r"no key 'videosoft'"),
    ('{"format_version": "1"}', r"format_version '1'"),
    ('{"format_version": 99}', r"format_version 99.*update videosoft"),
    ('{"format_version": 1}', r"lacks model, class_names, preprocessing"),
    ('{"format_version": 1, "model": [], "class_names": {}, "preprocessing": 1}', r"damaged: its model entry"),
    (
        '{"format_version": 1, "model": {"name": "r3d50", "kwargs": {"width": 1e400}}, "class_names": ["a"], '
        '"preprocessing": {}}',
        r"names a network that cannot be built: width=inf",
    ),
    (
        '{"format_version": 1, "model": {"name": "r3d50", "kwargs": {"width": 0.125}}, "class_names": ["a"], '
        '"preprocessing": {}}',
        r"do not fit the network",
    ),
]


@pytest.mark.parametrize(("metadata", "message"), BAD_METADATA)
def test_hostile_metadata_of_safetensors(metadata: str, message: str, network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    safetensors.torch.save_file(network.state_dict(), path, metadata={"videosoft": metadata})
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)


class Hostile:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("pwned"),))


def test_pickled_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {}, "videosoft": Hostile()}, "a.ckpt")
    Path("b.ckpt").write_bytes(pickle.dumps(Hostile()))
    network = nn.Linear(1, 1)
    torch.save({"state_dict": {}, "videosoft": network}, "c.ckpt")
    reasons = {
        "a.ckpt": r"it could run code, by \S+, and is not loaded",
        "b.ckpt": "is not loaded",
        "c.ckpt": r"it could run code, by torch\.nn\.modules\.linear\.Linear, and is not loaded",
    }
    for name, reason in reasons.items():
        for read in (load_checkpoint, lambda path: load_pretrained(network, path)):
            words = rf"^{name} is not a checkpoint that can be read safely: .*{reason}"
            with pytest.raises(InputError, match=words) as refused:
                read(name)
            # torch advises to try it without the safeguard.
            assert not re.search("weights_only|safe_globals|trust", str(refused.value))
    assert not Path("pwned").exists()


def _without(content: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name != key}


BAD_CONTENT = [
    (lambda n: [1, 2], "holds a list"),
    (lambda n: {"state_dict": {}}, "no key 'videosoft'"),
    (lambda n: create_content(n, format_version=2), "format_version 2.*update videosoft"),
    (lambda n: _without(create_content(n), "state_dict"), "damaged: it lacks state_dict"),
    (lambda n: {**create_content(n), "videosoft": {"format_version": 1}}, "lacks model, class_names, preprocessing"),
    (lambda n: create_content(n, class_names=["a", "b", "c"]), "Only the classifier differs: the number of classes"),
    (lambda n: create_content(n, model={"name": "r3d50", "kwargs": {"width": 0.125}}), "another shape.*architecture"),
    (lambda n: create_content(n, model={"name": "slow_r50", "kwargs": {}}), "missing.*not of this network"),
    (lambda n: create_content(n, model={"name": "r3d51", "kwargs": {}}), "unknown model 'r3d51'"),
    (lambda n: create_content(n, model={"name": "r3d50", "kwargs": {"name": "x"}}), "no argument 'name'|damaged"),
    (lambda n: create_content(n, model="r3d50"), "damaged"),
    (lambda n: create_content(n, model={"name": "r3d50", "kwargs": {"width": "x"}}), "bad.ckpt names a network .*"),
    (lambda n: create_content(n, model={"name": "r3d50", "kwargs": {"depth": 5}}), "bad.ckpt names .*'depth'"),
    (lambda n: create_content(n, class_names=5), "damaged: its class names"),
    (lambda n: create_content(n, class_names=["a", "a"]), "damaged: its class names are not a list of different"),
    (lambda n: create_content(n, preprocessing=[1]), "damaged: its preprocessing"),
    (lambda n: {**create_content(n), "state_dict": [1]}, "damaged: its state_dict"),
    (lambda n: {**create_content(n), "state_dict": {"network.fc.bias": 1}}, "damaged: its state_dict"),
]


@pytest.mark.parametrize(("build", "message"), BAD_CONTENT)
def test_bad_checkpoints_are_refused(build: Any, message: str, network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "bad.ckpt"
    torch.save(build(network), path)
    with pytest.raises(InputError, match=message):
        load_checkpoint(path)


def test_weights_that_overflow_are_not_exported(network: nn.Module, tmp_path: Path) -> None:
    content = create_content(network)
    content["state_dict"]["network.fc.bias"] = torch.full_like(content["state_dict"]["network.fc.bias"], 1e6)
    torch.save(content, tmp_path / "large.ckpt")
    with pytest.raises(InputError, match=r"large.ckpt: network.fc.bias does not fit into torch.float16"):
        export_weights(tmp_path / "large.ckpt")
    exported = export_weights(tmp_path / "large.ckpt", dtype=torch.bfloat16)
    assert exported["state_dict"]["network.fc.bias"].isfinite().all()


@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 truncated", b"\xff" * 64])
def test_files_of_another_kind_are_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"noise.{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"noise\.{suffix}"):
        load_checkpoint(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(tmp_path / "none.ckpt")
