"""From records to a leaderboard: tables, figures and a verdict, without importing torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from sparsebench.record import CorruptRecord
    from sparsebench.report.cells import Grid
    from sparsebench.report.stamps import Listing


@dataclass(frozen=True)
class Standing:
    """The numbers of a board, worked out once for page, figures and terminal."""

    board: Mapping[str, Any]
    cells: pd.DataFrame
    rows: pd.DataFrame
    """As from :func:`sparsebench.report.table.leaderboard`."""
    summary: pd.DataFrame
    """As from :func:`sparsebench.report.table.overall`."""
    sentences: list[str]
    """The verdict."""
    notes: list[str]
    """What was left out."""
    differences: pd.DataFrame
    """Every method against its baseline, see :mod:`sparsebench.report.differences`."""
    levels: pd.DataFrame
    """Ranks at equal multiply-accumulates, see :mod:`sparsebench.report.equal_work`."""
    points: pd.DataFrame
    """Rows averaged over the tasks, with the Pareto fronts, see :mod:`sparsebench.report.pareto`."""
    ranks: pd.DataFrame
    """Ranks of the complete methods in every block (task, sparsity, seed)."""
    seen: str = ""
    """Hash of the stamps of all record files, where a change of one would change it."""

    @cached_property
    def grids(self) -> dict[str, Grid]:
        """Methods by sparsities of each task."""
        from sparsebench.report.cells import task_grid

        return {task: task_grid(self.rows, task) for task in self.cells["task"].unique()}

    @cached_property
    def budgets(self) -> list[dict[str, Any]]:
        """The budget classes that have a method, from small to large: ``name, epochs, flops``."""
        from sparsebench.report.budgets import ladder

        present = set(self.summary["budget"])
        return [step for step in ladder(self.board) if step["name"] in present]


def read(
    folder: str | Path, board: Mapping[str, Any], memory: str | Path | None = None, there: Listing | None = None
) -> Standing:
    """The standing that a board's records give.

    Args:
        folder: ``results/<board>``, searched for records.
        board: ``name, version, title, methods, tasks, sparsities, seeds`` (lists in display order) and
            ``command``, the command that makes the records.
        memory: a folder in which this machine remembers what it has read and drawn, see ``rows`` and ``drawn``;
            None reads and draws everything.
        there: the files below the folder, if they have been listed already.
    """
    from sparsebench.report import rows, table

    found = rows.read(folder, memory and Path(memory, "rows.json"), there)
    return replace(standing_of(table.frame_of(found.rows), board, folder, found.corrupt), seen=found.seen)


def standing_of(
    found: pd.DataFrame, board: Mapping[str, Any], folder: str | Path = "", corrupt: Iterable[CorruptRecord] = ()
) -> Standing:
    """The standing that records give, from their :func:`sparsebench.report.table.frame`."""
    from sparsebench.report import ranking, table, verdict

    cells, left_out = table.select(found, board)
    ranked = table.leaderboard(cells, len(board["seeds"]))
    notes = [f"Not trusted and left out: `{error.path.relative_to(folder)}`: {error.why}." for error in corrupt]
    if left_out:
        notes.append(f"{left_out} records of another board version, protocol, task, sparsity or seed left out.")
    scored = cells[table.SCORED]
    all_of = ranking.rank(scored, ranked, table.overall(scored, ranked, board), board)
    sentences = verdict.verdict(scored, board, all_of)
    return Standing(
        board, cells, all_of.rows, all_of.summary, sentences, notes,
        all_of.differences, all_of.levels, all_of.points, all_of.ranks,
    )  # fmt: skip


def render(
    folder: str | Path,
    board: Mapping[str, Any],
    figures: bool = True,
    standing: Standing | None = None,
    memory: str | Path | None = None,
) -> list[Path]:
    """Rebuild ``leaderboard.md``, ``leaderboard.csv``, ``ranking.csv`` and the figures of one board from its records.

    Args:
        folder: ``results/<board>``; the files are written there, each atomically.
        board: as for :func:`read`.
        figures: also draw ``curves``, ``dead_neurons``, ``pareto`` and ``cd`` as PNG and SVG.
        standing: from :func:`read`, if there is one already.
        memory: as for :func:`read`.

    Returns:
        The files written, the page first.
    """
    from sparsebench.report import formats

    return formats.write(standing or read(folder, board, memory), folder, formats.DEFAULT, figures, memory)


def show(
    folder: str | Path, board: Mapping[str, Any], standing: Standing | None = None, console: Console | None = None
) -> None:
    """Print the tables of one board's records in the terminal; arguments as for :func:`render`."""
    from sparsebench.report import terminal

    terminal.show(standing or read(folder, board), console)
