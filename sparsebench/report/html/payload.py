"""Payload: what the page shows, as JSON of few bytes: columns instead of rows, every repeated text once.

Numbers keep six significant digits. A frame is ``{column: [values]}``; a *place* is an index into a list of distinct
values; null is a value that is not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from sparsebench.allocation import split_allocation
from sparsebench.patterns import NM
from sparsebench.report import Standing
from sparsebench.report.formats.frames import plain
from sparsebench.report.kept import Kept
from sparsebench.report.table import DENSE, ROW

SCHEMA = 1
BANDS = ("nll", "ece", "worst_class", "cev_s1", "sde_s1", "dead_static", "dead_dynamic_alive", "corrupted")
"""Metrics that have curves besides top1; their rows get a ``<metric>_half``."""
FRAMES = ("summary", "points", "differences")
DETAILS = {
    "training losses": ("losses",),
    "accuracies on corrupted images": ("corruptions",),
    "audit verdicts rule by rule": ("audit", "verdicts"),
    "densities of layers": ("layers", "shape", "shapes"),
}
"""What a page that would be too large leaves out, one after the other: columns of its records."""
MOST_LOSSES = 60
"""Points of a loss curve; of a longer training evenly spaced ones, the last included."""


def payload(standing: Standing, records: Sequence[Kept]) -> dict[str, Any]:
    """Board, verdict, frames and records of a page."""
    chance = standing.cells.groupby("task")["chance"].max()
    return {
        "schema": SCHEMA,
        "board": plain(dict(standing.board)),
        "sentences": list(standing.sentences),
        "notes": list(standing.notes),
        "budgets": plain(getattr(standing, "budgets", [])),
        "chance": {task: number(value) for task, value in chance.items()},
        "structures": {kept.record.cell["method"]: structure(kept.record.data) for kept in records},
        "rows": columns(with_halves(standing.rows, standing.cells)),
        **{name: columns(getattr(standing, name)) for name in FRAMES if getattr(standing, name, None) is not None},
        "records": record_columns(records),
    }


def without(data: Mapping[str, Any], details: Sequence[str]) -> dict[str, Any]:
    """A payload without some of ``DETAILS``, and a note that says so."""
    gone = {column for name in details for column in DETAILS[name]}
    note = f"To keep this page small it leaves out {', '.join(details)} of each cell; the records have them."
    records = {name: column for name, column in data["records"].items() if name not in gone}
    return {**data, "notes": [*data["notes"], note], "records": records}


def structure(data: Mapping[str, Any]) -> str:
    """What a method removes, from its record's fingerprint: weights, N:M, blocks, units, or a smaller network."""
    choices = data.get("fingerprint") or {}
    regime, count = choices.get("regime"), str(choices.get("count"))
    if data["cell"]["method"] == DENSE:
        return "dense"
    try:
        pattern = split_allocation(str(choices["allocation"]))[1] if choices.get("allocation") else None
    except ValueError:
        pattern = None
    if pattern is not None:
        return "N:M" if isinstance(pattern, NM) else "blocks"
    if regime == "small_dense":
        return "smaller network"
    return "units" if count.startswith("the fewest units") else "weights"


