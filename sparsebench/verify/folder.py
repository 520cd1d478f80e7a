"""Folder: what is to be verified, a store or a results folder, and the records in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from sparsebench.errors import UsageError
from sparsebench.grid.store import Store
from sparsebench.record import CorruptRecord, Record

_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Source:
    """A folder, the records below it and the store of the networks behind them, if there is one to look at."""

    folder: Path
    is_store: bool
    records: tuple[Path, ...]
    store: Store | None

    def place(self, path: Path) -> tuple[str | None, str | None]:
        """Board and method that the folders of a published record stand for; None where they do not say."""
        parts = (self.folder.resolve() / path.relative_to(self.folder)).parts
        depth = len(path.relative_to(self.folder).parts)
        return (parts[-3] if depth >= 3 else None), (None if self.is_store else parts[-2])


def find(folder: str | Path, store: str | Path | None = None) -> Source:
    """What there is to verify in a folder. Nothing is written.

    Raises:
        UsageError: it is neither a store nor a results folder, or is empty; or ``store`` is no store.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: name a store (.sparsebench) or a folder of records (results)")
    if _is_store(folder):
        if store is not None:
            raise UsageError(f"{folder} is a store itself: leave out --store, or name a results folder to compare")
        found = Store(folder)
        records = tuple(sorted(found.records.glob("*.json")))
        if not records and not any(found.stages.glob("*")):
            raise UsageError(f"store {folder} is empty: there is nothing to verify")
        return Source(folder, True, records, found)
    records = tuple(sorted(folder.rglob("*.json")))
    if not any(_is_published(path.relative_to(folder)) for path in records):
        raise UsageError(
            f"{folder} is neither a store (folders stages/ and records/) nor a results folder "
            "(<board>/<method>/<cell>.json): name one of them, such as .sparsebench or results"
        )
    if store is not None and not _is_store(Path(store)):
        raise UsageError(f"--store {store} is not a store: it has neither stages/ nor records/")
    return Source(folder, False, records, None if store is None else Store(store))


def load(path: Path) -> Record:
    """Read one record.

    Raises:
        CorruptRecord: it is damaged, edited, or no record.
    """
    if not path.is_file():
        raise CorruptRecord(path, "not a file")
    try:
        return Record.load(path)
    except RecursionError:
        raise CorruptRecord(path, "not a record: nested too deeply") from None


def _is_published(path: Path) -> bool:
    """Whether a record may lie there, seen from a results folder, or from that of a board or method."""
    hidden = any(part.startswith(".") for part in path.parts)
    return bool(_ID.fullmatch(path.stem)) and len(path.parts) <= 3 and not hidden


def _is_store(folder: Path) -> bool:
    return (folder / "stages").is_dir() or (folder / "records").is_dir()
