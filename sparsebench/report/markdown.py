"""leaderboard.md, the page people see first: winners by budget, verdict, ranks, curves, a table per task, details."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from sparsebench.report.cells import LEGEND, Cell, Grid, detail_grid, missing, overall_grid, plus_minus
from sparsebench.report.ranking_cells import differences_grid, levels_grid, seeds_grid, winners_grid
from sparsebench.report.table import DENSE, distinct, records

if TYPE_CHECKING:
    from sparsebench.report import Standing


def page(standing: Standing, figures: Sequence[str] = ()) -> str:
    """The whole page as Markdown; ``figures`` are file names next to it.

    It depends on the records alone (no date, no machine), so the same records give the same bytes.
    """
    board, cells, table, grids = standing.board, standing.cells, standing.rows, standing.grids
    pictures = {name: f"![{_caption(name)}]({name})" for name in figures}
    winners, overall = winners_grid(standing), overall_grid(standing.summary)
    parts = [
        f"# {board['title']}",
        _made(cells, board),
        *([_WINNERS, grid_to_markdown(winners)] if winners.rows else []),
        "\n".join(f"- {sentence}" for sentence in [*standing.sentences, *standing.notes]),
        "## All methods",
        grid_to_markdown(overall),
        _OVERALL_LEGEND.format(signs=_rank_signs(overall)),
        pictures.get("curves.png"),
        pictures.get("pareto.png"),
        *_ranks(standing, pictures),
    ]
    if grids:
        parts += ["## Tasks", _legend(list(grids.values()))]
    for task, grid in grids.items():
        parts += [f"### {task}", _dense_line(table, task), grid_to_markdown(grid)]
    parts.append(pictures.get("dead_neurons.png"))
    if grids:
        parts += ["## Details", _DETAIL_LEGEND]
    for task in grids:
        body = grid_to_markdown(detail_grid(table, task))
        parts.append(f"<details><summary>{task}</summary>\n\n{body}\n\n</details>")
    return "\n\n".join(part for part in parts if part) + "\n"


def _ranks(standing: Standing, pictures: Mapping[str, str]) -> list[str | None]:
    """Against the baseline, at equal work, told apart: each section only where it has something to say."""
    parts: list[str | None] = []
    differences = differences_grid(standing.differences)
    if differences.rows:
        parts += ["## Against the baseline", _BASELINE_LEGEND, grid_to_markdown(differences)]
    if len(standing.levels):
        parts += ["## At equal multiply-accumulates", _LEVELS_LEGEND, grid_to_markdown(levels_grid(standing))]
    seeds = seeds_grid(standing.summary)
    if len(seeds.rows) > 1:
        parts += ["## Told apart?", _SEEDS_LEGEND, grid_to_markdown(seeds), pictures.get("cd.png")]
        parts += [_CD_LEGEND] if "cd.png" in pictures else []
    return parts


_WINNERS = (
    "**Who wins, by training budget** (epochs and training FLOPs relative to the dense network's; ≈ and ties: not told "
    "from the first by a Holm-corrected test over runs, a run being a task and a seed):"
)
_OVERALL_LEGEND = (
    "Average rank over every task, sparsity and seed (1 = best), for methods that finished all of them; unranked ones "
    "below. **Bold**: first{signs}. Rank in budget: among the methods of its class alone. Rank at equal MACs: at the "
    "same speed-up instead of the same sparsity. Drop: from the dense network, in percentage points of top-1, ± over "
    "(task, seed). Epochs: all training up to the result, over that of the dense network, averaged; the class goes by "
    "the largest. Definitions: docs/statistics.md; numbers: [ranking.csv](ranking.csv)."
)
_BASELINE_LEGEND = (
    "Percentage points of top-1, paired by task, sparsity and seed, over all of them; 95 % bootstrap interval over "
    "runs (task, seed); two-sided sign-flip test over runs, Holm-corrected. The baseline is magnitude pruning in the "
    "same regime, else the best magnitude row, whatever that one's budget, unless the board names one. Seeds to tell: "
    "seeds a task with which a paired t-test would find such a difference in 80 % of cases."
)
_LEVELS_LEGEND = (
    "Average ranks by accuracy at the same theoretical speed-up, read off each method's own curve between the "
    "sparsities measured (linear in the logarithm), never beyond them. A level counts on the tasks where at least half "
    "of the methods cover it; a method is ranked where it covers all of those."
)
_SEEDS_LEGEND = (
    "Gaps between average ranks, and the seeds a task with which a paired t-test at 5 % would find a gap like this in "
    "80 % of cases. They rest on the spread of the few runs there are: read them as orders of magnitude."
)
_CD_LEGEND = (
    "Critical-difference diagram (Friedman ranks of each run's mean rank over sparsities, Nemenyi's test of all pairs "
    "at 5 %): bars join methods that it does not tell apart. It assumes runs that are independent and many; a dozen "
    "are few, and since it compares all pairs it joins more than the table does."
)
_DETAIL_LEGEND = (
    "Percent: top-1, achieved sparsity, dead units, ECE, worst class, accuracy on corrupted images where measured. "
    "Speed-up: theoretical, by MACs of one image. Dead dynamic: over units that are not statically dead. CEV and SDE: "
    "against the dense network of the same seed, smoothed. Fronts: Pareto fronts by means that the row is on: s, of "
    "accuracy and sparsity; m, of accuracy and speed-up; t, of accuracy and training FLOPs at this sparsity. With more "
    "digits: [leaderboard.csv](leaderboard.csv)."
)


_SIGNED = {"code": "`{}`", "best": "**{}**", "tie": "≈ {}", "few": "? {}"}


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
    text = cell.text.replace("|", "\\|") if "|" in cell.text else cell.text
    return _SIGNED[cell.mark].format(text) if cell.mark in _SIGNED else text


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


def _rank_signs(grid: Grid) -> str:
    """Explains only the signs that occur."""
    marks = {cell.mark for row in grid.rows for cell in row}
    meanings = {"tie": "; ≈: not told from the first", "few": "; ?: so few runs that no test could tell"}
    return "".join(meaning for mark, meaning in meanings.items() if mark in marks)


def _caption(name: str) -> str:
    return {
        "curves.png": "Accuracy against sparsity",
        "dead_neurons.png": "Dead neurons against sparsity",
        "pareto.png": "Accuracy against sparsity, speed-up and training cost, with Pareto fronts",
        "cd.png": "Critical-difference diagram",
    }.get(name, name)
