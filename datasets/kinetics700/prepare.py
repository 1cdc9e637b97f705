"""Kinetics-700 from nothing to what trains: download, unpack (or trim), encode, index, and optimize for object storage.

Every step can be ended and started again at any time: what is done stays whole and is not done again.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shards import Shard, add_shard_argument, find_default_shard

from videosoft.arguments import parse_count, parse_positive, parse_seconds
from videosoft.cores import count_cores
from videosoft.errors import InputError, run_command

if TYPE_CHECKING:
    from encode import EncodeSettings

_PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_download_parser(verbs)
    _add_unpack_parser(verbs)
    _add_trim_parser(verbs)
    _add_encode_parser(verbs)
    # Its arguments and its work are its own module's, which is loaded only for this verb: it needs much else.
    if sys.argv[1:2] == ["index"]:
        from index import add_index_parser

        add_index_parser(verbs)
    else:
        verbs.add_parser("index", help="list the videos that are there, with what they are, in manifest.parquet")
    _add_optimize_parser(verbs)
    arguments = parser.parse_args()
    if arguments.verb == "index":
        from index import run_index

        run_index(arguments)
        return
    runs = {
        "download": _run_download,
        "unpack": _run_unpack,
        "trim": _run_trim,
        "encode": _run_encode,
        "optimize": _run_optimize,
    }
    print(runs[arguments.verb](arguments, arguments.shard or find_default_shard()))


def _add_parser(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_shard_argument(parser)
    return parser


def _add_worker_argument(parser: argparse.ArgumentParser) -> None:
    default = count_cores()
    parser.add_argument("--num_workers", type=parse_positive, default=default, metavar="N", help="processes")


def _add_download_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    from download import SERVER, VERSIONS

    parser = _add_parser(verbs, "download", "get the published archives and annotations")
    parser.add_argument("--output", type=Path, required=True, metavar="ARCHIVES", help="<split>/*.tar.gz go here")
    parser.add_argument("--version", choices=list(VERSIONS), default="700_2020", help="which Kinetics")
    parser.add_argument("--splits", nargs="+", choices=("train", "val", "test"), default=["train", "val"])
    parser.add_argument("--server", default=SERVER, metavar="URL", help="a mirror with the same folders")
    parser.add_argument("--checksums", type=Path, metavar="FILE", help="SHA-256 of the archives, as sha256sum prints")
    parser.add_argument("--num_connections", type=parse_positive, default=4, metavar="N", help="files at a time")
    parser.add_argument("--stall_seconds", type=parse_seconds, default=60.0, help="silence that counts as a failure")
    parser.add_argument(
        "--num_retries", type=parse_count, default=8, help="failures in a row after which a file is given up"
    )
    parser.add_argument("--first_wait_seconds", type=parse_seconds, default=1.0, help="before a retry; then doubled")


def _run_download(arguments: argparse.Namespace, shard: Shard) -> str:
    from download import Patience, run_download

    return run_download(
        arguments.output,
        version=arguments.version,
        splits=arguments.splits,
        shard=shard,
        server=arguments.server,
        checksums=arguments.checksums,
        num_connections=arguments.num_connections,
        patience=Patience(arguments.stall_seconds, arguments.num_retries, arguments.first_wait_seconds),
    )


def _add_unpack_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add_parser(verbs, "unpack", "take the videos out of the archives")
    parser.add_argument("--archives", type=Path, required=True, help="folder with <split>/*.tar.gz")
    parser.add_argument("--output", type=Path, required=True, metavar="VIDEOS", help="<split>/[<label>/]*.mp4 go here")
    _add_worker_argument(parser)


def _run_unpack(arguments: argparse.Namespace, shard: Shard) -> str:
    from unpack import run_unpack

    return run_unpack(arguments.archives, arguments.output, shard=shard, num_workers=arguments.num_workers)


def _add_encode_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, metavar="ROOT", help="the encoded videos go here")
    parser.add_argument("--short_side", type=parse_positive, default=256, help="pixels; smaller videos keep their size")
    parser.add_argument("--gop", type=parse_positive, default=12, help="frames from key frame to key frame, at most")
    parser.add_argument("--crf", type=int, choices=range(52), default=23, metavar="0-51", help="x264's quality")
    parser.add_argument("--preset", choices=_PRESETS, default="medium", help="x264's speed")
    parser.add_argument("--time_limit", type=parse_seconds, default=600.0, help="seconds for one video")
    _add_worker_argument(parser)


def _get_settings(arguments: argparse.Namespace) -> "EncodeSettings":
    from encode import EncodeSettings

    if arguments.short_side % 2:
        raise InputError(f"--short_side is {arguments.short_side}; H.264 in yuv420p needs an even number")
    return EncodeSettings(arguments.short_side, arguments.gop, arguments.crf, arguments.preset)


def _add_trim_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add_parser(verbs, "trim", "cut annotated seconds out of full-length videos and encode them")
    parser.add_argument("--input", type=Path, required=True, metavar="VIDEOS", help="folder with <youtube_id>.mp4")
    parser.add_argument("--annotations", type=Path, nargs="+", required=True, metavar="CSV", help="Kinetics lists")
    _add_encode_arguments(parser)


def _run_trim(arguments: argparse.Namespace, shard: Shard) -> str:
    from trim import run_trim

    return run_trim(
        arguments.input,
        arguments.annotations,
        arguments.output,
        _get_settings(arguments),
        shard=shard,
        num_workers=arguments.num_workers,
        time_limit_seconds=arguments.time_limit,
    )


def _add_encode_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add_parser(verbs, "encode", "re-encode videos small and with many key frames")
    parser.add_argument("--input", type=Path, required=True, metavar="VIDEOS", help="folder with the unpacked videos")
    _add_encode_arguments(parser)


def _run_encode(arguments: argparse.Namespace, shard: Shard) -> str:
    from encode import run_encode

    return run_encode(
        arguments.input,
        arguments.output,
        _get_settings(arguments),
        shard=shard,
        num_workers=arguments.num_workers,
        time_limit_seconds=arguments.time_limit,
    )


def _add_optimize_parser(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _add_parser(verbs, "optimize", "pack videos into chunks that LitData reads from object storage")
    parser.add_argument("--root", type=Path, required=True, help="folder with <split>/<label>/*.mp4")
    parser.add_argument("--split", required=True, help="train, val or test")
    parser.add_argument("--annotations", type=Path, metavar="CSV", help="list of the split (default: ROOT/SPLIT.csv)")
    parser.add_argument("--output", type=Path, required=True, metavar="CHUNKS", help="folder for this split's chunks")
    parser.add_argument("--chunk_megabytes", type=parse_positive, default=64, help="size of a chunk")
    _add_worker_argument(parser)


def _run_optimize(arguments: argparse.Namespace, shard: Shard) -> str:
    from optimize import run_optimize

    return run_optimize(
        arguments.root,
        arguments.split,
        arguments.output,
        annotations=arguments.annotations,
        chunk_megabytes=arguments.chunk_megabytes,
        shard=shard,
        num_workers=arguments.num_workers,
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
