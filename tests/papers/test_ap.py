"""AP's claims: hold where the paper's effect is, fail where a sabotaged AP or an exchanged arm stands in its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import sparsebench.activation as activation
from sparsebench.benchmarks.papers import ap
from sparsebench.papers import Evidence, Verdict
from sparsebench.papers.recipe import load
from tests.grid.conftest import run_inline

RECIPE = load("ap")
X, AP, MIRROR, MOVEMENT, MORE = ap.X, ap.AP, ap.MIRROR, ap.MOVEMENT, ap.MORE


def verdict(claim: str, evidence: Evidence) -> Verdict:
    finding = next(c for c in RECIPE.claims if c.name == claim).find(evidence)
    assert finding.points or finding.verdict is Verdict.UNTESTABLE
    return finding.verdict


@pytest.fixture(scope="module")
def small():
    """A board of real cells: the recipe's perceptron, shorter, in larger cycles."""
    smoke = RECIPE.smoke
    task = {**smoke["tasks"][0], "recipe": {**smoke["tasks"][0]["recipe"], "epochs": 8}}
    changed = {"tasks": [task], "methods": [X, AP, MIRROR], "sparsities": ap.LEVELS[:3], "seeds": [0, 1, 2, 3]}
    defaults = {"imp": {"rate": 0.36}, "ap": {"q": 0.036}}
    return load_board({**smoke, **changed, "defaults": defaults})


def load_board(content: dict):
    import yaml

    from sparsebench.grid.board import from_text

    return from_text(yaml.safe_dump({"name": "ap", "version": 1, **content}), "test_ap")


def measured(board, store) -> Evidence:
    result = run_inline(board, store)
    assert not result.failed
    assert all(record.audit_passed for record in result.records.values())
    return Evidence("smoke", board, [dict(record.data) for record in result.records.values()])


@pytest.fixture(scope="module")
def real(small, tmp_path_factory) -> Evidence:
    return measured(small, tmp_path_factory.mktemp("store"))


def test_real_cells_show_trend_and_mechanism(real):
    assert verdict("M1-trend", real) is Verdict.REPRODUCED
    assert verdict("M2-mechanism", real) is Verdict.REPRODUCED


def test_an_ap_that_takes_positive_weights_is_noticed(small, real, tmp_path, monkeypatch):
    right = activation._of_sign
    monkeypatch.setattr(activation, "_of_sign", lambda weight, sign: right(-weight, sign))
    sabotaged = measured(small.narrowed(methods=[AP]), tmp_path)
    others = [r for r in real.records if r["cell"]["method"] != AP]
    ours = [r for r in sabotaged.records if r["cell"]["method"] == AP]
    assert verdict("M2-mechanism", Evidence("smoke", small, [*others, *ours])) is Verdict.NOT


def test_exchanged_arms_are_noticed(real):
    assert verdict("M2-mechanism", real.exchanged(AP, MIRROR)) is Verdict.NOT
    assert verdict("M2-mechanism", real.exchanged(AP, X)) is Verdict.NOT
    assert verdict("M2-mechanism", real.exchanged(MIRROR, AP)) is Verdict.NOT


def test_levels_in_another_order_are_no_trend(real):
    order = dict(zip(ap.LEVELS[:3], reversed(ap.LEVELS[:3]), strict=True))
    turned = [{**r, "cell": {**r["cell"], "sparsity": order.get(r["cell"]["sparsity"], 0.0)}} for r in real.records]
    assert verdict("M1-trend", Evidence("smoke", real.board, turned)) is Verdict.NOT


NOISE = (0.0, 0.002, -0.001, 0.001, -0.002, 0.003, -0.003, 0.0)
"""Of each seed."""
Change = Callable[[str, float], float]


