"""Which images are kept: exact counts, the right end, ties that no order of the data decides."""

from __future__ import annotations

import numpy as np
import pytest

from sparsebench.diet import arms, read
from sparsebench.diet.selection import SAMPLED, kept, sampled_ranks, stability
from sparsebench.errors import UsageError
from sparsebench.stats import spearman

SCORES = np.random.default_rng(0).permutation(40).astype(float)


@pytest.mark.parametrize("keep", [0.15, 0.3, 0.5, 0.7, 0.99])
def test_counts_are_exact_and_larger_parts_contain_smaller_ones(keep):
    hardest, easiest = kept(SCORES, keep), kept(SCORES, keep, order="easiest")
    assert len(hardest) == len(easiest) == round(keep * 40)
    assert SCORES[hardest].min() == 40 - round(keep * 40)
    assert SCORES[easiest].max() == round(keep * 40) - 1
    assert set(hardest) <= set(kept(SCORES, 1.0))


def test_a_window_skips_an_end():
    found = kept(SCORES, 0.5, skip=0.25)
    assert sorted(SCORES[found]) == list(range(10, 30))
    assert sorted(SCORES[kept(SCORES, 0.25, order="easiest", skip=0.1)]) == list(range(4, 14))


def test_at_least_one_image_is_kept():
    assert len(kept(SCORES, 0.001)) == 1


def test_ties_are_broken_by_a_hash_and_not_by_position():
    flat = np.zeros(1000)
    found = kept(flat, 0.5, salt="a")
    assert np.array_equal(found, kept(flat, 0.5, salt="a"))
    assert 150 < (found < 500).sum() < 350
    assert not np.array_equal(found, kept(flat, 0.5, salt="b"))


def test_images_that_were_never_learned_are_the_hardest():
    assert kept(np.array([0.0, np.inf, 3.0, np.inf]), 0.5).tolist() == [1, 3]


def test_sampled_ranks_give_the_correlation_of_all():
    rng = np.random.default_rng(1)
    a = rng.normal(size=5000)
    b = a + rng.normal(size=5000)
    sample = spearman(sampled_ranks(a, "x"), sampled_ranks(b, "x"))
    assert len(sampled_ranks(a, "x")) == SAMPLED
    assert sample == pytest.approx(spearman(a, b), abs=0.1)
    assert len(sampled_ranks(SCORES)) == 40


def test_stability_is_the_correlation_with_the_mean():
    runs = np.random.default_rng(2).normal(size=(3, 50))
    assert stability(runs) == [spearman(run, runs.mean(axis=0)) for run in runs]
    assert stability(np.stack([SCORES, SCORES])) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("arm", "words"),
    [
        ({"score": "random", "order": "easiest"}, "order has no meaning"),
        ({"score": "input_norm", "runs": 3}, "runs has no meaning"),
        ({"score": "el2n", "epoch": 21}, "epoch=21 is not a whole number from 0 to 20"),
        ({"score": "el2n", "epoch": 0.1}, "epoch=0.1"),
        ({"score": "forgetting", "epoch": 0}, "epoch=0 is not a whole number from 1"),
        ({"score": "el2n", "runs": 0}, "runs=0"),
        ({"score": "el2n", "order": "hard"}, "did you mean 'hardest'"),
        ({"score": "el2n", "budget": "time"}, "steps, epochs"),
        ({"score": "el2n", "skip": 0.6}, "skip=0.6"),
    ],
)
def test_what_makes_no_sense_is_refused(arm, words):
    with pytest.raises(UsageError, match=words):
        read("digits-mlp", 20, arm, 0.5)


@pytest.mark.parametrize(
    ("value", "keeps", "words"),
    [
        (["el3n"], [0.5], "did you mean 'el2n'"),
        ([{"epoch": 3}], [0.5], "neither a score nor a mapping"),
        ([{"score": "el2n", "epochs": 3}], [0.5], "did you mean 'epoch'"),
        ([{"score": "el2n", "tasks": "a"}], [0.5], "a list of the board's tasks"),
        ([], [0.5], "a list such as"),
        (["el2n"], [1.5], r"data_keep: 1.5"),
        (["el2n"], [], r"data_keep: \[\]"),
    ],
)
def test_a_board_is_told_what_is_wrong(value, keeps, words):
    with pytest.raises(UsageError, match=words):
        arms(value, keeps)
