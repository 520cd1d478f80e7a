"""Unbalanced: a fixed part of some classes' training images, to train on what is rare in some classes.

    images kept of a class of n: round(share * n), at least 1        share: 0.1, 0.2, 0.5 for three groups of classes

Profile ``published``: on CIFAR-100 the fifteen classes that Blakeney et al. (2021, arXiv:2106.07849) name, five each.
Elsewhere each group has ``max(1, round(K / 20))`` of the K classes, the share of all that five of a hundred are, in the
order of a hash of the class's index. Profile ``released``, of CIFAR-100 alone: the classes that their code takes
images from. It counts the named classes in a list ordered by superclass and uses the numbers as labels, which are
alphabetical, so that other fifteen classes lose images. Which images stay is ranked by the hash of ``splits``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sparsebench.data.splits import hash_rank
from sparsebench.errors import UsageError

__all__ = ["kept_positions", "shares"]

SHARES = (0.1, 0.2, 0.5)
PUBLISHED = (
    ("shrew", "apple", "crocodile", "maple_tree", "bicycle"),
    ("can", "oak_tree", "palm_tree", "train", "butterfly"),
    ("dinosaur", "orange", "elephant", "raccoon", "flatfish"),
)
RELEASED = ((83, 20, 75, 85, 90), (17, 86, 87, 94, 37), (76, 22, 58, 63, 6))


def shares(dataset: str, classes: Sequence[str], profile: str = "published") -> np.ndarray:
    """The share of its training images that each class keeps, float64 [K].

    Raises:
        UsageError: there are too few classes for three groups and one that is whole, or the profile is of other data.

    >>> shares("example", list("abcdefghij")).tolist()
    [1.0, 0.5, 1.0, 0.2, 1.0, 1.0, 1.0, 0.1, 1.0, 1.0]
    """
    found = np.ones(len(classes))
    for share, group in zip(SHARES, _groups(dataset, classes, profile), strict=True):
        found[list(group)] = share
    return found


def kept_positions(
    dataset: str, classes: Sequence[str], positions: np.ndarray, labels: np.ndarray, profile: str = "published"
) -> np.ndarray:
    """The positions [m <= n] of the images that are kept, sorted.

    Args:
        positions: of the training images among the official ones [n].
        labels: theirs [n].

    >>> kept = kept_positions("example", list("abcdefghij"), np.arange(100), np.arange(100) % 10)
    >>> np.bincount(kept % 10).tolist()
    [10, 5, 10, 2, 10, 10, 10, 1, 10, 10]
    """
    part = shares(dataset, classes, profile)
    ranks = hash_rank(int(positions.max()) + 1, f"{dataset}/unbalanced")[positions]
    kept = []
    for label in range(len(classes)):
        mine = np.flatnonzero(labels == label)
        if len(mine):
            first = mine[np.argsort(ranks[mine], kind="stable")]
            kept.append(first[: max(1, round(part[label] * len(mine)))])
    return np.sort(positions[np.concatenate(kept)])


def _groups(dataset: str, classes: Sequence[str], profile: str) -> Sequence[Sequence[int]]:
    """Class indices of the three groups."""
    if profile == "released":
        if dataset != "cifar100":
            raise UsageError(f"+unbalanced: profile 'released' is of cifar100, not of {dataset}; use 'published'")
        return RELEASED
    if dataset == "cifar100":
        return [[list(classes).index(name) for name in group] for group in PUBLISHED]
    size = max(1, round(len(classes) / 20))
    if len(classes) <= len(SHARES) * size:
        raise UsageError(
            f"+unbalanced: {dataset} has {len(classes)} classes, too few for three groups that lose images and one "
            "that loses none; four are needed"
        )
    order = np.argsort(hash_rank(len(classes), f"{dataset}/unbalanced classes"), kind="stable")
    return [order[i * size : (i + 1) * size].tolist() for i in range(len(SHARES))]
