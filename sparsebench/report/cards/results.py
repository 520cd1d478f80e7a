"""Results: what the records say of a card's subject, board by board."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

import pandas as pd

from sparsebench.report import Standing
from sparsebench.report.cards.blocks import Block, Code, Curve, Curves, Line, Section, Table, Text
from sparsebench.report.cards.boards import Found, a_cell, run_command
from sparsebench.report.cards.subject import Subject, entries_of, read
from sparsebench.report.cells import NONE, missing, percent, plus_minus, sparsity_label
from sparsebench.report.table import DENSE, records, unranked_reason
from sparsebench.stats import clustered_difference

NEIGHBOURS = 2
"""Rows above and below that are compared."""
NEAREST = (
    "Nearest neighbours by average rank (paired over task and seed; a tie is a 95 % interval that includes 0, not "
    "corrected for several comparisons):"
)
OTHERS = 8
"""Rows listed of those that share the criterion or regime."""


def sections(subject: Subject, found: Sequence[Found], notes: Sequence[str]) -> Iterator[Section]:
    """Everything the records say."""
    yield Section("Results", tuple(map(Text, _opening(found, notes))))
    for one in found:
        yield Section(f"On the {one.board.name} board", tuple(_board(subject, one)), level=3)


def _opening(found: Sequence[Found], notes: Sequence[str]) -> Iterator[str]:
    if found:
        yield (
            "Top-1 accuracy in %, mean over seeds ± half width of the 95 % interval. **Bold**: best of the board at "
            "this task and sparsity; ≈: not told from it by seed-paired differences; ↓: some seeds collapsed (they "
            "count)."
        )
    yield from notes


def _board(subject: Subject, found: Found) -> Iterator[Block]:
    board, standing = found.board, found.standing
    yield Text(f"{board.title}, version {board.version}: {len(board.tasks)} tasks, {len(board.seeds)} seeds.")
    if found.names == (DENSE,):
        yield _dense_table(standing)
        return
    yield _standing_table(found)
    if subject.part:
        return
    name = found.names[0]
    yield Curves(tuple(_curves(standing, name)))
    yield _task_table(standing, name)
    if neighbours := list(_neighbours(standing, name)):
        yield Text(NEAREST)
        yield Table(("method", "average rank", "difference of ranks", "verdict"), tuple(neighbours), frozenset({1, 2}))
    if others := list(_others(subject, found)):
        yield Text("Rows that share its criterion or rule:")
        yield Table(("method", "average rank", "drop", "epochs / dense"), tuple(others), frozenset({1, 2, 3}))
    yield Text("These rows again, and one cell of them bit for bit:")
    yield Code(tuple(_commands(subject, found, name)), "sh")


def _commands(subject: Subject, found: Found, name: str) -> Iterator[str]:
    yield (
        run_command(subject, found.command)
        if subject.file
        else (f"sparsebench run {shlex.quote(found.command)} --methods {shlex.quote(name)}")
    )
    yield f"sparsebench report {shlex.quote(found.command)}"
    if cell := a_cell(found, name):
        yield f"sparsebench rerun {cell}" + (f" --methods {shlex.quote(subject.file)}" if subject.file else "")


def _standing_table(found: Found) -> Table:
    """Rows of the overall table."""
    header = (
        "method", "place", "average rank", "95 % interval", "budget", "rank in budget", "drop", "collapsed",
        "epochs / dense", "cells",
    )  # fmt: skip
    summary = found.standing.summary
    ranked = int(summary["rank"].count())
    rows = []
    for place, row in enumerate(records(summary), 1):
        if row["method"] not in found.names:
            continue
        bounds = NONE if missing(row["low"]) else f"{row['low']:.1f} … {row['high']:.1f}"
        reason = unranked_reason(row)
        rows.append(
            (
                f"`{row['method']}`",
                NONE if reason else f"{place} of {ranked}",
                reason or f"{row['rank']:.2f}",
                bounds,
                row["budget"] or NONE,
                NONE if missing(row["rank_in_budget"]) else f"{row['rank_in_budget']:.2f}",
                plus_minus(row["drop"], row["drop_half"]),
                f"{row['collapsed']}/{row['cells']}",
                NONE if missing(row["epochs_ratio"]) else f"{row['epochs_ratio']:.1f} x",
                f"{row['cells']}/{row['asked']}",
            )
        )
    return Table(header, tuple(rows), frozenset(range(1, len(header))))


def _task_table(standing: Standing, name: str) -> Table:
    """One line a task and sparsity."""
    header = (
        "task", "sparsity", "top-1", "rank", "dense", "best of the board", "dead static", "dead dynamic", "speed-up",
        "collapsed", "audit",
    )  # fmt: skip
    table, rows = standing.rows, []
    dense = {row["task"]: row for row in records(table[table["method"] == DENSE])}
    best = {(row["task"], row["sparsity"]): row for row in records(table[table["rank"] == 1])}
    counts = table[table["state"] == "ranked"].groupby(["task", "sparsity"]).size().to_dict()
    for row in records(table[table["method"] == name]):
        place = (row["task"], row["sparsity"])
        first = best.get(place)
        rows.append(
            (
                row["task"],
                sparsity_label(row["sparsity"]),
                _accuracy(row),
                row["state"] if missing(row["rank"]) else f"{row['rank']:.0f} of {counts[place]}",
                percent(dense[row["task"]]["top1"]) if row["task"] in dense else NONE,
                NONE if first is None else f"{percent(first['top1'])} `{first['method']}`",
                percent(row["dead_static"]),
                percent(row["dead_dynamic_alive"]),
                NONE if missing(row["speedup"]) else f"{row['speedup']:.1f} x",
                f"{row['collapsed']}/{row['seeds']}",
                "pass" if not row["audit_failed"] else f"FAIL {row['audit_failed']}",
            )
        )
    return Table(header, tuple(rows), frozenset(range(1, len(header))))


def _accuracy(row: dict) -> str:
    if missing(row["top1"]):
        return "failed"
    text = plus_minus(row["top1"], row["top1_half"]) + (" ↓" if row["collapsed"] else "")
    return {"best": f"**{text}**", "tie": f"{text} ≈"}.get(row["mark"], text)


def _dense_table(standing: Standing) -> Table:
    header = ("task", "top-1", "seeds", "epochs", "dead dynamic")
    rows = [
        (
            row["task"],
            plus_minus(row["top1"], row["top1_half"]),
            str(row["seeds"]),
            f"{row['epochs']:.4g}",
            percent(row["dead_dynamic_alive"]),
        )
        for row in records(standing.rows[standing.rows["method"] == DENSE])
    ]
    return Table(header, tuple(rows), frozenset(range(1, len(header))))


def _neighbours(standing: Standing, name: str) -> Iterator[tuple[str, ...]]:
    ranks = standing.ranks
    if name not in ranks:
        return
    order = list(ranks.mean().sort_values(kind="stable").index)
    place = order.index(name)
    for other in order[max(0, place - NEIGHBOURS) : place + NEIGHBOURS + 1]:
        if other == name:
            yield f"**`{name}`**", f"{ranks[name].mean():.2f}", "", ""
            continue
        gap = clustered_difference(ranks, other, name)
        bounds = f"{gap.mean:+.2f}" + ("" if gap.low is None else f" ({gap.low:+.2f} … {gap.high:+.2f})")
        verdict = "too few runs to tell" if gap.low is None else "tie"
        if gap.separated:
            verdict = "better" if gap.mean < 0 else "worse"
        yield f"`{other}`", f"{ranks[other].mean():.2f}", bounds, verdict


def _others(subject: Subject, found: Found) -> Iterator[tuple[str, ...]]:
    """Other rows with the same criterion, or the same rule where there is none, best first."""
    own = subject.method.scorer.criterion if subject.method.scorer else subject.method.regime
    shown = 0
    for row in records(found.standing.summary):
        if row["method"] in found.names or shown == OTHERS:
            continue
        method = read(row["method"], found.board.defaults)
        if method is None or own not in {entry.name for entry in entries_of(method)}:
            continue
        shown += 1
        yield (
            f"`{row['method']}`",
            unranked_reason(row) or f"{row['rank']:.2f}",
            plus_minus(row["drop"], row["drop_half"]),
            NONE if missing(row["epochs_ratio"]) else f"{row['epochs_ratio']:.1f} x",
        )


def _curves(standing: Standing, name: str) -> Iterator[Curve]:
    """This method, the best of the board at each sparsity, and the dense network."""
    table = standing.rows
    for task in standing.cells["task"].unique():
        here = table[table["task"] == task]
        dense = here[here["method"] == DENSE]["top1"]
        best = here[here["rank"] == 1].drop_duplicates("sparsity")
        lines = [Line("best of the board", _points(best)), Line(name, _points(here[here["method"] == name]), mine=True)]
        yield Curve(task, float(dense.iloc[0]) if len(dense) else None, tuple(line for line in lines if line.points))


def _points(rows: pd.DataFrame) -> tuple[tuple[float, float, float | None], ...]:
    return tuple(
        (row["sparsity"], row["top1"], None if missing(row["top1_half"]) else row["top1_half"])
        for row in sorted(records(rows), key=lambda row: row["sparsity"])
        if not missing(row["top1"])
    )
