"""Statistics against scipy and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from sparsebench.stats import (
    BLOCK,
    Interval,
    average_ranks,
    block_ranks,
    clustered_difference,
    mean_interval,
    paired_difference,
    spearman,
    t_quantile,
)


def scores(tasks=3, sparsities=2, seeds=3, methods="abcd", seed=0, effect=0.0) -> pd.DataFrame:
    """Random top1 in hundredths (so that ties occur); method i is worse by ``effect * i``."""
    generator = np.random.default_rng(seed)
    rows = [
        (f"t{t}", s / 10, r, m, round(0.9 - effect * i + generator.normal(0, 0.02), 2))
        for t, s, r in itertools.product(range(tasks), range(5, 5 + sparsities), range(seeds))
        for i, m in enumerate(methods)
    ]
    return pd.DataFrame(rows, columns=[*BLOCK, "method", "top1"])


@pytest.mark.parametrize("n", [2, 3, 5, 30])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_mean_interval_is_scipys(n, level):
    values = np.random.default_rng(n).normal(size=n)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(level)
    interval = mean_interval(values, level)
    assert (interval.low, interval.high) == pytest.approx(tuple(expected))
    assert interval.half == pytest.approx((expected.high - expected.low) / 2)


@pytest.mark.parametrize("n", range(1, 13))
def test_mean_and_deviation_have_the_bits_of_numpy(n):
    for seed in range(50):
        values = np.random.default_rng(seed).random(n).round(3 + seed % 10)
        found = mean_interval(values)
        assert found.mean == values.mean()
        if n > 1:
            assert found.high == values.mean() + t_quantile(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)


def test_one_value_has_no_interval_and_none_is_an_error():
    single = mean_interval([0.7])
    assert single == Interval(0.7, None, None, 1)
    assert single.half is None
    assert not single.separated
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


def test_paired_difference_is_scipys_and_pairs_by_seed():
    generator = np.random.default_rng(0)
    a, b = generator.normal(size=4), generator.normal(size=4)
    expected = scipy_stats.ttest_rel(a, b).confidence_interval()
    shuffled = {seed: b[seed] for seed in (2, 0, 3, 1)}
    gap = paired_difference(dict(enumerate(a)), {**shuffled, 17: 99.0})
    assert gap.n == 4
    assert (gap.low, gap.high) == pytest.approx(tuple(expected), abs=1e-9)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_pairing_finds_what_the_seeds_hide():
    """The methods differ by 1 point in every seed while the seeds differ by 10."""
    dense = {0: 0.70, 1: 0.80, 2: 0.90}
    a = {seed: value + 0.01 for seed, value in dense.items()}
    b = {0: 0.70, 1: 0.801, 2: 0.90}
    assert paired_difference(a, b).separated
    assert not paired_difference(a, a).separated
    assert paired_difference(a, a)[:3] == (0.0, 0.0, 0.0)


def test_block_ranks_are_scipys_with_ties():
    frame = scores()
    ranks = block_ranks(frame)
    assert len(ranks) == 3 * 2 * 3
    for block, row in ranks.iterrows():
        here = frame[(frame[BLOCK] == list(block)).all(axis=1)].set_index("method")["top1"]
        expected = scipy_stats.rankdata(-here.loc[row.index].to_numpy(), method="average")
        np.testing.assert_array_equal(row.to_numpy(), expected)
    assert (ranks.to_numpy() % 1 == 0.5).any(), "the data contain ties"


def test_a_method_that_misses_a_block_is_not_ranked():
    frame = scores()
    hard = (frame["method"] == "b") & (frame["sparsity"] == 0.6) & (frame["seed"] == 1) & (frame["task"] == "t0")
    for broken in (frame[~hard], frame.assign(top1=frame["top1"].mask(hard))):
        assert set(average_ranks(broken).index) == {"a", "c", "d"}
    assert set(average_ranks(frame).index) == set("abcd")


def test_bootstrap_draws_whole_clusters():
    """Against a plain loop over drawn clusters, at many draws; and blocks of one cluster add no certainty."""
    frame = scores(seed=3, effect=0.01)
    table, ranks = average_ranks(frame, draws=4000), block_ranks(frame)
    clusters = [group for _, group in ranks.groupby(level=["task", "seed"])]
    generator, n = np.random.default_rng(1), 9
    means = [pd.concat([clusters[i] for i in generator.integers(n, size=n)]).mean() for _ in range(1500)]
    tail = scipy_stats.norm.cdf(np.sqrt(n / (n - 1)) * scipy_stats.t.ppf(0.025, n - 1))
    expected = pd.DataFrame(means).quantile([tail, 1 - tail])
    np.testing.assert_allclose(table["low"], expected.iloc[0][table.index], atol=0.1)
    np.testing.assert_allclose(table["high"], expected.iloc[1][table.index], atol=0.1)

    copies = pd.concat([frame.assign(sparsity=frame["sparsity"] / 10**k) for k in range(3)])
    pd.testing.assert_frame_equal(
        average_ranks(copies)[["rank", "low", "high"]], average_ranks(frame)[["rank", "low", "high"]]
    )


def test_average_ranks_are_deterministic_and_ordered():
    frame = scores(effect=0.05)
    table = average_ranks(frame)
    assert list(table.index) == list("abcd")
    assert table["rank"].sum() == pytest.approx(1 + 2 + 3 + 4)
    assert ((table["low"] <= table["rank"]) & (table["rank"] <= table["high"])).all()
    pd.testing.assert_frame_equal(table, average_ranks(frame.sample(frac=1, random_state=0)))


def test_a_single_cluster_says_nothing_of_the_spread():
    table = average_ranks(scores(tasks=1, seeds=1))
    assert table[["low", "high"]].isna().all(axis=None)
    assert table["rank"].notna().all()


@pytest.mark.parametrize(("seeds", "separated"), [(1, False), (3, False), (5, False), (6, True)])
def test_a_few_runs_that_agree_may_agree_by_chance(seeds, separated):
    ranks = block_ranks(scores(tasks=1, seeds=seeds, effect=0.3))
    gap = clustered_difference(ranks, "a", "b")
    assert (gap.mean, gap.n) == (-1, seeds)
    assert gap.separated is separated


def test_equal_methods_are_rarely_called_different():
    """The interval over cluster means keeps its 5 % with six seeds; one over blocks is often wrong."""
    wins, naive, trials = 0, 0, 300
    for trial in range(trials):
        generator = np.random.default_rng(trial)
        index = pd.MultiIndex.from_product([["t"], range(6), range(6)], names=BLOCK)
        luck = np.tile(generator.normal(size=6), 6)  # a seed is good or bad at every sparsity alike
        ranks = pd.DataFrame({"a": luck + 0.1 * generator.normal(size=36), "b": 0.0}, index=index)
        wins += clustered_difference(ranks, "a", "b").separated
        naive += mean_interval(ranks["a"]).separated
    assert 0.01 < wins / trials < 0.09
    assert naive / trials > 0.3


def test_spearman_is_scipys():
    generator = np.random.default_rng(0)
    a, b = generator.integers(5, size=20), generator.integers(5, size=20)
    assert spearman(a, b) == pytest.approx(scipy_stats.spearmanr(a, b).statistic)
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert spearman([1], [1]) is None
