"""Compare evaluations of the same videos: is A better than B, and how sure is that?

  compare_predictions.py A B [C ...]              each further file against the first
  compare_predictions.py --a A1 A2 --b B1 B2      several runs (seeds) a side
  compare_predictions.py --counts 3795 3011 50000 published counts: only A right, only B right, all
  compare_predictions.py --table cells.csv        a published table of such counts

A file is a predictions.parquet (or the folder that holds it), a CSV, or a pickle of MMAction2 or SlowFast;
docs/evaluation.md has their formats, and what each number means.
"""

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from videosoft.atomic_files import check_output_folder
from videosoft.errors import InputError, run_command


def main() -> None:
    parser = _create_parser()
    arguments = parser.parse_args()
    _check_mode(parser, arguments)
    _check_output(arguments)
    command = shlex.join(["python", *sys.argv])
    if arguments.counts is not None:
        _judge_counts(arguments)
    elif arguments.table is not None:
        _judge_table(arguments, command)
    else:
        _compare_files(arguments, command)


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", help="the first is compared with each of the others")
    parser.add_argument("--a", nargs="+", metavar="FILE", help="runs of the first side")
    parser.add_argument(
        "--b", nargs="+", metavar="FILE", help="runs of the second side; as many: the i-th share a seed"
    )
    parser.add_argument("--names", nargs="+", metavar="NAME", help="what the report calls the sides")
    parser.add_argument(
        "--list",
        nargs="+",
        metavar="LIST",
        help="the test's list (lines of `path label`), since pickles name no videos: one for all, or one for each",
    )
    parser.add_argument(
        "--class_names",
        metavar="FILE",
        help="class names in the order of the labels, for files without: a line each, or a JSON list",
    )
    parser.add_argument("--counts", nargs="+", type=int, metavar="N", help="only A right, only B right, and all videos")
    parser.add_argument("--table", metavar="CSV", help="name, both_right, only_a_right, only_b_right, both_wrong")
    parser.add_argument("--output", type=Path, help="folder for comparison.json, .md, .png and per_class.csv")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier comparison there")
    return parser


def _check_mode(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    sides = arguments.a is not None or arguments.b is not None
    modes = [bool(arguments.files), sides, arguments.counts is not None, arguments.table is not None]
    if sum(modes) != 1:
        parser.error("give files, or --a and --b, or --counts, or --table")
    if sides and (arguments.a is None or arguments.b is None):
        parser.error("--a and --b belong together")
    if arguments.files and len(arguments.files) < 2:
        parser.error("a comparison needs at least two files")
    if arguments.counts is not None and len(arguments.counts) not in (2, 3):
        parser.error("--counts takes two or three numbers: only A right, only B right, all")
    num_sides = len(arguments.files) or 2
    if arguments.names is not None and len(arguments.names) != num_sides:
        parser.error(f"--names needs {num_sides} names")


def _check_output(arguments: argparse.Namespace) -> None:
    if arguments.output is None:
        return
    if arguments.counts is not None:
        raise InputError("--counts prints its answer only: leave out --output, or give a --table.")
    check_output_folder(arguments.output)
    if not arguments.overwrite and (arguments.output / "comparison.json").exists():
        raise InputError(f"{arguments.output} already holds a comparison: pass --overwrite, or another --output.")


def _judge_counts(arguments: argparse.Namespace) -> None:
    from videosoft.evaluation import mcnemar_test
    from videosoft.evaluation.comparison import compute_tango_interval

    only_a, only_b, *total = arguments.counts
    test = mcnemar_test(only_a, only_b)
    interval = compute_tango_interval(only_a, only_b, total[0]) if total else None
    print(f"McNemar's test ({test.method}): chi2 {test.statistic:.2f}, p {test.p_value:.3g}")
    if interval is not None:
        difference, low, high = (100 * value for value in ((only_a - only_b) / total[0], *interval))
        print(f"difference A - B: {difference:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f} (Tango)")


def _judge_table(arguments: argparse.Namespace, command: str) -> None:
    from videosoft.evaluation.comparison import (
        format_published_table,
        judge_published_table,
        read_published_table,
        write_report,
    )

    report = judge_published_table(read_published_table(arguments.table), source=arguments.table, command=command)
    name_a, name_b = arguments.names or ("A", "B")
    text = format_published_table(report, name_a=name_a, name_b=name_b)
    print(text, end="")
    if arguments.output is not None:
        write_report(arguments.output, report, text)


def _compare_files(arguments: argparse.Namespace, command: str) -> None:
    # Here, not at the top: --help and wrong arguments need not wait for torch.
    from videosoft.evaluation.comparison import Side, compare_sides, format_comparison, write_comparison

    if arguments.files:
        names = arguments.names or _name_files(arguments.files)
        runs = _read_files(arguments, arguments.files, names)
        sides = [Side(name, (run,)) for name, run in zip(names, runs, strict=True)]
    else:
        files = [*arguments.a, *arguments.b]
        runs = _read_files(arguments, files, _name_files(files))
        name_a, name_b = arguments.names or ("A", "B")
        sides = [Side(name_a, tuple(runs[: len(arguments.a)])), Side(name_b, tuple(runs[len(arguments.a) :]))]
    report = compare_sides(sides, command=command)
    print(format_comparison(report), end="")
    if arguments.output is not None:
        write_comparison(arguments.output, report)
        print(f"\n{arguments.output}")


def _read_files(arguments: argparse.Namespace, files: list[str], names: list[str]) -> list[Any]:
    from videosoft.data import read_class_names
    from videosoft.evaluation.comparison import is_pickle, read_outcomes, read_video_list

    pickles = [file for file in files if is_pickle(file)]
    lists = [read_video_list(path) for path in arguments.list or ()]
    if len(lists) == 1:
        lists *= len(pickles)
    if lists and len(lists) != len(pickles):
        raise InputError(
            f"--list names {len(lists)} lists for {len(pickles)} pickles: give one for all, or one for each."
        )
    by_file = dict(zip(pickles, lists, strict=True)) if lists else {}
    class_names = None if arguments.class_names is None else read_class_names(arguments.class_names)
    return [
        read_outcomes(file, name=name, video_list=by_file.get(file), class_names=class_names)
        for file, name in zip(files, names, strict=True)
    ]


def _name_files(files: list[str]) -> list[str]:
    """The file's name, or its folder's for predictions.parquet; the whole paths where these are not different."""
    paths = [Path(file).absolute() for file in files]
    stems = [path.stem if path.suffix and path.stem != "predictions" else _name_folder(path) for path in paths]
    return stems if len(set(stems)) == len(stems) else list(files)


def _name_folder(path: Path) -> str:
    return path.parent.name if path.suffix else path.name


if __name__ == "__main__":
    sys.exit(run_command(main))
