"""From records to a leaderboard: tables, figures and a verdict, without importing torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def render(folder: str | Path, board: Mapping[str, Any], figures: bool = True) -> list[Path]:
    """Rebuild ``leaderboard.md``, ``leaderboard.csv`` and the figures of one board from its records.

    Args:
        folder: ``results/<board>``, searched for records; the files are written there, each atomically.
        board: ``name, version, title, methods, tasks, sparsities, seeds`` (lists in display order) and
            ``command``, the command that makes the records.
        figures: also draw ``curves`` and ``dead_neurons`` as PNG and SVG.

    Returns:
        The files written, the page first.
    """
    from sparsebench.files import write_atomic
    from sparsebench.record import load_all
    from sparsebench.report import curves, markdown, table, verdict

    folder = Path(folder)
    records, corrupt = load_all(folder)
    cells, left_out = table.select(table.frame(records), board)
    rows = table.leaderboard(cells, len(board["seeds"]))
    drawn: list[Path] = []
    if figures:
        drawn += curves.accuracy_figure(cells, rows, board, folder / "curves")
        drawn += curves.dead_neuron_figure(rows, board, folder / "dead_neurons")
    notes = [f"Not trusted and left out: `{error.path.relative_to(folder)}`: {error.why}." for error in corrupt]
    if left_out:
        notes.append(f"{left_out} records of another board version, protocol, task, sparsity or seed left out.")
    page = markdown.page(
        cells, rows, table.overall(cells, rows, board), verdict.verdict(cells, rows, board), board, notes,
        [path.name for path in drawn if path.suffix == ".png"],
    )  # fmt: skip
    return [
        write_atomic(folder / "leaderboard.md", page),
        write_atomic(folder / "leaderboard.csv", rows.to_csv(index=False, float_format="%.6g", lineterminator="\n")),
        *drawn,
    ]


def show(folder: str | Path, board: Mapping[str, Any]) -> None:
    """Print the tables of one board's records in the terminal; arguments as for :func:`render`."""
    from sparsebench.record import load_all
    from sparsebench.report import table, terminal

    cells, _ = table.select(table.frame(load_all(folder)[0]), board)
    terminal.show(cells, board)
