"""Schedules: after which optimiser step which sparsity is reached.

A schedule turns the number of training steps and the final sparsity into a plan ``{step: sparsity}``;
step 0 is before the first update. The plan is all a Pruner needs, so a schedule can be read, printed and
tested without training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sparsebench.errors import UsageError


class Schedule(Protocol):
    def plan(self, steps: int, sparsity: float) -> dict[int, float]:
        """Sparsity to reach after each step named."""
        ...


@dataclass(frozen=True)
class OneShot:
    """All at once, after a fraction of training.

    >>> OneShot().plan(100, 0.9), OneShot(at=0.5).plan(100, 0.9)
    ({0: 0.9}, {50: 0.9})
    """

    at: float = 0.0

    def plan(self, steps: int, sparsity: float) -> dict[int, float]:
        return {round(_fraction("at", self.at) * steps): sparsity}


@dataclass(frozen=True)
class Iterative:
    """Equal steps in log density: after round k of n the density is ``(1 - s)^(k/n)``.

    >>> Iterative(rounds=2, end=0.8).plan(10, 0.75)
    {4: 0.5, 8: 0.75}
    """

    rounds: int = 5
    end: float = 0.8

    def plan(self, steps: int, sparsity: float) -> dict[int, float]:
        if self.rounds < 1:
            raise UsageError(f"rounds={self.rounds!r} of an iterative schedule must be at least 1")
        last = _fraction("end", self.end) * steps
        return {
            round(last * k / self.rounds): 1 - (1 - sparsity) ** (k / self.rounds) for k in range(1, self.rounds + 1)
        }


@dataclass(frozen=True)
class Cubic:
    """Gradual magnitude pruning: ``s_t = s (1 - (1 - t)^3)``, t from 0 at ``begin`` to 1 at ``end``.

    Source: Zhu & Gupta 2017, arXiv:1710.01878 (eq. 1 with initial sparsity 0).

    >>> {t: round(s, 2) for t, s in Cubic(begin=0.0, end=1.0, every=1).plan(4, 0.9).items()}
    {1: 0.52, 2: 0.79, 3: 0.89, 4: 0.9}
    """

    begin: float = 0.0
    end: float = 0.75
    every: int = 100
    power: int = 3

    def plan(self, steps: int, sparsity: float) -> dict[int, float]:
        first, last = round(_fraction("begin", self.begin) * steps), round(_fraction("end", self.end) * steps)
        if first >= last or self.every < 1:
            raise UsageError(
                f"schedule from {self.begin} to {self.end} every {self.every} steps has no room in {steps} steps"
            )
        times = [*range(first + self.every, last, self.every), last]
        return {t: sparsity * (1 - (1 - (t - first) / (last - first)) ** self.power) for t in times}


@dataclass(frozen=True)
class Linear(Cubic):
    """As ``Cubic``, in equal steps of sparsity."""

    power: int = 1


NAMED = {"oneshot": OneShot, "iterative": Iterative, "cubic": Cubic, "linear": Linear}


def named(schedule: str | Schedule) -> Schedule:
    """A schedule by its name, or the schedule given."""
    if not isinstance(schedule, str):
        return schedule
    if schedule not in NAMED:
        raise UsageError(f"unknown schedule {schedule!r}; known: {', '.join(NAMED)}")
    return NAMED[schedule]()


def _fraction(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise UsageError(f"{name}={value!r} is a fraction of training: it must be in [0, 1]")
    return value
