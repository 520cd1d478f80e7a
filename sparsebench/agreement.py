"""Agreement: whether two records of one cell tell the same, bit for bit or within what rounding may move.

Sums in another order round otherwise, and a training makes two networks of one: equally good, not equal. So on
other hardware, versions or numbers of threads equality is too much to ask, see docs/determinism.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

CLOCKS = {"seconds", "shared_seconds", "score_seconds", "peak_memory_mb"}
NEIGHBOURS = {"own_epochs"}
"""Costs that depend on which other cells were planned with this one."""
ELSEWHERE = {
    "hardware", "instructions", "system", "accelerator", "threads", "world_size", "precision", "python", "versions",
}  # fmt: skip
"""Circumstances that change how sums are rounded. A commit must not: code that changes a number raises the protocol."""
NO_CIRCUMSTANCE = {"created", "command", "data_digest"}
MISSING = "missing"

SHARES = {"metrics.top1", "metrics.top5", "metrics.worst_class", "metrics.corrupted"}
NEAR = {
    "metrics.nll", "metrics.ece", "metrics.dead_static", "metrics.dead_dynamic", "metrics.dead_dynamic_alive",
    "metrics.dead_permanent", "metrics.neg_preact", "flops.sparse", "flops.speedup", "cost.train_flops",
}  # fmt: skip
COUNTS = {"sparsity.kept", "sparsity.achieved", "sparsity.parameters"}
"""Exact, but for units and blocks, of which the scores choose larger or smaller ones."""
FREE = re.compile(
    r"metrics\.(val_top1|cev|sde).*|per_class\.(tp|fp|fn)\..*|curves\..*|sparsity\.layers\..*\.kept"
    r"|corruptions\.kinds\..*|measures\..*|search\..*|audit\..*\.detail|fingerprint\..*"
)
"""Not judged under a tolerance: single errors, single epochs and where in the network the kept weights lie."""


@dataclass(frozen=True)
class Tolerance:
    """How far records of one cell may be apart whose trainings rounded differently (reasons: docs/determinism.md).

    A share of n images: ``deviations`` standard deviations ``sqrt(2 p (1 - p) / n)`` of the difference of two
    independent draws, and at least one image. Other measures: ``absolute + relative * value``. All else is exact.
    """

    deviations: float = 4.0
    absolute: float = 0.02
    relative: float = 0.25
    counts: float = 0.05
    """Relative, of the kept weights where whole units or blocks are chosen."""

    def allows(self, name: str, x: Any, y: Any, record: Mapping[str, Any]) -> bool:
        """Whether a field of a record may be ``y`` instead of ``x``."""
        if FREE.fullmatch(name):
            return True
        if not (_number(x) and _number(y)):
            return False
        if name in SHARES:
            sizes = record["per_class"]["n"]
            return abs(y - x) <= self.share(x, y, min(sizes) if name.endswith("worst_class") else sum(sizes))
        if name in NEAR:
            return abs(y - x) <= self.absolute + self.relative * max(abs(x), abs(y))
        if name in COUNTS and _chooses_pieces(record):
            return abs(y - x) <= self.counts * max(abs(x), abs(y))
        return False

    def share(self, x: float, y: float, n: int) -> float:
        """How far two shares of n images may be apart.

        >>> round(Tolerance(deviations=4).share(0.9, 0.9, 400), 3)
        0.085
        """
        p = (x + y) / 2
        return max(self.deviations * sqrt(2 * p * (1 - p) / n), (1 + 1e-9) / n)


def _chooses_pieces(record: Mapping[str, Any]) -> bool:
    """Whether whole units or blocks were pruned."""
    counts = record["sparsity"]
    return counts.get("parameters", counts["total"]) != counts["total"] or "/block" in record["cell"]["method"]


def reproducible(data: Mapping[str, Any]) -> dict[str, Any]:
    """What of a record must come out again on the same machine and versions, bit for bit.

    Everything but clocks, memory, the board (a cell is the same on all), shares that depend on other cells,
    and the circumstances; of these only the data's digest stays.
    """
    kept = {key: value for key, value in data.items() if key not in ("board", "board_version", "digest", "provenance")}
    kept["cost"] = {key: value for key, value in data["cost"].items() if key not in CLOCKS | NEIGHBOURS}
    kept["audit"] = {rule["name"]: {k: rule.get(k) for k in ("passed", "detail")} for rule in data["audit"]}
    kept["data_digest"] = data["provenance"].get("data_digest")
    return kept


def circumstances(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """In what machine, versions, commit, threads and precision two records differ, a line each."""
    return [f"{name}: {x} -> {y}" for name, x, y in _circumstances(a, b)]


def same_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two records come from the same hardware, versions and number of threads, so must be bit-equal."""
    changed = {name.split(".")[0] for name, _, _ in _circumstances(a, b) if name != "versions.sparsebench"}
    on_the_way = {key for record in (a, b) for key in record["provenance"].get("mixed", ())}
    return (changed | on_the_way).isdisjoint(ELSEWHERE)


def differences(a: Mapping[str, Any], b: Mapping[str, Any], tolerance: Tolerance | None = None) -> list[str]:
    """Fields in which a later record disagrees with an earlier one, a readable line each.

    Without a tolerance everything ``reproducible`` must be equal, with one what ``Tolerance`` says. The wording of
    fingerprint and audit belongs to the code and is compared if both are of one commit; so is a field that only
    the later one has.
    """
    if a["status"] != b["status"]:
        return [_line(key, a.get(key), b.get(key)) for key in ("status", "error") if a.get(key) != b.get(key)]
    x, y = compared(a, b)
    pairs = [(name, x.get(name, MISSING), y.get(name, MISSING)) for name in {**x, **y}]
    apart = [pair for pair in pairs if pair[1] != pair[2]]
    return [_line(*pair) for pair in apart if not (tolerance and tolerance.allows(*pair, a))]


def compared(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of two records that are set beside each other, by dotted name."""
    x, y = _flat(reproducible(a)), _flat(reproducible(b))
    if any(a["provenance"].get(key) != b["provenance"].get(key) for key in ("commit", "dirty")):
        x = {name: value for name, value in x.items() if not _wording(name)}
        y = {name: value for name, value in y.items() if name in x}
    return x, y


def _wording(name: str) -> bool:
    return name.startswith("fingerprint.") or (name.startswith("audit.") and name.endswith(".detail"))


def _circumstances(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What both tell of and tell differently; a record of older code knows less, one of a failed cell nothing."""
    x, y = (_flat({k: v for k, v in r["provenance"].items() if k not in NO_CIRCUMSTANCE}) for r in (a, b))
    yield from ((name, x[name], y[name]) for name in x if name in y and x[name] != y[name])


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Nested values by dotted name; a list of words is one value.

    >>> _flat({"a": {"b": [1, 2]}, "c": ["x"], "d": {}})
    {'a.b.0': 1, 'a.b.1': 2, 'c': ['x'], 'd': {}}
    """
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list | tuple) and not any(isinstance(item, str) for item in value):
        items = enumerate(value)
    found: dict[str, Any] = {}
    for key, item in items:
        found |= _flat(item, f"{name}.{key}" if name else str(key))
    return found or {name: value}


def _line(name: str, x: Any, y: Any) -> str:
    return f"{name}: {x} -> {y}" + (f" ({y - x:+.3g})" if _number(x) and _number(y) else "")


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
