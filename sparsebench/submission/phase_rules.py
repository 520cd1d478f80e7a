"""Phase rules: what must hold of every regime and modifier, seen from the phases they give. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sparsebench.errors import UsageError
from sparsebench.methods import parse
from sparsebench.phases import Narrow, Phase, Prune, Recalibrate, Scorer, Train, describe
from sparsebench.protocol import canonical
from sparsebench.registry import modifier, regime
from sparsebench.submission.rule import Rule, explain, rule

SPARSITIES = (0.5, 0.9, 0.98)
REGIME_RULES: list[Rule] = []
MODIFIER_RULES: list[Rule] = []


@dataclass
class Listed:
    """A regime or a modifier."""

    name: str
    file: Path | None = None
    notes: dict[str, str] = field(default_factory=dict)

    def phases(self, sparsity: float) -> list[Phase]:
        """Those of a regime."""
        own = regime.entry(self.name).traits.get("criterion") == "none"
        return list(regime.get(self.name)(None if own else Scorer("magnitude"), sparsity))


def reached(phases: list[Phase]) -> list[float]:
    """The sparsities that a list of phases passes through.

    >>> reached([Train(), Prune(0.5, Scorer("magnitude")), Train()])
    [0.5]
    """
    found = []
    for phase in phases:
        step = phase.pruner if isinstance(phase, Train) else phase
        if isinstance(phase, Prune | Narrow) or (isinstance(phase, Train) and phase.pruner):
            found.append(step.sparsity)
    return found


@rule(
    REGIME_RULES,
    "yields phases",
    "yield Train, Prune, Rewind and the others of sparsebench.phases, with plain numbers as their arguments",
)
def phases(subject: Listed) -> Iterator[str]:
    for sparsity in SPARSITIES:
        try:
            found = subject.phases(sparsity)
            if odd := [p for p in found if not isinstance(p, Phase)]:
                yield f"at {sparsity:g}: {odd[0]!r} is no phase"
                return
            canonical([describe(p) for p in found])
        except Exception as error:
            yield f"at {sparsity:g}: {explain(error, subject.file)}"
            return
        if [describe(p) for p in found] != [describe(p) for p in subject.phases(sparsity)]:
            yield f"at {sparsity:g}: asked twice, it gives other phases; a regime depends on its arguments alone"
            return


@rule(
    REGIME_RULES,
    "ends exactly at the sparsity asked for, and never prunes less than before",
    "the last Prune gets the sparsity as it was given; for steps on the way take ladder(sparsity, rate)",
    after=("phases",),
)
def ends(subject: Listed) -> Iterator[str]:
    for sparsity in SPARSITIES:
        levels = reached(subject.phases(sparsity))
        if not levels:
            yield "nothing is pruned"
            return
        if levels[-1] != sparsity:
            yield f"asked for {sparsity:g}, it ends at {levels[-1]:g}"
        if levels != sorted(levels):
            yield f"asked for {sparsity:g}, it prunes to {', '.join(f'{level:g}' for level in levels)}"


@rule(
    REGIME_RULES,
    "trains (or estimates batch norm anew) after the last pruning",
    "end with a Train, or with Recalibrate where nothing is trained",
    after=("phases",),
)
def trains(subject: Listed) -> Iterator[str]:
    last = subject.phases(SPARSITIES[0])[-1:]
    if not last or not isinstance(last[0], Train | Recalibrate):
        yield f"its last phase is {type(last[0]).__name__ if last else 'none'}"


def _changes(name: str) -> Iterator[tuple[str, list[Phase], list[Phase] | Exception]]:
    """Each shipped regime: its phases, and what a modifier makes of them."""
    for shipped in sorted(regime._shipped):
        if shipped == "dense":
            continue
        own = regime.entry(shipped).traits.get("criterion") == "none"
        before = parse(shipped if own else f"magnitude@{shipped}").phases(0.9)
        try:
            yield shipped, before, list(modifier.get(name)(list(before)))
        except Exception as error:
            yield shipped, before, error


@rule(
    MODIFIER_RULES,
    "gives phases, or refuses a regime with a reason",
    "return a new list of phases; where it makes no sense raise sparsebench.errors.UsageError",
    name="phases",
)
def changed_phases(subject: Listed) -> Iterator[str]:
    fits = 0
    for name, _, after in _changes(subject.name):
        if isinstance(after, UsageError):
            continue
        fits += 1
        if isinstance(after, Exception):
            yield f"{name}: {explain(after, subject.file)}"
        elif odd := [p for p in after if not isinstance(p, Phase)]:
            yield f"{name}: {odd[0]!r} is no phase"
    if not fits:
        yield "it refuses every regime there is"


@rule(
    MODIFIER_RULES,
    "changes no sparsity",
    "leave the sparsity of every Prune as it is: a modifier is compared with its regime at the same one",
    name="ends",
    after=("phases",),
)
def same_end(subject: Listed) -> Iterator[str]:
    for name, before, after in _changes(subject.name):
        if not isinstance(after, Exception) and reached(after)[-1:] != reached(before)[-1:]:
            ends = [f"{levels[-1]:g}" if levels else "nothing" for levels in (reached(before), reached(after))]
            yield f"{name}: it ends at {ends[1]} in place of {ends[0]}"
