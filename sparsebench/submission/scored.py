"""Scored: a criterion as the rules look at it, on the small networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sparsebench.allocation import split_allocation
from sparsebench.criteria import default_allocation, is_structured
from sparsebench.functional import Pruning, pruning
from sparsebench.patterns import NM
from sparsebench.registry import criterion, solver
from sparsebench.scope import scope_of
from sparsebench.scoring import _ask, cross_entropy, needed, untouched
from sparsebench.submission.networks import NETWORKS, WITH_BATCH_NORM, batches, network

SPARSITIES = (0.0, 0.5, 0.9, 0.98)
MANY_ROUNDS = 10
Scores = dict[str, Tensor]


@dataclass
class Scored:
    """A criterion, and what several rules ask of it."""

    name: str
    file: Path | None = None
    networks: tuple[str, ...] = tuple(NETWORKS)
    notes: dict[str, str] = field(default_factory=dict)
    known: dict[str, Scores] = field(default_factory=dict)

    @property
    def traits(self) -> dict[str, Any]:
        return criterion.entry(self.name).traits

    @property
    def needs(self) -> str:
        return self.traits.get("needs", "weight")

    @property
    def units(self) -> bool:
        return is_structured(self.name)

    @property
    def solves(self) -> bool:
        return self.name in solver.entries

    @property
    def kinds(self) -> list[str]:
        """The networks it can score."""
        return [kind for kind in self.networks if self.needs != "norm" or kind in WITH_BATCH_NORM]

    @property
    def pruned_kinds(self) -> list[str]:
        """Those on which it is pruned: a criterion of many rounds costs as many scorings each time."""
        return self.kinds[: 1 if self.traits.get("rounds", 1) > MANY_ROUNDS else None]

    @property
    def sparsities(self) -> tuple[float, ...]:
        """Those of its own pattern, of units (which keep one in every group), or of all."""
        pattern = split_allocation(default_allocation(self.name))[1]
        return (1 - pattern.density,) if isinstance(pattern, NM) else SPARSITIES[:2] if self.units else SPARSITIES

    def scores(self, net: nn.Module, data: list | None = None, seed: int = 0) -> Scores:
        """What it returns, unchecked."""
        data = batches() if data is None else data
        if self.units:
            from sparsebench.structured import unit_groups, unit_scores

            return unit_scores(net, unit_groups(net, data[0][0]), self.name, data, seed=seed)
        with untouched(net, train=self.traits.get("mode") == "train"):
            given = () if self.needs in ("weight", "random") else needed(self.name, data)
            return _ask(
                partial(criterion.get(self.name)),
                self.needs,
                net,
                scope_of(net).prunable,
                given,
                cross_entropy,
                seed,
            )

    def first(self, kind: str) -> Scores:
        """Its scores on a network, worked out once for the rules that only look at them."""
        if kind not in self.known:
            self.known[kind] = self.scores(network(kind))
        return self.known[kind]

    def prune(self, net: nn.Module, sparsity: float, **options: Any) -> Pruning:
        return pruning(net, self.name, sparsity=sparsity, data=batches(), **options)
