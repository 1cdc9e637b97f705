"""Weights from elsewhere: whose they are, which tensors they reach, and what becomes of the classifier."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from videosoft.errors import InputError
from videosoft.models import create_checkpoint_card, create_model, load_pretrained
from videosoft.models.inflation import inflate_kernel

CLASSES = ("clap", "jump", "run")


def create_network(num_classes: int = 3, name: str = "r3d50", **kwargs: Any) -> nn.Module:
    return create_model(name, num_classes=num_classes, **{"width": 0.0625, **kwargs})


@pytest.fixture
def source() -> nn.Module:
    torch.manual_seed(0)
    return create_network()


def wrap(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def create_own(network: nn.Module, class_names: tuple[str, ...] = CLASSES) -> dict[str, Any]:
    card = create_checkpoint_card(
        model_name="r3d50", model_kwargs={}, class_names=class_names, preprocessing={}, data={}
    )
    return {"state_dict": wrap("network.", network.state_dict()), "videosoft": card}


LAYOUTS = {
    "hara": lambda n: {"arch": "resnet-50", "epoch": 200, "state_dict": wrap("module.", n.state_dict())},
    "pytorchvideo": lambda n: {"model_state": n.state_dict(), "cfg": "x"},
    "videosoft": create_own,
    "state_dict": lambda n: n.state_dict(),
    "of Lightning": lambda n: {"state_dict": wrap("model.", n.state_dict()), "epoch": 1},
    "of a compiled network": lambda n: wrap("_orig_mod.", n.state_dict()),
    "of half precision": lambda n: {key: value.double() for key, value in n.state_dict().items()},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout: str, source: nn.Module, tmp_path: Path) -> None:
    torch.save(LAYOUTS[layout](source), tmp_path / "a.pth")
    network = create_network()
    report = load_pretrained(network, tmp_path / "a.pth")
    assert report.source == (layout if layout in ("hara", "pytorchvideo", "videosoft") else "state_dict")
    assert set(report.loaded) == set(network.state_dict())
    assert not report.missing
    assert not report.unexpected
    assert not report.reshaped
    for key, value in network.state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[key])


def test_safetensors(source: nn.Module, tmp_path: Path) -> None:
    save_file(source.state_dict(), tmp_path / "a.safetensors")
    network = create_network()
    assert load_pretrained(network, tmp_path / "a.safetensors").source == "state_dict"
    torch.testing.assert_close(network.fc.weight, source.fc.weight)


def test_a_check_changes_nothing_and_needs_no_memory(source: nn.Module, tmp_path: Path) -> None:
    torch.save(create_own(source), tmp_path / "a.ckpt")
    with torch.device("meta"):
        network = create_network(4)
    report = load_pretrained(
        network, tmp_path / "a.ckpt", head="by_name", class_names=("swim", "run", "jump", "clap"), check_only=True
    )
    assert report.reshaped == {"fc.weight": ((3, 128), (4, 128)), "fc.bias": ((3,), (4,))}
    assert all(parameter.is_meta for parameter in network.parameters())


# Each row: head, classes of the file, of the network, row of the file for each of the network's (None: fresh), report.
HEADS: list[tuple[str, tuple[str, ...] | None, tuple[str, ...] | None, list[int | None], str]] = [
    ("strict", CLASSES, CLASSES, [0, 1, 2], "is of the same classes$"),
    ("strict", CLASSES, ("run", "clap", "jump"), [2, 0, 1], "same classes, its rows put into the network's order"),
    ("strict", None, ("run", "clap", "jump"), [0, 1, 2], "taken as it is, its classes unnamed"),
    ("strict", CLASSES, None, [0, 1, 2], "taken as it is, its classes unnamed"),
    ("by_name", CLASSES, ("run", "swim", "jump", "fall"), [2, None, 1, None], r"2 rows by name, 2 fresh \(first: swim"),
    ("by_name", CLASSES, ("jump",), [1], "is of the same classes"),
    ("fresh", CLASSES, ("run", "clap", "jump"), [None, None, None], "the classifier is fresh"),
    ("fresh", None, None, [None, None, None, None], "the classifier is fresh"),
]


@pytest.mark.parametrize(("head", "there", "here", "rows", "message"), HEADS)
def test_heads(
    head: Any, there: tuple | None, here: tuple | None, rows: list, message: str, source: nn.Module, tmp_path: Path
) -> None:
    content = source.state_dict() if there is None else create_own(source, there)
    torch.save(content, tmp_path / "a.pth")
    network = create_network(len(rows))
    before = network.fc.weight.detach().clone(), network.fc.bias.detach().clone()
    report = load_pretrained(network, tmp_path / "a.pth", head=head, class_names=here)
    for row, other in enumerate(rows):
        for new, old, file in zip(network.fc.parameters(), before, source.fc.parameters(), strict=True):
            assert torch.equal(new[row], old[row] if other is None else file[other])
    torch.testing.assert_close(network.conv1.weight, source.conv1.weight)
    assert re.search(message, str(report).splitlines()[0])
    assert ("fc.weight" in report.loaded) == (head != "fresh")


def test_names_of_a_file_that_carries_none(source: nn.Module, tmp_path: Path) -> None:
    torch.save(source.state_dict(), tmp_path / "a.pth")
    network = create_network(1)
    load_pretrained(network, tmp_path / "a.pth", head="by_name", class_names=["run"], source_class_names=CLASSES)
    assert torch.equal(network.fc.weight[0], source.fc.weight[2])


def without(state: dict[str, Tensor], *keys: str) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if key not in keys}


# Each row: content of the file from the source network, options, classes of the network, what the message must say.
MISFITS: list[tuple[Any, dict[str, Any], int, str]] = [
    (lambda n: without(n.state_dict(), "bn1.bias"), {}, 3, r"(?s)allow_partial=True.*\n.*1 missing: bn1\.bias"),
    (lambda n: {**n.state_dict(), "extra": torch.zeros(1)}, {}, 3, r"(?s)allow_partial=True.*\n.*1 unexpected: extra"),
    (lambda n: create_network(width=0.125).state_dict(), {}, 3, r"another architecture or width"),
    (lambda n: create_network(width=0.125).state_dict(), {"allow_partial": True, "head": "fresh"}, 3, r"no tensor of"),
    (lambda n: create_network(name="slow_r50").state_dict(), {}, 3, r"no tensor of .* fits the network"),
    (lambda n: n.state_dict(), {}, 5, r"(?s)Only the classifier differs: head='fresh'.*\n.*fc\.weight 3x128 -> 5x128"),
    (
        create_own,
        {"class_names": ("run", "jump", "swim")},
        3,
        r"2 of them the same \(not in the file: 'swim'\).*by_name",
    ),
    (create_own, {"class_names": ("run", "jump")}, 2, r"3 classes, the network 2, 2 of them the same: head='by_name'"),
    (create_own, {"class_names": ("a", "b", "c"), "head": "by_name"}, 3, r"none of the network's classes"),
    (create_own, {"head": "by_name"}, 3, r"head='by_name' needs the names of both classifiers: give class_names"),
    (
        lambda n: n.state_dict(),
        {"head": "by_name", "class_names": CLASSES},
        3,
        r"needs the names of both classifiers: give source_class_names, .* carries none",
    ),
    (create_own, {"class_names": ("run", "jump")}, 3, r"2 class names are given for the network.*\(3,"),
    (create_own, {"class_names": ("run", "run", "clap")}, 3, r"class names of the network are not all different"),
    (
        lambda n: n.state_dict(),
        {"source_class_names": ("run", "jump"), "class_names": CLASSES},
        3,
        r"2 class names are given for .*a\.pth",
    ),
    (create_own, {"head": "new"}, 3, r"head='new': must be one of 'strict', 'by_name', 'fresh'"),
    (lambda n: {"state_dict": {"fc.weight": 1}}, {}, 3, r"holds no weights.*\['state_dict'\]"),
    (lambda n: {"state_dict": [1]}, {}, 3, r"holds no weights"),
    (lambda n: {}, {}, 3, r"holds no weights"),
    (lambda n: {"videosoft": 1, "state_dict": {"a": torch.zeros(1)}}, {}, 3, r"no tensor of"),
    (lambda n: {**n.state_dict(), "fc.bias": torch.tensor(1.0)}, {}, 3, r"fc\.bias scalar -> 3"),
]


@pytest.mark.parametrize(("build", "options", "num_classes", "message"), MISFITS)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    build: Any, options: dict[str, Any], num_classes: int, message: str, source: nn.Module, tmp_path: Path
) -> None:
    torch.save(build(source), tmp_path / "a.pth")
    network = create_network(num_classes)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_pretrained(network, tmp_path / "a.pth", **options)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_a_partial_load_says_what_it_left_out(source: nn.Module, tmp_path: Path) -> None:
    state = without(source.state_dict(), "bn1.bias", "bn1.num_batches_tracked")
    torch.save({**state, "extra": torch.zeros(1), "bn1.weight": torch.zeros(9)}, tmp_path / "a.pth")
    network = create_network()
    report = load_pretrained(network, tmp_path / "a.pth", allow_partial=True)
    assert report.missing == ("bn1.bias", "bn1.num_batches_tracked")
    assert report.unexpected == ("extra",)
    assert report.reshaped == {"bn1.weight": ((9,), (4,))}
    assert len(report.loaded) == len(network.state_dict()) - 3
    torch.testing.assert_close(network.conv1.weight, source.conv1.weight)
    printed = str(report)
    num_tensors = len(network.state_dict())
    assert f"{num_tensors - 3} of {num_tensors} tensors fit" in printed
    for part in ("2 missing: bn1.bias, bn1.num", "1 unexpected: extra", "1 reshaped: bn1.weight 9 -> 4"):
        assert part in printed


def test_old_files_without_counters_of_batches_are_complete(source: nn.Module, tmp_path: Path) -> None:
    counters = [key for key in source.state_dict() if key.endswith("num_batches_tracked")]
    torch.save(without(source.state_dict(), *counters), tmp_path / "a.pth")
    report = load_pretrained(create_network(), tmp_path / "a.pth")
    assert set(report.missing) == set(counters)
    assert f"{len(counters)} missing: " in str(report)
    assert f"and {len(counters) - 5} more" in str(report)


HOSTILE_METADATA = ["", "{", "[" * 100_000, "1e400", '{"class_names": {}}', json.dumps({"class_names": [1, 2, 3]})]


@pytest.mark.parametrize("metadata", HOSTILE_METADATA, ids=lambda text: text[:20])
def test_hostile_metadata_of_safetensors(metadata: str, source: nn.Module, tmp_path: Path) -> None:
    save_file(source.state_dict(), tmp_path / "a.safetensors", metadata={"videosoft": metadata})
    network = create_network()
    try:
        report = load_pretrained(network, tmp_path / "a.safetensors", class_names=CLASSES)
    except InputError as error:
        assert re.search(r"a\.safetensors is damaged: its metadata 'videosoft' is not JSON", str(error))  # noqa: PT017
    else:
        # Names that are none are no names.
        assert "its classes unnamed" in report.head


# --- ImageNet's ResNet-50, inflated ---


def create_image_resnet() -> nn.Module:
    import torchvision

    torch.manual_seed(0)
    network = torchvision.models.resnet50(num_classes=7).eval()
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.0, generator=generator)
            module.bias.data.uniform_(-0.2, 0.2, generator=generator)
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.8, 1.5, generator=generator)
    return network


def repeat_ends_in_time(network: nn.Module) -> None:
    """Where a convolution pads time with zeros, let it repeat the first and the last frame instead."""

    def pad(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        frames = module.kernel_size[0] // 2
        return (nn.functional.pad(inputs[0], (0, 0, 0, 0, frames, frames), mode="replicate"),)

    for module in network.modules():
        if isinstance(module, nn.Conv3d) and module.padding[0]:
            module.padding = (0, *module.padding[1:])
            module.register_forward_pre_hook(pad)


@pytest.mark.parametrize("name", ["r3d50", "slow_r50"])
@pytest.mark.parametrize("inflation", ["average", "centre"])
def test_an_inflated_network_sees_a_still_as_the_image_network_does(name: str, inflation: Any, tmp_path: Path) -> None:
    images = create_image_resnet()
    torch.save(images.state_dict(), tmp_path / "resnet50.pth")
    network = create_network(7, name, width=1.0).eval()
    report = load_pretrained(network, tmp_path / "resnet50.pth", inflation=inflation)
    assert report.source == "imagenet"
    assert len(report.loaded) == len(images.state_dict()) == len(network.state_dict())
    assert len(report.reshaped) == sum(isinstance(module, nn.Conv2d) for module in images.modules())
    if inflation == "average":
        repeat_ends_in_time(network)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = images(image)
        found = network(image.unsqueeze(2).expand(-1, -1, 8, -1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("inflation", ["average", "centre"])
@pytest.mark.parametrize("num_frames", [1, 3, 7])
def test_an_inflated_kernel_on_a_still(inflation: Any, num_frames: int) -> None:
    weight = torch.randn(4, 2, 3, 3)
    image = torch.randn(1, 2, 6, 6)
    kernel = inflate_kernel(weight, num_frames, inflation)
    assert kernel.shape == (4, 2, num_frames, 3, 3)
    found = nn.functional.conv3d(image.unsqueeze(2).expand(-1, -1, 9, -1, -1), kernel)
    expected = nn.functional.conv2d(image, weight)
    torch.testing.assert_close(found, expected.unsqueeze(2).expand_as(found))


INFLATION_MISFITS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("r3d50", {"num_classes": 5}, {}, r"Only the classifier differs: head='fresh'"),
    ("r3d50", {"num_classes": 7}, {"inflation": "mean"}, r"inflation='mean': must be one of 'average', 'centre'"),
    ("r3d50", {"num_classes": 7, "width": 0.5}, {}, r"another architecture or width"),
    ("r3d50_stergiou", {"num_classes": 7}, {}, r"another architecture or width"),
    ("csn_r101", {"num_classes": 7}, {}, r"another architecture or width"),
    ("r3d_18", {"num_classes": 7}, {}, r"another architecture or width"),
]


@pytest.mark.parametrize(("name", "kwargs", "options", "message"), INFLATION_MISFITS)
def test_what_cannot_be_inflated(name: str, kwargs: dict, options: dict, message: str, tmp_path: Path) -> None:
    import torchvision

    with torch.device("meta"):
        shapes = torchvision.models.resnet50(num_classes=7).state_dict()
        network = create_model(name, **kwargs)
    torch.save({key: torch.zeros(()).expand(value.shape) for key, value in shapes.items()}, tmp_path / "r.pth")
    with pytest.raises(InputError, match=message):
        load_pretrained(network, tmp_path / "r.pth", check_only=True, **options)
