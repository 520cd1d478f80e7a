"""The figure of a board with many methods: one row a method, one dot a sparsity, a panel per task.

Lines of fifty methods cannot be told apart; rows can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sparsebench.report.cells import sparsity_label
from sparsebench.report.error_axis import error, error_axis, reach
from sparsebench.report.figure import DENSE_LINE, RC, save
from sparsebench.report.table import DENSE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# From light to dark with sparsity; the darkest is read first.
_SHADES = ["#88CCEE", "#332288", "#CC6677", "#117733", "#AA4499", "#882255"]
_ROW = 0.165
"""Height of a row in inches."""


def dot_figure(
    cells: pd.DataFrame, table: pd.DataFrame, tasks: Sequence[str], order: Sequence[str], stem: Path
) -> list[Path]:
    """Top-1 (%) of every method, best on top, with 95 % intervals over seeds; the dense network dashed."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(RC):
        height, width = _ROW * len(order) + 1.1, 2.4 + 3.1 * len(tasks)
        figure = Figure(figsize=(width, height))
        all_axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        figure.subplots_adjust(
            left=2.3 / width, right=1 - 0.1 / width, bottom=0.75 / height, top=1 - 0.35 / height, wspace=0.06
        )
        places = {method: -i for i, method in enumerate(order)}
        sparsities = sorted(table.loc[table["method"] != DENSE, "sparsity"].unique())
        for task, axes in zip(tasks, all_axes, strict=True):
            rows = table[(table["task"] == task) & table["top1"].notna()]
            for i, sparsity in enumerate(sparsities):
                _dots(axes, rows[rows["sparsity"] == sparsity], places, i, len(sparsities), _SHADES[i % len(_SHADES)])
            for dense in error(rows.loc[rows["method"] == DENSE, "top1"]):
                axes.axvline(dense, zorder=1, **DENSE_LINE)
            error_axis(axes, error(rows["top1"]), cells.loc[cells["task"] == task, "chance"].max(), along="x")
            axes.set_title(task, loc="left")
            axes.set_xlabel("top-1 accuracy (%), log error")
            axes.set_yticks(list(places.values()), list(places), fontsize=7.5)
            axes.set_ylim(-len(order) + 0.4, 0.6)
            axes.tick_params(length=0, labelsize=8)
            axes.grid(True)
        _legend(figure, sparsities)
        return save(figure, stem)


def _dots(axes: Axes, rows: pd.DataFrame, places: Mapping[str, int], i: int, count: int, colour: str) -> None:
    rows = rows[rows["method"].isin(places.keys())]
    shift = 0.36 * ((count - 1) / 2 - i) / max(count - 1, 1)
    errors = error(rows["top1"])
    axes.errorbar(
        errors, rows["method"].map(places) + shift, xerr=reach(errors, rows["top1_half"]),
        ls="", marker="o", ms=3.2, color=colour, elinewidth=0.7, capsize=0,
    )  # fmt: skip


def _legend(figure: Any, sparsities: Sequence[float]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], ls="", marker="o", ms=4, color=_SHADES[i % len(_SHADES)], label=f"{sparsity_label(s)} pruned")
        for i, s in enumerate(sparsities)
    ]
    handles.append(Line2D([], [], label="dense", **DENSE_LINE))
    figure.legend(handles=handles, loc="lower left", frameon=False, ncols=1, fontsize=8, bbox_to_anchor=(0.0, 0.0))
