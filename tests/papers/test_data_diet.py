"""Data diet's claims: hold where hard images teach more, fail where scores are turned round or say nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from sparsebench.benchmarks.papers import data_diet as paper
from sparsebench.papers import Evidence, Verdict
from sparsebench.papers.recipe import load
from sparsebench.registry import example_score
from tests.papers.small import measured, points, shortened, verdict
from tests.report.conftest import make_record

RECIPE = load("data_diet")
BOARD = RECIPE.board("smoke")
ACCURACY = {
    "random": (0.960, 0.950, 0.930, 0.894),
    "el2n@1": (0.970, 0.967, 0.947, 0.751),
    "el2n@4": (0.969, 0.968, 0.958, 0.854),
    "grand@0": (0.932, 0.905, 0.812, 0.698),
    "input_norm": (0.940, 0.902, 0.829, 0.567),
    "forgetting@20": (0.968, 0.966, 0.950, 0.850),
    "el2n@4-easiest": (0.916, 0.855, 0.698, 0.640),
    "grand@1": (0.970, 0.966, 0.947, 0.751),
    "grand@1-runs1": (0.962, 0.955, 0.940, 0.740),
}
"""At 70, 50, 30 and 15 % kept; with all images 0.967."""
Change = Callable[[str, float, dict], dict]
"""Arm, share kept and its numbers -> other numbers."""


def ranks() -> dict[str, list[int]]:
    """Ranks of 256 images: GraNd at initialisation is near the norm, EL2N and GraNd after an epoch are near another."""
    rng = np.random.default_rng(0)
    norm, hard = rng.normal(size=256), rng.normal(size=256)
    scores = {"input_norm": norm, "grand@0": norm + 0.3 * rng.normal(size=256)}
    scores |= {
        "el2n@1": hard,
        "grand@1": hard + 0.2 * rng.normal(size=256),
        "el2n@4": hard + 0.5 * rng.normal(size=256),
    }
    return {arm: np.argsort(np.argsort(score)).tolist() for arm, score in scores.items()}


def evidence(change: Change = lambda arm, keep, numbers: numbers) -> Evidence:
    """Made by hand: the pilot's accuracies with a little noise."""
    rng, known, found = np.random.default_rng(1), ranks(), []
    for task in BOARD.tasks:
        arm, keep = (task.diet.arm, task.diet.keep) if task.diet else ("", 1.0)
        numbers = {
            "top1": ACCURACY[arm][(0.7, 0.5, 0.3, 0.15).index(keep)] if arm else 0.967,
            "ranks": known.get(arm, []),
            "stability": list(0.7 + 0.01 * rng.normal(size=10)) if arm else [],
        }
        numbers = change(arm, keep, numbers)
        for seed in BOARD.seeds:
            top1 = float(numbers["top1"] + 0.003 * rng.normal())
            found.append(make_record(task.name, "dense", 0.0, seed, top1, diet=numbers).data)
    return Evidence("smoke", BOARD, [dict(record) for record in found])


CLAIMS = [claim.name for claim in RECIPE.claims]


@pytest.mark.parametrize("claim", [name for name in CLAIMS if name not in ("grand-at-start", "reproduction-table")])
def test_evidence_of_the_kind_claimed_makes_it_hold(claim):
    assert verdict(RECIPE, claim, evidence()) is Verdict.REPRODUCED


def given(arm: str, by: str) -> Change:
    """An arm with another one's accuracies."""

    def change(name: str, keep: float, numbers: dict) -> dict:
        if name != arm:
            return numbers
        top1 = ACCURACY[by][(0.7, 0.5, 0.3, 0.15).index(keep)] if by else 0.967
        return {**numbers, "top1": top1}

    return change


def both(*changes: Change) -> Change:
    def change(name: str, keep: float, numbers: dict) -> dict:
        for one in changes:
            numbers = one(name, keep, numbers)
        return numbers

    return change


def ranked(arm: str, by: str) -> Change:
    """An arm with another one's ranking; by nothing: one at random."""
    other = ranks()[by] if by else np.random.default_rng(5).permutation(256).tolist()
    return lambda name, keep, numbers: {**numbers, "ranks": other} if name == arm else numbers


EASY = both(given("el2n@1", "el2n@4-easiest"), given("el2n@4", "el2n@4-easiest"))
SABOTAGES = [
    ("el2n-over-random", EASY, "refuted"),
    ("el2n-over-random", both(given("el2n@1", "random"), given("el2n@4", "random")), "undecided"),
    ("half-without-loss", EASY, "refuted"),
    ("half-without-loss", both(given("el2n@1", "random"), given("el2n@4", "random")), "refuted"),
    ("grand-at-start", given("none", ""), "refuted"),
    ("grand-at-start-fails", both(given("grand@0", ""), given("input_norm", "")), "refuted"),
    ("grand-is-input-norm", ranked("grand@0", "el2n@1"), "refuted"),
    ("grand-is-input-norm", ranked("input_norm", ""), "refuted"),
    ("grand-changes", ranked("grand@0", "grand@1"), "refuted"),
    ("el2n-is-grand", ranked("grand@1", "grand@0"), "refuted"),
    ("crossover", both(given("el2n@1", ""), given("el2n@4", "")), "refuted"),
    ("hard-not-easy", given("el2n@4-easiest", ""), "refuted"),
    ("one-network-ranks-otherwise", lambda a, k, n: {**n, "stability": [1.0] * 10}, "refuted"),
    ("one-network-selects-worse", both(given("grand@1", "random"), given("grand@1-runs1", "grand@1")), "refuted"),
]


