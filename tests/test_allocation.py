"""Allocation: exact totals, and densities against other solvers."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest
from scipy.optimize import brentq

from sparsebench.allocation import erk, igq, kept_count, layer_counts
from sparsebench.errors import UsageError

LAYERS = {"conv": (16, 3, 3, 3), "point": (32, 16, 1, 1), "wide": (64, 32, 3, 3), "fc": (10, 64), "tiny": (2, 2)}
SIZES = {n: prod(s) for n, s in LAYERS.items()}
TOTAL = sum(SIZES.values())
DENSITIES = [1.0, 0.5, 0.2, 0.1, 0.02]


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("name", ["uniform", "erk", "igq"])
def test_counts_sum_exactly_and_stay_within_one_of_the_rule(name, density):
    rule = {"uniform": lambda s, d: dict.fromkeys(s, d), "erk": erk, "igq": igq}[name](LAYERS, density)
    counts = layer_counts(name, LAYERS, density)
    assert sum(counts.values()) == round(density * TOTAL)
    for n, count in counts.items():
        assert abs(count - rule[n] * SIZES[n]) <= 1
        assert 0 <= count <= SIZES[n]


def test_erk_is_proportional_to_the_sum_of_dimensions_where_it_does_not_saturate():
    densities = erk(LAYERS, 0.05)
    free = [n for n, d in densities.items() if d < 1]
    eps = [densities[n] * SIZES[n] / sum(LAYERS[n]) for n in free]
    assert np.ptp(eps) < 1e-9
    assert len(free) < len(LAYERS)
    assert all(eps[0] * sum(LAYERS[n]) >= SIZES[n] for n in LAYERS if n not in free)


@pytest.mark.parametrize("density", [0.5, 0.2, 0.1, 0.05])
def test_erk_against_a_root_finder_and_a_single_clamp_would_undershoot(density):
    raw = {n: sum(s) / prod(s) for n, s in LAYERS.items()}

    def kept(eps):
        return sum(min(1.0, eps * raw[n]) * SIZES[n] for n in LAYERS)

    eps = brentq(lambda e: kept(e) - density * TOTAL, 0, 1e6, xtol=1e-12, rtol=1e-14)
    for n, d in erk(LAYERS, density).items():
        assert d == pytest.approx(min(1.0, eps * raw[n]), rel=1e-6)
    clamped_once = density * TOTAL / sum(sum(s) for s in LAYERS.values())
    assert kept(clamped_once) < density * TOTAL - 1


@pytest.mark.parametrize("density", [0.9, 0.5, 0.1, 0.02, 0.001])
def test_igq_against_a_root_finder(density):
    sizes = np.array(list(SIZES.values()), dtype=float)
    force = brentq(lambda f: (sizes / (1 + f * sizes)).sum() - density * TOTAL, 0, 1e6, xtol=1e-300, rtol=1e-14)
    np.testing.assert_allclose(list(igq(LAYERS, density).values()), 1 / (1 + force * sizes), rtol=1e-6)


def test_largest_remainders_come_first_and_ties_go_to_the_earlier():
    assert layer_counts("uniform", {"a": (3,), "b": (9,)}, 0.5) == {"a": 2, "b": 4}  # 1.5 and 4.5
    assert layer_counts("uniform", {"a": (3,), "b": (5,), "c": (2,)}, 0.25) == {"a": 1, "b": 1, "c": 0}  # .75 1.25 .5


def test_capacity_bounds_every_count_and_the_rest_share_what_is_left():
    counts = layer_counts("uniform", {"a": (10,), "b": (10,), "c": (10,)}, 0.5, {"a": 1, "b": 10, "c": 10})
    assert counts == {"a": 1, "b": 7, "c": 7}
    with pytest.raises(UsageError, match="only 14 are left"):
        layer_counts("uniform", {"a": (10,), "b": (20,)}, 0.5, {"a": 4, "b": 10})


def test_counts_come_from_the_decimal_that_was_written():
    assert kept_count(1 - 0.9, 10) == 1
    assert kept_count(1 - 0.9, 15) == 2  # 1.5, halves to even; in binary 1 - 0.9 is below 0.1
    assert kept_count(1 - 0.7, 15) == 4  # 4.5, halves to even; in binary 1 - 0.7 is above 0.3
    assert kept_count(1 - 0.95, 10) == 0


def test_unknown_allocation_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'uniform'"):
        layer_counts("unifrom", LAYERS, 0.5)
