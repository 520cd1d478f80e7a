"""An axis that is logarithmic in the error and labelled with accuracy.

99 to 98 % takes the room of 50 to 0 %, so the good methods stay apart and the one that collapsed to chance is still in
the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TICKS = [99.9, 99.8, 99.5, 99, 98, 97, 96, 95, 93, 90, 85, 80, 70, 60, 50, 40, 30, 20, 10, 0]


def error(top1: pd.Series) -> np.ndarray:
    """Error in percent; a network without any error is drawn at 0.05 %, since 0 has no logarithm."""
    return np.maximum(100 * (1 - top1.to_numpy()), 0.05)


def reach(errors: np.ndarray, half: pd.Series) -> np.ndarray:
    """Lengths of error bars ``[2, n]``; a wide interval may reach beyond 100 % accuracy, where no logarithm is."""
    half = np.nan_to_num(100 * half.to_numpy())
    return np.stack([np.minimum(half, 0.9 * errors), half])


def error_axis(axes: Axes, errors: np.ndarray, chance: float, along: Literal["x", "y"]) -> None:
    """Make one axis an error axis, better further out, cut just beyond chance."""
    best, worst = errors.min(), errors.max()
    floor = 100 * (1 - chance) if chance == chance else 100.0
    low, high = min(worst * 1.2, max(floor, worst) * 1.04), best / 1.35
    axes.set(**{f"{along}scale": "log", f"{along}lim": (low, high)})
    shown: list[float] = []
    for tick in (t for t in _TICKS if high <= 100 - t <= low):
        if not shown or np.log((100 - tick) / (100 - shown[-1])) > np.log(low / high) / (12 if along == "y" else 7):
            shown.append(tick)
    getattr(axes, f"set_{along}ticks")([100 - tick for tick in shown], [f"{tick:g}" for tick in shown])
    axes.minorticks_off()
    if floor < low:
        style = {"color": "#bbbbbb", "lw": 1.0, "ls": ":", "zorder": 1}
        (axes.axhline if along == "y" else axes.axvline)(floor, **style)
        place = {"xy": (0.01, floor), "xycoords": ("axes fraction", "data"), "xytext": (0, 2)}
        if along == "x":
            place = {"xy": (floor, 0.0), "xycoords": ("data", "axes fraction"), "xytext": (3, 2)}
        axes.annotate("chance", textcoords="offset points", fontsize=7.5, color="#888888", **place)
