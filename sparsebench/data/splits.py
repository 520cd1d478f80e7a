"""Fixed splits: the same images for everybody, without stored index files or a random generator's version.

An image is ranked inside its class by a hash of its position in the data set; the first ones of every
class are held out. Counts per class are proportional, rounded by largest remainder.
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np

from sparsebench.errors import SparsebenchError, UsageError, unknown

__all__ = ["PARTS", "check_split", "check_subset", "hash_rank", "split_digest", "stratified", "subset_of"]

PARTS = ("train", "validation", "test")


def stratified(labels: np.ndarray, count: int, salt: str) -> tuple[np.ndarray, np.ndarray]:
    """Hold out `count` positions, every class in proportion; returns (rest, held_out), both sorted.

    >>> rest, held = stratified(np.array([0, 0, 0, 0, 1, 1]), 3, "example")
    >>> np.bincount(np.array([0, 0, 0, 0, 1, 1])[held]).tolist()
    [2, 1]
    """
    _, of_class, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    quota = sizes * (count / len(labels))
    take = np.floor(quota).astype(np.int64)
    by_remainder = np.argsort(-(quota - take), kind="stable")
    take[by_remainder[: count - take.sum()]] += 1

    order = np.lexsort((hash_rank(len(labels), salt), of_class))
    rank_in_class = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    held = np.zeros(len(labels), dtype=bool)
    held[order] = rank_in_class < np.repeat(take, sizes)
    return np.flatnonzero(~held), np.flatnonzero(held)


def subset_of(labels: np.ndarray, positions: np.ndarray, count: int | None, salt: str) -> np.ndarray:
    """`count` of the positions (all of them for None), every class in proportion; sorted.

    >>> subset_of(np.array([0, 1, 0, 1, 0, 0]), np.array([0, 1, 2, 3]), 2, "example").size
    2
    """
    return positions if count is None else positions[stratified(labels[positions], count, salt)[1]]


def check_subset(name: str, subset: dict[str, int], sizes: dict[str, int], classes: int) -> None:
    """Refuse a subset that cannot be drawn.

    Raises:
        UsageError: an unknown part of the data, or more images than it has, or fewer than there are classes.
    """
    for part, count in subset.items():
        if part not in sizes:
            raise unknown("part of the data", part, sizes, ", ".join(sizes))
        if isinstance(count, bool) or not isinstance(count, int) or not classes <= count <= sizes[part]:
            raise UsageError(
                f"{name}: subset {part}={count!r} must be a whole number from {classes}, the number of classes, "
                f"to {sizes[part]}, the images there are"
            )


def hash_rank(n: int, salt: str) -> np.ndarray:
    """A 64-bit hash of every position 0..n-1: SplitMix64 (Steele et al., 2014) from a hash of `salt`."""
    start = int.from_bytes(sha256(salt.encode()).digest()[:8], "little")
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def split_digest(**splits: np.ndarray) -> str:
    """SHA-256 over the names and the int64 little-endian positions of the splits, first 16 hex digits."""
    state = sha256()
    for name in sorted(splits):
        state.update(name.encode() + b"\0" + np.ascontiguousarray(splits[name], dtype="<i8").tobytes())
    return state.hexdigest()[:16]


def check_split(name: str, expected: str, **splits: np.ndarray) -> None:
    """Refuse a split that is not the published one.

    Raises:
        SparsebenchError: the digest differs, so the data set's labels or their order do.
    """
    found = split_digest(**splits)
    if found != expected:
        raise SparsebenchError(
            f"{name}: the split has digest {found}, published is {expected}: "
            "these are not the labels, or not the order, that the benchmark uses; replace the files"
        )
