"""The critical-difference diagram (Demsar, 2006): average ranks on a line, bars over what is not told apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from sparsebench.report.figure import RC, save, text_width
from sparsebench.stats import FEWEST_CLUSTERS, cluster_means, critical_difference, not_told_apart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 20
"""Most methods in a diagram that can be read; of more, the best are shown, with the test of all."""
_NAME = 8.5
"""Size of a label in points."""
_BAR, _LABEL = 0.16, 0.22
"""Heights of a bar and of a label in inches."""


def critical_figure(ranks: pd.DataFrame, stem: Path) -> list[Path]:
    """Friedman ranks with Nemenyi's test of all pairs at 5 %, from ranks in blocks (task, sparsity, seed).

    Blocks of one network are not independent, so a block of the test is a run (task, seed): its value is the mean of
    the method's ranks over the sparsities. No diagram for fewer than three methods or ``FEWEST_CLUSTERS`` runs.
    """
    values = cluster_means(ranks)
    if values.shape[1] < 3 or len(values) < FEWEST_CLUSTERS:
        return []
    import matplotlib
    from matplotlib.figure import Figure

    average = values.rank(axis="columns").mean().sort_values(kind="stable")
    apart = critical_difference(len(average), len(values))
    shown = average.iloc[:MOST]
    groups = not_told_apart(shown.tolist(), apart)
    levels = _levels(groups)
    depth = _BAR * (max(levels, default=0) + 2)
    below = depth + _LABEL * ((len(shown) + 1) // 2)
    with matplotlib.rc_context(RC):
        side = max(2.4, 0.2 + text_width((_named(*item) for item in shown.items()), _NAME))
        width, height = 4.8 + 2 * side, below + 0.85
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((side / width, 0.1 / height, 4.8 / width, below / height))
        room = shown.iloc[-1] - shown.iloc[0] or 1.0
        axes.set(xlim=(shown.iloc[0] - 0.03 * room, shown.iloc[-1] + 0.03 * room), ylim=(below, 0))
        axes.xaxis.tick_top()
        axes.yaxis.set_visible(False)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.spines["top"].set_visible(True)
        axes.tick_params(labelsize=8, length=3)
        _labels(axes, shown, depth)
        for (first, last), level in zip(groups, levels, strict=True):
            ends = shown.iloc[[first, last]]
            axes.plot(ends, [_BAR * (level + 1)] * 2, color="#CC6677", lw=2.6, solid_capstyle="round", zorder=3)
        of = f"best {len(shown)} of {len(average)} methods" if len(shown) < len(average) else f"{len(shown)} methods"
        axes.set_title(
            f"average rank in {len(values)} runs (task, seed), {of}; bars join what is less than {apart:.2f} apart",
            fontsize=9, fontweight="normal", pad=10,
        )  # fmt: skip
        return save(figure, stem)


def _levels(groups: list[tuple[int, int]]) -> list[int]:
    """The lines that bars are drawn on, so that no two on one line touch."""
    ends: list[int] = []
    levels = []
    for first, last in groups:
        level = next((i for i, end in enumerate(ends) if end < first), len(ends))
        ends[level:level + 1] = [last]  # fmt: skip
        levels.append(level)
    return levels


def _labels(axes: Axes, shown: pd.Series, depth: float) -> None:
    """The better half on the left, from the top; the others on the right, the worst on top."""
    from matplotlib.collections import LineCollection

    half = (len(shown) + 1) // 2
    low, high = axes.get_xlim()
    places = [(i, low, "right", -3) for i in range(half)]
    places += [(len(shown) - 1 - i, high, "left", 3) for i in range(half, len(shown))]
    lines = []
    for (name, rank), (row, edge, side, gap) in zip(shown.items(), places, strict=True):
        height = depth + _LABEL * row
        lines.append([(rank, 0), (rank, height), (edge, height)])
        axes.annotate(
            _named(name, rank, side), (edge, height), xytext=(gap, 0), textcoords="offset points", ha=side,
            va="center", fontsize=_NAME, color="#333333",
        )  # fmt: skip
    axes.add_collection(LineCollection(lines, colors="#555555", linewidths=0.8, clip_on=False), autolim=False)
    axes.plot(shown.tolist(), [0] * len(shown), "o", ms=4.5, color="#332288", clip_on=False, zorder=4)


def _named(name: str, rank: float, side: str = "right") -> str:
    """A method with its rank, which is next to the line that leads to it."""
    return f"{name}  ({rank:.2f})" if side == "right" else f"({rank:.2f})  {name}"
