"""What is installed: every module of the package, the recipes beside it, and what else belongs to a module."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def list_files(folder: Path, patterns: tuple[str, ...]) -> set[str]:
    return {path.relative_to(folder).as_posix() for pattern in patterns for path in folder.rglob(pattern)}


def test_every_module_and_recipe_is_installed(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()  # those of an earlier build name files that would be missing by now
    command = [sys.executable, "setup.py", "--quiet", "egg_info", "--egg-base", str(tmp_path / "notes")]
    command += ["build_py", "--build-lib", str(tmp_path)]
    environment = {**os.environ, "VIDEOSOFT_NO_EXT": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    recipes = list_files(ROOT / "configs", ("*.yaml", "*.py"))
    assets = list_files(ROOT / "videosoft", ("assets/*",))
    assert list_files(tmp_path / "videosoft", ("*.py", "*.yaml", "assets/*")) == (
        list_files(ROOT / "videosoft", ("*.py",)) | {f"configs/{name}" for name in recipes} | assets
    )
