"""The figure of a board with many methods: one row a method, one dot a sparsity, a panel per task.

Lines of fifty methods cannot be told apart; rows can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sparsebench.report.cells import sparsity_label
from sparsebench.report.error_axis import error, error_axis, reach
from sparsebench.report.figure import DENSE_LINE, RC, save, text_width
from sparsebench.report.table import DENSE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# From light to dark with sparsity; the darkest is read first.
_SHADES = ["#88CCEE", "#332288", "#CC6677", "#117733", "#AA4499", "#882255"]
_ROW = 0.165
"""Height of a row in inches."""
_NAME = 7.5
"""Size of a method's name in points."""
_COLUMNS = 5
"""Most panels side by side: more would not fit a page that can be read."""


def dot_figure(
    cells: pd.DataFrame, table: pd.DataFrame, tasks: Sequence[str], order: Sequence[str], stem: Path
) -> list[Path]:
    """Top-1 (%) of every method, best on top, with 95 % intervals over seeds; the dense network dashed."""
    import matplotlib

    with matplotlib.rc_context(RC):
        figure, all_axes = _panels(len(tasks), order)
        places = {method: -i for i, method in enumerate(order)}
        sparsities = sorted(table.loc[table["method"] != DENSE, "sparsity"].unique())
        for place, (task, axes) in enumerate(zip(tasks, all_axes, strict=True)):
            rows = table[(table["task"] == task) & table["top1"].notna()]
            for i, sparsity in enumerate(sparsities):
                _dots(axes, rows[rows["sparsity"] == sparsity], places, i, len(sparsities), _SHADES[i % len(_SHADES)])
            for dense in error(rows.loc[rows["method"] == DENSE, "top1"]):
                axes.axvline(dense, zorder=1, **DENSE_LINE)
            error_axis(axes, error(rows["top1"]), cells.loc[cells["task"] == task, "chance"].max(), along="x")
            axes.set_title(task, loc="left")
            axes.set_xlabel("top-1 accuracy (%), log error")
            axes.tick_params(length=0, labelsize=8)
            axes.grid(True, axis="x")
            _rows(axes, places, named=place % _COLUMNS == 0)
        _legend(figure, sparsities)
        return save(figure, stem)


def _panels(count: int, methods: Sequence[str]) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    columns, lines = min(count, _COLUMNS), -(-count // _COLUMNS)
    panel, left = _ROW * len(methods), max(2.3, 0.12 + text_width(methods, _NAME))
    height, width = lines * (panel + 0.85) + 0.5, left + 0.1 + 3.1 * columns
    figure = Figure(figsize=(width, height))
    grid = figure.add_gridspec(
        lines, columns, left=left / width, right=1 - 0.1 / width, bottom=0.9 / height, top=1 - 0.35 / height,
        wspace=0.06, hspace=0.85 / panel,
    )  # fmt: skip
    return figure, [figure.add_subplot(grid[divmod(i, columns)]) for i in range(count)]


def _rows(axes: Axes, places: Mapping[str, int], named: bool) -> None:
    """A line a method: one artist, where ticks of every panel are several each."""
    axes.set_yticks(list(places.values()) if named else [], list(places) if named else [], fontsize=_NAME)
    axes.set_ylim(-len(places) + 0.4, 0.6)
    heights = np.array(list(places.values()), dtype=float)
    x, y = _apart(np.zeros_like(heights), np.ones_like(heights), heights)
    axes.plot(x, y, transform=axes.get_yaxis_transform(), color=RC["grid.color"], lw=RC["grid.linewidth"], zorder=0.5)


def _apart(low: np.ndarray, high: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Horizontal lines as one line with gaps, which is one artist to draw.

    >>> _apart(np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.array([0.0, 1.0]))[0]
    array([ 1.,  3., nan,  2.,  4., nan])
    """
    gaps = np.full_like(low, np.nan)
    return np.stack([low, high, gaps], axis=1).ravel(), np.stack([heights, heights, gaps], axis=1).ravel()


def _dots(axes: Axes, rows: pd.DataFrame, places: Mapping[str, int], i: int, count: int, colour: str) -> None:
    rows = rows[rows["method"].isin(places.keys())]
    shift = 0.36 * ((count - 1) / 2 - i) / max(count - 1, 1)
    errors, heights = error(rows["top1"]), rows["method"].map(places).to_numpy() + shift
    low, high = reach(errors, rows["top1_half"])
    axes.plot(*_apart(errors - low, errors + high, heights), color=colour, lw=0.7)
    axes.plot(errors, heights, "o", ms=3.2, color=colour)


def _legend(figure: Figure, sparsities: Sequence[float]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], ls="", marker="o", ms=4, color=_SHADES[i % len(_SHADES)], label=f"{sparsity_label(s)} pruned")
        for i, s in enumerate(sparsities)
    ]
    handles.append(Line2D([], [], label="dense", **DENSE_LINE))
    width, height = figure.get_size_inches()
    left = figure.axes[0].get_position().x0
    figure.legend(
        handles=handles, loc="lower left", frameon=False, ncols=len(handles), fontsize=8,
        bbox_to_anchor=(left - 0.1 / width, 0.05 / height), borderaxespad=0,
    )  # fmt: skip
