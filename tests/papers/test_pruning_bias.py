"""Pruning bias: every claim notices when the arm it speaks of does nothing, on real cells and on made records."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from sparsebench.benchmarks.papers import pruning_bias as paper
from sparsebench.grid.plan import plan
from sparsebench.metrics.bias import pooled_bias
from sparsebench.metrics.predictions import packed
from sparsebench.models.distillation import Distillation
from sparsebench.papers import Estimate, Evidence, Point, Verdict
from sparsebench.papers import pooled as helpers
from sparsebench.papers import recipe as recipes
from tests.grid.conftest import run_inline

RECIPE = recipes.load("pruning_bias")
CLAIMS = {claim.name: claim for claim in RECIPE.claims}
IMAGES = 200


def words(name: str, e: Evidence) -> list[str]:
    return [point.word for point in CLAIMS[name].find(e).points]


def verdict(name: str, e: Evidence) -> Verdict:
    return CLAIMS[name].find(e).verdict


# What distillation is worth in made records, and how far each arm goes astray.
WORTH = {
    paper.KD: 0.5,
    paper.CONV_KD: 0.5,
    paper.CE + paper.SP: 0.6,
    paper.KD + paper.ODD: 1.0,
    paper.CE + paper.ODD: 2.0,
}


def record(task: str, method: str, sparsity: float, seed: int) -> dict:
    """A cell whose bias, distance and disagreements grow with sparsity and shrink with what the arm is worth."""
    size = 0.0 if method == "dense" else WORTH.get(method, 1.0) * (1 + 4 * (sparsity - 0.6)) + 0.002 * seed
    generator = np.random.default_rng([seed, round(1e4 * sparsity), len(method)])
    dense = np.random.default_rng(seed).integers(10, size=IMAGES)
    mine = dense.copy()
    mine[: round(10 * size)] = (mine[: round(10 * size)] + 1) % 10
    wrong = generator.integers(4, 7, size=10)  # of 20 images a class
    counts = {"n": [20] * 10, "tp": (20 - wrong).tolist(), "fp": np.roll(wrong, 1).tolist(), "fn": wrong.tolist()}
    blocks = ["relu1", "relu2", "head"] if task == paper.MLP else ["stages.0", "stages.1", "stages.2", "head"]
    # Accuracy says nothing of the arm here: what is left at equal accuracy is all of the difference.
    return {
        "status": "ok",
        "cell": {"task": task, "method": method, "sparsity": sparsity, "seed": seed},
        "metrics": {"cev_s1": 3 * size**2, "sde_s1": 3 * size, "top1": 0.95 - 0.01 * sparsity},
        "per_class": counts,
        "measures": {
            "predictions": {"packed": packed(mine, 10), "classes": 10},
            "similarity": {"svcca": {block: 0.2 * size + 0.001 * generator.normal() for block in blocks}},
        },
    }


@pytest.fixture(scope="module")
def made() -> Evidence:
    board = RECIPE.board("smoke")
    cells = [(c.task.name, c.method.name, c.sparsity, c.seed) for c in board.cells]
    return Evidence("smoke", board, [record(*cell) for cell in cells])


DISTILLED = [
    ("kd-cev", paper.KD, paper.CE),
    ("kd-sde", paper.KD, paper.CE),
    ("unbalanced-kd-cev", paper.KD + paper.ODD, paper.CE + paper.ODD),
    ("unbalanced-kd-sde", paper.KD + paper.ODD, paper.CE + paper.ODD),
    ("sp-cev", paper.CE + paper.SP, paper.CE),
    ("sp-sde", paper.CE + paper.SP, paper.CE),
    ("agreement", paper.KD, paper.CE),
    ("matched-cev", paper.KD, paper.CE),
    ("matched-sde", paper.KD, paper.CE),
]


@pytest.mark.parametrize(("name", "arm", "base"), DISTILLED)
def test_it_holds_where_distillation_helps_and_fails_where_it_does_nothing(name, arm, base, made):
    assert verdict(name, made) is Verdict.REPRODUCED
    sabotaged = made.exchanged(arm, base)
    assert verdict(name, sabotaged) is Verdict.PARTLY if arm == paper.KD and "matched" not in name else Verdict.NOT
    sabotaged = sabotaged.exchanged(paper.CONV_KD, paper.CONV_CE)
    assert set(words(name, sabotaged)) == {"refuted"}
    assert verdict(name, sabotaged) is Verdict.NOT


def test_pruning_must_exceed_the_noise_of_another_seed(made):
    assert verdict("above-noise", made) is Verdict.REPRODUCED
    as_dense = [
        {**r, "metrics": {**r["metrics"], "cev_s1": 0.001, "sde_s1": 0.001}} if r["cell"]["sparsity"] else r
        for r in made.records
    ]
    assert verdict("above-noise", Evidence("smoke", made.board, as_dense)) is Verdict.NOT
    assert "Noise floor" in CLAIMS["above-noise"].find(made).note


def test_the_noise_floor_is_between_dense_networks_of_two_seeds(made):
    found = helpers.noise_floor(made, paper.MLP)
    counts = [made.record(task=paper.MLP, method="dense", seed=seed)["per_class"] for seed in (0, 1)]
    assert found["cev_s1"][0] == pooled_bias([counts[1]], [counts[0]], smoothed=True).cev
    assert len(found["sde_s1"]) == 10
    assert min(found["cev_s1"]) > 0


def test_similarity_fails_where_distances_say_nothing(made):
    assert verdict("similarity", made) is Verdict.REPRODUCED
    generator = np.random.default_rng(0)

    def drawn(r):
        svcca = {block: float(generator.random()) for block in r["measures"]["similarity"]["svcca"]}
        return {**r, "measures": {**r["measures"], "similarity": {"svcca": svcca}}}

    assert verdict("similarity", Evidence("smoke", made.board, list(map(drawn, made.records)))) is Verdict.NOT


def test_no_arm_as_accurate_leaves_the_control_open(made):
    better = [
        {**r, "metrics": {**r["metrics"], "top1": 0.99}} if r["cell"]["method"] == paper.KD else r for r in made.records
    ]
    finding = CLAIMS["matched-sde"].find(Evidence("smoke", made.board, better))
    assert finding.verdict is Verdict.UNTESTABLE
    assert all("no arm is as accurate" in point.where for point in finding.points)


def test_what_was_not_measured_is_not_judged(made):
    bare = Evidence("smoke", made.board, [{k: v for k, v in r.items() if k != "measures"} for r in made.records])
    assert verdict("agreement", bare) is verdict("similarity", bare) is Verdict.UNTESTABLE
    assert "without the measure" in CLAIMS["similarity"].find(bare).note


@pytest.mark.parametrize("name", [name for name in CLAIMS if name.startswith("table-")])
def test_published_tables_need_the_full_board(name, made):
    finding = CLAIMS[name].find(made)
    assert finding.verdict is Verdict.UNTESTABLE
    assert "Needs --scale full" in finding.note
    assert all(point.published for point in finding.points)


def test_published_tables_are_judged_where_there_are_records():
    """Every cell like its dense row but for one class: no published number comes out."""
    board = RECIPE.board("full")
    records = []
    for cell in board.cells:
        wrong = np.random.default_rng(cell.seed).integers(10, 30, size=100)
        if not cell.method.is_dense:
            wrong[0] += 20
        counts = {
            "n": [100] * 100,
            "tp": (100 - wrong).tolist(),
            "fp": np.roll(wrong, 1).tolist(),
            "fn": wrong.tolist(),
        }
        kept = {"predictions": {"packed": packed(np.zeros(10_000, int), 100), "classes": 100}}
        records.append({"status": "ok", "cell": cell.key(), "per_class": counts, "measures": kept})
    e = Evidence("full", board, records)
    assert {verdict(name, e) for name in CLAIMS if name.startswith("table-")} == {Verdict.NOT}
    found = CLAIMS["table-cev"].find(e).points[0].estimate
    assert found.n == 4
    assert found.low < found.value < found.high


def test_the_jackknife_is_the_pooled_value_with_an_interval():
    generator = np.random.default_rng(1)
    trials = [
        {"n": [50] * 4, "tp": (50 - w).tolist(), "fp": np.roll(w, 1).tolist(), "fn": w.tolist()}
        for w in generator.integers(5, 15, size=(6, 4))
    ]
    found = helpers.jackknife(trials[:3], trials[3:], 1)
    assert found.value == pooled_bias(trials[:3], trials[3:]).convention_a[1]
    assert helpers.jackknife(trials[:1], trials[3:4], 0) == Estimate(
        pooled_bias(trials[:1], trials[3:4]).convention_a[0]
    )


def test_verdicts_ask_for_two_levels_of_every_task():
    def point(word: str) -> Point:
        return Point("", Estimate(0.0), holds=word == "holds", refuted=word == "refuted")

    def together(*tasks: str) -> Verdict:
        return paper.judged({str(i): [point(word) for word in task.split()] for i, task in enumerate(tasks)}).verdict

    assert together("holds holds undecided", "holds refuted holds") is Verdict.REPRODUCED
    assert together("holds holds holds", "holds refuted refuted") is Verdict.PARTLY
    assert together("undecided refuted undecided") is Verdict.NOT
    assert together("undecided undecided") is Verdict.UNTESTABLE


def test_a_teacher_that_is_not_listened_to_lowers_no_bias(tmp_path, monkeypatch):
    """Real cells, unbalanced data, half of the units removed: with the teacher CEV falls, without it nothing moves."""
    arm, base = paper.KD + paper.ODD, paper.CE + paper.ODD
    board = RECIPE.board("smoke").narrowed(["dense", base, arm], [paper.MLP], range(4), [0.6159])

    def evidence(store) -> Evidence:
        result = run_inline(board, store)
        assert not result.failed
        return Evidence("smoke", board, [dict(record.data) for record in result.records.values()])

    real = evidence(tmp_path / "real")
    assert words("unbalanced-kd-cev", real) == ["holds"]
    deaf = shutil.copytree(tmp_path / "real", tmp_path / "deaf")
    whole = plan(board.cells)
    for cell in board.cells:
        if cell.method.name == arm:
            shutil.rmtree(deaf / "stages" / whole.chains[cell.id][-1])
            (deaf / "records" / f"{cell.id}.json").unlink()
    monkeypatch.setattr(Distillation, "__call__", lambda self, cross_entropy, logits, x: cross_entropy)
    sabotaged = evidence(deaf)
    assert words("unbalanced-kd-cev", sabotaged) == words("unbalanced-kd-sde", sabotaged) == ["refuted"]
    assert verdict("unbalanced-kd-cev", sabotaged) is Verdict.NOT
