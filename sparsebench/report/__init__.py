"""From records to a leaderboard: tables, figures and a verdict, without importing torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from sparsebench.record import CorruptRecord
    from sparsebench.report.cells import Grid


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

    @cached_property
    def grids(self) -> dict[str, Grid]:
        """Methods by sparsities of each task."""
        from sparsebench.report.cells import task_grid

        return {task: task_grid(self.rows, task) for task in self.cells["task"].unique()}


def read(folder: str | Path, board: Mapping[str, Any], memory: str | Path | None = None) -> Standing:
    """The standing that a board's records give.

    Args:
        folder: ``results/<board>``, searched for records.
        board: ``name, version, title, methods, tasks, sparsities, seeds`` (lists in display order) and
            ``command``, the command that makes the records.
        memory: a folder in which this machine remembers what it has read and drawn, see ``rows`` and ``drawn``;
            None reads and draws everything.
    """
    from sparsebench.report import rows, table

    found, corrupt = rows.read(folder, memory and Path(memory, "rows.json"))
    return standing_of(table.frame_of(found), board, folder, corrupt)


def standing_of(
    found: pd.DataFrame, board: Mapping[str, Any], folder: str | Path = "", corrupt: Iterable[CorruptRecord] = ()
) -> Standing:
    """The standing that records give, from their :func:`sparsebench.report.table.frame`."""
    from sparsebench.report import table, verdict

    cells, left_out = table.select(found, board)
    ranked = table.leaderboard(cells, len(board["seeds"]))
    notes = [f"Not trusted and left out: `{error.path.relative_to(folder)}`: {error.why}." for error in corrupt]
    if left_out:
        notes.append(f"{left_out} records of another board version, protocol, task, sparsity or seed left out.")
    summary = table.overall(cells, ranked, board)
    return Standing(board, cells, ranked, summary, verdict.verdict(cells, ranked, board), notes)


def render(
    folder: str | Path,
    board: Mapping[str, Any],
    figures: bool = True,
    standing: Standing | None = None,
    memory: str | Path | None = None,
) -> list[Path]:
    """Rebuild ``leaderboard.md``, ``leaderboard.csv`` and the figures of one board from its records.

    Args:
        folder: ``results/<board>``; the files are written there, each atomically.
        board: as for :func:`read`.
        figures: also draw ``curves`` and ``dead_neurons`` as PNG and SVG.
        standing: from :func:`read`, if there is one already.
        memory: as for :func:`read`.

    Returns:
        The files written, the page first.
    """
    from sparsebench.files import write_atomic
    from sparsebench.report import drawn as pictures
    from sparsebench.report import markdown

    folder, now = Path(folder), standing or read(folder, board, memory)
    drawn = pictures.figures(now, folder, memory and Path(memory, "figures.json")) if figures else []
    page = markdown.page(now, [path.name for path in drawn if path.suffix == ".png"])
    csv = now.rows.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    return [write_atomic(folder / "leaderboard.md", page), write_atomic(folder / "leaderboard.csv", csv), *drawn]


def show(folder: str | Path, board: Mapping[str, Any], standing: Standing | None = None) -> None:
    """Print the tables of one board's records in the terminal; arguments as for :func:`render`."""
    from sparsebench.report import terminal

    terminal.show(standing or read(folder, board))
