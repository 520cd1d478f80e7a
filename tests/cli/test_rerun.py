"""``sparsebench rerun``: what it prints, which bar it takes, its exit codes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from sparsebench.grid.run import publish
from sparsebench.record import Record
from tests.grid.conftest import run_inline, tiny_board


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Published records of a dense and a pruned cell."""
    folder = tmp_path_factory.mktemp("published")
    board = tiny_board("magnitude@finetune")
    publish(board, run_inline(board, folder / "store"), folder / "results")
    return folder / "results"


@pytest.fixture
def record(results) -> Path:
    return next((results / "tiny" / "magnitude@finetune").glob("*.json"))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def edited(record, tmp_path):
    """``edited(top1=0.9)``: a copy of the record with other metrics, or other fields, and a digest that fits."""

    def edit(top: dict | None = None, **metrics) -> str:
        data = {**Record.load(record).data, **(top or {})}
        data["metrics"] = {**data["metrics"], **metrics}
        return str(Record(data).save(tmp_path / "edited.json"))

    return edit


def test_a_cell_computed_anew_is_equal_bit_for_bit(sparsebench, record):
    code, out, err = sparsebench("rerun", str(record), "--launcher", "inline")
    assert (code, err) == (0, "")
    assert "bar: bit for bit" in out
    assert out.splitlines()[-1].startswith("equal: ")
    top1 = Record.load(record).data["metrics"]["top1"]
    assert any(line.split() == ["top1", f"{top1:.6g}", f"{top1:.6g}"] for line in out.splitlines())


def test_an_edited_accuracy_is_caught(sparsebench, edited):
    code, out, _ = sparsebench("rerun", edited(top1=0.999), "--launcher", "inline")
    assert code == 1
    assert "  metrics.top1: 0.999 -> " in out
    assert out.splitlines()[-1].startswith("DIFFERS: 1 of ")


def test_elsewhere_there_is_a_tolerance_and_it_is_not_for_edits(sparsebench, edited, record):
    data = Record.load(record).data
    elsewhere, metrics = {"provenance": {**data["provenance"], "hardware": "another CPU"}}, data["metrics"]
    near = edited(elsewhere, ece=metrics["ece"] + 1e-6)
    code, out, _ = sparsebench("rerun", near, "--json", "--launcher", "inline")
    said = json.loads(out)
    assert code == 0
    assert (said["bar"], said["bit_equal"], said["agrees"], said["differences"]) == ("tolerance", False, True, [])
    assert [line.split(":")[0] for line in said["circumstances"]] == ["hardware"]
    far = edited(elsewhere, top1=metrics["top1"] - 0.3)
    code, out, _ = sparsebench("rerun", far, "--launcher", "inline")
    assert code == 1
    assert "metrics.top1" in out
    assert "bar: within tolerance" in out


def test_a_failed_cell_is_tried(sparsebench, record, tmp_path):
    data = Record.load(record).data
    head = {key: data[key] for key in ("schema", "board", "board_version", "protocol", "cell_id", "cell", "settings")}
    nothing = {"collapsed": False, "flags": [], "metrics": {}, "cost": {}, "provenance": {}, "audit": []}
    path = Record({**head, **nothing, "status": "failed", "error": "no memory"}).save(tmp_path / "failed.json")
    code, out, _ = sparsebench("rerun", str(path), "--launcher", "inline")
    assert code == 1
    assert "  status: failed -> ok\n  error: no memory -> None" in out


def test_a_record_is_found_by_its_id(sparsebench, record, results):
    code, out, _ = sparsebench("rerun", record.stem[:8], "--results", str(results), "--json", "--launcher", "inline")
    said = json.loads(out)
    assert code == 0
    assert (said["cell_id"], said["bit_equal"], said["agrees"]) == (record.stem, True, True)


def test_a_kept_folder_is_not_computed_twice_and_must_be_a_rerun_s(sparsebench, record):
    words = ("rerun", str(record), "--launcher", "inline", "--keep", "kept")
    assert sparsebench(*words)[0] == 0
    before = sorted(p.stat().st_mtime_ns for p in Path("kept/stages").glob("*/stage.json"))
    assert before
    assert sparsebench(*words)[0] == 0
    assert sorted(p.stat().st_mtime_ns for p in Path("kept/stages").glob("*/stage.json")) == before
    code, _, err = sparsebench(*words, "--threads", "2")
    assert code == 2
    assert "threads 1 -> 2" in err


def one_line(said: tuple[int, str, str], code: int) -> str:
    assert (said[0], said[1]) == (code, "")
    assert len(said[2].splitlines()) == 1
    return said[2]


def test_a_store_of_a_run_is_refused(sparsebench, record, results):
    store = str(results.parent / "store")
    assert "Give a new folder" in one_line(sparsebench("rerun", str(record), "--keep", store), 2)


MISTAKES = {
    "gone.json": "gone.json is not a file",
    "results/gone": "is not a file",
    "abc": "no record 'abc'",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_record_that_is_not_there(sparsebench, text):
    assert MISTAKES[text] in one_line(sparsebench("rerun", text), 2)


def test_records_that_cannot_be_computed_here(sparsebench, edited, record):
    assert "protocol 99" in one_line(sparsebench("rerun", edited({"protocol": 99})), 2)
    cell = {**Record.load(record).data["cell"], "method": "of_mine@finetune"}
    assert "of_mine" in one_line(sparsebench("rerun", edited({"cell": cell})), 2)
    assert "--threads 0" in one_line(sparsebench("rerun", str(record), "--threads", "0"), 2)
    assert "'locl'" in one_line(sparsebench("rerun", str(record), "--launcher", "locl"), 2)
    assert "gone.py" in one_line(sparsebench("rerun", str(record), "--methods", "gone.py"), 2)


def test_a_record_that_was_edited_by_hand_is_not_even_tried(sparsebench, record, tmp_path):
    path = tmp_path / "record.json"
    path.write_text(record.read_text().replace('"seed": 0', '"seed": 1'))
    assert "digest differs" in one_line(sparsebench("rerun", str(path)), 1)
