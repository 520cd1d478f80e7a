"""Shuffle: permute the final masks at random within each layer, a sanity control.

If accuracy stays, the method found layer densities, not weights. Source: Frankle et al. 2021,
arXiv:2009.08576.
"""

from __future__ import annotations

from sparsebench.modifiers import last_prune
from sparsebench.phases import Phase, Shuffle
from sparsebench.registry import modifier


@modifier
def shuffle(phases: list[Phase]) -> list[Phase]:
    index = last_prune(phases, "shuffle")
    return [*phases[: index + 1], Shuffle(), *phases[index + 1 :]]
