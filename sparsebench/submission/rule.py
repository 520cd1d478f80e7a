"""Rule: one thing that must hold of a method, what it means, and what to do where it does not."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparsebench.errors import SparsebenchError

Look = Callable[[Any], Iterable[str]]
"""Looks at a file, a function or a method and yields what is wrong with it, a line each."""


@dataclass(frozen=True)
class Rule:
    """A rule of the contract."""

    name: str
    what: str
    remedy: str
    look: Look
    after: tuple[str, ...] = ()
    """Rules that must hold before this one can be looked at."""
    applies: Callable[[Any], bool] = lambda subject: True


@dataclass(frozen=True)
class Verdict:
    """What came of one rule for one subject."""

    rule: str
    subject: str
    state: str
    """passed, failed, skipped (it needs a rule that failed) or n/a (the rule is not for this kind)."""
    what: str
    faults: tuple[str, ...] = ()
    remedy: str = ""
    note: str = ""


@dataclass
class Report:
    """All verdicts on a file."""

    file: str
    methods: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def failures(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.state == "failed"]

    def look(self, rules: Iterable[Rule], subject: Any, name: str) -> bool:
        """Hold rules against a subject in their order; whether all of them passed."""
        failed: set[str] = set()
        for rule in rules:
            if not rule.applies(subject):
                state, faults = "n/a", ()
            elif before := sorted(failed & set(rule.after)):
                state, faults = "skipped", (f"looked at when {', '.join(before)} holds",)
                failed.add(rule.name)
            else:
                faults = tuple(_all(rule.look(subject), subject))
                state = "failed" if faults else "passed"
            if state == "failed":
                failed.add(rule.name)
            note = getattr(subject, "notes", {}).get(rule.name, "")
            remedy = rule.remedy if state == "failed" else ""
            self.verdicts.append(Verdict(rule.name, name, state, rule.what, faults, remedy, note))
        return not failed


def rule(rules: list[Rule], what: str, remedy: str, **options: Any) -> Callable[[Look], Look]:
    """Decorator: a function becomes the rule of its name at the end of a list."""

    def add(look: Look) -> Look:
        rules.append(Rule(options.pop("name", look.__name__), what, remedy, look, **options))
        return look

    return add


def explain(error: BaseException, file: Path | None = None) -> str:
    """An exception in one line, with the last line of the user's file that led to it.

    >>> explain(ZeroDivisionError("division by zero"))
    'ZeroDivisionError: division by zero'
    """
    said = " ".join(str(error).split())[:300]
    text = said if isinstance(error, SparsebenchError) else f"{type(error).__name__}: {said}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if file and Path(frame.filename) == file]
    return f"{text} (line {lines[-1]})" if lines else text


def _all(faults: Iterable[str], subject: Any) -> Iterator[str]:
    """What is wrong; an exception while looking is wrong too."""
    try:
        yield from faults
    except Exception as error:
        yield explain(error, getattr(subject, "file", None))
