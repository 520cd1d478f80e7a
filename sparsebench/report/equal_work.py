"""Ranks at equal multiply-accumulates: accuracy at the same speed-up instead of the same sparsity.

Equal sparsity is equal parameters. Methods that keep other layers do other amounts of work with as many weights, so
each method's accuracy is read off its own curve, task by task and seed by seed, at speed-ups of 2, 4, 8, ...: linear
in the logarithm of the speed-up between the sparsities that were measured, never beyond them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparsebench.report.contest import contest
from sparsebench.stats import BLOCK, CLUSTER, at_levels, rank_scores

LEVELS = tuple(float(2**k) for k in range(1, 11))
FRAME = ["level", "tasks", "method", "rank", "low", "high", "mark", "top1"]


def accuracies(complete: pd.DataFrame) -> pd.DataFrame:
    """Accuracy at the levels used: blocks (task, level, seed) x methods, NaN where a method does not reach.

    A level is used on a task where at least two methods, and at least half of them, cover it with every seed.

    Args:
        complete: the cells of the methods that are ranked overall; the level takes the place of the sparsity.
    """
    curves: dict[tuple, tuple[list[float], list[float]]] = {}
    columns = [*CLUSTER, "method", "speedup", "top1"]
    for task, seed, method, speedup, top1 in zip(*(complete[name].tolist() for name in columns), strict=True):
        places, heights = curves.setdefault((task, seed, method), ([], []))
        places.append(speedup)
        heights.append(top1)
    found = pd.DataFrame(list(curves), columns=[*CLUSTER, "method"])
    table = found.loc[np.repeat(found.index, len(LEVELS))]
    table["sparsity"] = np.tile(LEVELS, len(curves))
    table["top1"] = np.concatenate([at_levels(*points, LEVELS) for points in curves.values()] or [[]])
    scores = table.pivot(index=BLOCK, columns="method", values="top1")
    covered = scores.notna().groupby(level=["task", "sparsity"]).all()
    reach = covered.sum(axis=1)
    used = covered.index[(reach >= 2) & (2 * reach >= covered.shape[1])]
    kept = pd.MultiIndex.from_arrays([scores.index.get_level_values(name) for name in ("task", "sparsity")])
    return scores[kept.isin(used)]


def ranks_at_levels(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average ranks over all levels, by method, and a table of the ranks at each (columns ``FRAME``).

    From :func:`accuracies`. A method is ranked where it covers every block of the level, and over all levels where it
    covers every block there is. ``covered`` counts (task, level) as text.
    """
    if scores.empty:
        empty = pd.DataFrame(columns=["rank", "low", "high", "mark", "covered"], dtype=float)
        return empty, pd.DataFrame(columns=FRAME)
    by_place = scores.notna().groupby(level=["task", "sparsity"]).all()
    overall = contest(rank_scores(scores)).reindex(scores.columns)
    overall["mark"] = overall["mark"].fillna("")
    overall["covered"] = [f"{count}/{len(by_place)}" for count in by_place.sum()]
    levels, tables = scores.index.get_level_values("sparsity"), []
    for level in np.unique(levels):
        here = scores[levels == level].dropna(axis="columns")
        table = contest(rank_scores(here))[["rank", "low", "high", "mark"]].rename_axis("method").reset_index()
        tasks = here.index.get_level_values("task").nunique()
        tables.append(table.assign(level=level, tasks=tasks, top1=here.mean()[table["method"]].to_numpy()))
    return overall, pd.concat(tables, ignore_index=True)[FRAME]
