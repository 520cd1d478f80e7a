"""A board from cells to records: stages shared, finished work skipped, damage repaired."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

import sparsebench.grid.perform as perform
from sparsebench.grid.plan import plan
from sparsebench.grid.run import publish
from sparsebench.grid.store import Store
from sparsebench.masks import Masks
from sparsebench.models import build
from sparsebench.record import Record
from tests.grid.conftest import run_inline, tiny_board

METHODS = ("random/erk@init", "magnitude@finetune", "magnitude@imp", "magnitude@lrr", "magnitude@gmp", "rigl")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One run of the tiny board: its store and result."""
    store = tmp_path_factory.mktemp("store")
    board = tiny_board(*METHODS, sparsities=(0.5, 0.75))
    trained = []
    original = perform.train

    def counting(state, phase, *rest):
        trained.append(state.stage.id)
        return original(state, phase, *rest)

    perform.train = counting
    try:
        result = run_inline(board, store)
    finally:
        perform.train = original
    return board, Store(store), result, trained


def test_every_cell_has_an_audited_record(finished):
    board, _, result, _ = finished
    assert not result.failed
    assert set(result.records) == {cell.id for cell in board.cells}
    assert {r.data["cell"]["method"]: r.audit_failures for r in result.records.values()} == {
        m.name: [] for m in board.methods
    }


def test_equal_stages_are_trained_once(finished):
    board, _, _, trained = finished
    whole = plan(board.cells)
    # dense 1, random 2, finetune 2, imp 2, lrr 2, gmp 2, rigl 2; unshared each cell would train on its own
    assert len(trained) == whole.trainings == 13
    assert len(set(trained)) == 13
    assert whole.trainings_unshared == 1 + 2 + 2 * 2 + (2 + 3) + (2 + 3) + 2 + 2


def test_a_second_run_has_nothing_to_do(finished):
    board, store, _, _ = finished
    again = run_inline(board, store.folder)
    assert again.jobs == 0
    assert set(again.records) == {cell.id for cell in board.cells}


def test_stored_weights_are_a_plain_state_dict_with_zeros_where_masked(finished):
    board, store, _, _ = finished
    cell = next(c for c in board.cells if c.method.name == "magnitude@imp" and c.sparsity == 0.75)
    folder = store.stage(plan(board.cells).chains[cell.id][-1])
    net = build("mlp", (1, 8, 8), 10, hidden=(16, 12))
    net.load_state_dict(load_file(folder / "weights.safetensors"))
    masks = Masks.load(folder / "masks.safetensors")
    params = dict(net.named_parameters())
    assert masks.kept == round(0.25 * masks.total)
    assert all((params[name][~mask] == 0).all() for name, mask in masks.items())


def test_dense_and_pruned_rows_share_their_trunk(finished):
    board, _, _, _ = finished
    whole = plan(board.cells)
    by_method = {(c.method.name, c.sparsity): whole.chains[c.id] for c in board.cells}
    trunk = by_method["dense", 0.0][0]
    for method in ("magnitude@finetune", "magnitude@imp", "magnitude@lrr"):
        assert by_method[method, 0.75][0] == trunk
    assert by_method["magnitude@imp", 0.5] == by_method["magnitude@imp", 0.75][:2]


def test_costs_add_up(finished):
    _, _, result, _ = finished
    by = {(r.cell["method"], r.cell["sparsity"]): r.data["cost"] for r in result.records.values()}
    assert by["dense", 0.0]["epochs"] == 3
    assert by["magnitude@imp", 0.75]["epochs"] == 9
    assert by["magnitude@imp", 0.75]["own_epochs"] == 3
    assert by["magnitude@finetune", 0.75]["epochs"] == 3 + 1  # a quarter of 3 epochs, in whole ones


def test_published_records_are_the_stores_and_older_ones_give_way(finished, tmp_path):
    board, _, result, _ = finished
    publish(board, result, tmp_path)
    files = sorted(tmp_path.rglob("*.json"))
    assert len(files) == len(board.cells)
    one = Record.load(files[0])
    stale = files[0].with_name("0" * 16 + ".json")
    Record({**one.data, "cell_id": "0" * 16}).save(stale)
    publish(board, result, tmp_path)
    assert not stale.exists()
    assert files[0].exists()


def copy_of(store: Store, to: Path) -> Store:
    import shutil

    shutil.copytree(store.folder, to)
    return Store(to)


def test_a_damaged_record_is_named_set_aside_and_computed_again(finished, tmp_path):
    board, original, result, _ = finished
    store = copy_of(original, tmp_path / "s")
    victim = board.cells[3].id
    path = store.records / f"{victim}.json"
    path.write_text(path.read_text()[: path.stat().st_size // 2])
    again = run_inline(board, store.folder)
    assert any(str(path) in note and "set aside" in note for note in again.notes)
    assert again.jobs == 1
    assert again.records[victim].data["metrics"] == result.records[victim].data["metrics"]


def test_an_edited_record_is_not_believed(finished, tmp_path):
    board, original, result, _ = finished
    store = copy_of(original, tmp_path / "s")
    victim = board.cells[2].id
    path = store.records / f"{victim}.json"
    data = json.loads(path.read_text())
    data["metrics"]["top1"] = 0.999
    path.write_text(json.dumps(data))
    again = run_inline(board, store.folder)
    assert again.records[victim].data["metrics"]["top1"] == result.records[victim].data["metrics"]["top1"]
    assert len(again.notes) == 1


@pytest.mark.parametrize("file", ["weights.safetensors", "masks.safetensors", "stage.json"])
def test_a_truncated_stage_is_set_aside_and_computed_again(finished, tmp_path, file):
    board, original, result, _ = finished
    store = copy_of(original, tmp_path / "s")
    cell = next(c for c in board.cells if c.method.name == "magnitude@lrr" and c.sparsity == 0.75)
    middle = plan(board.cells).chains[cell.id][1]
    (store.records / f"{cell.id}.json").unlink()
    (store.stage(plan(board.cells).chains[cell.id][2]) / "stage.json").unlink()
    path = store.stage(middle) / file
    path.write_bytes(path.read_bytes()[:100])
    again = run_inline(board, store.folder)
    assert not again.failed
    assert any(middle in note and "set aside" in note for note in again.notes)
    assert again.records[cell.id].data["metrics"] == result.records[cell.id].data["metrics"]


def test_a_failing_method_fails_its_cells_and_no_others(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from sparsebench import criterion\n\n"
        '@criterion(needs="weight")\n'
        "def breaks_when_scoring(weight):\n"
        '    raise RuntimeError("on purpose")\n'
    )
    from sparsebench.methods import from_file

    board = tiny_board(*from_file(str(broken)), "random/erk@init")
    result = run_inline(board, tmp_path / "s")
    assert {cell.method.name for cell in board.cells if cell.id in result.failed} == {"breaks_when_scoring@finetune"}
    assert all("on purpose" in error for error in result.failed.values())
    assert len(result.records) == 2
