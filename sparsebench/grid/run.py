"""Run: a board from cells to published records. Nothing here imports torch; the workers do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsebench.grid.board import Board
from sparsebench.grid.cell import Cell
from sparsebench.grid.jobs import Context, dependencies
from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store
from sparsebench.launchers import Listener, make_launcher
from sparsebench.record import CorruptRecord, Record, record_path
from sparsebench.registry import dataset

ATTEMPTS = 3
"""Times a board is planned anew after a damaged stage was set aside."""


@dataclass
class Result:
    """What a run left: records by cell, errors by cell, notes for the user."""

    records: dict[str, Record] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    jobs: int = 0


def run(
    board: Board,
    context: Context,
    workers: int,
    listener: Listener = lambda progress: None,
    launcher: str = "local",
    **options: Any,
) -> Result:
    """Compute what is missing of a board.

    A cell that fails is reported and does not stop the others; a damaged stage or record is set aside and
    computed again. On Ctrl-C the workers stop and everything finished stays. ``options`` are the launcher's own.
    """
    whole, store = plan(board.cells), Store(context.store).create()
    result = Result()
    for _ in range(ATTEMPTS):
        done, notes = store.readable_records(set(whole.cells))
        result.notes += notes
        to_do = [cell for cell in whole.cells if cell not in done]
        jobs, waits = dependencies(whole, whole.needed(store.done_stages(), done), to_do)
        result.jobs += len(jobs)
        if not jobs:
            result.records = done
            return result
        fetch_data(board, context)
        hands = make_launcher(launcher, max(1, min(workers, len(jobs))), context, **options)
        try:
            progress = hands.run(jobs, waits, listener)
        except BaseException:
            hands.close(kill=True)
            raise
        hands.close()
        failed = {name: error for name, error in progress.failed.items() if name.startswith("cell:")}
        result.failed = {name.removeprefix("cell:"): error for name, error in failed.items()}
        if not progress.damaged:
            break
        for stage in progress.damaged:
            if aside := store.set_aside_stage(stage):
                result.notes.append(f"stage {stage} is damaged; set aside as {aside}, computed again")
    result.records, notes = store.readable_records(set(whole.cells))
    result.notes += notes
    result.failed = {cell: error for cell, error in result.failed.items() if cell not in result.records}
    return result


def fetch_data(board: Board, context: Context) -> None:
    """Make sure that data sets on disk are there, before any work starts; one process decodes them for all.

    Raises:
        UsageError: files are missing: where they were looked for and what to do.
    """
    embedded = {name for name, entry in dataset.entries.items() if entry.traits.get("embedded")}
    for name in sorted({task.dataset for task in board.tasks} - embedded):
        from sparsebench.data import load

        load(name, context.hardware.data_root, context.hardware.download)


def publish(board: Board, result: Result, results: Path) -> None:
    """Write the records to ``results/<board>/<method>/``.

    A record of the same cell under older settings gives way, and so does one of an older version of a user's
    method file: a row never mixes two methods.
    """
    wanted: dict[Path, dict] = {}
    for cell in board.cells:
        record = result.records.get(cell.id)
        if record or cell.id in result.failed:
            data = dict(record.data) if record else failed_record(cell, result.failed[cell.id])
            # Another board may have named the same cell by other words.
            data |= {"board": board.name, "board_version": board.version, "cell": cell.key()}
            wanted[record_path(results, board.name, cell.method.name, cell.id)] = data
    for path, data in wanted.items():
        if not _same(path, data):
            Record(data).save(path)
    for folder in {path.parent for path in wanted}:
        mine = [data for path, data in wanted.items() if path.parent == folder]
        for other in set(folder.glob("*.json")) - set(wanted):
            if _gives_way(other, mine):
                other.unlink(missing_ok=True)


def failed_record(cell: Cell, error: str) -> dict:
    """The record of a cell that could not be computed: shown, never ranked, tried again by the next run."""
    return {
        **cell.record_head(),
        "status": "failed",
        "error": error,
        "collapsed": False,
        "flags": [],
        "metrics": {},
        "cost": {},
        "provenance": {},
        "fingerprint": cell.method.fingerprint(),
        "audit": [],
    }


def _same(path: Path, data: dict) -> bool:
    try:
        old = dict(Record.load(path).data)
    except CorruptRecord:
        return False
    return {k: v for k, v in old.items() if k != "digest"} == {k: v for k, v in data.items() if k != "digest"}


def _gives_way(path: Path, mine: list[dict]) -> bool:
    try:
        old = Record.load(path).data
    except CorruptRecord:
        return False
    return any(old["cell"] == data["cell"] for data in mine) or _sources(old) != _sources(mine[0])


def _sources(data: dict) -> set[str]:
    """Digests of the user's files that a record's method is made of."""
    phases = data["settings"].get("phases", ())
    scorers = [p.get("scorer") or (p.get("pruner") or {}).get("scorer") for p in phases]
    return {scorer["source"] for scorer in scorers if scorer and scorer.get("source")}
