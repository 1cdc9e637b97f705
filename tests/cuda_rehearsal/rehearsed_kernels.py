"""Sees to it that the kernels under test are the CUDA kernels built for the host, and that all of them ran.

As a pytest plugin it stops the run where they are not, and leaves out what tests the reference. As a program it reads
the logs of two runs, with 32-bit and with early 64-bit indices, and fails if a kernel ran in neither.
"""

import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
LIBRARY = FOLDER / "videosoft" / "ops" / "_softpool.so"

NUMBERS = {"float", "c10::Half", "c10::BFloat16"}
PATCHED = ("PoolSeparatePatches", "DifferentiateSeparatePatches", "PoolPatches", "DifferentiateTiles")
ACTIVATIONS = ("Identity", "ScaledRelu")
# What must have run, as (activation, kernel, number, window, layout) or (activation, kernel, number, index).
EXPECTED = {
    (activation, kernel, number, frames, layout)
    for activation in ACTIVATIONS
    for kernel in PATCHED
    for number in NUMBERS
    for frames in ("2-D", "3-D")
    for layout in ("contiguous", "channels last")
} | {
    (activation, kernel, number, index)
    for activation in ACTIVATIONS
    for kernel in ("PoolWindows", "DifferentiateTiles", "DifferentiateCells")
    for number in NUMBERS | {"double"}
    for index in ("int", "long int")
}


def pytest_configure(config: pytest.Config) -> None:
    from videosoft.ops import _library

    if _library.LOAD_ERROR is not None:
        raise pytest.UsageError(f"the rehearsed kernels do not load: {_library.LOAD_ERROR}")
    if _library.LIBRARY_PATH != LIBRARY or b"VIDEOSOFT_REHEARSAL_LOG" not in LIBRARY.read_bytes():
        raise pytest.UsageError(f"this run would not test the rehearsed kernels, but {_library.LIBRARY_PATH}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def tests_the_kernels(item: pytest.Item) -> bool:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        way = parameters.get("backend", parameters.get("kernels", "compiled"))
        return way == "compiled" and "instruction_set" not in parameters

    items[:] = [item for item in items if tests_the_kernels(item)]


def classify(name: str) -> tuple[str, ...]:
    """A kernel's name as the compiler writes it, as one of EXPECTED."""
    found = re.search(r"Kernel = (?:videosoft::)?(\w+)<([\w:]+), (.*)", name)
    assert found is not None, name
    kernel, number, rest = found.groups()
    activation = "ScaledRelu" if "ScaledRelu<" in rest else "Identity"
    window = re.search(r"StaticWindow<(true|false)", rest)
    if window is None:
        return activation, kernel, number, "long int" if "long int" in rest.split(">;")[0] else "int"
    separate = re.search(r"SeparatePatch<.*, (true|false), \d+>", rest)
    channels_last = separate.group(1) == "true" if separate else "ChannelsLastPatch" in rest
    frames = "3-D" if window.group(1) == "true" else "2-D"
    return activation, kernel, number, frames, "channels last" if channels_last else "contiguous"


def main() -> None:
    names = {line for path in sys.argv[1:] for line in Path(path).read_text().splitlines()}
    missing = EXPECTED - {classify(name) for name in names}
    if missing:
        sys.exit("error: these kernels never ran:\n" + "\n".join(sorted(map(str, missing))))
    print(f"All {len(EXPECTED)} kernels ran on the host.")


if __name__ == "__main__":
    main()
