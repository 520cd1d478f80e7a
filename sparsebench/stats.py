"""Statistics of the leaderboard: intervals over seeds, paired differences, average ranks.

Seeds are few (three to five), so means carry Student intervals and nothing is compared without pairing:
two methods that start from the same dense network share its luck, and the difference removes it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

BLOCK = ["task", "sparsity", "seed"]
"""Within a block every method solves the same problem: there they are ranked."""
FEWEST_CLUSTERS = 6
"""Fewer cannot show a difference of ranks at 95 %: even if all point one way, chance does so in 2^(1-n)."""
CLUSTER = ["task", "seed"]
"""Blocks of a cluster share a dense network, so they are not independent: whole clusters are drawn."""


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
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise ValueError("mean_interval needs at least one value")
    mean, n = float(values.mean()), values.size
    if n == 1:
        return Interval(mean, None, None, 1)
    half = float(stdtrit(n - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def paired_difference(a: Mapping[Hashable, float], b: Mapping[Hashable, float], level: float = 0.95) -> Interval | None:
    """Mean of a - b over the seeds both have, with its Student-t interval; None if they share no seed.

    >>> mean, low, high, n = paired_difference({0: 3.0, 1: 5.0, 2: 7.0}, {0: 2.0, 1: 3.0, 2: 4.0, 9: 0.0})
    >>> mean, round(low, 3), n  # differences 1, 2, 3
    (2.0, -0.484, 3)
    """
    # Rounded far below any accuracy's resolution, so that 0.9 - 0.8 and 0.8 - 0.7 are the same difference.
    differences = [round(float(a[seed]) - float(b[seed]), 12) for seed in a.keys() & b.keys()]
    return mean_interval(sorted(differences), level) if differences else None


def block_ranks(frame: pd.DataFrame, score: str = "top1") -> pd.DataFrame:
    """Ranks (1 = best, ties averaged) of the methods within every block: blocks x methods.

    Only methods with a score in every block that occurs in ``frame`` are kept: a method must not gain by
    missing the hard blocks. The columns of ``frame`` used are task, sparsity, seed, method and the score.
    """
    scores = frame.pivot(index=BLOCK, columns="method", values=score).dropna(axis="columns")
    return scores.rank(axis="columns", ascending=False, method="average")


def average_ranks(
    frame: pd.DataFrame, score: str = "top1", level: float = 0.95, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Mean rank of every complete method over blocks (task, sparsity, seed), best first.

    The interval is a percentile bootstrap that draws whole clusters (task, seed) with replacement, all
    methods together. Its percentiles are widened to Student's for the few clusters there are (Hesterberg,
    2015, arXiv:1411.5279, the expanded percentile interval); with a single cluster the bounds are NaN.

    Returns:
        Indexed by method: ``rank``, ``low``, ``high``, ``blocks``, ``clusters``.

    >>> frame = pd.DataFrame({"task": "t", "sparsity": 0.5, "seed": [0, 0, 1, 1], "method": ["a", "b"] * 2,
    ...                       "top1": [0.9, 0.8, 0.9, 0.9]})
    >>> average_ranks(frame)[["rank", "blocks"]]  # a: first, then tied
            rank  blocks
    method
    a       1.25       2
    b       1.75       2
    """
    ranks = block_ranks(frame, score)
    totals, sizes = _cluster_totals(ranks)
    low = high = np.full(ranks.shape[1], np.nan)
    n = len(sizes)
    if n > 1 and ranks.shape[1]:
        counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
        means = (counts @ totals) / (counts @ sizes)[:, None]
        tail = ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - level) / 2))
        low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    table = pd.DataFrame(
        {"rank": ranks.mean(), "low": low, "high": high, "blocks": len(ranks), "clusters": n},
        index=ranks.columns,
    )
    return table.sort_values("rank", kind="stable")


def clustered_difference(ranks: pd.DataFrame, a: str, b: str, level: float = 0.95) -> Interval:
    """Mean of a - b over blocks (as from :func:`block_ranks`), with a Student interval over cluster means.

    Used to call a winner. Ranks are bounded and discrete, so a few clusters may agree exactly by chance:
    below ``FEWEST_CLUSTERS`` there are no bounds.

    >>> index = pd.MultiIndex.from_product([["s", "t"], [0.5], [0, 1, 2]], names=BLOCK)
    >>> ranks = pd.DataFrame({"a": 1.0, "b": [2, 2, 3, 2, 2, 3]}, index=index)  # differences -1 and -2
    >>> mean, low, high, n = clustered_difference(ranks, "a", "b")
    >>> round(mean, 3), round(high, 3), n
    (-1.333, -0.791, 6)
    """
    difference = (ranks[a] - ranks[b]).groupby(level=CLUSTER).mean()
    interval = mean_interval(difference.to_numpy(), level)
    return interval if interval.n >= FEWEST_CLUSTERS else Interval(interval.mean, None, None, interval.n)


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation in [-1, 1]; None for fewer than two values or where one side is constant.

    >>> spearman([1, 2, 3], [10, 30, 20])
    0.5
    """
    ranks = pd.DataFrame({"a": np.asarray(a, float), "b": np.asarray(b, float)}).rank()
    if len(ranks) < 2 or (ranks.nunique() == 1).any():
        return None
    return round(float(np.corrcoef(ranks["a"], ranks["b"])[0, 1]), 12)


def _cluster_totals(ranks: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the ranks of every cluster [clusters, methods] and its number of blocks [clusters]."""
    grouped = ranks.groupby(level=CLUSTER)
    return grouped.sum().to_numpy(), grouped.size().to_numpy()
