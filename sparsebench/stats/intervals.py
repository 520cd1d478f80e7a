"""Means with Student intervals, and differences that are paired by seed."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np

from sparsebench.stats.student import t_quantile

_NUMPY_FROM = 8
"""Values from which numpy sums in an order of its own."""


class Interval(NamedTuple):
    """A mean and its confidence bounds; the bounds are None where one value says nothing of the spread."""

    mean: float
    low: float | None
    high: float | None
    n: int

    @property
    def half(self) -> float | None:
        """Half the width of a symmetric interval."""
        return None if self.high is None else self.high - self.mean

    @property
    def separated(self) -> bool:
        """The interval exists and does not include 0: only then may a difference be called a win."""
        return self.low is not None and (self.low > 0 or self.high < 0)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Mean with its Student-t interval: mean +- t(n-1) * s / sqrt(n).

    >>> mean, low, high, n = mean_interval([1.0, 2.0, 3.0])  # s = 1, t(2) = 4.303
    >>> mean, round(low, 3), round(high, 3), n
    (2.0, -0.484, 4.484, 3)
    >>> mean_interval([0.5])
    Interval(mean=0.5, low=None, high=None, n=1)
    """
    n = len(values)
    if n == 0:
        raise ValueError("mean_interval needs at least one value")
    mean, deviation = _moments([float(value) for value in values])
    if n == 1:
        return Interval(mean, None, None, 1)
    half = t_quantile((1 + level) / 2, n - 1) * deviation / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def _moments(values: list[float]) -> tuple[float, float]:
    """Mean and standard deviation (n - 1).

    A leaderboard has thousands of means over a few seeds, and one call of numpy takes longer than five additions. Below
    eight values numpy adds one after the other, too: the same bits (``sum`` does not, from Python 3.12 on).
    """
    n = len(values)
    if n >= _NUMPY_FROM:
        return float(np.mean(values)), float(np.std(values, ddof=1))
    mean = reduce(add, values) / n
    squares = [(value - mean) * (value - mean) for value in values]
    return mean, math.sqrt(reduce(add, squares) / (n - 1)) if n > 1 else math.nan


def paired_difference(a: Mapping[Hashable, float], b: Mapping[Hashable, float], level: float = 0.95) -> Interval | None:
    """Mean of a - b over the seeds both have, with its Student-t interval; None if they share no seed.

    >>> mean, low, high, n = paired_difference({0: 3.0, 1: 5.0, 2: 7.0}, {0: 2.0, 1: 3.0, 2: 4.0, 9: 0.0})
    >>> mean, round(low, 3), n  # differences 1, 2, 3
    (2.0, -0.484, 3)
    """
    # Rounded far below any accuracy's resolution, so that 0.9 - 0.8 and 0.8 - 0.7 are the same difference.
    differences = [round(float(a[seed]) - float(b[seed]), 12) for seed in a.keys() & b.keys()]
    return mean_interval(sorted(differences), level) if differences else None