@pytest.mark.parametrize(("claim", "change", "word"), SABOTAGES)
def test_a_sabotage_makes_the_claim_fail(claim, change, word):
    found = evidence(change)
    assert verdict(RECIPE, claim, found) is Verdict.NOT
    assert set(points(RECIPE, claim, found)) == {word}


def test_grand_at_start_holds_where_it_beats_chance():
    assert verdict(RECIPE, "grand-at-start", evidence(given("grand@0", ""))) is Verdict.REPRODUCED


def test_only_full_can_test_the_table():
    finding = RECIPE.findings(evidence())["reproduction-table"]
    assert finding.verdict is Verdict.UNTESTABLE
    assert "needs --scale full" in finding.note


@pytest.mark.parametrize(("off", "expected"), [(0.0, Verdict.REPRODUCED), (0.02, Verdict.NOT)])
def test_the_table_is_judged_by_losses_at_full_scale(off, expected):
    board, rng, found = RECIPE.board("full"), np.random.default_rng(0), []
    for task in (t for t in board.tasks if t.name.startswith(paper.SHORT)):
        lost = 0.0
        if task.diet:
            lost = (paper.TABLE[task.diet.arm][round(10 * (1 - task.diet.keep)) - 1] - paper.ALL_IMAGES) / 100 - off
        found += [
            dict(make_record(task.name, "dense", 0.0, s, 0.953 + lost + 0.001 * rng.normal()).data) for s in board.seeds
        ]
    assert RECIPE.findings(Evidence("full", board, found))["reproduction-table"].verdict is expected


def test_full_is_the_paper_s_setting():
    board = RECIPE.board("full")
    task = board.tasks[0]
    assert (task.recipe.epochs, task.recipe.rate, task.recipe.global_batch) == (200, 0.1, 128)
    assert [task.recipe.factor(e / 200) for e in (59, 60, 120, 160)] == pytest.approx([1, 0.2, 0.04, 0.008])
    el2n = next(t.diet for t in board.tasks if t.diet and t.diet.arm == "el2n@20")
    assert (el2n.runs, el2n.epoch, el2n.budget) == (10, 20, "steps")
    assert len(board.seeds) == 4


def turned_round(net, x, y):
    from sparsebench.diet.el2n import el2n

    return -el2n(net, x, y)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("diet") / "store"


def test_negated_scores_make_real_cells_fail(store, monkeypatch):
    """The easiest half in the name of EL2N, with the real code around it."""
    example_score.get("el2n")
    monkeypatch.setitem(example_score._live, "el2n", turned_round)
    arms = ["random", {"score": "el2n", "epoch": 4}]
    found = measured(shortened("data_diet", seeds=[0, 1, 2], diet=arms, data_keep=[1.0, 0.5]), store)
    for other, margin in (("random", 0.0), (None, paper.HALF_POINT)):
        judge = paper.against(["el2n@4"], other, (50,), margin=margin)
        assert [point.word for point in judge(found).points] == ["refuted"]


def scored(store, *arms: str | dict) -> Evidence:
    """Real scores; one cell each, of which the ranks alone are looked at."""
    task = {**RECIPE.smoke["tasks"][0], "recipe": {**RECIPE.smoke["tasks"][0]["recipe"], "epochs": 1}}
    return measured(shortened("data_diet", tasks=[task], seeds=[0], diet=list(arms), data_keep=[0.1]), store)


def pixel_sum(net, x, y):
    """In the place of GraNd: neither a gradient nor a norm."""
    return torch.cos(1000 * x.flatten(1).sum(1))


def test_real_rankings_and_another_s_in_the_name_of_grand(tmp_path, monkeypatch):
    arms = [{"score": score, "epoch": 1} for score in ("grand", "el2n")]
    honest = scored(tmp_path / "honest", {"score": "grand", "epoch": 0}, "input_norm", *arms)
    assert points(RECIPE, "el2n-is-grand", honest) == ["holds"]
    assert points(RECIPE, "grand-changes", honest) == ["holds"]
    assert paper.correlation(honest, "grand@0", "input_norm").value > 0.7
    monkeypatch.setitem(example_score._live, "grand", pixel_sum)
    false = scored(tmp_path / "false", {"score": "grand", "epoch": 0}, "input_norm", *arms)
    assert points(RECIPE, "el2n-is-grand", false) == points(RECIPE, "grand-is-input-norm", false) == ["refuted"]
