"""Plots of a scoring run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from videosoft.atomic_files import replace_when_done
from videosoft.explain.scores.names import is_fresh
from videosoft.explain.scores.summary import list_subjects
from videosoft.explain.scores.table import Curve, ScoreTable

__all__ = ["FIGURE_NAMES", "draw_figures"]

FIGURE_NAMES = ("localization.png", "faithfulness.png", "randomization.png", "similarity.png")
_DPI = 120
_TWO_VARIANTS = " (two variants)"


def draw_figures(
    folder: Path, table: ScoreTable, curves: Sequence[Sequence[Curve]], is_chosen: npt.NDArray[np.bool_], title: str
) -> list[str]:
    """Draw what the chosen clips (N,) have scores for into PNG files, and return their names.

    localization: energy in the box of each map. faithfulness: mean probability while voxels come in or go.
    randomization: rank correlation with the maps of fresh weights. similarity: between A and B, and between seeds.
    """
    columns = {key: column[is_chosen] for key, column in table.columns.items()}
    chosen_curves = [clip_curves for clip_curves, chosen in zip(curves, is_chosen, strict=True) if chosen]
    subjects = list_subjects(table)
    energies = {name: column for (score, name, _), column in columns.items() if score == "energy_in_box"}
    drawn = []
    if any(_defined(column).size for column in energies.values()):
        figure, axes = _create_figure(len(energies), title)
        _draw_boxes(axes, energies)
        axes.set_xlabel("energy in the true box")
        drawn.append(_save(figure, folder / "localization.png"))
    if any(chosen_curves):
        drawn.append(_save(_draw_curves(chosen_curves, title), folder / "faithfulness.png"))
    fresh = {
        against: column
        for (score, name, against), column in columns.items()
        if score == "rank_correlation" and is_fresh(against, name)
    }
    if any(_defined(column).size for column in fresh.values()):
        figure, axes = _create_figure(len(fresh), title)
        _draw_boxes(axes, fresh)
        axes.axvline(0, color="0.6", linewidth=0.8)
        axes.set_xlabel("rank correlation with the trained network's map")
        drawn.append(_save(figure, folder / "randomization.png"))
    pairs = {
        f"{name} and {against}{'' if name[0] == against[0] else _TWO_VARIANTS}": column
        for (score, name, against), column in columns.items()
        if score == "rank_correlation" and name in subjects and against in subjects
    }
    # Two seeds first: they are what two variants are held against.
    pairs = dict(sorted(pairs.items(), key=lambda item: item[0].endswith(_TWO_VARIANTS)))
    if any(_defined(column).size for column in pairs.values()):
        figure, axes = _create_figure(len(pairs), title)
        _draw_boxes(axes, pairs)
        axes.set_xlabel("rank correlation of the two maps")
        drawn.append(_save(figure, folder / "similarity.png"))
    return drawn


def _create_figure(num_rows: int, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 1.4 + 0.36 * num_rows), layout="constrained")
    figure.suptitle(title, parse_math=False, fontsize=10)
    return figure, figure.add_subplot()


def _draw_boxes(axes: Axes, columns: dict[str, npt.NDArray[np.float64]]) -> None:
    names = list(columns)[::-1]  # the first one on top
    axes.boxplot(
        [_defined(columns[name]) for name in names],
        orientation="horizontal",
        widths=0.6,
        flierprops={"markersize": 2, "markeredgecolor": "0.6"},
        medianprops={"color": "#c03000"},
    )
    labels = [f"{name} ({len(_defined(columns[name]))})" for name in names]
    axes.set_yticks(range(1, len(names) + 1), labels, parse_math=False)


def _draw_curves(curves: Sequence[Sequence[Curve]], title: str) -> Figure:
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    figure.suptitle(title, parse_math=False, fontsize=10)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, kind in zip(panels, ("insertion", "deletion"), strict=True):
        by_name: dict[tuple[str, str], list[tuple[float, ...]]] = {}
        for curve in (curve for clip_curves in curves for curve in clip_curves if curve.score == kind):
            by_name.setdefault((curve.map, curve.against), []).append(curve.probabilities)
        for (map_name, judge), rows in by_name.items():
            mean = np.mean(rows, axis=0)
            fractions = np.linspace(0, 1, len(mean))
            style = "-" if map_name[0] in "AB" and len(map_name) == 1 else "--"
            area = np.trapezoid(mean, fractions)
            axes.plot(fractions, mean, style, label=f"{map_name} on {judge}: {area:.3f}")
        axes.set_xlabel(f"share of the voxels {'put in' if kind == 'insertion' else 'taken away'}")
        axes.set_title(kind, fontsize=10)
        axes.legend(fontsize=7)
        axes.set_ylim(0, 1)
    panels[0].set_ylabel("mean probability of the target")
    return figure


def _defined(column: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return column[~np.isnan(column)]


def _save(figure: Figure, path: Path) -> str:
    with replace_when_done(path) as temporary_path:
        figure.savefig(temporary_path, dpi=_DPI, format="png")
    return path.name
