"""The two figures: accuracy against sparsity, and dead neurons against sparsity, a panel per task.

The accuracy axis is logarithmic in the error (100 - accuracy): 99 to 98 % takes the room of 50 to 0 %, so the
good methods stay apart and the one that collapsed to chance is still in the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

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

_TICKS = [99.9, 99.8, 99.5, 99, 98, 97, 96, 95, 93, 90, 85, 80, 70, 60, 50, 40, 30, 20, 10, 0]


def accuracy_figure(cells: pd.DataFrame, table: pd.DataFrame, board: Mapping[str, Any], stem: Path) -> list[Path]:
    """Top-1 (%) against sparsity: means with 95 % intervals over seeds, the dense network dashed."""
    import matplotlib

    tasks, methods = _present(table, board)
    if not tasks or not methods:
        return []
    with matplotlib.rc_context(RC):
        look = styles(methods)
        figure, all_axes = panels(len(tasks))
        shifts = dict(zip(methods, dodge(board["sparsities"], len(methods)), strict=True))
        columns = all_axes[0].get_subplotspec().get_gridspec().ncols
        for place, (task, axes) in enumerate(zip(tasks, all_axes, strict=True)):
            rows = table[(table["task"] == task) & table["top1"].notna()]
            for method in methods:
                line = rows[rows["method"] == method].sort_values("sparsity")
                _accuracy_line(axes, line, shifts[method], look[method])
            _dense(axes, rows[rows["method"] == DENSE])
            chance = cells.loc[cells["task"] == task, "chance"].max()
            _error_axis(axes, rows, chance)
            sparsity_axis(axes, board["sparsities"], label=place >= len(tasks) - columns)
            axes.set_title(task, loc="left")
            if place % columns == 0:
                axes.set_ylabel("top-1 accuracy (%), log error")
        legend(figure, look, _by_accuracy(table, methods))
        return save(figure, stem)


def dead_neuron_figure(table: pd.DataFrame, board: Mapping[str, Any], stem: Path) -> list[Path]:
    """Dead neurons (%) against sparsity: static above, dynamic among the statically alive below.

    Tasks whose network has no ReLU have no such rates and no panel; without any there is no figure.
    """
    import matplotlib

    tasks, methods = _present(table[table["dead_static"].notna()], board)
    if not tasks or not methods:
        return []
    with matplotlib.rc_context(RC):
        look = styles(_present(table, board)[1])
        figure, all_axes = panels(2 * len(tasks), rows=2, height=2.4)
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
    """The legend reads like the right end of the curves: best on top."""
    means = table[table["method"].isin(methods)].groupby("method")["top1"].mean()
    return list(means.sort_values(ascending=False, kind="stable").index)


def _error(top1: pd.Series) -> np.ndarray:
    """Error in percent; a network without any error is drawn at 0.05 %, since 0 has no logarithm."""
    return np.maximum(100 * (1 - top1.to_numpy()), 0.05)


def _accuracy_line(axes: Axes, line: pd.DataFrame, shift: float, style) -> None:
    error = _error(line["top1"])
    half = np.nan_to_num(100 * line["top1_half"].to_numpy())
    # A wide interval may reach beyond 100 % accuracy, which a logarithm of the error does not know.
    reach = np.stack([np.minimum(half, 0.9 * error), half])
    axes.errorbar(compression(line["sparsity"]) + shift, error, yerr=reach, elinewidth=0.8, capsize=0, **style.line())[
        2
    ][0].set_alpha(0.55)


def _dense(axes: Axes, row: pd.DataFrame) -> None:
    if row.empty:
        return
    error, half = _error(row["top1"])[0], 100 * np.nan_to_num(row["top1_half"].iloc[0])
    axes.axhline(error, zorder=1, **DENSE_LINE)
    axes.axhspan(error - min(half, 0.9 * error), error + half, color="#000000", alpha=0.06, lw=0, zorder=0)


def _error_axis(axes: Axes, rows: pd.DataFrame, chance: float) -> None:
    """Error on a downward logarithmic axis, labelled with accuracy, cut just below chance."""
    errors = _error(rows["top1"])
    best, worst = errors.min(), errors.max()
    floor = 100 * (1 - chance) if chance == chance else 100.0
    low, high = min(worst * 1.2, max(floor, worst) * 1.04), best / 1.35
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    shown: list[float] = []
    for tick in (t for t in _TICKS if high <= 100 - t <= low):
        if not shown or np.log((100 - tick) / (100 - shown[-1])) > np.log(low / high) / 12:
            shown.append(tick)
    axes.set_yticks([100 - tick for tick in shown], [f"{tick:g}" for tick in shown])
    axes.minorticks_off()
    if floor < low:
        axes.axhline(floor, color="#bbbbbb", lw=1.0, ls=":", zorder=1)
        axes.annotate("chance", (0.01, floor), xycoords=("axes fraction", "data"), xytext=(0, 2),
                      textcoords="offset points", fontsize=7.5, color="#888888")  # fmt: skip
