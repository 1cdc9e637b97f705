"""The choice of a backend, in fresh processes: the library is loaded when the package is imported."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import videosoft
from videosoft.ops._library import CUDA_LIBRARY_PATH, CUDA_LOAD_ERROR, LIBRARY_PATH, LOAD_ERROR

REPORT = "import json, videosoft.ops; print(json.dumps(videosoft.ops.describe_backends()))"


def run_python(code: str, python_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "VIDEOSOFT_BACKEND"}
    environment |= {"PYTHONPATH": str(python_path), **variables}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=python_path, capture_output=True, text=True
    )


@pytest.fixture
def package_copy(tmp_path: Path) -> Path:
    """A copy of the package without its compiled library."""
    source = Path(videosoft.__file__).parent
    for folder in ("ops", "layers"):
        shutil.copytree(source / folder, tmp_path / "videosoft" / folder, ignore=shutil.ignore_patterns("*.so"))
    for file in source.glob("*.py"):
        shutil.copy(file, tmp_path / "videosoft")
    return tmp_path


@pytest.mark.skipif(LOAD_ERROR is not None, reason=str(LOAD_ERROR))
def test_the_compiled_kernels_run_on_the_cpu(package_copy: Path) -> None:
    shutil.copy(LIBRARY_PATH, package_copy / "videosoft" / "ops")
    report = json.loads(run_python(REPORT, package_copy).stdout)
    assert report["cpu"]["backend"] == "compiled"
    assert report["cuda"]["backend"] == "reference"
    assert "_softpool_cuda.so is not built" in report["cuda"]["reason"] or "without CUDA" in report["cuda"]["reason"]
    forced = json.loads(run_python(REPORT, package_copy, VIDEOSOFT_BACKEND="reference").stdout)
    assert forced["cpu"]["backend"] == "reference"
    assert "VIDEOSOFT_BACKEND=reference" in forced["cpu"]["reason"]


@pytest.mark.skipif(CUDA_LOAD_ERROR is not None, reason=str(CUDA_LOAD_ERROR))
def test_the_cuda_kernels_load_where_torch_has_cuda(package_copy: Path) -> None:
    """With or without a GPU."""
    folder = package_copy / "videosoft" / "ops"
    shutil.copy(LIBRARY_PATH, folder)
    shutil.copy(CUDA_LIBRARY_PATH, folder)
    report = json.loads(run_python(REPORT, package_copy).stdout)
    assert report["cuda"]["backend"] == "compiled"
    assert report["cuda"]["reason"].startswith("kernels of _softpool_cuda.so, dispatched to cuda")
    forced = json.loads(run_python(REPORT, package_copy, VIDEOSOFT_BACKEND="reference").stdout)
    assert forced["cuda"]["backend"] == "reference"


@pytest.mark.skipif(LOAD_ERROR is not None, reason=str(LOAD_ERROR))
def test_a_broken_cuda_library_leaves_the_cpu_alone(package_copy: Path) -> None:
    shutil.copy(LIBRARY_PATH, package_copy / "videosoft" / "ops")
    (package_copy / "videosoft" / "ops" / CUDA_LIBRARY_PATH.name).write_bytes(b"no library at all")
    report = json.loads(run_python(REPORT, package_copy).stdout)
    assert report["cpu"]["backend"] == "compiled"
    assert report["cuda"]["backend"] == "reference"
    assert "does not work with torch" in report["cuda"]["reason"] or "without CUDA" in report["cuda"]["reason"]


def test_without_the_library_the_reference_runs_and_says_why(package_copy: Path) -> None:
    pool = "; import torch; print(videosoft.ops.softpool1d(torch.zeros(1, 4), 2).tolist())"
    finished = run_python(REPORT + pool, package_copy)
    report, output = finished.stdout.splitlines()
    assert json.loads(report)["cpu"]["backend"] == "reference"
    assert "is not built" in json.loads(report)["cpu"]["reason"]
    assert "setup.py build_ext" in json.loads(report)["cpu"]["reason"]
    assert output == "[[0.0, 0.0]]"


def test_a_broken_library_does_not_break_the_import(package_copy: Path) -> None:
    (package_copy / "videosoft" / "ops" / LIBRARY_PATH.name).write_bytes(b"no library at all")
    report = json.loads(run_python(REPORT, package_copy).stdout)
    assert report["cpu"]["backend"] == "reference"
    assert "does not work with torch" in report["cpu"]["reason"]


def test_an_unknown_backend_is_refused_by_name(package_copy: Path) -> None:
    finished = run_python("import videosoft.ops; print('imported'); " + REPORT, package_copy, VIDEOSOFT_BACKEND="fast")
    assert finished.stdout == "imported\n"
    assert finished.returncode != 0
    assert "InputError" in finished.stderr
    for word in ("VIDEOSOFT_BACKEND", "'fast'", "'reference'"):
        assert word in finished.stderr
