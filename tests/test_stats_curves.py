"""Pareto fronts, curves read at common levels, and bootstraps with gaps, against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from sparsebench.stats import at_levels, cluster_bootstrap, front


def test_a_front_is_what_nothing_beats():
    for seed in range(30):
        generator = np.random.default_rng(seed)
        gain, cost = generator.integers(6, size=(2, 15)) / 10.0  # with ties
        beaten = [
            any(
                gain[j] >= gain[i] and cost[j] <= cost[i] and (gain[j] > gain[i] or cost[j] < cost[i])
                for j in range(15)
            )
            for i in range(15)
        ]
        assert front(gain, cost).tolist() == [not b for b in beaten]


def test_what_is_not_known_is_on_no_front():
    assert front(np.array([np.nan, 0.5, 0.9]), np.array([0.0, 1.0, np.nan])).tolist() == [False, True, False]
    assert front(np.array([]), np.array([])).tolist() == []


def test_a_curve_is_linear_in_the_logarithm_and_ends_where_it_was_measured():
    speedups, tops = [2.0, 30.0, 8.0], [0.9, 0.1, 0.7]  # in any order
    found = at_levels(speedups, tops, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    assert found[1:4] == pytest.approx([0.9, 0.8, 0.7])
    assert found[4] == pytest.approx(0.7 - 0.6 * np.log(2) / np.log(30 / 8))
    assert np.isnan(found[[0, 5]]).all(), "never beyond its ends"


def test_a_level_within_a_per_cent_of_an_end_is_that_end():
    assert at_levels([4.03, 15.9], [0.9, 0.7], [4.0, 16.0]).tolist() == [0.9, 0.7]
    assert np.isnan(at_levels([4.1, 15.8], [0.9, 0.7], [4.0, 16.0])).all()


def test_points_of_one_speedup_are_averaged_and_holes_are_no_points():
    assert at_levels([4, 4, 8, 6], [0.9, 0.7, 0.4, np.nan], [4.0, 8.0]).tolist() == pytest.approx([0.8, 0.4])
    assert np.isnan(at_levels([np.nan], [0.3], [4.0])).all()
    assert at_levels([4.0], [0.3], [4.0, 8.0])[0] == 0.3


def test_clusters_without_a_value_do_not_narrow_an_interval():
    generator = np.random.default_rng(0)
    totals, sizes = generator.normal(size=(10, 1)), np.ones((10, 1))
    few = (totals[:5], sizes[:5])
    holes = (np.vstack([totals[:5], np.zeros((5, 1))]), np.vstack([sizes[:5], np.zeros((5, 1))]))
    width = [float((high - low)[0]) for low, high in (cluster_bootstrap(*few), cluster_bootstrap(*holes))]
    assert width[1] == pytest.approx(width[0], rel=0.25)
    both = cluster_bootstrap(np.hstack([totals, holes[0]]), np.hstack([sizes, holes[1]]))
    assert both[0][0] == cluster_bootstrap(totals, sizes)[0][0], "columns do not mind each other"
    assert both[0][1] == cluster_bootstrap(*holes)[0][0]


@pytest.mark.parametrize("clusters", [0, 1])
def test_a_single_cluster_has_no_bounds(clusters):
    low, high = cluster_bootstrap(np.ones((clusters, 2)), np.ones((clusters, 2)))
    assert np.isnan([low, high]).all()
