"""The numbers of a leaderboard: records -> frame -> one row per (task, method, sparsity) -> one per method.

Nothing is dropped from a mean except cells that did not run to their end: a collapsed network counts with
its chance-level accuracy. Rows with a failed cell, a failed audit or too few seeds are shown and not ranked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sparsebench.record import Record
from sparsebench.report.contest import contest
from sparsebench.stats import CLUSTER, block_ranks, mean_interval, paired_difference

DENSE = "dense"
ROW = ["task", "method", "sparsity"]
METRICS = [
    "top1", "top5", "nll", "ece", "worst_class", "cev", "sde", "cev_s1", "sde_s1", "dead_static",
    "dead_dynamic", "dead_dynamic_alive", "dead_permanent", "neg_preact", "val_top1_before", "val_top1",
    "corrupted",
]  # fmt: skip
SCORED = [*ROW, "seed", "ok", "collapsed", "audit_passed", "top1", "speedup", "epochs", "train_flops"]
"""What ranks, tests and sentences need of the cells: all columns would be copied wherever some rows are taken."""
AVERAGED = [*METRICS, "achieved", "speedup", "epochs", "own_epochs", "train_flops", "seconds"]


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record: its cell, status, metrics (NaN where a cell failed), cost and provenance."""
    return frame_of(map(row, records))


