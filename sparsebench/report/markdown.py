"""leaderboard.md, the page people see first: verdict, overall table, curves, a table per task, details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from sparsebench.report.cells import LEGEND, Cell, Grid, detail_grid, missing, overall_grid, plus_minus
from sparsebench.report.table import DENSE, distinct, records

if TYPE_CHECKING:
    from sparsebench.report import Standing


def page(standing: Standing, figures: Sequence[str] = ()) -> str:
    """The whole page as Markdown; ``figures`` are file names next to it, the accuracy curves first.

    It depends on the records alone (no date, no machine), so the same records give the same bytes.
    """
    board, cells, table, grids = standing.board, standing.cells, standing.rows, standing.grids
    parts = [
        f"# {board['title']}",
        _made(cells, board),
        "\n".join(f"- {sentence}" for sentence in [*standing.sentences, *standing.notes]),
        "## All sparsities",
        grid_to_markdown(overall_grid(standing.summary)),
        "Average rank over every task, sparsity and seed (1 = best), for methods that finished all of them. "
        "Drop: from the dense network, in percentage points of top-1, ± over (task, seed). Epochs: all "
        "training up to the result, over that of the dense network.",
        *(f"![{_caption(name)}]({name})" for name in figures[:1]),
    ]
    if grids:
        parts += ["## Tasks", _legend(list(grids.values()))]
    for task, grid in grids.items():
        parts += [f"### {task}", _dense_line(table, task), grid_to_markdown(grid)]
    parts += [f"![{_caption(name)}]({name})" for name in figures[1:]]
    if grids:
        parts += ["## Details", _DETAIL_LEGEND]
    for task in grids:
        body = grid_to_markdown(detail_grid(table, task))
        parts.append(f"<details><summary>{task}</summary>\n\n{body}\n\n</details>")
    return "\n\n".join(part for part in parts if part) + "\n"


_DETAIL_LEGEND = (
    "Percent: top-1, achieved sparsity, dead units, ECE, worst class. Speed-up: theoretical, by MACs of one "
    "image. Dead dynamic: over units that are not statically dead. CEV and SDE: against the dense network of "
    "the same seed, smoothed. With more digits: [leaderboard.csv](leaderboard.csv)."
)


def grid_to_markdown(grid: Grid) -> str:
    """A pipe table with padded columns: readable as text as well.

    >>> print(grid_to_markdown(Grid(["method", "50 %"], [[Cell("a|b", "code"), Cell("97.1", "best")]])))
    | method |     50 % |
    | :----- | -------: |
    | `a\\|b` | **97.1** |
    """
    rows = [grid.header, *([_styled(cell) for cell in row] for row in grid.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    padded = [
        [
            row[0].ljust(widths[0]),
            *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)),
        ]
        for row in rows
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [padded[0], rule, *padded[1:]])


def _styled(cell: Cell) -> str:
    text = cell.text.replace("|", "\\|")
    return {"code": f"`{text}`", "best": f"**{text}**", "tie": f"≈ {text}"}.get(cell.mark, text)


def _made(cells: pd.DataFrame, board: Mapping[str, Any]) -> str:
    commits = [commit[:7] for commit in distinct(cells["commit"])]
    shown = ", ".join(commits[:3]) + (f" and {len(commits) - 3} more" if len(commits) > 3 else "")
    dirty = int((cells["dirty"] == True).sum())  # noqa: E712 - the column may hold None
    facts = {
        "Made by": f"`{board['command']}`",
        "board": f"{board['name']} v{board['version']}, protocol {', '.join(distinct(cells['protocol']))}",
        "records": f"{len(cells)}",
        "seeds": f"{len(board['seeds'])}",
        "hardware": "; ".join(distinct(cells["hardware"])),
        "commit": shown + (f" ({dirty} records from a modified tree)" if dirty else ""),
    }
    return " · ".join(f"{name}: {value}" if name != "Made by" else f"{name} {value}" for name, value in facts.items())


def _dense_line(table: pd.DataFrame, task: str) -> str:
    dense = records(table[(table["task"] == task) & (table["method"] == DENSE)])
    if not dense or missing(dense[0]["top1"]):
        return "Top-1 (%) by sparsity."
    return f"Top-1 (%) by sparsity; dense network: {plus_minus(dense[0]['top1'], dense[0]['top1_half'])}."


def _legend(grids: Sequence[Grid]) -> str:
    """Explains only the signs that occur."""
    texts = "".join(_styled(cell) for grid in grids for row in grid.rows for cell in row[1:])
    signs = [f"{'(n)' if sign == '(' else sign}: {meaning}" for sign, meaning in LEGEND.items() if sign in texts]
    if "±" not in texts:
        signs.insert(0, "Single runs: no spread is known, differences may be noise")
    return "**Bold**: the best mean. " + " ".join(f"{sign}." for sign in signs)


def _caption(name: str) -> str:
    return {
        "curves.png": "Accuracy against sparsity",
        "dead_neurons.png": "Dead neurons against sparsity",
    }.get(name, name)
