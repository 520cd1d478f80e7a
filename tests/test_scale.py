"""Scale: what ten thousand cells must not do, counted and not timed (times: benchmarks/perf/)."""

from __future__ import annotations

import json
import os
import pickle
from collections import Counter
from pathlib import Path

import pytest

from sparsebench import methods, report
from sparsebench.grid import board as boards
from sparsebench.grid.cell import Cell
from sparsebench.grid.plan import plan
from sparsebench.methods import parse
from sparsebench.phases import Train, describe
from sparsebench.protocol import name_of
from sparsebench.record import Record
from sparsebench.report import stamps
from sparsebench.tasks import task
from tests.report.conftest import make_board, make_records


@pytest.mark.parametrize("name", ["quick", "methods"])
def test_names_put_together_from_shared_texts_are_the_hashes_of_the_whole(name):
    """The definition in docs/architecture.md, worked out the long way for every cell and stage."""
    whole = plan(boards.load(name).cells)
    for cell in whole.cells.values():
        assert cell.id == name_of(cell.settings)
        history, piece, names = [], [], []
        phases = cell.method.phases(cell.sparsity)
        for place, phase in enumerate(phases):
            piece.append(describe(phase))
            if isinstance(phase, Train) or place == len(phases) - 1:
                history, piece = [*history, piece], []
                names.append(name_of({"task": cell.task.settings(), "seed": cell.seed, "history": history}))
        assert whole.chains[cell.id] == tuple(names)


def test_a_rewind_point_is_named_by_its_own_training():
    sparsities = {"dense": 0.0, "magnitude@imp(rewind=0.1)": 0.5}
    whole = plan([Cell(task("digits-mlp"), parse(method), s, 3) for method, s in sparsities.items()])
    point = next(stage for stage in whole.stages.values() if stage.label == "rewind point 0.1")
    said = {"task": point.task.settings(), "seed": 3, "history": [[describe(Train(until=0.1))]]}
    assert point.id == name_of(said)


def test_a_phase_is_described_once_for_all_tasks_and_seeds(monkeypatch):
    """Ten times the seeds are as many descriptions."""

    def described(seeds: int) -> int:
        calls = Counter()
        monkeypatch.setattr(methods, "describe", lambda phase: calls.update(["described"]) or describe(phase))
        made = [parse(text) for text in ("dense", "snip", "lamp@lrr")]
        cells = [Cell(task("digits-mlp"), m, 0.0 if m.is_dense else 0.99, seed) for seed in range(seeds) for m in made]
        assert len(plan(cells).cells) == 3 * seeds
        return calls["described"]

    assert described(10) == described(1)


def test_equal_sparsities_that_are_written_differently_keep_their_own_names():
    method = parse("snip")
    assert Cell(task("digits-mlp"), method, 0.0, 0).id != Cell(task("digits-mlp"), method, 0, 0).id
    for sparsity in (0, 0.0):
        cell = Cell(task("digits-mlp"), method, sparsity, 0)
        assert cell.id == name_of(cell.settings)


def test_what_a_worker_is_sent_does_not_grow_with_the_sparsities_planned():
    method = parse("lamp@lrr")
    cell = Cell(task("digits-mlp"), method, 0.5, 0)
    before = len(pickle.dumps(cell))
    for sparsity in (0.9, 0.95, 0.99):
        method.steps(sparsity)
    assert len(pickle.dumps(cell)) == before
    assert pickle.loads(pickle.dumps(cell)).id == cell.id


@pytest.fixture
def board() -> dict:
    return make_board(["digits-mlp", "digits-vit"], ["lamp@imp", "random@imp"], [0.5, 0.9])


@pytest.fixture
def folder(tmp_path, board) -> Path:
    """Records that are an hour old: what was changed just now is never remembered."""
    made = tmp_path / "quick"
    for record in make_records(board):
        record.save(made / record.cell["method"] / f"{record.data['cell_id']}.json")
    return made


@pytest.fixture
def reads(monkeypatch) -> Counter:
    """Names of the records that are read and verified."""
    seen = Counter()
    load = Record.load
    monkeypatch.setattr(Record, "load", lambda path: seen.update([Path(path).name]) or load(path))
    return seen


@pytest.fixture
def later(monkeypatch) -> None:
    """An hour after the records were written."""
    now = stamps.time.time_ns()
    monkeypatch.setattr(stamps.time, "time_ns", lambda: now + 3600 * 10**9)


def test_a_second_report_reads_no_record(folder, board, tmp_path, reads, later):
    memory = tmp_path / "memory"
    first = report.read(folder, board, memory)
    assert len(reads) == len(first.cells)
    reads.clear()
    second = report.read(folder, board, memory)
    assert not reads
    assert second.rows.equals(first.rows)
    assert second.cells.equals(report.read(folder, board).cells)


def test_an_edit_whose_time_was_put_back_is_noticed(folder, board, tmp_path, reads, later):
    memory = tmp_path / "memory"
    report.read(folder, board, memory)
    reads.clear()
    path = sorted(folder.rglob("*.json"))[3]
    about, text = path.stat(), path.read_text()
    edited = text.replace('"seconds": 2.0', '"seconds": 1.0')
    assert len(edited) == len(text)
    assert edited != text
    path.write_text(edited)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_mtime_ns == about.st_mtime_ns
    again = report.read(folder, board, memory)
    assert list(reads) == [path.name]
    assert "changed since it was written" in again.notes[0]


