"""Validation: a submission, or a folder of results, held against everything that can be worked out again.

| rule | what must hold |
| --- | --- |
| manifest | it loads, and names a board of today's version and today's protocol |
| files | every file is as its digest says; none is missing, none is there besides |
| code | the method file defines what the methods are made of, under names of its own |
| record, provenance, arithmetic, chain | as in ``sparsebench verify`` |
| cells | every cell of the board, under the id that file and settings give it; no others |
| audit | every rule passed, and its own words and numbers say so |
| seeds | no training appears under two seeds; what begins with the dense training begins with its own seed's |
| table | the table follows from the records |
| rerun | cells drawn by lot, computed again with their dense rows, agree |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from sparsebench.agreement import Tolerance, differences, same_machine
from sparsebench.errors import SparsebenchError, UsageError
from sparsebench.grid import board as boards
from sparsebench.grid.board import Board
from sparsebench.papers import recipe as recipes
from sparsebench.papers.check import same_pages as paper_pages
from sparsebench.protocol import PROTOCOL
from sparsebench.record import CorruptRecord, Record
from sparsebench.submission import judged, rows
from sparsebench.submission.code import cells_of, is_known, key_of, keys_of, registered
from sparsebench.submission.manifest import FILE, README, RESULTS, TABLE, BadManifest, Manifest, digests
from sparsebench.verify import RULES as VERIFIED
from sparsebench.verify import Check, Report, verify
from sparsebench.verify.folder import find
from sparsebench.verify.report import unequal

RULES = {
    "manifest": "today's board and protocol",
    "files": "as their digests say, all of them and no others",
    "code": "defines the methods",
    **{rule: VERIFIED[rule] for rule in ("record", "provenance", "arithmetic", "chain")},
    "cells": "all of the board, under the ids of code and settings",
    "audit": "passed, by its own words and numbers",
    "seeds": "each with a training of its own",
    "table": "follows from the records",
    "rerun": "drawn by lot and computed again",
}
"""In the order in which they are printed."""
Again = Callable[[Mapping[str, Any], tuple[str, ...]], Sequence[Record]]
"""Computes a record's cell, and its dense row, anew; method files come along."""


class Validation(Report):
    """All checks of one folder."""

    @property
    def failures(self) -> list[Check]:
        order = list(RULES)
        return sorted((c for c in self.checks if not c.passed), key=lambda check: order.index(check.rule))

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        found = Counter((check.rule, check.passed) for check in self.checks)
        return {r: (found[r, True], found[r, False]) for r in RULES if found[r, True] or found[r, False]}


def validate(
    folder: str | Path,
    *,
    rerun: int = 0,
    salt: str = "",
    again: Again | None = None,
    files: Sequence[str] = (),
) -> Validation:
    """Check a submission, a folder of submissions, or a folder of results.

    Args:
        rerun: cells of each submission (or of the results) that are computed again.
        salt: goes into the lot; what a submitter cannot know beforehand, such as the number of a run of CI.
        again: how; needed with ``rerun``.
        files: method files that results need.

    Raises:
        UsageError: there is nothing to validate.
    """
    folder, report = Path(folder), Validation(str(folder))
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: name a submission, or a folder of submissions or of results")
    found = sorted(path.parent for path in folder.rglob(FILE))
    for place in found:
        _Submission(place, report).validate(rerun, salt, again)
    if not found:
        _Results(folder, report, files).validate(rerun, salt, again)
    _same_names(found, report)
    return report


def _same_names(folders: Sequence[Path], report: Validation) -> None:
    """Two submissions of one method on one board."""
    seen: dict[tuple[str, str], Path] = {}
    for folder in folders:
        try:
            manifest = Manifest.load(folder)
        except BadManifest:
            continue
        for method in manifest.methods:
            first = seen.setdefault((manifest.board, method), folder)
            if first is not folder:
                report.check("manifest", manifest.name, folder / FILE, [f"{method} is submitted by {first} already"])


