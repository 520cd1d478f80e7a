"""The verdict claims what the paired tests and intervals allow, and nothing more."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from sparsebench.report import standing_of
from sparsebench.report.table import frame


@pytest.fixture
def judge(build, small_board):
    """Sentences for methods given as {name: top1 of seeds 0, 1, 2}, on one task at one sparsity."""

    def sentences(scores: dict[str, list[float]], **changes) -> list[str]:
        seeds = list(range(len(next(iter(scores.values())))))
        board = {**small_board, "tasks": ["t"], "methods": list(scores), "sparsities": [0.9], "seeds": seeds}
        records = [build("t", m, 0.9, s, v, **changes) for m, vs in scores.items() for s, v in enumerate(vs)]
        return standing_of(frame(records), board).sentences

    return sentences


def test_a_win_in_every_seed(judge):
    first = judge({"a@imp": [0.9] * 7, "b@imp": [0.8, 0.81, 0.85, 0.84, 0.8, 0.8, 0.8], "c@imp": [0.7] * 7})[0]
    assert first == (  # 2 patterns of 2^7, two comparisons
        "All budgets together, `a@imp` has the best average rank, 1.00 of 3, ahead of `b@imp` by 1.00 ranks "
        "(Holm-corrected p = 0.031): more than seed noise."
    )


def test_a_difference_within_seed_noise_is_a_tie(judge):
    first = judge({"a@imp": [0.9] * 7, "b@imp": [0.8, 0.95, 0.85, 0.84, 0.95, 0.8, 0.8], "c@imp": [0.7] * 7})[0]
    assert "`a@imp` has the best average rank, 1.29 of 3, but it is a tie with `b@imp`: `b@imp` trails by 0.43" in first
    assert "more than seed noise" not in first


@pytest.mark.parametrize("wins", range(4, 8))
def test_no_win_is_claimed_that_the_test_does_not_show(judge, wins):
    """Seven seeds: 7:0 is a win; 6:1, 5:2 and 4:3 are what scipy's sign test says of differences of one size."""
    first = judge({"a@imp": [0.9] * 7, "b@imp": [0.8] * wins + [0.95] * (7 - wins)})[0]
    assert ("more than seed noise" in first) == (binomtest(wins, 7).pvalue < 0.05)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_few_runs_cannot_win(judge, seeds):
    first = judge({"a@imp": [0.9] * seeds, "b@imp": [0.1] * seeds})[0]
    assert f"{seeds} runs (task, seed) cannot tell so many ranks from noise, it takes 6." in first
    assert "ahead" not in first


def test_more_methods_take_more_runs(judge):
    """Six runs that all agree tell two methods, not three."""
    scores = {"a@imp": [0.9] * 6, "b@imp": [0.8] * 6}
    assert "more than seed noise" in judge(scores)[0]
    assert (
        "6 runs (task, seed) cannot tell so many ranks from noise, it takes 7."
        in judge(scores | {"c@imp": [0.7] * 6})[0]
    )


def test_the_baseline_sentence_counts_and_names(judge):
    scores = {
        "magnitude@imp": [0.8, 0.81, 0.79] * 3,
        "better@imp": [0.85, 0.86, 0.85] * 3,
        "same@imp": [0.8, 0.8, 0.8] * 3,
    }
    text = " ".join(judge(scores))
    assert "Of 2 methods against their baseline: 1 better and 1 tied; better: `better@imp` (+5.3 points on" in text
    few = " ".join(judge({name: values[:3] for name, values in scores.items()}))
    assert "Of 2 methods against their baseline: 2 cannot be told by so few runs." in few


def test_random_against_magnitude_in_the_same_regime(judge):
    text = " ".join(judge({
        "magnitude@imp": [0.90, 0.91, 0.92], "random@imp": [0.69, 0.71, 0.73],
        "magnitude@init": [0.60, 0.61, 0.62], "random@init": [0.61, 0.60, 0.62],
        "random/erk@init": [0.5, 0.5, 0.5],
    }))  # fmt: skip
    below = "At 90 % sparsity `random@imp` is 20.0 points below `magnitude@imp`"
    assert f"{below} (95 % interval 17.5 to 22.5 points)." in text
    assert "`random@init` ties with `magnitude@init`" in text
    other = "`random/erk@init` is 41.0 points below `magnitude@imp`, the best magnitude row (95 %"
    assert other in text, "without a partner in the same regime"
    reverse = " ".join(judge({"magnitude@imp": [0.69, 0.71, 0.73], "random@imp": [0.90, 0.91, 0.92]}))
    assert "`random@imp` is 20.0 points above `magnitude@imp` (95 % interval 17.5 to 22.5 points)" in reverse
    single = " ".join(judge({"magnitude@imp": [0.9], "random@imp": [0.7]}))
    assert "`random@imp` differs by -20.0 points from `magnitude@imp`, in a single run" in single


def test_collapses_failures_and_audit_are_counted(judge, build, small_board):
    text = " ".join(judge({"a@imp": [0.9, 0.1, 0.1], "b@imp": [0.9, 0.9, None]}))
    assert (
        "2 of 5 cells collapsed (chance accuracy, an emptied layer or numbers not finite) and count as such: `a@imp` 2."
        in text
    )
    assert "1 cell did not run to their end: `b@imp` 1." in text
    assert "All 5 finished cells pass the audit." in text
    assert "nothing is ranked overall" in text
    broken = " ".join(judge({"a@imp": [0.9, 0.8], "b@imp": [0.7, 0.7]}, audit=[]))
    assert "4 of 4 cells FAIL the audit and are not ranked: `a@imp` 2 and `b@imp` 2." in broken
    assert standing_of(frame([]), small_board).sentences == ["There are no records of this board yet."]
