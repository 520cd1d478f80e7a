"""Rows: what a leaderboard needs of each record, remembered from one report to the next.

Reading and verifying ten thousand records takes many seconds, and few of them have changed since the last report. A
record is read again unless its file has the size, inode, time of modification and time of change that it had when it
was last verified. The time of change is set by the system at every write, rename and change of attributes: an edit
whose modification time was put back is still noticed. Files changed within the last seconds are not remembered, since
one more edit could carry the same time. What goes by unnoticed is what no file time shows: the clock set back, or a
disk written past its file system. ``sparsebench verify`` and the tests of the committed results remember nothing.

The memory is a file of this machine, not a result: it may be deleted at any time, and is not used by other code than
that which wrote it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from sparsebench import protocol, seal
from sparsebench import record as records
from sparsebench.files import write_atomic
from sparsebench.record import CorruptRecord, Record, copied
from sparsebench.report import table
from sparsebench.report.stamps import Listing, listing, settled

SPARED = 100
"""The memory is written anew once more than one row in so many is new: to write it takes as long as to read those."""
Row = list[Any]
"""The values of ``table.COLUMNS``."""
Entry = tuple[list[int], str, Row]
"""The stamp of a file, the cell in it, its row."""


class Found(NamedTuple):
    """What lies below a folder."""

    rows: list[Row]
    corrupt: list[CorruptRecord]
    """What could not be trusted."""
    seen: str
    """As of a :class:`~sparsebench.report.stamps.Listing`."""


def read(folder: str | Path, memory: str | Path | None = None, there: Listing | None = None) -> Found:
    """The rows of all records below a folder in path order, and what could not be trusted.

    A cell that appears twice is kept once, as in :func:`sparsebench.record.load_all`.

    Args:
        memory: a file of this machine that remembers rows; None reads and verifies every record.
        there: the files below the folder, if they have been listed already.
    """
    known = _recall(memory) if memory else {}
    there = there or listing(folder)
    fresh, rows, corrupt = {}, [], []
    seen: dict[str, str] = {}
    for name, stat in there.files:
        entry = known.get(name)
        try:
            if entry is None or entry[0] != stat:
                record = Record.load(Path(folder, name))
                entry = (stat, record.data["cell_id"], table.row(record))
            if settled(stat, there.now):
                fresh[name] = entry
            first = seen.setdefault(entry[1], name)
            if first is not name:
                raise copied(Path(folder, name), Path(folder, first))
            rows.append(entry[2])
        except CorruptRecord as error:
            corrupt.append(error)
    new = sum(entry is not known.get(name) for name, entry in fresh.items())
    if memory and new + len(known.keys() - fresh.keys()) > len(fresh) // SPARED:
        # A leaderboard can be made from a place where nothing can be remembered.
        with suppress(OSError):
            write_atomic(memory, json.dumps({"code": _code(), "files": fresh}))
    return Found(rows, corrupt, there.seen)


def _recall(memory: str | Path) -> dict[str, Entry]:
    try:
        found = orjson.loads(Path(memory).read_bytes())
        if found["code"] == _code():
            return {name: (stat, cell, row) for name, (stat, cell, row) in found["files"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        pass
    return {}


@cache
def _code() -> str:
    """Hash of the code that verifies records and picks their values."""
    files = [Path(module.__file__) for module in (protocol, seal, records, table)]
    sources = [file.read_bytes() for file in (*files, Path(__file__))]
    return sha256(b"".join(sources)).hexdigest()
