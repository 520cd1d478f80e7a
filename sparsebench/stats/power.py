"""How many clusters it would take to separate two methods."""

from __future__ import annotations

from functools import cache

from sparsebench.stats.ranks import FEWEST_CLUSTERS
from sparsebench.stats.significance import ALPHA
from sparsebench.stats.student import t_quantile

POWER = 0.8
MOST = 1000


def clusters_needed(mean: float, deviation: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Fewest clusters n with which a paired t-test finds a difference like this in 80 % of cases.

    n >= ((t(1 - alpha/2; n-1) + t(power; n-1)) s / d)^2, two-sided, not corrected for the number of comparisons,
    and at least the ``FEWEST_CLUSTERS`` without which no sign test can reach 5 %. The mean and deviation given are
    themselves estimates: with few clusters the answer is an order of magnitude.

    Args:
        mean, deviation: d and s of the paired differences of the clusters seen so far.

    Returns:
        None where the difference is 0 or the spread is not known; ``MOST`` stands for that many or more.

    >>> clusters_needed(1.0, 1.0), clusters_needed(0.1, 1.0), clusters_needed(0.0, 1.0)
    (10, 787, None)
    """
    if mean != mean or deviation != deviation or abs(mean) < 1e-12:
        return None
    ratio = abs(deviation / mean)

    def wanted(n: int) -> float:
        return (_quantiles(n, alpha, power) * ratio) ** 2

    if wanted(MOST) > MOST:
        return MOST
    low, high = FEWEST_CLUSTERS - 1, MOST  # what is wanted falls as n grows: the first n that suffices, by halving
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if wanted(middle) <= middle else (middle, high)
    return high


@cache
def _quantiles(n: int, alpha: float, power: float) -> float:
    return t_quantile(1 - alpha / 2, n - 1) + t_quantile(power, n - 1)
