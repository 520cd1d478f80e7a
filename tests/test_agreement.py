"""Two records of one cell: what must be equal, what may move, and how a difference reads."""

from __future__ import annotations

from copy import deepcopy

import pytest

from sparsebench.agreement import Tolerance, circumstances, differences, reproducible, same_machine
from tests.report.conftest import make_record


@pytest.fixture
def record() -> dict:
    data = deepcopy(dict(make_record("digits-mlp", "magnitude@imp", 0.75, 0, 0.92).data))
    data["metrics"]["val_top1"] = 0.93
    layers = {"fc.weight": {"kept": 3, "size": 8}, "out.weight": {"kept": 1, "size": 8}}
    counts = {"kept": 4, "prunable": 16, "total": 20, "parameters": 20}
    data["sparsity"] = {"asked": 0.75, "achieved": 0.75, **counts, "layers": layers}
    data["curves"] = {"losses": [2.0, 0.5]}
    data["provenance"] |= {"threads": 1, "accelerator": "cpu", "python": "3.11.7", "system": "Linux"}
    return data


def changed(record: dict, name: str, value: object) -> dict:
    """A copy with one field, by its dotted name, set."""
    copy = deepcopy(record)
    *way, last = name.split(".")
    place = copy
    for key in way:
        place = place[int(key) if isinstance(place, list) else key]
    place[int(last) if isinstance(place, list) else last] = value
    return copy


NOT_REPRODUCED = {
    "board": "mine", "board_version": 7, "digest": "0", "cost.seconds": 9.0, "cost.shared_seconds": 9.0,
    "cost.score_seconds": 9.0, "cost.peak_memory_mb": 9.0, "cost.own_epochs": 9.0,
    "provenance.created": "2027", "provenance.command": "sparsebench rerun", "provenance.commit": "f00",
}  # fmt: skip
REPRODUCED = {
    "metrics.top1": 0.9201, "metrics.nll": 0.32000000000000001 + 1e-16, "curves.losses.1": 0.4, "cost.epochs": 25.0,
    "cost.train_flops": 1.0, "per_class.tp.3": 41, "sparsity.layers.fc.weight.kept": 2, "collapsed": True,
    "flags": ["an emptied layer"], "parents": ["other"], "settings.epochs": 13, "cell.seed": 1,
    "provenance.data_digest": "e", "audit.0.passed": False, "audit.0.detail": "one too many", "fingerprint.loss": 0.2,
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_REPRODUCED)
def test_clocks_board_and_circumstances_may_change(record, name):
    other = changed(record, name, NOT_REPRODUCED[name])
    assert reproducible(other) == reproducible(record)
    assert not differences(record, other)


@pytest.mark.parametrize("name", REPRODUCED)
def test_everything_else_may_not(record, name):
    if name.startswith("sparsity.layers"):
        other = deepcopy(record)
        other["sparsity"]["layers"]["fc.weight"]["kept"] = 2
    else:
        other = changed(record, name, REPRODUCED[name])
    assert reproducible(other) != reproducible(record)
    assert len(differences(record, other)) == 1


def test_a_difference_names_field_values_and_distance(record):
    assert differences(record, changed(record, "metrics.top1", 0.91)) == ["metrics.top1: 0.92 -> 0.91 (-0.01)"]
    assert differences(record, changed(record, "flags", ["x"])) == ["flags: [] -> ['x']"]


def test_a_field_is_missing_on_one_side(record):
    shorter = deepcopy(record)
    del shorter["metrics"]["nll"]
    assert differences(record, shorter) == ["metrics.nll: 0.31999999999999984 -> missing"]
    assert differences(shorter, record) == ["metrics.nll: missing -> 0.31999999999999984"]


def test_other_code_may_word_differently_and_tell_more_but_not_less(record):
    other = changed(record, "provenance.commit", "f00")
    other["audit"][0]["detail"], other["fingerprint"]["loss"], other["metrics"]["new"] = "other words", 0.2, 1.0
    assert not differences(record, other)
    del other["metrics"]["nll"]
    assert differences(record, other) == ["metrics.nll: 0.31999999999999984 -> missing"]
    other["audit"][0]["passed"] = False
    assert "audit.exact counts.passed: True -> False" in differences(record, other)