def with_halves(rows: pd.DataFrame, cells: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Rows with the half width of each metric's Student interval over the finished seeds; NaN for a single one."""
    metrics = [name for name in BANDS if name in cells and name in rows]
    grouped = cells[cells["ok"]].groupby(ROW, sort=False)[metrics]
    spread, n = grouped.std(ddof=1), grouped.count()
    halves = stdtrit(n - 1, (1 + level) / 2).where(n > 1) * spread / np.sqrt(n)
    return rows.join(halves.add_suffix("_half"), on=ROW)


def columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """A frame by columns."""
    return {str(name): [number(value) for value in frame[name].tolist()] for name in frame.columns}


def number(value: Any) -> Any:
    """A number with six significant digits, shorter where it is whole; anything else as it is.

    >>> number(0.123456789), number(3.0), number(float("nan")), number("x"), number(True)
    (0.123457, 3, None, 'x', True)
    """
    if type(value) is not float:
        return value
    if not isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


class Distinct:
    """Distinct values in the order in which they came, and the place of each."""

    def __init__(self) -> None:
        self.places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        return self.places.setdefault(json.dumps(value), len(self.places))

    @property
    def values(self) -> list[Any]:
        return [json.loads(text) for text in self.places]


def record_columns(records: Sequence[Kept]) -> dict[str, Any]:
    """The records by columns, in their order; texts that repeat are places in the lists named after them."""
    data = [kept.record.data for kept in records]
    shared = {name: Distinct() for name in ("provenances", "fingerprints", "verdicts", "shapes")}
    names = dict.fromkeys(name for one in data for name, value in one["metrics"].items() if _is_number(value))
    found: dict[str, Any] = {
        "path": [kept.path for kept in records],
        "id": [one["cell_id"] for one in data],
        **{key: [one["cell"][key] for one in data] for key in (*ROW, "seed")},
        "ok": [kept.record.ok for kept in records],
        "passed": [kept.record.audit_passed for kept in records],
        **{key: [one.get(key) for one in data] for key in ("collapsed", "flags", "error")},
        "metrics": {name: [number(one["metrics"].get(name)) for one in data] for name in names},
        **{
            key: [number((one.get("sparsity") or {}).get(key)) for one in data]
            for key in ("achieved", "kept", "prunable")
        },
        **{key: [number((one.get("flops") or {}).get(key)) for one in data] for key in ("dense", "sparse", "speedup")},
        **{key: [number(one["cost"].get(key)) for one in data] for key in COST},
        "created": [one["provenance"].get("created") for one in data],
        "provenance": [shared["provenances"].place(_provenance(one)) for one in data],
        "fingerprint": [shared["fingerprints"].place(one.get("fingerprint")) for one in data],
    }
    layers = [(one.get("sparsity") or {}).get("layers") or {} for one in data]
    found |= {
        "audit": [[shared["verdicts"].place(_verdict(rule)) for rule in one["audit"]] for one in data],
        "shape": [shared["shapes"].place([[name, at.get("size")] for name, at in one.items()]) for one in layers],
        "layers": [[at.get("kept") for at in one.values()] for one in layers],
        "losses": [_thinned((one.get("curves") or {}).get("losses") or []) for one in data],
        "trained": [len((one.get("curves") or {}).get("losses") or []) for one in data],
    }
    if any(one.get("corruptions") for one in data):
        found["corruptions"] = [_corruptions(one.get("corruptions")) for one in data]
    if any(one.get("unverified") for one in data):
        found["unverified"] = [bool(one.get("unverified")) for one in data]
    return found | {name: distinct.values for name, distinct in shared.items()}


COST = ("epochs", "own_epochs", "train_flops", "seconds", "peak_memory_mb")


def _provenance(data: Mapping[str, Any]) -> dict[str, Any]:
    """All that cells of one run have in common."""
    return {key: plain(value) for key, value in data["provenance"].items() if key != "created"} | {
        key: data[key] for key in ("protocol", "board_version")
    }


def _verdict(rule: Mapping[str, Any]) -> list[Any]:
    return [rule.get("rule"), str(rule.get("name", "?")), rule.get("passed") is True, str(rule.get("detail", ""))]


def _corruptions(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The set, and accuracy by kind and severity."""
    if not found:
        return None
    kinds = {
        kind: [value if value is None else round(value, 4) for value in values]
        for kind, values in (found.get("kinds") or {}).items()
    }
    return {"set": found.get("set"), "n": found.get("n"), "kinds": kinds}


def _thinned(losses: Sequence[Any]) -> list[Any]:
    """With three significant digits, at most ``MOST_LOSSES`` of them."""
    step = -(-len(losses) // MOST_LOSSES) or 1
    kept = losses[::-step][::-1]
    return [float(f"{loss:.3g}") if isinstance(loss, float) and isfinite(loss) else loss for loss in kept]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
