"""The leaderboard in the terminal, at the end of a run: verdict, overall table, one table per task."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from sparsebench.report.cells import Cell, Grid, overall_grid

if TYPE_CHECKING:
    from sparsebench.report import Standing

FILE_WIDTH = 120
"""Columns where the output goes to a file or a pipe."""

_SIGNS = {"best": "*", "tie": "≈"}
_STYLES = {"best": "bold green", "tie": "green", "code": "cyan"}


def show(standing: Standing, console: Console | None = None) -> None:
    """Print the tables of a board.

    ``*`` is the best mean, ``≈`` what the seed-paired difference does not tell from it.
    """
    console = console or _console()
    if not standing.cells.empty:
        _print(console, overall_grid(standing.summary), standing.board["title"])
        for task, grid in standing.grids.items():
            _print(console, grid, f"{task}: top-1 (%) by sparsity")
    console.print(Markdown("\n".join(f"- {sentence}" for sentence in standing.sentences)))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, FILE_WIDTH))


def _print(console: Console, grid: Grid, title: str) -> None:
    """The table with its intervals, or with means alone where the terminal is too narrow for both."""
    table = _rich(grid, title, intervals=True)
    wide = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    console.print(table if wide <= console.width else _rich(grid, title, intervals=False))


def _rich(grid: Grid, title: str, intervals: bool) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, name in enumerate(grid.header):
        stacked = name if "%" in name else name.replace(" ", "\n")
        table.add_column(stacked, justify="left" if place == 0 else "right", no_wrap=True)
    for row in grid.rows:
        table.add_row(*(_text(cell, intervals) for cell in row))
    return table


def _text(cell: Cell, intervals: bool) -> Text:
    # The signs keep their meaning where there are no colours.
    text = cell.text.replace(" ± ", "±").replace(" … ", "…")
    if not intervals:
        text = re.sub(r"±[\d.]+", "", text)
    return Text(_SIGNS.get(cell.mark, "") + text, style=_STYLES.get(cell.mark, ""))
