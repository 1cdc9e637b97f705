"""The files that an evaluation leaves beside its predictions."""

from pathlib import Path
from typing import Any

from videosoft.evaluation.calibration import compute_calibration
from videosoft.evaluation.confusion import compute_confusion, write_confusion
from videosoft.evaluation.metrics import compute_metrics, write_metrics
from videosoft.evaluation.predictions import PredictionTable


def write_evaluation(
    output_dir: str | Path,
    table: PredictionTable,
    *,
    command: str,
    num_listed: int | None = None,
    num_repeated: int | None = None,
) -> dict[str, Any]:
    """Write metrics.json, confusion_matrix.csv and .png, and reliability.png of predictions; return the metrics.

    Without any evaluated video there is nothing to draw, and only metrics.json is written.

    Args:
        output_dir: a folder that is there.
        table: the predictions.
        command: what was run, kept in metrics.json.
        num_listed: videos of the split, if only some of them were taken.
        num_repeated: evaluated videos of which a clip repeats frames, if that is known.

    Raises:
        InputError: a file cannot be written.
    """
    output_dir = Path(output_dir)
    metrics = compute_metrics(table, command=command, num_listed=num_listed, num_repeated=num_repeated)
    write_metrics(output_dir / "metrics.json", metrics)
    if metrics["num_evaluated"]:
        # Here, not at the top: a training that only averages views need not wait for what draws.
        from videosoft.evaluation.figures import draw_confusion, draw_reliability

        title = (
            f"top-1 {metrics['top1']:.2%} of {metrics['num_evaluated']} videos ({metrics['num_videos']} listed), "
            f"{table.protocol} views"
        )
        confusion = compute_confusion(table)
        write_confusion(output_dir / "confusion_matrix.csv", confusion, table.class_names)
        draw_confusion(output_dir / "confusion_matrix.png", confusion, table.class_names, title=title)
        draw_reliability(output_dir / "reliability.png", compute_calibration(table), title=title)
    return metrics
