"""What stands in a table cell: numbers as text, shared by the Markdown page and the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd

from sparsebench.report.table import DENSE, records, unranked_reason

NONE = "–"


class Cell(NamedTuple):
    """Text and what it means: "" plain, "code" a name, "best", "tie" (not told from the best), "few" (too few runs)."""

    text: str
    mark: str = ""


class Grid(NamedTuple):
    """A table of cells; the first column is left-aligned text, the others are right-aligned numbers."""

    header: list[str]
    rows: list[list[Cell]]


def missing(value: float | None) -> bool:
    """None or not a number; thousands of cells ask, and ``pandas.isna`` is slow for single values.

    >>> missing(None), missing(float("nan")), missing(0.0)
    (True, True, False)
    """
    return value is None or value != value


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction in percent without its sign.

    >>> percent(0.97123), percent(float("nan"))
    ('97.1', '–')
    """
    return NONE if missing(fraction) else f"{100 * fraction:.{digits}f}"


def plus_minus(fraction: float, half: float | None) -> str:
    """A mean in percent with the half width of its interval, where there is one.

    >>> plus_minus(0.971, 0.004), plus_minus(0.971, None)
    ('97.1 ± 0.4', '97.1')
    """
    return percent(fraction) + ("" if missing(half) else f" ± {percent(half)}")


def sparsity_label(sparsity: float) -> str:
    """Sparsity in percent, with as many digits as it takes not to read 100 %.

    >>> [sparsity_label(s) for s in (0.5, 0.9375, 0.999, 0.9998)]
    ['50 %', '93.8 %', '99.9 %', '99.98 %']
    """
    for digits in range(1, 6):
        text = f"{100 * sparsity:.{digits}f}"
        if float(text) < 100:
            break
    return text.rstrip("0").rstrip(".") + " %"


def overall_grid(summary: pd.DataFrame) -> Grid:
    """Methods over the whole board, from ``Standing.summary``: its rank, its rank in its budget and at equal work."""
    header = [
        "method", "average rank", "95 % interval", "budget", "rank in budget", "rank at equal MACs", "drop",
        "collapsed", "epochs", "cells",
    ]  # fmt: skip
    rows = []
    for row in records(summary):
        rows.append(
            [
                Cell(row["method"], "code"),
                Cell(unranked_reason(row) or f"{row['rank']:.2f}", row["mark"]),
                Cell(between(row["low"], row["high"])),
                Cell(row["budget"] or NONE),
                Cell(number(row["rank_in_budget"], ".2f"), row["mark_in_budget"]),
                Cell(number(row["flops_rank"], ".2f"), row["flops_mark"]),
                Cell(plus_minus(row["drop"], row["drop_half"])),
                Cell(f"{row['collapsed']}/{row['cells']}"),
                Cell(number(row["epochs_ratio"], ".1f", " ×")),
                Cell(f"{row['cells']}/{row['asked']}"),
            ]
        )
    return Grid(header, rows)


def between(low: float | None, high: float | None, spec: str = ".1f") -> str:
    """The bounds of an interval."""
    return NONE if missing(low) else f"{low:{spec}} … {high:{spec}}"


_SHOWN = ["method", "sparsity", "rank", "state", "top1", "top1_half", "seeds", "collapsed", "mark"]


def task_grid(table: pd.DataFrame, task: str) -> Grid:
    """Top-1 accuracy (%) of one task, methods by sparsities, best mean rank first, unranked below."""
    by_method: dict[str, dict[float, dict[str, Any]]] = {}
    for row in records(table[(table["task"] == task) & (table["method"] != DENSE)], _SHOWN):
        by_method.setdefault(row["method"], {})[row["sparsity"]] = row
    sparsities = sorted({sparsity for rows in by_method.values() for sparsity in rows})

    def place(method: str) -> tuple[int, bool, float]:
        ranks = [row["rank"] for row in by_method[method].values() if not missing(row["rank"])]
        ranked = sum(row["state"] == "ranked" for row in by_method[method].values())
        return len(sparsities) - ranked, not ranks, sum(ranks) / max(len(ranks), 1)

    return Grid(
        ["method", *map(sparsity_label, sparsities)],
        [
            [Cell(m, "code"), *(_accuracy(by_method[m].get(s)) for s in sparsities)]
            for m in sorted(by_method, key=place)
        ],
    )


