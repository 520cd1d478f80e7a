"""Every regime, in a real cell, at every kind of sparsity: the count asked for is the count there is."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store
from sparsebench.masks import Masks
from sparsebench.registry import modifier, regime
from tests.grid.conftest import run_inline, tiny_board

SPARSITIES = (0.0, 0.1, 0.5, 0.9, 0.98)
# A narrower dense network has no masks and a count of its own, see tests/grid/test_zoo.py.
REGIMES = [n for n in regime.names() if n not in ("dense", "small_dense")]


def written(name: str) -> str:
    own = regime.entry(name).traits.get("criterion") == "none"
    return name if own else f"magnitude@{name}"


@pytest.mark.parametrize("name", REGIMES)
def test_reaches_every_sparsity_exactly(name, tmp_path):
    board = tiny_board(written(name), sparsities=SPARSITIES)
    result = run_inline(board, tmp_path)
    assert not result.failed
    whole, store = plan(board.cells), Store(tmp_path)
    for cell in board.cells:
        record = result.records[cell.id]
        assert record.audit_passed, (cell.label, record.audit_failures)
        if cell.method.is_dense:
            continue
        folder = store.stage(whole.chains[cell.id][-1])
        masks, weights = Masks.load(folder / "masks.safetensors"), load_file(folder / "weights.safetensors")
        prunable = 64 * 16 + 16 * 12 + 12 * 10
        alive = sum(int((weights[n] != 0).sum()) for n in ("fc1.weight", "fc2.weight", "classifier.weight"))
        assert masks.total == prunable
        assert masks.kept == round((1 - cell.sparsity) * prunable) == record.data["sparsity"]["kept"]
        assert alive <= masks.kept
        # Not all: what SET grows behind a dead unit has no gradient and stays 0.
        assert alive > masks.kept / 2, "kept weights that are zero: a mask that was not trained under"


@pytest.mark.parametrize("name", modifier.names())
def test_a_modifier_changes_neither_count_nor_audit(name, tmp_path):
    board = tiny_board(f"magnitude@finetune+{name}", sparsities=(0.9,))
    result = run_inline(board, tmp_path)
    assert not result.failed
    record = next(r for r in result.records.values() if r.cell["method"] != "dense")
    assert record.audit_passed, record.audit_failures
    assert record.data["sparsity"]["kept"] == round(0.1 * record.data["sparsity"]["prunable"])
