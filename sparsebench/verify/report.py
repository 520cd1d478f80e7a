"""Report: which rule held of what, one line of reason for each that did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sparsebench.errors import SparsebenchError

T = TypeVar("T")
RULES = {
    "record": "loads, named by its settings, in its place",
    "provenance": "clean commit, data and versions as the dense row",
    "arithmetic": "sums, rates and verdicts follow from their parts",
    "chain": "stages are those the settings name",
    "digests": "files and loaded weights as written",
    "masks": "kept weights, counted from masks",
    "weights": "pruned weights are 0, counted from weights",
    "nesting": "masks lie within those before",
    "measure": "measured on the test split again",
}
"""What is checked of a record or of a stage, in the order in which it is printed."""

UNREADABLE = (
    SparsebenchError, OSError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError,
)  # fmt: skip
"""What reading a damaged, foreign or hostile file may raise."""


@dataclass(frozen=True)
class Check:
    """One rule held against one record or stage."""

    rule: str
    subject: str
    """Cell or stage id."""
    file: str
    reasons: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.reasons


@dataclass
class Report:
    """All checks of a folder."""

    folder: str
    records: int = 0
    stages: int = 0
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def check(self, rule: str, subject: str, file: Path | str, faults: Iterable[str]) -> bool:
        """Note whether a rule held; ``faults`` says what is wrong, and an error while it looks is a fault too."""
        reasons = tuple(_all(faults))
        self.checks.append(Check(rule, subject, str(file), reasons))
        return not reasons

    def value(self, rule: str, subject: str, file: Path | str, function: Callable[[], T]) -> T | None:
        """What a function returns; None, and the rule is noted as failed, if what it reads cannot be read."""
        try:
            return function()
        except UNREADABLE as error:
            self.check(rule, subject, file, [_reason(error)])
            return None

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> list[Check]:
        """What failed, in the order of the rules."""
        order = list(RULES)
        return sorted((c for c in self.checks if not c.passed), key=lambda c: order.index(c.rule))

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Rule -> how often it held and how often not, of the rules that were looked at."""
        found = Counter((check.rule, check.passed) for check in self.checks)
        return {r: (found[r, True], found[r, False]) for r in RULES if found[r, True] or found[r, False]}

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {
            "folder": self.folder,
            "passed": self.passed,
            "records": self.records,
            "stages": self.stages,
            "rules": {rule: {"passed": good, "failed": bad} for rule, (good, bad) in self.counts.items()},
            "notes": self.notes,
            "checks": [{**asdict(check), "passed": check.passed} for check in self.checks],
        }


def unequal(what: str, found: Any, expected: Any, why: str = "") -> Iterator[str]:
    """The fault of a value that is not the one expected.

    >>> list(unequal("kept", 3, 4, "sum of the layers")), list(unequal("kept", 4, 4))
    (['kept is 3, expected 4 (sum of the layers)'], [])
    """
    if found != expected:
        yield f"{what} is {_short(found)}, expected {_short(expected)}" + (f" ({why})" if why else "")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]} ... ({len(text)} characters)"


def _all(faults: Iterable[str]) -> Iterator[str]:
    try:
        yield from faults
    except UNREADABLE as error:
        yield _reason(error)


def _reason(error: Exception) -> str:
    """An error in one line."""
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read ({error.strerror})"
    said = " ".join(str(error).split())[:200]
    if isinstance(error, SparsebenchError):
        return said
    return f"a value is missing or of another form than expected ({type(error).__name__}: {said})"
