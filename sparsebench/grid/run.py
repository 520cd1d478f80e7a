"""Run: a board from cells to published records. Nothing here imports torch; the workers do."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sparsebench.grid.board import Board
from sparsebench.grid.cell import Cell
from sparsebench.grid.drive import Progress, drive
from sparsebench.grid.jobs import Context, dependencies
from sparsebench.grid.plan import plan
from sparsebench.grid.store import Store
from sparsebench.launchers.inline import InlineLauncher
from sparsebench.launchers.local import LocalLauncher
from sparsebench.protocol import PROTOCOL
from sparsebench.record import SCHEMA, CorruptRecord, Record, record_path

LAUNCHERS = {"local": LocalLauncher, "inline": InlineLauncher}
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
    listener: Callable[[Progress], None] = lambda progress: None,
    launcher: str = "local",
) -> Result:
    """Compute what is missing of a board.

    A cell that fails is reported and does not stop the others; a damaged stage or record is set aside and
    computed again. On Ctrl-C the workers stop and everything finished stays.
    """
    store, whole = Store(context.store).create(), plan(board.cells)
    result = Result()
    for _ in range(ATTEMPTS):
        done, notes = store.readable_records(set(whole.cells))
        result.notes += notes
        jobs, waits = dependencies(whole, whole.needed(store.done_stages(), done), [c for c in whole.cells if c not in done])
        result.jobs += len(jobs)
        if not jobs:
            break
        crew = LAUNCHERS[launcher](max(1, min(workers, len(jobs))), context)
        try:
            progress = drive(jobs, waits, crew, listener)
        except BaseException:
            crew.close(kill=True)
            raise
        crew.close()
        result.failed = {name.removeprefix("cell:"): error for name, error in progress.failed.items() if name.startswith("cell:")}
        if not progress.damaged:
            break
        for stage in progress.damaged:
            with suppress(FileNotFoundError):
                result.notes.append(f"stage {stage} is damaged; set aside as {store.set_aside(store.stage(stage))}, computed again")
    result.records, notes = store.readable_records(set(whole.cells))
    result.notes += notes
    result.failed = {cell: error for cell, error in result.failed.items() if cell not in result.records}
    return result


def publish(board: Board, result: Result, results: Path) -> None:
    """Write the records to ``results/<board>/<method>/``; a record of the same cell under older settings gives way."""
    for cell in board.cells:
        record = result.records.get(cell.id)
        if record is None and cell.id not in result.failed:
            continue
        path = record_path(results, board.name, cell.method.name, cell.id)
        data = dict(record.data) if record else failed_record(cell, result.failed[cell.id])
        # Another board may have named the same cell by other words.
        data |= {"board": board.name, "board_version": board.version, "cell": cell.key()}
        if not _same(path, data):
            Record(data).save(path)
        for other in path.parent.glob("*.json"):
            if other != path and _key(other) == data["cell"]:
                os.remove(other)


def failed_record(cell: Cell, error: str) -> dict:
    """The record of a cell that could not be computed: shown, never ranked, tried again by the next run."""
    return {
        "schema": SCHEMA,
        "board": "",
        "board_version": 0,
        "protocol": PROTOCOL,
        "cell_id": cell.id,
        "cell": cell.key(),
        "settings": cell.settings,
        "status": "failed",
        "error": error,
        "collapsed": False,
        "flags": [],
        "metrics": {},
        "cost": {},
        "provenance": {},
        "audit": [],
    }


def _same(path: Path, data: dict) -> bool:
    try:
        old = dict(Record.load(path).data)
    except CorruptRecord:
        return False
    return {k: v for k, v in old.items() if k != "digest"} == {k: v for k, v in data.items() if k != "digest"}


def _key(path: Path) -> dict | None:
    try:
        return Record.load(path).cell
    except CorruptRecord:
        return None
