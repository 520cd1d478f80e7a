"""Judged: verdicts of the audit held against their own words and numbers, and seeds against each other.

A record alone cannot prove that it was not written by hand. What is looked at here is what a hand forgets: a verdict
turned to "passed" beside the numbers that failed it, a cell copied or moved to another seed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from sparsebench.allocation import kept_count
from sparsebench.phases import Train, describe
from sparsebench.verify.names import dense_name

Data = Mapping[str, Any]
RULES = 11
"""The audit has so many rules, from 1."""
Judge = Callable[[list[int], Data], bool]

WORDS: tuple[tuple[int, str, Judge], ...] = (
    (1, r"^(\d+) kept, (\d+) asked of (\d+)$", lambda n, d: n[0] == n[1] == _asked(d) and n[2] == _size(d)),
    (1, r"^(\d+) kept, ", lambda n, d: n[0] == d["sparsity"]["kept"]),
    (1, r"whole units, (\d+) weights kept", lambda n, d: n[0] == d["sparsity"]["kept"] <= _asked(d)),
    (1, r"(\d+) [a-z -]+, at most (\d+) asked", lambda n, d: n[0] <= n[1]),
    (1, r"^dense$", lambda n, d: d["cell"]["sparsity"] == 0),
    (2, r"(\d+) pruned [a-z ]+ (?:are|were) not 0", lambda n, d: n[0] == 0),
    (4, r"(\d+) digest\(s\) on", lambda n, d: n[0] == 1),
    (5, r"keys .* but for ", lambda n, d: False),
    (8, r"test set read (\d+) time\(s\), after", lambda n, d: n[0] == 1),
    (8, r"test set read (\d+) time\(s\) while", lambda n, d: n[0] == 0),
    (8, r"(\d+) of (\d+) test images", lambda n, d: n[0] == n[1] == sum(d["per_class"]["n"])),
    (9, r"^not collapsed$", lambda n, d: not d["collapsed"]),
    (9, r"^collapsed$", lambda n, d: d["collapsed"]),
    (10, r"^(?!as the dense row$)", lambda n, d: False),
)
"""Audit rule, what its detail may say, and whether that means that it passed."""


def _asked(data: Data) -> int:
    return kept_count(1 - data["cell"]["sparsity"], data["sparsity"]["prunable"])


def _size(data: Data) -> int:
    return data["sparsity"]["prunable"]


def audit(data: Data) -> Iterator[str]:
    """Rules of the audit that are missing, failed, or passed against their own words.

    >>> verdict = {"rule": 2, "name": "zeros", "passed": True, "detail": "3 pruned weights of it are not 0"}
    >>> [fault for fault in audit({"audit": [verdict]}) if "missing" not in fault]
    ["audit rule 2 (zeros) is said to have passed, but says '3 pruned weights of it are not 0'"]
    """
    said = {verdict.get("rule"): verdict for verdict in data["audit"]}
    if missing := [str(rule) for rule in range(1, RULES + 1) if rule not in said]:
        yield f"audit rules {', '.join(missing)} are missing"
    if len(said) < len(data["audit"]):
        yield "an audit rule stands there twice"
    for rule, verdict in said.items():
        name = f"audit rule {rule} ({verdict.get('name')})"
        if verdict.get("passed") is not True:
            yield f"{name} failed: {verdict.get('detail')}"
        elif not all(holds(found, data) for found, holds in _readings(rule, str(verdict.get("detail")))):
            yield f"{name} is said to have passed, but says {verdict['detail']!r}"


def _readings(rule: Any, detail: str) -> Iterator[tuple[list[int], Judge]]:
    for part in detail.split("; "):
        for number, pattern, holds in WORDS:
            if number == rule and (match := re.search(pattern, part)):
                yield [int(group) for group in match.groups()], holds
                break


def alike(records: Iterable[tuple[str, Data]]) -> Iterator[tuple[str, str]]:
    """(name, fault) of records whose training is that of another seed, or of another cell altogether."""
    trainings: dict[str, tuple[str, Data]] = {}
    for name, data in records:
        losses = data["curves"]["losses"]
        if not any(losses):
            continue
        first, other = trainings.setdefault(repr((data["cell"]["task"], losses)), (name, data))
        here, there = data["cell"], other["cell"]
        if here["seed"] != there["seed"]:
            yield name, f"losses are those of {first}, which has seed {there['seed']}: a training is not two seeds'"
        elif first != name and not data["collapsed"] and _same_network(data, other):
            yield name, f"losses and likelihood are those of {first}, which has sparsity {there['sparsity']:g}"


def _same_network(a: Data, b: Data) -> bool:
    return a["metrics"]["nll"] == b["metrics"]["nll"] and a["cell"]["sparsity"] != b["cell"]["sparsity"]


def off_trunk(records: Mapping[str, Data]) -> Iterator[tuple[str, str]]:
    """(id, fault) of records that begin with the dense training, but not with that of their own seed.

    Only where dense row and record were computed on one machine, on which the same training gives the same losses.
    """
    trunk = describe(Train())
    for name, data in records.items():
        dense = records.get(dense_name(data))
        phases = data["settings"]["phases"]
        if dense is None or dense is data or not phases or phases[0] != trunk:
            continue
        here, there = data["provenance"], dense["provenance"]
        if any(here.get(key) != there.get(key) for key in ("hardware", "instructions", "threads", "versions")):
            continue
        losses, expected = data["curves"]["losses"], dense["curves"]["losses"]
        if losses[: len(expected)] != expected:
            yield name, f"its first training is not that of its dense row {dense_name(data)}, of which it is a copy"
