"""Pareto fronts of a board: accuracy against sparsity, against speed-up, against the cost of training."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparsebench.report.table import DENSE
from sparsebench.stats import front

FRONTS = ["front_sparsity", "front_speedup", "front_cost"]


def mark_fronts(table: pd.DataFrame, within: list[str], gain: str, cost: str) -> pd.DataFrame:
    """Which rows of a table are on the three fronts, columns ``FRONTS``; rows that are not ranked are on none.

    Rows meet ``within`` these columns: over all sparsities for sparsity and speed-up, at one sparsity for the cost of
    training, of which a sparser network would otherwise never need less. By means: seed noise is not part of it.
    """
    marks = pd.DataFrame(False, index=table.index, columns=FRONTS)
    ranked = table[table["state"] == "ranked"]
    kinds = {
        "front_sparsity": (within, lambda rows: -rows["sparsity"]),
        "front_speedup": (within, lambda rows: -rows["speedup"]),
        "front_cost": ([*within, "sparsity"], lambda rows: rows[cost]),
    }
    for name, (together, price) in kinds.items():
        groups = ranked.groupby(together, sort=False) if together else [((), ranked)]
        for _, rows in groups:
            marks.loc[rows.index, name] = front(rows[gain].to_numpy(), price(rows).to_numpy())
    return marks


def averaged(table: pd.DataFrame) -> pd.DataFrame:
    """The rows averaged over tasks, for one picture of the board: methods ranked on every task at a sparsity.

    ``top1``, ``drop`` (to the dense network) and ``cost`` (training FLOPs over the dense network's) are means,
    ``speedup`` is a geometric mean; with ``budget`` and the fronts among these points.
    """
    dense = table[table["method"] == DENSE].set_index("task")
    rows = table[table["state"] == "ranked"]
    rows = rows.assign(
        drop=rows["task"].map(dense["top1"]).astype(float) - rows["top1"],
        cost=rows["train_flops"] / rows["task"].map(dense["train_flops"]).astype(float),
        speedup=np.log(rows["speedup"]),
    )
    grouped = rows.groupby(["method", "sparsity"], sort=False)
    points = grouped[["top1", "drop", "speedup", "cost"]].mean()
    points["speedup"] = np.exp(points["speedup"])
    points["budget"] = grouped["budget"].first()
    points = points[grouped.size() == table["task"].nunique()].reset_index()
    return points.join(mark_fronts(points.assign(state="ranked"), [], "top1", "cost"))
