"""A contest: methods in the order of their average rank, and who is told from the first.

The same table for the whole board, for a budget class and for a level of multiply-accumulates.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from sparsebench.stats import ALPHA, CLUSTER, cluster_means, clusters_needed, holm, mean_ranks, sign_flip, t_quantile

BEST, TIE, FEW = "best", "tie", "few"
COLUMNS = ["rank", "low", "high", "blocks", "clusters", "gap", "p_holm", "mark", "seeds_first", "seeds_next"]


def contest(ranks: pd.DataFrame) -> pd.DataFrame:
    """The table of a contest from ranks in blocks (blocks x methods), best first.

    ``rank`` with ``low`` and ``high``: :func:`sparsebench.stats.mean_ranks`. ``gap``: mean rank minus the first's.
    ``p_holm``: sign-flip test of the gap over clusters (task, seed), Holm-corrected for the methods compared with the
    first. ``mark``: "best"; "tie" unless the test rejects at 5 % and the Student interval of the gap excludes 0; "few"
    where so few clusters and so many methods cannot reach 5 % whatever they show; "" told apart.
    ``seeds_first``, ``seeds_next``: seeds a task it takes to tell it from the first and from the method above it.
    """
    table = mean_ranks(ranks)
    if table.empty:
        return table.reindex(columns=COLUMNS)
    values = cluster_means(ranks)[list(table.index)]
    tasks, means = values.index.get_level_values(CLUSTER[0]).nunique(), values.to_numpy()
    gaps = means[:, 1:] - means[:, :1]
    p, least = sign_flip(gaps)
    adjusted, gap = holm(p), (table["rank"] - table["rank"].iloc[0]).to_numpy()
    told = (adjusted < ALPHA) & excludes_zero(gaps)
    marks = np.select([told, holm(least) >= ALPHA], ["", FEW], TIE)
    return table.assign(
        gap=gap,
        p_holm=[np.nan, *adjusted],
        mark=np.where(gap < 1e-9, BEST, ["", *marks]),
        seeds_first=[np.nan, *seeds_needed(gaps, tasks)],
        seeds_next=[np.nan, *seeds_needed(np.diff(means, axis=1), tasks)],
    )[COLUMNS]


def excludes_zero(values: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Whether the Student interval of each column's mean, over its values that are not NaN, leaves out 0."""
    n = (~np.isnan(values)).sum(axis=0)
    mean, deviation = moments(values)
    half = [t_quantile((1 + level) / 2, int(k) - 1) if k > 1 else np.inf for k in n] * deviation / np.sqrt(n)
    return np.abs(mean) > np.where(n > 1, half + 1e-12, np.inf)


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (n - 1) of each column without its NaN; NaN for the deviation of a single value."""
    n = (~np.isnan(values)).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(values, axis=0) / n
        spread = np.nansum((values - mean) ** 2, axis=0)
        return mean, np.sqrt(np.where(n > 1, spread, np.nan) / (n - 1))


def seeds_needed(values: np.ndarray, tasks: int) -> list[float]:
    """Seeds a task with which a difference like each column's is found, see ``clusters_needed``; NaN: not known."""
    needed = [clusters_needed(float(m), float(s)) for m, s in zip(*moments(values), strict=True)]
    return [np.nan if clusters is None else math.ceil(clusters / tasks) for clusters in needed]
