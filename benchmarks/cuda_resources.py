"""What every CUDA kernel takes of a multiprocessor: registers, spills, shared memory, and how wide it loads.

    python benchmarks/cuda_resources.py [--architecture 90] [--output FILE] [--check]

Compiles csrc/cuda with nvcc and reads `ptxas -v` and, where cuobjdump is found, the machine code; a GPU is not needed.
With --check, fails if a kernel for patches spills registers or does not load 16 bytes at once.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch.utils.cpp_extension import include_paths

ROOT = Path(__file__).resolve().parents[1]
DEFAULT_OUTPUT = ROOT / "benchmarks" / "results" / "cuda_resources.json"
TORCH_TARGET_VERSION = "0x020a000000000000"

ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\S+)'.*\n.*\n"
    r"\s*(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads\n"
    r".*?Used (?P<registers>\d+) registers"
)
LOADS = ("LDG.E.128", "LDG.E.64", "LDG.E", "LDG.E.U16", "STG.E.128", "STG.E.64", "STG.E", "STG.E.U16", "LDL", "STL")


def main() -> None:
    args = parse_arguments()
    nvcc = find_tool("nvcc", [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin"])
    if nvcc is None:
        sys.exit("error: there is no nvcc (set CUDA_HOME to the folder that holds bin/nvcc)")
    sources = sorted(ROOT.glob("csrc/cuda/*.cu"))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        cubins = [Path(folder) / f"{source.stem}.cubin" for source in sources]
        found = pool.map(lambda source, cubin: inspect(nvcc, source, args.architecture, cubin), sources, cubins)
        kernels = [kernel for of_source in found for kernel in of_source]
    version = re.search(r"release (\S+),", subprocess.check_output([nvcc, "--version"], text=True))
    record = {
        "format_version": 1,
        "command": f"python benchmarks/cuda_resources.py --architecture {args.architecture}",
        "architecture": f"sm_{args.architecture}",
        "nvcc": version.group(1) if version else None,
        "torch": torch.__version__,
        "kernels": sorted(kernels, key=lambda kernel: (kernel["kernel"], kernel["numbers"])),
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(record, indent=1) + "\n")
    print_table(record["kernels"])
    faults = [fault for kernel in kernels for fault in find_faults(kernel)]
    if args.check and faults:
        sys.exit("error: " + "\nerror: ".join(faults))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="90", help="compute capability without its dot (default: 90)")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def find_tool(name: str, folders: list[Path]) -> str | None:
    found = [str(folder / name) for folder in folders if (folder / name).is_file()]
    return found[0] if found else shutil.which(name)


def inspect(nvcc: str, source: Path, architecture: str, cubin: Path) -> list[dict[str, Any]]:
    """The kernels of one source file."""
    command = [nvcc, "-cubin", "-std=c++20", "-O3", f"-arch=sm_{architecture}", "-Xptxas=-v", "-DUSE_CUDA"]
    command += [f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}", *(f"-I{path}" for path in include_paths())]
    finished = subprocess.run([*command, str(source), "-o", str(cubin)], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        sys.exit(f"error: nvcc failed on {source}:\n{finished.stderr}")
    found = [match.groupdict() for match in ENTRY.finditer(finished.stderr + finished.stdout)]
    names = subprocess.run(
        ["c++filt"], input="\n".join(each["name"] for each in found), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    accesses = count_accesses(cubin)
    return [
        {
            **describe(name),
            "registers": int(each["registers"]),
            "stack_bytes": int(each["stack"]),
            "spill_bytes": int(each["stores"]) + int(each["loads"]),
            "accesses": accesses.get(each["name"]),
        }
        for each, name in zip(found, names, strict=True)
    ]


def describe(name: str) -> dict[str, str]:
    """A kernel's name in C++, taken apart."""
    short = re.sub(r"videosoft::|c10::", "", name)
    match = re.match(r"void run_(items|tiles)<(\w+), (\w+)<(\w+)(.*)> ?>\(", short)
    assert match is not None, short
    grid, index, kernel, numbers, rest = match.groups()
    if "ScaledRelu<" in rest:
        kernel = f"ReLU and {kernel}"
    window = re.search(r"StaticWindow<(\w+), (\d), (\d), (\d)>", rest)
    if window is None:
        return {"kernel": f"{kernel}, any window, {index} index", "grid": grid, "numbers": numbers}
    dims = "3-D" if window.group(1) == "true" else "2-D"
    last = re.search(r"SeparatePatch<.*, (true|false), \d+>", rest)
    channels_last = last.group(1) == "true" if last else "ChannelsLastPatch" in rest
    layout = "channels last" if channels_last else "contiguous"
    return {"kernel": f"{kernel}, {dims} {'/'.join(window.groups()[1:])}, {layout}", "grid": grid, "numbers": numbers}


def count_accesses(cubin: Path) -> dict[str, dict[str, int]]:
    """Loads and stores of every kernel by their width, in its machine code; nothing without cuobjdump."""
    try:
        import triton

        folders = [Path(triton.__file__).parent / "backends" / "nvidia" / "bin"]
    except ImportError:
        folders = []
    cuobjdump = find_tool("cuobjdump", folders)
    if cuobjdump is None:
        return {}
    code = subprocess.check_output([cuobjdump, "-sass", str(cubin)], text=True)
    counts = {}
    for function in code.split("Function : ")[1:]:
        operations = re.findall(r"\b((?:LDG|STG|LDL|STL)(?:\.\w+)*)", function)
        counts[function.split()[0]] = {name: operations.count(name) for name in LOADS if name in operations}
    return counts


def find_faults(kernel: dict[str, Any]) -> list[str]:
    name = f"{kernel['kernel']} of {kernel['numbers']}"
    if "any window" in kernel["kernel"]:
        return []
    faults = [f"{name} spills {kernel['spill_bytes']} bytes"] if kernel["spill_bytes"] else []
    if kernel["accesses"] is not None and "LDG.E.128" not in kernel["accesses"]:
        faults.append(f"{name} does not load 16 bytes at once")
    return faults


def print_table(kernels: list[dict[str, Any]]) -> None:
    print("| kernel | numbers | registers | stack | spills | 16-byte loads | 16-byte stores |")
    print("|---|---|---|---|---|---|---|")
    for kernel in kernels:
        accesses = kernel["accesses"] or {}
        cells = [kernel["kernel"], kernel["numbers"], kernel["registers"], kernel["stack_bytes"], kernel["spill_bytes"]]
        print("|", " | ".join(map(str, [*cells, accesses.get("LDG.E.128", ""), accesses.get("STG.E.128", "")])), "|")


if __name__ == "__main__":
    main()
