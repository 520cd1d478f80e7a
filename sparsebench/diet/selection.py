"""Selection: which images a diet keeps, from their scores. Exact counts, ties broken by a fixed hash."""

from __future__ import annotations

import numpy as np

from sparsebench.data.splits import hash_rank
from sparsebench.stats.ranks import spearman

SAMPLED = 2048
"""Images whose ranks records hold, so that any two scores can be compared from records alone."""


def kept(scores: np.ndarray, keep: float, *, order: str = "hardest", skip: float = 0.0, salt: str = "") -> np.ndarray:
    """Indices of the images that are kept, sorted.

    Args:
        scores: [n], larger = harder; +inf is the hardest.
        keep: share of the images: ``round(keep * n)`` of them, at least one.
        order: the end of the scores that is kept.
        skip: share of the images at that end that is left out first.
        salt: what the hash of ties depends on.

    >>> kept(np.array([3.0, 1.0, np.inf, 2.0]), 0.5), kept(np.array([3.0, 1.0, np.inf, 2.0]), 0.5, order="easiest")
    (array([0, 2]), array([1, 3]))
    >>> kept(np.array([3.0, 1.0, np.inf, 2.0]), 0.5, skip=0.25)
    array([0, 3])
    """
    n = len(scores)
    first, count = round(skip * n), max(1, round(keep * n))
    by_hardness = np.lexsort((hash_rank(n, f"{salt}/diet"), -np.asarray(scores, np.float64)))
    if order == "easiest":
        by_hardness = by_hardness[::-1]
    return np.sort(by_hardness[first : first + count])


def sampled_ranks(scores: np.ndarray, salt: str = "") -> list[int]:
    """Ranks (0 = easiest) among all images of ``SAMPLED`` fixed ones; ties share their lowest.

    >>> sampled_ranks(np.array([3.0, 1.0, 2.0, 2.0]))
    [3, 0, 1, 1]
    """
    chosen = np.sort(np.argsort(hash_rank(len(scores), f"{salt}/sample"), kind="stable")[:SAMPLED])
    return np.searchsorted(np.sort(scores), np.asarray(scores)[chosen]).tolist()


def stability(runs: np.ndarray) -> list[float | None]:
    """Rank correlation of every run's scores [R, n] with their mean over all runs.

    >>> stability(np.array([[1.0, 2.0, 3.0], [1.0, 3.0, 2.0]]))
    [0.866025403784, 0.866025403784]
    """
    mean = np.asarray(runs, np.float64).mean(axis=0)
    return [spearman(run, mean) for run in runs]
