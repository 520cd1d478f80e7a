"""The leaderboard in the terminal, at the end of a run: winners by budget, ranks, a table per task, verdict."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from sparsebench.report.cells import Cell, Grid, overall_grid, without
from sparsebench.report.ranking_cells import differences_grid, winners_grid

if TYPE_CHECKING:
    from sparsebench.report import Standing

FILE_WIDTH = 120
"""Columns where the output goes to a file or a pipe."""

_SPARED = ["95 % interval", "seeds to tell", "collapsed", "cells", "epochs", "training allowed", "p (Holm)", "drop"]
"""Columns that a narrow terminal does without, in this order; the page has them."""
_WRAPPED = "tied with the first"
_SIGNS = {"best": "*", "tie": "≈", "few": "?"}
_STYLES = {"best": "bold green", "tie": "green", "code": "cyan"}


def show(standing: Standing, console: Console | None = None) -> None:
    """Print the tables of a board.

    ``*`` is the best, ``≈`` what is not told from it, ``?`` what so few runs cannot tell.
    """
    console = console or _console()
    if not standing.cells.empty:
        _print(console, overall_grid(standing.summary), standing.board["title"])
        _print(console, differences_grid(standing.differences), "against the baseline, in points of top-1")
        for task, grid in standing.grids.items():
            _print(console, grid, f"{task}: top-1 (%) by sparsity")
        _print(console, winners_grid(standing), "who wins, by training budget")
    console.print(Markdown("\n".join(f"- {sentence}" for sentence in standing.sentences)))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=max(console.width, FILE_WIDTH))


def _print(console: Console, grid: Grid, title: str) -> None:
    """The table with its intervals; with means alone, then with fewer columns, where the terminal is too narrow."""
    if not grid.rows:
        return
    table, spared = _rich(grid, title, intervals=True), [None, *(name for name in _SPARED if name in grid.header)]
    while spared and console.measure(table, options=console.options.update(max_width=10_000)).maximum > console.width:
        if (name := spared.pop(0)) is not None:
            grid = without(grid, name)
        table = _rich(grid, title, intervals=False)
    console.print(table)


def _rich(grid: Grid, title: str, intervals: bool) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, name in enumerate(grid.header):
        stacked = name if "%" in name else name.replace(" ", "\n")
        table.add_column(stacked, justify="left" if place == 0 else "right", no_wrap=name != _WRAPPED)
    for row in grid.rows:
        table.add_row(*(_text(cell, intervals) for cell in row))
    return table


def _text(cell: Cell, intervals: bool) -> Text:
    # The signs keep their meaning where there are no colours.
    text = cell.text.replace(" ± ", "±").replace(" … ", "…")
    if not intervals:
        text = re.sub(r"±[\d.]+", "", text)
    return Text(_SIGNS.get(cell.mark, "") + text, style=_STYLES.get(cell.mark, ""))
