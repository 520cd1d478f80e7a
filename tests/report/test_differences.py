"""Differences to the baseline: who is compared with whom, paired how, and what may be said of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from sparsebench.report import standing_of
from sparsebench.report.differences import baselines, best_magnitude, differences, is_magnitude
from sparsebench.report.ranking_cells import differences_grid
from sparsebench.report.table import frame
from sparsebench.stats import BLOCK


def test_the_baseline_is_magnitude_in_the_same_regime_else_the_best_magnitude_row():
    methods = [
        "lamp@finetune", "random/erk@init", "lap/erk@finetune", "magnitude@finetune", "magnitude/erk@finetune",
        "magnitude@finetune+shuffle", "magnitude@imp", "lamp@imp(rewind=0.1)", "rigl", "magnitude/2:4@finetune",
    ]  # fmt: skip
    assert baselines(methods, {}, "magnitude@imp") == {
        "lamp@finetune": "magnitude@finetune",
        "random/erk@init": "magnitude@imp",
        "lap/erk@finetune": "magnitude/erk@finetune",
        "magnitude@finetune": "magnitude@imp",
        "magnitude/erk@finetune": "magnitude@finetune",
        "magnitude@finetune+shuffle": "magnitude@finetune",
        "lamp@imp(rewind=0.1)": "magnitude@imp",
        "rigl": "magnitude@imp",
        "magnitude/2:4@finetune": "magnitude@finetune",
    }


def test_a_board_may_name_the_baseline():
    assert baselines(["a", "rigl", "magnitude@imp"], {"baseline": "rigl"}, "magnitude@imp") == {
        "a": "rigl",
        "magnitude@imp": "rigl",
    }
    gone = baselines(["a", "magnitude@imp"], {"baseline": "rigl"}, "magnitude@imp")
    assert gone == {"a": "magnitude@imp"}, "narrowed away"
    assert baselines(["a", "b"], {}, None) == {}


def test_the_best_magnitude_row_is_ranked_if_any_is():
    means = pd.Series({"a": 0.99, "magnitude@imp": 0.8, "magnitude@lrr": 0.9, "magnitude@imp+shuffle": 0.95})
    assert best_magnitude(["a", "magnitude@imp", "magnitude@lrr"], means) == "magnitude@imp"
    assert best_magnitude(["a"], means) == "magnitude@lrr"
    assert best_magnitude(["a"], means[["a"]]) is None
    assert not is_magnitude("magnitudes@imp")


def blocks(**columns) -> pd.DataFrame:
    """Scores of methods at two sparsities in as many clusters as there are values."""
    n = len(next(iter(columns.values())))
    index = pd.MultiIndex.from_tuples([("t", s, seed) for s in (0.5, 0.9) for seed in range(n)], names=BLOCK)
    return pd.DataFrame({name: np.tile(values, 2).astype(float) for name, values in columns.items()}, index=index)


def test_differences_are_those_of_scipy_on_clusters():
    generator = np.random.default_rng(0)
    base = generator.normal(0.8, 0.1, 8)
    scores = blocks(base=base, a=base + generator.normal(0.02, 0.01, 8), b=base + generator.normal(0, 0.05, 8))
    scores.iloc[8:] += np.array([0.0, 0.01, 0.0])  # the sparsities of a cluster are no two witnesses
    table = differences(scores, {"a": "base", "b": "base"})
    whole = table[table["sparsity"].isna()].set_index("method")
    for method in "ab":
        gaps = (scores[method] - scores["base"]).groupby(level=["task", "seed"]).mean().to_numpy()
        expected = scipy_stats.permutation_test((gaps,), np.mean, permutation_type="samples", n_resamples=np.inf)
        assert whole.loc[method, "difference"] == pytest.approx(gaps.mean())
        assert whole.loc[method, "p"] == pytest.approx(expected.pvalue)
        bounds = scipy_stats.ttest_1samp(gaps, 0).confidence_interval()
        assert whole.loc[method, "low"] == pytest.approx(bounds.low, abs=0.4 * gaps.std())
        assert whole.loc[method, "high"] == pytest.approx(bounds.high, abs=0.4 * gaps.std())
    assert whole["clusters"].tolist() == [8, 8]
    assert whole.loc["a", ["verdict", "p_holm"]].tolist() == ["better", pytest.approx(2 * whole.loc["a", "p"])]
    assert whole.loc["b", "verdict"] == "tie"
    assert sorted(table["sparsity"].dropna().unique()) == [0.5, 0.9]


def test_few_runs_say_that_they_cannot_tell():
    scores = blocks(base=[0.5] * 5, a=[0.9] * 5)
    row = differences(scores, {"a": "base"}).iloc[0]
    assert (row["verdict"], row["p"], row["p_least"]) == ("few", 1 / 16, 1 / 16)
    more = differences(blocks(base=[0.5] * 6, a=[0.9] * 6), {"a": "base"}).iloc[0]
    assert (more["verdict"], more["p"]) == ("better", 1 / 32)
    many = {f"m{i}": [0.9] * 6 for i in range(2)}
    assert set(differences(blocks(base=[0.5] * 6, **many), dict.fromkeys(many, "base"))["verdict"]) == {"few"}


def test_only_what_both_have_is_compared():
    scores = blocks(base=[0.5, 0.6, 0.7] * 2, a=[0.9, 0.9, np.nan] * 2)
    row = differences(scores, {"a": "base"}).iloc[0]
    assert (row["difference"], row["clusters"]) == (pytest.approx(0.35), 4)


def test_incomplete_methods_are_compared_where_they_are_complete(build, build_all, small_board):
    """Cells of a row that failed or lacks a seed stay out; the method's other rows are still compared."""
    records = [
        r for r in build_all(small_board)
        if r.cell != {"task": "digits-mlp", "method": "lamp@imp", "sparsity": 0.9, "seed": 1}
    ]  # fmt: skip
    standing = standing_of(frame(records), small_board)
    found = standing.differences.set_index("method").loc["lamp@imp"]
    assert found["clusters"].tolist() == [6, 6, 3]
    assert np.isnan(standing.summary.set_index("method").loc["lamp@imp", "rank"])
    assert standing.summary.set_index("method").loc["lamp@imp", "baseline"] == "magnitude@imp"


def test_the_table_says_ties_in_words(build_all, small_board):
    standing = standing_of(frame(build_all(small_board)), small_board)
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in differences_grid(standing.differences).rows}
    assert list(rows) == ["lamp@imp", "random@imp"]
    assert rows["lamp@imp"][0] == "magnitude@imp"
    assert rows["lamp@imp"][4] in ("tie", "too few runs")
    assert rows["random@imp"][1].startswith("-")