def test_files_of_the_last_seconds_are_not_remembered(folder, board, tmp_path, reads):
    memory = tmp_path / "memory"
    for _ in range(2):
        cells = report.read(folder, board, memory).cells
    assert set(reads.values()) == {2}
    assert len(reads) == len(cells)


def test_a_removed_record_is_forgotten_and_a_copy_is_told(folder, board, tmp_path, later):
    memory = tmp_path / "memory"
    before = report.read(folder, board, memory)
    first, second, *_ = sorted(folder.rglob("*.json"))
    first.unlink()
    (folder / "z.json").write_bytes(second.read_bytes())
    for _ in range(2):
        after = report.read(folder, board, memory)
        assert len(after.cells) == len(before.cells) - 1
        assert "the same cell as" in after.notes[0]


@pytest.mark.parametrize("content", ["", "[]", '{"code": "x"}', '{"files": 3}', "\x00", None])
def test_a_damaged_memory_is_no_memory(folder, board, tmp_path, content, later):
    memory = tmp_path / "memory"
    first = report.read(folder, board, memory)
    code = json.loads((memory / "rows.json").read_text())["code"]
    (memory / "rows.json").write_text(json.dumps({"code": code, "files": 3}) if content is None else content)
    assert report.read(folder, board, memory).rows.equals(first.rows)


def test_a_report_is_made_where_nothing_can_be_remembered(folder, board, tmp_path, later):
    (tmp_path / "file").touch()
    assert len(report.render(folder, board, memory=tmp_path / "file" / "memory")) == 9


def test_figures_are_drawn_again_when_a_number_or_a_file_has_changed(folder, board, tmp_path, monkeypatch, later):
    from sparsebench.report import curves

    drawings, draw = Counter(), curves.accuracy_figure
    monkeypatch.setattr(curves, "accuracy_figure", lambda *a: drawings.update(["drawn"]) or draw(*a))
    memory = tmp_path / "memory"
    first = report.render(folder, board, memory=memory)
    bytes_of_first = {path: path.read_bytes() for path in first}
    assert report.render(folder, board, memory=memory) == first
    assert drawings["drawn"] == 1
    (folder / "curves.png").write_bytes(b"")
    report.render(folder, board, memory=memory)
    assert drawings["drawn"] == 2
    assert {path: path.read_bytes() for path in first} == bytes_of_first
    sorted(folder.rglob("*.json"))[-1].unlink()
    report.render(folder, board, memory=memory)
    assert drawings["drawn"] == 3


@pytest.fixture
def report_command(folder, board, tmp_path, monkeypatch, capsys, later):
    """``sparsebench report`` on these records as a function that returns what it says."""
    from types import SimpleNamespace

    from sparsebench.cli import report as command
    from sparsebench.grid import board as boards

    monkeypatch.setattr(boards, "load", lambda name: SimpleNamespace(name=folder.name, info=lambda: dict(board)))

    def said(**changes) -> str:
        asked = {"board": "quick", "format": None, "no_figures": True, "results": str(folder.parent)}
        command.command(SimpleNamespace(**asked, store=str(tmp_path / "store"), **changes))
        return capsys.readouterr().out

    return said


def test_a_report_of_what_has_not_changed_is_said_again(folder, report_command, monkeypatch):
    first = report_command()
    assert str(folder / "leaderboard.md") in first.splitlines()
    ranked = Counter()
    judge = report.standing_of
    monkeypatch.setattr(report, "standing_of", lambda *a: ranked.update(["ranked"]) or judge(*a))
    assert report_command() == first
    assert not ranked


def test_the_pages_are_written_also_if_nobody_reads_on(folder, report_command, monkeypatch):
    """``sparsebench report BOARD | head -1``"""

    from types import SimpleNamespace

    def closed(text: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("sparsebench.cli.report.sys", SimpleNamespace(stdout=SimpleNamespace(write=closed)))
    with pytest.raises(BrokenPipeError):
        report_command()
    assert (folder / "leaderboard.md").exists()


def test_a_report_is_made_again_when_a_record_a_file_or_the_width_has_changed(folder, report_command, monkeypatch):
    first = report_command()
    page = (folder / "leaderboard.md").read_bytes()
    (folder / "leaderboard.md").write_text("edited")
    assert report_command() == first
    assert (folder / "leaderboard.md").read_bytes() == page
    monkeypatch.setenv("COLUMNS", "300")
    assert report_command() != first
    sorted(folder.rglob("*.json"))[-1].unlink()
    assert report_command() != first
    assert (folder / "leaderboard.md").read_bytes() != page


def test_a_report_a_second_after_a_record_was_written_is_not_remembered(folder, report_command, monkeypatch):
    now = max(path.stat().st_mtime_ns for path in folder.rglob("*.json"))
    monkeypatch.setattr(stamps.time, "time_ns", lambda: now + 10**9)
    report_command()
    ranked = Counter()
    judge = report.standing_of
    monkeypatch.setattr(report, "standing_of", lambda *a: ranked.update(["ranked"]) or judge(*a))
    report_command()
    assert ranked["ranked"] == 1