class _Records:
    """What submissions and results have in common."""

    def __init__(self, folder: Path, report: Validation):
        self.folder, self.report = folder, report
        self.records: dict[Path, Record] = {}

    def verify(self, results: Path) -> None:
        """The rules of ``sparsebench verify``, and those that need no board."""
        try:
            report = verify(results)
        except UsageError as error:
            self.report.check("cells", self.folder.name, results, [str(error)])
            return
        self.report.checks += report.checks
        self.report.notes += report.notes
        self.report.records += report.records
        for path in sorted(results.rglob("*.json")):
            try:
                self.records[path] = Record.load(path)
            except CorruptRecord:
                continue  # rule record has said so
        finished = {path: record for path, record in self.records.items() if record.ok}
        for path, record in finished.items():
            self.report.check("audit", path.stem, path, judged.audit(record.data))
        self.report.value("seeds", self.folder.name, results, lambda: self.seeds(finished))

    def seeds(self, finished: dict[Path, Record]) -> None:
        """Rule ``seeds``, board by board."""
        faults: dict[str, list[str]] = {}
        by_board: dict[str, dict[str, Mapping[str, Any]]] = {}
        for path, record in finished.items():
            by_board.setdefault(record.data["board"], {})[path.stem] = record.data
        for records in by_board.values():
            for name, fault in (*judged.alike(records.items()), *judged.off_trunk(records)):
                faults.setdefault(name, []).append(fault)
        for path in finished:
            self.report.check("seeds", path.stem, path, faults.get(path.stem, ()))

    def draw(self, count: int, seed: str, allowed: Callable[[Record], bool]) -> list[tuple[Path, Record]]:
        """So many records by lot, of those that can be computed here."""
        able = {path: record for path, record in self.records.items() if record.ok and allowed(record)}
        drawn = sorted(able, key=lambda path: sha256(f"{seed}/{able[path].data['cell_id']}".encode()).hexdigest())
        return [(path, able[path]) for path in drawn[:count]]

    def compute(self, drawn: Sequence[tuple[Path, Record]], again: Again | None, files: tuple[str, ...]) -> None:
        """Rule ``rerun``."""
        if drawn and again is None:
            raise UsageError("rerun: say how cells are computed again (again=)")
        here = {record.data["cell_id"]: (path, record) for path, record in self.records.items()}
        for path, record in drawn:
            computed = self.report.value("rerun", path.stem, path, lambda record=record: again(record.data, files))
            for fresh in computed or ():
                there, old = here.get(fresh.data["cell_id"], (path, None))
                faults = apart(old.data, fresh.data) if old else [f"its dense row {fresh.data['cell_id']} is missing"]
                self.report.check("rerun", there.stem, there, faults)


def apart(recorded: Mapping[str, Any], computed: Mapping[str, Any]) -> list[str]:
    """In what a record computed again differs: at all on the same machine and versions, beyond rounding elsewhere."""
    computed = {**computed, **{key: recorded[key] for key in ("board", "board_version", "cell")}}
    recorded = {key: value for key, value in recorded.items() if key != "unverified"}
    return differences(recorded, computed, None if same_machine(recorded, computed) else Tolerance())


