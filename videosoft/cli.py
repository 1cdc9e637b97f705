"""The console script `lightning` (alias `videosoft`): answers what it can before torch is imported.

docs/decisions/0006-who-owns-the-lightning-script.md says why the script bears that name.
"""

import difflib
import importlib.util
import sys
from pathlib import Path

from videosoft._version import __version__
from videosoft.card_command import run_card
from videosoft.errors import InputError, run_command
from videosoft.predict_command import run_predict, takes_video_files
from videosoft.recipes import find_packaged_configs, find_packaged_overlays, read_headline, resolve_configs

VERBS = {
    "fit": "train, validating after every epoch",
    "validate": "one clip a video (1x1) of the validation split",
    "test": "several views a video (10x3 unless told otherwise): metrics.json and predictions.parquet",
    "predict": "the best classes of videos (--video FILES), or of a split: predictions.parquet, no metrics",
    "doctor": "what would go wrong with a fit: versions, coverage, decoding against training speed, memory",
    "card": "what a checkpoint was trained with: recipe, code, data, network",
}


def main() -> int:
    """Entry point of the console script; returns the exit code."""
    return run_command(_dispatch)


def _dispatch() -> None:
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_format_help())
        return
    if arguments[0] in ("-V", "--version"):
        print(f"videosoft {__version__}")
        return
    if arguments[0] == "configs":
        for name, path in {**find_packaged_configs(), **find_packaged_overlays()}.items():
            print(f"{name:<42} {read_headline(path)}")
        return
    if arguments[0] not in VERBS and not arguments[0].startswith("-"):
        _forward_to_lightning_sdk(arguments[0])
        return
    if arguments[0] == "predict" and takes_video_files(arguments[1:]):
        run_predict(arguments[1:])
        return
    if arguments[0] == "card":
        run_card(arguments[1:])
        return
    sys.argv = [sys.argv[0], *resolve_configs(arguments)]
    # A console script lacks the current folder on its path, which `class_path: my_module.MyClass` in a config needs.
    sys.path.insert(0, str(Path.cwd()))
    if arguments[0] == "doctor":
        from videosoft.training.doctor import run_doctor

        run_doctor()
        return
    from videosoft.training.command import run_lightning_cli

    run_lightning_cli()


def _forward_to_lightning_sdk(verb: str) -> None:
    """lightning-sdk owns a script of the same name: what is not ours goes there when it is installed."""
    if importlib.util.find_spec("lightning_sdk") is not None:
        from lightning_sdk.cli.entrypoint import main_cli

        main_cli()
        return
    nearest = difflib.get_close_matches(verb, [*VERBS, "configs"], n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise InputError(f"unknown verb {verb!r}.{hint} Known verbs: {', '.join([*VERBS, 'configs'])}.")


def _format_help() -> str:
    verbs = "\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items())
    return f"""videosoft {__version__}: train video networks, swap their pooling, find out whether it helped.

usage: lightning VERB --config RECIPE.yaml [--SECTION.KEY VALUE ...]

verbs:
{verbs}
  configs    list the packaged recipes, which --config finds by their bare name

examples:
  lightning fit --config r3d50_softpool.yaml --data.root /data/kinetics700
  lightning fit --config r3d50_softpool.yaml --model.network.pool avg --data.batch_size 64
  lightning predict --ckpt_path runs/r3d50_softpool/version_0/checkpoints/best.ckpt --video clip.mp4 folder/
  lightning test --config r3d50_softpool.yaml --ckpt_path runs/r3d50_softpool/version_0/checkpoints/best.ckpt

`lightning VERB --help` lists every key. `videosoft` and `python -m videosoft` are the same command."""
