"""The two figures: accuracy against sparsity, and dead neurons against sparsity, a panel per task.

A board with more methods than lines can be told apart gets rows of dots instead (see ``dots``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sparsebench.report.dots import dot_figure
from sparsebench.report.error_axis import error, error_axis, reach
from sparsebench.report.figure import (
    DENSE_LINE,
    RC,
    compression,
    dodge,
    legend,
    panels,
    save,
    sparsity_axis,
    styles,
)
from sparsebench.report.table import DENSE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = 18
"""Most methods that are drawn as lines: two rounds of colours."""


def accuracy_figure(cells: pd.DataFrame, table: pd.DataFrame, board: Mapping[str, Any], stem: Path) -> list[Path]:
    """Top-1 (%) against sparsity: means with 95 % intervals over seeds, the dense network dashed."""
    import matplotlib

    tasks, methods = _present(table, board)
    if not tasks or not methods:
        return []
    if len(methods) > LINES:
        return dot_figure(cells, table, tasks, _by_accuracy(table, methods), stem)
    with matplotlib.rc_context(RC):
        look = styles(methods)
        figure, all_axes = panels(len(tasks), names=methods)
        shifts = dict(zip(methods, dodge(board["sparsities"], len(methods)), strict=True))
        columns = all_axes[0].get_subplotspec().get_gridspec().ncols
        for place, (task, axes) in enumerate(zip(tasks, all_axes, strict=True)):
            rows = table[(table["task"] == task) & table["top1"].notna()]
            for method in methods:
                line = rows[rows["method"] == method].sort_values("sparsity")
                _accuracy_line(axes, line, shifts[method], look[method])
            _dense(axes, rows[rows["method"] == DENSE])
            chance = cells.loc[cells["task"] == task, "chance"].max()
            error_axis(axes, error(rows["top1"]), chance, along="y")
            sparsity_axis(axes, board["sparsities"], label=place >= len(tasks) - columns)
            axes.set_title(task, loc="left")
            if place % columns == 0:
                axes.set_ylabel("top-1 accuracy (%), log error")
        legend(figure, look, _by_accuracy(table, methods))
        return save(figure, stem)


def dead_neuron_figure(table: pd.DataFrame, board: Mapping[str, Any], stem: Path) -> list[Path]:
    """Dead neurons (%) against sparsity: static above, dynamic among the statically alive below.

    Tasks whose network has no ReLU have no such rates and no panel; without any, or with too many methods for
    lines, there is no figure.
    """
    import matplotlib

    tasks, methods = _present(table[table["dead_static"].notna()], board)
    if not tasks or not methods or len(methods) > LINES:
        return []
    with matplotlib.rc_context(RC):
        look = styles(_present(table, board)[1])
        figure, all_axes = panels(2 * len(tasks), rows=2, height=2.4, names=methods)
        kinds = {
            "dead_static": "statically dead (%)",
            "dead_dynamic_alive": "dynamically dead,\nof the alive (%)",
        }
        for row, (column, label) in enumerate(kinds.items()):
            for place, task in enumerate(tasks):
                axes = all_axes[row * len(tasks) + place]
                for method in methods:
                    line = table[(table["task"] == task) & (table["method"] == method)].sort_values("sparsity")
                    axes.plot(compression(line["sparsity"]), 100 * line[column], **look[method].line())
                dense = table[(table["task"] == task) & (table["method"] == DENSE)][column]
                if dense.notna().any():
                    axes.axhline(100 * dense.iloc[0], zorder=1, **DENSE_LINE)
                axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
                sparsity_axis(axes, board["sparsities"], label=row == 1)
                if row == 0:
                    axes.set_title(task, loc="left")
                if place == 0:
                    axes.set_ylabel(label)
        legend(figure, look, _by_accuracy(table, methods))
        return save(figure, stem)


def _present(table: pd.DataFrame, board: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Tasks and methods that have anything to draw, in the order of the board; newcomers last."""
    drawn = table[table["top1"].notna()]
    here = set(drawn["method"]) - {DENSE}
    known = [method for method in board["methods"] if method in here]
    return [task for task in board["tasks"] if task in set(drawn["task"])], [
        *known,
        *sorted(here - set(known)),
    ]


def _by_accuracy(table: pd.DataFrame, methods: list[str]) -> list[str]:
    """The legend reads like the right end of the curves: best on top, those with fewer points below."""
    grouped = table[table["method"].isin(methods)].groupby("method")["top1"]
    order = grouped.agg(["count", "mean"]).sort_values(["count", "mean"], ascending=False, kind="stable")
    return list(order.index)


def _accuracy_line(axes: Axes, line: pd.DataFrame, shift: float, style) -> None:
    errors, places = error(line["top1"]), compression(line["sparsity"]) + shift
    bars = reach(errors, line["top1_half"])
    drawn = axes.errorbar(places, errors, yerr=bars, elinewidth=0.8, capsize=0, **style.line())
    drawn[2][0].set_alpha(0.55)


def _dense(axes: Axes, row: pd.DataFrame) -> None:
    if row.empty:
        return
    errors = error(row["top1"])
    (low,), (high,) = reach(errors, row["top1_half"])
    axes.axhline(errors[0], zorder=1, **DENSE_LINE)
    axes.axhspan(errors[0] - low, errors[0] + high, color="#000000", alpha=0.06, lw=0, zorder=0)