def test_circumstances_read_as_lines(record):
    other = changed(record, "provenance.versions.torch", "2.10.0")
    other = changed(other, "provenance.threads", 2)
    assert circumstances(record, other) == ["versions.torch: 2.9.0 -> 2.10.0", "threads: 1 -> 2"]
    assert circumstances(record, record) == []


@pytest.mark.parametrize(
    ("name", "value", "same"),
    [
        ("hardware", "other CPU", False), ("versions.torch", "2.10.0", False), ("threads", 2, False),
        ("accelerator", "gpu", False), ("world_size", 4, False), ("python", "3.12.0", False),
        ("commit", "f00", True), ("dirty", True, True), ("created", "2027", True),
    ],
)  # fmt: skip
def test_which_circumstances_allow_a_tolerance(record, name, value, same):
    assert same_machine(record, changed(record, f"provenance.{name}", value)) is same


def test_a_version_of_this_package_allows_none(record):
    a = changed(record, "provenance.versions.sparsebench", "0.1.0")
    assert same_machine(a, changed(record, "provenance.versions.sparsebench", "0.2.0"))


def test_failed_and_finished_differ_in_one_line(record):
    failed = dict(make_record("digits-mlp", "magnitude@imp", 0.75, 0, None).data)
    failed |= {"metrics": {}, "cost": {}, "provenance": {}, "audit": []}
    assert differences(failed, record) == ["status: failed -> ok", "error: RuntimeError: out of memory -> None"]
    assert differences(failed, failed) == []


TOLERANCE = Tolerance(deviations=4, absolute=0.02, relative=0.25, counts=0.05)
# sqrt(2 * 0.92 * 0.08 / 400) is 0.0192: top-1 of 0.92 on 400 images may move by 0.077. A class has 40 images.
MAY_MOVE = {
    "metrics.top1": 0.85, "metrics.worst_class": 0.6, "metrics.nll": 0.4, "metrics.val_top1": 0.5,
    "metrics.dead_static": 0.015, "metrics.sde_s1": 9.0, "per_class.tp.3": 30, "curves.losses.1": 0.8,
    "flops.sparse": 300, "audit.0.detail": "other words",
}  # fmt: skip
MUST_NOT = {
    "metrics.top1": 0.80, "metrics.worst_class": 0.3, "metrics.nll": 0.6, "metrics.dead_static": 0.2,
    "metrics.top5": 0.5, "per_class.n.3": 41, "sparsity.kept": 5, "sparsity.achieved": 0.751, "sparsity.asked": 0.76,
    "flops.dense": 1001, "flops.sparse": 400, "cost.epochs": 25.0, "settings.epochs": 13, "cell.seed": 1,
    "collapsed": True, "audit.0.passed": False, "provenance.data_digest": "e", "parents": ["other"],
}  # fmt: skip


@pytest.mark.parametrize("name", MAY_MOVE)
def test_what_rounding_moves_is_tolerated(record, name):
    other = changed(record, name, MAY_MOVE[name])
    assert differences(record, other)
    assert not differences(record, other, TOLERANCE)


@pytest.mark.parametrize("name", MUST_NOT)
def test_what_it_does_not_move_is_not(record, name):
    assert len(differences(record, changed(record, name, MUST_NOT[name]), TOLERANCE)) == 1


def test_the_tolerance_shrinks_with_the_test_set():
    few, many = (TOLERANCE.share(0.9, 0.9, n) for n in (400, 40_000))
    assert few == pytest.approx(10 * many)
    assert few == pytest.approx(4 * (2 * 0.9 * 0.1 / 400) ** 0.5)


def test_one_image_is_always_tolerated_where_nothing_is_wrong():
    assert TOLERANCE.share(1.0, 1.0, 400) >= 1 / 400


@pytest.mark.parametrize(("method", "parameters"), [("magnitude/block4x4@finetune", 20), ("l1@finetune", 12)])
def test_blocks_and_units_may_keep_a_few_weights_more_or_less(record, method, parameters):
    record["cell"]["method"] = method
    record["sparsity"] |= {"kept": 1000, "parameters": parameters}
    assert not differences(record, changed(record, "sparsity.kept", 1040), TOLERANCE)
    assert differences(record, changed(record, "sparsity.kept", 1100), TOLERANCE)
