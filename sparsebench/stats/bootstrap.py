"""Bootstrap intervals that draw whole clusters, all methods together."""

from __future__ import annotations

from functools import cache

import numpy as np

from sparsebench.stats.student import normal_cdf, t_quantile

DRAWS, SEED = 2000, 0


def cluster_bootstrap(
    totals: np.ndarray, sizes: np.ndarray, level: float = 0.95, draws: int = DRAWS, seed: int = SEED
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the means sum(totals) / sum(sizes), column by column.

    Percentiles over resampled clusters, widened to Student's for the few clusters there are (Hesterberg, 2015,
    arXiv:1411.5279, the expanded percentile interval): the tail ``a`` becomes Phi(sqrt(n / (n-1)) t(a; n-1)), with n
    the clusters in which a column has anything. Columns with fewer than two have NaN for bounds.

    Args:
        totals: [clusters, columns], sums of a cluster's values; 0 where it has none.
        sizes: [clusters, columns], how many values that are; [clusters, 1] where all columns have as many.

    Returns:
        Lower and upper bounds, [columns] each.
    """
    totals, sizes = np.asarray(totals, dtype=float), np.asarray(sizes, dtype=float)
    low, high = np.full((2, totals.shape[1]), np.nan)
    if not totals.size:
        return low, high
    counts = _counts(len(totals), draws, seed)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (counts @ totals) / (counts @ sizes)
    present = np.broadcast_to((sizes > 0).sum(axis=0), totals.shape[1:])
    for n in np.unique(present[present > 1]):
        columns = present == n
        tail = normal_cdf(np.sqrt(n / (n - 1)) * t_quantile((1 - level) / 2, int(n) - 1))
        drawn = means[:, columns]
        quantile = np.nanquantile if np.isnan(drawn).any() else np.quantile
        low[columns], high[columns] = quantile(drawn, [tail, 1 - tail], axis=0)
    return low, high


@cache
def _counts(clusters: int, draws: int, seed: int) -> np.ndarray:
    """How often each cluster is drawn, [draws, clusters]; the same draws for every column and every table."""
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=draws)
    return drawn.astype(float)
