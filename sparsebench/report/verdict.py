"""The verdict: what the numbers allow one to say, in a few sentences.

A win is claimed only where a paired 95 % interval excludes 0; anything else is called a tie. Comparisons
are paired by (task, seed), whose means are the independent values of a Student interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sparsebench.report.cells import sparsity_label
from sparsebench.report.table import DENSE, rankable
from sparsebench.stats import (
    CLUSTER,
    FEWEST_CLUSTERS,
    Interval,
    block_ranks,
    clustered_difference,
    paired_difference,
)


def verdict(cells: pd.DataFrame, table: pd.DataFrame, board: Mapping[str, Any]) -> list[str]:
    """Sentences (Markdown): the best method, the gap to random pruning, collapses, failures and the audit."""
    if cells.empty:
        return ["There are no records of this board yet."]
    return [
        *_leader(block_ranks(rankable(cells, table, board))),
        *_random_gap(cells),
        *_collapses(cells),
        *_unfinished(cells, board),
        *_audit(cells),
    ]


def _leader(ranks: pd.DataFrame) -> list[str]:
    if ranks.shape[1] < 2:
        return ["Fewer than two methods have finished every cell of the board: nothing is ranked overall."]
    order = ranks.mean().sort_values(kind="stable").index
    best, rest = order[0], order[1:]
    gaps = {method: clustered_difference(ranks, method, best) for method in rest}
    ahead = f"`{best}` has the best average rank, {ranks[best].mean():.2f} of {len(order)}"
    first = gaps[rest[0]]
    if first.low is None:
        return [f"{ahead}; {first.n} runs (task, seed) cannot tell ranks from noise, it takes {FEWEST_CLUSTERS}."]
    tied = [method for method in rest if not gaps[method].separated]
    if not tied:
        return [f"{ahead}, ahead of `{rest[0]}` by {_ranks(first)}: more than seed noise."]
    names = _listing([f"`{method}`" for method in tied])
    sentence = f"{ahead}, but it is a tie with {names}: `{tied[0]}` trails by {_ranks(gaps[tied[0]])}"
    return [sentence + ", an interval that includes 0."]


def _ranks(gap: Interval) -> str:
    return f"{gap.mean:.2f} ranks (95 % interval {gap.low:.2f} to {gap.high:.2f})"


def _random_gap(cells: pd.DataFrame) -> list[str]:
    """At the highest sparsity: random pruning against magnitude, in the same regime where the board has both."""
    pruned = cells[(cells["method"] != DENSE) & cells["ok"]]
    top = pruned[pruned["sparsity"] == pruned["sparsity"].max()]
    sentences = []
    for method in sorted(m for m in top["method"].unique() if m.startswith("random")):
        same = "magnitude" + method.removeprefix("random")
        partner = same if same in set(top["method"]) else _best_magnitude(top)
        gap = paired_difference(_by_run(top, partner), _by_run(top, method)) if partner else None
        if gap is None:
            continue
        where = f"At {sparsity_label(top['sparsity'].iloc[0])} sparsity `{method}`"
        whom = f"`{partner}`" + ("" if partner == same else ", the best magnitude row,")
        if gap.low is None:
            sentences.append(f"{where} differs from {whom} by {-100 * gap.mean:+.1f} points, in a single run.")
        elif gap.separated:
            side = "below" if gap.mean > 0 else "above"
            sentences.append(f"{where} is {100 * abs(gap.mean):.1f} points {side} {whom} {_points(gap)}.")
        else:
            moral = ": the criterion is not shown to matter" if partner == same else ""
            sentences.append(f"{where} ties with {whom} {_points(gap)}{moral}.")
    return sentences


def _best_magnitude(top: pd.DataFrame) -> str | None:
    means = top[top["method"].str.startswith("magnitude")].groupby("method")["top1"].mean()
    return None if means.empty else str(means.idxmax())


def _by_run(cells: pd.DataFrame, method: str) -> dict[tuple[str, int], float]:
    return cells[cells["method"] == method].set_index(CLUSTER)["top1"].to_dict()


def _points(gap: Interval) -> str:
    # Written for the absolute difference, so that the interval reads in the sentence's direction.
    low, high = (gap.low, gap.high) if gap.mean >= 0 else (-gap.high, -gap.low)
    return f"(95 % interval {100 * low:.1f} to {100 * high:.1f} points)"


def _collapses(cells: pd.DataFrame) -> list[str]:
    finished = cells[cells["ok"]]
    counts = finished[finished["collapsed"]]["method"].value_counts()
    if counts.empty:
        return [f"No network collapsed ({len(finished)} cells)."]
    listing = _listing([f"`{method}` {count}" for method, count in counts.items()])
    why = "chance accuracy, an emptied layer or numbers not finite"
    return [f"{counts.sum()} of {len(finished)} cells collapsed ({why}) and count as such: {listing}."]


def _unfinished(cells: pd.DataFrame, board: Mapping[str, Any]) -> list[str]:
    failed = cells[~cells["ok"]]
    sentences = []
    if len(failed):
        listing = _listing([f"`{m}` {count}" for m, count in failed["method"].value_counts().items()])
        sentences.append(f"{len(failed)} cell{'s' if len(failed) > 1 else ''} did not run to their end: {listing}.")
    present = set(cells["method"])
    absent = [method for method in board["methods"] if method not in present]
    if absent:
        sentences.append(f"Not run yet: {_listing([f'`{method}`' for method in absent])}.")
    return sentences


def _audit(cells: pd.DataFrame) -> list[str]:
    finished = cells[cells["ok"]]
    bad = finished[~finished["audit_passed"]]
    if bad.empty:
        return [f"All {len(finished)} finished cells pass the audit."]
    listing = _listing([f"`{m}` {count}" for m, count in bad["method"].value_counts().items()])
    return [f"{len(bad)} of {len(finished)} cells FAIL the audit and are not ranked: {listing}."]


def _listing(items: list[str], most: int = 5) -> str:
    shown = items if len(items) <= most else [*items[:most], f"{len(items) - most} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
