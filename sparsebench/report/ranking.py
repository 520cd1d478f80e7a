"""Everything that ranks: what the table and the summary of a board say beyond means, worked out once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sparsebench.report import budgets, equal_work, pareto
from sparsebench.report.differences import baselines, best_magnitude, differences
from sparsebench.report.table import DENSE, ROW, rankable
from sparsebench.stats import BLOCK, rank_scores

DIFFERENCE = ["baseline", "difference", "difference_low", "difference_high", "p", "p_holm", "verdict"]


@dataclass(frozen=True)
class Ranking:
    """The frames of a standing, see docs/statistics.md for every column."""

    rows: pd.DataFrame
    summary: pd.DataFrame
    differences: pd.DataFrame
    levels: pd.DataFrame
    points: pd.DataFrame
    ranks: pd.DataFrame
    """Ranks of the complete methods in every block (task, sparsity, seed)."""


def rank(cells: pd.DataFrame, rows: pd.DataFrame, summary: pd.DataFrame, board: Mapping[str, Any]) -> Ranking:
    """Add budget classes, ranks within them and at equal work, differences and fronts to rows and summary.

    Args:
        cells, rows, summary: from ``select``, ``leaderboard`` and ``overall`` of :mod:`sparsebench.report.table`.
    """
    costs = budgets.costs(cells, board)
    rows = _classed(rows, costs["budget"])
    rows = rows.join(pareto.mark_fronts(rows, ["task"], "top1", "train_flops"))
    complete = rankable(cells, rows, board)
    scores = complete[complete["method"] != DENSE].pivot(index=BLOCK, columns="method", values="top1")
    summary = summary.join(costs, on="method")
    summary = _within(summary, budgets.contests(scores, costs["budget"]))
    overall, levels = equal_work.ranks_at_levels(equal_work.accuracies(complete[complete["method"] != DENSE]))
    summary = summary.join(
        overall[["rank", "low", "high", "mark", "covered"]].add_prefix("flops_"), on="method"
    )  # flops_rank, flops_low, ...
    found = _differences(cells, rows, summary, board)
    whole = found[found["sparsity"].isna()].drop(columns=["sparsity", "clusters", "p_least", "seeds_needed"])
    whole = whole.rename(columns={"low": "difference_low", "high": "difference_high"}).set_index("method")
    summary = summary.join(whole[DIFFERENCE], on="method")
    fronts = rows.groupby("method")[pareto.FRONTS].sum()
    summary = summary.join(fronts, on="method")
    for column in ("budget", "mark_in_budget", "flops_mark", "flops_covered", "baseline", "verdict"):
        summary[column] = summary[column].astype(object).where(summary[column].notna(), "")
    return Ranking(rows, summary, found, levels, pareto.averaged(rows), rank_scores(scores))


def _classed(rows: pd.DataFrame, budget: pd.Series) -> pd.DataFrame:
    """The rows with the class of their method and their place by mean accuracy among the ranked rows of that class."""
    names = rows["method"].map(budget).astype(object)
    classed = rows.assign(budget=names.where(names.notna(), ""))
    scores = classed["top1"].where((classed["state"] == "ranked") & (classed["budget"] != budgets.UNKNOWN))
    groups = [classed["task"], classed["sparsity"], classed["budget"]]
    return classed.assign(rank_in_budget=scores.groupby(groups).rank(ascending=False, method="min"))


def _within(summary: pd.DataFrame, contests: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    columns = ["rank", "low", "high", "mark", "p_holm"]
    tables = [table[columns] for table in contests.values()]
    joined = pd.concat(tables) if tables else pd.DataFrame(columns=columns, index=pd.Index([], dtype=object))
    return summary.join(joined.rename(columns={"p_holm": "p"}).add_suffix("_in_budget"), on="method")


def _differences(
    cells: pd.DataFrame, rows: pd.DataFrame, summary: pd.DataFrame, board: Mapping[str, Any]
) -> pd.DataFrame:
    """Differences of the cells whose rows are ranked: every seed present, nothing failed, audits passed."""
    sound = rows.loc[rows["state"] == "ranked", ROW]
    kept = cells[cells["ok"]].merge(sound, on=ROW)
    if kept.empty:
        return differences(pd.DataFrame(), {})
    scores = kept.pivot(index=BLOCK, columns="method", values="top1")
    scores = scores[[method for method in summary["method"] if method in scores.columns]]
    ranked = summary.loc[summary["rank"].notna(), "method"]
    return differences(scores, baselines(scores.columns, board, best_magnitude(ranked, scores.mean())))
