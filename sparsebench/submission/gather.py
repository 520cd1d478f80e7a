"""Gather: the records of a method on a board, complete and clean, into the folder of a pull request."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sparsebench.errors import SparsebenchError, UsageError
from sparsebench.files import write_atomic
from sparsebench.grid import board as boards
from sparsebench.grid.board import Board
from sparsebench.methods import parse
from sparsebench.protocol import PROTOCOL
from sparsebench.record import CorruptRecord, Record, record_path
from sparsebench.registry import criterion, modifier, regime
from sparsebench.submission import rows
from sparsebench.submission.card import card
from sparsebench.submission.code import cells_of, key_of, keys_of, registered
from sparsebench.submission.judged import audit
from sparsebench.submission.manifest import README, RESULTS, TABLE, Manifest, digests
from sparsebench.verify.records import clean


@dataclass(frozen=True)
class Entry:
    """What is submitted: methods, the file that defines them, and who made them."""

    name: str
    methods: tuple[str, ...]
    file: Path | None
    unverified: bool = False
    authors: tuple[str, ...] = ()
    paper: str = ""
    typed: str = ""
    """How the methods are written after ``--methods``."""


class NotReady(SparsebenchError):
    """Something is missing or wrong: a line each, with what to do."""

    def __init__(self, problems: Sequence[str]):
        super().__init__("; ".join(problems))
        self.problems = list(problems)


@dataclass
class Found:
    """The records of an entry, and what stands in their way."""

    paths: dict[Path, Record] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def submit(
    entry: Entry, board: str, results: str | Path = "results", to: str | Path = "submissions"
) -> tuple[Path, Manifest]:
    """Write ``TO/<board>/<name>/`` with manifest, method file, records, table and card.

    The folder appears only if everything is there and ``validate`` finds no fault in it.

    Raises:
        UsageError: an unknown board or method, or a folder that is there already.
        NotReady: records are missing, not clean, or failed; the lines say which, and what to do.
    """
    chosen, text = read_board(board)
    target = Path(to) / chosen.name / entry.name
    if target.exists():
        raise UsageError(f"{target} is there already and is not overwritten: delete it, or choose another --to")
    with registered(entry.file):
        found = find(entry, chosen, Path(results), board)
        if found.missing or found.problems:
            raise NotReady([*found.missing, *found.problems])
        summary = _summary(entry)
    with _aside(target) as folder:
        manifest = _write(folder, entry, chosen, text, found, summary)
        from sparsebench.submission.validation import validate

        report = validate(folder, rerun=0)
        if not report.passed:
            raise NotReady([f"{c.rule}: {reason}" for c in report.failures for reason in c.reasons])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder, target)
    return target, manifest


def read_board(board: str) -> tuple[Board, str | None]:
    """A board, and its text if it does not ship.

    Raises:
        UsageError: there is none, or it takes the name of one that ships.
    """
    chosen = boards.load(board)
    if board in boards.names():
        return chosen, None
    if chosen.name in boards.names():
        raise UsageError(f"{board}: there is a board {chosen.name!r} that ships; give yours a name of its own")
    return chosen, Path(board).read_text(encoding="utf-8")


def find(entry: Entry, board: Board, results: Path, typed_board: str) -> Found:
    """The records of all cells, what is missing, and what is wrong with those that are there."""
    found = Found()
    wanted = _wanted(entry, board, results, found)
    absent: dict[tuple[str, str], list[str]] = {}
    faults: dict[str, list[Path]] = {}
    for (task, method, sparsity, seed), path in wanted.items():
        if path is None or not path.is_file():
            absent.setdefault((method, task), []).append(f"{sparsity:g} seed {seed}")
            continue
        try:
            record = Record.load(path)
        except CorruptRecord as error:
            faults.setdefault(error.why, []).append(path)
            continue
        found.paths[path] = record
        for fault in _unfit(record, board):
            faults.setdefault(fault, []).append(path)
    for fault, paths in faults.items():
        more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
        found.problems.append(f"{paths[0]}{more}: {fault}")
    if absent:
        total = sum(map(len, absent.values()))
        found.missing.append(f"{total} of {len(wanted)} cells of board {board.name} have no record in {results}:")
        for (method, task), places in absent.items():
            more = f" and {len(places) - 3} more" if len(places) > 3 else ""
            found.missing.append(f"  {method} on {task}: sparsity {', '.join(places[:3])}{more}")
        found.missing.append(
            "ask whoever made the records for the others"
            if entry.unverified
            else f"make them: sparsebench run {typed_board} --methods {entry.typed}"
        )
    return found


def _wanted(entry: Entry, board: Board, results: Path, found: Found) -> dict[tuple, Path | None]:
    """Every cell that is asked for and the file its record must have, None where none is known."""
    if not entry.unverified:
        cells = cells_of(board, entry.methods).values()
        return {key_of(c.key()): record_path(results, board.name, c.method.name, c.id) for c in cells}
    there: dict[tuple, Path] = {}
    records = []
    for method in ("dense", *entry.methods):
        folder = record_path(results, board.name, method, "").parent
        for path in sorted(folder.glob("*.json")):
            try:
                record = Record.load(path)
            except CorruptRecord as error:
                found.problems.append(f"{path}: {error.why}")
                continue
            there[key_of(record.cell)] = path
            records.append(record.data)
    return {key: there.get(key) for key in keys_of(board, entry.methods, records)}


def _unfit(record: Record, board: Board) -> Iterator[str]:
    """Why a sound record cannot be submitted, and what to do."""
    data = record.data
    if not record.ok:
        yield f"the cell failed ({data.get('error')}): give the same run again"
        return
    if (data["board_version"], data["protocol"]) != (board.version, PROTOCOL):
        yield (
            f"is of board version {data['board_version']} and protocol {data['protocol']}, now are {board.version} and "
            f"{PROTOCOL}: run it again with this version"
        )
    for fault in clean(data["provenance"]):
        yield f"{fault}; commit or undo the change and run again with a new --store and --results"
    yield from audit(data)


def _summary(entry: Entry) -> str:
    """The first sentence of the first method's documentation."""
    if entry.unverified:
        return ""
    method = parse(entry.methods[0])
    names = [*([method.scorer.criterion] if method.scorer else []), method.regime, *(n for n, _ in method.modifiers)]
    entries = [
        registry.entries[name]
        for name in names
        for registry in (criterion, regime, modifier)
        if name in registry.entries
    ]
    own = [e for e in entries if e.path == (entry.file and entry.file.resolve())]
    return (own or entries)[0].summary


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A folder of the target's name that vanishes if it is not moved away."""
    with TemporaryDirectory(prefix="sparsebench-submit-") as place:
        folder = Path(place) / target.parent.name / target.name
        folder.mkdir(parents=True)
        yield folder


