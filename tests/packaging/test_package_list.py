"""What is installed: pyproject.toml names every package, since one of them lies outside the folder videosoft."""

from pathlib import Path

from setuptools.config.pyprojecttoml import read_configuration

ROOT = Path(__file__).resolve().parents[2]


def test_every_package_is_installed() -> None:
    listed = read_configuration(ROOT / "pyproject.toml", expand=False)["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "videosoft").rglob("__init__.py")}
    assert set(listed) == {".".join(folder.parts) for folder in folders} | {"videosoft.configs"}
