"""Evidence: what is asked for is found or said to be missing; claims notice when methods are exchanged."""

from __future__ import annotations

import pytest

from sparsebench.errors import UsageError
from sparsebench.papers import Estimate, Evidence, Finding, NotTestable, Point, Verdict
from sparsebench.record import Record, record_path
from tests.papers import toy
from tests.report.conftest import make_record


def test_values_come_by_seed_and_under_any_name_of_a_method():
    e = toy.evidence()
    assert e.values(task="digits-mlp", method="magnitude@finetune", sparsity=0.5) == {0: 0.96, 1: 0.97, 2: 0.96}
    assert e.values(task="digits-mlp", method="magnitude", sparsity=0.5) == {0: 0.96, 1: 0.97, 2: 0.96}
    assert e.values("cost.epochs", task="digits-mlp", method="dense") == {0: 12.0, 1: 12.0, 2: 12.0}
    assert e.mean(task="digits-mlp", method="dense").value == pytest.approx(0.97333, abs=1e-5)


def test_differences_are_paired():
    found = toy.evidence().paired("top1", "magnitude", "random@init", task="digits-mlp", sparsity=0.5)
    assert found.value == pytest.approx((0.03 + 0.03 + 0.02) / 3)
    assert found.n == 3
    to_dense = toy.evidence().paired("top1", "dense", "random@init", task="digits-mlp", sparsity=0.75)
    assert to_dense.value == pytest.approx(0.07)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"task": "digits-vit", "method": "dense"}, "smoke board has no digits-vit dense"),
        ({"task": "digits-mlp", "method": "snip@init", "sparsity": 0.5}, "has no digits-mlp snip@init at 50 %"),
        ({"task": "digits-mlp", "method": "magnitude", "sparsity": 0.9}, "magnitude@finetune at 90 %"),
    ],
)
def test_what_the_board_does_not_have_is_said(asked, words):
    with pytest.raises(NotTestable, match=words):
        toy.evidence().values(**asked)


def test_one_missing_or_failed_cell_makes_a_claim_undecidable():
    whole = toy.evidence()
    lacks = Evidence("smoke", whole.board, [r for r in whole.records if r["cell"]["seed"] != 2])
    failed = Evidence("smoke", whole.board, [{**r, "status": "failed"} for r in whole.records])
    for e in (lacks, failed):
        finding = toy.RECIPE.claims[0].find(e)
        assert finding.verdict is Verdict.UNTESTABLE
        assert "no record of digits-mlp" in finding.note


def test_a_value_that_is_none_is_no_number():
    with pytest.raises(NotTestable, match="top5 of digits-mlp dense seed 0 is None"):
        toy.evidence().values("top5", task="digits-mlp", method="dense")


def test_exchanged_methods_change_the_verdict():
    e = toy.evidence()
    assert toy.RECIPE.claims[1].find(e).verdict is Verdict.REPRODUCED
    same = e.exchanged("magnitude@finetune", "random@init")
    assert toy.RECIPE.claims[1].find(same).verdict is Verdict.NOT
    worse = toy.evidence(change=lambda m, s, a: a - 0.2 if m.startswith("magnitude") else a)
    assert [point.word for point in toy.RECIPE.claims[1].find(worse).points] == ["refuted", "refuted"]
    flat = toy.evidence(change=lambda m, s, a: 0.9 + s / 20)
    assert toy.RECIPE.claims[0].find(flat).verdict is Verdict.NOT


def test_constant_metrics_have_no_rank_correlation():
    with pytest.raises(NotTestable, match="does not vary"):
        toy.evidence(change=lambda m, s, a: 0.9).spearman("top1", task="digits-mlp", method="magnitude")


def test_verdicts_follow_from_points():
    def verdict(*held):
        return Finding([Point("", Estimate(0.0), holds=h) for h in held]).verdict

    assert verdict(True, True) is Verdict.REPRODUCED
    assert verdict(True, False, None) is Verdict.PARTLY
    assert verdict(False, None) is Verdict.NOT
    assert verdict(None) is verdict() is Verdict.UNTESTABLE


def test_half_open_estimates_decide_nothing():
    one = Estimate.of([0.9])
    assert not (one.above(0))
    assert not (one.below(1))
    assert not (one.within(2))
    assert Estimate(1.0, 0.5, 2.0, 3).scaled(-1) == Estimate(-1.0, -2.0, -0.5, 3)


def test_another_data_set_has_its_own_cells_and_the_judges_find_them(tmp_path):
    mine, theirs = toy.RECIPE.board("full"), toy.RECIPE.board("full", "cifar10=cifar10_jpeg")
    assert [task.name for task in theirs.tasks] == ["cifar10-vgg16-cifar10_jpeg"]
    assert {cell.id for cell in mine.cells}.isdisjoint(cell.id for cell in theirs.cells)
    for cell, top1 in zip(theirs.cells, (0.94, 0.93), strict=True):
        record = make_record(cell.task.name, cell.method.name, cell.sparsity, cell.seed, top1)
        path = record_path(tmp_path, "toy", cell.method.name, cell.id)
        Record({**record.data, "cell_id": cell.id, "board": "toy"}).save(path)
    found = toy.RECIPE.evidence("full", tmp_path, "cifar10=cifar10_jpeg")
    assert found.stem == "full-cifar10_jpeg"
    assert found.values(task="cifar10-vgg16", method="magnitude", sparsity=0.9) == {0: 0.93}
    assert toy.RECIPE.evidence("full", tmp_path).records == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("cifar10", "is not OLD=NEW"),
        ("cifar10=cifr", "unknown dataset 'cifr'"),
        ("imagenet=digits", "none on imagenet"),
    ],
)
def test_data_sets_that_cannot_be_exchanged_are_refused(asked, said):
    with pytest.raises(UsageError, match=said):
        toy.RECIPE.board("full", asked)