def _write(folder: Path, entry: Entry, board: Board, text: str | None, found: Found, summary: str) -> Manifest:
    for path, record in found.paths.items():
        to = record_path(folder / RESULTS, board.name, record.cell["method"], path.stem)
        if entry.unverified:
            Record({**record.data, "unverified": True}).save(to)
        else:
            write_atomic(to, path.read_bytes())
    if entry.file:
        write_atomic(folder / entry.file.name, entry.file.read_bytes())
    if text is not None:
        write_atomic(folder / "board.yaml", text)
    table = rows.rows(found.paths.values())
    write_atomic(folder / TABLE, rows.csv(table))
    where = [record.data["provenance"] for record in found.paths.values()]
    manifest = Manifest(
        name=entry.name,
        authors=list(entry.authors),
        paper=entry.paper,
        summary=summary,
        unverified=entry.unverified,
        board=board.name,
        board_version=board.version,
        board_file=None if text is None else "board.yaml",
        protocol=PROTOCOL,
        methods=list(entry.methods),
        method_file=entry.file.name if entry.file else None,
        cells=len(found.paths),
        versions=_versions(where[0]),
        hardware=sorted({str(w.get("hardware")) for w in where}),
        files=digests(folder),
    )
    write_atomic(folder / README, card(manifest, rows.markdown(table), where[0]))
    manifest.save(folder)
    return manifest


def _versions(where: dict[str, Any]) -> dict[str, Any]:
    return {"python": where.get("python"), **where.get("versions", {})}
