"""A cell from its record alone: the same cell, and the same numbers when it is computed anew."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest

from sparsebench.agreement import differences
from sparsebench.errors import UsageError
from sparsebench.grid.cell import Cell
from sparsebench.grid.hardware import Hardware
from sparsebench.grid.jobs import Context
from sparsebench.grid.plan import plan
from sparsebench.grid.rerun import board_of, cell_of, recompute
from sparsebench.grid.run import failed_record
from sparsebench.methods import parse
from sparsebench.phases import describe, phase_of
from sparsebench.protocol import PROTOCOL, name_of
from sparsebench.record import load_all
from sparsebench.registry import criterion
from sparsebench.tasks import task
from tests.grid.conftest import run_inline, tiny_board

RESULTS = Path(__file__).parents[2] / "results"
DEFAULTS = {"imp": {"rate": 0.5}, "lrr": {"rate": 0.5}, "gmp": {"begin": 0.3}}


def record_of(method: str, sparsity: float = 0.75, *, failed: bool = False, **defaults) -> dict:
    """What the record of a cell tells of its settings."""
    cell = Cell(task("digits-mlp"), parse(method, defaults or DEFAULTS), sparsity, 0)
    data = failed_record(cell, "out of memory")
    return data if failed else data | {"status": "ok", "fingerprint": cell.method.fingerprint()}


@pytest.mark.skipif(not RESULTS.is_dir(), reason="an installed package has no results beside it")
@pytest.mark.parametrize("board", ["quick", "methods"])
def test_every_committed_record_gives_its_cell(board):
    records, _ = load_all(RESULTS / board)
    assert len(records) > 300
    for record in records:
        cell = cell_of(record.data)
        assert (cell.id, cell.key()) == (record.data["cell_id"], record.data["cell"])
        assert [describe(phase_of(p)) for p in cell.settings["phases"]] == record.data["settings"]["phases"]


@pytest.mark.parametrize(
    ("method", "sparsity"),
    [("magnitude@imp(rewind=0.1)", 0.9), ("magnitude/2:4@lrr", 0.5), ("random@init+shuffle", 0.9)],
)
def test_arguments_of_the_board_are_in_the_record(method, sparsity):
    data = record_of(method, sparsity, imp={"rate": 0.5}, lrr={"rate": 0.5})
    again = cell_of(data)
    assert again.id == data["cell_id"]
    assert [describe(p) for p in again.method.phases(sparsity)] == data["settings"]["phases"]
    assert again.method.fingerprint() == data["fingerprint"]


def test_a_failed_record_has_all_that_is_needed():
    assert cell_of(record_of("magnitude@imp", failed=True)).id == record_of("magnitude@imp")["cell_id"]


@pytest.mark.parametrize("method", ["magnitude@imp(rate=0.5)", "dense"])
def test_the_dense_cell_comes_along(method):
    cell = Cell(task("digits-vgg"), parse(method), 0.0 if method == "dense" else 0.9, 2)
    whole = plan(board_of(cell).cells)
    dense = Cell(task("digits-vgg"), parse("dense"), 0.0, 2)
    assert set(whole.cells) == {cell.id, dense.id}
    assert whole.references[cell.id] == dense.id


def changed(data: dict, **fields) -> dict:
    return {**deepcopy(data), **fields}


def refusal(data: dict) -> str:
    with pytest.raises(UsageError) as caught:
        cell_of(data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_protocol_is_refused():
    assert f"protocol {PROTOCOL + 1}" in refusal(changed(record_of("magnitude@imp"), protocol=PROTOCOL + 1))


def test_settings_that_are_not_the_id_s_are_refused():
    data = record_of("magnitude@imp")
    data["settings"]["seed"] = 1
    assert "are those of cell" in refusal(data)


def test_a_name_that_is_not_the_settings_is_refused():
    data = record_of("magnitude@imp")
    data["cell"]["method"] = "magnitude@lrr"
    assert "does not lead to the phases" in refusal(data)


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        (("phases", 0, "phase"), "Distil", "Distil"),
        (("phases", 0, "temperature"), 2.0, "temperature"),
        (("task", "recipe", "teacher"), "resnet", "teacher"),
        (("task", "network"), "mlpp", "'mlp'"),
        (("task", "dataset"), "digit", "'digits'"),
    ],
)
def test_settings_of_a_newer_version_are_refused(where, value, said):
    data = record_of("magnitude@imp")
    place = data["settings"]
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    data["cell_id"] = name_of(data["settings"])
    assert said in refusal(data)


USERS = """
from sparsebench import criterion

@criterion(needs="weight")
def of_mine(weight):
    return weight.abs()
"""


def test_a_user_s_method_needs_its_file_as_it_was(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(USERS)
    criterion.add_file(file)
    data = record_of("of_mine@finetune")
    assert cell_of(data).id == data["cell_id"]
    criterion._added.clear()
    assert "--methods FILE.py" in refusal(data)
    file.write_text(USERS + "\n# changed\n")
    criterion.add_file(file)
    assert "digest" in refusal(data)


def test_a_user_s_regime_needs_its_file():
    data = record_of("magnitude@imp")
    data["cell"]["method"] = "magnitude@my_regime"
    assert "my_regime" in refusal(data)
    assert "--methods FILE.py" in refusal(data)


@pytest.mark.parametrize("method", ["magnitude@imp", "rigl"])
def test_a_cell_computed_anew_is_equal(method, tmp_path):
    board = tiny_board(method)
    first = next(r.data for r in run_inline(board, tmp_path / "first").records.values() if r.cell["sparsity"])
    context = Context(str(tmp_path / "second"), Hardware(), "test")
    again = recompute(cell_of(first), context, launcher="inline").data
    assert differences(first, again) == []
    assert first["metrics"] == again["metrics"]
