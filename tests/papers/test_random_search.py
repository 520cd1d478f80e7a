"""Random search: each claim holds on evidence of its kind, and fails where a method is sabotaged."""

from __future__ import annotations

import pytest

import sparsebench.structured.search as searching
from sparsebench.benchmarks.papers import random_search as paper
from sparsebench.papers import Evidence, Verdict
from sparsebench.papers import recipe as recipes
from tests.papers.small import grafted, measured, points, shortened, verdict

SEARCHED, RANDOM = paper.SEARCHED, paper.RANDOM
LEVELS = [paper.weight_sparsity(share, 64, 256) for share in (0.5, 0.05)]


@pytest.fixture(scope="module")
def recipe():
    return shortened(
        "random_search", methods=[SEARCHED, RANDOM], sparsities=LEVELS, seeds=[0, 1, 2],
        defaults={"random_search": {"samples": 100}},
    )  # fmt: skip


@pytest.fixture(scope="module")
def evidence(recipe, tmp_path_factory) -> Evidence:
    """The dense row and both arms at half and at a twentieth of the units: 15 trainings."""
    return measured(recipe, tmp_path_factory.mktemp("cells"))


def with_arms(e: Evidence, **arms: str) -> Evidence:
    """Further arms whose records are those of another one."""
    named = {paper.NOISE: arms.pop("noise"), **dict.fromkeys(paper.SCORED, arms["scored"])}
    named |= {f"random_search(passes={p})@init": arms["search"] for p in paper.SCORED.values()}
    board = shortened("random_search", sparsities=LEVELS, seeds=[0, 1, 2]).board("smoke")
    more = [
        {**e.record(task="digits-mlp256", method=by, sparsity=s, seed=seed), "cell": {
            "task": "digits-mlp256", "method": method, "sparsity": s, "seed": seed}}
        for method, by in named.items() for s in LEVELS for seed in e.board.seeds
    ]  # fmt: skip
    return Evidence("smoke", board, [*e.records, *more])


@pytest.mark.parametrize(("sign", "found"), [(-1, Verdict.REPRODUCED), (1, Verdict.NOT)])
def test_a_search_that_keeps_the_worst_is_noticed(sign, found, tmp_path, monkeypatch):
    """With the wrong sign of its objective; as it is, it lowers the initial loss."""
    monkeypatch.setitem(searching.OBJECTIVES, "init_loss", searching.OBJECTIVES["init_loss"]._replace(sign=sign))
    recipe = shortened(
        "random_search", tasks=[short()], methods=[SEARCHED, RANDOM], sparsities=LEVELS[1:], seeds=[0, 1, 2, 3],
        defaults={"random_search": {"samples": 40}},
    )  # fmt: skip
    assert verdict(recipe, "search-works", measured(recipe, tmp_path)) is found


def test_a_search_that_keeps_the_first_draw_is_noticed(recipe, evidence):
    assert points(recipe, "search-works", evidence.exchanged(SEARCHED, RANDOM)) == ["refuted", "refuted"]


def short() -> dict:
    """The smoke board's task, trained for one epoch."""
    task = recipes.load("random_search").smoke["tasks"][0]
    return {**task, "recipe": {**task["recipe"], "epochs": 1}}


def test_no_gain_is_judged_by_the_sheet_s_rule(recipe, evidence):
    """Equal arms hold; a gain at two densities refutes, at one it does not; a wide interval decides nothing."""
    assert verdict(recipe, "no-gain", evidence.exchanged(SEARCHED, RANDOM)) is Verdict.REPRODUCED
    better = raised(evidence, dict.fromkeys(LEVELS, (0.02, 0.021, 0.022)))
    assert points(recipe, "no-gain", better) == ["refuted", "refuted"]
    assert verdict(recipe, "no-gain", better) is Verdict.NOT
    assert verdict(recipe, "no-gain", raised(evidence, {LEVELS[1]: (0.020, 0.021, 0.022)})) is Verdict.PARTLY
    wide = raised(evidence, dict.fromkeys(LEVELS, (-0.03, 0.0, 0.03)))
    assert points(recipe, "no-gain", wide) == ["undecided", "undecided"]
    assert verdict(recipe, "no-gain", wide) is Verdict.UNTESTABLE
    slight = raised(evidence, dict.fromkeys(LEVELS, (0.003, 0.003, 0.003)))
    assert points(recipe, "no-gain", slight) == ["undecided", "undecided"]


