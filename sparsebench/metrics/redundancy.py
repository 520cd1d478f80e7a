"""Redundancy: which corruptions tell the same about the samples of a test set."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def redundancy(shown_CSN: np.ndarray, least: int = 8) -> list[list[float | None]]:
    """How alike C corruptions are in what they do to single samples: ``[C][C]``, None on the diagonal.

    Args:
        shown_CSN: a value (such as the margin) of each sample under each corruption at each severity; NaN = not shown.
        least: samples that a correlation needs.

    Spearman's coefficient over the samples that both were shown to, within one severity of each, so that severity alone
    correlates nothing; the mean over severities, weighted by samples. At equal severities where there are such samples,
    else at all pairs. None where too few samples were shown both, or one has a single value.

    >>> a = np.arange(10.0)
    >>> redundancy(np.stack([a, a**2, -a])[:, None])
    [[None, 1.0, -1.0], [1.0, None, -1.0], [-1.0, -1.0, None]]
    """
    kinds, levels, n = shown_CSN.shape
    there = ~np.isnan(shown_CSN)
    if there.all() and n >= least:
        return _listed(np.mean([_ranked(shown_CSN[:, s]) for s in range(levels)], axis=0))
    found = np.full((kinds, kinds), np.nan)
    for i in range(kinds):
        for j in range(i):
            same = [(s, s) for s in range(levels) if (there[i, s] & there[j, s]).sum() >= least]
            pairs = same or [(s, t) for s in range(levels) for t in range(levels)]
            found[i, j] = found[j, i] = _over(shown_CSN[i], shown_CSN[j], pairs, least)
    return _listed(found)


def _over(a_SN: np.ndarray, b_SN: np.ndarray, pairs: list[tuple[int, int]], least: int) -> float:
    """The mean coefficient of pairs of severities, weighted by their samples."""
    total, samples = 0.0, 0
    for s, t in pairs:
        both = ~np.isnan(a_SN[s]) & ~np.isnan(b_SN[t])
        n = int(both.sum())
        rho = _ranked(np.stack([a_SN[s, both], b_SN[t, both]]))[0, 1] if n >= least else np.nan
        if not np.isnan(rho):
            total, samples = total + rho * n, samples + n
    return total / samples if samples else np.nan


def _ranked(values_CN: np.ndarray) -> np.ndarray:
    """Spearman's coefficients ``[C, C]``; NaN where all samples have one value."""
    ranks = rankdata(values_CN, axis=1)
    ranks -= ranks.mean(1, keepdims=True)
    size = np.sqrt((ranks**2).sum(1))
    return (ranks @ ranks.T) / np.where(size > 0, size, np.nan)[:, None] / np.where(size > 0, size, np.nan)


def _listed(matrix: np.ndarray) -> list[list[float | None]]:
    np.fill_diagonal(matrix, np.nan)
    return [[None if np.isnan(rho) else round(float(rho), 4) for rho in row] for row in matrix]