class _Submission(_Records):
    """One folder with a manifest."""

    def validate(self, rerun: int, salt: str, again: Again | None) -> None:
        name, place = self.folder.name, self.folder / FILE
        self.manifest = self.report.value("manifest", name, place, lambda: Manifest.load(self.folder))
        if self.manifest is None:
            return
        self.board = self.read_board()
        self.report.check("manifest", name, place, self.against_board())
        self.report.check("files", name, self.folder, self.same_files())
        self.verify(self.folder / RESULTS)
        file = self.manifest.method_file and self.folder / self.manifest.method_file
        with _known(file, self.report, name) as known:
            if known and self.board:
                self.check_cells(file)
                if rerun and self.manifest.unverified:
                    self.report.notes.append(f"{name} is unverified: without its code nothing can be computed again")
                elif rerun:
                    seed = f"{salt}/{sha256(place.read_bytes()).hexdigest()}"
                    drawn = self.draw(rerun, seed, lambda record: record.cell["method"] != "dense")
                    self.compute(drawn, again, (str(file),) if file else ())
        self.report.check("table", name, self.folder / TABLE, self.same_table())

    def read_board(self) -> Board | None:
        """The board that ships under its name, or that of the folder."""
        file = self.manifest.board_file
        try:
            if self.manifest.board in boards.names():
                return boards.load(self.manifest.board)
            return boards.from_text((self.folder / file).read_text(encoding="utf-8"), file) if file else None
        except (SparsebenchError, OSError, UnicodeDecodeError):
            return None

    def against_board(self) -> Iterator[str]:
        """Rule ``manifest``."""
        manifest = self.manifest
        yield from unequal("name", manifest.name, self.folder.resolve().name, "the folder it lies in")
        yield from unequal("protocol", manifest.protocol, PROTOCOL, "that of this version")
        if self.board is None:
            yield f"board {manifest.board!r} does not ship, and board_file {manifest.board_file!r} does not load"
            return
        if manifest.board_file and manifest.board in boards.names():
            yield f"board {manifest.board!r} ships, so it needs no board_file"
        yield from unequal("board", manifest.board, self.board.name, "the board file's")
        yield from unequal("board_version", manifest.board_version, self.board.version, "the board's")
        if not manifest.methods:
            yield "methods is empty"
        if manifest.unverified and manifest.method_file:
            yield "unverified means without code, but there is a method_file"

    def same_files(self) -> Iterator[str]:
        """Rule ``files``."""
        here, listed = digests(self.folder), self.manifest.files
        named = (self.manifest.method_file, self.manifest.board_file, TABLE)
        yield from (f"{name} is not listed" for name in named if name and name not in listed)
        for name in sorted({*here, *listed}):
            if name not in here:
                yield f"{name} is missing"
            elif name not in listed:
                yield f"{name} is there, but not listed"
            elif here[name] != listed[name]:
                yield f"{name} was changed after the manifest was written"

    def check_cells(self, file: Path | None) -> None:
        """Rules ``code`` and ``cells``."""
        manifest, name = self.manifest, self.folder.name
        if manifest.unverified:
            given = [record.data for record in self.records.values()]
            expected = keys_of(self.board, manifest.methods, given)
        else:
            where = file or self.folder / FILE
            cells = self.report.value("code", name, where, lambda: cells_of(self.board, manifest.methods))
            if cells is None:
                return
            self.report.check("code", name, where, ())
            expected = {key_of(cell.key()): cell.id for cell in cells.values()}
        self.report.check("cells", name, self.folder / RESULTS, self.incomplete(expected))
        for path, record in self.records.items():
            self.report.check("cells", path.stem, path, self.misfits(record, expected))

    def incomplete(self, expected: Mapping[tuple, str | None]) -> Iterator[str]:
        """Cells without a record, a line a method and task, and the manifest's count of them."""
        here = Counter(key_of(record.cell) for record in self.records.values())
        absent: dict[tuple[str, str], list[str]] = {}
        for task, method, sparsity, seed in (key for key in expected if key not in here):
            absent.setdefault((method, task), []).append(f"{sparsity:g} seed {seed}")
        for (method, task), places in absent.items():
            yield f"{method} on {task} is missing {len(places)} cells: sparsity {', '.join(places[:4])}"
        yield from (f"{'/'.join(map(str, key))} is there {count} times" for key, count in here.items() if count > 1)
        yield from unequal("cells", self.manifest.cells, len(expected), "those of the board")

    def misfits(self, record: Record, expected: Mapping[tuple, str | None]) -> Iterator[str]:
        """Why a record is not one of this submission."""
        data, key = record.data, key_of(record.cell)
        yield from unequal("board_version", data["board_version"], self.board.version, "the board's")
        yield from unequal("protocol", data["protocol"], PROTOCOL, "that of this version")
        yield from unequal("unverified", data.get("unverified", False), self.manifest.unverified, "the manifest's")
        if not record.ok:
            yield f"the cell failed: {data.get('error')}"
        if key not in expected:
            yield f"{'/'.join(map(str, key))} is no cell of {self.board.name} by {', '.join(self.manifest.methods)}"
        elif expected[key]:
            yield from unequal("cell_id", data["cell_id"], expected[key], "by the method file and the board")
        else:
            tasks = {task.name: task.settings() for task in self.board.tasks}
            if _plain(tasks[key[0]]) != data["settings"]["task"]:
                yield f"settings.task is not the board's {key[0]}"

    def same_table(self) -> Iterator[str]:
        """Rule ``table``: table.csv whole, and the table in README.md."""
        table = rows.rows(self.records.values())
        found, expected = (self.folder / TABLE).read_text(encoding="utf-8"), rows.csv(table)
        if found != expected:
            pairs = zip(found.splitlines(), expected.splitlines(), strict=False)
            line = next((n for n, (a, b) in enumerate(pairs, 1) if a != b), "at the end")
            yield f"{TABLE} is not what the records give (line {line})"
        page = (self.folder / README).read_text(encoding="utf-8")
        if rows.markdown(table) not in page:
            yield f"the table in {README} is not what the records give: take it from a new sparsebench submit"


