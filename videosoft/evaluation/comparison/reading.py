"""Any file that an evaluation may have left."""

from pathlib import Path

from videosoft.errors import InputError
from videosoft.evaluation.comparison.csv_predictions import read_csv_predictions
from videosoft.evaluation.comparison.dumps_of_others import read_dump
from videosoft.evaluation.comparison.outcomes import Outcomes, reduce_predictions
from videosoft.evaluation.comparison.video_lists import VideoList
from videosoft.evaluation.predictions import iterate_predictions

PREDICTIONS_NAME = "predictions.parquet"


def is_pickle(path: str | Path) -> bool:
    """Whether a file begins as a pickle does, of protocol 2 or later."""
    try:
        with Path(path).open("rb") as file:
            return file.read(1) == b"\x80"
    except OSError:
        return False


def read_outcomes(
    path: str | Path,
    *,
    name: str,
    video_list: VideoList | None = None,
    class_names: tuple[str, ...] | None = None,
) -> Outcomes:
    """Read predictions.parquet (or the folder that holds it), a CSV, or a pickle of MMAction2 or SlowFast.

    The content tells which, not the name.

    Args:
        path: the file.
        name: what the report calls it.
        video_list: videos in the order of a pickle's rows.
        class_names: names in the order of the numbers, for files without them.

    Raises:
        InputError: none of these, or one that is wrong.
    """
    path = Path(path)
    if path.is_dir():
        path = path / PREDICTIONS_NAME
    if not path.is_file():
        raise InputError(f"predictions file {path} does not exist")
    if is_pickle(path):
        return read_dump(path, name=name, video_list=video_list, class_names=class_names)
    with path.open("rb") as file:
        start = file.read(4)
    if start == b"PAR1":
        return reduce_predictions(iterate_predictions(path), name=name, path=str(path))
    return read_csv_predictions(path, name=name, class_names=class_names)
