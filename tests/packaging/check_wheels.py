"""Installs and builds the package in every way it should be, and tests its wheel in other versions of torch.

    python tests/packaging/check_wheels.py 2.15.0:2.13.0 2.15.0:2.10.0

Each argument is BUILD:RUN, the torch a wheel is built with and the torch that its tests run in. The package is what is
committed: it is taken from a fresh clone. Some gigabytes of torch are downloaded for each version.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videosoft.atomic_files import check_output_folder, write_json
from videosoft.errors import InputError, run_command

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("numpy", "pytest", "hypothesis", "setuptools>=77", "wheel", "ninja", "build")
WHEEL_TAG = "cp310-abi3-linux_x86_64"
REPORT = (
    "import json, torch, videosoft.ops as ops; "
    "print(json.dumps([ops.__file__, torch.__version__, ops.describe_backends()['cpu']]))"
)


class Environment:
    """A virtual environment with one torch and what the tests need, nothing of the package's other dependencies."""

    def __init__(self, folder: Path, torch_version: str) -> None:
        self.bin = folder / f"torch-{torch_version}" / "bin"
        if not (self.bin / "python").exists():
            run([sys.executable, "-m", "venv", self.bin.parent])
        self.pip("install", "--quiet", f"torch=={torch_version}", *TOOLS)

    def pip(self, *arguments: str | Path, **variables: str) -> None:
        self.python("-m", "pip", *arguments, **variables)

    def python(self, *arguments: str | Path, cwd: Path | None = None, **variables: str) -> str:
        # The console scripts of the environment (ninja) come first.
        path = os.pathsep.join([str(self.bin), os.environ["PATH"]])
        return run([self.bin / "python", *arguments], cwd=cwd, variables={"PATH": path} | variables)

    def install(self, package: Path, **variables: str) -> dict[str, str]:
        """Install a wheel or a source tree in the place of what is there; the CPU's backend that came of it."""
        self.pip("install", "--quiet", "--no-build-isolation", "--no-deps", "--force-reinstall", package, **variables)
        with tempfile.TemporaryDirectory() as elsewhere:
            file, torch_version, backend = json.loads(self.python("-c", REPORT, cwd=Path(elsewhere)))
        if not Path(file).is_relative_to(self.bin.parent):
            raise InputError(f"videosoft comes from {file}, not from {self.bin.parent}; unset PYTHONPATH")
        return {"torch": torch_version, **backend}


def main() -> None:
    args = parse_arguments()
    check_output_folder(args.output.parent)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        venvs = args.venvs.resolve() if args.venvs else work / "venvs"
        clone = clone_repository(work / "clone")
        environments = {version: Environment(venvs, version) for pair in args.pairs for version in pair}
        builds = {}
        for version in dict.fromkeys(build for build, _ in args.pairs):
            builds[version] = build_distributions(environments[version], clone, work / f"dist-{version}")
        record = {
            "format_version": 1,
            "command": " ".join(
                ["python", "tests/packaging/check_wheels.py", *(":".join(pair) for pair in args.pairs)]
            ),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "revision": run(["git", "-C", clone, "rev-parse", "--short=12", "HEAD"]).strip(),
            "python": platform.python_version(),
            "compiler": run([os.environ.get("CXX", "g++"), "--version"]).splitlines()[0],
            "cores": len(os.sched_getaffinity(0)),
            "installs": check_installs(environments[args.pairs[0][0]], clone, work),
            "builds": [{"torch": version, **build} for version, (build, _) in builds.items()],
            "runs": [
                {"built_with": build, **run_tests(environments[version], builds[build][1], clone, work)}
                for build, version in args.pairs
            ],
        }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, record)
    print(json.dumps(record, indent=2))
    wrong = find_faults(record)
    if wrong:
        raise InputError("; ".join(wrong))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="BUILD:RUN", help="two versions of torch, 2.10.0 or newer")
    parser.add_argument("--venvs", type=Path, help="keep the virtual environments here and use them again")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "results" / "packaging.json")
    args = parser.parse_args()
    for pair in args.pairs:
        if not re.fullmatch(r"\d+\.\d+\.\d+:\d+\.\d+\.\d+", pair):
            raise InputError(f"a pair must be two versions of torch such as 2.15.0:2.13.0, got {pair!r}")
    args.pairs = [tuple(pair.split(":")) for pair in args.pairs]
    return args


def clone_repository(folder: Path) -> Path:
    if run(["git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no"]):
        print("WARNING: what is not committed is not checked", file=sys.stderr)
    run(["git", "clone", "--quiet", ROOT, folder])
    return folder


