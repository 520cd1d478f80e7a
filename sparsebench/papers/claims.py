"""Claims: what a paper says, the rule by which evidence is judged, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from sparsebench.papers.estimate import Estimate

if TYPE_CHECKING:
    from sparsebench.papers.evidence import Evidence


class Verdict(str, Enum):
    """What became of a claim."""

    REPRODUCED = "reproduced"
    PARTLY = "partly"
    NOT = "not reproduced"
    UNTESTABLE = "not testable here"


class NotTestable(Exception):
    """Raised by a judge: what is missing, and where it would be found."""


@dataclass(frozen=True)
class Paper:
    """What is reproduced."""

    title: str
    authors: str
    year: int
    link: str
    """Such as ``arXiv:2212.06145``."""
    says: str
    """Its claim in one or two sentences."""


@dataclass(frozen=True)
class Point:
    """One measured quantity of a claim.

    Args:
        where: setting in words.
        estimate: in the unit printed; None where it cannot be measured here.
        published: the paper's value in the same unit; None where it was not recovered.
        holds: as claimed; None = not testable here.
        refuted: the contrary is shown; neither held nor refuted is undecided.
    """

    where: str
    estimate: Estimate | None
    published: float | str | None = None
    holds: bool | None = None
    refuted: bool = False
    unit: str = ""
    digits: int = 2

    @property
    def word(self) -> str:
        """``holds``, ``refuted``, ``undecided`` or ``not testable here``."""
        if self.holds is None:
            return Verdict.UNTESTABLE.value
        return "holds" if self.holds else "refuted" if self.refuted else "undecided"


@dataclass(frozen=True)
class Finding:
    """What the evidence says of a claim.

    Its verdict is that of its points unless one is given: reproduced where all that can be tested hold, partly where
    some do, not reproduced where none does.
    """

    points: Sequence[Point]
    note: str = ""
    verdict: Verdict | None = None

    def __post_init__(self) -> None:
        if self.verdict is None:
            object.__setattr__(self, "verdict", _together([p.holds for p in self.points if p.holds is not None]))


def _together(held: list[bool]) -> Verdict:
    """
    >>> _together([True, False]).value, _together([]).value
    ('partly', 'not testable here')
    """
    if not held:
        return Verdict.UNTESTABLE
    return Verdict.REPRODUCED if all(held) else Verdict.PARTLY if any(held) else Verdict.NOT


@dataclass(frozen=True)
class Claim:
    """One thing that a paper says, and how it is judged.

    Args:
        name: short, of letters, digits and hyphens.
        text: the claim in one sentence.
        judge: evidence -> finding; raises NotTestable with the reason.
        rule: the decision rule in words, fixed before anything is measured.
        source: where the paper says so, or whose statement it is.
        published: what was published, in words, where it is no table of numbers.
    """

    name: str
    text: str
    judge: Callable[[Evidence], Finding]
    rule: str
    source: str
    published: str = ""

    def find(self, evidence: Evidence) -> Finding:
        """The finding; what cannot be judged is said, not raised."""
        try:
            return self.judge(evidence)
        except NotTestable as reason:
            return Finding([], str(reason), Verdict.UNTESTABLE)
