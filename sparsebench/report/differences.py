"""Differences to a baseline: paired by task, sparsity and seed, with bootstrap intervals and Holm-corrected tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sparsebench.report.contest import FEW, TIE, seeds_needed
from sparsebench.report.table import DENSE
from sparsebench.stats import ALPHA, CLUSTER, cluster_bootstrap, holm, sign_flip

BETTER, WORSE = "better", "worse"
COLUMNS = [
    "method", "baseline", "sparsity", "difference", "low", "high", "clusters", "p", "p_holm", "p_least", "verdict",
    "seeds_needed",
]  # fmt: skip


def baselines(methods: Iterable[str], board: Mapping[str, Any], best: str | None) -> dict[str, str]:
    """Method -> the row it is compared with: the board's ``baseline``; else magnitude under the same allocation and
    regime; else in the same regime; else ``best``, the best magnitude row. Nothing is compared with itself.

    >>> baselines(["lamp@imp", "magnitude@imp", "magnitude@lrr", "rigl"], {}, "magnitude@lrr")
    {'lamp@imp': 'magnitude@imp', 'magnitude@imp': 'magnitude@lrr', 'rigl': 'magnitude@lrr'}
    """
    methods = list(methods)
    found = {}
    for method in methods:
        if board.get("baseline") in methods:
            wanted = [board["baseline"]]
        else:
            _, allocation, regime = _parts(method)
            plain = regime.partition("(")[0]
            wanted = [f"magnitude/{allocation}@{regime}"] if allocation else []
            wanted += [f"magnitude@{regime}", f"magnitude@{plain}"] if regime else []
            # A plain magnitude row is itself the baseline of its regime: it is held against the best of them.
            wanted = [best] if is_magnitude(method) and not allocation else [*wanted, best]
        partner = next((name for name in wanted if name in methods and name != method), None)
        if partner and method != board.get("baseline"):
            found[method] = partner
    return found


def is_magnitude(method: str) -> bool:
    """Whether a method is magnitude pruning and nothing else, whatever its allocation and regime.

    >>> [is_magnitude(m) for m in ("magnitude/erk@imp(rate=0.5)", "magnitude@finetune+shuffle", "lamp@imp")]
    [True, False, False]
    """
    return _parts(method)[0] == "magnitude" and "+" not in method.rpartition("@")[2]


def _parts(method: str) -> tuple[str, str, str]:
    """Criterion, allocation and regime of a method as text, "" for what it does not name."""
    head, _, tail = method.rpartition("@")
    criterion, _, allocation = (head or tail.partition("+")[0]).partition("/")
    return criterion.partition("(")[0], allocation, tail.partition("+")[0] if head else ""


def best_magnitude(order: Iterable[str], means: pd.Series) -> str | None:
    """The magnitude row of the best average rank (``order``), or of the best mean accuracy where none is ranked."""
    ranked = next((method for method in order if is_magnitude(method)), None)
    rows = means[[is_magnitude(method) for method in means.index]]
    return ranked or (None if rows.empty else str(rows.idxmax()))


def differences(scores: pd.DataFrame, partners: Mapping[str, str]) -> pd.DataFrame:
    """Top-1 of each method minus its baseline's, over the whole board and at each sparsity.

    Paired within (task, sparsity, seed); intervals and tests are over clusters (task, seed): a 95 % cluster bootstrap,
    a two-sided sign-flip test, corrected by Holm over the methods compared in the same scope. ``verdict`` is "better"
    or "worse" where the corrected test rejects at 5 % and the interval excludes 0, "few" where so many clusters cannot
    reach 5 %, else "tie".

    Args:
        scores: top-1, blocks x methods, NaN where a method has no ranked row.
        partners: as from :func:`baselines`.
    """
    methods = [method for method in scores.columns if method in partners and method != DENSE]
    if not methods:
        return pd.DataFrame(columns=COLUMNS)
    values = scores[methods].to_numpy() - scores[[partners[method] for method in methods]].to_numpy()
    gaps = pd.DataFrame(np.round(values, 12), index=scores.index, columns=methods)
    levels = gaps.index.get_level_values("sparsity")
    scopes = [(np.nan, gaps), *((s, gaps[levels == s]) for s in sorted(levels.unique()))] if len(gaps) else []
    tables = [_scope(within, partners).assign(sparsity=sparsity) for sparsity, within in scopes]
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def _scope(gaps: pd.DataFrame, partners: Mapping[str, str]) -> pd.DataFrame:
    gaps = gaps.dropna(axis="columns", how="all")
    grouped = gaps.groupby(level=CLUSTER)
    totals, sizes = grouped.sum().to_numpy(), grouped.count().to_numpy()
    with np.errstate(invalid="ignore", divide="ignore"):
        clusters = np.where(sizes > 0, totals / sizes, np.nan)
    low, high = cluster_bootstrap(totals, sizes)
    p, least = sign_flip(clusters)
    adjusted, mean = holm(p), np.round(totals.sum(axis=0) / sizes.sum(axis=0), 12)
    told = (adjusted < ALPHA) & ((low > 0) | (high < 0))
    verdicts = [told & (mean > 0), told, holm(least) >= ALPHA]
    tasks = gaps.index.get_level_values("task").nunique()
    return pd.DataFrame(
        {
            "method": gaps.columns, "baseline": [partners[m] for m in gaps.columns], "difference": mean, "low": low,
            "high": high, "clusters": (sizes > 0).sum(axis=0), "p": p, "p_holm": adjusted, "p_least": holm(least),
            "verdict": np.select(verdicts, [BETTER, WORSE, FEW], TIE), "seeds_needed": seeds_needed(clusters, tasks),
        }
    )  # fmt: skip
