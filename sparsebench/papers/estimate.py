"""Estimate: a mean over seeds with its interval, and what may be concluded from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sparsebench.stats import mean_interval


class Estimate(NamedTuple):
    """A value, its 95 % interval (None where one seed says nothing of the spread) and the seeds behind it.

    >>> Estimate(1.5, 0.5, 2.5, 10).above(0), Estimate(1.5, -0.5, 3.5, 10).above(0), Estimate(1.5).above(0)
    (True, False, False)
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 1

    @classmethod
    def of(cls, values: Sequence[float] | Mapping[object, float]) -> Estimate:
        """Mean with its Student interval.

        >>> Estimate.of([1.0, 1.0, 1.0])
        Estimate(value=1.0, low=1.0, high=1.0, n=3)
        """
        return cls(*mean_interval(list(values.values() if isinstance(values, Mapping) else values)))

    def above(self, bound: float) -> bool:
        """The whole interval lies above."""
        return self.low is not None and self.low > bound

    def below(self, bound: float) -> bool:
        """The whole interval lies below."""
        return self.high is not None and self.high < bound

    def within(self, bound: float) -> bool:
        """The whole interval lies between -bound and bound: no difference worth the name."""
        return self.above(-bound) and self.below(bound)

    def scaled(self, factor: float) -> Estimate:
        """In another unit, such as 100 for percent."""
        low, high = (None if bound is None else bound * factor for bound in (self.low, self.high))
        return Estimate(self.value * factor, *((low, high) if factor >= 0 else (high, low)), self.n)
