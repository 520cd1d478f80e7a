"""Modifiers: change the phases of a regime without being one. One file each.

A modifier is a function ``modifier(phases, *, arguments) -> phases``.
"""

from __future__ import annotations

from sparsebench.errors import UsageError
from sparsebench.phases import Narrow, Phase, Prune, Train


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


def trainings_after_pruning(phases: list[Phase], modifier: str) -> set[int]:
    """Indices of the trainings from the first pruning on, those in which pruning goes on included.

    Raises:
        UsageError: nothing is pruned, or nothing is trained afterwards.

    >>> from sparsebench.phases import Scorer
    >>> sorted(trainings_after_pruning([Train(), Prune(0.5, Scorer("magnitude")), Train(), Train()], "kd"))
    [2, 3]
    """
    pruned, found = False, set()
    for index, phase in enumerate(phases):
        pruned = pruned or isinstance(phase, Prune | Narrow) or (isinstance(phase, Train) and phase.pruner is not None)
        if pruned and isinstance(phase, Train):
            found.add(index)
    if not found:
        raise UsageError(
            f"+{modifier}: this regime trains nothing after it pruned, so there is no training to change; "
            "use one that does, such as finetune, lrr or init"
        )
    return found