def _plain(value: Any) -> Any:
    """A value as JSON has it: lists in place of tuples."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


class _known:
    """A block in which a file's methods are known; whether they are, rule ``code`` says otherwise."""

    def __init__(self, file: Path | None, report: Validation, name: str):
        self.context, self.file, self.report, self.name = registered(file), file, report, name

    def __enter__(self) -> bool:
        try:
            self.context.__enter__()
        except (SparsebenchError, OSError) as error:
            self.report.check("code", self.name, self.file, [str(error)])
            self.context = None
            return False
        return True

    def __exit__(self, *error: Any) -> None:
        if self.context:
            self.context.__exit__(*error)


class _Results(_Records):
    """Published results: boards without manifests."""

    def __init__(self, folder: Path, report: Validation, files: Sequence[str]):
        super().__init__(folder, report)
        self.files = tuple(files)

    def validate(self, rerun: int, salt: str, again: Again | None) -> None:
        try:
            find(self.folder)
        except UsageError:
            raise UsageError(
                f"{self.folder} holds neither submissions ({FILE}) nor results (<board>/<method>/<cell>.json)"
            ) from None
        self.verify(self.folder)
        for place in sorted({path.parents[1] for path in self.records}):
            board = boards.load(place.resolve().name) if place.resolve().name in boards.names() else None
            if board is None:
                self.paper(place)
                continue
            self.report.check("cells", board.name, place, self.strangers(board, place))
            self.report.check("table", board.name, place, same_pages(board, place))
        seed = salt + "".join(sorted(str(record.data.get("digest")) for record in self.records.values()))
        self.compute(self.draw(rerun, seed, lambda r: is_known(r.cell["method"])), again, self.files)

    def paper(self, place: Path) -> None:
        """The pages of a recipe; records of anything else that does not ship are not held against a board."""
        name = place.resolve().name
        if place.resolve().parent.name != "papers" or name not in recipes.names():
            self.report.notes.append(f"{place}: no board of this name ships; its table was not looked at")
            return
        self.report.check("table", name, place, paper_pages(recipes.load(name), place.resolve()))

    def strangers(self, board: Board, place: Path) -> Iterator[str]:
        """Records that the board has no cell for; cells without a record are noted, and their methods unranked."""
        here = {r.data["cell_id"]: r for path, r in self.records.items() if path.parents[1] == place}
        asked = {cell.id: cell for cell in board.cells}
        mine = {method.name for method in board.methods}
        for name, record in here.items():
            method = record.cell["method"]
            if method in mine and name not in asked:
                yield f"{name}: {method} has no such cell on {board.name} v{board.version}"
        missing = Counter(cell.method.name for name, cell in asked.items() if name not in here)
        for method, count in missing.items():
            self.report.notes.append(f"{board.name}: {method} lacks {count} cells and is not ranked")


def same_pages(board: Board, folder: Path) -> Iterator[str]:
    """Whether ``leaderboard.md`` and ``.csv`` are what the records give."""
    from tempfile import TemporaryDirectory

    from sparsebench.report import markdown, read, render

    standing = read(folder, board.info() | {"command": f"sparsebench run {board.name}"})
    pictures = [path.name for path in sorted(folder.glob("*.png"))]
    with TemporaryDirectory() as place:
        fresh = {path.name: path.read_text(encoding="utf-8") for path in render(place, standing.board, False, standing)}
    expected = {name: text for name, text in fresh.items() if name.endswith(".csv")}
    for name, text in ({"leaderboard.md": markdown.page(standing, pictures)} | expected).items():
        there = folder / name
        if not there.is_file():
            yield f"{name} is missing: sparsebench report {board.name}"
        elif there.read_text(encoding="utf-8") != text:
            yield f"{name} is not what the records give: sparsebench report {board.name}"