def _accuracy(row: Mapping[str, Any] | None) -> Cell:
    if row is None:
        return Cell(NONE)
    if missing(row["top1"]):
        return Cell("failed")
    notes = {"audit": " †", "unverified": " ‡", "failed": f" ({row['seeds']})", "incomplete": f" ({row['seeds']})"}
    collapse = " ↓" if row["collapsed"] else ""
    text = plus_minus(row["top1"], row["top1_half"]) + collapse + notes.get(row["state"], "")
    return Cell(text, row["mark"])


LEGEND = {
    "±": "half width of the 95 % Student interval over seeds",
    "≈": "not told from the best: the seed-paired difference has an interval that includes 0",
    "↓": "some seeds collapsed: chance accuracy, an emptied layer or numbers not finite (they count in the mean)",
    "(": "fewer seeds finished, unranked",
    "†": "failed its audit, unranked",
    "‡": "records made elsewhere, without their code: unverified, unranked",
}


_DETAILS = [
    *_SHOWN, "achieved", "speedup", "epochs", "dead_static", "dead_dynamic_alive", "nll", "ece", "worst_class",
    "corrupted", "cev_s1", "sde_s1", "front_sparsity", "front_speedup", "front_cost", "audit_failed",
]  # fmt: skip


def detail_grid(table: pd.DataFrame, task: str) -> Grid:
    """Everything that is known of one task: a row per sparsity and method."""
    header = [
        "method", "sparsity", "top-1", "rank", "seeds", "achieved", "speed-up", "epochs", "dead static",
        "dead dynamic", "NLL", "ECE", "worst class", "corrupted", "CEV", "SDE", "fronts", "collapsed", "audit",
    ]  # fmt: skip
    rows = []
    for row in records(table[table["task"] == task], _DETAILS):
        texts = [
            sparsity_label(row["sparsity"]),
            plus_minus(row["top1"], row["top1_half"]),
            row["state"] if missing(row["rank"]) else f"{row['rank']:.0f}",
            str(row["seeds"]),
            percent(row["achieved"], 2),
            number(row["speedup"], ".1f", " ×"),
            number(row["epochs"], ".4g"),
            percent(row["dead_static"]),
            percent(row["dead_dynamic_alive"]),
            number(row["nll"], ".3f"),
            percent(row["ece"]),
            percent(row["worst_class"]),
            percent(row["corrupted"]),
            number(row["cev_s1"], ".3g"),
            number(row["sde_s1"], ".3g"),
            fronts_text(row),
            f"{row['collapsed']}/{row['seeds']}",
            audit_text(row),
        ]
        rows.append([Cell(row["method"], "code"), *map(Cell, texts)])
    measured = table["corrupted"].notna().any()
    return Grid(header, rows) if measured else without(Grid(header, rows), "corrupted")


def without(grid: Grid, column: str) -> Grid:
    """The table without one of its columns."""
    place = grid.header.index(column)
    header, *rows = (line[:place] + line[place + 1 :] for line in (grid.header, *grid.rows))
    return Grid(header, rows)


def fronts_text(row: Mapping[str, Any]) -> str:
    """The Pareto fronts a row is on: s (sparsity), m (multiply-accumulates), t (training).

    >>> fronts_text({"front_sparsity": True, "front_speedup": False, "front_cost": True})
    's t'
    """
    signs = {"front_sparsity": "s", "front_speedup": "m", "front_cost": "t"}
    return " ".join(sign for column, sign in signs.items() if row[column]) or NONE


def audit_text(row: Mapping[str, Any]) -> str:
    """ "pass" or "FAIL k", k cells."""
    if row["audit_failed"]:
        return f"FAIL {row['audit_failed']}"
    return "pass" if row["seeds"] else NONE


def number(value: float | None, spec: str, unit: str = "") -> str:
    """A number with its unit, or a dash where there is none."""
    return NONE if missing(value) else f"{value:{spec}}{unit}"
