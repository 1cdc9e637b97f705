"""Builds csrc/ into videosoft/ops/_softpool.so and _softpool_cuda.so; the rest of the package is in pyproject.toml.

Without a working compiler, without torch, or with VIDEOSOFT_NO_EXT=1, the package installs all the same and SoftPool
runs in plain PyTorch. VIDEOSOFT_CXXFLAGS is added to the compiler's flags, after our own.

The CUDA kernels are a library of their own, so that one wheel is imported with and without CUDA. They are built where
torch has CUDA and nvcc is found (CUDA_HOME, /usr/local/cuda, or on the PATH), unless VIDEOSOFT_NO_CUDA=1; without them
CUDA tensors are pooled in plain PyTorch. Their architectures are those of TORCH_CUDA_ARCH_LIST ("all": those that
nvcc 13 knows, for wheels), else those of the GPUs at hand, else 9.0 with PTX.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from setuptools import Extension, find_packages, setup

# Relative to this file, as setuptools wants them.
ROOT = Path(__file__).resolve().parent
CUDA_FOLDER = "csrc/cuda/"
ALL_SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("csrc/**/*.c*"))
SOURCES = [source for source in ALL_SOURCES if not source.startswith(CUDA_FOLDER)]
CUDA_SOURCES = [source for source in ALL_SOURCES if source.startswith(CUDA_FOLDER)]
HEADERS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("csrc/**/*.h"))
NAME = "videosoft.ops._softpool"
CUDA_NAME = "videosoft.ops._softpool_cuda"
# The oldest torch whose stable ABI the library asks for: 2.10.
TORCH_TARGET_VERSION = "0x020a000000000000"
ALL_ARCHITECTURES = "7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"
# Where no GPU says otherwise. Newer ones compile its PTX when the library is loaded.
DEFAULT_ARCHITECTURES = "9.0+PTX"


def warn(reason: str) -> None:
    line = "*" * 100
    print(
        f"{line}\nWARNING: videosoft is installed WITHOUT its compiled kernels: {reason}.\n"
        "SoftPool will run in plain PyTorch: the same numbers, several times slower and larger in memory.\n"
        f"`python -c 'import videosoft.ops; print(videosoft.ops.describe_backends())'` shows the state.\n{line}",
        file=sys.stderr,
        flush=True,
    )


def warn_of_cuda(reason: str) -> None:
    print(
        f"WARNING: videosoft is installed without its CUDA kernels: {reason}.\n"
        "CUDA tensors will be pooled in plain PyTorch.",
        file=sys.stderr,
        flush=True,
    )


def find_library(name: str) -> Path:
    """Where a build in place puts an extension."""
    return Path(f"{name.replace('.', '/')}.so")


def report_failure(name: str, error: BaseException) -> None:
    # Nothing of a failed build may be installed, nor an older library stand in for it unnoticed.
    find_library(name).unlink(missing_ok=True)
    warn_of = warn_of_cuda if name == CUDA_NAME else warn
    warn_of(f"building them failed ({type(error).__name__}: {error})")


def is_set(variable: str) -> bool:
    return os.environ.get(variable, "0") not in ("", "0")


def find_cuda_obstacle() -> str | None:
    """Why the CUDA kernels are not built, or None; puts CUDA_HOME and TORCH_CUDA_ARCH_LIST where torch reads them."""
    import torch

    if is_set("VIDEOSOFT_NO_CUDA"):
        return "VIDEOSOFT_NO_CUDA is set"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    if nvcc := shutil.which("nvcc"):
        homes.append(str(Path(nvcc).resolve().parents[1]))
    home = next((home for home in homes if home and (Path(home) / "bin" / "nvcc").is_file()), None)
    if home is None:
        return "there is no nvcc (set CUDA_HOME to the folder that holds bin/nvcc)"
    version = subprocess.check_output([Path(home) / "bin" / "nvcc", "--version"], text=True)
    found = re.search(r"release (\d+)\.", version)
    if found and found.group(1) != torch.version.cuda.split(".")[0]:
        return f"nvcc {found.group(1)} is of another generation than torch's CUDA {torch.version.cuda}"
    os.environ["CUDA_HOME"] = home
    asked = os.environ.get("TORCH_CUDA_ARCH_LIST", "")
    if asked == "all":
        os.environ["TORCH_CUDA_ARCH_LIST"] = ALL_ARCHITECTURES
    elif not asked and torch.cuda.device_count() == 0:
        os.environ["TORCH_CUDA_ARCH_LIST"] = DEFAULT_ARCHITECTURES
    return None


def create_cuda_extension(cxx_flags: list[str]) -> Extension:
    from torch.utils import cpp_extension

    extension = cpp_extension.CUDAExtension(
        CUDA_NAME,
        CUDA_SOURCES,
        depends=HEADERS,
        py_limited_api=True,
        extra_compile_args={
            "cxx": [*cxx_flags, "-DUSE_CUDA"],
            "nvcc": [
                "-O3",
                "-Xcompiler=-fvisibility=hidden",
                "--threads=2",
                "-DUSE_CUDA",
                f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}",
            ],
        },
        # The library's own copy of the CUDA runtime: it gets along with torch's in any version, and needs no file that
        # is called libcudart.so.13.
        extra_link_args=["-Wl,--exclude-libs,ALL"],
    )
    extension.libraries = ["torch", "torch_cpu", "torch_cuda", "cudart_static", "rt", "dl", "pthread"]
    return extension


def create_extensions() -> tuple[list[Extension], dict[str, Any]]:
    """The extensions and the command that builds them; nothing to build if that cannot work."""
    if is_set("VIDEOSOFT_NO_EXT"):
        warn("VIDEOSOFT_NO_EXT is set")
        return [], {}
    try:
        # Before cpp_extension, which looks for CUDA when it is imported.
        obstacle = find_cuda_obstacle()
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except Exception as error:  # a torch that is absent or does not import must not stop the installation
        warn(f"torch cannot be imported to build them ({type(error).__name__}: {error})")
        return [], {}

    class BuildKernels(BuildExtension):
        """BuildExtension that turns a failed build into a warning; the CPU's kernels do not fail with the GPU's."""

        def run(self) -> None:
            if len(self.extensions) == 1:
                find_library(CUDA_NAME).unlink(missing_ok=True)
            try:
                super().run()
            except (Exception, SystemExit) as error:
                for extension in self.extensions:
                    report_failure(extension.name, error)
                self.extensions = []

        def build_extensions(self) -> None:
            self.failed: set[str] = set()
            super().build_extensions()
            self.extensions = [extension for extension in self.extensions if extension.name not in self.failed]

        def build_extension(self, extension: Extension) -> None:
            try:
                super().build_extension(extension)
            except (Exception, SystemExit) as error:
                self.failed.add(extension.name)
                report_failure(extension.name, error)

    cxx_flags = [
        "-O3",
        "-g0",
        "-fvisibility=hidden",
        "-fno-math-errno",
        "-fno-trapping-math",
        f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}",
        *shlex.split(os.environ.get("VIDEOSOFT_CXXFLAGS", "")),
    ]
    extension = CppExtension(
        NAME,
        SOURCES,
        depends=HEADERS,
        py_limited_api=True,
        extra_compile_args={"cxx": cxx_flags},
    )
    extensions = [extension]
    if obstacle is None:
        extensions.append(create_cuda_extension(cxx_flags))
    else:
        warn_of_cuda(obstacle)
    return extensions, {"build_ext": BuildKernels.with_options(no_python_abi_suffix=True)}


ext_modules, cmdclass = create_extensions()
# One wheel for every Python from 3.10 on: the library holds no Python at all.
options = {"bdist_wheel": {"py_limited_api": "cp310"}} if ext_modules else {}
# Here and not in pyproject.toml, which either finds packages or names them: the recipes lie outside the package.
packages = [*find_packages(str(ROOT), include=["videosoft*"]), "videosoft.configs"]

setup(packages=packages, ext_modules=ext_modules, cmdclass=cmdclass, options=options)
