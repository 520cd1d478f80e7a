"""Predictions packed and counted: nothing is lost, and PIEs are what every trial agrees to differ on."""

from __future__ import annotations

import numpy as np
import pytest

from sparsebench.errors import UsageError
from sparsebench.metrics.predictions import packed, pie_count, unpacked


@pytest.mark.parametrize("classes", [2, 10, 256, 257, 1000])
def test_nothing_is_lost(classes):
    drawn = np.random.default_rng(classes).integers(classes, size=500)
    drawn[:2] = 0, classes - 1
    assert (unpacked(packed(drawn, classes), classes) == drawn).all()


def test_little_room():
    drawn = np.random.default_rng(0).integers(10, size=10_000)
    assert len(packed(drawn, 10)) < 7000


def test_every_trial_must_differ():
    dense = [np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0])]
    students = [np.array([1, 2, 2, 0]), np.array([1, 1, 1, 3])]
    assert pie_count(students, dense) == 2  # the first image and the last
    assert pie_count(students[:1], dense[:1]) == 3
    assert pie_count(students, dense[:1]) == 1  # one dense network for all: the last image's second trial agrees


@pytest.mark.parametrize(("students", "dense"), [([], []), ([[1]], [[1], [1]]), ([[1, 2], [1, 2]], [[1, 2], [1]])])
def test_what_cannot_be_compared_is_refused(students, dense):
    with pytest.raises(UsageError, match="PIEs"):
        pie_count([np.array(s) for s in students], [np.array(d) for d in dense])
