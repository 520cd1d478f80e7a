"""The leaderboard in the terminal, at the end of a run: winners by budget, ranks, a table per task, verdict."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Span, Text

from sparsebench.report import again
from sparsebench.report.cells import Cell, Grid, overall_grid, without
from sparsebench.report.ranking_cells import differences_grid, winners_grid

if TYPE_CHECKING:
    from sparsebench.report import Standing

_SPARED = ["95 % interval", "seeds to tell", "collapsed", "cells", "epochs", "training allowed", "p (Holm)", "drop"]
"""Columns that a narrow terminal does without, in this order; the page has them."""
_WRAPPED = "tied with the first"
_GAP = "  "
_SIGNS = {"best": "*", "tie": "≈", "few": "?"}
_STYLES = {"best": "bold green", "tie": "green", "code": "cyan"}


def show(standing: Standing, console: Console | None = None) -> None:
    """Print the tables of a board.

    ``*`` is the best, ``≈`` what is not told from it, ``?`` what so few runs cannot tell.
    """
    console = console or again.console()
    if not standing.cells.empty:
        _print(console, overall_grid(standing.summary), standing.board["title"])
        _print(console, differences_grid(standing.differences), "against the baseline, in points of top-1")
        for task, grid in standing.grids.items():
            _print(console, grid, f"{task}: top-1 (%) by sparsity")
        _print(console, winners_grid(standing), "who wins, by training budget")
    for sentence in standing.sentences:
        _bullet(console, sentence)


def _bullet(console: Console, sentence: str) -> None:
    """A sentence with names in backquotes; rich's own Markdown takes longer to import than all tables to print."""
    text = Text()
    for place, part in enumerate(sentence.split("`")):
        text.append(part, "markdown.code" if place % 2 else "")
    for number, line in enumerate(text.wrap(console, console.width - 3)):
        line.rstrip()
        console.print(Text("   " if number else " • ") + line)


def _print(console: Console, grid: Grid, title: str) -> None:
    """The table with its intervals; with means alone, then with fewer columns, where the terminal is too narrow."""
    if not grid.rows:
        return
    columns = _columns(grid, intervals=True)
    for spared in [None, *(name for name in _SPARED if name in grid.header)]:
        if _width(columns) <= console.width:
            break
        grid = grid if spared is None else without(grid, spared)
        columns = _columns(grid, intervals=False)
    if _width(columns) > console.width and _WRAPPED in grid.header:
        console.print(_wrapping(grid, title))
    else:
        console.print(_aligned(columns, title), no_wrap=True, overflow="ellipsis")


Column = list[tuple[str, str]]
"""Texts from top to bottom, each with its style; the first are the lines of the heading."""


def _columns(grid: Grid, intervals: bool) -> list[Column]:
    """What stands in each column; all headings have as many lines as the tallest."""
    stacked = [_stacked(name).split("\n") for name in grid.header]
    tallest = max(map(len, stacked))
    headings = [[""] * (tallest - len(lines)) + lines for lines in stacked]
    return [
        [
            *((line, "bold") for line in heading),
            *((_shown(row[i], intervals), _STYLES.get(row[i].mark, "")) for row in grid.rows),
        ]
        for i, heading in enumerate(headings)
    ]


def _width(columns: list[Column]) -> int:
    return sum(max(cell_len(text) for text, _ in column) + len(_GAP) for column in columns)


def _aligned(columns: list[Column], title: str) -> Text:
    """The table as one text: a rich table takes ten times as long, and a large board has hundreds of lines."""
    widths = [max(cell_len(text) for text, _ in column) for column in columns]
    heading = sum(style == "bold" for _, style in columns[0])
    parts, spans, at = [f"{title}\n\n"], [Span(0, len(title), "bold")], len(title) + 2
    for number, line in enumerate(zip(*columns, strict=True)):
        if number == heading:
            rule = " " + "─" * (sum(widths) + len(_GAP) * (len(widths) - 1)) + "\n"
            parts.append(rule)
            at += len(rule)
        for place, ((text, style), width) in enumerate(zip(line, widths, strict=True)):
            space = " " * (width - cell_len(text))
            before, after = (_GAP + space, "") if place else (" ", space)
            parts += [before, text, after]
            at += len(before)
            if style:
                spans.append(Span(at, at + len(text), style))
            at += len(text) + len(after)
        parts.append("\n")
        at += 1
    return Text("".join(parts), spans=spans)


def _wrapping(grid: Grid, title: str) -> Table:
    """A table with a column of sentences."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, name in enumerate(grid.header):
        table.add_column(_stacked(name), justify="left" if place == 0 else "right", no_wrap=name != _WRAPPED)
    for row in grid.rows:
        table.add_row(*(Text(_shown(cell, intervals=False), style=_STYLES.get(cell.mark, "")) for cell in row))
    return table


def _stacked(heading: str) -> str:
    return heading if "%" in heading else heading.replace(" ", "\n")


def _shown(cell: Cell, intervals: bool) -> str:
    # The signs keep their meaning where there are no colours.
    text = cell.text.replace(" ± ", "±").replace(" … ", "…")
    if not intervals:
        text = re.sub(r"±[\d.]+", "", text)
    return _SIGNS.get(cell.mark, "") + text
