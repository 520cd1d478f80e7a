"""The verdict: what the numbers allow one to say, in a few sentences.

A method is called better only where a Holm-corrected sign-flip test rejects at 5 % and the 95 % interval excludes 0;
anything else is called a tie. Comparisons are paired by (task, seed), whose means are the independent values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from sparsebench.report.cells import sparsity_label
from sparsebench.report.contest import BEST, FEW, TIE
from sparsebench.report.ranking import Ranking
from sparsebench.report.ranking_cells import probability, runs
from sparsebench.report.table import DENSE
from sparsebench.stats import CLUSTER, Interval, fewest_clusters, paired_difference


def verdict(cells: pd.DataFrame, board: Mapping[str, Any], ranking: Ranking) -> list[str]:
    """Sentences (Markdown): the best method, equal work, baseline, random pruning, collapses, failures, audit."""
    if cells.empty:
        return ["There are no records of this board yet."]
    return [
        *_leader(ranking.summary, runs(ranking.ranks)),
        *_equal_work(ranking.summary),
        *_baseline(ranking.differences),
        *_random_gap(cells),
        *_collapses(cells),
        *_unfinished(cells, board),
        *_audit(cells),
    ]


def _leader(summary: pd.DataFrame, clusters: int) -> list[str]:
    ranked = summary[summary["rank"].notna()]
    if len(ranked) < 2:
        return ["Fewer than two methods have finished every cell of the board: nothing is ranked overall."]
    first, rest = ranked.iloc[0], ranked.iloc[1:]
    ahead = f"All budgets together, `{first['method']}` has the best average rank, {first['rank']:.2f} of {len(ranked)}"
    if (rest["mark"] == FEW).any():
        fewest = fewest_clusters(len(rest))
        return [f"{ahead}; {clusters} runs (task, seed) cannot tell so many ranks from noise, it takes {fewest}."]
    tied = rest[rest["mark"].isin([BEST, TIE])]
    if tied.empty:
        second = rest.iloc[0]
        return [f"{ahead}, ahead of `{second['method']}` by {_behind(second)}: more than seed noise."]
    names = _listing([f"`{method}`" for method in tied["method"]])
    return [f"{ahead}, but it is a tie with {names}: `{tied.iloc[0]['method']}` trails by {_behind(tied.iloc[0])}."]


def _behind(row: pd.Series) -> str:
    return f"{row['gap']:.2f} ranks (Holm-corrected p = {probability(row['p_first'])})".replace("= <", "<")


def _equal_work(summary: pd.DataFrame) -> list[str]:
    """Who is first at equal multiply-accumulates."""
    ranked = summary[summary["flops_rank"].notna()].sort_values("flops_rank", kind="stable")
    if len(ranked) < 2:
        return []
    tied = _listing([f"`{method}`" for method in ranked["method"][1:][ranked["flops_mark"][1:].isin([BEST, TIE])]])
    tie = f", a tie with {tied}" if tied else ""
    rank = f"{ranked['flops_rank'].iloc[0]:.2f} of {len(ranked)}"
    return [f"At equal multiply-accumulates `{ranked['method'].iloc[0]}` is first, average rank {rank}{tie}."]


def _baseline(differences: pd.DataFrame) -> list[str]:
    """How many methods are better than their baseline over the whole board, and which."""
    whole = differences[differences["sparsity"].isna()]
    if whole.empty:
        return []
    better = whole[whole["verdict"] == "better"].sort_values("difference", ascending=False, kind="stable")
    counts = whole["verdict"].value_counts()
    told = [f"{counts[kind]} {text}" for kind, text in _COUNTED.items() if kind in counts]
    names = _listing(
        [f"`{row.method}` (+{100 * row.difference:.1f} points on `{row.baseline}`)" for row in better.itertuples()]
    )
    which = f"; better: {names}" if names else ""
    return [f"Of {len(whole)} methods against their baseline: {_listing(told)}{which}."]


_COUNTED = {"better": "better", "tie": "tied", "worse": "worse", "few": "cannot be told by so few runs"}


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
        whom = f"`{partner}`" + ("" if partner == same else ", the best magnitude row")
        if gap.low is None:
            sentences.append(f"{where} differs by {-100 * gap.mean:+.1f} points from {whom}, in a single run.")
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
    if not items:
        return ""
    shown = items if len(items) <= most else [*items[:most], f"{len(items) - most} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