def check_installs(environment: Environment, clone: Path, work: Path) -> dict[str, dict[str, str]]:
    """The backend after `pip install .` of a clean clone: with a compiler, told not to build, without a compiler."""
    (work / "empty").mkdir()
    without_compiler = os.pathsep.join([str(environment.bin), str(work / "empty")])
    variables = {
        "with_compiler": {},
        "told_not_to_build": {"VIDEOSOFT_NO_EXT": "1"},
        "without_compiler": {"PATH": without_compiler},
    }
    found = {}
    for name, changes in variables.items():
        run(["git", "-C", clone, "clean", "-dfxq"])
        found[name] = environment.install(clone, **changes)
    return found


def build_distributions(environment: Environment, clone: Path, folder: Path) -> tuple[dict[str, Any], Path]:
    """A source distribution and the wheel that is built from it."""
    run(["git", "-C", clone, "clean", "-dfxq"])
    started = time.perf_counter()
    environment.python("setup.py", "--quiet", "build_ext", cwd=clone)
    compile_seconds = time.perf_counter() - started
    run(["git", "-C", clone, "clean", "-dfxq"])
    environment.python("-m", "build", "--no-isolation", "--outdir", folder, clone)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    needed = run(["git", "-C", clone, "ls-files", "csrc", "configs", "videosoft", "setup.py", "LICENSE"]).splitlines()
    with zipfile.ZipFile(wheel) as archive:
        library_bytes = [entry.file_size for entry in archive.infolist() if entry.filename.endswith("_softpool.so")]
    build = {
        "compile_seconds": round(compile_seconds, 1),
        "sdist": sdist.name,
        "sdist_lacks": sorted(set(needed) - packed),
        "wheel": wheel.name,
        "wheel_bytes": wheel.stat().st_size,
        "library_bytes": library_bytes[0] if library_bytes else None,
    }
    return build, wheel


def run_tests(environment: Environment, wheel: Path, clone: Path, work: Path) -> dict[str, Any]:
    """tests/ops on an installed wheel, from a folder where the package's sources are not."""
    found = environment.install(wheel)
    folder = Path(tempfile.mkdtemp(dir=work))
    # Not tests/conftest.py: it is for tests that need the package's other dependencies, too.
    run(["cp", "-r", clone / "tests" / "ops", clone / "pyproject.toml", folder])
    options = ["-p", "no:xdist", "-o", "addopts=", "-q", "--junitxml", folder / "report.xml"]
    try:
        environment.python("-m", "pytest", *options, folder / "ops", cwd=folder)
    except InputError as error:
        # Failed tests are a result; a run that never came to its tests has none.
        if not (folder / "report.xml").exists():
            raise
        print(error, file=sys.stderr)
    report = next(ElementTree.parse(folder / "report.xml").iter("testsuite"))
    counts = {name: int(report.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    return {**found, **counts, "seconds": round(float(report.get("time", "0")), 1)}


def find_faults(record: Mapping[str, Any]) -> list[str]:
    expected = {"with_compiler": "compiled", "told_not_to_build": "reference", "without_compiler": "reference"}
    faults = [
        f"pip install {name.replace('_', ' ')} gives backend {record['installs'][name]['backend']}, not {backend}"
        for name, backend in expected.items()
        if record["installs"][name]["backend"] != backend
    ]
    for build in record["builds"]:
        if build["sdist_lacks"]:
            faults.append(f"{build['sdist']} lacks {', '.join(build['sdist_lacks'])}")
        if not build["wheel"].endswith(f"-{WHEEL_TAG}.whl"):
            faults.append(f"{build['wheel']} should be tagged {WHEEL_TAG}")
    for tested in record["runs"]:
        if tested["backend"] != "compiled" or tested["failures"] or tested["errors"]:
            faults.append(f"the wheel of torch {tested['built_with']} fails in torch {tested['torch']}: {tested}")
    return faults


def run(command: list[str | Path], *, cwd: Path | None = None, variables: Mapping[str, str] | None = None) -> str:
    """What the command printed; InputError with the end of it if it failed."""
    # Variables that would bring this checkout or another backend into the environments under test.
    inherited = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIDEOSOFT_BACKEND", "VIDEOSOFT_NO_EXT")
    }
    try:
        finished = subprocess.run(
            command, cwd=cwd, env=inherited | dict(variables or {}), capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise InputError(f"{command[0]} does not start: {error}") from error
    if finished.returncode != 0:
        end = "\n".join((finished.stdout + finished.stderr).splitlines()[-30:])
        raise InputError(f"{' '.join(map(str, command))} failed:\n{end}")
    return finished.stdout


if __name__ == "__main__":
    sys.exit(run_command(main))