def raised(e: Evidence, by: dict[float, tuple[float, ...]]) -> Evidence:
    """As if the searched arm had ended higher than the random one by so much, a value a seed."""
    equal = e.exchanged(SEARCHED, RANDOM)

    def lifted(record):
        cell = record["cell"]
        if cell["method"] != SEARCHED or cell["sparsity"] not in by:
            return record
        top1 = record["metrics"]["top1"] + by[cell["sparsity"]][cell["seed"]]
        return {**record, "metrics": {**record["metrics"], "top1": top1}}

    return Evidence(e.scale, e.board, [lifted(record) for record in equal.records])


@pytest.mark.parametrize("claim", ["no-head-start", "no-faster"])
def test_an_arm_that_learns_as_fast_as_the_dense_network_is_noticed(recipe, evidence, claim):
    assert verdict(recipe, claim, evidence.exchanged(SEARCHED, RANDOM)) is Verdict.REPRODUCED
    fast = grafted(grafted(evidence, SEARCHED, "dense"), RANDOM, "dense")
    slow = Evidence(fast.scale, fast.board, [delayed(r) if r["cell"]["method"] == RANDOM else r for r in fast.records])
    assert points(recipe, claim, slow) == ["refuted", "refuted"]
    assert verdict(recipe, claim, slow) is Verdict.NOT


def delayed(record):
    """As if an arm had begun three epochs later."""
    curve = record["curves"]["val_top1"]
    return {**record, "curves": {**record["curves"], "val_top1": [0.1] * 3 + curve[:-3]}}


def test_a_curve_that_was_not_recorded_is_said(recipe, evidence):
    without = [{**record, "curves": {"losses": []}} for record in evidence.records]
    blind = Evidence(evidence.scale, evidence.board, without)
    assert verdict(recipe, "no-head-start", blind) is Verdict.UNTESTABLE


def test_how_much_of_the_dense_accuracy_survives(recipe, evidence):
    assert points(recipe, "dense-survives", evidence)[0] == "holds"
    assert verdict(recipe, "dense-survives", grafted(evidence, SEARCHED, "dense")) is Verdict.REPRODUCED
    untrained = [
        {**r, "metrics": {**r["metrics"], "top1": r["curves"]["val_top1"][0] / 2}}
        if r["cell"]["method"] == SEARCHED
        else r
        for r in evidence.records
    ]
    assert verdict(recipe, "dense-survives", Evidence("smoke", evidence.board, untrained)) is Verdict.NOT


@pytest.mark.parametrize("claim", ["scores-beat-random", "scores-beat-search"])
def test_criteria_at_initialisation_must_beat_their_controls(recipe, evidence, claim):
    """A dense network's records stand for a criterion that is better, the controls' own for one that is not."""
    dense = grafted(evidence, SEARCHED, "dense")
    lower = Evidence("smoke", dense.board, [spoilt(r) if r["cell"]["method"] == RANDOM else r for r in dense.records])
    assert verdict(recipe, claim, with_arms(lower, noise=RANDOM, search=RANDOM, scored=SEARCHED)) is Verdict.REPRODUCED
    assert verdict(recipe, claim, with_arms(lower, noise=SEARCHED, search=SEARCHED, scored=RANDOM)) is Verdict.NOT
    same = with_arms(evidence, noise=RANDOM, search=RANDOM, scored=RANDOM)
    assert set(points(recipe, claim, same)) == {"undecided"}


def spoilt(record):
    return {**record, "metrics": {**record["metrics"], "top1": record["metrics"]["top1"] - 0.1}}


def test_the_cost_matched_arms_cost_no_more_than_the_criteria(tmp_path):
    """By hand, in multiply-accumulates: a forward pass has 84,480, a candidate 25,856 on each of 1,197 images."""
    recipe = shortened(
        "random_search", tasks=[short()], sparsities=LEVELS, seeds=[0],
        methods=["random_search(passes=300)@init", "random_search(passes=1200)@init"],
    )  # fmt: skip
    e = measured(recipe, tmp_path)
    for passes in (300, 1200):
        for sparsity, weights in zip(LEVELS, (25856, 64 * 13 + 13 * 13 + 130), strict=True):
            record = e.record(
                task="digits-mlp256", method=f"random_search(passes={passes})@init", sparsity=sparsity, seed=0
            )
            samples = max(1, passes * 84480 // (1197 * weights))
            assert record["sparsity"]["kept"] == weights
            assert record["search"]["samples"] == record["cost"]["score_passes"] == samples
            assert record["search"]["score_flops"] == 2 * 1197 * weights * samples


@pytest.mark.parametrize("scale", ["smoke", "full"])
def test_every_scale_has_both_arms_and_a_curve(scale):
    board = recipes.load("random_search").board(scale)
    assert {SEARCHED, RANDOM, paper.NOISE, *paper.SCORED} <= {m.name for m in board.methods}
    assert all(t.recipe.validate_every == 1 for t in board.tasks)
    assert len(board.seeds) >= 10
