"""Killed and resumed equals uninterrupted, bit for bit, for every regime."""

from __future__ import annotations

from contextlib import suppress

import pytest

from sparsebench.criteria import is_structured
from sparsebench.grid import stages, training
from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store
from sparsebench.methods import parse
from sparsebench.registry import criterion, regime
from tests.grid.conftest import MLP, RESNET, run_inline, tiny_board
from tests.grid.killing import Killed, run_killed


def every_regime() -> list[str]:
    """One method a registered regime."""
    own = [name for name, entry in regime.entries.items() if entry.traits.get("criterion") == "none"]
    return [name if name in own else f"magnitude@{name}" for name in regime.names()]


CASES = [(method, MLP) for method in every_regime()]
CASES += [(method, RESNET) for method in ("magnitude@gmp", "rigl", "magnitude@imp(rewind=0.34)")]


@pytest.mark.parametrize(("method", "task"), CASES)
def test_killed_at_every_epoch_end_equals_uninterrupted(method, task, tmp_path, monkeypatch):
    board = tiny_board(method, task=task)
    whole = run_inline(board, tmp_path / "whole")
    assert not whole.failed

    resumed, kills = run_killed(board, tmp_path / "killed", monkeypatch, 40)
    assert kills >= 2, "no training was interrupted"
    one, two = Store(tmp_path / "whole"), Store(tmp_path / "killed")
    for stage in plan(board.cells).stages:
        a, b = one.stage_report(stage), two.stage_report(stage)
        assert a["final_digest"] == b["final_digest"]
        assert a["files"] == b["files"]
        assert a["losses"] == b["losses"]
    for cell in board.cells:
        assert whole.records[cell.id].data["metrics"] == resumed.records[cell.id].data["metrics"]
        assert resumed.records[cell.id].audit_passed


@pytest.mark.parametrize("moment", ["before the stage is stored", "before the checkpoint is removed"])
def test_killed_after_a_training_only_its_last_epoch_is_trained_again(moment, tmp_path, monkeypatch):
    board = tiny_board("magnitude@gmp")
    whole = run_inline(board, tmp_path / "whole")
    epochs: list[tuple[str, int]] = []
    count, save, killed = training.Checkpoint.on_train_epoch_end, stages.save, set()

    def counted(self, trainer, module):
        epochs.append((self.path.parent.name, trainer.current_epoch))
        count(self, trainer, module)

    def die_once(state, store):
        if moment == "before the checkpoint is removed":
            save(state, store)
        if state.stage.id not in killed:
            killed.add(state.stage.id)
            raise Killed
        save(state, store)

    monkeypatch.setattr(training.Checkpoint, "on_train_epoch_end", counted)
    monkeypatch.setattr(stages, "save", die_once)
    resumed = None
    while resumed is None:
        with suppress(Killed):
            resumed = run_inline(board, tmp_path / "killed", checkpoint_seconds=0.0)
    once = [(stage, epoch) for stage in killed for epoch in range(3)]
    again = [(stage, 2) for stage in killed] if moment == "before the stage is stored" else []
    assert sorted(epochs) == sorted(once + again)
    assert len(killed) >= 2
    for cell in board.cells:
        assert whole.records[cell.id].data["metrics"] == resumed.records[cell.id].data["metrics"]


def test_a_damaged_checkpoint_is_set_aside_and_the_training_starts_again(tmp_path, monkeypatch, capsys):
    board = tiny_board("magnitude@gmp")
    whole = run_inline(board, tmp_path / "whole")
    cell = next(c for c in board.cells if not c.method.is_dense)
    stage = plan(board.cells).chains[cell.id][-1]
    checkpoint = Store(tmp_path / "new").stage(stage) / "checkpoint.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"PK\x03\x04 not a checkpoint")
    again = run_inline(board, tmp_path / "new")
    assert again.records[cell.id].data["metrics"] == whole.records[cell.id].data["metrics"]
    assert str(checkpoint) in capsys.readouterr().out
    assert checkpoint.with_suffix(".damaged").exists()


@pytest.mark.parametrize("name", sorted(set(criterion.names()) - {"bn_scale"}))
def test_every_criterion_reaches_its_sparsity_in_a_cell(name, tmp_path):
    method = parse(name).name
    board = tiny_board(method, sparsities=(0.9,))
    result = run_inline(board, tmp_path)
    assert not result.failed
    record = next(r for r in result.records.values() if r.cell["method"] == method)
    sparsity = record.data["sparsity"]
    asked = round(0.1 * sparsity["prunable"])
    assert 0 < sparsity["kept"] <= asked if is_structured(name) else sparsity["kept"] == asked
    assert record.audit_passed, record.data["audit"]
