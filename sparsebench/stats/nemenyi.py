"""Nemenyi's test of all pairs, after Friedman's: how far apart the average ranks of two methods must be.

    CD = q sqrt(k (k + 1) / (6 N))        k methods ranked in N blocks
    q  = the 1 - alpha quantile of the range of k standard normal values, over sqrt(2)

P(range <= r) = k integral phi(z) (Phi(z) - Phi(z - r))^(k - 1) dz, z the largest value. The sum over a grid is exact to
twelve digits, since the integrand is smooth and vanishes at both ends; the tests hold it against scipy.
Source: Demsar, Journal of Machine Learning Research 7 (2006), section 3.2.2 and table 5.
"""

from __future__ import annotations

import math
from functools import cache

from sparsebench.stats.significance import ALPHA
from sparsebench.stats.student import normal_cdf

_GRID = [i / 16 for i in range(-8 * 16, 9 * 16)]
_WIDEST = 16.0
"""A range that no number of methods reaches at a level that anybody asks for."""


def critical_difference(methods: int, blocks: int, alpha: float = ALPHA) -> float:
    """The least difference of two average ranks that is told apart at level ``alpha``.

    >>> round(critical_difference(5, 30), 2)
    1.11
    """
    if methods < 2 or blocks < 1 or not 0 < alpha < 1:
        raise ValueError(
            f"methods = {methods}, blocks = {blocks}, alpha = {alpha}: needs two methods, a block and 0 < alpha < 1"
        )
    return _range_quantile(1 - alpha, methods) / math.sqrt(2) * math.sqrt(methods * (methods + 1) / (6 * blocks))


@cache
def _range_quantile(p: float, count: int) -> float:
    """By bisection: the distribution function rises everywhere."""
    density = [math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / 16 for z in _GRID]
    below = [normal_cdf(z) for z in _GRID]
    low, high = 0.0, _WIDEST
    while high - low > 1e-12:
        middle = (low + high) / 2
        inside = (up - normal_cdf(z - middle) for z, up in zip(_GRID, below, strict=True))
        reached = count * sum(d * max(x, 0.0) ** (count - 1) for d, x in zip(density, inside, strict=True))
        low, high = (middle, high) if reached < p else (low, middle)
    return (low + high) / 2


def not_told_apart(ranks: list[float], difference: float) -> list[tuple[int, int]]:
    """The largest groups of methods, sorted by average rank, whose ends are less than ``difference`` apart.

    >>> not_told_apart([1.0, 1.5, 2.4, 4.0], 1.0)
    [(0, 1), (1, 2)]
    """
    groups: list[tuple[int, int]] = []
    for first, rank in enumerate(ranks):
        last = max(i for i in range(first, len(ranks)) if ranks[i] - rank < difference or i == first)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups
