"""Pooled bias: two classes and two trials by hand, both conventions, and what guessing gets."""

from __future__ import annotations

from math import sqrt

import pytest

from sparsebench.errors import UsageError
from sparsebench.metrics.bias import bias, pooled_bias

DENSE = {"n": [10, 10], "tp": [9, 8], "fp": [2, 1], "fn": [1, 2]}
FIRST = {"n": [10, 10], "tp": [8, 8], "fp": [2, 2], "fn": [2, 2]}
SECOND = {"n": [10, 10], "tp": [6, 4], "fp": [6, 4], "fn": [4, 6]}


def test_rates_are_averaged_before_they_are_compared():
    """Mean rates: FPR 0.4 and 0.3 of 0.2 and 0.1, FNR 0.3 and 0.4 of 0.1 and 0.2; changes (1, 2) and (2, 1)."""
    found = pooled_bias([FIRST, SECOND], [DENSE])
    assert found.change.ravel() == pytest.approx([1.0, 2.0, 2.0, 1.0])
    assert (found.cev, found.sde, found.trials) == pytest.approx((0.5, 1.0, 2))


def test_which_is_not_the_mean_over_the_trials():
    """Errors that come and go: the trials are uneven, the setting is not."""
    trials = [{"n": [10, 10], "tp": [9 - a, 8 - b], "fp": [2, 1], "fn": [1 + a, 2 + b]} for a, b in ((2, 0), (0, 4))]
    assert bias(trials[0], DENSE)["cev"] == bias(trials[1], DENSE)["cev"] == pytest.approx(1.0)
    assert pooled_bias(trials, [DENSE]).cev == pytest.approx(0.0)


def test_one_trial_is_that_of_bias():
    for smoothed, suffix in ((False, ""), (True, "_s1")):
        found, alone = pooled_bias([SECOND], [DENSE], smoothed), bias(SECOND, DENSE)
        assert (found.cev, found.sde) == (alone["cev" + suffix], alone["sde" + suffix])


def test_the_convention_of_2021():
    """Per cent; mean square over both coordinates; distance to the diagonal."""
    found = pooled_bias([FIRST, SECOND], [DENSE])
    points = [(100.0, 200.0), (200.0, 100.0)]
    spread = sum((p - 150) ** 2 + (n - 150) ** 2 for p, n in points) / 4
    distance = sum(abs(p - n) / sqrt(2) for p, n in points) / 2
    assert found.convention_a == pytest.approx((spread, distance))


def test_normalised_by_guessing():
    """Guessing has rates 1/2: changes of 1.5 and 4 (FPR), 4 and 1.5 (FNR)."""
    found = pooled_bias([FIRST, SECOND], [DENSE])
    assert (found.random_cev, found.random_sde) == pytest.approx((2 * 1.25**2, 2.5))
    assert found.normalised == pytest.approx((0.5 / 3.125, 0.4))


def test_dense_rates_of_several_trials_are_averaged_too():
    other = {"n": [10, 10], "tp": [7, 10], "fp": [0, 3], "fn": [3, 0]}
    found = pooled_bias([FIRST, SECOND], [DENSE, other])
    assert found.change.ravel() == pytest.approx([3.0, 0.5, 0.5, 3.0])


def test_undefined_where_a_dense_rate_is_zero():
    perfect = {"n": [10, 10], "tp": [10, 8], "fp": [2, 0], "fn": [0, 2]}
    found = pooled_bias([FIRST], [perfect])
    assert (found.cev, found.sde, found.normalised, found.convention_a) == (None, None, (None, None), (None, None))
    assert pooled_bias([FIRST], [perfect], smoothed=True).cev > 0


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(UsageError, match="none"):
        pooled_bias([], [DENSE])
    with pytest.raises(UsageError, match="same samples"):
        pooled_bias([{**FIRST, "n": [10, 11]}], [DENSE])
