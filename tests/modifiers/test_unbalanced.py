"""+unbalanced: which trainings see less, and all that stays: teacher, scoring, validation, the data's digest."""

from __future__ import annotations

import numpy as np
import pytest

import sparsebench.grid.training as training
from sparsebench.errors import UsageError
from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store
from sparsebench.methods import parse
from sparsebench.phases import Train, describe, phase_of
from tests.grid.conftest import run_inline, tiny_board


def test_trainings_from_the_first_pruning_on():
    trainings = [
        phase for phase in parse("magnitude@imp(rate=0.5)+unbalanced").phases(0.75) if isinstance(phase, Train)
    ]
    assert [training.unbalanced for training in trainings] == [None, "published", "published"]
    assert parse("rigl+unbalanced").phases(0.5)[0].unbalanced == "published"
    assert phase_of(describe(trainings[1])) == trainings[1]
    assert "unbalanced" not in describe(trainings[0])


def test_it_stands_with_a_teacher_in_any_order():
    one, other = parse("magnitude+kd+unbalanced"), parse("magnitude+unbalanced+kd")
    assert one.phases(0.5) == other.phases(0.5)
    last = parse("magnitude+kd+unbalanced+reinit").phases(0.5)[-1]
    assert last.unbalanced == "published"
    assert last.distill


@pytest.mark.parametrize(
    ("text", "why"), [("magnitude+unbalanced(profile='mine')", "'mine'"), ("dense+unbalanced", "trains nothing")]
)
def test_what_makes_no_sense_is_refused(text, why):
    with pytest.raises(UsageError, match=why):
        parse(text)


def test_what_a_training_sees(tmp_path, monkeypatch):
    """934 of the 1,197 images, so 7 of 9 steps an epoch; the dense training sees all."""
    labels, original = {}, training.fit

    def watched(module, data, epochs, callbacks, checkpoint, hardware):
        labels[module.distillation is not None, data.train_size] = np.bincount(data.train_labels, minlength=10)
        return original(module, data, epochs, callbacks, checkpoint, hardware)

    monkeypatch.setattr(training, "fit", watched)
    board = tiny_board("magnitude@finetune+unbalanced", "magnitude@finetune+kd+unbalanced")
    result = run_inline(board, tmp_path)
    assert not result.failed
    assert all(record.audit_passed for record in result.records.values())
    assert set(labels) == {(False, 1197), (False, 934), (True, 934)}
    assert labels[False, 934][[7, 1, 2, 0]].tolist() == [12, 24, 59, 118]
    whole, store = plan(board.cells), Store(tmp_path)
    for cell in board.cells:
        last = whole.stages[whole.chains[cell.id][-1]]
        report, odd = store.stage_report(last.id), not cell.method.is_dense
        assert report["images"] == report["steps"] * 128 == (7 * 128 if odd else 27 * 128)
        assert report["circumstances"]["data_digest"] == result.records[cell.id].data["provenance"]["data_digest"]
        if last.teacher:
            assert store.stage_report(last.teacher)["images"] == 27 * 128
    digests = {record.data["provenance"]["data_digest"] for record in result.records.values()}
    assert len(digests) == 1
    said = [record.data["fingerprint"].get("training_images") for record in result.records.values()]
    assert sum(text is not None and "published" in text for text in said) == 2
