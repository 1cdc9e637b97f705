"""Builds csrc/ into videosoft/ops/_softpool.so; everything else about the package is in pyproject.toml.

Without a working compiler, without torch, or with VIDEOSOFT_NO_EXT=1, the package installs all the same and SoftPool
runs in plain PyTorch. VIDEOSOFT_CXXFLAGS is added to the compiler's flags, after our own.
"""

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from setuptools import Extension, setup

# Relative to this file, as setuptools wants them.
ROOT = Path(__file__).resolve().parent
SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("csrc/**/*.cpp"))
HEADERS = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("csrc/**/*.h"))
# The oldest torch whose stable ABI the library asks for: 2.10.
TORCH_TARGET_VERSION = "0x020a000000000000"


def warn(reason: str) -> None:
    line = "*" * 100
    print(
        f"{line}\nWARNING: videosoft is installed WITHOUT its compiled kernels: {reason}.\n"
        "SoftPool will run in plain PyTorch: the same numbers, several times slower and larger in memory.\n"
        f"`python -c 'import videosoft.ops; print(videosoft.ops.describe_backends())'` shows the state.\n{line}",
        file=sys.stderr,
        flush=True,
    )


def create_extension() -> tuple[list[Extension], dict[str, Any]]:
    """The extension and the command that builds it; nothing to build if that cannot work."""
    if os.environ.get("VIDEOSOFT_NO_EXT", "0") not in ("", "0"):
        warn("VIDEOSOFT_NO_EXT is set")
        return [], {}
    try:
        from torch.utils.cpp_extension import BuildExtension, CppExtension
    except Exception as error:  # a torch that is absent or does not import must not stop the installation
        warn(f"torch cannot be imported to build them ({type(error).__name__}: {error})")
        return [], {}

    class BuildKernels(BuildExtension):
        """BuildExtension that turns a failed build into a warning."""

        def run(self) -> None:
            try:
                super().run()
            except (Exception, SystemExit) as error:
                # Nothing of a failed build may be installed, nor an older library stand in for it unnoticed.
                self.extensions = []
                Path("videosoft/ops/_softpool.so").unlink(missing_ok=True)
                warn(f"building them failed ({type(error).__name__}: {error})")

    extension = CppExtension(
        "videosoft.ops._softpool",
        SOURCES,
        depends=HEADERS,
        py_limited_api=True,
        extra_compile_args={
            "cxx": [
                "-O3",
                "-g0",
                "-fvisibility=hidden",
                "-fno-math-errno",
                "-fno-trapping-math",
                f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}",
                *shlex.split(os.environ.get("VIDEOSOFT_CXXFLAGS", "")),
            ]
        },
    )
    return [extension], {"build_ext": BuildKernels.with_options(no_python_abi_suffix=True)}


ext_modules, cmdclass = create_extension()
# One wheel for every Python from 3.10 on: the library holds no Python at all.
options = {"bdist_wheel": {"py_limited_api": "cp310"}} if ext_modules else {}
setup(ext_modules=ext_modules, cmdclass=cmdclass, options=options)
