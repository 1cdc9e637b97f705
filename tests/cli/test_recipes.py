"""Recipes that extend others: the order of the files, the settings that come out, and mistakes in them."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from videosoft.cli import main
from videosoft.errors import InputError
from videosoft.models import create_model
from videosoft.recipes import find_packaged_configs, resolve_configs

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# What came with version 0.1, each file whole.
OLD = Path(__file__).with_name("recipes_of_version_0_1")


def write(folder: Path, name: str, **content: Any) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    return path


def list_configs(arguments: list[str]) -> list[str]:
    return [Path(value).name for flag, value in itertools.pairwise(arguments) if flag in ("--config", "-c")]


# Each row: file -> what it extends, the configs given, the configs that come out.
ORDERS: list[tuple[dict[str, list[str] | None], list[str], list[str]]] = [
    ({"a": None}, ["a"], ["a"]),
    ({"a": []}, ["a"], ["a"]),
    ({"a": ["b"], "b": None}, ["a"], ["b", "a"]),
    ({"a": ["b", "c"], "b": None, "c": None}, ["a"], ["b", "c", "a"]),
    ({"a": ["b"], "b": ["c"], "c": None}, ["a"], ["c", "b", "a"]),
    # A base of two bases is applied once, before both: after the first it would undo its settings.
    ({"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": None}, ["a"], ["d", "b", "c", "a"]),
    ({"a": ["b"], "b": None, "c": ["b"]}, ["a", "c"], ["b", "a", "c"]),
    ({"a": ["b"], "b": None}, ["b", "a"], ["b", "a"]),
    # What was given twice was meant twice.
    ({"a": None, "b": None}, ["a", "b", "a"], ["a", "b", "a"]),
]


@pytest.mark.parametrize(("files", "given", "expected"), ORDERS)
def test_bases_come_first_and_once(files: dict, given: list, expected: list, tmp_path: Path) -> None:
    for name, extends in files.items():
        write(
            tmp_path,
            f"{name}.yaml",
            run={"extends": [f"{base}.yaml" for base in extends]} if extends is not None else {},
        )
    arguments = ["fit", *itertools.chain(*(["--config", str(tmp_path / f"{name}.yaml")] for name in given))]
    resolved = resolve_configs(arguments)
    assert list_configs(resolved) == [f"{name}.yaml" for name in expected]
    # Another process of a distributed run starts with these, and resolves them once more.
    assert list_configs(resolve_configs(resolved)) == list_configs(resolved)


def test_the_forms_of_the_flag_and_the_rest_of_the_arguments(tmp_path: Path) -> None:
    base = write(tmp_path, "base.yaml")
    over = write(tmp_path, "over.yaml", run={"extends": ["base.yaml"]})
    name = "--run.name=over"
    rest = ["--model.network.pool", "avg"]
    assert resolve_configs(["fit", f"--config={over}", *rest]) == [
        "fit", name, f"--config={base}", f"--config={over}", *rest
    ]  # fmt: skip
    assert resolve_configs(["fit", "-c", str(over), *rest]) == ["fit", name, "-c", str(base), "-c", str(over), *rest]
    assert resolve_configs(["fit", *rest, "--config"]) == ["fit", *rest, "--config"]
    # A run that has a name keeps it; one without bases is called after its config anyway.
    for arguments in (["fit", "--run.name", "mine", "--config", str(over)], ["fit", "--config", str(base)]):
        assert name not in resolve_configs(arguments)
        assert "--run.name=base" not in resolve_configs(arguments)


def test_a_base_lies_beside_its_file_or_is_packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    beside = write(tmp_path, "mine/r3d50_kinetics700.yaml")
    over = write(tmp_path, "mine/over.yaml", run={"extends": ["r3d50_kinetics700.yaml", "r3d50_softpool.yaml"]})
    found = [
        Path(value)
        for flag, value in itertools.pairwise(resolve_configs(["fit", "--config", str(over)]))
        if flag == "--config"
    ]
    assert found[0] == beside
    assert CONFIGS / "bases" / "r3d50_kinetics700.yaml" in found
    assert found[-2:] == [CONFIGS / "r3d50_softpool.yaml", over]


# Each row: content of over.yaml, what the message must say.
MISTAKES = [
    ("run: {extends: [none.yaml]}", r"over\.yaml extends 'none\.yaml', which is neither a file beside it nor"),
    ("run: {extends: [r3d50_sofpool.yaml]}", r"Did you mean r3d50_softpool\.yaml"),
    ("run: {extends: [bases/r3d50_kinetic700.yaml]}", r"Did you mean bases/r3d50_kinetics700\.yaml"),
    ("run: {extends: base.yaml}", r"over\.yaml: run\.extends must be a list of recipes, .* got 'base\.yaml'"),
    ("run: {extends: [1]}", r"must be a list of recipes, .* got \[1\]"),
    ("run: {extends: {a: b}}", r"must be a list of recipes"),
    ("run: {extends: [over.yaml]}", r"run\.extends goes in a circle: over\.yaml -> over\.yaml"),
    ("run: {extends: [loop.yaml]}", r"goes in a circle: over\.yaml -> loop\.yaml -> over\.yaml"),
    ("run: {extends: ['../../../etc/passwd']}", r"neither a file beside it"),
    ("- a", r"over\.yaml must hold sections \(model, data, \.\.\.\), not a list"),
    ("# nothing yet", r"over\.yaml is empty: it must hold sections"),
    ("a: [", r"over\.yaml is not YAML: .*line 1"),
    ("a: \xff", r"over\.yaml cannot be read"),
    ("!!python/object/apply:os.system ['true']", r"over\.yaml is not YAML"),
]


@pytest.mark.parametrize(("content", "message"), MISTAKES)
def test_mistakes_are_named(content: str, message: str, tmp_path: Path) -> None:
    over = tmp_path / "sub" / "over.yaml"
    over.parent.mkdir()
    over.write_bytes(content.encode("latin-1"))
    write(tmp_path / "sub", "loop.yaml", run={"extends": ["over.yaml"]})
    with pytest.raises(InputError, match=rf"(?s){message}"):
        resolve_configs(["fit", "--config", str(over)])


@pytest.mark.parametrize("argument", ["--run.extends", "--run.extends=[a.yaml]"])
def test_bases_on_the_command_line_are_refused(argument: str) -> None:
    with pytest.raises(
        InputError, match=r"--run\.extends belongs into a config file; here give --config several times"
    ):
        resolve_configs(["fit", argument, "[a.yaml]"])


def test_bases_are_found_without_torch() -> None:
    code = (
        "import sys; from videosoft.recipes import resolve_configs; "
        "print(len(resolve_configs(['fit', '--config', 'slow_r50_8x8_softpool_kinetics700'])));"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "12\n"), done.stderr


# --- the packaged recipes ---


def print_config(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> dict[str, Any]:
    """What the parser makes of a recipe, all defaults included."""
    monkeypatch.setattr(sys, "argv", ["lightning", "fit", *arguments, "--print_config"])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main()
    printed = capsys.readouterr()
    assert stop.value.code in (0, None), printed.err
    return yaml.safe_load(printed.out)


@pytest.mark.parametrize("name", sorted(path.name for path in OLD.glob("*.yaml")))
def test_the_recipes_of_version_0_1_have_kept_their_settings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new = print_config(monkeypatch, capsys, "--config", name)
    old = print_config(monkeypatch, capsys, "--config", str(OLD / name))
    if name in ("r3d50_softpool.yaml", "r3d50_maxpool.yaml"):
        # Mended since: Hara's optimiser has no Nesterov momentum, and the rate says which batch it is meant for.
        old["model"]["optimizer"]["init_args"]["nesterov"] = False
        old["model"]["reference_batch_size"] = old["data"]["batch_size"]
    # The name of the run is what it would be without one.
    assert new["run"].pop("name") in (None, Path(name).stem)
    assert old["run"].pop("name") is None
    assert new == old


POOL_CLASSES = {"soft": ["SoftPool3d"], "max": ["MaxPool3d"], "avg": ["AvgPool3d"]}


@pytest.mark.parametrize("name", sorted(find_packaged_configs()))
def test_every_recipe_stands_alone_and_its_network_takes_its_clips(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = print_config(monkeypatch, capsys, "--config", name)
    assert "extends" not in resolved["run"]
    network, data = resolved["model"]["network"], resolved["data"]
    kwargs = {key: network[key] for key in ("name", "pool", "pool_kernel", "width")} | network["options"]
    with torch.device("meta"):
        built = create_model(num_classes=700, **kwargs).eval()
        assert built(torch.empty(1, 3, data["num_frames"], data["crop"], data["crop"])).shape == (1, 700)
    parts = Path(name).stem.split("_")
    for word, kind in (("softpool", "soft"), ("maxpool", "max"), ("avgpool", "avg"), ("strided", "max")):
        if word in parts:
            assert network["pool"] == kind
            if word != "strided":
                assert any(type(module).__name__ in POOL_CLASSES[kind] for module in built.modules())


def test_a_resolved_recipe_gives_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved = print_config(monkeypatch, capsys, "--config", "x3d_m_softpool_kinetics700.yaml")
    alone = write(tmp_path, "alone.yaml", **resolved)
    assert print_config(monkeypatch, capsys, "--config", str(alone)) == resolved


def read_without_its_pool(name: str) -> list[str]:
    paths = resolve_configs(["fit", "--config", name])
    return [path for path in list_configs(paths) if path != name]


TRIPLES = sorted({name.replace("_softpool_", "_{}_") for name in find_packaged_configs() if "_softpool_" in name})


@pytest.mark.parametrize("pattern", TRIPLES)
def test_recipes_of_a_network_differ_in_their_pooling_alone(pattern: str) -> None:
    pools = ["softpool"] if pattern.endswith("demo.yaml") else ["softpool", "maxpool", "avgpool"]
    bases = {tuple(read_without_its_pool(pattern.format(pool))) for pool in pools}
    assert len(bases) == 1
    for pool in pools:
        lines = (CONFIGS / pattern.format(pool)).read_text().splitlines()
        content = yaml.safe_load("\n".join(lines))
        if pattern.endswith("demo.yaml"):
            continue
        assert len(lines) == 3
        assert set(content) == {"run", "model"}
        options = content["model"]["network"].pop("options", {})
        assert options in ({}, {"pooled_shortcuts": True})
        assert content["model"] == {"network": {"pool": pool.removesuffix("pool")}}


def test_the_demo_recipes_differ_in_their_pooling_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    softpool, maxpool = (
        print_config(monkeypatch, capsys, "--config", f"r3d50_{pool}_demo.yaml") for pool in ("softpool", "maxpool")
    )
    networks = [config["model"]["network"] for config in (softpool, maxpool)]
    assert [network.pop("pool") for network in networks] == ["soft", "max"]
    assert networks[0]["options"].pop("temperature") == 4  # max pooling has none
    for config in (softpool, maxpool):
        del config["run"]["name"]
    assert softpool == maxpool
