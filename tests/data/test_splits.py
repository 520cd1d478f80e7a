"""Splits: stratified, disjoint, and the same for ever."""

from __future__ import annotations

import numpy as np
import pytest

from sparsebench.data.splits import check_split, hash_rank, split_digest, stratified
from sparsebench.errors import SparsebenchError


def test_splitmix_reference_values():
    """The first outputs of SplitMix64 by Python's integers."""
    from hashlib import sha256

    state, mask, expected = int.from_bytes(sha256(b"salt").digest()[:8], "little"), 2**64 - 1, []
    for _ in range(5):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        expected.append(z ^ (z >> 31))
    assert hash_rank(5, "salt").tolist() == expected


@pytest.mark.parametrize("count", [1, 7, 20, 99])
def test_stratified_is_a_partition_in_proportion(count):
    labels = np.random.default_rng(0).choice(4, size=100, p=[0.4, 0.3, 0.2, 0.1])
    rest, held = stratified(labels, count, "s")
    assert len(held) == count
    assert sorted([*rest, *held]) == list(range(100))
    exact = np.bincount(labels, minlength=4) * count / 100
    assert (np.abs(np.bincount(labels[held], minlength=4) - exact) < 1).all()


def test_salt_and_labels_alone_decide():
    labels = np.arange(50) % 5
    assert np.array_equal(stratified(labels, 10, "a")[1], stratified(labels.copy(), 10, "a")[1])
    assert not np.array_equal(stratified(labels, 10, "a")[1], stratified(labels, 10, "b")[1])


def test_a_changed_split_is_refused():
    good = np.arange(5)
    check_split("x", split_digest(train=good), train=good)
    with pytest.raises(SparsebenchError, match="replace the files"):
        check_split("x", split_digest(train=good), train=good[::-1])
