"""Unbalanced data: counts of every class, the classes by name, one fixed draw."""

from __future__ import annotations

import numpy as np
import pytest

from sparsebench.data.module import DataModule
from sparsebench.data.unbalanced import PUBLISHED, RELEASED, kept_positions, shares
from sparsebench.errors import UsageError

HUNDRED = tuple(sorted({name for group in PUBLISHED for name in group} | {f"other{i:02}" for i in range(85)}))


def test_the_published_classes_by_name():
    part = dict(zip(HUNDRED, shares("cifar100", HUNDRED), strict=True))
    assert {name for name, share in part.items() if share == 0.1} == {
        "shrew", "apple", "crocodile", "maple_tree", "bicycle",
    }  # fmt: skip
    assert (part["can"], part["flatfish"], part["other00"]) == (0.2, 0.5, 1.0)
    assert sum(share == 1.0 for share in part.values()) == 85


def test_the_released_classes_are_labels():
    part = shares("cifar100", HUNDRED, "released")
    assert [part[83], part[17], part[6]] == [0.1, 0.2, 0.5]
    assert sum(map(len, RELEASED)) == len({label for group in RELEASED for label in group}) == 15
    with pytest.raises(UsageError, match="is of cifar100"):
        shares("digits", "0123456789", "released")


@pytest.mark.parametrize(("classes", "groups"), [(10, 1), (30, 2), (100, 5), (200, 10), (4, 1)])
def test_elsewhere_a_twentieth_of_the_classes_each(classes, groups):
    part = shares("something", [str(i) for i in range(classes)])
    assert [int((part == share).sum()) for share in (0.1, 0.2, 0.5)] == [groups] * 3


def test_too_few_classes_are_refused():
    with pytest.raises(UsageError, match="3 classes"):
        shares("something", "abc")


def test_counts_of_the_digits_and_one_draw():
    data = DataModule("digits", 128)
    data.setup()
    positions, labels = data.train_positions.numpy(), data.train_labels.numpy()
    kept = kept_positions("digits", data.class_names, positions, labels)
    before = np.bincount(labels)
    after = np.bincount(labels[np.searchsorted(positions, kept)])
    assert after.tolist() == [
        max(1, round(s * n)) for s, n in zip(shares("digits", data.class_names), before, strict=True)
    ]
    assert (before[7], after[7], before[1], after[1], before[2], after[2]) == (119, 12, 121, 24, 118, 59)
    assert (np.diff(kept) > 0).all()
    assert np.isin(kept, positions).all()
    turned = kept_positions("digits", data.class_names, positions[::-1], labels[::-1])
    assert (kept == turned).all()


def test_a_subset_keeps_its_part_of_the_draw():
    """Which images stay depends on their positions alone, so those of a subset are not drawn anew."""
    positions, labels = np.arange(1000), np.arange(1000) % 10
    whole = kept_positions("digits", [str(i) for i in range(10)], positions, labels)
    half = kept_positions("digits", [str(i) for i in range(10)], positions[:500], labels[:500])
    few = [7, 1]  # 10 % and 20 %
    mine = half[np.isin(half % 10, few)]
    assert len(mine) == 15
    assert np.isin(mine[np.isin(mine, whole)], whole).all()


def test_a_class_keeps_at_least_one_image():
    positions = np.arange(30)
    kept = kept_positions("digits", [str(i) for i in range(10)], positions, positions % 10)
    assert np.bincount(kept % 10, minlength=10).min() == 1
