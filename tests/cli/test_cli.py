"""The console script: quick answers without torch, recipes by bare name, clear refusals."""

import subprocess
import sys
from pathlib import Path

import pytest

from videosoft import __version__
from videosoft.cli import main
from videosoft.errors import InputError
from videosoft.recipes import find_packaged_configs, resolve_configs

CONFIGS = Path(__file__).resolve().parents[2] / "configs"

QUICK = [
    ([], "usage: lightning VERB"),
    (["--help"], "usage: lightning VERB"),
    (["-h"], "fit"),
    (["--version"], __version__),
    (["configs"], "r3d50_softpool.yaml"),
    (["card", "--help"], "usage: lightning card"),
    (["predict", "--help"], "usage: lightning predict"),
]


@pytest.mark.parametrize(("arguments", "expected"), QUICK)
def test_quick_answers_do_not_import_torch(arguments: list[str], expected: str) -> None:
    code = (
        "import sys; from videosoft.cli import main\ntry: code = main()\nexcept SystemExit as stop: code = stop.code\n"
        "sys.exit(3 if 'torch' in sys.modules or 'lightning' in sys.modules else code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_python_dash_m() -> None:
    done = subprocess.run([sys.executable, "-m", "videosoft", "--version"], capture_output=True, text=True, check=False)
    assert done.stdout == f"videosoft {__version__}\n"


def test_every_recipe_is_packaged_and_says_what_it_is() -> None:
    packaged = find_packaged_configs()
    assert set(packaged) == {path.name for path in CONFIGS.glob("*.yaml")}
    for path in (*packaged.values(), *CONFIGS.glob("bases/*.yaml")):
        assert path.read_text().startswith("# ")


FLAG_FORMS = [
    ["fit", "--config", "r3d50_softpool.yaml"],
    ["fit", "--config=r3d50_softpool.yaml"],
    ["fit", "-c", "r3d50_softpool"],
]


@pytest.mark.parametrize("arguments", FLAG_FORMS)
def test_bare_names_find_packaged_recipes(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    resolved = resolve_configs(arguments)
    assert Path(resolved[-1].removeprefix("--config=")) == CONFIGS / "r3d50_softpool.yaml"


def test_a_file_here_comes_before_a_packaged_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r3d50_softpool.yaml").write_text("seed_everything: 7\n")
    assert resolve_configs(["fit", "--config", "r3d50_softpool.yaml"])[-1] == "r3d50_softpool.yaml"


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'r3d50_sofpool\.yaml'.*Did you mean r3d50_softpool\.yaml"):
        resolve_configs(["fit", "--config", "r3d50_sofpool.yaml"])


@pytest.mark.parametrize(("verb", "message"), [("fitt", "Did you mean 'fit'?"), ("xyzzy", "Known verbs: fit")])
def test_unknown_verbs(
    verb: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lightning", verb])
    assert main() == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
