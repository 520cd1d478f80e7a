"""The leaderboard in the terminal, at the end of a run: verdict, overall table, one table per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from sparsebench.report.cells import Cell, Grid, overall_grid, task_grid
from sparsebench.report.table import leaderboard, overall
from sparsebench.report.verdict import verdict

_SIGNS = {"best": "*", "tie": "≈"}
_STYLES = {"best": "bold green", "tie": "green", "code": "cyan"}


def show(cells: pd.DataFrame, board: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the tables of a board's cells (as from :func:`sparsebench.report.table.select`).

    ``*`` is the best mean, ``≈`` what the seed-paired difference does not tell from it.
    """
    console = console or Console()
    table = leaderboard(cells, len(board["seeds"]))
    if not cells.empty:
        console.print(_rich(overall_grid(overall(cells, table, board)), board["title"]))
        for task in cells["task"].unique():
            console.print(_rich(task_grid(table, task), f"{task}: top-1 (%) by sparsity"))
    console.print(Markdown("\n".join(f"- {sentence}" for sentence in verdict(cells, table, board))))


def _rich(grid: Grid, title: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for place, name in enumerate(grid.header):
        table.add_column(name, justify="left" if place == 0 else "right", no_wrap=True)
    for row in grid.rows:
        table.add_row(*(_text(cell) for cell in row))
    return table


def _text(cell: Cell) -> Text:
    # Six sparsities fit 80 columns without the spaces; the signs keep their meaning without colours.
    text = cell.text.replace(" ± ", "±").replace(" … ", "…")
    return Text(_SIGNS.get(cell.mark, "") + text, style=_STYLES.get(cell.mark, ""))
