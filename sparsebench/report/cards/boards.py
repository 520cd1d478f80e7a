"""Boards: where the records of a card's subject are, and which commands make them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import sparsebench.report as reports
from sparsebench.grid import board as boards
from sparsebench.grid.board import Board
from sparsebench.grid.cell import Cell
from sparsebench.report import Standing
from sparsebench.report.cards.subject import Subject
from sparsebench.report.table import DENSE


@dataclass(frozen=True)
class Found:
    """A board that has records of the subject."""

    board: Board
    command: str
    """The board as it is written on the command line."""
    standing: Standing
    names: tuple[str, ...]
    """Rows of the subject, best first."""


def find(subject: Subject, results: str | Path, asked: str | None, memory=None) -> tuple[list[Found], list[str]]:
    """The boards with records of a subject, and what there is to say of others.

    Args:
        asked: one board only, a name or a YAML file; None: every board with records.
        memory: ``memory(folder)`` is where this machine remembers what it read of a folder; see ``report.read``.
    """
    results = Path(results)
    if asked:
        wanted = {asked: boards.load(asked)}
    else:
        folders = [path.name for path in sorted(results.glob("*/")) if next(path.glob("*/*.json"), None)]
        known = boards.names()
        wanted = {name: boards.load(name) for name in folders if name in known}
    found, notes = [], []
    for command, board in wanted.items():
        folder = results / board.name
        made = [path.name.replace("~", "/") for path in sorted(folder.glob("*/")) if next(path.glob("*.json"), None)]
        rows = [name for name in made if subject.is_row(name, board.defaults)]
        if not rows:
            notes.append(_none(subject, board, command, folder))
            continue
        info = board.info() | {"command": f"sparsebench run {command}"}
        standing = reports.read(folder, info, memory and memory(folder))
        order = [name for name in standing.summary["method"] if name in rows] + [n for n in rows if n == DENSE]
        found.append(Found(board, command, standing, tuple(order)))
    if not asked and (
        own := sorted({p.name for p in results.glob("*/") if next(p.glob("*/*.json"), None)} - set(wanted))
    ):
        notes.append(f"Records of boards that do not ship are in {', '.join(own)}: name the YAML file with `--board`.")
    if not found and not notes:
        notes.append(f"No records below `{results}`; make some: `{run_command(subject, 'quick')}`")
    return found, notes


def _none(subject: Subject, board: Board, command: str, folder: Path) -> str:
    if subject.part:
        return f"No row of the {board.name} board with records in `{folder}` has `{subject.title}` in it."
    return f"No records on the {board.name} board; make some: `{run_command(subject, command)}`"


def run_command(subject: Subject, board: str) -> str:
    """The command that makes the rows of a method, or of one with the part in it."""
    return f"sparsebench run {shlex.quote(board)} --methods {shlex.quote(subject.typed)}"


def a_cell(found: Found, name: str) -> str | None:
    """A cell of a row: its highest sparsity on the first task, the first seed."""
    for task in found.board.tasks:
        for method in found.board.methods:
            if method.name == name:
                return Cell(task, method, found.board.sparsities_of(method)[-1], found.board.seeds[0]).id
    return None
