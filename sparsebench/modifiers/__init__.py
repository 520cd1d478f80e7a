"""Modifiers: change the phases of a regime without being one. One file each.

A modifier is a function ``modifier(phases, *, arguments) -> phases``.
"""

from __future__ import annotations

from sparsebench.errors import UsageError
from sparsebench.phases import Phase, Prune


def last_prune(phases: list[Phase], modifier: str) -> int:
    """Index of the last pruning phase.

    Raises:
        UsageError: the regime has none, so there are no static masks to modify.
    """
    for index in reversed(range(len(phases))):
        if isinstance(phases[index], Prune):
            return index
    raise UsageError(
        f"+{modifier}: this regime has no pruning step followed by training with fixed masks, "
        f"so there is nothing to {modifier}"
    )
