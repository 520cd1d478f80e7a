"""Accuracy read off at common levels of speed-up, between the points that were measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SLACK = 0.01
"""A level this close to an end, in the logarithm, is the end: whole weights make 15.97 x of 16 x."""


def at_levels(speedups: Sequence[float], values: Sequence[float], levels: Sequence[float]) -> np.ndarray:
    """Values at the levels, linear in log(speed-up) between neighbours; NaN outside the range: nothing is extrapolated.

    Points of equal speed-up are averaged. Speed-ups are positive; a point with NaN is no point.

    >>> at_levels([4.0, 16.0], [0.9, 0.7], [2.0, 4.0, 8.0, 32.0]).round(6).tolist()
    [nan, 0.9, 0.8, nan]
    """
    places, heights = np.log(np.asarray(speedups, dtype=float)), np.asarray(values, dtype=float)
    there = ~(np.isnan(places) | np.isnan(heights))
    wanted = np.log(np.asarray(levels, dtype=float))
    if not there.any():
        return np.full(wanted.shape, np.nan)
    places, heights = places[there], heights[there]
    order = np.argsort(places, kind="stable")
    places, heights = places[order], heights[order]
    if (np.diff(places) == 0).any():
        places, back = np.unique(places, return_inverse=True)
        heights = np.bincount(back, heights) / np.bincount(back)
    found = np.interp(wanted, places, heights)
    found[(wanted < places[0] - SLACK) | (wanted > places[-1] + SLACK)] = np.nan
    return found
