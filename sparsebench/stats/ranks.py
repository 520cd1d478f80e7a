"""Average ranks: methods are ranked where they solve the same problem, intervals are over independent clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sparsebench.stats.bootstrap import DRAWS, SEED, cluster_bootstrap
from sparsebench.stats.intervals import Interval, mean_interval

BLOCK = ["task", "sparsity", "seed"]
"""Within a block every method solves the same problem: there they are ranked."""
CLUSTER = ["task", "seed"]
"""Blocks of a cluster share a dense network, so they are not independent: whole clusters are drawn."""
FEWEST_CLUSTERS = 6
"""Fewer cannot show a difference of ranks at 95 %: even if all point one way, chance does so in 2^(1-n)."""


def block_ranks(frame: pd.DataFrame, score: str = "top1") -> pd.DataFrame:
    """Ranks (1 = best, ties averaged) of the methods within every block: blocks x methods.

    Only methods with a score in every block that occurs in ``frame`` are kept: a method must not gain by
    missing the hard blocks. The columns of ``frame`` used are task, sparsity, seed, method and the score.
    """
    return rank_scores(frame.pivot(index=BLOCK, columns="method", values=score))


def rank_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """The same from scores that are blocks x methods already."""
    return scores.dropna(axis="columns").rank(axis="columns", ascending=False, method="average")


def average_ranks(
    frame: pd.DataFrame, score: str = "top1", level: float = 0.95, draws: int = DRAWS, seed: int = SEED
) -> pd.DataFrame:
    """Mean rank of every complete method over blocks (task, sparsity, seed), best first.

    The interval is a bootstrap over whole clusters (task, seed), see
    :func:`sparsebench.stats.bootstrap.cluster_bootstrap`; with a single cluster the bounds are NaN.

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
    return mean_ranks(block_ranks(frame, score), level, draws, seed)


def mean_ranks(ranks: pd.DataFrame, level: float = 0.95, draws: int = DRAWS, seed: int = SEED) -> pd.DataFrame:
    """The table of :func:`average_ranks` from the ranks in the blocks."""
    grouped = ranks.groupby(level=CLUSTER)
    totals, sizes = grouped.sum().to_numpy(), grouped.size().to_numpy()
    low, high = cluster_bootstrap(totals, sizes[:, None], level, draws, seed)
    table = pd.DataFrame(
        {"rank": ranks.mean(), "low": low, "high": high, "blocks": len(ranks), "clusters": len(sizes)},
        index=ranks.columns,
    )
    return table.sort_values("rank", kind="stable")


def cluster_means(values: pd.DataFrame) -> pd.DataFrame:
    """Means over the blocks of every cluster (task, seed): the independent values that tests are made of."""
    return values.groupby(level=CLUSTER).mean()


def clustered_difference(ranks: pd.DataFrame, a: str, b: str, level: float = 0.95) -> Interval:
    """Mean of a - b over blocks (as from :func:`block_ranks`), with a Student interval over cluster means.

    Ranks are bounded and discrete, so a few clusters may agree exactly by chance: below ``FEWEST_CLUSTERS`` there
    are no bounds.

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