def frame_of(rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """The same from rows, each with the values of ``COLUMNS``."""
    table = pd.DataFrame(list(rows), columns=COLUMNS)
    numeric = [*AVERAGED, "chance"]
    return table.astype(
        dict.fromkeys(numeric, float) | dict.fromkeys(["ok", "collapsed", "audit_passed", "unverified"], bool)
    )


COLUMNS = [
    *ROW, "seed", "ok", "collapsed", "audit_passed", "unverified", *AVERAGED, "chance",
    "board_version", "protocol", "commit", "dirty", "hardware", "precision", "created", "error",
]  # fmt: skip


def row(record: Record) -> list[Any]:
    """The values of ``COLUMNS`` in a record."""
    flat = _flat(record.data, record)
    return [flat.get(column) for column in COLUMNS]


def _flat(data: Mapping[str, Any], record: Record) -> dict[str, Any]:
    cost, provenance, counts = data["cost"], data["provenance"], (data.get("per_class") or {}).get("n")
    metrics = data["metrics"] if record.ok else {}
    return {
        **data["cell"],
        **{key: data.get(key) for key in ("collapsed", "board_version", "protocol", "error")},
        **{key: metrics.get(key) for key in METRICS},
        **{key: cost.get(key) for key in ("epochs", "own_epochs", "train_flops", "seconds")},
        **{key: provenance.get(key) for key in ("commit", "dirty", "hardware", "precision", "created")},
        "ok": record.ok,
        "audit_passed": record.audit_passed,
        "unverified": bool(data.get("unverified")),
        "achieved": (data.get("sparsity") or {}).get("achieved"),
        "speedup": (data.get("flops") or {}).get("speedup"),
        "chance": 1 / len(counts) if counts else None,
    }


def select(cells: pd.DataFrame, board: Mapping[str, Any]) -> tuple[pd.DataFrame, int]:
    """The cells that belong on a board, in its order, and how many records were left out.

    Left out: another board version, an older protocol than the newest present, and tasks, sparsities or
    seeds the board does not ask for. Numbers made by different rules never meet in one mean.
    """
    wanted = (
        (cells["board_version"] == board["version"])
        & (cells["protocol"] == cells["protocol"].max())
        & cells["task"].isin(board["tasks"])
        & (cells["sparsity"].isin(board["sparsities"]) | (cells["method"] == DENSE))
        & cells["seed"].isin(board["seeds"])
    )
    methods = [DENSE, *board["methods"], *sorted(set(cells["method"]) - {DENSE, *board["methods"]})]
    order = {"task": board["tasks"], "method": methods}
    places = {name: {value: place for place, value in enumerate(values)} for name, values in order.items()}
    kept = cells[wanted].sort_values(
        [*ROW, "seed"],
        key=lambda column: column.map(places[column.name]) if column.name in places else column,
    )
    return kept.reset_index(drop=True), int((~wanted).sum())


def leaderboard(cells: pd.DataFrame, seeds: int | None = None) -> pd.DataFrame:
    """One row per (task, method, sparsity), every column numeric but ``state`` and ``mark``.

    ``top1`` is the mean over finished seeds and ``top1_half`` the half width of its 95 % interval; other
    metrics are means. ``seeds``, ``failed``, ``collapsed``, ``audit_failed`` and ``unverified`` (records made
    elsewhere, without their code) count cells. ``state`` is dense, ranked, or why not: audit, failed, incomplete
    (fewer than ``seeds``, by default the most present), unverified.
    ``rank`` is by mean top1 within (task, sparsity); ``mark`` is "best", or "tie" where the seed-paired
    difference to the best has a 95 % interval that includes 0. Order: task, sparsity, rank, unranked last.
    """
    counted = cells.assign(failed=~cells["ok"], audit_failed=cells["ok"] & ~cells["audit_passed"], seeds=cells["ok"])
    grouped = counted.groupby(ROW, sort=False)
    counts = grouped[["seeds", "failed", "collapsed", "audit_failed", "unverified"]].sum().astype(int)
    table = counts.join(grouped[AVERAGED].mean())
    table = table.reset_index()
    table.insert(table.columns.get_loc("top1") + 1, "top1_half", _halves(cells, table))
    needed = table["seeds"].max() if seeds is None else seeds
    states = {
        "dense": table["method"] == DENSE,
        "audit": table["audit_failed"] > 0,
        "failed": table["failed"] > 0,
        "incomplete": table["seeds"] < needed,
        "unverified": table["unverified"] > 0,
    }
    table["state"] = np.select(list(states.values()), list(states), "ranked")
    scores = table["top1"].where(table["state"] == "ranked")
    table["rank"] = scores.groupby([table["task"], table["sparsity"]]).rank(ascending=False, method="min")
    table["mark"] = _marks(cells, table)
    position = {task: place for place, task in enumerate(cells["task"].unique())}
    return table.sort_values(
        ["task", "sparsity", "rank"], key=lambda c: c.map(position) if c.name == "task" else c, kind="stable"
    ).reset_index(drop=True)


# Plain loops over thousands of small groups: pandas would spend a millisecond on each.
def _halves(cells: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    values: dict[tuple, list[float]] = {}
    columns = [*ROW, "top1"]
    for *place, top1 in _tuples(cells.loc[cells["top1"].notna(), columns], columns):
        values.setdefault(tuple(place), []).append(top1)
    halves = {place: mean_interval(found).half for place, found in values.items()}
    return pd.Series([halves.get(place) for place in _tuples(table, ROW)], index=table.index, dtype=float)


def _tuples(frame: pd.DataFrame, columns: list[str]) -> Iterator[tuple]:
    return zip(*(_listed(frame[column]) for column in columns), strict=True)


def _listed(column: pd.Series) -> list:
    # Text kept by pyarrow takes ten times as long when it is walked through one by one.
    return (column if column.dtype.kind in "biuf" else column.to_numpy(dtype=object)).tolist()


def _marks(cells: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    by_seed: dict[tuple, dict[int, float]] = {}
    columns = [*ROW, "seed", "top1"]
    for *place, seed, top1 in _tuples(cells.loc[cells["ok"], columns], columns):
        by_seed.setdefault(tuple(place), {})[seed] = top1
    winners = table.loc[table["rank"] == 1, ROW].drop_duplicates(["task", "sparsity"])
    best = winners.set_index(["task", "sparsity"])["method"].to_dict()
    marks = []
    for task, method, sparsity, rank in _tuples(table, [*ROW, "rank"]):
        if np.isnan(rank) or rank == 1:
            marks.append("" if np.isnan(rank) else "best")
            continue
        winner = best[task, sparsity]
        gap = paired_difference(by_seed[task, winner, sparsity], by_seed[task, method, sparsity])
        marks.append("tie" if gap and gap.low is not None and not gap.separated else "")
    return pd.Series(marks, index=table.index, dtype=object)


def rankable(cells: pd.DataFrame, table: pd.DataFrame, board: Mapping[str, Any]) -> pd.DataFrame:
    """The cells of methods that finished, audited, every (task, sparsity, seed) of the board."""
    rows = table[table["state"] == "ranked"].groupby("method").size()
    complete = rows.index[rows == len(board["tasks"]) * len(board["sparsities"])]
    return cells[cells["method"].isin(complete)]


def overall(cells: pd.DataFrame, table: pd.DataFrame, board: Mapping[str, Any]) -> pd.DataFrame:
    """One row a method over the whole board, best average rank first, unranked methods below.

    ``rank``, ``low``, ``high``, ``gap``, ``p_first``, ``mark``, ``seeds_first``, ``seeds_next``: see
    :func:`sparsebench.report.contest.contest`; ``drop`` = mean of top1(dense) - top1 over its cells, against the
    dense network of the same task and seed, with ``drop_half``; ``epochs_ratio`` = training epochs over those of the
    dense network, mean over tasks.
    """
    dense = cells[cells["method"] == DENSE].set_index(CLUSTER)[["top1", "epochs"]].add_suffix("_dense")
    pruned = cells[cells["method"] != DENSE].join(dense, on=CLUSTER)
    pruned["drop"] = pruned["top1_dense"] - pruned["top1"]
    pruned["epochs_ratio"] = pruned["epochs"] / pruned["epochs_dense"]
    grouped = pruned.groupby("method", sort=False)
    summary = grouped[["drop", "epochs_ratio"]].mean()
    summary["cells"] = grouped["ok"].sum().astype(int)
    summary["collapsed"] = grouped["collapsed"].sum().astype(int)
    drops = pruned.groupby(["method", *CLUSTER])["drop"].mean().dropna()
    summary["drop_half"] = drops.groupby(level="method").agg(_half)
    counts = table.groupby("method")[["failed", "audit_failed", "unverified"]].sum()
    ranks = contest(block_ranks(rankable(cells, table, board)))
    ranks = ranks[["rank", "low", "high", "gap", "p_holm", "mark", "seeds_first", "seeds_next"]]
    summary = summary.join(counts).join(ranks.rename(columns={"p_holm": "p_first"}))
    summary["mark"] = summary["mark"].astype(object).where(summary["mark"].notna(), "")
    summary["only"] = pd.Series(board.get("fixed", {}), dtype=float).reindex(summary.index)
    sparsities = summary["only"].isna().map({True: len(board["sparsities"]), False: 1})
    limits = board.get("limits", {})
    summary["tasks"] = [len(limits.get(method, board["tasks"])) for method in summary.index]
    summary["asked"] = summary["tasks"] * sparsities * len(board["seeds"])
    summary["tasks"] = summary["tasks"].where(summary["tasks"] < len(board["tasks"]))
    return summary.sort_values("rank", kind="stable").reset_index()


def _half(values: pd.Series) -> float:
    half = mean_interval(values.to_numpy()).half
    return np.nan if half is None else half


def unranked_reason(row: Mapping[str, Any] | pd.Series) -> str:
    """Why a method of :func:`overall` has no rank, in a few words; empty if it has one."""
    if not np.isnan(row["rank"]):
        return ""
    if row["audit_failed"]:
        return f"audit FAIL {row['audit_failed']}"
    if row["failed"]:
        return f"{row['failed']} failed"
    if row["unverified"]:
        return "unverified"
    if row["cells"] == row["asked"] and not (np.isnan(row["only"]) and np.isnan(row["tasks"])):
        tasks = "" if np.isnan(row["tasks"]) else f"{row['tasks']:.0f} task{'s' * (row['tasks'] > 1)}"
        sparsity = "" if np.isnan(row["only"]) else f"{100 * row['only']:g} %"
        return f"{', '.join(filter(None, (sparsity, tasks)))} only"
    return f"{row['cells']}/{row['asked']} cells"


def records(frame: pd.DataFrame, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a frame as mappings of all columns, or of these; a tenth of the time of ``to_dict``."""
    columns = list(frame.columns if columns is None else columns)
    return [dict(zip(columns, values, strict=True)) for values in _tuples(frame, columns)]


def distinct(column: pd.Series) -> list[str]:
    """The distinct values of a provenance column, most frequent first."""
    return [str(value) for value in column.dropna().value_counts().index]