def invented(silent: Change = lambda m, s: 0.0, top1: Change = lambda m, s: 0.0, scale: str = "smoke") -> Evidence:
    """Evidence for the whole board in which silence falls with sparsity; ``silent`` and ``top1`` add to a method's."""
    board = RECIPE.board(scale)
    records = []
    for cell in board.cells:
        method, s = cell.method.name, cell.sparsity
        noise = NOISE[cell.seed] * (1 + 0.1 * len(method))
        metrics = {"top1": 0.9 + noise + top1(method, s), ap.ALIVE: 0.5 - 0.2 * s + noise + silent(method, s)}
        head = {"task": cell.task.name, "method": method, "sparsity": s, "seed": cell.seed}
        records.append({"status": "ok", "cell": head, "metrics": metrics})
    return Evidence(scale, board, records)


def plain(method: str) -> bool:
    """AP itself, not one of its controls."""
    return "+ap" in method and "sign" not in method


@pytest.fixture(scope="module")
def claimed() -> Evidence:
    """As the paper has it: AP makes fewer units silent, its mirror more, and gains a point."""

    def silent(method: str, s: float) -> float:
        return 0.06 if method == MIRROR else -0.09 if method == MORE else -0.05 if plain(method) else 0.0

    return invented(silent, lambda method, s: 0.02 if plain(method) else 0.0)


DECIDED = [claim.name for claim in RECIPE.claims if claim.name not in ("cifar", "transformer", "imagenet")]


@pytest.mark.parametrize("claim", DECIDED)
def test_evidence_of_the_kind_claimed_makes_each_claim_hold_and_none_makes_it_fail(claim, claimed):
    assert verdict(claim, claimed) is Verdict.REPRODUCED
    flat = invented(silent=lambda method, s: 0.2 * s)
    assert verdict(claim, flat) is Verdict.NOT


def test_a_gain_that_the_mirror_or_movement_alone_has_too_is_no_benefit_of_activation(claimed):
    for control in (MIRROR, MOVEMENT):
        both = invented(top1=lambda method, s, c=control: 0.02 if plain(method) or method == c else 0.0)
        assert verdict("M3-benefit", both) is Verdict.NOT
    finding = next(c for c in RECIPE.claims if c.name == "M3-benefit").find(claimed.exchanged(AP, MIRROR))
    assert finding.verdict is Verdict.NOT
    assert "not refute it" in finding.note


def test_a_gain_at_one_level_is_half_a_benefit_and_none_at_low_sparsity():
    last = ap.LEVELS[5]
    assert verdict("M3-benefit", invented(top1=lambda m, s: 0.02 * (plain(m) and s == last))) is Verdict.PARTLY
    assert verdict("M3-benefit", invented(top1=lambda m, s: 0.02 * (plain(m) and s < 0.8))) is Verdict.NOT


def test_no_difference_is_said_to_be_none():
    finding = next(c for c in RECIPE.claims if c.name == "M3-benefit").find(invented())
    assert "at 3 the difference to X lies within half a point" in finding.note


@pytest.mark.parametrize("claim", ["cifar", "transformer", "imagenet"])
def test_published_figures_need_the_full_scale(claim, claimed):
    assert verdict(claim, claimed) is Verdict.UNTESTABLE


@pytest.mark.parametrize(("gain", "expected"), [(0.035, Verdict.REPRODUCED), (0.01, Verdict.NOT)])
def test_published_figures_are_reached_or_missed(gain, expected):
    full = invented(top1=lambda m, s: gain if plain(m) and s > 0.9 else 0.0, scale="full")
    assert verdict("cifar", full) is expected
    assert verdict("transformer", full) is expected
    assert verdict("imagenet", full) is Verdict.UNTESTABLE


def test_both_boards_have_what_the_claims_ask_for():
    for scale in ("smoke", "full"):
        names = {(t.name, m.name) for t in RECIPE.board(scale).tasks for m in RECIPE.board(scale).methods}
        assert {(t, m) for t, x in ap.OTHERS[scale] for m in (x, ap.WITH[x])} <= names
        assert {(ap.MAIN[scale], m) for m in (X, AP, MIRROR, MOVEMENT, ap.RANDOM, MORE)} <= names
