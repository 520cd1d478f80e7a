"""Kept: the whole records behind a standing, for what shows more of them than a leaderboard's columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sparsebench.record import CorruptRecord, Record
from sparsebench.report.stamps import files

if TYPE_CHECKING:
    from sparsebench.report import Standing

CELL = ["task", "method", "sparsity", "seed"]
RULES = ["board_version", "protocol"]


class Kept(NamedTuple):
    """A record and its file, relative to the board's folder."""

    path: str
    record: Record


def kept(standing: Standing, folder: str | Path) -> list[Kept]:
    """The records that a standing counts, in its order, each read and verified again.

    Args:
        folder: ``results/<board>``, from which the standing was read.
    """
    cells = standing.cells
    places = {key: place for place, key in enumerate(zip(*(cells[c].tolist() for c in CELL + RULES), strict=True))}
    found: dict[str, tuple[int, Kept]] = {}
    for name, _ in files(folder):
        try:
            record = Record.load(Path(folder, name))
        except CorruptRecord:
            continue  # the standing's notes name it
        place = places.get((*(record.cell[key] for key in CELL), *(record.data[key] for key in RULES)))
        if place is not None:
            found.setdefault(record.data["cell_id"], (place, Kept(Path(name).as_posix(), record)))
    return [one for _, one in sorted(found.values(), key=lambda item: item[0])]
