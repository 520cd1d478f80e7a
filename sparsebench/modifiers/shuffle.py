"""Shuffle: permute the final masks at random within each layer, a sanity control.

    m_l -> permutation of m_l in every tensor l, the same count

The weights that the moved masks keep are those from before the pruning. If accuracy stays, the method found layer
densities, not weights. Source: Frankle et al. 2021, arXiv:2009.08576.
"""

from __future__ import annotations

from sparsebench.errors import UsageError
from sparsebench.modifiers import last_prune
from sparsebench.phases import Phase, Prune, Reinit, Rewind, Shuffle
from sparsebench.registry import modifier


@modifier
def shuffle(phases: list[Phase]) -> list[Phase]:
    index = last_prune(phases, "shuffle")
    rounds = sum(isinstance(phase, Prune) for phase in phases)
    if rounds > 1 and not any(isinstance(phase, Rewind | Reinit) for phase in phases[index:]):
        raise UsageError(
            "+shuffle: weights pruned in earlier rounds are gone, and moved masks would keep them; "
            "use a regime that rewinds (imp) or prunes once (init, finetune)"
        )
    return [*phases[: index + 1], Shuffle(), *phases[index + 1 :]]
