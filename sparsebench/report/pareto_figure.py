"""The figure of the Pareto fronts: accuracy against sparsity, speed-up and training cost, averaged over the tasks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sparsebench.report.cells import sparsity_label
from sparsebench.report.error_axis import error, error_axis
from sparsebench.report.figure import DENSE_LINE, RC, compression, save, sparsity_axis, styles, text_width
from sparsebench.report.table import DENSE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 12
"""Most methods on fronts that get a colour and a name; the others stay grey."""

_PANELS_END = 10.0
"""Where the panels end and the legend begins, in inches."""
_NAME = 8.5
"""Size of a name in the legend in points."""
GREY = {"marker": ".", "ms": 5, "color": "#c4c4c4"}


def pareto_figure(points: pd.DataFrame, table: pd.DataFrame, board: Mapping[str, Any], stem: Path) -> list[Path]:
    """Every method and sparsity as a point, the fronts as steps; methods on a front have their colour, others are grey.

    Args:
        points: as from :func:`sparsebench.report.pareto.averaged`.
        table: the rows, for the dense network and the order of methods.
    """
    on_front = points[["front_sparsity", "front_speedup", "front_cost"]].any(axis=1) if len(points) else []
    if len(points) < 2 or not np.any(on_front):
        return []
    import matplotlib
    from matplotlib.figure import Figure

    counts = points[on_front]["method"].value_counts()
    order = [method for method in board["methods"] if method in counts.index] or list(counts.index)
    named = sorted(order, key=lambda method: -counts[method])[:NAMED]
    look = {method: style for method, style in styles(board["methods"]).items() if method in named}
    with matplotlib.rc_context(RC):
        width = _PANELS_END + 0.45 + max(1.75, text_width(named, _NAME))
        figure = Figure(figsize=(width, 3.6))
        all_axes = figure.subplots(1, 3, sharey=True)
        figure.subplots_adjust(left=0.67 / width, right=_PANELS_END / width, bottom=0.15, top=0.9, wspace=0.08)
        dense = table.loc[table["method"] == DENSE, "top1"].mean()
        errors = error(pd.concat([points["top1"], pd.Series([dense]).dropna()]))
        _sparsity(all_axes[0], points, look)
        _speedup(all_axes[1], points, look)
        _cost(all_axes[2], points, look)
        for axes in all_axes:
            axes.grid(True)
            axes.tick_params(length=3, labelsize=8)
            if dense == dense:
                axes.axhline(error(pd.Series([dense]))[0], zorder=1, **DENSE_LINE)
        sparsity_axis(all_axes[0], sorted(points["sparsity"].unique()), label=True)
        error_axis(all_axes[0], errors, float("nan"), along="y")
        all_axes[0].set_ylabel("top-1 accuracy (%), mean over tasks, log error")
        _legend(figure, look, len(set(points["method"]) - set(look)))
        return save(figure, stem)


def _sparsity(axes: Axes, points: pd.DataFrame, look: Mapping) -> None:
    _dots(axes, compression(points["sparsity"].to_numpy()), points, look)
    _step(axes, compression(points["sparsity"].to_numpy()), points, "front_sparsity", where="pre")
    axes.set_title("against sparsity", loc="left")


def _speedup(axes: Axes, points: pd.DataFrame, look: Mapping) -> None:
    axes.set_xscale("log", base=2)
    _dots(axes, points["speedup"].to_numpy(), points, look)
    _step(axes, points["speedup"].to_numpy(), points, "front_speedup", where="pre")
    _plain(axes, points["speedup"])
    axes.set_title("against speed-up", loc="left")
    axes.set_xlabel("theoretical speed-up (×, log scale)")


def _cost(axes: Axes, points: pd.DataFrame, look: Mapping) -> None:
    """A front for every sparsity: a sparser network is never cheaper to find."""
    axes.set_xscale("log", base=2)
    _dots(axes, points["cost"].to_numpy(), points, look)
    for sparsity, rows in points.groupby("sparsity"):
        place = _step(axes, rows["cost"].to_numpy(), rows, "front_cost", where="post")
        if place:
            axes.annotate(
                sparsity_label(sparsity), place, xytext=(0, 5), textcoords="offset points", fontsize=7.5, ha="center",
                color="#444444",
            )  # fmt: skip
    _plain(axes, points["cost"])
    axes.set_title("against training, at each sparsity", loc="left")
    axes.set_xlabel("training FLOPs / dense (log scale)")


def _dots(axes: Axes, places: np.ndarray, points: pd.DataFrame, look: Mapping) -> None:
    errors, methods = error(points["top1"]), points["method"].to_numpy()
    others = ~np.isin(methods, list(look))
    axes.plot(places[others], errors[others], **(GREY | {"ls": "", "zorder": 2}))
    for method, style in look.items():
        axes.plot(places[methods == method], errors[methods == method], **(style.line() | {"ls": "", "zorder": 3}))


def _step(axes: Axes, places: np.ndarray, points: pd.DataFrame, front: str, where: str) -> tuple | None:
    """The front as a staircase; the place of its last point, None without a front."""
    on = points[front].to_numpy() & np.isfinite(places)
    if not on.any():
        return None
    order = np.argsort(places[on], kind="stable")
    x, y = places[on][order], error(points["top1"])[on][order]
    axes.plot(x, y, drawstyle=f"steps-{where}", color="#222222", lw=0.9, alpha=0.65, zorder=2.5)
    return x[-1], y[-1]


def _plain(axes: Axes, values: pd.Series) -> None:
    """Powers of two as plain numbers."""
    low, high = np.floor(np.log2(values.min())), np.ceil(np.log2(values.max()))
    ticks = 2.0 ** np.arange(low, high + 1)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(values.min() / 1.15, values.max() * 1.3)


def _legend(figure: Any, look: Mapping, grey: int) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=method, **(style.line() | {"ls": ""})) for method, style in look.items()]
    if grey:
        handles.append(Line2D([], [], label=f"{grey} more", ls="", **GREY))
    handles.append(Line2D([], [], color="#222222", lw=0.9, alpha=0.65, label="Pareto front"))
    handles.append(Line2D([], [], label="dense", **DENSE_LINE))
    figure.legend(
        handles=handles, loc="center left", frameon=False, fontsize=_NAME,
        bbox_to_anchor=(_PANELS_END / figure.get_figwidth() + 0.005, 0.5),
    )  # fmt: skip
