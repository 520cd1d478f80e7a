"""Tests of paired differences that need no assumption of normality, and their correction for being many.

The values tested are differences of clusters (task, seed). If two methods do not differ, each difference is as likely
to have the other sign, whatever its size: the share of sign patterns whose sum is as far from 0 is the p-value.
"""

from __future__ import annotations

from functools import cache

import numpy as np

ALPHA = 0.05
EXACT_UP_TO = 14
"""Clusters whose 2^(n-1) sign patterns are all tried; with more, ``PATTERNS`` are drawn."""
PATTERNS = 9999


def sign_flip(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two-sided sign-flip test that the mean difference is 0, column by column.

    p = share of sign patterns with ``|sum|`` at least the one observed. All patterns are tried for up to
    ``EXACT_UP_TO`` clusters, else 9,999 seeded ones plus the observed one. With few clusters p has a floor: n
    differences that all point one way have 2 of 2^n patterns.

    Args:
        differences: [clusters, columns]; NaN where a cluster has none. A difference of 0 cannot tell a sign.

    Returns:
        p, and the least p that so many clusters can give, [columns] each.

    >>> p, least = sign_flip(np.array([[1.0, 1.0, 0.0], [2.0, -2.0, 0.0], [3.0, 3.0, np.nan]]))
    >>> p.tolist(), least.tolist()  # 2 of 8 patterns; 6 of 8; nothing to flip
    ([0.25, 0.75, 1.0], [0.25, 0.25, 0.5])
    """
    # Rounded far below any accuracy's resolution: 0.9 - 0.8 and 0.8 - 0.7 are the same difference, 0.3 - 0.3 is none.
    differences = np.asarray(differences, dtype=float)
    values, present = np.round(np.nan_to_num(differences), 12), (~np.isnan(differences)).sum(axis=0)
    clusters, columns = values.shape
    if not values.size:
        return np.ones(columns), np.ones(columns)
    observed = np.abs(values.sum(axis=0)) * (1 - 1e-9) - 1e-12
    as_far = (np.abs(_signs(clusters) @ values) >= observed).sum(axis=0)
    least = np.minimum(1.0, 2.0 ** (1 - present.astype(float)))
    if clusters <= EXACT_UP_TO:
        return as_far / 2.0 ** (clusters - 1), least
    return (as_far + 1) / (PATTERNS + 1), np.maximum(least, 1 / (PATTERNS + 1))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjusted p-values; NaN is no test and stays NaN.

    p_(i) -> max over j <= i of min(1, (m - j + 1) p_(j)), in the order of the p-values.

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=float)
    adjusted = np.full(p.shape, np.nan)
    there = np.flatnonzero(~np.isnan(p))
    order = there[np.argsort(p[there], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps)) if len(order) else steps
    return adjusted


def fewest_clusters(comparisons: int, alpha: float = ALPHA) -> int:
    """Fewest clusters with which one of so many Holm-corrected sign-flip tests can reject at all.

    >>> [fewest_clusters(m) for m in (1, 8, 50)]  # 8 * 2 / 2^9 = 0.031
    [6, 9, 11]
    """
    clusters = 1
    while max(1, comparisons) * 2.0 ** (1 - clusters) >= alpha:
        clusters += 1
    return clusters


@cache
def _signs(clusters: int) -> np.ndarray:
    """Sign patterns, [patterns, clusters]. All of them: the first sign is fixed, since its mirror image is as far."""
    if clusters > EXACT_UP_TO:
        return np.random.default_rng(0).choice(np.array([-1.0, 1.0], dtype=np.float32), size=(PATTERNS, clusters))
    bits = np.arange(2 ** (clusters - 1))[:, None] >> np.arange(clusters)
    return 1.0 - 2.0 * (bits & 1)
