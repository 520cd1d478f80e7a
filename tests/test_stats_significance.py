"""Sign-flip tests, Holm's correction and the seeds needed, against scipy and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from sparsebench.stats import (
    FEWEST_CLUSTERS,
    clusters_needed,
    critical_difference,
    fewest_clusters,
    holm,
    not_told_apart,
    sign_flip,
    t_quantile,
)
from sparsebench.stats.significance import ALPHA, EXACT_UP_TO, PATTERNS
from sparsebench.stats.student import t_cdf


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 8, 11, 49, 200, 201, 999])
def test_students_t_is_scipys(df):
    for x in (-7.0, -1.3, 0.0, 0.2, 2.5, 30.0):
        assert t_cdf(x, df) == pytest.approx(scipy_stats.t.cdf(x, df), abs=1e-12)
    for p in (0.0001, 0.025, 0.3, 0.5, 0.8, 0.975, 0.9995):
        assert t_quantile(p, df) == pytest.approx(scipy_stats.t.ppf(p, df), rel=1e-8, abs=1e-12)


@pytest.mark.parametrize(("p", "df"), [(0.0, 3), (1.0, 3), (0.5, 0)])
def test_there_is_no_quantile_of_nothing(p, df):
    with pytest.raises(ValueError, match="0 < p < 1 and df >= 1"):
        t_quantile(p, df)


@pytest.mark.parametrize("n", [2, 3, 6, 12])
def test_the_exact_test_is_scipys(n):
    values = np.random.default_rng(n).normal(0.4, 1, size=(n, 4)).round(2)
    p, least = sign_flip(values)
    for column in range(4):
        expected = scipy_stats.permutation_test(
            (values[:, column],), np.sum, permutation_type="samples", n_resamples=np.inf
        )
        assert p[column] == pytest.approx(expected.pvalue)
    assert least == pytest.approx([2.0 ** (1 - n)] * 4)


def test_what_is_drawn_is_near_what_all_patterns_give(monkeypatch):
    values = np.random.default_rng(0).normal(0.3, 1, size=(EXACT_UP_TO, 5))
    exact, _ = sign_flip(values)
    padded = np.vstack([values, np.full((1, 5), np.nan)])  # one cluster more, which tells nothing
    drawn, least = sign_flip(padded)
    np.testing.assert_allclose(drawn, exact, atol=0.02)
    assert not np.array_equal(drawn, exact)
    assert least == pytest.approx([max(2.0 ** (1 - EXACT_UP_TO), 1 / (PATTERNS + 1))] * 5)
    np.testing.assert_array_equal(sign_flip(padded)[0], drawn)


def test_missing_clusters_and_zeros_tell_nothing():
    values = np.array([1.0, 2.0, 4.0, 3.0])
    with_gaps = np.array([1.0, np.nan, 2.0, 0.0, 4.0, np.nan, 3.0])
    p, least = sign_flip(values[:, None])
    gapped, least_of_five = sign_flip(with_gaps[:, None])
    assert gapped == p == 2 / 16
    assert (least, least_of_five) == (2 / 16, 2 / 32)


def test_equal_methods_are_called_different_as_often_as_said():
    """Five per cent, for noise that is far from normal; with five runs never, since no pattern is rare enough."""
    generator = np.random.default_rng(0)
    heavy = generator.standard_t(2, size=(8, 4000))
    assert 0.035 < (sign_flip(heavy)[0] <= 0.05).mean() < 0.055
    assert sign_flip(heavy[:5])[0].min() == 1 / 16


def test_holm_is_closed_testing():
    """Adjusted p of i: the largest Bonferroni p over all sets of hypotheses that hold i."""
    for seed in range(20):
        p = np.random.default_rng(seed).uniform(0, 0.3, size=5).round(2)
        expected = [
            max(
                min(1.0, len(group) * min(p[list(group)]))
                for size in range(1, 6)
                for group in itertools.combinations(range(5), size)
                if i in group
            )
            for i in range(5)
        ]
        assert holm(p) == pytest.approx(expected)


def test_holm_counts_only_tests_that_were_made():
    adjusted = holm(np.array([0.02, np.nan, 0.01]))
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.02])
    assert np.isnan(adjusted[1])
    assert holm(np.array([])).size == 0


@pytest.mark.parametrize("comparisons", [1, 2, 8, 33, 50])
def test_fewest_clusters_is_where_agreement_of_all_can_be_told(comparisons):
    def best(clusters: int) -> float:
        return holm(sign_flip(np.ones((clusters, comparisons)))[0]).min()

    n = fewest_clusters(comparisons)
    assert best(n) < ALPHA <= best(n - 1)


@pytest.mark.parametrize("effect", [0.05, 0.2, 0.4, 0.7, 1.0])
def test_clusters_needed_have_the_power_promised(effect):
    """The noncentral t: 80 % at the number given, not yet at two fewer."""

    def power(n: int) -> float:
        limit, shift = scipy_stats.t.ppf(0.975, n - 1), effect * np.sqrt(n)
        return scipy_stats.nct.sf(limit, n - 1, shift) + scipy_stats.nct.cdf(-limit, n - 1, shift)

    n = clusters_needed(-0.03 * effect, 0.03)
    if effect == 0.05:
        assert n == 1000, "that many or more"
        return
    assert power(n) > 0.79
    assert power(n - 2) < 0.8


def test_what_cannot_be_known_is_not_told():
    assert clusters_needed(0.0, 1.0) is None
    assert clusters_needed(1.0, float("nan")) is None
    assert clusters_needed(1.0, 0.0) == clusters_needed(1.0, 0.01) == FEWEST_CLUSTERS


@pytest.mark.parametrize("methods", [2, 3, 7, 20, 60])
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_critical_differences_are_those_of_scipys_studentized_range(methods, alpha):
    quantile = scipy_stats.studentized_range.ppf(1 - alpha, methods, np.inf)
    expected = quantile / np.sqrt(2) * np.sqrt(methods * (methods + 1) / (6 * 12))
    assert critical_difference(methods, 12, alpha) == pytest.approx(expected, rel=1e-9)


def test_critical_values_are_those_of_the_paper():
    """Demsar 2006, table 5 (a), Nemenyi's test at 5 % for 2 to 10 classifiers."""
    printed = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    for k, q in enumerate(printed, start=2):
        assert critical_difference(k, 1) / np.sqrt(k * (k + 1) / 6) == pytest.approx(q, abs=1e-3)


def test_groups_are_the_largest_runs_without_a_critical_difference():
    ranks = sorted(np.random.default_rng(0).uniform(1, 9, size=12).tolist())
    joined = {(i, j) for i, j in itertools.combinations(range(12), 2) if ranks[j] - ranks[i] < 2}
    largest = [(i, j) for i, j in sorted(joined) if (i - 1, j) not in joined and (i, j + 1) not in joined]
    assert not_told_apart(ranks, 2) == largest
    assert not_told_apart([1.0, 4.0], 2) == []


@pytest.mark.parametrize(("methods", "blocks", "alpha"), [(1, 5, 0.05), (3, 0, 0.05), (3, 5, 1.0)])
def test_there_is_no_critical_difference_of_nothing(methods, blocks, alpha):
    with pytest.raises(ValueError, match="needs two methods"):
        critical_difference(methods, blocks, alpha)
