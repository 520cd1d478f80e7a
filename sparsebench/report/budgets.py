"""Budget classes of the methods, and their ranks within them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sparsebench.grid.budgets import DEFAULT, MORE, UNKNOWN
from sparsebench.report.contest import contest
from sparsebench.report.table import DENSE
from sparsebench.stats import CLUSTER, rank_scores

HALF_AN_EPOCH = 0.5
"""Shares of a training are rounded to whole epochs; no method leaves its class by that."""
ROUNDING = 0.005
"""Half a per cent: what FLOPs are off by where a last batch is dropped."""


def ladder(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The classes of a board in order, with their bounds; the last two have none."""
    named = board.get("budgets") or [budget.describe() for budget in DEFAULT]
    return [*named, *({"name": name, "epochs": None, "flops": None} for name in (MORE, UNKNOWN))]


def costs(cells: pd.DataFrame, board: Mapping[str, Any]) -> pd.DataFrame:
    """Indexed by method: its largest ``epochs_most`` and ``flops_most`` relative to the dense network, and ``budget``.

    The class is the first whose bounds hold for every finished cell, each against the dense network of its task and
    seed, with half an epoch to spare for rounding; beyond the last "more"; "unknown" where a figure is missing.
    """
    figures = {"epochs": "epochs_most", "train_flops": "flops_most"}
    done = cells[cells["ok"]]
    dense = done[done["method"] == DENSE].set_index(CLUSTER)[list(figures)].add_suffix("_dense")
    pruned = done[done["method"] != DENSE].join(dense, on=CLUSTER)
    spare = HALF_AN_EPOCH / pruned["epochs_dense"]
    table, needed = pd.DataFrame(index=pruned["method"].unique()), {}
    for column, most in figures.items():
        ratio = pruned[column] / pruned[f"{column}_dense"]
        over = ratio - spare - (ROUNDING if column == "train_flops" else 0.0)
        grouped = pd.DataFrame({"method": pruned["method"], "ratio": ratio, "over": over}).groupby("method", sort=False)
        # A mean of NaN and numbers is a number; a method with one unknown cost has an unknown cost.
        whole = grouped["ratio"].count() == grouped.size()
        table[most] = grouped["ratio"].max().where(whole)
        needed[most] = grouped["over"].max().where(whole).reindex(table.index).to_numpy()
    classes = [step for step in ladder(board) if step["epochs"] is not None]
    fits = [
        (needed["epochs_most"] <= step["epochs"] + 1e-9) & (needed["flops_most"] <= step["flops"] + 1e-9)
        for step in classes
    ]
    unknown = np.isnan(needed["epochs_most"]) | np.isnan(needed["flops_most"])
    table["budget"] = np.select([unknown, *fits], [UNKNOWN, *(step["name"] for step in classes)], MORE).astype(object)
    return table


def contests(scores: pd.DataFrame, budget: pd.Series) -> dict[str, pd.DataFrame]:
    """The contest of every class that has a complete method, from scores (blocks x methods) and the methods' classes.

    Methods without a known class meet nowhere: nothing says that their budgets are equal.
    """
    classes = budget.reindex(scores.columns)
    return {
        name: contest(rank_scores(scores.loc[:, (classes == name).to_numpy()]))
        for name in classes.dropna().unique()
        if name != UNKNOWN
    }
