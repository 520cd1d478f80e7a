"""RigL's claims: hold where moving connections help, fail for a RigL that stays or grows at the smallest gradient."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml

import sparsebench.callbacks.dynamic as dynamic
from sparsebench.benchmarks.papers import rigl as paper
from sparsebench.grid.board import Board, from_text
from sparsebench.papers import Evidence, Finding, Verdict
from sparsebench.papers.recipe import load
from tests.grid.conftest import run_inline

RECIPE = load("rigl")
RIGL, SET, STATIC, SMALL, GMP = "rigl", "set(end=0.75)", paper.STATIC, "small_dense", "magnitude@gmp"
REFERENCE = {
    "rigl-over-static": STATIC,
    "rigl-not-below-set": SET,
    "sparse-over-small-dense": SMALL,
    "rigl-near-gmp": GMP,
}
"""What each claim holds RigL against."""


def finding(claim: str, evidence: Evidence) -> Finding:
    return next(c for c in RECIPE.claims if c.name == claim).find(evidence)


def verdict(claim: str, evidence: Evidence) -> Verdict:
    return finding(claim, evidence).verdict


def small(*methods: str) -> Board:
    """A perceptron of which connections that stay leave little: the effect is large and three seeds show it."""
    task = {"name": "short", "base": "digits-mlp", "recipe": {"epochs": 12, "mask_every": 4}}
    keys = {"methods": list(methods), "tasks": [task], "sparsities": [0.94], "seeds": [0, 1, 2]}
    return from_text(yaml.safe_dump({"name": "rigl", "version": 1, **RECIPE.smoke, **keys}), "test_rigl")


def measured(board: Board, store) -> Evidence:
    result = run_inline(board, store)
    assert not result.failed
    return Evidence("smoke", board, [dict(record.data) for record in result.records.values()])


@pytest.fixture(scope="module")
def real(tmp_path_factory) -> Evidence:
    return measured(small(RIGL, STATIC), tmp_path_factory.mktemp("store"))


def test_real_connections_that_move_beat_those_that_stay(real):
    assert verdict("rigl-over-static", real) is Verdict.REPRODUCED


STAYS = ("rigl_update", lambda weight, grad, mask, fraction: mask.clone())
LEAST_GRADIENT = (
    "rigl_update",
    lambda weight, grad, mask, fraction, right=dynamic.rigl_update: right(weight, 1 / (1 + grad.abs()), mask, fraction),
)


@pytest.mark.parametrize("sabotage", [STAYS, LEAST_GRADIENT], ids=["stays", "least gradient"])
def test_a_sabotaged_rigl_is_noticed(sabotage, real, tmp_path, monkeypatch):
    monkeypatch.setattr(dynamic, *sabotage)
    ours = [r for r in measured(small(RIGL), tmp_path).records if r["cell"]["method"] == RIGL]
    others = [r for r in real.records if r["cell"]["method"] != RIGL]
    assert verdict("rigl-over-static", Evidence("smoke", real.board, [*others, *ours])) is Verdict.NOT


def invented(top1: Callable[[str], float]) -> Evidence:
    """The whole board with accuracies by hand, which scatter by a tenth of a point."""
    board = RECIPE.board("smoke")
    records = [
        {
            "status": "ok",
            "cell": cell.key(),
            "metrics": {"top1": top1(cell.method.name) + 0.001 * (cell.seed * len(cell.method.name) % 3)},
        }
        for cell in board.cells
    ]
    return Evidence("smoke", board, records)


AS_PUBLISHED = {RIGL: 0.931, SET: 0.929, STATIC: 0.912, SMALL: 0.910, GMP: 0.932}


@pytest.mark.parametrize("claim", REFERENCE)
def test_what_was_published_holds_and_worse_growth_does_not(claim):
    published = invented(lambda method: AS_PUBLISHED.get(method, 0.9))
    assert verdict(claim, published) is Verdict.REPRODUCED
    worse = invented(lambda method: AS_PUBLISHED[SMALL] - 0.02 if method == RIGL else AS_PUBLISHED.get(method, 0.9))
    assert {point.word for point in finding(claim, worse).points} == {"refuted"}


@pytest.mark.parametrize("claim", ["rigl-over-static", "sparse-over-small-dense"])
def test_an_exchanged_arm_is_noticed(claim):
    published = invented(lambda method: AS_PUBLISHED.get(method, 0.9))
    assert verdict(claim, published.exchanged(RIGL, REFERENCE[claim])) is Verdict.NOT


@pytest.mark.parametrize("claim", ["rigl-not-below-set", "rigl-near-gmp"])
def test_a_loss_of_a_point_and_more_is_no_tie(claim):
    tie = invented(lambda method: 0.9)
    assert verdict(claim, tie) is not Verdict.NOT
    unclear = [
        {**r, "metrics": {"top1": 0.9 + (0.03 if r["cell"]["seed"] % 2 else -0.03) * (r["cell"]["method"] == RIGL)}}
        for r in tie.records
    ]
    assert verdict(claim, Evidence("smoke", tie.board, unclear)) is Verdict.NOT


def test_published_numbers_stand_at_their_arms():
    numbers = {
        point.where: point.published
        for claim in ("authors-number", "reproduction-table")
        for point in finding(claim, Evidence("full", RECIPE.board("full"), [])).points
        if claim == "reproduction-table" or point.published == 93.6
    }
    at = f"{paper.WRN}, {{}}, 80 %"
    assert numbers == {
        at.format("rigl"): 93.1,
        at.format("set(end=0.75)"): 92.9,
        at.format("random/uniform@init"): 91.2,
        at.format("small_dense"): 91.0,
        at.format("magnitude@gmp"): 93.2,
    }


def test_the_full_network_is_wrn_22_2_with_the_dropout_of_both_releases():
    task = RECIPE.board("full").tasks[0]
    assert (task.network, task.network_arguments) == ("wrn_22_2", {"dropout": 0.3})
    rates = [round(task.recipe.rate * task.recipe.factor(step / 87_750), 6) for step in (0, 29_990, 30_020, 60_040)]
    assert rates == [0.1, 0.1, 0.02, 0.004]
