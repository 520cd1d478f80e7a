"""Budget: how many weights a solver may keep, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sparsebench.allocation import split_allocation
from sparsebench.masks import Masks
from sparsebench.patterns import NM
from sparsebench.selection import again, select


@dataclass(frozen=True)
class Budget:
    """What a solver is given in place of a selection of its own: exact counts whatever it does."""

    density: float
    allocation: str
    masks: Masks
    """The masks so far; new ones are nested in them."""
    floor: int = 0
    counts: dict[str, int] | None = None

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """(n, m) of an N:M allocation."""
        pattern = split_allocation(self.allocation)[1]
        return (pattern.n, pattern.m) if isinstance(pattern, NM) else None

    def select(self, scores: Mapping[str, Tensor]) -> Masks:
        """The best weights by these scores, ``selection.select``."""
        return select(
            scores, self.density, allocation=self.allocation, masks=self.masks, floor=self.floor, counts=self.counts
        )

    def again(self, name: str, score: Tensor, like: Masks) -> Tensor:
        """For one tensor: as many weights as ``like[name]``, in the same places, by other scores."""
        ranked = score.masked_fill(~self.masks[name].to(score.device), float("-inf"))
        return again(ranked, like[name].to(score.device), self.allocation)
