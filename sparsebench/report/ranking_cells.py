"""What stands in the tables of ranks: winners by budget, differences to the baseline, equal work, seeds needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from sparsebench.report.cells import NONE, Cell, Grid, between, missing, number
from sparsebench.report.contest import BEST, FEW, TIE
from sparsebench.report.table import records
from sparsebench.stats import fewest_clusters

if TYPE_CHECKING:
    from sparsebench.report import Standing

MANY_SEEDS = 100
"""More are written as "> 100": the spread is known from a few runs only."""
VERDICTS = {"better": "better", "worse": "worse", "tie": "tie", "few": "too few runs", "": NONE}


def winners_grid(standing: Standing) -> Grid:
    """A row a budget class: what it allows, the methods that finished, the first, who ties with it."""
    rows, clusters = [], runs(standing.ranks)
    for step in standing.budgets:
        methods = standing.summary[standing.summary["budget"] == step["name"]]
        ranked = methods[methods["rank_in_budget"].notna()].sort_values("rank_in_budget", kind="stable")
        if ranked.empty:
            continue
        first = ranked[ranked["mark_in_budget"] == BEST]["method"].tolist()
        ties = ranked[ranked["mark_in_budget"] == TIE]["method"].tolist()
        told = NONE if len(ranked) == len(first) else listing(ties) or "none"
        if (ranked["mark_in_budget"] == FEW).any():
            told = f"not known: {clusters} runs, it takes {fewest_clusters(len(ranked) - 1)}"
        rows.append(
            [
                Cell(step["name"], BEST),
                Cell(allowance(step["epochs"], step["flops"])),
                Cell(str(len(ranked))),
                Cell(listing(first), "code" if len(first) == 1 else ""),
                Cell(number(ranked["rank_in_budget"].iloc[0], ".2f")),
                Cell(told, TIE if ties else ""),
            ]
        )
    return Grid(["budget", "training allowed", "methods", "first", "average rank", "tied with the first"], rows)


def allowance(epochs: float | None, flops: float | None) -> str:
    """The bounds of a budget class in words.

    >>> allowance(2.0, 2.0), allowance(1.0, 1.5), allowance(None, None)
    ('2 × dense', '1 × epochs, 1.5 × FLOPs', 'more')
    """
    if epochs is None or flops is None:
        return "more"
    return f"{epochs:g} × dense" if epochs == flops else f"{epochs:g} × epochs, {flops:g} × FLOPs"


def runs(ranks: pd.DataFrame) -> int:
    """Independent runs (task, seed) behind the ranks."""
    return len(ranks.index.droplevel("sparsity").unique()) if len(ranks) else 0


def listing(names: Sequence[str], most: int = 6) -> str:
    """Names with commas, the rest counted.

    >>> listing(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def differences_grid(differences: pd.DataFrame) -> Grid:
    """Differences to the baseline over all sparsities, best first, in percentage points."""
    header = ["method", "against", "difference", "95 % interval", "p (Holm)", "verdict", "seeds to tell"]
    rows = []
    whole = differences[differences["sparsity"].isna()]
    for row in records(whole.sort_values("difference", ascending=False, kind="stable")):
        rows.append(
            [
                Cell(row["method"], "code"),
                Cell(row["baseline"], "code"),
                Cell(f"{100 * row['difference']:+.2f}", {"tie": TIE, "few": FEW}.get(row["verdict"], "")),
                Cell(between(100 * row["low"], 100 * row["high"], "+.2f")),
                Cell(probability(row["p_holm"])),
                Cell(VERDICTS[row["verdict"]]),
                Cell(seeds_text(row["seeds_needed"])),
            ]
        )
    return Grid(header, rows)


def levels_grid(standing: Standing) -> Grid:
    """Average ranks at equal multiply-accumulates: over all levels, then at each level of speed-up."""
    levels = standing.levels
    columns = sorted(levels["level"].unique())
    places = {(row["method"], row["level"]): row for row in records(levels)}
    tasks = dict(zip(levels["level"], levels["tasks"], strict=True))
    rows = []
    order = standing.summary.sort_values("flops_rank", kind="stable")
    for row in records(order[order["flops_covered"] != ""]):
        cells = [places.get((row["method"], level)) for level in columns]
        rows.append(
            [
                Cell(row["method"], "code"),
                Cell(number(row["flops_rank"], ".2f"), row["flops_mark"]),
                Cell(between(row["flops_low"], row["flops_high"])),
                *(Cell(f"{cell['rank']:.1f}", cell["mark"]) if cell else Cell(NONE) for cell in cells),
                Cell(row["flops_covered"]),
            ]
        )
    many = standing.cells["task"].nunique()
    names = [f"{level:g} ×" + (f" ({tasks[level]} of {many})" if tasks[level] < many else "") for level in columns]
    return Grid(["method", "all levels", "95 % interval", *names, "covers"], rows)


def seeds_grid(summary: pd.DataFrame) -> Grid:
    """What it takes to tell neighbours apart, and each method from the first."""
    header = [
        "method",
        "average rank",
        "behind the first",
        "p (Holm)",
        "seeds: the first",
        "seeds: the one above",
    ]
    rows = []
    for row in records(summary[summary["rank"].notna()]):
        behind = NONE if row["gap"] == 0 else number(row["gap"], ".2f")
        seeds = [Cell(seeds_text(row[column])) for column in ("seeds_first", "seeds_next")]
        rows.append(
            [
                Cell(row["method"], "code"),
                Cell(f"{row['rank']:.2f}", row["mark"]),
                Cell(behind),
                Cell(probability(row["p_first"])),
                *seeds,
            ]
        )
    return Grid(header, rows)


def seeds_text(seeds: float | None) -> str:
    """Seeds a task.

    >>> seeds_text(7.0), seeds_text(334.0), seeds_text(None)
    ('7', '> 100', '–')
    """
    if missing(seeds):
        return NONE
    return f"> {MANY_SEEDS}" if seeds > MANY_SEEDS else f"{seeds:.0f}"


def probability(p: float | None) -> str:
    """A p-value with two digits.

    >>> probability(0.0312), probability(0.0004), probability(1.0)
    ('0.031', '< 0.001', '1')
    """
    if missing(p):
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.2g}"
