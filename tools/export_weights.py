"""Make a small file of a checkpoint: its weights in half precision, with all that rebuilds and describes them.

What only training needs (optimiser, schedule, counters) stays out; every tool reads the result like the original.
A name that ends in .safetensors makes a safetensors file, with the description as JSON in its metadata.
"""

import argparse
import sys
from pathlib import Path

from videosoft.atomic_files import check_output_folder, replace_when_done
from videosoft.errors import InputError, run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True, help="checkpoint of `lightning fit`")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    arguments = parser.parse_args()
    if arguments.output.exists() and not arguments.overwrite:
        raise InputError(f"{arguments.output} exists: pass --overwrite, or another --output.")
    if arguments.output.is_dir():
        raise InputError(f"{arguments.output} is a folder: name a file.")
    check_output_folder(arguments.output.parent)
    # Here, not at the top: --help and wrong arguments need not wait for torch.
    import torch

    from videosoft.models import export_weights, write_weight_file

    content = export_weights(arguments.ckpt_path, dtype=getattr(torch, arguments.dtype))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    with replace_when_done(arguments.output) as unfinished:
        write_weight_file(unfinished, content)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(run_command(main))
